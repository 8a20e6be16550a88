"""Sign-ins: whether passwords that are hashed beside it hold up everybody else.

What lives here: a trivial GET, timed with and without people who sign in. What must not: other endpoints.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from bench.ground import Ground
from bench.http_load import HttpLoad, Request
from bench.lines import Line, at_most
from bench.options import Options
from bench.rounds import Figures, NotMeasured, interleave
from bench.shakti import Account, Shakti

NAME = "signins"
_PEOPLE = 8
_BCRYPT_COST = 12
# 400 requests a second at most: enough for a p99, little enough to leave an idle server idle.
_CONNECTIONS = 4
_PACE_MS = 10


@dataclass(slots=True)
class _Tally:
    sign_ins: int = 0


async def run(options: Options) -> list[Line]:
    """Time the GET on an idle server and under sign-ins, in turn."""
    with Ground() as ground:
        environ = {"SHAKTI_AUTH_BCRYPT_COST": str(_BCRYPT_COST)}
        async with Shakti(ground, "signins", environ=environ) as server:
            people = await server.sign_up(_PEOPLE)
            load = HttpLoad(options, ground.directory / "requests", [Request("GET", "/healthz", {})])

            async def idle() -> Figures:
                return await load.run(server.port, _CONNECTIONS, pace_ms=_PACE_MS)

            async def busy() -> Figures:
                loop = asyncio.get_running_loop()
                async with _signing_in(server, people) as tally:
                    began, before = loop.time(), tally.sign_ins
                    figures = await load.run(server.port, _CONNECTIONS, pace_ms=_PACE_MS)
                    rate = (tally.sign_ins - before) / (loop.time() - began)
                if not rate:
                    raise NotMeasured("nobody was signed in during the measurement: the machine is too busy")
                return {**figures, "sign_ins_per_s": rate}

            measured = await interleave({"idle": idle, "busy": busy}, options.rounds)
    what = f"GET /healthz under {_PEOPLE} people who sign in at bcrypt cost {_BCRYPT_COST}"
    reason = measured.reason("busy", "idle")
    return [
        Line(
            NAME,
            f"{name} of {what}",
            "us",
            measured.median("busy", figure),
            "idle",
            measured.median("idle", figure),
            at_most(3) if figure == "p99_us" else None,
            reason,
        )
        for name, figure in (("p99", "p99_us"), ("p50", "p50_us"))
    ] + [Line(NAME, "sign-ins beside it", "sign-ins/s", measured.median("busy", "sign_ins_per_s"), note=reason)]


@asynccontextmanager
async def _signing_in(server: Shakti, people: Sequence[Account]) -> AsyncIterator[_Tally]:
    """Everybody signs in, again and again, as long as the block lasts. Raises NotMeasured when one is refused."""
    tally = _Tally()
    async with aiohttp.ClientSession(server.url) as session:
        tasks = [asyncio.create_task(_sign_in_for_ever(session, account, tally)) for account in people]
        try:
            yield tally
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _sign_in_for_ever(session: aiohttp.ClientSession, account: Account, tally: _Tally) -> None:
    while True:
        async with session.post("/signin", json=account.sign_in_form) as response:
            if response.status != 200:
                raise NotMeasured(f"a sign-in was answered {response.status}: {await response.text()}")
        tally.sign_ins += 1
