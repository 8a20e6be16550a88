"""The parent of the workers: real processes on a real port, killed, rolled over, told to leave."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.workers import announce_ready

pytestmark = pytest.mark.timeout(20)

PARENT = Path(__file__).with_name("worker_parent.py")


class Parent:
    """A process in run_workers(), what it told, and the workers as their clients see them."""

    def __init__(
        self,
        control: Path,
        count: int = 2,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        drain_s: float = 5,
        terminal: int | None = None,
    ) -> None:
        self.control = control
        self.host = host or "127.0.0.1"
        self.port = port
        self.said: list[str] = []
        self.ticks: list[float] = []
        self.process = subprocess.Popen(
            [sys.executable, str(PARENT), str(control), str(count), host, str(port), str(drain_s)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=None if terminal is None else lambda: fcntl.ioctl(terminal, termios.TIOCSCTTY, 0),
        )

    def __enter__(self) -> "Parent":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def read(self) -> tuple[str, Any]:
        """The next thing it tells; ("end", exit code) after the last one."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            return "end", self.process.wait()
        kind, what = json.loads(line)
        if kind == "said":
            self.said.append(what)
        elif kind == "tick":
            self.ticks.append(what)
        return kind, what

    def until_ready(self) -> int:
        """The port, once all workers serve."""
        while True:
            kind, what = self.read()
            assert kind != "end", self.said
            if kind == "ready":
                self.port = what
                return self.port

    def until_said(self, words: str) -> str:
        while True:
            kind, what = self.read()
            assert kind != "end", self.said
            assert kind != "ready", "the port is announced once"
            if kind == "said" and words in what:
                return str(what)

    def until_end(self) -> int:
        while True:
            kind, what = self.read()
            if kind == "end":
                return int(what)

    def ask(self) -> tuple[int, int]:
        """Index and process id of the worker that takes a connection."""
        with socket.create_connection((self.host, self.port), timeout=5) as client:
            index, pid = client.makefile().read().split()
        return int(index), int(pid)

    def workers(self, count: int = 2) -> dict[int, int]:
        """Process ids by index, once `count` different workers have answered."""
        found: dict[int, int] = {}
        while len(set(found.values())) < count:
            index, pid = self.ask()
            found[index] = pid
        return found

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def starts(self) -> list[int]:
        """Process ids of all workers ever started."""
        return pids_in(self.control / "started")


@pytest.fixture
def control(tmp_path: Path) -> Path:
    (tmp_path / "mode").write_text("serve")
    return tmp_path


def pids_in(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(is_so: Callable[[], bool], what: str, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, f"not {what} within {timeout_s} s"
        time.sleep(0.005)


@contextlib.contextmanager
def listening(*options: int) -> Iterator[tuple[socket.socket, int]]:
    """The socket of another program, and its port."""
    with socket.socket() as listener:
        for option in options:
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener, listener.getsockname()[1]


def test_workers_share_one_port_and_leave_when_told_to(control: Path) -> None:
    with Parent(control) as parent:
        assert parent.until_ready() > 0
        workers = parent.workers()
        assert set(workers) == {0, 1}
        parent.signal(signal.SIGTERM)
        assert parent.until_end() == 0
        assert sorted(pids_in(control / "left")) == sorted(workers.values())
        assert parent.said == []


@pytest.mark.parametrize("host", ["::1", "localhost", ""])
def test_hosts_of_every_kind_can_be_listened_on(control: Path, host: str) -> None:
    with Parent(control, 1, host=host) as parent:
        parent.until_ready()
        assert parent.ask()[0] == 0
        address = "::1" if host == "::1" else "127.0.0.1"
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind((address, parent.port))


@pytest.mark.parametrize("options", [(), (socket.SO_REUSEPORT,)], ids=["plain", "shared"])
def test_an_occupied_port_is_refused(control: Path, options: tuple[int, ...]) -> None:
    with listening(*options) as (_, port), Parent(control, port=port) as parent:
        assert parent.until_end() == 1
        (sentence,) = parent.said
        assert f"127.0.0.1:{port} is in use by another program" in sentence
        assert "choose another port" in sentence
        assert parent.starts() == []


def test_a_port_held_by_another_parent_is_refused_before_its_workers_listen(control: Path) -> None:
    (control / "mode").write_text("3")
    with Parent(control, 1) as first:
        first.until_said("did not start")
        port = int((control / "port").read_text())
        with Parent(control, 1, port=port) as second:
            assert second.until_end() == 1
            assert "is in use by another program" in second.said[0]


def test_connections_that_linger_from_another_program_do_not_keep_the_server_out(control: Path) -> None:
    with listening(socket.SO_REUSEADDR) as (listener, port), socket.create_connection(("127.0.0.1", port)) as client:
        # Closed on the side of the port first, so that it is there that it lingers.
        listener.accept()[0].close()
        assert client.recv(1) == b""
    (control / "mode").write_text("3")
    with Parent(control, 1, port=port) as parent:
        parent.until_said("did not start")
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
        (control / "mode").write_text("serve")
        assert parent.until_ready() == port


@pytest.mark.parametrize(
    ("host", "words"),
    [("no-such-host.invalid", "is not known here"), ("192.0.2.1", "is no address of this machine")],
)
def test_a_host_that_is_not_ours_is_refused(control: Path, host: str, words: str) -> None:
    with Parent(control, host=host) as parent:
        assert parent.until_end() == 1
        assert words in parent.said[0]
        assert "server.host" in parent.said[0]


def test_a_killed_worker_is_replaced_and_the_others_go_on(control: Path) -> None:
    with Parent(control) as parent:
        parent.until_ready()
        before = parent.workers()
        os.kill(before[0], signal.SIGKILL)
        assert parent.until_said("Worker 0") == "Worker 0 ended (killed by SIGKILL) and is replaced."
        wait_until(lambda: len(parent.starts()) == 3, "replaced")
        replacement = parent.starts()[-1]
        wait_until(lambda: parent.ask()[1] == replacement, "serving")
        assert parent.workers() == {0: replacement, 1: before[1]}


def test_a_connection_made_while_a_worker_is_replaced_is_answered_by_the_new_one(control: Path) -> None:
    with Parent(control, 1) as parent:
        parent.until_ready()
        before = parent.ask()[1]
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: not is_alive(before), "dead")
        assert parent.ask()[1] != before


def test_workers_may_bind_the_port_themselves(control: Path) -> None:
    (control / "mode").write_text("alone")
    with Parent(control) as parent:
        parent.until_ready()
        before = parent.workers()
        assert set(before) == {0, 1}
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: len(parent.starts()) == 3, "replaced")
        parent.signal(signal.SIGTERM)
        assert parent.until_end() == 0


def test_the_death_of_any_child_is_looked_into_at_once(control: Path) -> None:
    with Parent(control, 1) as parent:
        parent.until_ready()
        pid = parent.ask()[1]
        while parent.read()[0] != "tick":
            continue
        killed_s = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        while parent.read()[0] != "tick":
            continue
        assert parent.ticks[-1] - killed_s < 0.1
        regular = [later - earlier for earlier, later in zip(parent.ticks, parent.ticks[1:], strict=False)]
        assert all(pause < 0.5 for pause in regular)


def test_workers_that_never_become_ready_end_the_whole_with_their_reason(control: Path) -> None:
    (control / "mode").write_text("3")
    with Parent(control, 1) as parent:
        assert parent.until_end() == 1
        assert parent.said[-1] == "Worker 0 did not start 5 times in a row (exit code 3); giving up."
        assert len(parent.starts()) == 5


def test_failures_while_a_service_is_restarted_are_not_held_against_the_workers(control: Path) -> None:
    (control / "mode").write_text("3")
    (control / "trouble").touch()
    with Parent(control, 1) as parent:
        wait_until(lambda: len(parent.starts()) == 6, "tried six times")
        (control / "mode").write_text("serve")
        parent.until_ready()
        assert parent.ask()[0] == 0


def test_a_slot_that_stays_empty_does_not_end_those_that_serve(control: Path) -> None:
    with Parent(control) as parent:
        parent.until_ready()
        workers = parent.workers()
        (control / "mode").write_text("78")
        os.kill(workers[0], signal.SIGKILL)
        parent.until_said("Worker 0 did not start (exit code 78)")
        # Its share of the connections is the other's now.
        assert {parent.ask() for _ in range(20)} == {(1, workers[1])}
        (control / "mode").write_text("serve")
        assert set(parent.workers()) == {0, 1}


def test_refused_settings_end_the_whole_at_once_with_that_code(control: Path) -> None:
    (control / "mode").write_text("78")
    with Parent(control) as parent:
        assert parent.until_end() == 78
        assert parent.said == []
        assert len(parent.starts()) <= 2


def test_a_command_that_does_not_exist_is_told(control: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from server import workers

    said: list[str] = []
    plan = workers.WorkerPlan(1, "127.0.0.1", 0, (str(control / "nothing"),), {})
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("server.worker_pool._FIRST_PAUSE_S", 0.01)
    assert workers.run_workers(plan, on_tick=list, on_ready=lambda _: None, say=said.append) == 1
    assert "No such file or directory" in said[-1]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_worker_that_does_not_leave_is_ended_after_its_time(control: Path) -> None:
    (control / "mode").write_text("stubborn")
    with Parent(control, 1, drain_s=0.3) as parent:
        parent.until_ready()
        told_s = time.monotonic()
        parent.signal(signal.SIGTERM)
        assert parent.until_end() == 0
        assert 0.3 <= time.monotonic() - told_s < 3
        assert parent.said == ["Worker 0 was still busy after 0.3 s and is ended."]
        assert not is_alive(parent.starts()[0])


def test_a_second_interrupt_hurries(control: Path) -> None:
    (control / "mode").write_text("stubborn")
    with Parent(control, drain_s=60) as parent:
        parent.until_ready()
        workers = parent.workers()
        parent.signal(signal.SIGINT)
        # Both still serve, deaf as they are.
        assert parent.ask()[1] in workers.values()
        assert all(map(is_alive, workers.values()))
        parent.signal(signal.SIGINT)
        assert parent.until_end() == 0
        assert not any(map(is_alive, workers.values()))


def test_killing_the_parent_ends_the_workers_at_once(control: Path) -> None:
    (control / "mode").write_text("stubborn")
    with Parent(control) as parent:
        parent.until_ready()
        workers = parent.workers()
        parent.process.kill()
        wait_until(lambda: not any(map(is_alive, workers.values())), "ended", timeout_s=1.0)
        with socket.socket() as next_one:
            next_one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            next_one.bind(("127.0.0.1", parent.port))


def test_a_rolling_restart_replaces_every_worker_and_refuses_no_connection(control: Path) -> None:
    with Parent(control) as parent:
        parent.until_ready()
        before = parent.workers()
        parent.signal(signal.SIGHUP)
        most = 0
        while set(parent.starts()[2:]) != set(parent.workers().values()):
            most = max(most, sum(map(is_alive, parent.starts())))
        assert most <= 3
        after = parent.workers()
        assert set(after) == {0, 1}
        assert not set(after.values()) & set(before.values())
        # The predecessors finished what they were doing.
        wait_until(lambda: sorted(pids_in(control / "left")) == sorted(before.values()), "left")
        assert len(parent.starts()) == 4


def test_a_rolling_restart_that_fails_leaves_those_that_serve(control: Path) -> None:
    with Parent(control) as parent:
        parent.until_ready()
        before = parent.workers()
        (control / "mode").write_text("78")
        parent.signal(signal.SIGHUP)
        sentence = parent.until_said("did not start")
        assert sentence == "The new worker 0 did not start (exit code 78); the workers that serve stay."
        assert parent.workers() == before
        (control / "mode").write_text("serve")
        parent.signal(signal.SIGHUP)
        wait_until(lambda: not set(parent.workers().values()) & set(before.values()), "replaced")


def test_the_end_of_the_terminal_is_the_end_of_the_server(control: Path) -> None:
    master, terminal = pty.openpty()
    with Parent(control, 1, terminal=terminal) as parent:
        parent.until_ready()
        pid = parent.ask()[1]
        os.close(terminal)
        parent.signal(signal.SIGHUP)
        wait_until(lambda: parent.ask()[1] != pid, "replaced, for the terminal is still there")
        os.close(master)
        assert parent.until_end() == 0


def test_ready_is_announced_once_and_only_to_a_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    announce_ready()
    receiver, sender = os.pipe()
    monkeypatch.setenv("SHAKTI_WORKER_READY_FD", str(sender))
    announce_ready()
    announce_ready()
    assert os.read(receiver, 10) == b"1"
    assert os.read(receiver, 10) == b"", "the descriptor is closed"
    os.close(receiver)
