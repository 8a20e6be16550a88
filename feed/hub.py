"""Who hears of which book, and when: the ticks of the feed.

What lives here: subscriptions to books, the conflation ticks, heartbeats, the move to the next day at the gate. What
must not: the events of any book (follower.py), single sockets (connection.py), own data (own.py).

Invariant: between taking what a subscriber is told first (a snapshot, or what leads it to the present) and its entry
into its group nothing is awaited, and a group's number never runs ahead of its book. So what a member gets next begins
at or before where it stands, and no event is between.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import date, datetime
from typing import Final

import structlog

from feed import messages
from feed.connection import Connection
from feed.day_book import DayBook
from feed.follower import Follower
from feed.group import Group, GroupKey
from feed.requests import RATES_MS, Since
from market.calendar import Calendar
from storage.background import end_task
from storage.errors import Unavailable

log = structlog.get_logger("shakti.feed")
_TICK_S: Final = 0.1
_HEARTBEAT_S: Final = 1.0


class Hub:
    """The books' subscribers in this process. `clock` tells the time, aware."""

    def __init__(self, follower: Follower, calendar: Calendar, clock: Callable[[], datetime]) -> None:
        self._follower = follower
        self._calendar = calendar
        self._clock = clock
        self._groups: dict[GroupKey, Group] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start ticking; `close` ends it."""
        self._task = asyncio.create_task(self._run(), name="feed-hub")

    async def close(self) -> None:
        """Stop ticking."""
        await end_task(self._task)

    def subscribe(
        self,
        connection: Connection,
        name: str,
        day_book: DayBook,
        *,
        rate_ms: int,
        slots: frozenset[int] | None,
        is_open_book: bool,
        since: Since | None,
        answer: Callable[[bool, int], bytes],
    ) -> None:
        """Subscribe a connection under a name, in place of an earlier subscription under it.

        `answer` makes the reply out of whether the client is led on from `since`, and the number it is brought to. What
        it needs to get there follows the reply in the same write: nothing, one merged update, or a snapshot.
        """
        for earlier in connection.groups:
            if earlier.name == name:
                self._leave(connection, earlier)
        group = self._group(GroupKey(day_book.day, rate_ms, slots, is_open_book), day_book)
        connection.groups = (*connection.groups, group)
        seq = group.end
        if since is not None and since.epoch == day_book.epoch and day_book.book.is_known_since(since.seq):
            frames = day_book.lead(since.seq, seq, slots, self._now_ms())
            self._tell_first(connection, group, answer(True, seq), frames)
        else:
            self._tell_first(connection, group, answer(False, seq), day_book.snap_frame(self._clock(), slots))

    def resync(self, connection: Connection, name: str, answer: Callable[[DayBook], bytes]) -> bool:
        """Give a subscriber the whole book anew, after the reply that `answer` makes; false if it has no such
        subscription."""
        group = self._find(connection, name)
        if group is None:
            return False
        day_book = group.day_book
        snap = day_book.snap_frame(self._clock(), group.key.slots)
        self._tell_first(connection, group, answer(day_book), snap)
        return True

    def unsubscribe(self, connection: Connection, name: str) -> bool:
        """End a subscription; false if there is none."""
        group = self._find(connection, name)
        if group is None:
            return False
        self._leave(connection, group)
        return True

    def remove(self, connection: Connection) -> None:
        """End all subscriptions of a connection."""
        for group in connection.groups:
            self._leave(connection, group)

    def count(self, connection: Connection, *, besides: str | None = None) -> int:
        """How many subscriptions a connection has, one under the name `besides` not counted."""
        return sum(group.name != besides for group in connection.groups)

    def watched_days(self) -> set[date]:
        """The delivery days that somebody is subscribed to."""
        return {key.day for key in self._groups}

    def _find(self, connection: Connection, name: str) -> Group | None:
        """A subscription by the name it was made under or, as messages carry it, by the channel it stands for."""
        groups = connection.groups
        named = (group for group in groups if group.name == name)
        return next(named, None) or next((group for group in groups if group.day_book.channel == name), None)

    def _group(self, key: GroupKey, day_book: DayBook) -> Group:
        group = self._groups.get(key)
        # After a restore there is another book, and who hears of the old one is about to be closed.
        if group is None or group.day_book is not day_book:
            group = self._groups[key] = Group(key, day_book, time.monotonic())
        return group

    def _leave(self, connection: Connection, group: Group) -> None:
        group.remove(connection)
        self._drop_if_empty(group)
        connection.groups = tuple(joined for joined in connection.groups if joined is not group)

    def _tell_first(self, connection: Connection, group: Group, reply: bytes, frames: bytes) -> None:
        is_told = connection.send(reply + frames)
        if not is_told:
            # It reads too slowly for more than the reply; the book follows when it has caught up.
            connection.reply(reply)
        group.put(connection, is_told=is_told)

    async def _run(self) -> None:
        next_at, tick = time.monotonic(), 0
        while True:
            next_at += _TICK_S
            tick += 1
            busy_s = await self._tick(tick)
            # Under load ticks spread: half as much time at least as the last one took is left to everything else,
            # beside what that gets between its chunks. Levels are absolute, so a later tick only says more at once.
            now = time.monotonic()
            rest_s = max(next_at - now, busy_s / 2)
            next_at = max(next_at, now + rest_s)
            await asyncio.sleep(rest_s)

    async def _tick(self, tick: int) -> float:
        """Tell all groups whose turn it is; the CPU time that it took, in seconds."""
        busy_s = 0.0
        for group in tuple(self._groups.values()):
            if tick % (group.key.rate_ms // RATES_MS[0]) == 0:
                try:
                    busy_s += await self._serve(group)
                except Exception as fault:
                    # What goes wrong with one group must not end the feed of the others.
                    log.error("a group was not served", channel=group.day_book.channel, exc_info=fault)
        return busy_s

    async def _serve(self, group: Group) -> float:
        """Tell a group what is new; the CPU time that it took of this thread, in seconds: what other processes take
        must not slow the feed any further."""
        began, busy_s = time.thread_time(), 0.0
        frames, told = self._news(group, time.monotonic())
        if frames:
            for _ in group.tell(frames, told):
                busy_s += time.thread_time() - began
                await asyncio.sleep(0)
                began = time.thread_time()
        if group.behind:
            self._help(group)
        busy_s += time.thread_time() - began
        if group.is_past_gate and group.key.is_open_book:
            await self._move_on(group)
        return busy_s

    def _news(self, group: Group, now_s: float) -> tuple[bytes, int]:
        """What a group is to be told now, and up to where it was told before."""
        told, end, day_book = group.seq, group.end, group.day_book
        if end > told:
            frames = day_book.lead(told, end, group.key.slots, self._now_ms())
            group.seq, group.sent_at = end, now_s
            return frames, told
        if now_s - group.sent_at >= _HEARTBEAT_S:
            group.sent_at = now_s
            at = day_book.position(end, group.key.slots)
            return messages.heartbeat(self._now_ms(), day_book.channel, at), told
        return b"", told

    def _help(self, group: Group) -> None:
        """Bring those who were behind, and have read everything since, to where the book stands."""
        day_book, end, slots, ts_ms = group.day_book, group.end, group.key.slots, self._now_ms()

        def frames_since(told: int | None) -> bytes:
            if told is None:
                return day_book.snap_frame(self._clock(), slots)
            return day_book.lead(told, end, slots, ts_ms)

        group.catch_up(frames_since)

    async def _move_on(self, group: Group) -> None:
        """The gate closed and everybody here was told: who follows the open book goes on with the next day's. Those
        behind follow once they were told too."""
        day = self._calendar.open_day(self._clock())
        if day <= group.key.day:
            return
        try:
            day_book = await self._follower.book(day)
        except Unavailable:
            return
        rate_ms, slots = group.key.rate_ms, group.key.slots
        following = self._group(GroupKey(day, rate_ms, slots, is_open_book=True), day_book)
        for connection in tuple(group.members):
            connection.groups = tuple(following if joined is group else joined for joined in connection.groups)
            group.remove(connection)
            following.put(connection, is_told=connection.send(day_book.snap_frame(self._clock(), slots)))
        self._drop_if_empty(group)
        self._drop_if_empty(following)

    def _drop_if_empty(self, group: Group) -> None:
        if group.is_empty and self._groups.get(group.key) is group:
            del self._groups[group.key]

    def _now_ms(self) -> int:
        return int(self._clock().timestamp() * 1000)
