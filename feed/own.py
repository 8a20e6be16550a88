"""An account's own real-time data: its bids, trades and readings, every event once and in order.

What lives here: who listens to which account, and how far each was told. What must not: other accounts' data, or
merging anything: these messages are events, not levels.

The account's own sequence in the database is the truth. Hints say that there is something beyond a subscriber's number;
what is sent is read from there, so a lost hint costs a poll and never a message.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

import structlog

from feed import messages
from feed.connection import Connection
from feed.day_book import epoch
from feed.follower import Follower
from feed.own_events import OwnEvent, read_beyond
from feed.requests import Since
from feed.rules import FeedRules
from storage import account_events
from storage.background import end_task
from storage.database import Database
from storage.errors import Unavailable
from storage.notifications import Notifications

log = structlog.get_logger("shakti.feed")
CHANNEL: Final = "shakti_accounts"
_TICK_S: Final = 0.1
_POLL_TICKS: Final = 20
# Of one account at once; the rest follows with the next tick.
_MAX_EVENTS: Final = 200
# In one statement. When a day was cleared, everybody who took part has something to read, of many bids each.
_MAX_ACCOUNTS: Final = 100


@dataclass(slots=True)
class OwnSubscription:
    """One connection's subscription to its account's events, told up to `seq`."""

    seq: int


class OwnFeed:
    """The subscribers of this process to their accounts' own events."""

    def __init__(self, database: Database, notifications: Notifications, follower: Follower, rules: FeedRules) -> None:
        self._database = database
        self._follower = follower
        self._rules = rules
        self._listeners: dict[int, dict[Connection, OwnSubscription]] = {}
        # Accounts with something to read.
        self._hinted: set[int] = set()
        self._task: asyncio.Task[None] | None = None
        follower.on_account_event = self._hint
        follower.on_cleared = self._hint_all
        notifications.listen(CHANNEL, self._hear, on_reconnect=self._hint_all)

    def start(self) -> None:
        """Start delivering; `close` ends it."""
        self._task = asyncio.create_task(self._run(), name="feed-own")

    async def close(self) -> None:
        """Stop delivering."""
        await end_task(self._task)

    async def subscribe(self, connection: Connection, account_id: int, since: Since | None) -> tuple[str, int, bool]:
        """Subscribe a connection to its account: epoch, sequence number, and whether it is led on from `since`.

        Nothing is sent before the caller awaits again, so its reply comes first. Raises DatabaseUnavailable,
        AccountGone.
        """
        own_epoch = self._epoch(account_id)
        seq = await account_events.last_seq(self._database, account_id)
        is_recovered = since is not None and since.epoch == own_epoch and 0 <= seq - since.seq <= self._rules.max_replay
        told = since.seq if since is not None and is_recovered else seq
        self._listeners.setdefault(account_id, {})[connection] = OwnSubscription(told)
        # Something may have come since the number was read.
        self._hinted.add(account_id)
        return own_epoch, seq, is_recovered

    def unsubscribe(self, connection: Connection, account_id: int) -> bool:
        """End a subscription; false if there is none."""
        listeners = self._listeners.get(account_id, {})
        if listeners.pop(connection, None) is None:
            return False
        if not listeners:
            del self._listeners[account_id]
            self._hinted.discard(account_id)
        return True

    def has(self, connection: Connection, account_id: int) -> bool:
        """Whether a connection is subscribed to its account."""
        return connection in self._listeners.get(account_id, ())

    def _hint(self, account_id: int, _seq: int) -> None:
        if account_id in self._listeners:
            self._hinted.add(account_id)

    def _hint_all(self) -> None:
        self._hinted.update(self._listeners)

    def _hear(self, payload: str) -> None:
        account_id = payload.partition(" ")[0]
        if account_id.isdecimal():
            self._hint(int(account_id), 0)

    async def _run(self) -> None:
        tick = 0
        while True:
            await asyncio.sleep(_TICK_S)
            tick += 1
            if tick % _POLL_TICKS == 0:
                self._hint_all()
            try:
                await self._deliver()
            except Exception as fault:
                log.error("delivering own events failed", exc_info=fault)

    async def _deliver(self) -> None:
        """Read what is beyond the subscribers' numbers, and send it. While the database does not answer the hints stay,
        and are followed once it is there again."""
        # Some may have been named when nobody listened to them any more.
        self._hinted.intersection_update(self._listeners)
        cursors = {account_id: self._lowest(account_id) for account_id in self._hinted}
        due = [(account_id, seq) for account_id, seq in cursors.items() if seq is not None]
        for start in range(0, len(due), _MAX_ACCOUNTS):
            # One portion that takes the database too long must not keep the others waiting for ever.
            with contextlib.suppress(Unavailable):
                await self._deliver_to(dict(due[start : start + _MAX_ACCOUNTS]))

    async def _deliver_to(self, cursors: dict[int, int]) -> None:
        self._hinted.difference_update(cursors)
        try:
            found = await read_beyond(self._database, cursors, _MAX_EVENTS)
        except BaseException:
            self._hinted.update(cursors)
            raise
        for account_id, events in found.items():
            # There may be more beyond what was read.
            self._hinted.add(account_id)
            self._send(account_id, events)

    def _lowest(self, account_id: int) -> int | None:
        """Up to where the account's events were told to all who can take more; None if nobody can."""
        listeners = self._listeners.get(account_id, {})
        return min((own.seq for connection, own in listeners.items() if not connection.unsent_bytes()), default=None)

    def _send(self, account_id: int, events: list[OwnEvent]) -> None:
        own_epoch = self._epoch(account_id)
        frames = [
            messages.own(epoch=own_epoch, prev=event.seq - 1, seq=event.seq, kind=event.kind, data=event.data)
            for event in events
        ]
        for connection, own in self._listeners.get(account_id, {}).items():
            # One that had not read everything may stand before the first of these: it waits for its turn.
            position = own.seq + 1 - events[0].seq
            if position < 0:
                continue
            for event, frame in zip(events[position:], frames[position:], strict=True):
                if not connection.send(frame):
                    break
                own.seq = event.seq

    def _epoch(self, account_id: int) -> str:
        return f"u{epoch(self._follower.identity, f'account/{account_id}')}"
