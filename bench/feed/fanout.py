"""What a delivered message costs a server and how late it comes, for every contender and several crowds.

What lives here: the measurement, alike for all, and its lines. What must not: how contenders are started.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bench.feed.client import Client
from bench.feed.contenders import AIOHTTP, FLOOR, NCHAN, SHAKTI, WS, Start
from bench.feed.cost import cpu_s, put_on_cores
from bench.ground import Ground
from bench.lines import Goal, Line, at_most, format_figure
from bench.options import Options
from bench.processes import tree
from bench.rounds import Figures, Measure, Measured, NotMeasured, interleave, say

_GOALS: Mapping[str, Goal | None] = {FLOOR: at_most(1.25), NCHAN: at_most(0.95), AIOHTTP: at_most(0.75), WS: None}
_WARM_S = 1.5
_REST_S = 1.0
_MOST_RESTS = 10
_NOTE = (
    "CPU of the serving process with the crowd, less what it uses with nobody connected while everything else goes on, "
    "for all alike. So making, encoding and delivering updates counts; what is behind them does not: with ours placing "
    "30 bids ten times a second and keeping the book, with nchan taking the update by POST. 'All in' is without that "
    "deduction."
)


async def run_fanout(
    options: Options, client_program: Path, contenders: Mapping[str, Start], crowds: tuple[int, ...]
) -> list[Line]:
    """The lines of every crowd."""
    lines: list[Line] = []
    for subscribers in crowds:
        say(f"  {subscribers:,} subscribers:")
        rounds = {name: _measure_of(options, client_program, start, subscribers) for name, start in contenders.items()}
        lines += _lines(await interleave(rounds, options.rounds), subscribers)
    return lines


@contextlib.contextmanager
def off_the_servers_core(options: Options, ground: Ground) -> Iterator[None]:
    """Keep the database and what is started here off the core that servers are put on one by one."""

    def put(cores: tuple[int, ...]) -> None:
        put_on_cores([os.getpid(), *tree(ground.postgres_pid)], cores)

    put(options.core_ids[1:] or options.core_ids)
    try:
        yield
    finally:
        put(options.core_ids)


async def measure(options: Options, client_program: Path, start: Start, subscribers: int) -> Figures:
    """The figures of one round. Raises NotMeasured.

    Server and client have a core each, where there are two: what the one does then does not preempt the other, and
    CPU times do not depend on where the scheduler happens to put them.
    """
    alone_s, crowd_s = (2.0, 3.0) if options.is_quick else (2.5, 4.0)
    async with start() as serving:
        put_on_cores(serving.pids, options.core_ids[:1])
        async with Client(client_program, serving.target, subscribers) as client:
            put_on_cores([client.pid], options.core_ids[-1:])
            await serving.go()
            await asyncio.sleep(_WARM_S)
            await client.reset()
            before_s, client_before_s = cpu_s(serving.pids), cpu_s([client.pid])
            await asyncio.sleep(crowd_s)
            report = await client.report()
            used_s, client_used_s = cpu_s(serving.pids) - before_s, cpu_s([client.pid]) - client_before_s
        await _rested(serving.pids)
        before_s = cpu_s(serving.pids)
        await asyncio.sleep(alone_s)
        alone = (cpu_s(serving.pids) - before_s) / alone_s
    updates, elapsed_s = report["updates"], report["elapsed_us"] / 1e6
    if report["closed"] or not updates:
        raise NotMeasured(f"{report['closed']} of {subscribers} connections were cut, {updates} updates came")
    return {
        "us_a_message": (used_s - alone * elapsed_s) / updates * 1e6,
        "us_all_in": used_s / updates * 1e6,
        "messages_per_s": updates / elapsed_s,
        "bytes": report["bytes"] / updates,
        "p50_ms": report["p50_us"] / 1e3,
        "p99_ms": report["p99_us"] / 1e3,
        "cores_alone": alone,
        "cores": used_s / elapsed_s,
        "client_cores": client_used_s / elapsed_s,
    }


async def _rested(pids: Iterable[int]) -> None:
    """Return when the crowd has been forgotten: from one second to the next no more than a tenth less was used."""
    pids = tuple(pids)
    earlier = float("inf")
    for _ in range(_MOST_RESTS):
        before_s = cpu_s(pids)
        await asyncio.sleep(_REST_S)
        used_s = cpu_s(pids) - before_s
        if used_s > 0.9 * earlier:
            return
        earlier = used_s


def _measure_of(options: Options, client_program: Path, start: Start, subscribers: int) -> Measure:
    async def one_round() -> Figures:
        return await measure(options, client_program, start, subscribers)

    return one_round


def _lines(measured: Measured, subscribers: int) -> list[Line]:
    crowd = f"{subscribers:,} subscribers"

    def line(what: str, unit: str, peer: str, figure: str, goal: Goal | None = None, note: str = "") -> Line:
        return Line(
            "feed",
            f"{what}, {crowd}",
            unit,
            measured.median(SHAKTI, figure),
            peer,
            measured.median(peer, figure),
            goal,
            measured.reason(SHAKTI, peer) or note,
        )

    seen = _seen(measured)
    return [
        # Microseconds a message are seconds per million messages.
        *(line("CPU per million messages", "s", peer, "us_a_message", goal, _NOTE) for peer, goal in _GOALS.items()),
        line("CPU per million messages, all in", "s", FLOOR, "us_all_in", note=_NOTE),
        line("messages delivered", "1/s", FLOOR, "messages_per_s", note=seen),
        line("delivery p50", "ms", FLOOR, "p50_ms", note=seen),
        line("delivery p99", "ms", FLOOR, "p99_ms", note=seen),
    ]


def _seen(measured: Measured) -> str:
    """What every contender delivered, in words."""
    words = [
        f"{name} {format_figure(measured.median(name, 'messages_per_s'))}/s of "
        f"{format_figure(measured.median(name, 'bytes'))} bytes, p50 {format_figure(measured.median(name, 'p50_ms'))} "
        f"and p99 {format_figure(measured.median(name, 'p99_ms'))} ms, all in "
        f"{format_figure(measured.median(name, 'us_all_in'))} s per million"
        for name in measured.rounds
    ]
    return f"{'; '.join(words)}. Times are from a tick's stamp, cut to whole milliseconds, to the client's read."
