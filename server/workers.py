"""Several worker processes on one port, run by a parent that does nothing else.

What lives here: the parent's loop, its signals, what a caller has to know. What must not: the rules by which workers
come and go (worker_pool.py), what they serve, or asyncio: the parent is synchronous and sits in the main thread, which
its children's lives are tied to.
"""

import os
import select
import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from server.listening_port import ListeningPort, PortRefused
from server.worker_pool import EXIT_FAILED, WorkerPlan, WorkerPool
from server.worker_process import announce_ready, worker_sockets

__all__ = ["WorkerPlan", "announce_ready", "run_workers", "worker_sockets"]

_TICK_S = 0.2


def run_workers(
    plan: WorkerPlan,
    *,
    on_tick: Callable[[], list[str]],
    on_ready: Callable[[int], None],
    say: Callable[[str], None],
) -> int:
    """Keep `plan.count` workers serving until SIGTERM or SIGINT; return the exit code for this process.

    0 after a signal; 1 when the port is refused or the workers cannot start; 78 (EX_CONFIG) when a worker, while none
    serves, exits with that code at its start: it has told why. SIGHUP replaces the workers one at a time; SIGINT while
    they drain ends them. `on_ready` gets the port once all workers of the first round serve. `on_tick` is called every
    0.2 s, and at once when a child of this process dies; what it returns is said, and means that a service which the
    workers need was restarted. Blocks; call it from the main thread.
    """
    try:
        held = ListeningPort(plan.host, plan.port)
    except PortRefused as refusal:
        say(str(refusal))
        return EXIT_FAILED
    with held, _Signals() as signals:
        pool = WorkerPool(plan, held, on_ready=on_ready, say=say)
        try:
            return _run(pool, signals, on_tick, say)
        finally:
            pool.end()


def _run(pool: WorkerPool, signals: "_Signals", on_tick: Callable[[], list[str]], say: Callable[[str], None]) -> int:
    next_tick_s = 0.0
    while True:
        now = time.monotonic()
        arrived = signals.take()
        if now >= next_tick_s or signal.SIGCHLD in arrived:
            next_tick_s = now + _TICK_S
            for sentence in on_tick():
                say(sentence)
                pool.excuse_failures(now)
        for number in arrived:
            _obey(number, pool, signals)
        code = pool.advance(time.monotonic())
        if code is not None:
            return code
        signals.wait(pool.ready_fds(), max(0.0, next_tick_s - time.monotonic()))


def _obey(number: int, pool: WorkerPool, signals: "_Signals") -> None:
    if number == signal.SIGINT and pool.is_ending:
        pool.hurry()
    elif number in (signal.SIGTERM, signal.SIGINT) or (number == signal.SIGHUP and signals.is_hung_up()):
        pool.leave(0)
    elif number == signal.SIGHUP:
        pool.roll()


class _Signals:
    """The signals that came in, and a wait that they end. Puts everything back as it was."""

    _NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

    def __init__(self) -> None:
        self._arrived: list[int] = []
        self._earlier: dict[int, Any] = {}
        self._wake_read, self._wake_write = -1, -1
        self._earlier_wakeup = -1
        # Started with nohup, we stay when the terminal goes.
        self._ends_with_terminal = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN and _has_terminal()

    def __enter__(self) -> Self:
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._earlier_wakeup = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._earlier = {number: signal.signal(number, self._note) for number in self._NUMBERS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._earlier_wakeup)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def take(self) -> list[int]:
        """The signals since the last call, in order."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def is_hung_up(self) -> bool:
        """Whether a SIGHUP now is the terminal's last word, rather than somebody's wish for fresh workers."""
        return self._ends_with_terminal and not _has_terminal()

    def wait(self, descriptors: list[int], timeout_s: float) -> None:
        """Return when a signal has come, a descriptor can be read, or the time is over."""
        poll = select.poll()
        for descriptor in (self._wake_read, *descriptors):
            poll.register(descriptor, select.POLLIN)
        poll.poll(timeout_s * 1000)
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - of every handler
        self._arrived.append(number)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
