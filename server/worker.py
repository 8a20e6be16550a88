"""One serving process: opens the application on the shared port, serves until told to leave, and leaves in order.

What lives here: the process's life. What must not: starting other processes (workers.py).
"""

import asyncio
import os
import signal
import sys

import asyncpg
import structlog
import uvloop
from aiohttp import web

from server.app import create_app
from server.config import Config
from server.workers import announce_ready
from storage.database import UnsafeDatabase
from storage.errors import Unavailable

log = structlog.get_logger("shakti.worker")
# How a parent is told that the settings, not this process, are at fault (sysexits.h EX_CONFIG).
EX_CONFIG = os.EX_CONFIG
_KEEPALIVE_S = 75.0


def run_worker(config: Config, port: int) -> int:
    """Serve on the port that the parent holds, until SIGTERM. Returns the exit code."""
    try:
        return uvloop.run(_serve(config, port))
    except (UnsafeDatabase, asyncpg.InvalidPasswordError, asyncpg.InvalidCatalogNameError) as fault:
        print(f"Shakti cannot use the database: {fault}", file=sys.stderr)  # noqa: T201 - said to a person
        return EX_CONFIG
    except Unavailable as fault:
        print(f"Shakti cannot start: {fault}. Is it running, and is its URL right?", file=sys.stderr)  # noqa: T201
        return 1


async def _serve(config: Config, port: int) -> int:
    leaving = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leaving.set)
    runner = web.AppRunner(
        create_app(config),
        access_log=None,
        handle_signals=False,
        keepalive_timeout=_KEEPALIVE_S,
        shutdown_timeout=config.server.drain_s,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.server.host, port, reuse_port=True, backlog=1024)
        await site.start()
        announce_ready()
        await leaving.wait()
        log.info("leaving: no new connections, requests under way are finished")
    finally:
        await runner.cleanup()
    return 0
