"""What tests of handlers need beyond tests/conftest.py: the server as a worker serves it.

What lives here: fixtures. What must not: a second way to assemble the application.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from server import worker
from server.config import Config


@pytest.fixture
async def worker_port(config: Config) -> AsyncIterator[int]:
    """The port of a worker's own serving loop. `client` speaks to the application over aiohttp's test server, whose
    parser has settings of its own; this is for what the parser refuses."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        serving = asyncio.create_task(worker._serve(config, [bound]))
        async with asyncio.timeout(10):
            # The socket listens from the start; an answer means that somebody accepts.
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
            await reader.readline()
            writer.close()
        yield port
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
