"""A websocket with nothing in the way: any bytes out, frames in, and a buffer as small as the system allows.

What lives here: the handshake and RFC 6455's frames, also wrong ones. What must not: what the feed says in them.
"""

import asyncio
import base64
import os
import socket
import struct
from collections.abc import Mapping
from typing import NamedTuple, Self

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
# An unsigned length that stands in the next two or eight bytes.
_TWO, _EIGHT = 126, 127


class Frame(NamedTuple):
    """A frame from the server."""

    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int:
        """What a close frame says; 1005 when it says nothing."""
        return int.from_bytes(self.payload[:2], "big") if len(self.payload) >= 2 else 1005


def frame(
    payload: bytes,
    opcode: int = TEXT,
    *,
    is_last: bool = True,
    reserved: int = 0,
    mask: bytes | None = b"\x01\x02\x03\x04",
    length: int | None = None,
    length_bytes: int | None = None,
) -> bytes:
    """A frame of a client's: masked, unless told otherwise. `length` lies about the payload's; `length_bytes` 2 or 8
    says it in more bytes than needed."""
    claimed = len(payload) if length is None else length
    if length_bytes == 8 or (length_bytes is None and claimed > 0xFFFF):
        size, more = _EIGHT, struct.pack(">Q", claimed)
    elif length_bytes == 2 or claimed > 125:
        size, more = _TWO, struct.pack(">H", claimed)
    else:
        size, more = claimed, b""
    first = (0x80 if is_last else 0) | reserved << 4 | opcode
    head = bytes((first, (0x80 if mask is not None else 0) | size)) + more
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


class RawWebSocket:
    """A connection that has been upgraded. `unread` bytes stay with it until `read` asks for them: who does not read
    leaves them to the kernel and to the server."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self.received = 0

    @classmethod
    async def open(
        cls, port: int, *, headers: Mapping[str, str] | None = None, buffer_bytes: int | None = None
    ) -> Self:
        """Connect to 127.0.0.1 and upgrade. `buffer_bytes` bounds what the kernel takes in for us."""
        connected = socket.socket()
        connected.setblocking(False)
        if buffer_bytes is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        opened = cls(connected)
        try:
            await opened._loop.sock_connect(connected, ("127.0.0.1", port))
            key = base64.b64encode(os.urandom(16)).decode()
            lines = ["GET /ws HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: Upgrade", "Upgrade: websocket"]
            lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
            lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
            await opened.send("\r\n".join([*lines, "", ""]).encode())
            head = await opened._until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101"), head
        except BaseException:
            connected.close()
            raise
        return opened

    @property
    def port(self) -> int:
        """Our end's."""
        return int(self._socket.getsockname()[1])

    async def send(self, data: bytes) -> None:
        """Bytes as they are."""
        await self._loop.sock_sendall(self._socket, data)

    async def read(self, within_s: float = 8.0) -> Frame:
        """The next frame. Raises EOFError when the connection ends, ConnectionError when it breaks."""
        async with asyncio.timeout(within_s):
            head = await self._take(2)
            assert not head[1] & 0x80, "a server masks nothing"
            assert head[0] & 0xF0 == 0x80, "the feed sends whole messages, plain"
            length = head[1]
            if length == _TWO:
                length = int.from_bytes(await self._take(2), "big")
            elif length == _EIGHT:
                length = int.from_bytes(await self._take(8), "big")
            return Frame(head[0] & 0xF, await self._take(length))

    def send_eof(self) -> None:
        """Nothing more will come from us; what comes from the server can still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let go of the connection without a word."""
        self._socket.close()

    async def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._fill()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            await self._fill()
        return await self._take(self._buffer.index(mark) + len(mark))

    async def _fill(self) -> None:
        data = await self._loop.sock_recv(self._socket, 65536)
        if not data:
            raise EOFError
        self.received += len(data)
        self._buffer += data
