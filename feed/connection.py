"""One subscriber's socket: what comes in, one message at a time, and what goes out, without ever waiting.

What lives here: reading, raw writing, the bound on what is unsent, closing with a code. What must not: what a message
means (dialogue.py), who gets which (hub.py, own.py), or when time is up (deadlines.py).

Everything here runs in the event loop's thread. Frames are complete and written in one go, so they always land between
aiohttp's own frames; docs/adr/0006 says why that is safe.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import structlog
from aiohttp import WSMessage, WSMsgType, web

from feed.frames import pong_frame
from feed.rules import FeedRules
from storage.sessions import Session

if TYPE_CHECKING:
    # Groups are made of connections.
    from feed.group import Group

log = structlog.get_logger("shakti.feed")
# A client that was told of the end gets this long to agree.
CLOSE_TIMEOUT_S = 2.0
# No descriptor.
NO_WAY: Final = -1


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


class Conversation(Protocol):
    """What is done with the messages of connections."""

    async def handle(self, connection: "Connection", text: str) -> None:
        """Do what a message asks for."""

    def end(self, connection: "Connection") -> None:
        """The connection is over, or never was."""


@runtime_checkable
class TellsItsEnd(Protocol):
    """A transport's protocol that calls `on_lost` when the connection is lost, before the transport closes its
    descriptor: event loops tell a protocol first."""

    on_lost: Callable[[], None] | None


class Connection:
    """A websocket that was accepted. `session` is None until it has authenticated.

    `heard_at` and the other times are of time.monotonic().
    """

    __slots__ = (
        "_allowance",
        "_counted_at",
        "_cut",
        "_descriptor",
        "_end",
        "_is_held",
        "_is_leaving",
        "_rules",
        "_task",
        "_transport",
        "_ws",
        "address",
        "due_at",
        "errors",
        "expiry_step",
        "groups",
        "heard_at",
        "is_served",
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
        # Those that it is in: the hub's. Mostly one, of thousands of connections: a tuple weighs least.
        self.groups: tuple[Group, ...] = ()
        self._rules = rules
        self._ws = ws
        self._transport = transport
        # The socket's descriptor while it is served, to write to past the transport. NO_WAY before and after, and where
        # everything must pass through the transport.
        self._descriptor = NO_WAY
        # Whether the transport holds something back, which must go out first.
        self._is_held = False
        # Whether messages of it are handled: it may be put into groups.
        self.is_served = False
        self._task: asyncio.Task[object] | None = None
        self._cut: tuple[CloseCode, str] | None = None
        self._is_leaving = False
        # Made by who waits for the end: nearly nobody does, and there are thousands of connections.
        self._end: asyncio.Future[None] | None = None
        self._allowance = float(rules.message_burst)
        self._counted_at = self.opened_at

    def unsent_bytes(self) -> int:
        """What the transport holds because the client does not read; 0 for one that is gone."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()

    def reply(self, frame: bytes) -> None:
        """Write the answer to a request. It is small, and requests are limited, so it goes out whatever is unsent."""
        if not self.send(frame):
            self._transport.write(frame)

    def send(self, frames: bytes) -> bool:
        """Write whole frames; false if the client has more unsent than it may, and then nothing was written."""
        if self._is_leaving or self._transport.is_closing():
            # Nobody is there who could fall behind.
            return True
        unsent = self._transport.get_write_buffer_size()
        if unsent > self._rules.max_unsent_bytes:
            if self.slow_since is None:
                self.slow_since = time.monotonic()
                # Patience begins to run.
                self.due_at = 0.0
            return False
        if unsent and not self._is_held:
            # By aiohttp: nobody else writes past `hold`.
            self._is_held = True
            self._way_changed()
        if unsent or self._descriptor == NO_WAY:
            self._transport.write(frames)
            return True
        self._is_held = False
        try:
            written = os.write(self._descriptor, frames)
        except OSError as fault:
            self.not_written(fault, frames)
        else:
            if written != len(frames):
                self.hold(frames[written:])
        return True

    @property
    def way(self) -> int:
        """The descriptor to write whole frames to, for whoever writes to thousands in a row (group.py): what `send`
        does, without calling it. NO_WAY where `send` must be called.

        What a write does not take must be given to `hold`, and what it raises to `not_written`. The way is good until
        `changed` is called of each of `groups`.
        """
        return NO_WAY if self._is_held or self._is_leaving else self._descriptor

    def hold(self, rest: bytes) -> None:
        """Have the transport keep what the socket did not take of frames, and send it first."""
        self._transport.write(rest)
        self._is_held = True
        self._way_changed()

    def not_written(self, fault: OSError, frames: bytes) -> None:
        """Do what is to be done about frames that the socket took nothing of."""
        if isinstance(fault, BlockingIOError):
            self.hold(frames)
        else:
            # The peer is gone, and the transport is about to hear of it.
            self._transport.abort()

    def cut(self, code: CloseCode, reason: str) -> None:
        """Have the connection closed with a code; returns at once. The first code wins."""
        if self._is_leaving:
            return
        self._is_leaving = True
        self._way_changed()
        self._cut = code, reason
        # Within its own task it is about to look; another one must wake it.
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def closed(self) -> None:
        """Returns once the connection is over."""
        if self._task is None:
            return
        if self._end is None:
            self._end = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._end)

    async def serve(self, conversation: Conversation) -> None:
        """Have every text message handled, one after another, until either side closes."""
        self._task = asyncio.current_task()
        try:
            # Of a transport that is closing already the descriptor may be somebody else's by now.
            if not self._transport.is_closing():
                self._open_way()
            self.is_served = True
            # In one coroutine: each of those that wait here weighs something, thousands of times.
            while self._cut is None and (text := self._text_of(await self._ws.receive())) is not None:
                if text:
                    await conversation.handle(self, text)
                # Not to be kept until the next one, which may never come.
                del text
        except asyncio.CancelledError:
            if self._cut is None or self._task is None:
                raise
            self._task.uncancel()
        finally:
            self._is_leaving, self.is_served = True, False
            conversation.end(self)
            try:
                await self._close()
            finally:
                self._task = None
                if self._end is not None:
                    self._end.set_result(None)

    def _text_of(self, message: WSMessage) -> str | None:
        """What a message says; nothing for one that is dealt with here, None when the conversation is over."""
        self.heard_at = time.monotonic()
        kind = message.type
        if kind is WSMsgType.PONG and self.pinged_at is not None:
            self.pinged_at = None
            return ""
        if kind is WSMsgType.BINARY:
            self._cut = CloseCode.UNSUPPORTED_DATA, "messages are JSON text"
            return None
        if kind not in (WSMsgType.TEXT, WSMsgType.PING, WSMsgType.PONG):
            return None
        if not self._is_allowed():
            self._cut = CloseCode.RATE_LIMIT, "too many messages"
            return None
        if kind is WSMsgType.TEXT:
            text: str = message.data
            # An empty message is none of JSON either.
            return text or " "
        if kind is WSMsgType.PING:
            self.send(pong_frame(message.data))
        return ""

    def _is_allowed(self) -> bool:
        """Take one message from the allowance, which fills up again with time."""
        rules, now = self._rules, self.heard_at
        refilled = self._allowance + (now - self._counted_at) * rules.messages_per_s
        self._allowance = min(refilled, float(rules.message_burst)) - 1.0
        self._counted_at = now
        return self._allowance >= 0.0

    def _way_changed(self) -> None:
        for group in self.groups:
            group.changed()

    def _open_way(self) -> None:
        """Have a way past the transport, with a small buffer in the kernel. With TLS bytes must pass through it, and so
        they must where nobody would tell us in time that the descriptor is about to be closed, and then another's."""
        theirs, protocol = self._transport.get_extra_info("socket"), self._transport.get_protocol()
        if theirs is None or self._transport.get_extra_info("sslcontext") is not None:
            return
        # What the kernel holds for a client that does not read is out of our sight, so it may not be much.
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._rules.send_buffer_bytes)
        if isinstance(protocol, TellsItsEnd):
            protocol.on_lost = self._close_way
            self._descriptor = theirs.fileno()
            self._is_held = self._transport.get_write_buffer_size() > 0

    def _close_way(self) -> None:
        self._descriptor = NO_WAY
        self._way_changed()

    async def _close(self) -> None:
        self._descriptor = NO_WAY
        protocol = self._transport.get_protocol()
        if isinstance(protocol, TellsItsEnd):
            protocol.on_lost = None
        if self._cut is not None and not self._ws.closed:
            code, reason = self._cut
            # What is unsent is not waited for: a client that does not read would hold the closing up.
            await self._ws.close(code=code, message=reason.encode(), drain=False)
        if self._transport.get_write_buffer_size():
            # Closing would wait until the client has read it.
            self._transport.abort()
