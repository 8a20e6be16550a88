"""What a subscriber that nothing happens to costs in memory.

What lives here: this measurement and its line. What must not: CPU.
"""

import asyncio
from pathlib import Path

from bench.feed.client import Client
from bench.feed.ours import ours
from bench.ground import Ground
from bench.lines import Line, at_most
from bench.options import Options
from bench.processes import rss_kib
from bench.rounds import Figures, NotMeasured, interleave

_SUBSCRIBERS = 10_000
_SUBSCRIBERS_QUICK = 2000
_WARM_SUBSCRIBERS = 20
_SETTLE_S = 3.0


async def run_idle(options: Options, client_program: Path, ground: Ground) -> list[Line]:
    """The line."""
    subscribers = _SUBSCRIBERS_QUICK if options.is_quick else _SUBSCRIBERS
    what = f"RSS for each of {subscribers:,} idle subscribers"

    async def one_round() -> Figures:
        return {"kib": await _measure(client_program, ground, subscribers)}

    measured = await interleave({what: one_round}, options.rounds)
    note = (
        "Resident memory of the worker with all connected, authenticated and subscribed, less what it was before, "
        "divided by their number; the snapshots of a full book have been sent. The kernel's buffers are not in it."
    )
    kib = measured.median(what, "kib")
    return [Line("feed", what, "KiB", kib, goal=at_most(16), note=measured.reason(what) or note)]


async def _measure(client_program: Path, ground: Ground, subscribers: int) -> float:
    async with ours(ground) as running:
        (worker,) = running.shakti.workers
        # What the first connection loads is nobody's memory.
        async with Client(client_program, running.target, _WARM_SUBSCRIBERS):
            await asyncio.sleep(_SETTLE_S)
        before = rss_kib(worker)
        async with Client(client_program, running.target, subscribers) as client:
            await asyncio.sleep(_SETTLE_S)
            after = rss_kib(worker)
            if (await client.report())["closed"]:
                raise NotMeasured("connections were cut")
    return (after - before) / subscribers
