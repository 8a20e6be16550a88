"""One serving process: opens the application on the shared port, serves until told to leave, and leaves in order.

What lives here: the process's life. What must not: starting other processes (workers.py).
"""

import asyncio
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import replace

import structlog
import uvloop
from aiohttp import web

from handlers.context import LEAVING
from server.app import create_app
from server.config import Config
from server.process_limits import raise_descriptor_limit, spare_the_garbage_collector, watch_descriptors
from server.runner import Runner
from server.workers import announce_ready

log = structlog.get_logger("shakti.worker")
_KEEPALIVE_S = 75.0
_BACKLOG = 1024
_LINGER_S = 1.0


def run_worker(config: Config, port: int, sockets: Sequence[socket.socket]) -> None:
    """Serve on `sockets`, all bound to `port`, until SIGTERM or SIGINT. Raises what opening the application raises:
    ConfigError, UnsafeDatabase, Unavailable."""
    # Where the settings say 0, links need the port that it became.
    config = replace(config, server=replace(config.server, port=port))
    raise_descriptor_limit()
    uvloop.run(_serve(config, sockets))


async def _serve(config: Config, sockets: Sequence[socket.socket]) -> None:
    app = create_app(config)
    leaving = app[LEAVING]
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leaving.set)
    runner = Runner(
        app,
        handle_signals=False,
        shutdown_timeout=config.server.drain_s,
        # A handler refuses bodies that say they are compressed; a parser that had opened them would be too early.
        auto_decompress=False,
        access_log=None,  # how aiohttp switches it off; our middleware writes its own
        keepalive_timeout=_KEEPALIVE_S,
    )
    await runner.setup()
    if runner.server is None:
        raise AssertionError("set-up makes the server")
    listening: list[asyncio.Server] = []
    watching = asyncio.create_task(watch_descriptors(), name="descriptors")
    try:
        listening += [await loop.create_server(runner.server, sock=bound, backlog=_BACKLOG) for bound in sockets]
        spare_the_garbage_collector()
        announce_ready()
        log.debug("serving", pid=os.getpid())
        await leaving.wait()
        log.info("leaving: no new connections, requests under way are finished", pid=os.getpid())
    finally:
        watching.cancel()
        for server in listening:
            server.close()
        await _let_go(runner.server)
        await runner.cleanup()


async def _let_go(server: web.Server) -> None:
    """Give clients the time for one more request on the connections that they hold; its answer closes them. One that is
    closed without an answer may lose the request that is on its way."""
    try:
        async with asyncio.timeout(_LINGER_S):
            while server.connections:  # noqa: ASYNC110 - nothing tells when the last one goes
                await asyncio.sleep(0.02)
    except TimeoutError:
        return
