"""One listening connection per process, over which PostgreSQL wakes whoever waits for news.

What lives here: keeping the connection alive and saying honestly whether it is. What must not: what any notification
means; a notification is a hint, and whoever listens must cope with losing one.
"""

import asyncio
import time
from collections.abc import Callable

import asyncpg
import structlog

from storage.background import end_task
from storage.database import is_disconnect
from storage.sql import QUERIES

log = structlog.get_logger("shakti.notifications")

Handler = Callable[[str], None]
# The connection counts as live this long after it last answered; a hung server is noticed no later.
TRUST_S = 0.9
_HEARTBEAT_S = 0.3
_MAX_PAUSE_S = 1.0


class Notifications:
    """Listens on channels and calls their handlers with each payload, in the event loop."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._handlers: dict[str, Handler] = {}
        self._on_reconnect: list[Callable[[], None]] = []
        self._answered_at = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._first_try = asyncio.Event()

    def listen(self, channel: str, handler: Handler, *, on_reconnect: Callable[[], None]) -> None:
        """Have `handler` called with every payload of `channel`. `on_reconnect` is called whenever the connection is
        made anew: notifications may have been missed before it. Only before `start`."""
        self._handlers[channel] = handler
        self._on_reconnect.append(on_reconnect)

    @property
    def is_live(self) -> bool:
        """Whether everything announced up to a second ago has reached the handlers."""
        return time.monotonic() - self._answered_at < TRUST_S

    async def start(self) -> None:
        """Start listening; returns after the first try to connect, whatever came of it."""
        self._task = asyncio.create_task(self._run(), name="notifications")
        await self._first_try.wait()

    async def close(self) -> None:
        """Stop listening."""
        await end_task(self._task)

    async def _run(self) -> None:
        pause_s = 0.05
        while True:
            try:
                await self._listen_until_cut()
            except (TimeoutError, asyncpg.PostgresError, Exception) as fault:
                if self.is_live or pause_s == _MAX_PAUSE_S:
                    log.warning("notifications lost, connecting again", fault=type(fault).__name__)
                if not isinstance(fault, TimeoutError | asyncpg.PostgresError) and not is_disconnect(fault):
                    log.error("notifications failed", exc_info=fault)
                pause_s = 0.05 if self.is_live else min(pause_s * 2, _MAX_PAUSE_S)
            self._answered_at = float("-inf")
            self._first_try.set()
            await asyncio.sleep(pause_s)

    async def _listen_until_cut(self) -> None:
        connection = await asyncpg.connect(
            self._dsn, timeout=2, command_timeout=1, server_settings={"application_name": "shakti-listen"}
        )
        try:
            for channel in self._handlers:
                await connection.add_listener(channel, self._deliver)
            for reconnected in self._on_reconnect:
                reconnected()
            while True:
                await connection.execute(QUERIES["health/heartbeat"])
                self._answered_at = time.monotonic()
                self._first_try.set()
                await asyncio.sleep(_HEARTBEAT_S)
        finally:
            connection.terminate()

    def _deliver(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        self._handlers[channel](str(payload))
