"""`run.py audit`: it agrees with a day that is as it should be, and names whatever was changed anywhere."""

import asyncio
import random
from datetime import date, timedelta
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from market.bid_ids import bid_id
from market.clearing import PriceRule
from server.audit_command import Report, compare_day
from server.ground import CommandError
from storage import audit, clearing
from storage.database import Database
from storage.writer import BookWriter
from tests.account_log import make_accounts
from tests.audited_day import DAY, PaperDay
from tests.conftest import SECRET
from tests.drills.server import ENVIRONMENT, DrillServer, assert_refused, run_command
from tests.storage.test_events import CALENDAR, PastGate, trade
from tests.storage.test_events import DAY as TRADED_DAY

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def compared(database_url: str, day: date = DAY) -> Report:
    async with audit.snapshot(database_url) as reader:
        return await compare_day(reader, day, PriceRule.MIDPOINT)


async def found(database_url: str) -> list[str]:
    """What does not agree."""
    return (await compared(database_url)).replay.findings.texts


@pytest.fixture
def external(database_url: str, redis_url: str) -> dict[str, str]:
    """Settings that name a database and a Redis of the test's own, as variables."""
    return {**ENVIRONMENT, "DATABASE_URL": database_url, "REDIS_URL": redis_url, "SECRET_KEY": SECRET}


@pytest.mark.parametrize("state", ["open", "closed", "cleared"])
async def test_a_day_that_is_as_it_should_be_agrees(database_url: str, connection: Connection, state: str) -> None:
    day = PaperDay() if state == "cleared" else PaperDay().until(state)
    await day.write(connection)
    report = await compared(database_url)
    assert report.replay.findings.texts == []
    assert (report.recorded_state, report.totals is None) == (state, state != "cleared")


TAMPERINGS = [
    ("UPDATE fills SET volume = 2 WHERE bid_seq = 6", f"bid {bid_id(DAY, 6)} (event 6) in slot 41"),
    ("UPDATE fills SET volume = 6 WHERE bid_seq = 5", f"bid {bid_id(DAY, 5)} (event 5) in slot 41"),
    ("DELETE FROM fills WHERE bid_seq = 8", f"bid {bid_id(DAY, 8)} (event 8) in slot 41"),
    ("INSERT INTO fills SELECT delivery_day, 3, 1 FROM cleared_days", f"bid {bid_id(DAY, 3)} (event 3) in slot 42"),
    ("INSERT INTO fills SELECT delivery_day, 10, 1 FROM cleared_days", f"bid {bid_id(DAY, 10)} (event 10) was filled"),
    ("INSERT INTO fills SELECT delivery_day, 99, 1 FROM cleared_days", f"bid {bid_id(DAY, 99)} (event 99) was filled"),
    ("UPDATE cleared_slots SET price = -12 WHERE slot = 43", "slot 43, 10:30-10:45: cleared_slots has price -12"),
    ("UPDATE cleared_slots SET low = -21 WHERE slot = 43", "slot 43, 10:30-10:45: cleared_slots has low -21"),
    ("UPDATE cleared_slots SET volume = 9 WHERE slot = 41", "slot 41, 10:00-10:15: cleared_slots has volume 9"),
    ("UPDATE cleared_slots SET sell_bids = 2 WHERE slot = 42", "slot 42, 10:15-10:30: cleared_slots has sell_bids 2"),
    ("DELETE FROM cleared_slots WHERE slot = 7", "slot 7, 01:30-01:45: cleared_slots has no row"),
    ("UPDATE cleared_days SET price_rule = 'buyer'", "slot 43, 10:30-10:45: cleared_slots has price -13 instead of -5"),
    ("UPDATE cleared_days SET seq = 12", "cleared_days names event 12, and event 13 cleared the day"),
    ("DELETE FROM cleared_days", "cleared_days lacks the day, which event 13 cleared"),
    ("UPDATE cleared_positions SET volumes = '{8,3}' WHERE account_id = 2", "account 2's position has 3 in slot 43"),
    ("UPDATE cleared_positions SET slots = '{40}' WHERE account_id = 3", "account 3's position has 2 in slot 40"),
    ("DELETE FROM cleared_positions WHERE account_id = 1", "account 1 has a bid in the auction, and no position"),
    ("UPDATE cleared_positions SET account_id = 4 WHERE account_id = 3", "account 4 has a position, and no bid"),
    ("UPDATE cleared_positions SET account_seq = 9 WHERE account_id = 3", "account 3's position has number 9"),
    ("UPDATE changed_bids SET price = 404 WHERE bid_seq = 6", "(event 6) with price 404 instead of 405"),
    ("UPDATE changed_bids SET seq = 8 WHERE bid_seq = 6", "(event 6) with seq 8 instead of 9"),
    ("UPDATE changed_bids SET is_withdrawn = false", "(event 10) with is_withdrawn False instead of True"),
    ("DELETE FROM changed_bids WHERE bid_seq = 10", f"changed_bids lacks bid {bid_id(DAY, 10)} (event 10)"),
    ("UPDATE account_days SET open_bids = 5 WHERE account_id = 1", "account 1 with open_bids 5 instead of 4"),
    ("UPDATE account_days SET last_account_seq = 2 WHERE account_id = 1", "account 1 with last_account_seq 2"),
    ("DELETE FROM account_days WHERE account_id = 3", "account_days lacks account 3"),
    ("UPDATE delivery_days SET state = 'closed'", "delivery_days has the day closed, and by the log it is cleared"),
    ("UPDATE delivery_days SET last_seq = 12", "delivery_days has event 12 as the last, and the log ends with 13"),
    ("DELETE FROM delivery_days", "delivery_days lacks the day, which has a log or results"),
    ("DELETE FROM book_events WHERE first_seq = 8", "event 8 is missing from the log"),
    ("DELETE FROM book_events WHERE first_seq = 1", "events 1 to 4 are missing from the log"),
    ("DELETE FROM book_events WHERE first_seq = 11", "event 11 is missing from the log"),
    ("DELETE FROM book_events WHERE first_seq = 12", "event 13 clears a day whose gate is open"),
    ("DELETE FROM book_events WHERE first_seq = 13", "there are results, and the log has no event of a clearing"),
    ("DELETE FROM book_events", "delivery_days has event 13 as the last, and the log ends with 0"),
    ("UPDATE book_events SET volumes = '{6}' WHERE first_seq = 8", "cleared_slots has buy_volume 17 instead of 18"),
    ("UPDATE book_events SET prices = '{406}' WHERE first_seq = 8", f"bid {bid_id(DAY, 8)} (event 8) in slot 41"),
    ("UPDATE book_events SET account_id = 2 WHERE first_seq = 8", "account 3 has a position, and no bid"),
    ("UPDATE book_events SET volumes = '{10,5}' WHERE first_seq = 13", "the event of the clearing says 5 at -13"),
]


@pytest.mark.parametrize(("statement", "words"), TAMPERINGS, ids=[statement for statement, _ in TAMPERINGS])
async def test_whatever_is_changed_is_named(
    database_url: str, connection: Connection, statement: str, words: str
) -> None:
    await PaperDay().write(connection)
    await connection.execute(statement)
    texts = await found(database_url)
    assert any(words in text for text in texts), texts


async def test_results_of_a_day_that_is_not_cleared_are_found(database_url: str, connection: Connection) -> None:
    await PaperDay().until("closed").write(connection)
    await connection.execute("INSERT INTO fills VALUES ($1, 5, 7)", DAY)
    assert "there are results, and the log has no event of a clearing" in await found(database_url)


@pytest.mark.parametrize("rule", PriceRule)
async def test_a_day_agrees_while_it_is_traded_and_once_it_is_cleared(
    database_url: str, connection: Connection, rule: PriceRule
) -> None:
    await make_accounts(connection, 5)
    database = await Database.open(database_url, pool_size=2, timeout_s=4)
    writer = BookWriter(database, CALENDAR, max_open_bids=1000)
    writer.start()
    await trade(writer, random.Random(1), 5)
    trading = asyncio.create_task(trade(writer, random.Random(rule), 150))
    audits = 0
    while not trading.done():
        assert (await compared(database_url, TRADED_DAY)).replay.findings.texts == []
        audits += 1
    await trading
    assert audits > 1
    await writer.close()
    await database.close()
    outcome = await clearing.clear_day(database_url, TRADED_DAY, PastGate(timedelta(hours=24)), rule)
    assert outcome.clearance is clearing.Clearance.CLEARED
    report = await compared(database_url, TRADED_DAY)
    assert report.replay.findings.texts == []
    assert report.totals is not None
    assert (report.rule, report.totals.fills) == (rule, outcome.filled)
    assert report.totals.slots > 0


async def test_a_day_that_nobody_used_cannot_be_audited(database_url: str) -> None:
    with pytest.raises(CommandError, match="nothing is known of 2026-11-24"):
        await compared(database_url)


async def test_the_report_of_a_day_that_agrees(external: dict[str, str], connection: Connection) -> None:
    await PaperDay().write(connection)
    said = await run_command("audit", "--date", DAY.isoformat(), environ=external)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "Audit of delivery day 2026-11-24, prices and volumes in ticks where nothing else is said",
        "  state     cleared",
        "  events    13",
        "  bids      9 placed, 8 in the book",
        "  slots     2 of 96 cleared, price rule midpoint",
        "  volume    0.014 kWh",
        "  turnover  0.03998 INR",
        "  fills     6 compared",
        "  agrees",
    ]


async def test_the_report_of_a_day_that_is_not_cleared(external: dict[str, str], connection: Connection) -> None:
    await PaperDay().until("open").write(connection)
    said = await run_command("audit", "--date", DAY.isoformat(), environ=external)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[1:] == [
        "  state     open",
        "  events    11",
        "  bids      9 placed, 8 in the book",
        "  results   none yet: the day is not cleared; its book alone was audited",
        "  agrees",
    ]


async def test_the_report_of_a_day_that_disagrees(external: dict[str, str], connection: Connection) -> None:
    await PaperDay().write(connection)
    await connection.execute("DELETE FROM cleared_slots")
    said = await run_command("audit", "--date", DAY.isoformat(), environ=external)
    assert (said.code, said.err) == (1, "")
    lines = said.out.splitlines()
    assert lines[8] == "  disagrees 96 times:"
    assert lines[9] == "    slot 1, 00:00-00:15: cleared_slots has no row"
    assert len(lines) == 9 + 50 + 1
    assert lines[-1] == "    and 46 more"


async def test_what_cannot_be_audited_is_told_in_a_sentence(external: dict[str, str], tmp_path: Path) -> None:
    unknown = await run_command("audit", "--date", "2026-11-25", environ=external)
    assert_refused(unknown, "Cannot audit: nothing is known of 2026-11-25")
    nowhere = {**external, "DATABASE_URL": "postgresql://shakti@127.0.0.1:1/none"}
    assert_refused(await run_command("audit", "--date", "2026-11-25", environ=nowhere), "cannot be reached")
    fresh = await run_command("audit", "--date", "2026-11-25", "--data-dir", tmp_path / "data", environ=ENVIRONMENT)
    assert_refused(fresh, "run.py migrate")


async def test_an_audit_works_beside_a_server_and_without_one(tmp_path: Path) -> None:
    server = DrillServer(tmp_path / "data")
    assert (await server.command("migrate")).code == 0
    await server.start()
    try:
        assert_refused(await server.command("audit", "--date", DAY.isoformat()), "nothing is known of")
    finally:
        assert await server.stop() == 0
    assert_refused(await server.command("audit", "--date", DAY.isoformat()), "nothing is known of")
