"""What a serving process may use: file descriptors, and when it looks for garbage.

What lives here: setting both for a process with thousands of sockets, and saying when descriptors run out. What must
not: limits on what clients may do (rules.py).
"""

import asyncio
import contextlib
import gc
import os
import resource
from typing import Final

import structlog

log = structlog.get_logger("shakti.worker")
_LOOK_S: Final = 0.2
# After a complaint, silence for this long.
_QUIET_S: Final = 60.0


def raise_descriptor_limit() -> None:
    """Allow as many open files and sockets as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def spare_the_garbage_collector() -> None:
    """Have it leave alone what was made at the start, and look less often at the rest: with thousands of sockets a look
    at everything stops the event loop for a quarter of a second, and what requests make is freed without it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


async def watch_descriptors() -> None:
    """Say so when there are none left, until cancelled: new sockets are closed then without a word from the loop."""
    while True:
        pause_s = _LOOK_S
        try:
            os.close(os.dup(0))
        except OSError:
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            log.error(
                "no file descriptors left: new connections are refused; raise the limit (ulimit -n)",
                limit=limit,
                pid=os.getpid(),
            )
            pause_s = _QUIET_S
        await asyncio.sleep(pause_s)
