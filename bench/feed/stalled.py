"""What subscribers that stop reading do to those that read, and to the server's memory.

What lives here: this measurement and its lines. What must not: what becomes of the stalled later (the tests' matter).
"""

import asyncio
from pathlib import Path

from bench.feed.client import Client
from bench.feed.ours import ours
from bench.ground import Ground
from bench.lines import Line
from bench.options import Options
from bench.processes import rss_kib
from bench.rounds import Figures, NotMeasured, interleave

_READING = 50
_STALLED = 20
# So much news that the buffers of who does not read are full within seconds; the server closes them after 15 more.
_BIDS_A_TICK = 400
# The kernel holds little for who does not read.
_RECEIVE_BUFFER = 4096
_STALL_S = 3.0
_MEASURE_S = 8.0


async def run_stalled(options: Options, client_program: Path, ground: Ground) -> list[Line]:
    """The lines."""

    async def with_stalled() -> Figures:
        return await _measure(client_program, ground, stalls=True)

    async def without() -> Figures:
        return await _measure(client_program, ground, stalls=False)

    one, other = f"{_STALLED} of {_READING + _STALLED} stalled", "none stalled"
    measured = await interleave({one: with_stalled, other: without}, options.rounds)
    grown, usual = measured.median(one, "grown_kib"), measured.median(other, "grown_kib")
    note = measured.reason(one, other) or (
        f"The {_READING} that read got {measured.median(one, 'messages_per_s') or 0:,.0f} updates of "
        f"{measured.median(one, 'bytes') or 0:,.0f} bytes a second, "
        f"{measured.median(other, 'messages_per_s') or 0:,.0f} when none stalled. "
        "Memory is what the worker grew by from before the stall to the end, less what it grew by when none stalled."
    )
    return [
        Line(
            "feed",
            f"delivery p99 to {_READING} readers, {_STALLED} more stalled",
            "ms",
            measured.median(one, "p99_ms"),
            other,
            measured.median(other, "p99_ms"),
            note=note,
        ),
        Line(
            "feed",
            "memory for each stalled reader",
            "KiB",
            None if grown is None or usual is None else (grown - usual) / _STALLED,
            note=note,
        ),
    ]


async def _measure(client_program: Path, ground: Ground, *, stalls: bool) -> Figures:
    async with (
        ours(ground, bids_a_tick=_BIDS_A_TICK) as running,
        Client(client_program, running.target, _READING) as readers,
        Client(client_program, running.target, _STALLED, receive_buffer=_RECEIVE_BUFFER) as others,
    ):
        (worker,) = running.shakti.workers
        await running.writer.go()
        await asyncio.sleep(_STALL_S)
        before = rss_kib(worker)
        if stalls:
            await others.stall()
        await asyncio.sleep(_STALL_S)
        await readers.reset()
        await asyncio.sleep(_MEASURE_S)
        report = await readers.report()
        grown = rss_kib(worker) - before
    if report["closed"] or not report["updates"]:
        raise NotMeasured(f"{report['closed']} readers were cut, {report['updates']} updates came")
    return {
        "p50_ms": report["p50_us"] / 1000,
        "p99_ms": report["p99_us"] / 1000,
        "messages_per_s": report["updates"] / report["elapsed_us"] * 1e6,
        "bytes": report["bytes"] / report["updates"],
        "grown_kib": grown,
    }
