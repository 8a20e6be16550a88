"""One websocket to the feed, as a test holds it: say anything, wait for the next message of a kind.

What lives here: sending, receiving with a deadline, closing. What must not: what messages mean (feed_book.py).
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeAlias

import orjson
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from aiohttp.test_utils import TestClient

from tests.feed_book import Message

WITHIN_S = 8.0
PROTOCOL = "bidbook.v1"


# A session with a base address, or a test's client.
Connects: TypeAlias = ClientSession | TestClient[Any, Any]


class Late(AssertionError):
    """A message did not come in time."""


class Closed(AssertionError):
    """The socket was closed before the message came that was waited for."""

    def __init__(self, code: int | None, waited_for: Sequence[str]) -> None:
        super().__init__(f"closed with {code} while waiting for {' or '.join(waited_for) or 'anything'}")
        self.code = code


class Wire:
    """An open websocket whose `hello` has been read. `texts` holds every message as it came, if they are kept."""

    def __init__(self, socket: ClientWebSocketResponse, *, keeps_texts: bool = True) -> None:
        self.socket = socket
        self._keeps_texts = keeps_texts
        self.hello: Message = {}
        self.texts: list[str] = []
        self._ahead: deque[Message] = deque()
        self._ids = itertools.count(1)

    @classmethod
    async def open(
        cls,
        client: Connects,
        *,
        header: str | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        path: str = "/ws",
        protocols: Sequence[str] = (PROTOCOL,),
        keeps_texts: bool = True,
        **options: Any,
    ) -> Self:
        """A socket; `header` is a token for the handshake, `token` one to authenticate with in band."""
        sent = {**(headers or {}), **({"Authorization": f"Bearer {header}"} if header else {})}
        socket = await client.ws_connect(path, headers=sent, protocols=protocols, max_msg_size=0, **options)
        wire = cls(socket, keeps_texts=keeps_texts)
        try:
            wire.hello = await wire.next()
            assert wire.hello["t"] == "hello", wire.hello
            if token is not None:
                ok = await wire.ask("auth", token=token)
                assert ok["t"] == "ok", ok
        except BaseException:
            await wire.drop()
            raise
        return wire

    async def send(self, op: str, **fields: Any) -> None:
        """One message to the server."""
        await self.socket.send_str(orjson.dumps({"op": op, **fields}).decode())

    async def ask(self, op: str, *, within_s: float = WITHIN_S, **fields: Any) -> Message:
        """One message with a fresh id, and the `ok` or `err` that answers it. What comes before stays to be read."""
        number = next(self._ids)
        await self.send(op, id=number, **fields)
        waiting: deque[Message] = deque()
        while True:
            message = await self._next(within_s, ("the answer to " + op,))
            if message["t"] in ("ok", "err") and message.get("id") == number:
                waiting.extend(self._ahead)
                self._ahead = waiting
                return message
            waiting.append(message)

    async def next(self, *kinds: str, within_s: float = WITHIN_S) -> Message:
        """The next message of one of these kinds, or of any but a heartbeat; others before it are passed over."""
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            message = await self._next(deadline - asyncio.get_running_loop().time(), kinds)
            if message["t"] in kinds or (not kinds and message["t"] != "hb"):
                return message

    async def subscribe(self, channel: str, **fields: Any) -> tuple[Message, Message]:
        """A fresh subscription to a book: its `ok` and its `snap`, which must follow at once."""
        ok = await self.ask("subscribe", ch=channel, **fields)
        assert (ok["t"], ok["recovered"]) == ("ok", False), ok
        snap = await self.next()
        assert (snap["t"], snap["ch"], snap["ep"], snap["seq"]) == ("snap", ok["ch"], ok["ep"], ok["seq"]), snap
        return ok, snap

    async def quiet(self) -> None:
        """Nothing has been sent to this socket up to now but heartbeats and what was read: the answer to a `ping` comes
        after all that. Whoever expects nothing must first see elsewhere that it was sent."""
        assert (await self.ask("ping"))["t"] == "ok"
        late = [message for message in self._ahead if message["t"] != "hb"]
        assert late == []

    async def close_code(self, within_s: float = WITHIN_S) -> int:
        """The code with which the server closes, whatever it says before that."""
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            try:
                await self._next(deadline - asyncio.get_running_loop().time(), ("the end",))
            except Closed as closed:
                return closed.code or 1006

    async def close(self) -> None:
        """Close in order."""
        await self.socket.close()

    async def drop(self) -> None:
        """Drop the connection without a word, and let go of it."""
        self.cut()
        await self.socket.close()

    def cut(self) -> None:
        """Drop the connection without a word; whoever reads from it notices."""
        connection = self.socket._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    async def _next(self, within_s: float, waited_for: Sequence[str]) -> Message:
        if self._ahead:
            return self._ahead.popleft()
        try:
            async with asyncio.timeout(max(within_s, 0)):
                received = await self.socket.receive()
        except TimeoutError:
            raise Late(f"no {' or '.join(waited_for) or 'message'} in time") from None
        if received.type is not WSMsgType.TEXT:
            raise Closed(self.socket.close_code, waited_for)
        if self._keeps_texts:
            self.texts.append(received.data)
        message: Message = orjson.loads(received.data)
        return message
