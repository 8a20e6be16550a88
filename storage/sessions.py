"""Who a token speaks for: checked once, remembered until it expires or is revoked, in every process.

What lives here: the cache of checked tokens, revocation and its announcement. What must not: how tokens are signed
(auth/tokens.py), or which endpoint asks for which purpose.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from auth.tokens import Claims, Purpose, TokenError, Tokens
from storage.database import Database
from storage.notifications import Notifications
from storage.sql import QUERIES

CHANNEL = "shakti_revocations"
_MAX_CACHED = 200_000
# The word by which a revocation names its subject.
_SUBJECT_WORDS = {
    Purpose.ACCOUNT: "account",
    Purpose.SHIPPER: "partner",
    Purpose.TRANSPORTER: "partner",
    Purpose.OPERATOR: "operator",
}
_FIND = {
    Purpose.ACCOUNT: "sessions/find_account",
    Purpose.SHIPPER: "sessions/find_partner",
    Purpose.TRANSPORTER: "sessions/find_partner",
    Purpose.OPERATOR: "sessions/find_operator",
}


@dataclass(frozen=True, slots=True)
class Session:
    """A checked token. `kind` is the account's type, the partner's kind, or "operator"."""

    claims: Claims
    kind: str

    @property
    def account_id(self) -> int:
        return self.claims.subject

    @property
    def side(self) -> str:
        """A prosumer sells, a consumer buys."""
        return "S" if self.kind == "prosumer" else "B"


class Sessions:
    """Checks tokens against their signature, their subject and the revocations.

    A checked token is remembered by its digest. Revocations are announced by PostgreSQL and evict it; while this
    process cannot hear announcements it asks the database about every token instead.
    """

    def __init__(self, tokens: Tokens, database: Database, notifications: Notifications) -> None:
        self._tokens = tokens
        self._database = database
        self._notifications = notifications
        self._cache: dict[bytes, Session] = {}
        self._named: dict[str, set[bytes]] = {}
        self._watchers: list[Callable[[str | None], None]] = []
        # Counts announcements, so that an answer read before one is not remembered after it.
        self._announcements = 0
        notifications.listen(CHANNEL, self._evict, on_reconnect=self._forget)

    async def check(self, token: str, *purposes: Purpose) -> Session:
        """The session of a token made for one of `purposes`. Raises TokenError, DatabaseUnavailable."""
        cached = self._cached(token)
        if cached is not None:
            if not _is_good(cached, purposes):
                raise TokenError("expired or of another purpose")
            return cached
        claims = self._tokens.verify(token, *purposes)
        heard = self._announcements
        row = await self._database.fetchrow(_FIND[claims.purpose], claims.subject, claims.generation, claims.jti)
        if row is None:
            raise TokenError("revoked")
        session = Session(claims, row["kind"])
        if heard == self._announcements:
            self._remember(_digest(token), session)
        return session

    def known(self, token: str, *purposes: Purpose) -> Session | None:
        """The session of a token that was checked before and is good for one of `purposes`; None where `check` must
        tell."""
        cached = self._cached(token)
        return cached if cached is not None and _is_good(cached, purposes) else None

    def _cached(self, token: str) -> Session | None:
        """The session of a token that was checked before, while this process hears of revocations."""
        return self._cache.get(_digest(token)) if self._notifications.is_live else None

    async def revoke(self, session: Session) -> None:
        """Revoke one token for good. Other tokens of its subject stay valid."""
        async with self._database.transaction() as connection:
            await connection.execute(QUERIES["sessions/revoke"], session.claims.jti, session.claims.expires_at)
        self._evict(f"jti:{session.claims.jti}")

    def watch(self, watcher: Callable[[str | None], None]) -> None:
        """Have `watcher` called with the name under which tokens were revoked (see `names_of`), or with None when any
        may have been, unheard. A name may come late, when newer tokens are in use already: `list_valid` tells."""
        self._watchers.append(watcher)

    def remembers(self, session: Session) -> bool:
        """Whether nothing has been heard against a session since it was checked; if not, `list_valid` tells."""
        return names_of(session)[0] in self._named

    async def list_valid(self, sessions: Sequence[Session]) -> set[str]:
        """The jti of those sessions, of accounts and operators, that were not revoked. Raises DatabaseUnavailable."""
        claims = [session.claims for session in sessions]
        rows = await self._database.fetch(
            "sessions/list_valid",
            [claim.subject for claim in claims],
            [claim.generation for claim in claims],
            [claim.jti for claim in claims],
            [claim.purpose is Purpose.OPERATOR for claim in claims],
        )
        return {row["jti"] for row in rows}

    def forget(self, purpose: Purpose, subject: int) -> None:
        """All tokens of a subject were revoked here; other processes hear of it from PostgreSQL."""
        self._evict(f"{_SUBJECT_WORDS[purpose]}:{subject}")

    def _remember(self, digest: bytes, session: Session) -> None:
        self._cache[digest] = session
        for name in names_of(session):
            self._named.setdefault(name, set()).add(digest)
        if len(self._cache) > _MAX_CACHED:
            self._drop(next(iter(self._cache)))

    def _drop(self, digest: bytes) -> None:
        session = self._cache.pop(digest)
        for name in names_of(session):
            digests = self._named[name]
            digests.discard(digest)
            if not digests:
                del self._named[name]

    def _evict(self, name: str) -> None:
        self._announcements += 1
        for digest in list(self._named.get(name, ())):
            self._drop(digest)
        for watcher in self._watchers:
            watcher(name)

    def _forget(self) -> None:
        self._announcements += 1
        self._cache.clear()
        self._named.clear()
        for watcher in self._watchers:
            watcher(None)


def _is_good(session: Session, purposes: Sequence[Purpose]) -> bool:
    claims = session.claims
    return claims.purpose in purposes and claims.expires_at > datetime.now(UTC)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def names_of(session: Session) -> tuple[str, str]:
    """What an announcement may call a session by: its own token, or all tokens of its subject."""
    claims = session.claims
    return f"jti:{claims.jti}", f"{_SUBJECT_WORDS[claims.purpose]}:{claims.subject}"
