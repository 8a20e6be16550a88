"""Child processes of the bench: started so that they die with it, watched by what they cost, ended by their ids.

What lives here: starting, waiting, ending; CPU seconds and memory out of /proc. What must not: what they are for.
Linux only.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.rounds import NotMeasured
from server.child import describe_exit, spawn

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
_POLL_S = 0.02


class Child:
    """A process (and whatever it starts) that ends with the bench, however the bench ends."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start it, its output appended to `log`; `environ` is added to ours. Call from the main thread."""
        self.log = log
        self._name = Path(command[0]).name
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = spawn(
                command,
                environ={**os.environ, **(environ or {})},
                death_signal=signal.SIGKILL,
                cwd=cwd,
                output=output.fileno(),
            )

    @property
    def pid(self) -> int:
        """Its process id, and that of its session and group."""
        return self._process.pid

    def check(self) -> None:
        """Raise NotMeasured, with the end of its log, when it has ended."""
        code = self._process.poll()
        if code is not None:
            said = self.log.read_text(errors="replace")[-2000:].strip()
            raise NotMeasured(f"{self._name} ended ({describe_exit(code)}): {said}")

    async def wait(self, timeout_s: float) -> int:
        """Its exit code, when it has ended by itself. Raises NotMeasured when it takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                while (code := self._process.poll()) is None:  # noqa: ASYNC110 - nothing tells of it but asking
                    await asyncio.sleep(_POLL_S)
                return code
        except TimeoutError:
            raise NotMeasured(f"{self._name} did not end within {timeout_s:.0f} s; see {self.log}") from None

    async def wait_until_listening(self, port: int, timeout_s: float = 60.0) -> None:
        """Return when 127.0.0.1:`port` takes connections. Raises NotMeasured when it ends or takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    self.check()
                    try:
                        _, writer = await asyncio.open_connection("127.0.0.1", port)
                    except OSError:
                        await asyncio.sleep(_POLL_S)
                    else:
                        writer.close()
                        return
        except TimeoutError:
            raise NotMeasured(f"{self._name} did not listen within {timeout_s:.0f} s; see {self.log}") from None

    def stop(self, patience_s: float = 12.0) -> None:
        """End it, the gentle way first; then whatever of its own session is left. Twice is no harm."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def tree(pid: int) -> list[int]:
    """A process and everything that descends from it, at this moment."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, of a process and all that descends from it, those that have ended included."""
    ticks = 0
    for member in tree(pid):
        if fields := _stat(member):
            # utime, stime, and those of children that were waited for.
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS_PER_S


def rss_kib(pid: int) -> int:
    """Resident memory of one process, KiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_KIB


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat after the name (state first, parent second), or nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
