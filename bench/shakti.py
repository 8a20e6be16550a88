"""The server under measurement: the real one, started as a user starts it, on the shared PostgreSQL and Redis.

What lives here: its life, and accounts with tokens on it. What must not: load.
"""

import asyncio
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from bench.ground import Ground
from bench.processes import Child, free_port, tree
from bench.rounds import NotMeasured
from bench.tools import PROJECT

PASSWORD = "sunshine-and-rain"
# One address asks for many OTPs and signs in often; no bid of the load may meet a limit.
_ENVIRONMENT = {
    "SHAKTI_LIMITS_OTP_PER_ADDRESS": "1000000",
    "SHAKTI_LIMITS_SIGNIN_FAILURES_ADDRESS": "1000000",
    "SHAKTI_MARKET_MAX_OPEN_BIDS": "1000000000",
    "SHAKTI_LOG_LEVEL": "warning",
}
_READY_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Account:
    """A signed-up household and its token."""

    phone: str
    connection_id: str
    account_type: str
    token: str

    @property
    def sign_in_form(self) -> dict[str, str]:
        """The body of POST /signin."""
        return {
            "PhoneNo": self.phone,
            "password": PASSWORD,
            "connectionId": self.connection_id,
            "accountType": self.account_type,
        }


class Shakti:
    """`run.py serve` on a database of its own. Use `async with`; it is ready inside.

    `environ` holds settings (`SHAKTI_...`). Nothing of the caller's settings reaches it: config.toml is a copy without
    a `.env` beside it.
    """

    def __init__(
        self, ground: Ground, database: str, *, workers: int = 1, environ: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._ground = ground
        self._database = database
        self._workers = workers
        self._environ = {**_ENVIRONMENT, **(environ or {})}

    async def __aenter__(self) -> Self:
        home = self._ground.directory / self._database
        home.mkdir()
        config = home / "config.toml"
        config.write_bytes((PROJECT / "config.toml").read_bytes())
        url = await self._ground.new_database(self._database)
        self._child = Child(
            [
                *(sys.executable, PROJECT / "run.py", "serve", "--config", config, "--data-dir", home / "data"),
                *("--port", str(self.port), "--workers", str(self._workers)),
            ],
            log=home / "shakti.log",
            environ={
                "DATABASE_URL": url,
                "REDIS_URL": self._ground.redis_url,
                "SECRET_KEY": secrets.token_hex(32),
                **self._environ,
            },
        )
        try:
            await self._wait_until_ready()
        except BaseException:
            self._child.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stop()

    @property
    def pid(self) -> int:
        """The parent process: its descendants are the workers."""
        return self._child.pid

    @property
    def workers(self) -> list[int]:
        """The processes that serve."""
        return [pid for pid in tree(self.pid) if pid != self.pid]

    @property
    def log(self) -> Path:
        """What it says."""
        return self._child.log

    async def sign_up(self, count: int, account_type: str = "prosumer") -> list[Account]:
        """New accounts, made through the API as households make them."""
        async with aiohttp.ClientSession(self.url) as session:
            return [await self._sign_up(session, number, account_type) for number in range(count)]

    async def _sign_up(self, session: aiohttp.ClientSession, number: int, account_type: str) -> Account:
        phone = f"{'97' if account_type == 'prosumer' else '96'}{number:08}"
        async with session.post("/sendotp", json={"PhoneNo": phone}) as response:
            _check(response.status == 200, await response.text())
        async with session.get("/dev/outbox") as response:
            newest = next(message for message in await response.json() if message["to"].endswith(phone))
        otp = re.search(r"\b[0-9]{6}\b", newest["body"])
        form = {
            "PhoneNo": phone,
            "password": PASSWORD,
            "connectionId": phone,
            "otp": otp[0] if otp else "",
            "username": "Asha",
            "accountType": account_type,
        }
        async with session.post("/signup", json=form) as response:
            body = await response.json()
            _check(response.status == 200, str(body))
        return Account(phone, phone, account_type, body["token"])

    async def _wait_until_ready(self) -> None:
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S), aiohttp.ClientSession(self.url) as session:
                while True:
                    self._child.check()
                    try:
                        async with session.get("/readyz") as response:
                            if response.status == 200:
                                return
                    except aiohttp.ClientError:
                        pass
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise NotMeasured(f"Shakti was not ready after {_READY_TIMEOUT_S:.0f} s; see {self.log}") from None


def _check(is_so: bool, said: str) -> None:
    if not is_so:
        raise NotMeasured(f"Shakti refused a sign-up of the bench: {said}")
