"""Who ends a delivery day's session when its time has come: the first of all processes that finds it due.

What lives here: waiting for the next gate, and catching up on what passed while no server ran. What must not: the
decision that a gate is over, which is the database's by its own clock, or how a day is cleared (storage/clearing.py).
"""

import asyncio
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Final

import structlog

from market.calendar import Calendar
from market.clearing import PriceRule
from storage import gate
from storage.background import end_task
from storage.clearing import Clearance, clear_day
from storage.database import Database
from storage.errors import Unavailable

log = structlog.get_logger("shakti.gate")
_RETRY_PAUSE_S: Final = 0.25
# Trying the same again at once would not mend a fault of ours.
_FAULT_PAUSE_S: Final = 5.0
# Clocks are set, and machines sleep: no wait is trusted for longer.
_LONGEST_WAIT_S: Final = 5.0


class GateKeeper:
    """Closes every gate soon after its time, and clears its day. `clock` tells the time, aware."""

    def __init__(
        self, database: Database, calendar: Calendar, price_rule: PriceRule, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._calendar = calendar
        self._price_rule = price_rule
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start keeping the gates; `close` ends it."""
        # Of this day and those before, only what is in the log is left to do.
        self._task = asyncio.create_task(self._run(self._passed()), name="gate-keeper")

    async def close(self) -> None:
        """Stop keeping the gates. A clearing that is under way is given up; it leaves nothing behind."""
        await end_task(self._task)

    async def _run(self, last: date) -> None:
        unclosed: set[date] = set()
        while True:
            passed = self._passed()
            while last < passed:
                last += timedelta(days=1)
                unclosed.add(last)
            pause_s = await self._settle(unclosed, passed)
            wait_s = self._wait_s()
            await asyncio.sleep(wait_s if pause_s is None else min(pause_s, wait_s))

    async def _settle(self, unclosed: set[date], last: date) -> float | None:
        """Close what is due, and clear what is closed, up to a day. How long to pause before it is tried again, in
        seconds; None when nothing is left to do."""
        try:
            for day in sorted(unclosed):
                if await self._close_gate(day):
                    unclosed.discard(day)
            due = await gate.list_due(self._database, last)
        except Unavailable:
            log.warning("gates cannot be closed while the database is unavailable", days=len(unclosed))
            return _RETRY_PAUSE_S
        except Exception as fault:
            log.error("closing a gate failed", exc_info=fault)
            return _FAULT_PAUSE_S
        pauses = [pause_s for day in due if (pause_s := await self._clear(day)) is not None]
        if unclosed:
            pauses.append(_RETRY_PAUSE_S)
        return max(pauses, default=None)

    async def _close_gate(self, day: date) -> bool:
        """Whether the day is closed now. It is not where this machine's clock runs ahead of the database's."""
        closure = await gate.close(self._database, day, self._calendar)
        if closure.seq is not None:
            log.info("gate closed", delivery_day=day.isoformat(), seq=closure.seq)
        return closure.is_due

    async def _clear(self, day: date) -> float | None:
        """Clear a day; how long to pause before it is tried again, None when it is cleared."""
        try:
            outcome = await clear_day(self._database.dsn, day, self._calendar, self._price_rule)
        except Unavailable:
            log.warning("a day cannot be cleared while the database is unavailable", delivery_day=day.isoformat())
            return _RETRY_PAUSE_S
        except Exception as fault:
            log.error("clearing a day failed", delivery_day=day.isoformat(), exc_info=fault)
            return _FAULT_PAUSE_S
        if outcome.clearance is Clearance.CLEARED:
            log.info(
                "day cleared",
                delivery_day=day.isoformat(),
                seq=outcome.seq,
                bids=outcome.bids,
                filled=outcome.filled,
                read_s=round(outcome.read_s, 3),
                clear_s=round(outcome.clear_s, 3),
                write_s=round(outcome.write_s, 3),
            )
        is_done = outcome.clearance in (Clearance.CLEARED, Clearance.CLEARED_BEFORE)
        return None if is_done else _RETRY_PAUSE_S

    def _passed(self) -> date:
        """The day whose gate passed last, by this machine's clock."""
        return self._calendar.open_day(self._clock()) - timedelta(days=1)

    def _wait_s(self) -> float:
        """Until the next gate, in seconds."""
        now = self._clock()
        left_s = (self._calendar.gate_at(self._calendar.open_day(now)) - now).total_seconds()
        return min(max(left_s, 0.0) + 0.005, _LONGEST_WAIT_S)
