"""A whole day: a million bids in PostgreSQL, from the gate to committed results, while the server answers requests.

What lives here: the two ways to clear a day, and what each takes. What must not: the day's bids (filling.py), or the
lines of the table (day_lines.py).

Each measurement has a copy of the same database and a server of its own on it, whose book holds the day. By hand it is
`run.py clear`, told a gate that is over while the server's is not, so that the keeper of the server leaves it alone. Or
the server's keeper does it when its gate comes.
"""

import asyncio
import contextlib
import itertools
import json
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg

from bench.auction import filling
from bench.auction.asking import Answers, Question, asking
from bench.auction.memory import most_resident_mib, resident_mib, watch_most_resident_mib
from bench.ground import Ground
from bench.options import Options
from bench.processes import Child
from bench.rounds import Figures, NotMeasured, say
from bench.shakti import Shakti
from bench.tools import PROJECT
from market.calendar import ZONE, Calendar
from market.slots import SLOTS

TEMPLATE = "filled"
# The default, and one that is over from the first second of the day on.
_MIDNIGHT, _OVER = "24:00", "00:00:01"
# The parts of it as the command tells them, and as the keeper's line in the log does.
_SAID = re.compile(r"Read in ([0-9.]+) s, cleared in ([0-9.]+) s, written in ([0-9.]+) s")
_LOGGED = re.compile(r'"read_s": ?([0-9.]+), "clear_s": ?([0-9.]+), "write_s": ?([0-9.]+)')
_LOGGED_WITHIN_S = 5.0
_ENVIRONMENT = {
    "SHAKTI_AUTH_BCRYPT_COST": "4",
    "SHAKTI_LOG_LEVEL": "info",
    "SHAKTI_LOG_FORMAT": "json",
    # The same numbers sign up at every server, and all have one Redis.
    "SHAKTI_LIMITS_OTP_PER_NUMBER": "1000000",
    "SHAKTI_LIMITS_OTP_PER_NUMBER_DAY": "1000000",
}
_LONGEST_S = 600.0
# What one measurement usually takes. None may lie across midnight in India, when another day opens.
_USUAL_S = 90.0
_POLL_S = 0.02
_numbers = itertools.count(1)


class DayGround(Ground):
    """A ground whose databases are copies of the filled one."""

    async def new_database(self, name: str) -> str:
        """The URL of a new database; the first one is the template, and empty."""
        if name == TEMPLATE:
            return await super().new_database(name)
        admin = await asyncpg.connect(self._url)
        try:
            await admin.execute(f"CREATE DATABASE bench_{name} TEMPLATE bench_{TEMPLATE} STRATEGY file_copy")
        finally:
            await admin.close()
        return self.url_of(name)


@dataclass(frozen=True, slots=True)
class Day:
    """The day to clear, filled in the ground's template."""

    ground: DayGround
    options: Options
    date: date

    @classmethod
    async def filled(cls, ground: DayGround, options: Options) -> "Day":
        """Fill the day that is open now, by India's calendar, or in some minutes if midnight is near."""
        now = datetime.now(UTC)
        left_s = (Calendar().gate_at(Calendar().open_day(now)) - now).total_seconds()
        if left_s < _USUAL_S * 2 * options.rounds:
            say(f"  waiting {left_s:.0f} s for midnight in India")
            await asyncio.sleep(left_s + 2)
        day = Calendar().open_day(datetime.now(UTC))
        await filling.fill(await ground.new_database(TEMPLATE), day)
        return cls(ground, options, day)

    async def by_hand(self) -> Figures:
        """`run.py clear`, from its start to its end."""
        async with self._running(_MIDNIGHT) as (server, url, answers):
            idle = await self._idle(answers)
            began = time.monotonic()
            split, peak_mib = await self._clear(server, url)
            ended = time.monotonic()
            busy = answers.figures(began, ended)
            await self._check(url)
        return {"total_s": ended - began, "peak_mib": peak_mib, **split, **_named("idle", idle), **_named("busy", busy)}

    async def by_keeper(self) -> Figures:
        """The server's own keeper, from the gate to the moment at which results can be read."""
        ahead_s = 30 + self.options.warm_s + self.options.measure_s
        # Whole seconds of the day before delivery, which is today in India.
        gate = (datetime.now(ZONE) + timedelta(seconds=ahead_s)).replace(microsecond=0)
        async with self._running(f"{gate:%H:%M:%S}") as (server, url, answers):
            idle = await self._idle(answers)
            before_mib = resident_mib(_worker(server))
            if (left_s := gate.timestamp() - time.time()) < 0:
                raise NotMeasured("the server was not ready when its gate came")
            await asyncio.sleep(left_s)
            began = time.monotonic()
            await self._cleared(url)
            ended = time.monotonic()
            busy = answers.figures(began, ended)
            peak_mib = most_resident_mib(_worker(server))
            async with asyncio.timeout(_LOGGED_WITHIN_S):
                # The results can be read a moment before the keeper has said how long they took.
                while not _LOGGED.search(_read(server.log)):  # noqa: ASYNC110 - a log tells nobody
                    await asyncio.sleep(0.05)
            split = _split(server.log, _LOGGED)
            await self._check(url)
        return {
            "total_s": ended - began,
            "peak_mib": peak_mib,
            "grown_mib": peak_mib - before_mib,
            **split,
            **_named("idle", idle),
            **_named("busy", busy),
        }

    @contextlib.asynccontextmanager
    async def _running(self, gate_closure: str) -> AsyncIterator[tuple[Shakti, str, Answers]]:
        name = f"day_{next(_numbers)}"
        environ = {**_ENVIRONMENT, "SHAKTI_MARKET_GATE_CLOSURE": gate_closure}
        async with Shakti(self.ground, name, environ=environ) as server:
            (account,) = await server.sign_up(1)
            await self.ground.settle()
            async with asking(server.port, _questions(account.token, self.date + timedelta(days=1))) as answers:
                yield server, self.ground.url_of(name), answers

    async def _idle(self, answers: Answers) -> Figures:
        await asyncio.sleep(self.options.warm_s)
        began = time.monotonic()
        await asyncio.sleep(self.options.measure_s)
        return answers.figures(began, time.monotonic())

    async def _clear(self, server: Shakti, url: str) -> tuple[Figures, float]:
        """The split and the peak memory (MiB) of a clearing by hand."""
        log = server.log.with_name("clear.log")
        config = server.log.with_name("config.toml")
        child = Child(
            [sys.executable, PROJECT / "run.py", "clear", "--date", self.date.isoformat(), "--config", config],
            log=log,
            environ={
                "DATABASE_URL": url,
                "REDIS_URL": self.ground.redis_url,
                "SECRET_KEY": secrets.token_hex(32),
                **_ENVIRONMENT,
                "SHAKTI_MARKET_GATE_CLOSURE": _OVER,
            },
        )
        watching = asyncio.create_task(watch_most_resident_mib(child.pid))
        try:
            code = await child.wait(_LONGEST_S)
        finally:
            watching.cancel()
            child.stop()
        peak_mib = await watching
        if code:
            raise NotMeasured(f"run.py clear ended with exit code {code}: {log.read_text(errors='replace')[-1000:]}")
        return _split(log, _SAID), peak_mib

    async def _cleared(self, url: str) -> None:
        """Return when the day's results can be read."""
        connection = await asyncpg.connect(url)
        try:
            async with asyncio.timeout(_LONGEST_S):
                query = await connection.prepare("SELECT FROM cleared_days WHERE delivery_day = $1")
                while not await query.fetch(self.date):  # noqa: ASYNC110 - nothing tells of a commit but asking
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise NotMeasured(f"the day was not cleared within {_LONGEST_S:.0f} s") from None
        finally:
            await connection.close()

    async def _check(self, url: str) -> None:
        """Raises NotMeasured unless the whole day is cleared and in balance."""
        connection = await asyncpg.connect(url)
        try:
            found = await connection.fetchrow(
                """
                SELECT (SELECT count(*) FROM cleared_slots WHERE delivery_day = $1 AND volume > 0) AS slots,
                       (SELECT count(*) FROM cleared_positions WHERE delivery_day = $1) AS accounts,
                       (SELECT 2 * sum(volume) FROM cleared_slots WHERE delivery_day = $1) AS traded,
                       (SELECT sum(volume) FROM fills WHERE delivery_day = $1) AS filled
                """,
                self.date,
            )
        finally:
            await connection.close()
        if found is None or tuple(found)[:2] != (SLOTS, filling.ACCOUNTS) or found["traded"] != found["filled"]:
            raise NotMeasured(f"the day was not cleared as it should be: {found}")


def _questions(token: str, day: date) -> list[Question]:
    """A trivial GET, and somebody who places for the day after the one that is cleared."""
    get = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    bid = {"timeslot": 40, "volume": "1.5", "price": "4.25"}
    body = json.dumps({"deliveryDate": day.isoformat(), "arr": [bid]}).encode()
    head = (
        "POST /placebid/dayahead HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    ).encode()

    def post() -> bytes:
        return head + f"Idempotency-Key: {secrets.token_hex(12)}\r\n\r\n".encode() + body

    return [Question("get", lambda: get, 0.01, 4), Question("place", post, 0.1, 4)]


def _named(prefix: str, figures: Figures) -> Figures:
    return {f"{prefix}_{name}": value for name, value in figures.items()}


def _split(log: Path, pattern: re.Pattern[str]) -> Figures:
    """The seconds of the parts."""
    found = pattern.search(_read(log))
    if found is None:
        raise NotMeasured(f"it is not told how long the parts took; see {log}")
    return dict(zip(("read_s", "clear_s", "write_s"), map(float, found.groups()), strict=True))


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def _worker(server: Shakti) -> int:
    """The process that serves, and keeps the gate."""
    (worker,) = server.workers
    return worker
