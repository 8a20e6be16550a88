"""How much memory a process has had at most.

What lives here: the kernel's own account of it, out of /proc. What must not: which process. Linux only.
"""

import asyncio
import contextlib
from pathlib import Path

_POLL_S = 0.02


def resident_mib(pid: int) -> float:
    """What a process holds now."""
    return _field(pid, "VmRSS") / 1024


def most_resident_mib(pid: int) -> float:
    """The most that a process has held so far. The kernel keeps it, so it is right however seldom it is asked for."""
    return _field(pid, "VmHWM") / 1024


async def watch_most_resident_mib(pid: int) -> float:
    """The same of a process that ends meanwhile, which takes it along: asked for until then, or until cancelled."""
    most = 0.0
    with contextlib.suppress(asyncio.CancelledError, OSError, LookupError):
        while True:
            most = most_resident_mib(pid)
            await asyncio.sleep(_POLL_S)
    return most


def _field(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return float(value.split()[0])
    raise LookupError(f"process {pid} has no {name}")
