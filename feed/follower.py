"""From the event log to the books in memory: one follower in each process.

What lives here: which delivery days are followed, reading the log beyond a cursor, coping with lost notifications and
lost connections. What must not: who is told of it (hub.py, own.py), or the rules of the book (market/book.py).

A notification says that there is something to read, nothing more. What is read is everything beyond the cursor, in
order; a lost notification costs up to a poll, never an event.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Final

import structlog

from feed.day_book import DayBook
from feed.rules import FeedRules
from market.book import Book, BrokenLog, LogGap
from storage import events
from storage.background import end_task
from storage.database import Database
from storage.errors import Unavailable
from storage.history import read_identity
from storage.notifications import Notifications

log = structlog.get_logger("shakti.feed")
CHANNEL: Final = "shakti_book"
_POLL_S: Final = 1.0
# Notifications come with every commit. Read together, those of this time cost one statement.
_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 2.0
# Of a day at once; of 96 bids each they take some 30 ms to apply, and then others have their turn.
_MAX_ROWS: Final = 500


class Follower:
    """Keeps the books of all delivery days from today on, and of others that somebody asked for.

    `on_account_event` is called with account and account sequence number for every event of an account, `on_cleared`
    when a day was cleared, which is an event of all accounts that took part; `on_history_lost` when what was told
    before is not this database's history any more.
    """

    def __init__(
        self, database: Database, notifications: Notifications, rules: FeedRules, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._notifications = notifications
        self._rules = rules
        self._clock = clock
        self._identity = ""
        self._books: dict[date, DayBook] = {}
        self._named: set[date] = set()
        self._wake = asyncio.Event()
        # One reading at a time. They are numbered, and each day has the number of the last one that read it to its end:
        # so who waited knows whether one that began after it had asked has done its work.
        self._reading = asyncio.Lock()
        self._readings = 0
        self._last_reading: dict[date, int] = {}
        self._must_identify = False
        self._task: asyncio.Task[None] | None = None
        self.on_account_event: Callable[[int, int], None] = lambda _account_id, _seq: None
        self.on_cleared: Callable[[], None] = lambda: None
        self.on_history_lost: Callable[[], None] = lambda: None
        notifications.listen(CHANNEL, self._hear, on_reconnect=self._hear_again)

    @property
    def identity(self) -> str:
        """What tells this database's history from another's."""
        return self._identity

    async def start(self) -> None:
        """Read the books of the days ahead and follow them from then on. Raises DatabaseUnavailable."""
        self._identity = await read_identity(self._database)
        await self._poll()
        self._task = asyncio.create_task(self._run(), name="feed-follower")

    async def close(self) -> None:
        """Stop following."""
        await end_task(self._task)

    async def book(self, day: date) -> DayBook:
        """A day's book as it is followed, at most a moment old. Raises DatabaseUnavailable."""
        known = self._books.get(day)
        if known is not None:
            return known
        async with self._reading:
            return self._books.get(day) or await self._restore(day)

    async def fresh_book(self, day: date) -> DayBook:
        """A day's book for somebody who begins to follow it: with everything that was acknowledged before the call, or
        as this process knows it while the database does not answer. Raises DatabaseUnavailable."""
        if day in self._books and not self._notifications.is_live:
            return self._books[day]
        return await self.catch_up(day)

    async def look_up(self, day: date) -> DayBook:
        """A day's book as it stands no earlier than this call. One of the past that nobody follows is read and not
        kept: there are many. Raises DatabaseUnavailable."""
        if day in self._books or day >= self._rules.calendar.today(self._clock()):
            return await self.catch_up(day)
        return await self._build(day)

    async def catch_up(self, day: date) -> DayBook:
        """The book of a day, followed from now on, as it stands no earlier than this call. Raises
        DatabaseUnavailable."""
        found = await self.book(day)
        asked = self._readings
        async with self._reading:
            if self._last_reading.get(day, 0) <= asked:
                await self._read([day])
        return self._books.get(day, found)

    def forget(self, watched: set[date]) -> None:
        """Let go of past days' books that nobody watches."""
        today = self._rules.calendar.today(self._clock())
        for day in [day for day in self._books if day < today and day not in watched]:
            del self._books[day]
            self._last_reading.pop(day, None)

    def _hear(self, payload: str) -> None:
        with contextlib.suppress(ValueError):
            self._named.add(date.fromisoformat(payload.partition(" ")[0]))
        self._wake.set()

    def _hear_again(self) -> None:
        """The listening connection is new: another server may have answered, and notifications may be lost."""
        self._must_identify = True
        self._wake.set()

    async def _run(self) -> None:
        pause_s = _PAUSE_S
        while True:
            is_poll = not await self._woken()
            try:
                if self._must_identify:
                    await self._identify()
                    is_poll = True
                if is_poll:
                    await self._poll()
                else:
                    named, self._named = self._named, set()
                    async with self._reading:
                        await self._read(self._followed(named))
            except Unavailable:
                # What was named is found by the next poll.
                self._must_identify = True
                self._wake.set()
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                log.warning("the event log cannot be read, trying again", pause_s=pause_s)
            except Exception as fault:
                self._must_identify = True
                self._wake.set()
                pause_s = _LONGEST_PAUSE_S
                log.error("following the event log failed", exc_info=fault)
            else:
                pause_s = _PAUSE_S
            await asyncio.sleep(pause_s)

    async def _woken(self) -> bool:
        """Wait for a notification, at most until a poll is due; whether one came."""
        try:
            async with asyncio.timeout(_POLL_S):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    async def _identify(self) -> None:
        self._must_identify = False
        identity = await read_identity(self._database)
        if identity == self._identity:
            return
        log.error("this is not the history that was followed: a restore, or a failover that lost events")
        async with self._reading:
            self._identity = identity
            self._books.clear()
        self.on_history_lost()

    async def _poll(self) -> None:
        """Look at every followed day, and for days that are new."""
        today = self._rules.calendar.today(self._clock())
        async with self._reading:
            last_seqs = await events.list_live(self._database, today)
            for day, last_seq in last_seqs.items():
                known = self._books.get(day)
                if known is None:
                    await self._restore(day)
                elif last_seq < known.book.seq:
                    # Never so while a database keeps what it acknowledged.
                    log.error("the event log lost events", delivery_day=day.isoformat(), last_seq=last_seq)
                    await self._lose(day)
            others = [day for day in self._books if day not in last_seqs]
            behind = [day for day, last_seq in last_seqs.items() if last_seq > self._books[day].book.seq]
            if others or behind:
                await self._read(others + behind)

    def _followed(self, named: Iterable[date]) -> list[date]:
        """Those of the named days to read. One that is not followed yet is, if its time is not over."""
        today = self._rules.calendar.today(self._clock())
        return [day for day in named if day in self._books or day >= today - timedelta(days=1)]

    async def _read(self, days: Iterable[date]) -> None:
        """Read the log of these days beyond what their books know, to its present end."""
        self._readings += 1
        number, asked = self._readings, list(days)
        left = asked
        while left:
            cursors = {}
            for day in left:
                found = self._books.get(day) or await self._restore(day)
                cursors[day] = found.book.seq
            rows = await events.read_beyond(self._database, cursors, _MAX_ROWS)
            counts = dict.fromkeys(left, 0)
            try:
                for row in rows:
                    counts[row.delivery_day] += 1
                    self._apply(row)
            except (LogGap, BrokenLog) as fault:
                log.error("the event log does not fit the book", fault=str(fault))
                await self._lose(row.delivery_day)
            left = [day for day, count in counts.items() if count == _MAX_ROWS]
        self._last_reading.update(dict.fromkeys(asked, number))

    def _apply(self, row: events.LogRow) -> None:
        self._books[row.delivery_day].book.apply(*row[1:8])
        if row.account_id is not None and row.account_seq is not None:
            self.on_account_event(row.account_id, row.account_seq)
        elif row.kind == "clear":
            self.on_cleared()

    async def _restore(self, day: date) -> DayBook:
        day_book = self._books[day] = await self._build(day)
        return day_book

    async def _build(self, day: date) -> DayBook:
        found = await events.read_day(self._database, day)
        rule = self._rules.price_rule
        if found is None:
            book = Book(rule)
        else:
            book = Book.restore(
                rule,
                seq=found.seq,
                state=found.state,
                closed_seq=found.closed_seq,
                cleared_seq=found.cleared_seq,
                results=found.results,
                levels=found.levels,
            )
        return DayBook(day, book, self._identity, self._rules)

    async def _lose(self, day: date) -> None:
        """What was told of a day does not fit its log: begin again with what the log says."""
        await self._restore(day)
        self.on_history_lost()
