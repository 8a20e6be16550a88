"""How far the verification of a partner's e-mail is, and the one link that can complete it.

What lives here: the state and its changes, each of them one atomic step. What must not: making or checking the link's
token, or sending it.
"""

from dataclasses import dataclass
from datetime import datetime

from asyncpg import Record

from storage.database import Database
from storage.partners import PartnerKind
from storage.sql import QUERIES


@dataclass(frozen=True, slots=True)
class Link:
    """A verification link by its token's jti; both are None where there is none."""

    jti: str | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class PartnerEmail:
    """A partner's e-mail, as given, and how far its verification is."""

    partner_id: int
    email: str
    token_generation: int
    is_verified: bool
    link: Link

    def awaits_click(self, now: datetime) -> bool:
        """Whether a link is out that still works."""
        return not self.is_verified and self.link.expires_at is not None and self.link.expires_at > now


async def find(database: Database, kind: PartnerKind, gst_number: str, email_key: str) -> PartnerEmail | None:
    """The e-mail of the partner that has both this GST number and this e-mail (as it is compared)."""
    return _email(await database.fetchrow("partners/find_email", kind, gst_number, email_key))


async def get(database: Database, partner_id: int) -> PartnerEmail | None:
    """The e-mail of a partner, or None when the partner is gone."""
    return _email(await database.fetchrow("partners/get_email", partner_id))


async def keep(database: Database, partner_id: int, jti: str, expires_at: datetime) -> Link | None:
    """Make this the partner's one link. Returns the link before, or None when the e-mail is verified already (or the
    partner is gone) and nothing was changed."""
    async with database.transaction() as connection:
        row = await connection.fetchrow(QUERIES["partners/keep_link"], partner_id, jti, expires_at)
    return None if row is None else Link(row["jti"], row["expires"])


async def restore(database: Database, partner_id: int, jti: str, earlier: Link) -> None:
    """Undo `keep` of a link that could not be sent, unless a later one has taken its place."""
    await database.fetch("partners/restore_link", partner_id, jti, earlier.jti, earlier.expires_at)


async def verify(database: Database, partner_id: int, jti: str) -> bool:
    """Record the e-mail as verified if this is its link and it is not verified yet. Of two at once one gets True."""
    return await database.fetchrow("partners/verify_email", partner_id, jti) is not None


def _email(row: Record | None) -> PartnerEmail | None:
    if row is None:
        return None
    return PartnerEmail(
        partner_id=row["id"],
        email=row["email"],
        token_generation=row["token_generation"],
        is_verified=row["email_verified_at"] is not None,
        link=Link(row["email_token_jti"], row["email_token_expires"]),
    )
