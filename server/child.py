"""Child processes that never outlive this one.

What lives here: starting a process that the kernel ends with us, saying how one ended, finding what an earlier run
left behind. What must not: knowledge of what the processes are for. Linux only.
"""

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from server.service_user import ServiceUser

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_POLL_S = 0.01


def spawn(
    command: Sequence[str | Path],
    *,
    environ: Mapping[str, str],
    death_signal: signal.Signals,
    cwd: Path | None = None,
    user: ServiceUser | None = None,
    output: int | None = None,
    keep_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `command` so that it gets `death_signal` the moment we die, however we die.

    It gets a session of its own, so that Ctrl-C on the terminal reaches us alone and we end it in our order. `output`
    is a descriptor for what it prints (else ours), `user` whom it runs as (else us). Call from the main thread: the
    kernel ties a child to the thread that forks it, not to the process. Raises OSError where it cannot be started.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("a child lives as long as the thread that starts it: spawn it from the main thread")
    parent = os.getpid()

    def tie_to_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    other = user if user is not None and user.is_other else None
    # Popen enters `cwd` first, as us, then changes the user, then calls preexec_fn: both orders matter. The user need
    # not be able to walk to the directory, and a change of user would clear the death signal. We have one thread.
    return subprocess.Popen(  # noqa: S603 - no shell, and the commands are ours
        [str(part) for part in command],
        cwd=cwd,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        user=None if other is None else other.uid,
        group=None if other is None else other.gid,
        extra_groups=None if other is None else [],
        umask=-1 if user is None else 0o077,
        pass_fds=tuple(keep_fds),
        start_new_session=True,
        preexec_fn=tie_to_parent,
    )


def describe_exit(code: int) -> str:
    """How a process ended, from its return code as subprocess gives it: below zero it was a signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def end_leftovers(user: ServiceUser, directory: Path, program: str, *, wait_s: float) -> bool:
    """Kill every process of `program` that works in `directory`; True when none is left within `wait_s` seconds.

    Process ids written to files are no use for that: they are recycled, and an orphan of a dead server has another.
    """
    try:
        home = os.stat(directory)
    except FileNotFoundError:
        return True
    deadline = time.monotonic() + wait_s
    while user.perform(lambda: _kill_all_in(home, program)):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _kill_all_in(home: os.stat_result, program: str) -> int:
    """How many there were, at most 100."""
    found = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            # A zombie has no working directory any more, and holds nothing.
            place = os.stat(f"/proc/{name}/cwd")
            executable = os.readlink(f"/proc/{name}/exe").removesuffix(" (deleted)")
            if (place.st_dev, place.st_ino) == (home.st_dev, home.st_ino) and Path(executable).name == program:
                found += 1
                os.kill(int(name), signal.SIGKILL)
        except OSError:
            continue
    return min(found, 100)
