"""The feed of one process, whole: what it is made of, and how it opens and closes.

What lives here: putting the parts together, and a connection's way through them. What must not: a rule of any part.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Final

import structlog
from aiohttp import web

from feed import messages
from feed.connection import CLOSE_TIMEOUT_S, CloseCode, Connection
from feed.day_book import DayBook
from feed.deadlines import Deadlines
from feed.dialogue import Dialogue
from feed.follower import Follower
from feed.hub import Hub
from feed.own import OwnFeed
from feed.registry import Registry
from feed.rules import FeedRules
from storage.background import end_task
from storage.database import Database
from storage.notifications import Notifications
from storage.sessions import Session, Sessions

log = structlog.get_logger("shakti.feed")
# One for all sockets, which keep it.
_PROTOCOLS: Final = (messages.SUBPROTOCOL,)
_HOUSEKEEPING_S: Final = 60.0
_SHORTEST_RETRY_MS: Final = 5000
# As many as a process can take in a second, with their handshakes.
_RETURNS_PER_S: Final = 2000


class Feed:
    """Everything between the event log and the sockets of this process. `clock` tells the time, aware."""

    def __init__(
        self,
        database: Database,
        notifications: Notifications,
        sessions: Sessions,
        rules: FeedRules,
        clock: Callable[[], datetime],
    ) -> None:
        self._rules = rules
        self._follower = Follower(database, notifications, rules, clock)
        self._hub = Hub(self._follower, rules.calendar, clock)
        self._own = OwnFeed(database, notifications, self._follower, rules)
        self._registry = Registry(sessions, rules)
        self._dialogue = Dialogue(
            follower=self._follower,
            hub=self._hub,
            own=self._own,
            registry=self._registry,
            sessions=sessions,
            rules=rules,
            clock=clock,
        )
        self._deadlines = Deadlines(self._registry, self._hub, self._own, rules, clock)
        self._follower.on_history_lost = self._restart
        self._housekeeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the books and begin to serve. Raises DatabaseUnavailable."""
        await self._follower.start()
        self._hub.start()
        self._own.start()
        self._registry.start()
        self._deadlines.start()
        self._housekeeper = asyncio.create_task(self._keep_house(), name="feed-housekeeper")

    async def close(self) -> None:
        """Stop everything. Connections must have been told to leave before."""
        await end_task(self._housekeeper)
        for part in (self._deadlines, self._registry, self._own, self._hub, self._follower):
            await part.close()

    async def leave(self) -> None:
        """Say goodbye to everybody, and return once all are gone or had the time for it."""
        leaving = self._registry.connections
        window_ms = max(_SHORTEST_RETRY_MS, len(leaving) * 1000 // _RETURNS_PER_S)
        farewell = messages.bye(CloseCode.SHUTDOWN, window_ms)
        for connection in leaving:
            connection.send(farewell)
            connection.cut(CloseCode.SHUTDOWN, "shutdown")
        if leaving:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S * 2):
                    await asyncio.gather(*(connection.closed() for connection in leaving))

    async def current_book(self, day: date) -> DayBook:
        """A day's book as it stands no earlier than this call. Raises DatabaseUnavailable."""
        return await self._follower.look_up(day)

    def new_socket(self) -> web.WebSocketResponse:
        """What answers a handshake."""
        return web.WebSocketResponse(
            timeout=CLOSE_TIMEOUT_S,
            autoping=False,
            # Compressed, a frame could not be shared; and it costs twice the CPU and seven times the memory.
            compress=False,
            # One of exactly this size would be refused.
            max_msg_size=self._rules.max_message_bytes + 1,
            protocols=_PROTOCOLS,
        )

    def serve(
        self, ws: web.WebSocketResponse, transport: asyncio.Transport, address: str, session: Session | None
    ) -> Awaitable[None]:
        """Take in an accepted websocket and greet it, or have it closed as one too many; what is returned serves it
        until it is over, and must be awaited at once."""
        connection = Connection(ws, transport, address, self._rules, session)
        if self._registry.add(connection):
            connection.send(messages.hello(self._rules, session))
        else:
            connection.cut(CloseCode.TOO_MANY_CONNECTIONS, "too many connections")
        return connection.serve(self._dialogue)

    def _restart(self) -> None:
        """What subscribers were told is no history of this database any more: all begin anew."""
        for connection in self._registry.connections:
            connection.cut(CloseCode.RESTART, "the database was restored")

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            self._follower.forget(self._hub.watched_days())
