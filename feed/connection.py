"""One subscriber's socket: what comes in, one message at a time, and what goes out, without ever waiting.

What lives here: reading, raw writing, the bound on what is unsent, closing with a code. What must not: what a message
means (dialogue.py), who gets which (hub.py, own.py), or when time is up (deadlines.py).

Everything here runs in the event loop's thread. Frames are complete and written in one go, so they always land between
aiohttp's own frames; docs/adr/0006 says why that is safe.
"""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from enum import IntEnum

import structlog
from aiohttp import WSMsgType, web

from feed.frames import pong_frame
from feed.rules import FeedRules
from storage.sessions import Session

log = structlog.get_logger("shakti.feed")
# A client that was told of the end gets this long to agree.
CLOSE_TIMEOUT_S = 2.0


class CloseCode(IntEnum):
    """Why the server closes. Up to 4499 a client may come back, from 4500 on it should not as it is."""

    UNSUPPORTED_DATA = 1003
    RESTART = 1012
    SHUTDOWN = 4001
    TOKEN_EXPIRED = 4005
    SLOW = 4008
    NO_PONG = 4012
    RATE_LIMIT = 4013
    INVALID_TOKEN = 4500
    BAD_REQUEST = 4501
    NO_AUTH_IN_TIME = 4502
    FORBIDDEN = 4503
    TOO_MANY_CONNECTIONS = 4504


class Connection:
    """A websocket that was accepted. `session` is None until it has authenticated.

    `heard_at` and the other times are of time.monotonic().
    """

    __slots__ = (
        "_allowance",
        "_counted_at",
        "_cut",
        "_descriptor",
        "_is_closing",
        "_is_done",
        "_is_leaving",
        "_max_unsent",
        "_rules",
        "_task",
        "_transport",
        "_unsent",
        "_ws",
        "address",
        "due_at",
        "errors",
        "expiry_step",
        "heard_at",
        "id",
        "opened_at",
        "pinged_at",
        "session",
        "slow_since",
    )

    def __init__(
        self,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        address: str,
        rules: FeedRules,
        session: Session | None,
    ) -> None:
        self.id = secrets.token_hex(4)
        self.address = address
        self.session = session
        self.opened_at = self.heard_at = time.monotonic()
        # What deadlines.py keeps with it: when it is next worth a look, the ping under way, how far its token's end is.
        self.due_at = 0.0
        self.pinged_at: float | None = None
        self.expiry_step = 0
        # Requests of it that were refused.
        self.errors = 0
        # Since when it has more unsent than it may; None while it has not.
        self.slow_since: float | None = None
        self._rules = rules
        self._ws = ws
        self._transport = transport
        # Held for speed: both are asked for every message to every subscriber.
        self._is_closing = transport.is_closing
        self._unsent = transport.get_write_buffer_size
        self._max_unsent = rules.max_unsent_bytes
        self._descriptor = _plain_socket(transport, rules.send_buffer_bytes)
        self._task: asyncio.Task[object] | None = None
        self._cut: tuple[CloseCode, str] | None = None
        self._is_leaving = False
        self._is_done = asyncio.Event()
        self._allowance = float(rules.message_burst)
        self._counted_at = self.opened_at

    def unsent_bytes(self) -> int:
        """What the transport holds because the client does not read; 0 for one that is gone."""
        return 0 if self._is_closing() else self._unsent()

    @property
    def is_open(self) -> bool:
        """Whether anything may still be sent to it."""
        return not self._is_leaving and not self._is_closing()

    def reply(self, frame: bytes) -> None:
        """Write the answer to a request. It is small, and requests are limited, so it goes out whatever is unsent."""
        if not self.send(frame):
            self._transport.write(frame)

    def send(self, frames: bytes) -> bool:
        """Write whole frames; false if the client has more unsent than it may, and then nothing was written."""
        if self._is_leaving or self._is_closing():
            # Nobody is there who could fall behind.
            return True
        unsent = self._unsent()
        if unsent:
            if unsent > self._max_unsent:
                if self.slow_since is None:
                    self.slow_since = time.monotonic()
                return False
            self._transport.write(frames)
            return True
        if self._descriptor is None:
            self._transport.write(frames)
            return True
        # While the transport holds nothing back, what it would do is this one call.
        try:
            written = os.write(self._descriptor, frames)
        except BlockingIOError:
            self._transport.write(frames)
        except OSError:
            # The peer is gone, and the transport is about to hear of it.
            self._transport.abort()
        else:
            if written != len(frames):
                self._transport.write(frames[written:])
        return True

    def cut(self, code: CloseCode, reason: str) -> None:
        """Have the connection closed with a code; returns at once. The first code wins."""
        if self._is_leaving:
            return
        self._is_leaving = True
        self._cut = code, reason
        # Within its own task it is about to look; another one must wake it.
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def closed(self) -> None:
        """Returns once the connection is over."""
        await self._is_done.wait()

    async def serve(self, handle: Callable[[str], Awaitable[None]]) -> None:
        """Give every text message to `handle`, one after another, until either side closes."""
        self._task = asyncio.current_task()
        try:
            await self._receive(handle)
        except asyncio.CancelledError:
            if self._cut is None or self._task is None:
                raise
            self._task.uncancel()
        finally:
            self._is_leaving = True
            self._task = None
            try:
                await self._close()
            finally:
                self._is_done.set()

    async def _receive(self, handle: Callable[[str], Awaitable[None]]) -> None:
        while self._cut is None:
            message = await self._ws.receive()
            self.heard_at = time.monotonic()
            kind = message.type
            if kind is WSMsgType.PONG and self.pinged_at is not None:
                self.pinged_at = None
                continue
            if kind in (WSMsgType.TEXT, WSMsgType.PING, WSMsgType.PONG):
                if not self._is_allowed():
                    self._cut = CloseCode.RATE_LIMIT, "too many messages"
                    return
                if kind is WSMsgType.TEXT:
                    await handle(message.data)
                elif kind is WSMsgType.PING:
                    self.send(pong_frame(message.data))
            elif kind is WSMsgType.BINARY:
                self._cut = CloseCode.UNSUPPORTED_DATA, "messages are JSON text"
                return
            else:
                return

    def _is_allowed(self) -> bool:
        """Take one message from the allowance, which fills up again with time."""
        rules, now = self._rules, self.heard_at
        refilled = self._allowance + (now - self._counted_at) * rules.messages_per_s
        self._allowance = min(refilled, float(rules.message_burst)) - 1.0
        self._counted_at = now
        return self._allowance >= 0.0

    async def _close(self) -> None:
        if self._cut is not None and not self._ws.closed:
            code, reason = self._cut
            # What is unsent is not waited for: a client that does not read would hold the closing up.
            await self._ws.close(code=code, message=reason.encode(), drain=False)
        if self.unsent_bytes():
            self._transport.abort()


def _plain_socket(transport: asyncio.Transport, send_buffer_bytes: int) -> int | None:
    """The descriptor to write to directly, with a small buffer in the kernel; None where bytes must pass through the
    transport, as with TLS."""
    plain = transport.get_extra_info("socket")
    if plain is None or transport.get_extra_info("sslcontext") is not None:
        return None
    # What the kernel holds for a client that does not read is out of our sight, so it may not be much.
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    descriptor: int = plain.fileno()
    return descriptor
