"""One embedded server, kept running.

What lives here: starting it, noticing that it died, starting it again with growing pauses, stopping it in bounded
time. What must not: what tells PostgreSQL from Redis, see embedded_postgres.py and embedded_redis.py.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from server.child import describe_exit
from server.embedded_errors import EmbeddedError

_POLL_S = 0.005
# A server whose predecessor's last processes are just going may refuse once or twice.
_START_ATTEMPTS = 3
_START_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
# One that dies as soon as it is ready is not started in a tight circle.
_SHORTEST_CYCLE_S = 0.5
_LOG_ROTATION_BYTES = 16 * 1024 * 1024
_LOG_TAIL_BYTES = 16 * 1024


class Program(Protocol):
    """What has to be known of a server to keep it running."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def log(self) -> Path:
        """The file its output goes to."""

    def clear(self, wait_s: float) -> bool:
        """Remove what a dead run left behind; False while some of its processes are still there."""

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it, its output appended to `log`. Raises OSError."""

    def is_ready(self, pid: int) -> bool:
        """Whether the process answers clients. Returns within a tenth of a second."""

    def stop_signals(self, pid: int) -> Sequence[tuple[signal.Signals, float]]:
        """Signals that end the process, gentlest first, with the seconds each is given."""


class Keeper:
    """Owns the process of one server. All methods are called from the main thread."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._failures = 0
        self._launched_s = 0.0
        self._next_launch_s = 0.0
        self._log_offset = 0
        self._to_send: list[tuple[signal.Signals, float]] = []

    def begin(self) -> None:
        """Start the server without waiting for it. Raises EmbeddedError."""
        if not self._program.clear(5.0):
            raise EmbeddedError(
                f"Processes of an earlier {self._program.name} are still working on its data and cannot be ended. "
                "Wait a moment and start again; if that does not help, restart the machine."
            )
        self._launch()

    def wait_until_ready(self, timeout_s: float) -> None:
        """Block until the server that `begin` started answers. Raises EmbeddedError."""
        deadline = time.monotonic() + timeout_s
        while True:
            process = self._process
            if process is None:
                raise RuntimeError("begin() comes before wait_until_ready()")
            if self._program.is_ready(process.pid):
                self._is_ready, self._failures = True, 0
                return
            code = process.poll()
            if code is not None:
                self._process = None
                self._failures += 1
                if self._failures >= _START_ATTEMPTS:
                    raise EmbeddedError(
                        f"{self._program.name} does not start: {self._complaint(code)} "
                        f"The whole story is in {self._program.log}"
                    )
                time.sleep(_START_PAUSE_S)
                self.begin()
            if time.monotonic() >= deadline:
                raise EmbeddedError(
                    f"{self._program.name} was not ready after {timeout_s:.0f} s; look into {self._program.log}"
                )
            time.sleep(_POLL_S)

    def check(self) -> list[str]:
        """Start the server again if it died. Returns what a log should say; takes about 0.1 s at the very most."""
        now = time.monotonic()
        name = self._program.name
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                if self._is_ready or not self._program.is_ready(self._process.pid):
                    return []
                self._is_ready, self._failures = True, 0
                return [f"{name} is ready again, {now - self._launched_s:.1f} s after its start."]
            return [self._note_death(code, now), *self._relaunch(now)]
        return self._relaunch(now) if now >= self._next_launch_s else []

    def signal_stop(self) -> None:
        """Ask the server to end, without waiting for it; stop() then goes on from there."""
        if self._process is not None:
            self._to_send = list(self._program.stop_signals(self._process.pid))
            _send(self._process, self._to_send[0][0])

    def stop(self) -> None:
        """End the server: the gentle way first, then the others. Returns within the sum of their times."""
        if self._process is None:
            return
        if not self._to_send:
            self.signal_stop()
        process, self._process = self._process, None
        for number, patience_s in self._to_send:
            if number != self._to_send[0][0]:
                _send(process, number)
            try:
                process.wait(patience_s)
                break
            except subprocess.TimeoutExpired:
                continue
        # Nobody is left to be told, and the next start clears again.
        with contextlib.suppress(OSError, EmbeddedError):
            self._program.clear(1.0)

    def _note_death(self, code: int, now: float) -> str:
        name, self._process = self._program.name, None
        if self._is_ready:
            self._is_ready = False
            self._next_launch_s = max(now, self._launched_s + _SHORTEST_CYCLE_S)
            return f"{name} ended ({describe_exit(code)}) and is started again."
        pause_s = min(_START_PAUSE_S * 2 ** min(self._failures, 10), _LONGEST_PAUSE_S)
        self._failures += 1
        self._next_launch_s = now + pause_s
        return f"{name} does not start: {self._complaint(code)} It is tried again in {pause_s:.1f} s."

    def _relaunch(self, now: float) -> list[str]:
        if now < self._next_launch_s:
            return []
        try:
            if self._program.clear(0.05):
                self._launch()
        except (OSError, EmbeddedError) as fault:
            self._next_launch_s = now + _LONGEST_PAUSE_S
            return [f"{self._program.name} cannot be started: {fault}. It is tried again in {_LONGEST_PAUSE_S:.0f} s."]
        return []

    def _launch(self) -> None:
        log = self._program.log
        self._log_offset = log.stat().st_size if log.exists() else 0
        self._launched_s = time.monotonic()
        self._process = self._program.launch()

    def _complaint(self, code: int) -> str:
        """The line of the log, since the last start, that tells most about why the server ended."""
        lines: list[str] = []
        with contextlib.suppress(OSError), self._program.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(min(self._log_offset, size), size - _LOG_TAIL_BYTES))
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        told = [line for line in lines if "FATAL" in line or "PANIC" in line] or lines
        return f"{told[-1].strip()} ({describe_exit(code)})." if told else f"{describe_exit(code)}."


def open_log(path: Path) -> int:
    """A descriptor to append to the log at `path`; one that has grown large is first put aside as <name>.1."""
    try:
        if path.lstat().st_size > _LOG_ROTATION_BYTES:
            path.rename(path.with_name(path.name + ".1"))
    except FileNotFoundError:
        pass
    return open_in_home(path, os.O_WRONLY | os.O_APPEND)


def open_in_home(path: Path, flags: int) -> int:
    """A descriptor of the file at `path`, private, made if need be. As root, give it to the owner of its directory:
    root may start what is somebody's own. Never through a link that this owner may have laid."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        home = path.parent.stat()
        os.fchown(descriptor, home.st_uid, home.st_gid)
    return descriptor


def _send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    process.send_signal(number)
    # A process that was stopped would otherwise keep the signal waiting for ever.
    process.send_signal(signal.SIGCONT)
