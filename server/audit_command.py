"""`run.py audit`: a delivery day worked out again from its event log alone, and held against the tables.

What lives here: the order of an audit, and its report to a person. What must not: any rule or comparison (market/),
any SQL.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

import asyncpg

from market.audit import ResultAudit, Totals
from market.audit_book import BookAudit
from market.audit_replay import Replay
from market.audit_rows import Findings
from market.clearing import PriceRule
from market.slots import SLOTS
from market.ticks import Tick, amount
from server.config import Config
from server.database_faults import DATABASE_FAULTS, describe_fault
from server.ground import CommandError, Flags, Ground, run, say, settings, stand_on
from storage import audit as tables

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit came to. `recorded_state` is the table's; `rule` and `totals` are None where there were no results
    to compare. What did not agree is in the replay's findings."""

    recorded_state: str | None
    replay: Replay
    rule: PriceRule | None
    totals: Totals | None


def audit(config_file: Path | None, flags: Flags, delivery_day: date) -> int:
    """Audit a delivery day and say what was found. Returns 0 if all agrees, 1 if not, or if it cannot be done. Works
    beside a server that runs; nothing is written."""

    def work() -> int:
        config = settings(config_file, flags)
        with stand_on(config, redis=False) as ground:
            report = asyncio.run(_read(ground, delivery_day))
        for line in _lines(report, config):
            say(line)
        return 1 if report.replay.findings.count else 0

    return run("Cannot audit", work)


async def _read(ground: Ground, delivery_day: date) -> Report:
    config = ground.config
    try:
        async with tables.snapshot(config.database.url) as connection:
            return await compare_day(connection, delivery_day, PriceRule(config.market.price_rule))
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        raise CommandError("the database lacks tables of this version; run: run.py migrate") from None
    except DATABASE_FAULTS as fault:
        raise CommandError(describe_fault(fault, config, is_embedded=ground.embeds_database)) from fault


async def compare_day(connection: tables.Connection, delivery_day: date, usual_rule: PriceRule) -> Report:
    """Work a day out from its log, within one snapshot, and hold it against the tables. Raises CommandError for a day
    that nothing is known of."""
    day = await tables.read_day(connection, delivery_day)
    if day is None:
        raise CommandError(f"nothing is known of {delivery_day}; nobody used that delivery day")
    replay = Replay(delivery_day, Findings())
    await _each(tables.read_log(connection, delivery_day), replay.apply)
    book = BookAudit(replay)
    book.day(day.state, day.last_seq)
    await _each(tables.list_changed_bids(connection, delivery_day), book.changed_bid)
    await _each(tables.list_account_days(connection, delivery_day), book.account_day)
    book.end()
    if replay.clear is None and not day.has_results:
        return Report(day.state, replay, None, None)
    # Only a day whose own rule is lost, which is a finding, is worked out by the one that is set now.
    rule = usual_rule if day.price_rule is None else PriceRule(day.price_rule)
    results = ResultAudit(replay, rule)
    results.cleared_day(day.cleared_seq)
    await _each(tables.list_fills(connection, delivery_day), results.fill)
    results.settle(await tables.list_slots(connection, delivery_day))
    await _each(tables.list_positions(connection, delivery_day), results.position)
    await _each(tables.list_taken_numbers(connection, delivery_day), lambda taken: results.taken_number(*taken))
    results.end()
    return Report(day.state, replay, rule, results.totals)


async def _each(stretches: AsyncIterator[list[Row]], take: Callable[[Row], None]) -> None:
    async for rows in stretches:
        for row in rows:
            take(row)


def _lines(report: Report, config: Config) -> list[str]:
    replay, findings = report.replay, report.replay.findings
    standing = sum(1 for _ in replay.bids.standing())
    lines = [
        f"Audit of delivery day {replay.delivery_day}, prices and volumes in ticks where nothing else is said",
        f"  state     {report.recorded_state or 'unknown'}",
        f"  events    {replay.seq}",
        f"  bids      {len(replay.bids)} placed, {standing} in the book",
    ]
    if report.totals is None or report.rule is None:
        lines.append("  results   none yet: the day is not cleared; its book alone was audited")
    else:
        lines += _results(report.totals, report.rule, config)
    if not findings.count:
        return [*lines, "  agrees"]
    lines.append(f"  disagrees {findings.count} time{'s' * (findings.count != 1)}:")
    lines += [f"    {text}" for text in findings.texts]
    if findings.count > len(findings.texts):
        lines.append(f"    and {findings.count - len(findings.texts)} more")
    return lines


def _results(totals: Totals, rule: PriceRule, config: Config) -> list[str]:
    price_tick, volume_tick = Tick(config.market.price_tick), Tick(config.market.volume_tick)
    return [
        f"  slots     {totals.slots} of {SLOTS} cleared, price rule {rule}",
        f"  volume    {volume_tick.format(totals.volume)} kWh",
        f"  turnover  {amount(totals.turnover, 1, price_tick, volume_tick)} INR",
        f"  fills     {totals.fills} compared",
    ]
