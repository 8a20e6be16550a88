"""One worker process, and the pipe on which it tells that it is ready.

What lives here: starting a worker, reading its sign, and the worker's own side of both (worker_sockets(),
announce_ready()). What must not: when to start
or to end one, see workers.py.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence

from server.child import describe_exit, spawn

READY_FD_VARIABLE = "SHAKTI_WORKER_READY_FD"
INDEX_VARIABLE = "SHAKTI_WORKER_INDEX"
PORT_VARIABLE = "SHAKTI_WORKER_PORT"
SOCKETS_VARIABLE = "SHAKTI_WORKER_SOCKET_FDS"


def announce_ready() -> None:
    """In a worker: tell the parent that connections are accepted. Without a parent nothing happens."""
    descriptor = os.environ.pop(READY_FD_VARIABLE, "")
    if not descriptor:
        return
    # A parent that is gone takes us with it; there is nothing to tell.
    with contextlib.suppress(BrokenPipeError):
        os.write(int(descriptor), b"1")
    os.close(int(descriptor))


def worker_sockets() -> list[socket.socket]:
    """In a worker: the bound sockets of its place, one for each address of the host, to listen on.

    They outlive the worker: what the kernel accepted and the worker did not goes to its successor, where a socket of
    its own would reset it. Without a parent there are none.
    """
    descriptors = os.environ.pop(SOCKETS_VARIABLE, "")
    return [socket.socket(fileno=int(descriptor)) for descriptor in descriptors.split(",") if descriptor]


class Worker:
    """A process that serves, is about to, or drains. Ends with us, at once, however we end."""

    def __init__(
        self,
        index: int,
        command: Sequence[str],
        environ: Mapping[str, str],
        port: int,
        sockets: Sequence[socket.socket],
    ) -> None:
        self.index = index
        self.is_ready = False
        self.started_s = time.monotonic()
        # When it is killed, once it has been told to drain.
        self.deadline_s: float | None = None
        self._ready_fd, sign = os.pipe()
        os.set_blocking(self._ready_fd, False)
        try:
            # A worker without its parent must not drain: the port and the data belong to the next server.
            self._process = spawn(
                command,
                environ={
                    **environ,
                    INDEX_VARIABLE: str(index),
                    PORT_VARIABLE: str(port),
                    READY_FD_VARIABLE: str(sign),
                    SOCKETS_VARIABLE: ",".join(str(one.fileno()) for one in sockets),
                },
                death_signal=signal.SIGKILL,
                keep_fds=(sign, *(one.fileno() for one in sockets)),
            )
        except BaseException:
            os.close(self._ready_fd)
            raise
        finally:
            os.close(sign)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ready_fd(self) -> int | None:
        """The descriptor that becomes readable when the worker has something to tell; None when it has told all."""
        return self._ready_fd if self._ready_fd >= 0 else None

    def read_sign(self) -> None:
        """Note whether the worker said that it is ready."""
        if self._ready_fd < 0:
            return
        try:
            told = os.read(self._ready_fd, 1)
        except BlockingIOError:
            return
        self.is_ready = self.is_ready or bool(told)
        self._close()

    def exit_code(self) -> int | None:
        """How it ended, as subprocess says it; None while it runs."""
        code = self._process.poll()
        if code is not None:
            self.read_sign()
            self._close()
        return code

    def describe_exit(self) -> str:
        """How it ended, for the log."""
        code = self.exit_code()
        return "still runs" if code is None else describe_exit(code)

    def drain(self, patience_s: float) -> None:
        """Ask it to finish what it is doing and leave; after `patience_s` seconds it may be killed."""
        if self.deadline_s is None:
            self.deadline_s = time.monotonic() + patience_s
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def end(self) -> None:
        """End it now, and wait until the kernel has."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._ready_fd >= 0:
            os.close(self._ready_fd)
            self._ready_fd = -1
