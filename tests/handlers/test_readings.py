"""POST and GET /readings: what a meter may say, what becomes of a correction, and whose business it is."""

import asyncio
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg
import pytest

from storage import readings as stored_readings
from storage.sql import QUERIES
from tests.answers import Answer, assert_invalid, assert_refused, call
from tests.cleared import give
from tests.clock import Clock, india_at, india_day
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, place, sign_up
from tests.mutants import meeting, mutate

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
READINGS = "/readings"
SLOTS = 96


def produced(timeslot: Any = "10:00-10:15", generated: Any = "1.2", net: Any = "0.8") -> dict[str, Any]:
    """A prosumer's reading as a client sends it."""
    return {"timeslot": timeslot, "solarGeneration": generated, "netEnergy": net}


def consumed(timeslot: Any = "10:00-10:15", energy: Any = "0.4") -> dict[str, Any]:
    """A consumer's reading as a client sends it."""
    return {"timeslot": timeslot, "energyConsumption": energy}


async def send(client: Client, household: Household, *readings: Any, **more: Any) -> Answer:
    """A report of yesterday, unless another date is given."""
    return await call(
        client, "POST", READINGS, {"date": india_day(-1), "readings": list(readings), **more}, by=household
    )


async def report(client: Client, household: Household, *readings: Any, **more: Any) -> list[dict[str, Any]]:
    """A report that must be accepted; the readings of the answer."""
    answer = await send(client, household, *readings, **more)
    assert answer.status == 200, answer
    assert set(answer.body) == {"message", "date", "readings"}
    found: list[dict[str, Any]] = answer.body["readings"]
    return found


async def listed(client: Client, household: Household, day: str | None = None) -> list[dict[str, Any]]:
    """The account's readings of a day, yesterday if none is given."""
    answer = await call(client, "GET", f"{READINGS}?date={day or india_day(-1)}", by=household)
    assert answer.status == 200, answer
    assert answer.body["date"] == (day or india_day(-1))
    found: list[dict[str, Any]] = answer.body["readings"]
    return found


async def clear(connection: Connection, account: Household | None = None, **volumes: int) -> None:
    """Clear yesterday; `slot_41=1000` is what the account was given there, in ticks."""
    await connection.execute(
        "INSERT INTO delivery_days (delivery_day, state) VALUES ($1::text::date, 'cleared')"
        " ON CONFLICT (delivery_day) DO UPDATE SET state = 'cleared'",
        india_day(-1),
    )
    if account is not None:
        found = await connection.fetchval("SELECT id FROM accounts WHERE connection_id = $1", account.connection_id)
        position = {slot: volumes[f"slot_{slot}"] for slot in range(1, SLOTS + 1) if f"slot_{slot}" in volumes}
        await give(connection, found, date.fromisoformat(india_day(-1)), position)


async def log(connection: Connection) -> list[tuple[int, int, int]]:
    """Every row's number in its account's sequence, its slot and its revision."""
    rows = await connection.fetch("SELECT account_seq, slot, revision FROM readings ORDER BY account_id, 1, 2, 3")
    return [(row["account_seq"], row["slot"], row["revision"]) for row in rows]


def instant(text: str) -> datetime:
    assert text.endswith("Z"), text
    return datetime.fromisoformat(text)


async def test_a_prosumers_readings_are_recorded_and_shown_whole(client: Client) -> None:
    household = await sign_up(client)
    before = datetime.now().astimezone() - timedelta(seconds=1)
    answer = await send(client, household, produced("10:15", "1.25", "-0.5"), produced("10:00"))
    assert answer.status == 200, answer
    first, second = answer.body["readings"]
    assert answer.body == {"message": "Readings recorded", "date": india_day(-1), "readings": [first, second]}
    assert before < instant(first["recordedAt"]) < datetime.now().astimezone() + timedelta(seconds=1)
    assert first == {
        "timeslot": "10:00-10:15",
        "solarGeneration": "1.200",
        "netEnergy": "0.800",
        "deviation": None,
        "revision": 1,
        "recordedAt": first["recordedAt"],
    }
    assert second == {**first, "timeslot": "10:15-10:30", "solarGeneration": "1.250", "netEnergy": "-0.500"}
    assert await listed(client, household) == [{**first, "history": []}, {**second, "history": []}]


async def test_a_consumers_readings_are_recorded_and_shown_whole(client: Client) -> None:
    household = await sign_up(client, "consumer")
    (shown,) = await report(client, household, consumed("23:45-24:00", "0"))
    assert shown == {
        "timeslot": "23:45-24:00",
        "energyConsumption": "0.000",
        "deviation": None,
        "revision": 1,
        "recordedAt": shown["recordedAt"],
    }
    assert await listed(client, household) == [{**shown, "history": []}]


async def test_one_reading_may_stand_beside_its_date(client: Client) -> None:
    household = await sign_up(client)
    single = await call(client, "POST", READINGS, {"date": india_day(-1), **produced()}, by=household)
    assert single.status == 200, single
    null = await call(client, "POST", READINGS, {"date": india_day(-1), "readings": None, **produced()}, by=household)
    assert null.body == single.body
    faulty = {"date": india_day(-1), **produced(25.5, None, "x")}
    errors = assert_invalid(await call(client, "POST", READINGS, faulty, by=household))
    assert [error.split()[0] for error in errors] == ["timeslot", "solarGeneration", "netEnergy"]
    beside = await report(client, household, produced("11:00"), timeslot="12:00", netEnergy="x")
    assert [one["timeslot"] for one in beside] == ["11:00-11:15"], "readings there are, the rest is ignored"


@pytest.mark.parametrize("same", ["10:00-10:15", "10:00", "41", 41, 41.0], ids=repr)
async def test_a_slot_may_be_written_in_any_of_its_ways(client: Client, same: Any) -> None:
    household = await sign_up(client, "consumer")
    assert (await report(client, household, consumed(same)))[0]["timeslot"] == "10:00-10:15"


async def test_values_are_exact_as_texts_and_as_json_numbers(client: Client) -> None:
    household = await sign_up(client)
    raw = '{"date":"%s","readings":[{"timeslot":1,"solarGeneration":1.005,"netEnergy":-1000000},%s]}'
    same = '{"timeslot":2,"solarGeneration":"999999.999","netEnergy":1e2}'
    answer = await call(client, "POST", READINGS, data=(raw % (india_day(-1), same)).encode(), by=household)
    assert answer.status == 200, answer
    values = [(one["solarGeneration"], one["netEnergy"]) for one in answer.body["readings"]]
    assert values == [("1.005", "-1000000.000"), ("999999.999", "100.000")]


async def test_a_value_is_a_multiple_of_the_tick_within_bounds(client: Client) -> None:
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    texts = ("", "NaN", "-0", "1e3", "१", "0.0001", "1000000.001", "-1000000.001", "9" * 5000, "1\x00")
    more: tuple[Any, ...] = (None, True, [], {}, 2**70, -(2**70), 1e-9)
    for wrong in (*texts, *more):
        for name in ("solarGeneration", "netEnergy"):
            assert_invalid(await send(client, seller, {**produced(), name: wrong}), name)
        assert_invalid(await send(client, buyer, consumed(energy=wrong)), "energyConsumption")
    assert_invalid(await send(client, seller, produced(generated="-0.001")), "solarGeneration")
    assert_invalid(await send(client, buyer, consumed(energy=-1)), "energyConsumption")
    for number in ("NaN", "1e999", "-0", "-0.0", "0.00000000000000000001"):
        body = f'{{"date":"{india_day(-1)}","timeslot":1,"energyConsumption":{number}}}'.encode()
        assert_invalid(await call(client, "POST", READINGS, data=body, by=buyer))
    assert await listed(client, seller) == await listed(client, buyer) == []


async def test_tick_and_bound_are_the_markets(make_client: MakeClient) -> None:
    client = await make_client(market={"volume_tick": Decimal("0.5"), "max_volume": Decimal("20")})
    household = await sign_up(client)
    (shown,) = await report(client, household, produced(generated="20", net="-19.5"))
    assert (shown["solarGeneration"], shown["netEnergy"]) == ("20.0", "-19.5")
    errors = assert_invalid(await send(client, household, produced(generated="20.5", net="0.25")))
    assert errors == [
        "readings[0].solarGeneration must be from 0 to 20",
        "readings[0].netEnergy must be a multiple of 0.5",
    ]


async def test_all_faults_are_named_at_once_and_nothing_is_recorded(client: Client) -> None:
    household = await sign_up(client)
    answer = await send(
        client,
        household,
        produced("00:00"),
        produced("10:00-11:00", net="0.0005"),
        "10:00",
        {"timeslot": None},
        produced("1"),
        date="soon",
    )
    assert assert_invalid(answer) == [
        "date must be a day like 2026-11-23",
        "readings[1].timeslot must be a single slot like 10:00-10:15",
        "readings[1].netEnergy must be a multiple of 0.001",
        "readings[2] must be an object",
        "readings[3].timeslot is required",
        "readings[3].solarGeneration is required",
        "readings[3].netEnergy is required",
        "readings[4].timeslot must not repeat 00:00-00:15: it is readings[0].timeslot already",
    ]
    assert_invalid(await send(client, household, produced("00:00"), produced("01:00", net="x")), "netEnergy")
    assert await listed(client, household) == []


async def test_a_report_has_readings_of_a_day_at_most(client: Client) -> None:
    household = await sign_up(client, "consumer")
    whole = [consumed(slot, f"0.{slot:03}") for slot in range(SLOTS, 0, -1)]
    found = await report(client, household, *whole)
    assert [one["energyConsumption"] for one in found] == [f"0.{slot:03}" for slot in range(1, SLOTS + 1)]
    assert_invalid(await send(client, household, *whole, consumed(1)), "readings holds 97")
    wrong: tuple[Any, ...] = ([], "x", {}, 5, True)
    for readings in wrong:
        assert_invalid(await send(client, household, readings=readings), "readings")
    assert_invalid(await call(client, "POST", READINGS, {"date": india_day(-1)}, by=household), "readings is required")
    assert_invalid(await call(client, "POST", READINGS, {}, by=household), "date is required", "readings is required")
    bodies: tuple[Any, ...] = ([], "x", 1)
    for body in bodies:
        assert_invalid(await call(client, "POST", READINGS, body, by=household))


@pytest.mark.parametrize("wrong", ["97", "0", 0, -1, 1.5, "10:07", "10:00-10:30", "", "१", True, [], {}], ids=repr)
async def test_a_slot_that_is_none_is_refused(client: Client, wrong: Any) -> None:
    assert_invalid(await send(client, await sign_up(client, "consumer"), consumed(wrong)), "timeslot")


@pytest.mark.parametrize("wrong", [None, "", "soon", "2026-02-30", "20261121", "0001-01-01", 5, [], True], ids=repr)
async def test_a_date_that_is_none_is_refused(client: Client, wrong: Any) -> None:
    household = await sign_up(client, "consumer")
    assert_invalid(await send(client, household, consumed(), date=wrong), "date")
    if isinstance(wrong, str) and wrong:
        assert_invalid(await call(client, "GET", f"{READINGS}?date={wrong}", by=household), "date")


async def test_a_slot_takes_readings_from_its_end_on(make_client: MakeClient) -> None:
    clock = Clock(india_at(1, time(10, 14, 59, 999_000)))
    client = await make_client(clock=clock)
    household, today = await sign_up(client, "consumer"), india_day(1)
    (error,) = assert_invalid(await send(client, household, consumed("09:45"), consumed("10:00"), date=today))
    assert error == "readings[1].timeslot must be a slot that has ended: 10:00-10:15 has not ended yet"
    assert await listed(client, household, today) == []
    clock.move(milliseconds=1)
    assert len(await report(client, household, consumed("10:00"), date=today)) == 1
    both = assert_invalid(await send(client, household, consumed("10:15"), consumed("23:45", "x"), date=today))
    assert [error.split()[0] for error in both] == [
        "readings[0].timeslot",
        "readings[1].timeslot",
        "readings[1].energyConsumption",
    ]
    (error,) = assert_invalid(await send(client, household, consumed("00:00"), date=india_day(2)))
    assert error == f"date must not be after {today}: no slot of that day has ended yet"
    clock.at = india_at(2, time(0))
    assert len(await report(client, household, consumed("23:45"), date=today)) == 1


async def test_without_a_date_todays_readings_are_listed(make_client: MakeClient) -> None:
    clock = Clock(india_at(1, time(0, 20)))
    client = await make_client(clock=clock)
    household = await sign_up(client, "consumer")
    await report(client, household, consumed("00:00"), date=india_day(1))
    answer = await call(client, "GET", READINGS, by=household)
    assert (answer.status, answer.body["date"], len(answer.body["readings"])) == (200, india_day(1), 1)
    clock.move(days=1)
    answer = await call(client, "GET", f"{READINGS}?date=", by=household)
    assert answer.body == {"date": india_day(2), "readings": []}


async def test_equal_values_again_change_nothing(client: Client, connection: Connection) -> None:
    household = await sign_up(client)
    first = await report(client, household, produced(), produced("11:00"))
    assert await report(client, household, produced(generated=1.2, net="0.800"), produced("11:00")) == first
    assert await log(connection) == [(1, 41, 1), (1, 45, 1)]
    assert await connection.fetchval("SELECT max(last_seq) FROM account_feeds") == 1


async def test_other_values_are_a_correction_and_the_earlier_ones_are_kept(
    client: Client, connection: Connection
) -> None:
    household = await sign_up(client)
    (first,) = await report(client, household, produced())
    (second,) = await report(client, household, produced(net="0.7"))
    other, third = await report(client, household, produced(), produced("09:00"))
    assert [one["revision"] for one in (first, second, third, other)] == [1, 2, 3, 1]
    assert third == {**first, "revision": 3, "recordedAt": third["recordedAt"]}, "back to what it was is a correction"
    earlier = [
        {name: one[name] for name in ("revision", "solarGeneration", "netEnergy", "recordedAt")}
        for one in (first, second)
    ]
    assert await listed(client, household) == [{**other, "history": []}, {**third, "history": earlier}]
    instants = [instant(one["recordedAt"]) for one in (first, second, third)]
    assert instants == sorted(instants)
    assert await log(connection) == [(1, 41, 1), (2, 41, 2), (3, 37, 1), (3, 41, 3)]


async def test_a_report_changes_only_what_differs(client: Client, connection: Connection) -> None:
    household = await sign_up(client, "consumer")
    first = await report(client, household, consumed(1), consumed(2), consumed(3))
    second = await report(client, household, consumed(1), consumed(2, "9"), consumed(3), consumed(4))
    assert [one["revision"] for one in second] == [1, 2, 1, 1]
    assert [second[0], second[2]] == [first[0], first[2]]
    assert await log(connection) == [(1, 1, 1), (1, 2, 1), (1, 3, 1), (2, 2, 2), (2, 4, 1)]


async def test_days_are_kept_apart(client: Client) -> None:
    household = await sign_up(client, "consumer")
    await report(client, household, consumed(energy="1"))
    (other,) = await report(client, household, consumed(energy="2"), date=india_day(-2))
    assert other["revision"] == 1
    assert [one["energyConsumption"] for one in await listed(client, household)] == ["1.000"]
    assert [one["energyConsumption"] for one in await listed(client, household, india_day(-2))] == ["2.000"]
    assert await listed(client, household, india_day(5)) == []


async def test_bids_and_readings_share_the_accounts_sequence(client: Client, connection: Connection) -> None:
    household = await sign_up(client)
    await report(client, household, produced())
    await place(client, household, bid(), bid("11:00"))
    await report(client, household, produced(net="0"), produced("11:00"))
    assert await log(connection) == [(1, 41, 1), (3, 41, 2), (3, 45, 1)]
    assert await connection.fetchval("SELECT account_seq FROM book_events") == 2
    assert await connection.fetchval("SELECT max(last_seq) FROM account_feeds") == 3


async def test_whatever_changes_a_reading_is_announced_once(client: Client, connection: Connection) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    await connection.add_listener("shakti_accounts", lambda *args: heard.put_nowait(str(args[-1])))
    household = await sign_up(client)
    account = await connection.fetchval("SELECT id FROM accounts")
    for net in ("1", "1", "2", "2"):
        await report(client, household, produced(net=net), produced("11:00", net=net))
    async with asyncio.timeout(5):
        assert [await heard.get() for _ in range(2)] == [f"{account} 1", f"{account} 2"]
    # Notifications come in the order of their commits: had the equal reports announced anything, it would be here.
    await connection.execute("SELECT pg_notify('shakti_accounts', 'last')")
    async with asyncio.timeout(5):
        assert await heard.get() == "last"


async def test_a_deviation_is_known_once_the_day_is_cleared(client: Client, connection: Connection) -> None:
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    await report(client, seller, produced(net="0.8"), produced("11:00", net="-0.1"))
    await report(client, buyer, consumed(energy="0.4"))

    async def deviations(household: Household) -> list[str | None]:
        return [one["deviation"] for one in await listed(client, household)]

    yesterday = date.fromisoformat(india_day(-1))
    # Else the server would close and clear the day: its time has come.
    assert await connection.fetchval(QUERIES["clearing/try_lock"], yesterday)
    await connection.execute("INSERT INTO delivery_days (delivery_day) VALUES ($1)", yesterday)
    for state in ("open", "closed"):
        await connection.execute("UPDATE delivery_days SET state = $1", state)
        assert await deviations(seller) == [None, None]
        assert await deviations(buyer) == [None]
        assert [one["deviation"] for one in await report(client, buyer, consumed(energy="0.4"))] == [None]
    await clear(connection, seller, slot_3=5, slot_41=1000, slot_96=7)
    assert await deviations(seller) == ["-0.200", "-0.100"]
    assert await deviations(buyer) == ["0.400"], "whose account has no position was cleared for nothing"
    again = await report(client, seller, produced(net="1.5"), produced("11:00", net="-0.1"), produced("12:00", net="2"))
    assert [one["deviation"] for one in again] == ["0.500", "-0.100", "2.000"]
    assert await deviations(seller) == ["0.500", "-0.100", "2.000"]
    await report(client, seller, produced(), date=india_day(-2))
    assert (await listed(client, seller, india_day(-2)))[0]["deviation"] is None, "another day is not cleared by it"


async def test_readings_are_the_accounts_own(client: Client, connection: Connection) -> None:
    owner = await sign_up(client)
    stranger, other_kind = await sign_up(client), await sign_up(client, "consumer", owner.phone)
    await report(client, owner, produced())
    await clear(connection, owner, slot_41=1000)
    for household in (stranger, other_kind):
        assert await listed(client, household) == []
    owner_id = await connection.fetchval("SELECT id FROM accounts WHERE connection_id = $1", owner.connection_id)
    lie = {"account_id": owner_id, "accountId": owner_id, "id": owner_id, "accountType": "prosumer"}
    answer = await call(client, "GET", f"{READINGS}?date={india_day(-1)}&account_id={owner_id}&id=1", by=stranger)
    assert answer.body["readings"] == []
    (mine,) = await report(client, stranger, {**produced(net="5"), **lie}, **lie)
    assert (mine["revision"], mine["netEnergy"], mine["deviation"]) == (1, "5.000", "5.000")
    assert [(one["revision"], one["deviation"]) for one in await listed(client, owner)] == [(1, "-0.200")]


async def test_a_request_says_nothing_but_its_readings(client: Client) -> None:
    """What else it holds is ignored, also the values that the other kind of account would send."""
    household = await sign_up(client)
    lie = {"revision": 7, "recordedAt": "2020-01-01T00:00:00Z", "deviation": "9", "history": [], "cleared": 5}
    (shown,) = await report(client, household, {**produced(), **lie, "energyConsumption": ["x"]}, **lie)
    assert (shown["revision"], shown["deviation"]) == (1, None)
    assert not shown["recordedAt"].startswith("2020")
    assert "energyConsumption" not in shown
    buyer = await sign_up(client, "consumer")
    (shown,) = await report(client, buyer, {**produced(net="x", generated={}), **consumed()})
    assert set(shown) == {"timeslot", "energyConsumption", "deviation", "revision", "recordedAt"}
    assert_invalid(await send(client, buyer, produced()), "energyConsumption is required")


async def test_readings_need_the_token_of_an_account(client: Client, connection: Connection) -> None:
    household = await sign_up(client, "consumer")
    for method in ("GET", "POST"):
        assert_refused(
            await call(client, method, READINGS, {"date": india_day(-1), **consumed()}), 401, "Invalid token"
        )
    await connection.execute("DELETE FROM account_feeds")
    assert_refused(await send(client, household, consumed()), 401, "Invalid token")


async def test_a_reading_that_was_corrected_too_often_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_readings, "MAX_REVISIONS", 2)
    household = await sign_up(client, "consumer")
    for energy in ("1", "2"):
        await report(client, household, consumed(energy=energy), consumed("11:00", energy))
    answer = await send(client, household, consumed(energy="3"), consumed("11:00", "3"), consumed("12:00"))
    assert_invalid(answer, "10:00-10:15 takes no other value", "11:00-11:15 takes no other value")
    assert [one["revision"] for one in await report(client, household, consumed(energy="2"))] == [2]
    assert len(await listed(client, household)) == 2


async def racing(here: Client, there: Client, household: Household, nets: list[str]) -> list[Answer]:
    """Reports of one slot at the same instant, by turns on two servers."""
    clients = [here, there] * len(nets)
    return list(
        await asyncio.gather(
            *(send(client, household, produced(net=net)) for client, net in zip(clients, nets, strict=False))
        )
    )


@pytest.mark.parametrize("nets", [["1"] * 6, ["1", "2", "3", "4", "5", "6"]], ids=["equal", "unequal"])
async def test_reports_at_the_same_instant_lose_and_double_nothing(
    make_client: MakeClient, connection: Connection, nets: list[str]
) -> None:
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    answers = await racing(here, there, household, nets)
    assert {answer.status for answer in answers} == {200}
    count = len(set(nets))
    assert await log(connection) == [(n, 41, n) for n in range(1, count + 1)]
    (shown,) = await listed(here, household)
    whole = [*shown["history"], shown]
    assert {Decimal(one["netEnergy"]) for one in whole} == {Decimal(net) for net in nets}
    told = {(one["revision"], one["netEnergy"]) for answer in answers for one in answer.body["readings"]}
    assert told == {(one["revision"], one["netEnergy"]) for one in whole}


async def test_reports_at_the_same_instant_fail_without_the_lock(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    mutate(monkeypatch, "readings/lock_account", "FOR UPDATE", "")
    meet: Callable[[], Any] = meeting(2)
    append = stored_readings._append

    async def append_together(*args: Any) -> Any:
        await meet()
        return await append(*args)

    monkeypatch.setattr(stored_readings, "_append", append_together)
    answers = await racing(here, there, household, ["1", "2"])
    assert sorted(answer.status for answer in answers) == [200, 500]
