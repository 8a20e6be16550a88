"""Logistics partners, shippers and transporters: one typed function for each query file.

What lives here: their accounts. What must not: hashing, tokens, or the verification of their e-mail
(storage/email_links.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import asyncpg

from storage.database import Database
from storage.errors import AlreadyRegistered
from storage.sql import QUERIES

_CONSTRAINTS = {
    "partners_email_is_unique": "email",
    "partners_gst_number_is_unique": "gst",
    "partner_phones_is_unique": "phone",
}


class PartnerKind(StrEnum):
    """Same code, two kinds: what is unique is so within one."""

    SHIPPER = "shipper"
    TRANSPORTER = "transporter"


@dataclass(frozen=True, slots=True)
class NewPartner:
    """What a registration brings. Numbers as given and in E.164; `email_key` is the e-mail as it is compared."""

    kind: PartnerKind
    owner_name: str
    owner_contact_number: str
    owner_contact_e164: str
    phone_number: str
    phone_e164: str
    email: str
    email_key: str
    password_hash: str = field(repr=False)
    company_name: str
    company_address: str
    gst_number: str


@dataclass(frozen=True, slots=True)
class Created:
    """What the database says of a new partner."""

    partner_id: int
    created_at: datetime
    updated_at: datetime
    token_generation: int


@dataclass(frozen=True, slots=True)
class PartnerCredentials:
    """What a sign-in is checked against, and what its answer shows."""

    partner_id: int
    company_name: str
    email: str
    owner_contact_number: str
    password_hash: str = field(repr=False)
    token_generation: int


@dataclass(frozen=True, slots=True)
class Partner:
    """A partner as its holder sees it; never the password's hash."""

    partner_id: int
    kind: PartnerKind
    owner_name: str
    owner_contact_number: str
    phone_number: str
    email: str
    company_name: str
    company_address: str
    gst_number: str
    created_at: datetime
    updated_at: datetime
    is_email_verified: bool
    is_phone_verified: bool
    is_owner_contact_verified: bool


async def create(database: Database, partner: NewPartner) -> Created:
    """Make a partner. Raises AlreadyRegistered naming everything that is taken."""
    try:
        async with database.transaction() as connection:
            row = await connection.fetchrow(
                QUERIES["partners/create"],
                partner.kind,
                partner.owner_name,
                partner.owner_contact_number,
                partner.owner_contact_e164,
                partner.phone_number,
                partner.phone_e164,
                partner.email,
                partner.email_key,
                partner.password_hash,
                partner.company_name,
                partner.company_address,
                partner.gst_number,
            )
    except asyncpg.UniqueViolationError as fault:
        taken = await find_taken(
            database,
            partner.kind,
            email_key=partner.email_key,
            gst_number=partner.gst_number,
            phones=(partner.owner_contact_e164, partner.phone_e164),
        )
        # What stood in the way may be gone by now; it stood there all the same.
        raise AlreadyRegistered(taken or (_CONSTRAINTS[str(fault.constraint_name)],)) from fault
    assert row is not None, "an INSERT that raised nothing returned its row"
    return Created(row["id"], row["created_at"], row["updated_at"], row["token_generation"])


async def find_taken(
    database: Database, kind: PartnerKind, *, email_key: str | None, gst_number: str | None, phones: Sequence[str]
) -> tuple[str, ...]:
    """Which of these belong to a partner of the kind already: "email", "gst", "phone"."""
    row = await database.fetchrow("partners/find_taken", kind, email_key, gst_number, list(phones))
    assert row is not None, "a SELECT without FROM returns a row"
    return tuple(name for name in ("email", "gst", "phone") if row[name])


async def find_credentials_by_email(database: Database, kind: PartnerKind, email_key: str) -> PartnerCredentials | None:
    """The partner of this kind with this e-mail as it is compared."""
    row = await database.fetchrow("partners/find_credentials_by_email", kind, email_key)
    return None if row is None else _credentials(row)


async def find_credentials_by_phone(database: Database, kind: PartnerKind, phone: str) -> PartnerCredentials | None:
    """The partner of this kind one of whose numbers this is (E.164)."""
    row = await database.fetchrow("partners/find_credentials_by_phone", kind, phone)
    return None if row is None else _credentials(row)


async def get(database: Database, partner_id: int) -> Partner | None:
    """The partner, or None when it is gone."""
    row = await database.fetchrow("partners/get", partner_id)
    if row is None:
        return None
    return Partner(
        partner_id=row["id"],
        kind=PartnerKind(row["kind"]),
        owner_name=row["owner_name"],
        owner_contact_number=row["owner_contact_number"],
        phone_number=row["phone_number"],
        email=row["email"],
        company_name=row["company_name"],
        company_address=row["company_address"],
        gst_number=row["gst_number"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        is_email_verified=row["is_email_verified"],
        is_phone_verified=row["is_phone_verified"],
        is_owner_contact_verified=row["is_owner_contact_verified"],
    )


def _credentials(row: asyncpg.Record) -> PartnerCredentials:
    return PartnerCredentials(
        partner_id=row["id"],
        company_name=row["company_name"],
        email=row["email"],
        owner_contact_number=row["owner_contact_number"],
        password_hash=row["password_hash"],
        token_generation=row["token_generation"],
    )
