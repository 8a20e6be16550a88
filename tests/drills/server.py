"""A real server process with embedded services, started and killed at will, and commands beside it.

What lives here: its life and death, and what it says. What must not: what is asked of it.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
_OF_SETTINGS = ("SHAKTI_", "TWILIO_", "SMTP_", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "FRONTEND_URL")


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended and what it said to its person."""

    code: int
    out: str
    err: str


def assert_refused(said: Said, *words: str, code: int = 1) -> None:
    """A command that did nothing and told why, in one sentence and without a trace."""
    assert said.code == code, said
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    for word in words:
        assert word in said.err, said.err


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without any setting of Shakti's, and what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OF_SETTINGS)}
    return {**kept, **(more or {})}


def private_config(directory: Path) -> Path:
    """A copy of config.toml in a directory that has no `.env` of somebody's."""
    copy = directory / "config.toml"
    if not copy.exists():
        shutil.copy(PROJECT / "config.toml", copy)
    return copy


async def run_command(
    *arguments: str | Path, environ: Mapping[str, str] | None = None, cwd: Path | None = None, timeout_s: float = 40.0
) -> Said:
    """`run.py` with arguments, to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        PROJECT / "run.py",
        *arguments,
        env=environment(environ),
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout_s)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


class DrillServer:
    """`run.py` on a port and a data directory that stay the same over its lives.

    `environ` holds settings, `arguments` go to `run.py` as they are. Not tied to an event loop.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        workers: int = 1,
        environ: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        cwd: Path | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._data_dir = data_dir
        self._arguments = ("--port", str(self.port), "--workers", str(workers), *arguments)
        self._environ = {**ENVIRONMENT, **(environ or {})}
        self._cwd = cwd
        self._out = data_dir.with_name(f"{data_dir.name}.out")
        self._err = data_dir.with_name(f"{data_dir.name}.err")
        self._process: subprocess.Popen[bytes] | None = None

    def set(self, environ: Mapping[str, str]) -> None:
        """Settings for its further lives and commands, beside those that it has."""
        self._environ.update(environ)

    @property
    def pid(self) -> int:
        """The parent process: it runs the embedded services and the workers."""
        return self._running().pid

    @property
    def data_dir(self) -> Path:
        """Where its data are."""
        return self._data_dir

    @property
    def out(self) -> str:
        """Everything that all lives of the server have said to the person at the console."""
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        """The log of all lives of the server, and its complaints."""
        return self._err.read_text(errors="replace")

    @property
    def log(self) -> str:
        """Both together."""
        return f"{self.out}\n{self.err}"

    async def start(self, timeout_s: float = 30.0) -> None:
        """Start it, and return when it is ready."""
        self.launch()
        await self.wait_until_ready(timeout_s)

    def launch(self) -> None:
        """Start it without waiting for it."""
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self._process = subprocess.Popen(
                [sys.executable, PROJECT / "run.py", *self._common(), *self._arguments],
                env=environment(self._environ),
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    async def wait_until_ready(self, timeout_s: float = 30.0) -> None:
        """Return when the server says that it is ready; fail with its log when it dies or takes too long."""
        process = self._running()
        try:
            async with asyncio.timeout(timeout_s), aiohttp.ClientSession() as session:
                while True:
                    assert process.poll() is None, f"the server ended:\n{self.log[-4000:]}"
                    try:
                        async with session.get(f"{self.url}/readyz") as response:
                            if response.status == 200:
                                return
                    except aiohttp.ClientError:
                        pass
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not ready after {timeout_s} s:\n{self.log[-4000:]}") from None

    async def wait_until_said(self, text: str, timeout_s: float = 20.0) -> None:
        """Return when a text stands in what the server has said or logged."""
        try:
            async with asyncio.timeout(timeout_s):
                while text not in self.log:  # noqa: ASYNC110 - a file tells nobody that it grew
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{text!r} was not said in {timeout_s} s:\n{self.log[-4000:]}") from None

    async def command(self, *arguments: str | Path) -> Said:
        """Another command of `run.py` with the same settings, on the same data directory."""
        return await run_command(*arguments, *self._common(), environ=self._environ, cwd=self._cwd)

    def workers(self) -> list[int]:
        """The processes that serve, or are about to, at this moment."""
        return self.processes(b"worker")

    def processes(self, program: bytes) -> list[int]:
        """The parent's children that have `program` in their command: a word of it, or how a path's name begins."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                status = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if int(status[1]) == self.pid and any(word.rpartition(b"/")[2].startswith(program) for word in command):
                found.append(int(entry.name))
        return found

    def worker_behind(self, client_port: int) -> int | None:
        """The worker that holds the server's end of a connection from 127.0.0.1:`client_port`."""
        ends = (f"0100007F:{self.port:04X}", f"0100007F:{client_port:04X}")
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        inodes = {f"socket:[{fields[9]}]" for fields in lines if tuple(fields[1:3]) == ends}
        for worker in self.workers():
            for descriptor in Path(f"/proc/{worker}/fd").iterdir():
                try:
                    if os.readlink(descriptor) in inodes:
                        return worker
                except OSError:
                    continue
        return None

    async def kill_parent(self) -> None:
        """kill -9 of the parent, which takes everything with it; returns when it is gone."""
        process = self._running()
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)

    async def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 40.0) -> int:
        """Have it end, and return its exit code. Once it has ended, or never ran, nothing more happens."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return await asyncio.to_thread(self._process.wait, timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"still there {timeout_s} s after {number.name}:\n{self.log[-4000:]}") from None

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server was never started"
        return self._process

    def _common(self) -> tuple[str | Path, ...]:
        return ("--config", private_config(self._data_dir.parent), "--data-dir", self._data_dir)
