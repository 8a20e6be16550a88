"""Who closes gates when nobody bids: the first of all processes that finds one due.

What lives here: waiting for the next gate, and catching up on those that passed while no server ran. What must not: the
decision, which is the database's by its own clock.
"""

import asyncio
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Final

import structlog

from market.calendar import Calendar
from storage import gate
from storage.background import end_task
from storage.database import Database
from storage.errors import Unavailable

log = structlog.get_logger("shakti.gate")
_RETRY_PAUSE_S: Final = 0.25
# Clocks are set, and machines sleep: no wait is trusted for longer.
_LONGEST_WAIT_S: Final = 5.0


class GateKeeper:
    """Closes every gate soon after its time. `clock` tells the time, aware."""

    def __init__(self, database: Database, calendar: Calendar, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._calendar = calendar
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start keeping the gates; `close` ends it."""
        # The day whose gate passed last: of it and those before, only what is open in the log is left to close.
        last = self._calendar.open_day(self._clock()) - timedelta(days=1)
        self._task = asyncio.create_task(self._run(last), name="gate-keeper")

    async def close(self) -> None:
        """Stop keeping the gates."""
        await end_task(self._task)

    async def _run(self, last: date) -> None:
        due: set[date] = set()
        is_caught_up = False
        while True:
            try:
                if not is_caught_up:
                    due.update(await gate.list_open(self._database, last))
                    is_caught_up = True
                for day in sorted(due):
                    if await self._close_gate(day):
                        due.discard(day)
            except Unavailable:
                log.warning("gates cannot be closed while the database is unavailable", days=len(due))
            except Exception as fault:
                log.error("closing a gate failed", exc_info=fault)
            await asyncio.sleep(_RETRY_PAUSE_S if due or not is_caught_up else self._wait_s())
            passed = self._calendar.open_day(self._clock()) - timedelta(days=1)
            while last < passed:
                last += timedelta(days=1)
                due.add(last)

    async def _close_gate(self, day: date) -> bool:
        """Whether the day is closed now. It is not where this machine's clock runs ahead of the database's."""
        closure = await gate.close(self._database, day, self._calendar)
        if closure.seq is not None:
            log.info("gate closed", delivery_day=day.isoformat(), seq=closure.seq)
        return closure.is_due

    def _wait_s(self) -> float:
        """Until the next gate, in seconds."""
        now = self._clock()
        left_s = (self._calendar.gate_at(self._calendar.open_day(now)) - now).total_seconds()
        return min(max(left_s, 0.0) + 0.005, _LONGEST_WAIT_S)
