"""Gates that close when nobody bids: once, whichever server is first, and after the time when none ran."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias

import asyncpg
import pytest

from storage import gate
from tests.clock import Clock
from tests.conftest import MakeClient
from tests.factories import bid, place, sign_up
from tests.handlers.test_gate_races import gate_in
from tests.mutants import mutate

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def log_of_day(connection: Connection, day: date) -> list[tuple[int, str]]:
    """Number and kind of every event of a day."""
    rows = await connection.fetch(
        "SELECT first_seq, kind FROM book_events WHERE delivery_day = $1 ORDER BY first_seq", day
    )
    return [(row["first_seq"], row["kind"]) for row in rows]


async def until(is_so: Callable[[], Awaitable[bool]], within_s: float = 10.0) -> None:
    """Return once something is so in the database, which tells nobody."""
    async with asyncio.timeout(within_s):
        while not await is_so():  # noqa: ASYNC110 - a table tells nobody that it has changed
            await asyncio.sleep(0.02)


async def is_closed(connection: Connection, day: date) -> bool:
    """Whether the log has the gate's event."""
    return any(kind == "close" for _, kind in await log_of_day(connection, day))


async def is_cleared(connection: Connection, day: date) -> bool:
    """Whether the day's session is over."""
    return bool(await connection.fetchval("SELECT state = 'cleared' FROM delivery_days WHERE delivery_day = $1", day))


async def test_a_gate_closes_once_although_nobody_bids_and_several_servers_watch(
    make_client: MakeClient, connection: Connection
) -> None:
    closure, day, at = gate_in(1.0)
    for _ in range(3):
        await make_client(market={"gate_closure": closure})
    assert await log_of_day(connection, day) == []
    await until(lambda: is_closed(connection, day))
    assert datetime.now(UTC) - at < timedelta(seconds=2)
    await until(lambda: is_cleared(connection, day))
    # Whoever was late has been by now: a keeper asks within its retry pause.
    await asyncio.sleep(0.3)
    assert await log_of_day(connection, day) == [(1, "close"), (2, "clear")]
    assert await connection.fetchval("SELECT count(*) FROM cleared_slots WHERE delivery_day = $1", day) == 96


async def test_without_the_state_in_the_statement_each_server_closes_it(
    make_client: MakeClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch, "gate/close", "WHERE delivery_days.state = 'open'", "")
    closure, day, _ = gate_in(1.0)
    for _ in range(3):
        await make_client(market={"gate_closure": closure})

    async def is_closed_thrice() -> bool:
        return [kind for _, kind in await log_of_day(connection, day)].count("close") == 3

    await until(is_closed_thrice)


async def test_a_day_whose_gate_passed_while_no_server_ran_is_closed_and_cleared_at_the_next_start(
    make_client: MakeClient, connection: Connection
) -> None:
    closure, day, at = gate_in(1.0)
    client = await make_client(market={"gate_closure": closure})
    await place(client, await sign_up(client), bid(), deliveryDate=day.isoformat())
    await client.close()
    await asyncio.sleep((at - datetime.now(UTC)).total_seconds() + 0.01)  # nobody is there who could tell
    assert await log_of_day(connection, day) == [(1, "place")]
    await make_client(market={"gate_closure": closure})
    await until(lambda: is_cleared(connection, day))
    assert await log_of_day(connection, day) == [(1, "place"), (2, "close"), (3, "clear")]


async def test_a_day_is_not_closed_before_its_time_by_the_clock_of_the_database(
    make_client: MakeClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[gate.Closure] = []
    close = gate.close

    async def watched(*arguments: object) -> gate.Closure:
        asked.append(await close(*arguments))  # type: ignore[arg-type]  # passed on as they came
        return asked[-1]

    monkeypatch.setattr(gate, "close", watched)
    closure, day, _ = gate_in(60)
    ahead = Clock(datetime.now(UTC) + timedelta(seconds=59.9))
    await make_client(clock=ahead, market={"gate_closure": closure})
    ahead.move(seconds=5)

    async def was_asked_again() -> bool:
        return len(asked) >= 2

    await until(was_asked_again)
    assert set(asked) == {gate.Closure(is_due=False, seq=None)}
    assert await log_of_day(connection, day) == []
