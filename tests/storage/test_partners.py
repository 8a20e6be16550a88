"""Partners, their links and verified numbers in PostgreSQL: what is unique, what is atomic."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest

from storage import email_links, partners, phones
from storage.database import Database
from storage.email_links import Link
from storage.errors import AlreadyRegistered
from storage.partners import NewPartner, PartnerKind

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
PARTNER = NewPartner(
    kind=PartnerKind.SHIPPER,
    owner_name="John Doe",
    owner_contact_number="9876543210",
    owner_contact_e164="+919876543210",
    phone_number="9876543211",
    phone_e164="+919876543211",
    email="John@example.com",
    email_key="john@example.com",
    password_hash="$2b$04$not-a-real-hash",
    company_name="ABC Logistics",
    company_address="123 Main St",
    gst_number="27AAPFU0939F1ZV",
)
OTHER = replace(
    PARTNER,
    owner_contact_e164="+919000000001",
    phone_e164="+919000000002",
    email_key="other@example.com",
    gst_number="29AAPFU0939F1ZV",
)
SOON = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(database_url, pool_size=8, timeout_s=4)
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"email_key": PARTNER.email_key}, ("email",)),
        ({"gst_number": PARTNER.gst_number}, ("gst",)),
        ({"phone_e164": PARTNER.phone_e164}, ("phone",)),
        ({"phone_e164": PARTNER.owner_contact_e164}, ("phone",)),
        ({"owner_contact_e164": PARTNER.phone_e164}, ("phone",)),
        ({"phone_e164": PARTNER.phone_e164, "email_key": PARTNER.email_key}, ("email", "phone")),
    ],
    ids=str,
)
async def test_a_taken_value_makes_nothing(
    database: Database, connection: Connection, changes: dict[str, Any], taken: tuple[str, ...]
) -> None:
    await partners.create(database, PARTNER)
    with pytest.raises(AlreadyRegistered) as caught:
        await partners.create(database, replace(OTHER, **changes))
    assert caught.value.what == taken
    counts = "SELECT (SELECT count(*) FROM partners), (SELECT count(*) FROM partner_phones)"
    assert tuple(await connection.fetchrow(counts) or ()) == (1, 2)


async def test_the_other_kind_may_hold_the_same_values(database: Database) -> None:
    shipper = await partners.create(database, PARTNER)
    transporter = await partners.create(database, replace(PARTNER, kind=PartnerKind.TRANSPORTER))
    assert shipper.partner_id != transporter.partner_id


async def test_what_stood_in_the_way_and_went_is_still_named(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await partners.create(database, PARTNER)

    async def nothing(*_: object, **__: object) -> tuple[str, ...]:
        return ()

    monkeypatch.setattr(partners, "find_taken", nothing)
    with pytest.raises(AlreadyRegistered) as caught:
        await partners.create(database, PARTNER)
    assert caught.value.what == ("email",)


async def test_a_number_goes_with_its_partner(database: Database, connection: Connection) -> None:
    await partners.create(database, PARTNER)
    await connection.execute("DELETE FROM partners")
    await partners.create(database, PARTNER)


async def test_a_partner_is_found_by_each_number_of_its_kind(database: Database) -> None:
    made = await partners.create(database, PARTNER)
    for phone in (PARTNER.phone_e164, PARTNER.owner_contact_e164):
        found = await partners.find_credentials_by_phone(database, PartnerKind.SHIPPER, phone)
        assert found is not None
        assert found.partner_id == made.partner_id
        assert await partners.find_credentials_by_phone(database, PartnerKind.TRANSPORTER, phone) is None


async def test_a_password_s_hash_stands_in_no_repr(database: Database) -> None:
    await partners.create(database, PARTNER)
    found = await partners.find_credentials_by_email(database, PartnerKind.SHIPPER, PARTNER.email_key)
    assert found is not None
    assert found.password_hash == PARTNER.password_hash
    assert PARTNER.password_hash not in repr(found)
    assert PARTNER.password_hash not in repr(PARTNER)


async def test_a_number_that_is_not_e164_is_refused_by_the_database(database: Database) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await partners.create(database, replace(PARTNER, phone_e164="9876543210"))
    with pytest.raises(asyncpg.CheckViolationError):
        await partners.create(database, replace(PARTNER, owner_contact_e164="9876543210"))


async def test_a_link_is_told_with_the_one_before_it(database: Database) -> None:
    made = await partners.create(database, PARTNER)
    assert await email_links.keep(database, made.partner_id, "first", SOON) == Link(None, None)
    assert await email_links.keep(database, made.partner_id, "second", SOON) == Link("first", SOON)


async def test_an_unsent_link_gives_way_to_the_one_before_it(database: Database) -> None:
    made = await partners.create(database, PARTNER)
    await email_links.keep(database, made.partner_id, "first", SOON)
    earlier = await email_links.keep(database, made.partner_id, "unsent", SOON)
    assert earlier is not None
    await email_links.restore(database, made.partner_id, "unsent", earlier)
    assert not await email_links.verify(database, made.partner_id, "unsent")
    assert await email_links.verify(database, made.partner_id, "first")


async def test_an_unsent_link_leaves_a_later_one_alone(database: Database) -> None:
    made = await partners.create(database, PARTNER)
    earlier = await email_links.keep(database, made.partner_id, "unsent", SOON)
    assert earlier is not None
    await email_links.keep(database, made.partner_id, "later", SOON)
    await email_links.restore(database, made.partner_id, "unsent", earlier)
    assert await email_links.verify(database, made.partner_id, "later")


async def test_a_verified_email_takes_no_new_link(database: Database) -> None:
    made = await partners.create(database, PARTNER)
    await email_links.keep(database, made.partner_id, "first", SOON)
    assert await email_links.verify(database, made.partner_id, "first")
    assert await email_links.keep(database, made.partner_id, "second", SOON) is None
    found = await email_links.get(database, made.partner_id)
    assert found is not None
    assert (found.is_verified, found.link.jti) == (True, "first")


async def test_a_click_that_waits_for_a_new_link_is_refused(database: Database, connection: Connection) -> None:
    made = await partners.create(database, PARTNER)
    await email_links.keep(database, made.partner_id, "first", SOON)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("UPDATE partners SET email_token_jti = 'second'")
    click = asyncio.create_task(email_links.verify(database, made.partner_id, "first"))
    await until_somebody_waits(connection)
    await transaction.commit()
    assert not await click


async def test_a_new_link_that_waits_for_a_click_is_not_kept(database: Database, connection: Connection) -> None:
    made = await partners.create(database, PARTNER)
    await email_links.keep(database, made.partner_id, "first", SOON)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("UPDATE partners SET email_verified_at = clock_timestamp()")
    sending = asyncio.create_task(email_links.keep(database, made.partner_id, "second", SOON))
    await until_somebody_waits(connection)
    await transaction.commit()
    assert await sending is None


async def test_numbers_are_taken_in_one_order_so_that_nobody_waits_in_a_circle(
    database: Database, connection: Connection
) -> None:
    holder = await partners.create(database, OTHER)
    take = "INSERT INTO partner_phones (kind, phone, partner_id) VALUES ('shipper', $1, $2)"
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(take, "+919876543210", holder.partner_id)
    # The owner's number is the greater one here: taken in the order of the columns it would be held by now.
    crossed = replace(PARTNER, owner_contact_e164="+919876543211", phone_e164="+919876543210")
    registration = asyncio.create_task(partners.create(database, crossed))
    await until_somebody_waits(connection)
    await connection.execute(take, "+919876543211", holder.partner_id)
    await transaction.commit()
    with pytest.raises(AlreadyRegistered):
        await registration


async def until_somebody_waits(connection: Connection) -> None:
    """Return once another connection waits for a lock that this one's transaction holds."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    async with asyncio.timeout(5):
        while not await connection.fetchval(waiting):  # noqa: ASYNC110 - PostgreSQL announces no waiting
            await asyncio.sleep(0.01)


async def test_a_verified_number_may_be_verified_again(database: Database, connection: Connection) -> None:
    await phones.verify(database, "+911234567890")
    first = await connection.fetchval("SELECT verified_at FROM verified_phones")
    await phones.verify(database, "+911234567890")
    [row] = await connection.fetch("SELECT verified_at FROM verified_phones")
    assert row["verified_at"] > first
