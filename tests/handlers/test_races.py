"""Requests that race each other, each race beside its mutant: the same race with the lock taken out, seen to break.

A mutant widens the window that its missing lock leaves open, so that it loses every time; the real server must win
under the same requests. What has several locks (the day's row, and the key constraints below it) is shown to break
when all of them are gone.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg
import pytest

from storage import book_transaction
from storage.codes import Codes, ConsumedOtp, OtpAnswer, OtpRules
from storage.sql import QUERIES
from tests.answers import Answer, assert_refused, call
from tests.clock import IST, Clock
from tests.conftest import Client, MakeClient
from tests.factories import Household, ask_otp, bid, latest_otp, new_phone, place, sign_up
from tests.handlers.test_book import checksum
from tests.handlers.test_sign_up import sign_up as try_sign_up

PLACE = "/placebid/dayahead"
KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def mutate(monkeypatch: pytest.MonkeyPatch, query: str, old: str, new: str) -> None:
    """Replace a part of a query file for the rest of the test."""
    text = QUERIES[query]
    assert old in text, f"{query} has changed; the mutant must change with it"
    monkeypatch.setitem(QUERIES._texts, query, text.replace(old, new))


def without_the_lock_of_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers of one day read it without waiting for each other; the next two have both read before either writes."""
    mutate(monkeypatch, "book/lock_day", "FOR UPDATE", "")
    meet = meeting(2)
    write = book_transaction._keep

    async def keep(connection: Any, bound: Any, attempt: Any) -> None:
        await meet()
        await write(connection, bound, attempt)

    monkeypatch.setattr(book_transaction, "_keep", keep)


async def without_the_key_of_the_log(connection: Connection) -> None:
    """What catches two writers that took the same number."""
    await connection.execute("ALTER TABLE book_events DROP CONSTRAINT book_events_pkey")


def meeting(parties: int) -> Callable[[], Awaitable[None]]:
    """Where the first so many callers wait for each other; later ones pass."""
    barrier, expected = asyncio.Barrier(parties), iter(range(parties))

    async def meet() -> None:
        if next(expected, None) is not None:
            async with asyncio.timeout(10):
                await barrier.wait()

    return meet


async def racing_sign_ups(client: Client) -> list[int]:
    """Two sign-ups at once with one OTP; of both kinds, for which one number may have an account each."""
    phone = new_phone()
    otp = await ask_otp(client, phone)
    answers = await asyncio.gather(
        *(try_sign_up(client, phone, otp, accountType=kind) for kind in ("prosumer", "consumer"))
    )
    return sorted(answer.status for answer in answers)


def look_then_delete(monkeypatch: pytest.MonkeyPatch, parties: int) -> None:
    """Have OTPs tried in several steps, as one would write it first; so many have looked before the first deletes."""
    meet = meeting(parties)

    async def try_otp(
        self: Codes, purpose: str, phone: str, digest: str, rules: OtpRules
    ) -> tuple[OtpAnswer, ConsumedOtp | None]:
        key = f"otp:{purpose}:{phone}"
        redis = self._redis
        kept = await redis.hgetall(key)
        await meet()
        if kept.get("digest") == digest:
            await redis.delete(key)
            return OtpAnswer.RIGHT, ConsumedOtp(key, digest, 1000, 0)
        failures = int(kept.get("failures", 0)) + 1
        await redis.hset(key, "failures", failures)
        if failures >= rules.tries:
            await redis.delete(key)
        return OtpAnswer.WRONG, None

    monkeypatch.setattr(Codes, "try_otp", try_otp)


async def test_two_sign_ups_at_once_use_one_otp_once(client: Client) -> None:
    for _ in range(5):
        assert await racing_sign_ups(client) == [200, 401]


async def test_an_otp_that_is_looked_up_before_it_is_deleted_signs_up_two(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_then_delete(monkeypatch, 2)
    assert await racing_sign_ups(client) == [200, 200]


async def after_forty_guesses(client: Client) -> int:
    """The status of the right OTP after forty wrong guesses at the same instant."""
    phone = new_phone()
    otp = await ask_otp(client, phone)
    wrong = [f"{(int(otp) + n) % 1_000_000:06}" for n in range(1, 41)]
    answers = await asyncio.gather(*(try_sign_up(client, phone, guess) for guess in wrong))
    assert {answer.status for answer in answers} == {401}
    return (await try_sign_up(client, phone, otp)).status


async def test_forty_guesses_at_once_are_more_than_five_tries(client: Client) -> None:
    assert await after_forty_guesses(client) == 401


async def test_guesses_that_are_counted_in_two_steps_are_hardly_counted(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_then_delete(monkeypatch, 40)
    assert await after_forty_guesses(client) == 200


async def racing_twins(here: Client, there: Client, household: Household) -> tuple[list[Answer], int]:
    """Equal requests with one key at the same instant on two processes; their answers, and the bids in the book."""
    answers = await asyncio.gather(
        *(
            call(client, "POST", PLACE, {"arr": [bid("10:00", "1", "4")]}, by=household, headers=KEY)
            for client in (here, there) * 3
        )
    )
    levels = (await call(here, "GET", "/book/dayahead?timeslot=10:00", by=household)).body["lv"]
    return answers, sum(level[4] for level in levels)


async def test_equal_keys_at_the_same_instant_place_once(make_client: MakeClient) -> None:
    """Also for the first bids of a day, when the row whose lock orders everything does not exist yet."""
    here, there = await make_client(), await make_client()
    for earlier in range(3):
        household = await sign_up(here)
        answers, bids = await racing_twins(here, there, household)
        assert [answer.status for answer in answers] == [200] * 6
        assert all(answer.body == answers[0].body for answer in answers)
        assert bids == earlier + 1


async def test_equal_keys_place_twice_without_the_locks(
    make_client: MakeClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    for client in (here, there):
        await place(client, household, bid("00:00"))
    without_the_lock_of_the_day(monkeypatch)
    await without_the_key_of_the_log(connection)
    mutate(monkeypatch, "idempotency/keep", "WHERE k.created_at <=", "WHERE true OR k.created_at <=")
    _, bids = await racing_twins(here, there, household)
    assert bids == 2


async def test_an_otp_that_is_put_back_while_others_try_it_is_whole_again(client: Client) -> None:
    """Twenty sign-ups at once that fail over a taken connection: each uses the OTP up and gives it back. Seen to answer
    500 when giving back took two steps."""
    taken = await sign_up(client)
    for _ in range(3):
        phone = new_phone()
        otp = await ask_otp(client, phone)
        answers = await asyncio.gather(
            *(try_sign_up(client, phone, otp, connectionId=taken.connection_id) for _ in range(20))
        )
        assert {answer.status for answer in answers} <= {401, 409}
        assert (await try_sign_up(client, phone, otp)).status == 200


async def log_of(connection: Connection) -> list[tuple[int, int]]:
    """First and last number of every row of the log, in order."""
    rows = await connection.fetch("SELECT first_seq, last_seq FROM book_events ORDER BY first_seq, last_seq")
    return [(row["first_seq"], row["last_seq"]) for row in rows]


def has_gaps(log: Sequence[tuple[int, int]]) -> bool:
    """Whether the numbers are anything but 1, 2, 3, ..."""
    return [first for first, _ in log] != [1] + [last + 1 for _, last in log[:-1]]


async def open_levels(client: Client, *households: Household, day: date | None = None) -> list[list[Any]]:
    """The levels that the households' own lists add up to."""
    volumes: Counter[tuple[int, str, int]] = Counter()
    bids: Counter[tuple[int, str, int]] = Counter()
    query = f"?limit=1000&deliveryDate={day}" if day else "?limit=1000"
    for household in households:
        page = (await call(client, "GET", f"/bids/dayahead{query}", by=household)).body
        assert page["next"] is None
        for listed in page["bids"]:
            if listed["status"] == "open":
                hour, minute = listed["timeslot"][:5].split(":")
                slot = int(hour) * 4 + int(minute) // 15 + 1
                side = "S" if household.account_type == "prosumer" else "B"
                level = (slot, side, int(Decimal(listed["price"]) * 100))
                volumes[level] += int(Decimal(listed["volume"]) * 1000)
                bids[level] += 1
    return [[*level, volumes[level], bids[level]] for level in sorted(volumes)]


async def change_against_withdrawal(here: Client, there: Client, household: Household, bid_id: int) -> tuple[int, int]:
    """A change on one process and a withdrawal on another, at once, of one bid; both statuses."""
    changed, withdrawn = await asyncio.gather(
        call(here, "PATCH", f"/bids/dayahead/{bid_id}", {"price": "5"}, by=household),
        call(there, "DELETE", f"/bids/dayahead/{bid_id}", by=household),
    )
    if changed.status == 200:
        assert changed.body["seq"] < withdrawn.body["seq"], "a withdrawn bid takes no change"
    else:
        assert_refused(changed, 409)
    return changed.status, withdrawn.status


async def test_a_change_and_a_withdrawal_of_one_bid_have_one_order(
    make_client: MakeClient, connection: Connection
) -> None:
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    await place(there, household, bid("11:00", "7", "4"))
    for _ in range(15):
        bid_id = (await place(here, household, bid("10:00", "1", "4")))["bids"][0]["id"]
        assert await change_against_withdrawal(here, there, household, bid_id) in ((200, 200), (409, 200))
    assert not has_gaps(await log_of(connection))
    book = (await call(here, "GET", "/book/dayahead", by=household)).body
    assert book["lv"] == [[45, "S", 400, 7000, 1]] == await open_levels(here, household)
    assert book["crc"] == checksum(book["lv"])
    assert book["seq"] == (await log_of(connection))[-1][1]


async def test_without_the_locks_a_change_and_a_withdrawal_take_one_number(
    make_client: MakeClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    bid_id = (await place(there, household, bid("10:00", "1", "4")))["bids"][0]["id"]
    await place(here, household, bid("11:00", "7", "4"))
    without_the_lock_of_the_day(monkeypatch)
    await without_the_key_of_the_log(connection)
    with pytest.raises(AssertionError, match="a withdrawn bid takes no change"):
        await change_against_withdrawal(here, there, household, bid_id)
    assert has_gaps(await log_of(connection))
    book = (await call(here, "GET", "/book/dayahead", by=household)).body
    assert book.get("lv") != await open_levels(here, household), "the book and the bids disagree"


async def test_writers_on_two_processes_make_one_log_without_gaps(
    make_client: MakeClient, connection: Connection
) -> None:
    clients = [await make_client(), await make_client()]
    households = [await sign_up(clients[0], kind) for kind in ("prosumer", "consumer", "prosumer")]

    async def trade(client: Client, household: Household, number: int) -> None:
        placed = await place(client, household, bid("10:00-10:45", "3", str(number)), bid("11:00", "1", "4"))
        first, second = placed["bids"][0]["id"], placed["bids"][-1]["id"]
        amended = await call(client, "PATCH", f"/bids/dayahead/{first}", {"volume": "2", "price": "4"}, by=household)
        withdrawn = await call(client, "DELETE", f"/bids/dayahead/{second}", by=household)
        assert placed["seq"] < amended.body["seq"] < withdrawn.body["seq"]

    await asyncio.gather(
        *(trade(client, household, number) for number in range(1, 4) for client in clients for household in households)
    )
    log = await log_of(connection)
    assert not has_gaps(log)
    book = (await call(clients[1], "GET", "/book/dayahead", by=households[0])).body
    assert book["seq"] == log[-1][1] == 18 * 6
    assert book["lv"] == await open_levels(clients[0], *households)
    assert book["crc"] == checksum(book["lv"])


def gate_in(seconds: float) -> tuple[str, date, datetime]:
    """A gate closure that many seconds ahead or a little more: the setting, its delivery day, and the instant."""
    at = (datetime.now(IST) + timedelta(seconds=seconds)).replace(microsecond=0) + timedelta(seconds=1)
    if at.time() == datetime.min.time():
        return "24:00", at.date(), at
    return f"{at:%H:%M:%S}", at.date() + timedelta(days=1), at


async def until(instant: datetime) -> None:
    await asyncio.sleep(max(0.0, (instant - datetime.now(UTC)).total_seconds()) + 0.002)


async def place_until_closed(client: Client, household: Household, day: date) -> list[Answer]:
    """Placements for one day, one after another, until one is refused and three more."""
    answers: list[Answer] = []
    while sum(answer.status == 409 for answer in answers) < 4:
        body = {"arr": [bid("10:00", "1", "4")], "deliveryDate": day.isoformat()}
        answers.append(await call(client, "POST", PLACE, body, by=household))
    return answers


async def race_the_gate(make_client: MakeClient) -> tuple[list[list[Answer]], Client, Household, date]:
    """Four streams of placements on two processes, through the moment at which the gate closes."""
    seller = await sign_up(await make_client())
    closure, day, at = gate_in(0.8)
    clients = [await make_client(market={"gate_closure": closure}) for _ in range(2)]
    assert datetime.now(UTC) < at, "this machine is too slow for the test"
    streams = await asyncio.gather(*(place_until_closed(client, seller, day) for client in clients * 2))
    return streams, clients[0], seller, day


async def test_a_bid_that_races_the_gate_is_in_the_book_or_refused_and_the_day_stays_closed(
    make_client: MakeClient, connection: Connection
) -> None:
    streams, client, seller, day = await race_the_gate(make_client)
    placed = []
    for stream in streams:
        statuses = [answer.status for answer in stream]
        assert statuses == sorted(statuses), "nothing is accepted after the first refusal"
        assert set(statuses) == {200, 409}, "the race began before the gate"
        placed += [answer.body["bids"][0]["id"] for answer in stream if answer.status == 200]
    book = (await call(client, "GET", f"/book/dayahead?deliveryDate={day}", by=seller)).body
    assert book["lv"] == [[41, "S", 400, 1000 * len(placed), len(placed)]]
    assert book["lv"] == await open_levels(client, seller, day=day)
    assert book["state"] == "closed"
    assert book["seq"] == len(placed) + 1, "the last event is the gate"
    assert not has_gaps(await log_of(connection))

    stepped_back = Clock(datetime.now(UTC) - timedelta(hours=2))
    for again in (
        client,
        await make_client(market={"gate_closure": "24:00"}),
        await make_client(clock=stepped_back, market={"gate_closure": "24:00"}),
    ):
        body = {"arr": [bid()], "deliveryDate": day.isoformat()}
        assert_refused(await call(again, "POST", PLACE, body, by=seller), 409)
        assert_refused(await call(again, "PATCH", f"/bids/dayahead/{placed[0]}", {"price": "5"}, by=seller), 409)
        assert_refused(await call(again, "DELETE", f"/bids/dayahead/{placed[0]}", by=seller), 409)
        unpinned = await call(again, "POST", PLACE, {"arr": [bid()]}, by=seller)
        assert unpinned.status == 200, unpinned
        assert unpinned.body["deliveryDate"] == (day + timedelta(days=1)).isoformat()
        now = (await call(again, "GET", f"/book/dayahead?deliveryDate={day}", by=seller)).body
        assert {**now, "gate": book["gate"]} == book


async def test_without_the_state_of_the_day_a_gate_that_moves_back_opens_it_again(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch, "book/advance_day", "state = $4", "state = CASE WHEN $4 = '' THEN $4 ELSE 'open' END")
    _, _, seller, day = await race_the_gate(make_client)
    later = await make_client(market={"gate_closure": "24:00"})
    body = {"arr": [bid()], "deliveryDate": day.isoformat()}
    assert (await call(later, "POST", PLACE, body, by=seller)).status == 200


async def held_over_the_gate(make_client: MakeClient, connection: Connection) -> int:
    """The status of a placement that begins before the gate, and gets the day's lock after it."""
    seller = await sign_up(await make_client())
    closure, day, at = gate_in(0.8)
    client = await make_client(market={"gate_closure": closure})
    body = {"arr": [bid()], "deliveryDate": day.isoformat()}
    assert (await call(client, "POST", PLACE, body, by=seller)).status == 200, "this machine is too slow for the test"
    holder = connection.transaction()
    await holder.start()
    await connection.execute("SELECT FROM delivery_days WHERE delivery_day = $1 FOR UPDATE", day)
    late = asyncio.create_task(call(client, "POST", PLACE, body, by=seller))
    async with asyncio.timeout(5):
        while not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
            pass
    assert datetime.now(UTC) < at, "this machine is too slow for the test"
    await until(at)
    await holder.rollback()
    return (await late).status


async def test_the_clock_is_read_once_the_lock_is_held(make_client: MakeClient, connection: Connection) -> None:
    assert await held_over_the_gate(make_client, connection) == 409


async def test_a_clock_that_is_read_when_the_transaction_begins_lets_a_late_bid_in(
    make_client: MakeClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch, "book/lock_day", "clock_timestamp() < $2", "now() < $2")
    assert await held_over_the_gate(make_client, connection) == 200


async def test_two_changes_of_password_at_once_leave_one_password(client: Client) -> None:
    """The second one's old password is not the password any more when the first is through."""
    household = await sign_up(client)
    form = {"oldPassword": "sunshine-and-rain"}
    answers = await asyncio.gather(
        *(
            call(client, "POST", "/changepassword", {**form, "newPassword": f"new-password-{n}"}, by=household)
            for n in range(2)
        )
    )
    assert sorted(answer.status for answer in answers) == [200, 401]
    winner = next(n for n, answer in enumerate(answers) if answer.status == 200)
    signed_in = replace(household, token="")
    for n in range(2):
        whole = {"PhoneNo": signed_in.phone, "connectionId": signed_in.connection_id, "accountType": "prosumer"}
        answer = await call(client, "POST", "/signin", {**whole, "password": f"new-password-{n}"})
        assert answer.status == (200 if n == winner else 401)


async def test_two_resets_at_once_use_one_otp_once(client: Client) -> None:
    household = await sign_up(client)
    await call(client, "POST", "/sendotp", {"PhoneNo": household.phone, "purpose": "reset"})
    form = {
        "PhoneNo": household.phone,
        "otp": await latest_otp(client, household.phone),
        "accountType": "prosumer",
        "newPassword": "rain-and-sunshine",
    }
    answers = await asyncio.gather(*(call(client, "POST", "/resetpassword", form) for _ in range(2)))
    assert sorted(answer.status for answer in answers) == [200, 401]
