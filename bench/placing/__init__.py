"""Placing: the same bids into the same PostgreSQL, by the server and by applications of the same purpose.

What lives here: who is measured against whom, and the lines of the table. What must not: how each is started
(contenders.py) or what is sent (offers.py).
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from bench.ground import Ground
from bench.http_load import HttpLoad
from bench.lines import Goal, Line, at_least
from bench.options import Options
from bench.placing import contenders, floor, same_work
from bench.placing.offers import bids_of
from bench.rounds import Figures, Measure, Measured, NotMeasured, interleave, say

NAME = "placing"
CONNECTIONS = 64
SIZES = (1, 96)

SHAKTI, SHAKTI_2 = "Shakti", "Shakti, 2 workers"
FASTIFY, FASTAPI, EXPRESS = "Fastify + pg", "FastAPI + asyncpg", "Express + Prisma"
FLOOR = f"pgbench -c {CONNECTIONS}"
_GOALS: dict[tuple[str, int], Goal] = {
    (FASTIFY, 1): at_least(1.5),
    (FASTAPI, 1): at_least(4),
    (EXPRESS, 1): at_least(20),
    (FASTIFY, 96): at_least(1.5),
}
_START: dict[str, Callable[[AsyncExitStack, Options, Ground], contenders.Starting]] = {
    SHAKTI: partial(contenders.shakti, workers=1),
    SHAKTI_2: partial(contenders.shakti, workers=2),
    FASTIFY: contenders.fastify,
    FASTAPI: contenders.fastapi,
    EXPRESS: contenders.express_prisma,
}
# A client that needs this share of a core may be what is measured.
_BUSY_CLIENT = 0.85


async def run(options: Options) -> list[Line]:
    """Start everybody, load them in turn with each size of request, end them."""
    lines: list[Line] = []
    with Ground() as ground:
        async with AsyncExitStack() as stack:
            started: dict[str, contenders.Contender | NotMeasured] = {}
            for name, start in _START.items():
                say(f"  starting {name}")
                try:
                    started[name] = contender = await start(stack, options, ground)
                    await same_work.check(contender)
                except NotMeasured as fault:
                    started[name] = fault
            for size in SIZES:
                measures: dict[str, Measure] = {
                    name: partial(_place, options, ground, contender, size) for name, contender in started.items()
                }
                measures[FLOOR] = partial(floor.insert, options, ground, CONNECTIONS, size)
                say(f"  {_bids(size)} a request:")
                lines += _lines(options, await interleave(measures, options.rounds), size)
    return lines


async def _place(options: Options, ground: Ground, contender: contenders.Contender | NotMeasured, size: int) -> Figures:
    if isinstance(contender, NotMeasured):
        raise contender
    await ground.settle()
    load = HttpLoad(options, ground.directory / "requests", bids_of(contender.tokens, size))
    watched = {"web": contender.pid, "postgres": ground.postgres_pid}
    figures = await load.run(contender.port, CONNECTIONS, watched=watched)
    if figures["client_us"] * figures["per_s"] > _BUSY_CLIENT * 1e6:
        say("  the client was busy most of the time: the contender may be faster than shown")
    return figures


def _lines(options: Options, measured: Measured, size: int) -> list[Line]:
    what = f"{_bids(size)} a request, {CONNECTIONS} connections"
    unit = "bids/s" if size > 1 else "requests/s"

    def line(what: str, unit: str, figure: str, peer: str, goal: Goal | None = None, scale: float = 1) -> Line:
        ours, theirs = measured.median(SHAKTI, figure), measured.median(peer, figure)
        return Line(
            NAME,
            what,
            unit,
            None if ours is None else ours * scale,
            peer,
            None if theirs is None else theirs * scale,
            goal,
            measured.reason(SHAKTI, peer),
        )

    peers = (FASTIFY, FASTAPI, EXPRESS)
    return [
        *(line(what, unit, "per_s", peer, _GOALS.get((peer, size)), size) for peer in (*peers, FLOOR)),
        _of_two_workers(options, measured, what, unit, size),
        *(line(f"CPU of the web process, {_bids(size)}", "us/request", "web_us", peer) for peer in peers),
        *(line(f"CPU of PostgreSQL, {_bids(size)}", "us/request", "postgres_us", peer) for peer in (*peers, FLOOR)),
    ]


def _of_two_workers(options: Options, measured: Measured, what: str, unit: str, size: int) -> Line:
    two, one = measured.median(SHAKTI_2, "per_s"), measured.median(SHAKTI, "per_s")
    has_cores = options.cores >= 4
    return Line(
        NAME,
        f"2 workers, {what}",
        unit,
        None if two is None else two * size,
        "1 worker",
        None if one is None else one * size,
        at_least(1.6) if has_cores else None,
        measured.reason(SHAKTI_2, SHAKTI)
        or ("" if has_cores else "Without a goal on fewer than 4 cores: servers and client share them."),
    )


def _bids(size: int) -> str:
    return "1 bid" if size == 1 else f"{size} bids"
