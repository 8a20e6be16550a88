"""Killing a drill's server, whole or in part, and waiting until it serves again.

What lives here: who is killed, and how. What must not: when.
"""

import contextlib
import os
import random
import signal
from pathlib import Path

from tests.drills.server import DrillServer

# What a process has in its command line.
_PROGRAMS = {"worker": b"worker", "postgres": b"postgres", "redis": b"valkey"}


async def kill_one(server: DrillServer, chance: random.Random) -> str:
    """kill -9 of everything, or of one of the server's processes, and back to work; what was killed."""
    victim = chance.choices(("all", "worker", "postgres", "redis"), weights=(5, 2, 2, 1))[0]
    await kill(server, victim)
    return victim


async def kill(server: DrillServer, victim: str) -> None:
    """kill -9 of `all`, a `worker`, `postgres` or `redis`; returns when the server is ready again."""
    if victim == "all":
        await server.kill_parent()
        await server.start()
        return
    for pid in server.processes(_PROGRAMS[victim])[:1]:
        os.kill(pid, signal.SIGKILL)
    await server.wait_until_ready()


async def strike(server: DrillServer, victim: str) -> str:
    """`kill` without waiting until the server is ready again, so that it may be struck while it starts. What was
    killed: all, if the process that was meant is not there."""
    pids = [] if victim == "all" else server.processes(_PROGRAMS[victim])[:1]
    if not pids:
        await server.kill_parent()
        server.launch()
        return "all"
    # It may have ended by itself a moment ago.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pids[0], signal.SIGKILL)
    return victim


def is_clearing(server: DrillServer) -> bool:
    """Whether a backend of the server's PostgreSQL copies at this moment, by its title. Only a clearing does."""
    for postgres in server.processes(_PROGRAMS["postgres"])[:1]:
        with contextlib.suppress(OSError):
            for backend in Path(f"/proc/{postgres}/task/{postgres}/children").read_text().split():
                if b" COPY" in Path(f"/proc/{backend}/cmdline").read_bytes():
                    return True
    return False
