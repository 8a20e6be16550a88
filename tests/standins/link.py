"""A line to a server that a test can cut, or make silent, without touching the server itself.

What lives here: passing bytes between a loopback port and a socket. What must not: what any of the bytes mean.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Link:
    """A loopback port that leads to a Unix socket. `is_up = False` cuts every connection and refuses new ones;
    `is_silent = True` swallows what is sent."""

    target: str
    port: int = 0
    is_silent: bool = False
    is_up: bool = True
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self) -> None:
        """Begin to listen; `port` is known afterwards."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Drop every connection, and every new one at once."""
        self.is_up = False
        for writer in list(self._writers):
            writer.transport.abort()

    def restore(self) -> None:
        """Serve again."""
        self.is_up, self.is_silent = True, False

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        assert self._server
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if not self.is_up:
                return
            there_reader, there_writer = await asyncio.open_unix_connection(self.target)
            self._writers.add(there_writer)
            with contextlib.suppress(ConnectionError):
                await asyncio.gather(self._pass_on(reader, there_writer), self._pass_on(there_reader, writer))
            there_writer.transport.abort()
            self._writers.discard(there_writer)
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not self.is_silent:
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def link_to(socket_path: str) -> AsyncIterator[Link]:
    """A link for as long as the block runs."""
    link = Link(socket_path)
    await link.open()
    try:
        yield link
    finally:
        await link.close()
