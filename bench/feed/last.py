"""From the answer to a bid to the last subscriber that hears of it.

What lives here: this measurement and its line. What must not: steady load.
"""

import asyncio
import random
import statistics
import time
from pathlib import Path

from bench.feed.client import Client
from bench.feed.ours import ours
from bench.ground import Ground
from bench.lines import Line
from bench.options import Options
from bench.rounds import NotMeasured, say

_SUBSCRIBERS = 5000
_SUBSCRIBERS_QUICK = 1000
_BIDS = 30
_BIDS_QUICK = 10
# Two ticks at least, so that no bid finds the one before it under way; at random, so that ticks meet bids of all ages.
_REST_S = (0.25, 0.4)


async def run_last(options: Options, client_program: Path, ground: Ground) -> list[Line]:
    """The line. One bid at a time, on a book at rest."""
    subscribers, count = (_SUBSCRIBERS_QUICK, _BIDS_QUICK) if options.is_quick else (_SUBSCRIBERS, _BIDS)
    count *= options.rounds
    what = f"from a bid's 200 to the last of {subscribers:,} subscribers"
    try:
        took_ms = await _measure(client_program, ground, subscribers, count)
    except NotMeasured as fault:
        return [Line("feed", what, "ms", None, note=str(fault))]
    say(f"  {what}: median {statistics.median(took_ms):.1f} ms, longest {max(took_ms):.1f} ms")
    return [
        Line("feed", f"{what}, median", "ms", statistics.median(took_ms), note=f"Of {count} bids; a tick is 100 ms."),
        Line("feed", f"{what}, p99", "ms", _p99(took_ms), note=f"Of {count} bids; a tick is 100 ms."),
    ]


async def _measure(client_program: Path, ground: Ground, subscribers: int, count: int) -> list[float]:
    chance = random.Random(3)
    took_ms = []
    async with (
        ours(ground, bids_a_tick=1) as running,
        Client(client_program, running.target, subscribers) as client,
    ):
        await asyncio.sleep(1.0)
        for _ in range(count):
            await asyncio.sleep(chance.uniform(*_REST_S))
            await client.mark()
            seq = await running.writer.place()
            answered_us = time.time_ns() // 1000
            heard = await client.told("all")
            if not heard["seq_low"] == heard["seq_high"] == seq:
                raise NotMeasured(f"subscribers heard of {heard} where {seq} was awaited")
            took_ms.append((heard["last_us"] - answered_us) / 1000)
    return took_ms


def _p99(values: list[float]) -> float:
    """The value that 99 of 100 do not exceed; of fewer than 100 the largest."""
    return sorted(values)[int(len(values) * 0.99)]
