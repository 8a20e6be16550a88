"""Energy accounts and their set-up: one typed function for each query file.

What lives here: reading and writing them. What must not: hashing, tokens, or what a password may be.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg
from asyncpg import Record

from storage.database import Connection, Database
from storage.errors import AccountGone, AlreadyRegistered
from storage.sql import QUERIES

_CONSTRAINTS = {"accounts_connection_is_unique": "connection", "accounts_phone_is_unique": "phone"}


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What a sign-up brings; `phone` is E.164, `phone_as_given` how the user wrote it."""

    account_type: str
    connection_id: str
    username: str
    phone: str
    phone_as_given: str
    password_hash: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a sign-in is checked against."""

    account_id: int
    connection_id: str
    password_hash: str
    token_generation: int


@dataclass(frozen=True, slots=True)
class Setup:
    """A household's set-up; capacity, load and demand in kW, position, tilt and azimuth in degrees."""

    city: str
    pincode: str
    gps: tuple[Decimal, Decimal]
    year: int
    load_kw: Decimal
    solar_capacity_kw: Decimal | None = None
    solar_brand: str | None = None
    state: str | None = None
    tilt_degrees: Decimal | None = None
    azimuth_degrees: Decimal | None = None
    demand_kw: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its holder sees it; never the password's hash."""

    account_id: int
    account_type: str
    connection_id: str
    username: str
    phone_as_given: str
    created_at: datetime
    setup: Setup | None


async def create(database: Database, account: NewAccount) -> Credentials:
    """Make an account. Raises AlreadyRegistered naming everything that is taken."""
    try:
        async with database.transaction() as connection:
            row = await connection.fetchrow(
                QUERIES["accounts/create"],
                account.account_type,
                account.connection_id,
                account.username,
                account.phone,
                account.phone_as_given,
                account.password_hash,
            )
    except asyncpg.UniqueViolationError as fault:
        taken = await _taken(database, account)
        raise AlreadyRegistered(taken or (_CONSTRAINTS[str(fault.constraint_name)],)) from fault
    return _credentials(_present(row))


async def _taken(database: Database, account: NewAccount) -> tuple[str, ...]:
    row = _present(
        await database.fetchrow("accounts/find_taken", account.account_type, account.connection_id, account.phone)
    )
    return tuple(name for name in ("phone", "connection") if row[name])


async def find_credentials(database: Database, account_type: str, phone: str) -> Credentials | None:
    """What a sign-in to the account of this type and number (E.164) is checked against."""
    row = await database.fetchrow("accounts/find_credentials", account_type, phone)
    return None if row is None else _credentials(row)


async def get_credentials(database: Database, account_id: int) -> Credentials:
    """What the account's own password is checked against. Raises AccountGone."""
    return _credentials(_present(await database.fetchrow("accounts/get_credentials", account_id)))


async def change_password(database: Database, account_id: int, password_hash: str, generation: int) -> int:
    """Set the password and revoke every token, if the account's tokens are still of `generation`: of two changes at
    once the second must know the first's password. Returns the new generation. Raises AccountGone."""
    async with database.transaction() as connection:
        row = await connection.fetchrow(QUERIES["accounts/change_password"], account_id, password_hash, generation)
    return int(_present(row)["token_generation"])


async def get(database: Database, account_id: int) -> Account:
    """The account and its set-up. Raises AccountGone."""
    row = _present(await database.fetchrow("accounts/get", account_id))
    return Account(
        account_id=row["id"],
        account_type=row["account_type"],
        connection_id=row["connection_id"],
        username=row["username"],
        phone_as_given=row["phone_as_given"],
        created_at=row["created_at"],
        setup=_setup(row) if row["city"] is not None else None,
    )


async def save_setup(database: Database, account_id: int, setup: Setup) -> None:
    """Record the set-up in place of an earlier one. Raises AccountGone."""
    try:
        async with database.transaction() as connection:
            await _save_setup(connection, account_id, setup)
    except asyncpg.ForeignKeyViolationError as fault:
        raise AccountGone from fault


async def _save_setup(connection: Connection, account_id: int, setup: Setup) -> None:
    await connection.execute(
        QUERIES["accounts/save_setup"],
        account_id,
        setup.solar_capacity_kw,
        setup.solar_brand,
        setup.load_kw,
        setup.demand_kw,
        setup.city,
        setup.state,
        setup.pincode,
        *setup.gps,
        setup.year,
        setup.tilt_degrees,
        setup.azimuth_degrees,
    )


def _present(row: Record | None) -> Record:
    if row is None:
        raise AccountGone
    return row


def _credentials(row: Record) -> Credentials:
    return Credentials(row["id"], row["connection_id"], row["password_hash"], row["token_generation"])


def _setup(row: Any) -> Setup:
    return Setup(
        city=row["city"],
        pincode=row["pincode"],
        gps=(row["latitude"], row["longitude"]),
        year=row["year"],
        load_kw=row["load_kw"],
        solar_capacity_kw=row["solar_capacity_kw"],
        solar_brand=row["solar_brand"],
        state=row["state"],
        tilt_degrees=row["tilt_degrees"],
        azimuth_degrees=row["azimuth_degrees"],
        demand_kw=row["demand_kw"],
    )
