"""The connections of this process: how many there are of whom, and whose token was revoked.

What lives here: counting, finding, and closing those whose token is worth nothing any more. What must not: what they
are subscribed to.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Final

import structlog

from feed.connection import CloseCode, Connection
from feed.rules import FeedRules
from storage.background import end_task
from storage.errors import Unavailable
from storage.sessions import Session, Sessions, names_of

log = structlog.get_logger("shakti.feed")
_RETRY_PAUSE_S: Final = 0.2


class Registry:
    """Every open connection. Limits hold for this process."""

    def __init__(self, sessions: Sessions, rules: FeedRules) -> None:
        self._sessions = sessions
        self._rules = rules
        self._connections: set[Connection] = set()
        self._by_address: Counter[str] = Counter()
        # By the name under which all tokens of a subject may be revoked. Whom a token's own name means is looked for
        # among all: it happens seldom, and a set for each token of thousands weighs something.
        self._by_subject: dict[str, set[Connection]] = {}
        self._suspected: set[Connection] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        sessions.watch(self._suspect)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """All of them, as they are at this moment."""
        return tuple(self._connections)

    def start(self) -> None:
        """Start closing connections whose token is revoked; `close` ends it."""
        self._task = asyncio.create_task(self._run(), name="feed-revocations")

    async def close(self) -> None:
        """Stop looking after tokens."""
        await end_task(self._task)

    def add(self, connection: Connection) -> bool:
        """Take in a new connection; false if its address or its account has too many, then it is to be closed."""
        self._connections.add(connection)
        self._by_address[connection.address] += 1
        is_one_too_many = self._by_address[connection.address] > self._rules.connections_per_address
        return (connection.session is None or self.identify(connection, connection.session)) and not is_one_too_many

    def identify(self, connection: Connection, session: Session) -> bool:
        """Note whose connection it is; false if the account has too many."""
        self._unname(connection)
        connection.session = session
        _, subject = names_of(session)
        self._by_subject.setdefault(subject, set()).add(connection)
        if not self._sessions.remembers(session):
            # Revoked, perhaps, between the check of its token and this moment.
            self._suspected.add(connection)
            self._wake.set()
        return len(self._by_subject[subject]) <= self._rules.connections_per_account

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is over."""
        self._connections.discard(connection)
        self._suspected.discard(connection)
        self._by_address[connection.address] -= 1
        if not self._by_address[connection.address]:
            del self._by_address[connection.address]
        self._unname(connection)

    def _unname(self, connection: Connection) -> None:
        if connection.session is None:
            return
        _, subject = names_of(connection.session)
        named = self._by_subject.get(subject, set())
        named.discard(connection)
        if not named:
            self._by_subject.pop(subject, None)

    def _suspect(self, name: str | None) -> None:
        if name is None:
            suspected = self._connections
        elif name in self._by_subject:
            suspected = self._by_subject[name]
        else:
            suspected = {
                connection
                for connection in self._connections
                if connection.session is not None and names_of(connection.session)[0] == name
            }
        if suspected:
            self._suspected.update(suspected)
            self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            suspected, self._suspected = self._suspected, set()
            try:
                await self._check(suspected)
            except Unavailable:
                self._suspected |= suspected & self._connections
                self._wake.set()
                await asyncio.sleep(_RETRY_PAUSE_S)
            except Exception as fault:
                log.error("checking tokens of open connections failed", exc_info=fault)
                await asyncio.sleep(_RETRY_PAUSE_S)

    async def _check(self, suspected: Iterable[Connection]) -> None:
        """Ask the database about their tokens: an announcement may be older than the token in use now."""
        asked = [(connection, connection.session) for connection in suspected if connection.session is not None]
        valid = await self._sessions.list_valid([session for _, session in asked])
        for connection, session in asked:
            if session.claims.jti not in valid and connection.session is session:
                connection.cut(CloseCode.FORBIDDEN, "token revoked")
