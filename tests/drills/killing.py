"""Killing a drill's server, whole or in part, and waiting until it serves again.

What lives here: who is killed, and how. What must not: when.
"""

import os
import random
import signal

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
