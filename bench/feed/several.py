"""More subscribers than one core can serve at full rate: two workers against one.

What lives here: this measurement and its line. What must not: CPU per message, which more processes do not lower.
"""

import asyncio
import resource
from pathlib import Path

from bench.feed.client import Client
from bench.feed.ours import ours
from bench.ground import Ground
from bench.lines import Line, at_least
from bench.options import Options
from bench.rounds import Figures, NotMeasured, interleave

# In each of two clients, so that it is not the client that is full.
_SUBSCRIBERS = 8000
_SUBSCRIBERS_QUICK = 3000
# Server, client and system need a core each before a second worker can show anything.
_CORES = 4
_WARM_S = 2.0
# Descriptors that a server needs beside its connections.
_SPARE = 1000


async def run_several(options: Options, client_program: Path, ground: Ground) -> list[Line]:
    """The line; without a goal where there are too few cores."""
    most = (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE) // 2
    subscribers = min(_SUBSCRIBERS_QUICK if options.is_quick else _SUBSCRIBERS, most)

    async def one() -> Figures:
        return await _measure(options, client_program, ground, subscribers, workers=1)

    async def two() -> Figures:
        return await _measure(options, client_program, ground, subscribers, workers=2)

    measured = await interleave({"2 workers": two, "1 worker": one}, options.rounds)
    note = f"{options.cores} cores: no goal below {_CORES}." if options.cores < _CORES else ""
    return [
        Line(
            "feed",
            f"messages delivered by 2 workers, {2 * subscribers:,} subscribers",
            "1/s",
            measured.median("2 workers", "messages_per_s"),
            "1 worker",
            measured.median("1 worker", "messages_per_s"),
            at_least(1.6) if options.cores >= _CORES else None,
            measured.reason("2 workers", "1 worker") or note,
        )
    ]


async def _measure(
    options: Options, client_program: Path, ground: Ground, subscribers: int, *, workers: int
) -> Figures:
    async with (
        ours(ground, workers=workers) as running,
        Client(client_program, running.target, subscribers) as first,
        Client(client_program, running.target, subscribers) as second,
    ):
        await running.writer.go()
        await asyncio.sleep(_WARM_S)
        for client in (first, second):
            await client.reset()
        await asyncio.sleep(3.0 if options.is_quick else 7.0)
        reports = [await client.report() for client in (first, second)]
    if any(report["closed"] for report in reports):
        raise NotMeasured("connections were cut")
    return {
        "messages_per_s": sum(report["updates"] / report["elapsed_us"] * 1e6 for report in reports),
        "p99_ms": max(report["p99_us"] for report in reports) / 1000,
    }
