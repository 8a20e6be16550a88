"""A real server process with embedded services, started and killed at will.

What lives here: its life and death. What must not: what is asked of it.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import aiohttp

PROJECT = Path(__file__).resolve().parents[2]
# A drill signs many households up from one address, and waits for no hash.
ENVIRONMENT = {
    "SHAKTI_AUTH_BCRYPT_COST": "4",
    "SHAKTI_LIMITS_OTP_PER_ADDRESS": "1000000",
    "SHAKTI_LIMITS_SIGNIN_FAILURES_ADDRESS": "1000000",
    "SHAKTI_LOG_FORMAT": "json",
}


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class DrillServer:
    """`run.py` on a port and a data directory that stay the same over its lives."""

    def __init__(self, data_dir: Path, *, workers: int = 1, environ: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._data_dir = data_dir
        self._workers = workers
        self._environ = {**os.environ, **ENVIRONMENT, **(environ or {})}
        self._log = data_dir.with_name(f"{data_dir.name}.log")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The parent process: it runs the embedded services and the workers."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything that all lives of the server have said."""
        return self._log.read_text(errors="replace")

    async def start(self, timeout_s: float = 30.0) -> None:
        """Start it, and return when it is ready."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(PROJECT / "run.py"),
                *("--port", str(self.port), "--data-dir", str(self._data_dir), "--workers", str(self._workers)),
                env=self._environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        await self.wait_until_ready(timeout_s)

    async def wait_until_ready(self, timeout_s: float = 30.0) -> None:
        """Return when the server says that it is ready; fail with its log when it dies or takes too long."""
        assert self._process is not None
        try:
            async with asyncio.timeout(timeout_s), aiohttp.ClientSession() as session:
                while True:
                    assert self._process.returncode is None, f"the server ended:\n{self.log[-4000:]}"
                    try:
                        async with session.get(f"{self.url}/readyz") as response:
                            if response.status == 200:
                                return
                    except aiohttp.ClientError:
                        pass
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not ready after {timeout_s} s:\n{self.log[-4000:]}") from None

    def workers(self) -> list[int]:
        """The processes that serve at this moment."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                status = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if int(status[1]) == self.pid and b"worker" in command:
                found.append(int(entry.name))
        return found

    async def kill_parent(self) -> None:
        """kill -9 of the parent, which takes everything with it; returns when it is gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        async with asyncio.timeout(40):
            return await self._process.wait()
