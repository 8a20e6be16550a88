"""Kept readings, against a plain model of them; and what an account's feed reads of them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date
from typing import TypeAlias

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from market.readings import Metered
from storage import accounts, readings
from storage.accounts import NewAccount
from storage.database import Database
from storage.errors import AccountGone, TooManyCorrections
from storage.sql import QUERIES
from tests.cleared import give
from tests.factories import new_phone

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
DAY, NEXT_DAY = date(2026, 11, 21), date(2026, 11, 22)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(database_url, pool_size=4, timeout_s=4)
    yield opened
    await opened.close()


async def new_account(database: Database, kind: str = "prosumer") -> int:
    phone = new_phone()
    made = await accounts.create(database, NewAccount(kind, phone, "Asha", f"+91{phone}", phone, "hash"))
    return made.account_id


def sold(net: int, generated: int = 1000) -> Metered:
    return Metered(solar_generation=generated, net_energy=net)


async def clear(connection: Connection, account: int, day: date, **volumes: int) -> None:
    """Clear a day; `slot_41=1000` is what the account was given there."""
    await connection.execute(
        "INSERT INTO delivery_days (delivery_day, state) VALUES ($1, 'cleared')"
        " ON CONFLICT (delivery_day) DO UPDATE SET state = 'cleared'",
        day,
    )
    position = {slot: volumes[f"slot_{slot}"] for slot in range(1, 97) if f"slot_{slot}" in volumes}
    await give(connection, account, day, position)


@dataclass
class Model:
    """What an account's readings are, as simply as it can be said."""

    seq: int = 0
    kept: dict[tuple[date, int], list[Metered]] = field(default_factory=dict)
    log: list[tuple[int, date, int, int, Metered]] = field(default_factory=list)

    def record(self, day: date, metered: dict[int, Metered]) -> list[tuple[int, int, Metered]]:
        changed = [slot for slot in sorted(metered) if self.kept.get((day, slot), [None])[-1] != metered[slot]]
        self.seq += bool(changed)
        for slot in changed:
            revisions = self.kept.setdefault((day, slot), [])
            revisions.append(metered[slot])
            self.log.append((self.seq, day, slot, len(revisions), metered[slot]))
        return [(slot, len(self.kept[day, slot]), metered[slot]) for slot in sorted(metered)]


reports = st.lists(
    st.tuples(
        st.sampled_from([DAY, NEXT_DAY]),
        st.dictionaries(
            st.sampled_from([1, 2, 41, 96]),
            st.builds(sold, st.sampled_from([-5, 0, 5]), st.sampled_from([7, 9])),
            min_size=1,
        ),
    ),
    max_size=12,
)


# Failures are shown as they were found: to look for smaller ones takes a database longer than a test may last.
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(sent=reports)
async def test_any_reports_leave_what_a_plain_model_holds(
    database: Database, connection: Connection, sent: list[tuple[date, dict[int, Metered]]]
) -> None:
    account, model = await new_account(database), Model()
    for day, metered in sent:
        found = await readings.record(database, account, day, metered)
        assert [(one.slot, one.revision, one.metered) for one in found] == model.record(day, metered)
    for day in (DAY, NEXT_DAY):
        assert [(one.slot, one.revision, one.metered) for one in await readings.list_own(database, account, day)] == [
            (slot, revision, metered)
            for (of, slot), revisions in sorted(model.kept.items(), key=lambda item: item[0])
            if of == day
            for revision, metered in enumerate(revisions, start=1)
        ]
    log = await readings.list_reports(database, [account], [0], 1000)
    assert [
        (
            one.account_seq,
            one.delivery_day,
            one.slot,
            one.revision,
            sold(one.net_energy or 0, one.solar_generation or 0),
        )
        for one in log
    ] == model.log
    assert await connection.fetchval("SELECT last_seq FROM account_feeds WHERE account_id = $1", account) == model.seq


async def test_what_a_report_returns_is_what_is_read_afterwards(database: Database, connection: Connection) -> None:
    account = await new_account(database)
    await clear(connection, account, DAY, slot_41=700)
    first = await readings.record(database, account, DAY, {41: sold(1), 2: sold(2)})
    assert await readings.list_own(database, account, DAY) == first
    assert len({one.recorded_at for one in first}) == 1, "one report has one instant"
    assert [one.deviation for one in first] == [2, -699]
    second = await readings.record(database, account, DAY, {41: sold(5), 2: sold(2)})
    assert await readings.list_own(database, account, DAY) == [second[0], first[1], second[1]]
    assert second[0] == first[0]
    assert second[1].recorded_at > first[1].recorded_at


async def test_reports_at_one_instant_are_written_one_after_another(database: Database) -> None:
    for values in ([7] * 8, list(range(8))):
        account = await new_account(database)
        await asyncio.gather(*(readings.record(database, account, DAY, {41: sold(net), 42: sold(0)}) for net in values))
        log = await readings.list_reports(database, [account], [0], 1000)
        assert {one.net_energy for one in log if one.slot == 41} == set(values)
        events = [(one.account_seq, one.revision) for one in log if one.slot == 41]
        assert events == [(n, n) for n in range(1, len(set(values)) + 1)]
        assert [one.account_seq for one in log if one.slot == 42] == [1]


async def test_a_slot_takes_so_many_values_and_then_no_other(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "MAX_REVISIONS", 2)
    account = await new_account(database)
    for net in (1, 2):
        await readings.record(database, account, DAY, {41: sold(net)})
    with pytest.raises(TooManyCorrections) as refused:
        await readings.record(database, account, DAY, {41: sold(3), 42: sold(3)})
    assert refused.value.slots == [41]
    kept = await readings.record(database, account, DAY, {41: sold(2)})
    assert await readings.list_own(database, account, DAY) == [*await _first_of(database, account), *kept]
    assert await connection.fetchval("SELECT last_seq FROM account_feeds WHERE account_id = $1", account) == 2


async def _first_of(database: Database, account: int) -> list[readings.StoredReading]:
    return (await readings.list_own(database, account, DAY))[:1]


async def test_an_account_that_is_gone_has_no_readings(database: Database, connection: Connection) -> None:
    account = await new_account(database)
    await readings.record(database, account, DAY, {41: sold(1)})
    await connection.execute("DELETE FROM accounts WHERE id = $1", account)
    with pytest.raises(AccountGone):
        await readings.record(database, account, DAY, {41: sold(1)})
    assert await readings.list_own(database, account, DAY) == []
    assert await readings.list_reports(database, [account], [0], 10) == []


async def test_the_feed_reads_each_account_beyond_its_own_number(database: Database) -> None:
    one, other, silent = [await new_account(database) for _ in range(3)]
    third = await new_account(database)
    for account in (one, other, third):
        for net in (1, 2, 3):
            await readings.record(database, account, DAY, {41: sold(net)})
    found = await readings.list_reports(database, [other, silent, one], [2, 0, 1], 1000)
    assert [(row.account_id, row.account_seq, row.net_energy) for row in found] == [
        (one, 2, 2),
        (one, 3, 3),
        (other, 3, 3),
    ]
    assert await readings.list_reports(database, [], [], 1000) == []
    assert await readings.list_reports(database, [one], [3], 1000) == []


async def test_the_feed_s_limit_is_of_each_account_and_cuts_no_report(database: Database) -> None:
    one, other = await new_account(database), await new_account(database)
    for account in (one, other):
        await readings.record(database, account, DAY, {slot: sold(1) for slot in (1, 2, 3)})
        await readings.record(database, account, DAY, {slot: sold(2) for slot in (1, 2, 3)})
    for limit, numbers in ((1, [1] * 3), (3, [1] * 3), (4, [1] * 3 + [2] * 3), (6, [1] * 3 + [2] * 3)):
        found = await readings.list_reports(database, [one, other], [0, 0], limit)
        assert [row.account_seq for row in found if row.account_id == one] == numbers
        assert [row.account_seq for row in found if row.account_id == other] == numbers
        assert [row.slot for row in found] == [1, 2, 3] * (len(found) // 3)


async def test_the_feed_is_told_what_was_cleared_once_the_day_is(database: Database, connection: Connection) -> None:
    seller, buyer = await new_account(database), await new_account(database, "consumer")
    await readings.record(database, seller, DAY, {41: sold(800), 42: sold(-100)})
    await readings.record(database, seller, NEXT_DAY, {41: sold(1)})
    await readings.record(database, buyer, DAY, {41: Metered(energy_consumption=50)})

    async def told() -> list[tuple[int | None, int | None]]:
        found = await readings.list_reports(database, [seller, buyer], [0, 0], 1000)
        return [(row.cleared, row.deviation) for row in found]

    assert await told() == [(None, None)] * 4
    await connection.execute("INSERT INTO delivery_days (delivery_day, state) VALUES ($1, 'closed')", DAY)
    assert await told() == [(None, None)] * 4, "closed is not cleared"
    await clear(connection, seller, DAY, slot_3=5, slot_41=1000, slot_96=7)
    assert await told() == [(1000, -200), (0, -100), (None, None), (0, 50)]


async def test_the_feed_s_read_looks_only_at_what_is_new(database: Database, connection: Connection) -> None:
    account = await new_account(database)
    await connection.execute(
        "INSERT INTO readings (account_id, delivery_day, slot, revision, account_seq, energy_consumption)"
        " SELECT $1, $2::date - n / 96, n % 96 + 1, 1, n, 1 FROM generate_series(1, 20000) AS n",
        account,
        DAY,
    )
    await connection.execute("ANALYZE readings")
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    plan = await connection.fetch(f"EXPLAIN ANALYZE {QUERIES['readings/list_reports']}", [account], [19990], 500)
    text = "\n".join(row[0] for row in plan)
    assert "Index Cond: ((account_id = u.account_id) AND (account_seq > u.after))" in text, text
    assert "Seq Scan on readings" not in text, text
