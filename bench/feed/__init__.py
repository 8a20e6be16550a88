"""The live feed beside its peers: what delivering an update costs, how late it comes, what subscribers weigh.

Every contender sends updates of the same length to the same client ten times a second: client.c counts and times them,
floor.c is what the kernel alone costs, peers/ are others. Ours come out of real bids (bids.py); of what length they are
is measured first, and the peers' made as long (payload.py).
"""

import asyncio
import contextlib
from pathlib import Path

from bench.feed.client import Client, client_program
from bench.feed.contenders import SHAKTI, Serving, peers, raise_descriptor_limit
from bench.feed.fanout import off_the_servers_core, run_fanout
from bench.feed.idle import run_idle
from bench.feed.last import run_last
from bench.feed.ours import serving
from bench.feed.payload import update
from bench.feed.several import run_several
from bench.feed.stalled import run_stalled
from bench.ground import Ground
from bench.lines import Line
from bench.options import Options
from bench.rounds import NotMeasured, say

NAME = "feed"
_CROWDS = (1000, 5000, 10_000)
_CROWDS_QUICK = (1000,)


async def run(options: Options) -> list[Line]:
    """All lines of the feed. Raises NotMeasured when ours cannot be measured at all."""
    raise_descriptor_limit()
    program = client_program(options)
    with Ground() as ground:
        length = await _length_of_ours(program, ground)
        say(f"  our updates have {length} bytes, and so have the peers'")

        def shakti() -> contextlib.AbstractAsyncContextManager[Serving]:
            return serving(ground)

        contenders = {SHAKTI: shakti, **peers(options, update(length))}
        crowds = _CROWDS_QUICK if options.is_quick else _CROWDS
        with off_the_servers_core(options, ground):
            lines = await run_fanout(options, program, contenders, crowds)
        return [
            *lines,
            *await run_last(options, program, ground),
            *await run_idle(options, program, ground),
            *await run_stalled(options, program, ground),
            *await run_several(options, program, ground),
        ]


async def _length_of_ours(program: Path, ground: Ground) -> int:
    """Bytes of an update, the mean over some seconds."""
    async with serving(ground) as running, Client(program, running.target, 1) as client:
        await running.go()
        await asyncio.sleep(1.0)
        await client.reset()
        await asyncio.sleep(4.0)
        report = await client.report()
    if not report["updates"]:
        raise NotMeasured("no update came for the bids that were placed")
    bytes_, updates = int(report["bytes"]), int(report["updates"])
    return round(bytes_ / updates)
