"""A line to a server that loses one thing that is sent over it, and may deliver it later all the same.

What lives here: passing bytes between a loopback port and a socket, but for one piece. What must not: what any of the
bytes mean.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto


class Loss(Enum):
    """What becomes of the next piece that a client sends. Its connection is cut in every case."""

    # It stays on the line, until `deliver`.
    DELAYED = auto()
    # It arrives, and the answer does not.
    UNANSWERED = auto()


@dataclass(slots=True)
class LossyLink:
    """A loopback port that leads to a Unix socket."""

    target: str
    port: int = 0
    lose: Loss | None = None
    _held: tuple[asyncio.StreamWriter, bytes] | None = None
    _lost: asyncio.Event = field(default_factory=asyncio.Event)
    _answered: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def deliver(self) -> None:
        """Let arrive what stayed on the line, and return once the server has answered it."""
        self.release()
        await self.until_answered()

    def release(self) -> None:
        """Let arrive what stayed on the line."""
        assert self._held
        writer, data = self._held
        writer.write(data)

    @property
    def has_lost(self) -> bool:
        """Whether something was lost."""
        return self._lost.is_set()

    async def until_lost(self) -> None:
        """Return once something is lost."""
        async with asyncio.timeout(10):
            await self._lost.wait()

    async def until_answered(self) -> None:
        """Return once the server has answered what was lost."""
        async with asyncio.timeout(10):
            await self._answered.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what one client says, and what it is answered."""
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        there_reader, there_writer = await asyncio.open_unix_connection(self.target)
        self._writers |= {writer, there_writer}
        is_lost = False

        async def answer() -> None:
            with contextlib.suppress(ConnectionError):
                while data := await there_reader.read(65536):
                    if is_lost:
                        self._answered.set()
                    else:
                        writer.write(data)
            writer.transport.abort()

        answering = asyncio.create_task(answer())
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    loss, self.lose = self.lose, None
                    if loss is None:
                        there_writer.write(data)
                        continue
                    is_lost = True
                    self._lost.set()
                    if loss is Loss.DELAYED:
                        self._held = there_writer, data
                    else:
                        there_writer.write(data)
                    writer.transport.abort()
            if not is_lost:
                there_writer.transport.abort()
            # Else the server must not learn that nobody listens any more.
            await answering
        finally:
            self._writers -= {writer, there_writer}
            self._tasks.discard(task)

    async def close(self) -> None:
        """Drop every connection."""
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def lossy_link_to(socket_path: str) -> AsyncIterator[LossyLink]:
    """A link for as long as the block runs."""
    link = LossyLink(socket_path)
    server = await asyncio.start_server(link.serve, "127.0.0.1", 0)
    link.port = server.sockets[0].getsockname()[1]
    try:
        yield link
    finally:
        server.close()
        await link.close()
        await server.wait_closed()
