"""A Redis-compatible server of our own (Valkey): its settings, how to tell that it is ready.

What lives here: everything that is particular to it as an embedded server. What must not: keeping it running
(embedded_process.py), or knowledge of what is stored in it.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from server.child import end_leftovers, spawn
from server.embedded_process import open_log
from server.server_binaries import valkey_program
from server.service_user import ServiceUser

SOCKET_NAME = "redis.sock"
_ENVIRON = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
_PROBE_TIMEOUT_S = 0.05

_SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "dir": ".",
    # A write is with the kernel before it is acknowledged: a kill loses none, a power failure about a second.
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    # Codes and counters must not vanish silently to make room.
    "maxmemory-policy": "noeviction",
    "logfile": "",
    "loglevel": "notice",
}


class EmbeddedRedis:
    """The server whose data lie in `<data_dir>/redis` and whose socket lies in `socket_dir`."""

    name = "Redis"

    def __init__(self, data_dir: Path, socket_dir: Path, user: ServiceUser) -> None:
        self.log = data_dir / "redis.log"
        self._data_dir = data_dir
        self._directory = data_dir / "redis"
        self._socket = socket_dir / SOCKET_NAME
        self._user = user
        self._program = Path()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"unix://{quote(str(self._socket), safe='/')}"

    def prepare(self) -> None:
        """Make the data directory if there is none. Raises EmbeddedError, OSError."""
        self._program = valkey_program(self._user, self._data_dir)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._user.take(self._directory)

    def clear(self, wait_s: float) -> bool:
        """See Program. Two servers would ruin each other's append-only file."""
        return end_leftovers(self._user, self._directory, "valkey-server", wait_s=wait_s)

    def launch(self) -> subprocess.Popen[bytes]:
        """See Program. It works in its data directory, for its user may be unable to walk there."""
        settings = {**_SETTINGS, "unixsocket": str(self._socket)}
        log = open_log(self.log)
        try:
            return spawn(
                [self._program, *(part for key, value in settings.items() for part in (f"--{key}", value))],
                cwd=self._directory,
                environ=_ENVIRON,
                user=self._user,
                output=log,
                death_signal=signal.SIGKILL,
            )
        finally:
            os.close(log)

    def is_ready(self, pid: int) -> bool:  # noqa: ARG002 - of Program; the socket is ours alone
        """See Program. While it reads its file it accepts connections and answers with an error."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_PROBE_TIMEOUT_S)
            try:
                client.connect(str(self._socket))
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith(b"+PONG")
            except OSError:
                return False

    def stop_signals(self, pid: int) -> Sequence[tuple[signal.Signals, float]]:  # noqa: ARG002 - of Program
        """See Program."""
        return ((signal.SIGTERM, 5.0), (signal.SIGKILL, 2.0))
