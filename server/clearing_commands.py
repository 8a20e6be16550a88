"""Running the auction of a delivery day by hand: run.py clear.

What lives here: the command, and what it says. What must not: the auction (market/), or how a day is cleared
(storage/clearing.py).
"""

import asyncio
import time
from datetime import date
from pathlib import Path
from typing import Final

import asyncpg

from handlers.context import MarketRules
from market.calendar import ZONE
from market.clearing import Clearing
from market.day_auction import DayAuction, SlotResult
from market.slots import format_slot
from market.ticks import amount
from server.database_faults import describe_fault
from server.ground import CommandError, Flags, Ground, bring_up_to_date, run, say, settings, stand_on
from server.rules import market_rules
from storage.clearing import Clearance, Outcome, clear_day, preview_day
from storage.errors import DatabaseUnavailable

# Somebody else's clearing is waited for; one of a million bids takes some seconds.
_PATIENCE_S: Final = 300.0
_PAUSE_S: Final = 0.5
_STATES: Final = {
    "open": "is open: this is what it would clear if its gate closed now",
    "closed": "is closed: this is what it will clear",
    "cleared": "was cleared before: this is what the configured price rule makes of its bids",
}


def clear(config_file: Path | None, flags: Flags, delivery_day: date, *, is_dry_run: bool) -> int:
    """Clear a delivery day whose gate is over, or show what it would clear. Works beside a server that runs."""

    def work() -> int:
        config = settings(config_file, flags)
        rules = market_rules(config)
        with stand_on(config, redis=False) as ground:
            if not is_dry_run:
                bring_up_to_date(ground)
            try:
                return asyncio.run((_preview if is_dry_run else _clear)(ground, delivery_day, rules))
            except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
                raise CommandError("the database lacks tables of this version; run: run.py migrate") from None
            except (DatabaseUnavailable, asyncpg.PostgresError) as fault:
                raise CommandError(
                    describe_fault(fault.__cause__ or fault, config, is_embedded=ground.embeds_database)
                ) from fault

    return run(f"{delivery_day} was not cleared", work)


async def _clear(ground: Ground, delivery_day: date, rules: MarketRules) -> int:
    url = ground.config.database.url
    until = time.monotonic() + _PATIENCE_S
    while True:
        outcome = await clear_day(url, delivery_day, rules.calendar, rules.price_rule, must_exist=True)
        if outcome.clearance is not Clearance.TAKEN or time.monotonic() > until:
            break
        await asyncio.sleep(_PAUSE_S)
    match outcome.clearance:
        case Clearance.CLEARED:
            say(_summary(delivery_day, outcome))
        case Clearance.CLEARED_BEFORE:
            say(f"{delivery_day} was cleared before, by event {outcome.seq}; nothing was changed.")
        case Clearance.NOT_DUE:
            gate_at = rules.calendar.gate_at(delivery_day).astimezone(ZONE)
            raise CommandError(
                f"its gate closes at {gate_at:%Y-%m-%d %H:%M:%S} Indian time; --dry-run shows what it would clear now"
            )
        case Clearance.UNKNOWN:
            raise CommandError("nobody placed a bid for it; is the date right?")
        case Clearance.TAKEN:
            raise CommandError("another process has been clearing it for long; look at the server's log")
    return 0


def _summary(delivery_day: date, outcome: Outcome) -> str:
    return (
        f"{delivery_day} is cleared, by event {outcome.seq}: {outcome.filled} of {outcome.bids} bids were filled.\n"
        f"Read in {outcome.read_s:.2f} s, cleared in {outcome.clear_s:.2f} s, written in {outcome.write_s:.2f} s."
    )


async def _preview(ground: Ground, delivery_day: date, rules: MarketRules) -> int:
    found = await preview_day(ground.config.database.url, delivery_day, rules.price_rule)
    if found is None:
        raise CommandError("nobody placed a bid for it; is the date right?")
    standing, day = found
    say(f"{delivery_day} {_STATES[standing.state]}. Price rule: {rules.price_rule.value}.\n")
    say(_table(day, rules))
    say("\nNothing was written.")
    return 0


def _table(day: DayAuction, rules: MarketRules) -> str:
    """The slots that anybody bid for, in columns, and their totals."""
    limits = rules.bids
    lines = [f"{'slot':11} {'price':>10} {'low':>10} {'high':>10} {'cleared':>14} {'demand':>14} {'supply':>14}"]
    turnover = cleared = 0
    for result in day.slots:
        if result.buy_bids or result.sell_bids:
            lines.append(_line(result, rules))
        if result.clearing is not None:
            cleared += result.clearing.volume
            turnover += result.clearing.price * result.clearing.volume
    lines.append(
        f"\nCleared {limits.volume_tick.format(cleared)} kWh for "
        f"{amount(turnover, 1, limits.price_tick, limits.volume_tick)} INR; "
        f"{int((day.filled > 0).sum())} of {len(day.filled)} bids filled."
    )
    return "\n".join(lines)


def _line(result: SlotResult, rules: MarketRules) -> str:
    price, volume = rules.bids.price_tick.format, rules.bids.volume_tick.format
    clearing: Clearing | None = result.clearing
    prices = [price(clearing.price), price(clearing.lo), price(clearing.hi)] if clearing else ["-", "-", "-"]
    volumes = [volume(clearing.volume if clearing else 0), volume(result.buy_volume), volume(result.sell_volume)]
    return " ".join(
        [f"{format_slot(result.slot):11}", *(f"{text:>10}" for text in prices), *(f"{text:>14}" for text in volumes)]
    )
