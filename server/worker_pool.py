"""The workers of one server: who serves, who starts, who leaves, and the rules between them.

What lives here: replacing crashed workers, rolling over, draining, giving up. What must not: signals, sockets or
waiting, see workers.py.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from server.listening_port import ListeningPort
from server.worker_process import Worker

EXIT_FAILED = 1
# BSD's sysexits.h: a worker has refused its settings, and has said so itself.
EXIT_CONFIG = 78
MAX_FAILURES = 5
# A worker that is neither ready nor dead by then counts as one that failed to start.
_START_TIMEOUT_S = 60.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_EXCUSED_PAUSE_S = 0.2
# One that crashes as soon as it serves is not replaced in a tight circle.
_SHORTEST_CYCLE_S = 0.5
# A worker that dies at its start this soon after a service was restarted is not to blame for it.
_RESTART_GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What to run: `count` times `command`, with the whole environment `environ`, on `host` and `port` (0: any free
    one). A worker told to leave gets `drain_s` seconds."""

    count: int
    host: str
    port: int
    command: tuple[str, ...]
    environ: Mapping[str, str]
    drain_s: float = 10.0


class _Slot:
    """The place of one worker. `failures` counts starts in a row that came to nothing."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.serving: Worker | None = None
        self.starting: Worker | None = None
        self.failures = 0
        self.next_start_s = 0.0
        # What its workers, one after the other, listen on.
        self.sockets: list[socket.socket] = []

    def close(self) -> None:
        """Let the kernel send new connections to the other places, and reset those that wait here."""
        while self.sockets:
            self.sockets.pop().close()


class WorkerPool:
    """Owns every worker process. `advance` does all that is due; times are those of time.monotonic()."""

    def __init__(
        self, plan: WorkerPlan, port: ListeningPort, *, on_ready: Callable[[int], None], say: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._port = port
        self._on_ready = on_ready
        self._say = say
        self._slots = [_Slot(index) for index in range(plan.count)]
        self._leaving: list[Worker] = []
        # Slots that a rolling restart has still to reach, and the one that it is at.
        self._to_roll: list[_Slot] = []
        self._rolled: _Slot | None = None
        self._is_open = False
        self._blameless_until_s = 0.0
        self._exit_code: int | None = None

    @property
    def is_ending(self) -> bool:
        """Whether the workers have been told to leave for good."""
        return self._exit_code is not None

    def ready_fds(self) -> list[int]:
        """Descriptors that become readable when a worker has become ready."""
        found = (slot.starting.ready_fd for slot in self._slots if slot.starting is not None)
        return [descriptor for descriptor in found if descriptor is not None]

    def excuse_failures(self, now: float) -> None:
        """A service that the workers need was restarted: for a while their failures to start do not count."""
        self._blameless_until_s = now + _RESTART_GRACE_S

    def roll(self) -> None:
        """Replace every worker, one at a time, each when its successor is ready."""
        if not self.is_ending:
            self._say("The workers are replaced one at a time.")
            self._to_roll = list(self._slots)

    def leave(self, exit_code: int) -> None:
        """Have every worker finish what it is doing and leave."""
        if self.is_ending:
            return
        self._exit_code = exit_code
        self._leaving = list(self._everyone())
        for slot in self._slots:
            slot.serving = slot.starting = None
            slot.close()
        for worker in self._leaving:
            worker.drain(self._plan.drain_s)

    def hurry(self) -> None:
        """Cut short what leaving workers are still doing."""
        for worker in self._leaving:
            worker.kill()

    def end(self) -> None:
        """Leave no process behind."""
        for worker in self._everyone():
            worker.end()
        for slot in self._slots:
            slot.close()

    def advance(self, now: float) -> int | None:
        """Take note of what the workers did, do what is due; the exit code once the last one has left for good."""
        self._see_off(now)
        for slot in self._slots:
            self._tend(slot, now)
        if self.is_ending:
            return None if self._leaving else self._exit_code
        self._continue_rolling(now)
        if not self._is_open and all(slot.serving for slot in self._slots):
            self._is_open = True
            self._on_ready(self._port.port)
        return None

    def _everyone(self) -> Iterator[Worker]:
        yield from self._leaving
        for slot in self._slots:
            if slot.starting is not None:
                yield slot.starting
            if slot.serving is not None:
                yield slot.serving

    def _see_off(self, now: float) -> None:
        for worker in self._leaving:
            if worker.deadline_s is not None and now >= worker.deadline_s and worker.exit_code() is None:
                self._say(f"Worker {worker.index} was still busy after {self._plan.drain_s:g} s and is ended.")
                worker.end()
        self._leaving = [worker for worker in self._leaving if worker.exit_code() is None]

    def _tend(self, slot: _Slot, now: float) -> None:
        serving = slot.serving
        if serving is not None and serving.exit_code() is not None:
            slot.serving = None
            slot.next_start_s = max(now + _FIRST_PAUSE_S, serving.started_s + _SHORTEST_CYCLE_S)
            self._say(f"Worker {slot.index} ended ({serving.describe_exit()}) and is replaced.")
        starting = slot.starting
        if starting is not None:
            starting.read_sign()
            code = starting.exit_code()
            if code is not None:
                slot.starting = None
                self._note_failure(slot, starting.describe_exit(), now, refuses_settings=code == EXIT_CONFIG)
            elif starting.is_ready:
                self._promote(slot, starting)
            elif now >= starting.started_s + _START_TIMEOUT_S:
                slot.starting = None
                starting.end()
                self._note_failure(slot, f"not ready after {_START_TIMEOUT_S:.0f} s", now)
        elif slot.serving is None and now >= slot.next_start_s and not self.is_ending:
            self._start(slot, now)

    def _start(self, slot: _Slot, now: float) -> None:
        try:
            slot.sockets = slot.sockets or self._port.open()
            slot.starting = Worker(slot.index, self._plan.command, self._plan.environ, self._port.port, slot.sockets)
        except OSError as fault:
            self._note_failure(slot, str(fault), now)

    def _promote(self, slot: _Slot, successor: Worker) -> None:
        predecessor, slot.serving, slot.starting, slot.failures = slot.serving, successor, None, 0
        if self._rolled is slot:
            self._rolled = None
        if predecessor is not None:
            predecessor.drain(self._plan.drain_s)
            self._leaving.append(predecessor)

    def _note_failure(self, slot: _Slot, reason: str, now: float, *, refuses_settings: bool = False) -> None:
        if self._rolled is slot:
            self._rolled = None
            self._to_roll.clear()
            self._say(f"The new worker {slot.index} did not start ({reason}); the workers that serve stay.")
            return
        # Nobody listens in this place for a while: its share belongs to the others.
        if slot.serving is None:
            slot.close()
        # While others serve, a slot that stays empty is no reason to send them home.
        can_give_up = not self._is_open or not any(other.serving for other in self._slots)
        if refuses_settings and can_give_up:
            self.leave(EXIT_CONFIG)
            return
        is_excused = now < self._blameless_until_s
        pause_s = min(_FIRST_PAUSE_S * 2 ** min(slot.failures, 10), _LONGEST_PAUSE_S)
        if is_excused:
            pause_s = _EXCUSED_PAUSE_S
        slot.next_start_s = now + pause_s
        slot.failures += not is_excused
        if slot.failures >= MAX_FAILURES and can_give_up:
            self._say(f"Worker {slot.index} did not start {slot.failures} times in a row ({reason}); giving up.")
            self.leave(EXIT_FAILED)
        else:
            self._say(f"Worker {slot.index} did not start ({reason}); the next try is in {pause_s:.1f} s.")

    def _continue_rolling(self, now: float) -> None:
        # The next one only when the last has left: at no time is there more than one worker too many.
        while self._to_roll and self._rolled is None and not self._leaving:
            slot = self._to_roll.pop(0)
            # An empty slot, or one whose worker is just starting, gets a fresh one anyway.
            if slot.serving is not None and slot.starting is None:
                self._rolled = slot
                self._start(slot, now)
