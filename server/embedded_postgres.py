"""A PostgreSQL of our own: its data directory, its settings, how to tell that it is ready.

What lives here: everything that is particular to PostgreSQL as an embedded server. What must not: keeping it running
(embedded_process.py), queries, or knowledge of what is stored in it.
"""

import os
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from server.child import end_leftovers, spawn
from server.embedded_errors import EmbeddedError
from server.embedded_process import open_log
from server.server_binaries import POSTGRES_MAJOR, postgres_programs
from server.service_user import ServiceUser

CLUSTER_NAME = "postgres"
SOCKET_NAME = ".s.PGSQL.5432"
_ROLE = _DATABASE = "shakti"
_INITDB_TIMEOUT_S = 120.0
_CREATEDB_TIMEOUT_S = 30.0
_PROBE_TIMEOUT_S = 0.25
# Nothing of ours: PGHOST, PGPORT or PGDATA of a PostgreSQL on this machine would reach into this one.
_ENVIRON = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
# The programs are started inside the data directory and told to find it there. So the user they run as needs no right
# to walk to it, as under root's home, and the path's length and characters are nobody's concern.
_HERE = "/proc/self/cwd"

# On the command line, where they win over postgresql.conf and over what ALTER SYSTEM left behind.
_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "%m [%p] ",
    # The details of an error quote rows, and rows hold people's numbers and addresses.
    "log_error_verbosity": "terse",
}


class EmbeddedPostgres:
    """The PostgreSQL whose data lie in `<data_dir>/postgres` and whose socket lies in `socket_dir`."""

    name = "PostgreSQL"

    def __init__(self, data_dir: Path, socket_dir: Path, user: ServiceUser) -> None:
        self.log = data_dir / "postgres.log"
        self._data_dir = data_dir
        self._cluster = data_dir / CLUSTER_NAME
        self._unfinished = data_dir / f"{CLUSTER_NAME}.new"
        self._socket_dir = socket_dir
        self._user = user
        self._programs = Path()
        self._is_new = False

    @property
    def url(self) -> str:
        """Where clients find it. Everything is spelt out, for a PG* variable fills in what is left open."""
        directory = quote(str(self._socket_dir), safe="/")
        return f"postgresql://{_ROLE}@/{_DATABASE}?host={directory}&port=5432&sslmode=disable&target_session_attrs=any"

    def prepare(self) -> None:
        """Make the data directory if there is none. Raises EmbeddedError, OSError."""
        self._programs = postgres_programs(self._user, self._data_dir)
        if self._cluster.is_dir() and any(self._cluster.iterdir()):
            self._check_version()
            self._user.take(self._cluster)
        else:
            self._initialise()

    def settle(self) -> None:
        """Finish a new data directory, once its server is ready: the database is made, the directory gets its name.

        What bears the name is whole, so a start that is cut short anywhere is done again from nothing. The server
        does not notice the renaming: it works in the directory, not at a path.
        """
        if not self._is_new:
            return
        self._run("createdb", "-h", self._socket_dir, "-U", _ROLE, _DATABASE, timeout_s=_CREATEDB_TIMEOUT_S)
        self._unfinished.rename(self._cluster)
        self._is_new = False
        descriptor = os.open(self._data_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def clear(self, wait_s: float) -> bool:
        """See Program. A postmaster.pid is believed by PostgreSQL whenever some process has its number; we hold the
        lock of the data directory and look at the processes themselves."""
        if not end_leftovers(self._user, self._directory, "postgres", wait_s=wait_s):
            return False
        for stale in (
            self._directory / "postmaster.pid",
            self._socket_dir / f"{SOCKET_NAME}.lock",
            self._socket_dir / SOCKET_NAME,
        ):
            stale.unlink(missing_ok=True)
        return True

    def launch(self) -> subprocess.Popen[bytes]:
        """See Program. On our death it shuts down at once; the next start recovers, losing nothing committed."""
        quoted = str(self._socket_dir).replace('"', '""')
        settings = {**_SETTINGS, "unix_socket_directories": f'"{quoted}"'}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return self._spawn("postgres", "-D", _HERE, *options, death_signal=signal.SIGQUIT)

    def is_ready(self, pid: int) -> bool:
        """See Program. Read from where PostgreSQL writes it for pg_ctl: the eighth line of postmaster.pid."""
        try:
            lines = (self._directory / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def stop_signals(self, pid: int) -> Sequence[tuple[signal.Signals, float]]:  # noqa: ARG002 - of Program
        """See Program. Fast shutdown writes everything out; immediate shutdown (which kills its own children after five
        seconds) leaves that to the next start, and is as safe. While it recovers from a crash of one of its processes,
        PostgreSQL 18.4 takes the former for noted and goes on running."""
        immediate = ((signal.SIGQUIT, 6.0), (signal.SIGKILL, 2.0))
        return ((signal.SIGINT, 8.0), *immediate) if self._lets_clients_in() else immediate

    def _lets_clients_in(self) -> bool:
        """Asked at the door, for postmaster.pid says "ready" through a recovery too."""
        parameters = f"user\0{_ROLE}\0database\0postgres\0\0".encode()
        startup = struct.pack("!ii", len(parameters) + 8, 3 << 16) + parameters
        terminate = struct.pack("!ci", b"X", 4)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_PROBE_TIMEOUT_S)
            try:
                client.connect(str(self._socket_dir / SOCKET_NAME))
                client.sendall(startup + terminate)
                answer = client.recv(1024)
                # To the end, lest its log tells of a client that hung up.
                while client.recv(4096):
                    pass
            except OSError:
                return False
        # "Cannot connect now", as the error's code; to be one client too many is no recovery.
        return bool(answer) and b"C57P03\0" not in answer

    @property
    def _directory(self) -> Path:
        return self._unfinished if self._is_new else self._cluster

    def _check_version(self) -> None:
        try:
            version = (self._cluster / "PG_VERSION").read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            raise EmbeddedError(
                f"{self._cluster} is no PostgreSQL data directory: it has no file PG_VERSION. Move it away, or choose "
                "another data directory."
            ) from None
        if version != POSTGRES_MAJOR:
            raise EmbeddedError(
                f"{self._cluster} was made by PostgreSQL {version}, and this Shakti brings PostgreSQL "
                f"{POSTGRES_MAJOR}, which cannot read it. Dump the data with the release of Shakti that wrote them "
                "and restore the dump into a new data directory, or choose another data directory."
            )

    def _initialise(self) -> None:
        self._is_new = True
        if not self.clear(5.0):
            raise EmbeddedError(f"Processes are still working in {self._unfinished}; wait a moment and start again.")
        if self._unfinished.exists():
            shutil.rmtree(self._unfinished)
        self._unfinished.mkdir(mode=0o700)
        self._user.take(self._unfinished)
        self._run(
            "initdb",
            *("-D", _HERE, "-U", _ROLE, "--encoding=UTF8", "--auth-local=trust", "--auth-host=reject"),
            # Code point order, full Unicode case rules, the same on every machine.
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
            timeout_s=_INITDB_TIMEOUT_S,
        )

    def _run(self, program: str, *arguments: str | Path, timeout_s: float) -> None:
        written = self.log.stat().st_size if self.log.exists() else 0
        with self._spawn(program, *arguments, death_signal=signal.SIGKILL) as process:
            try:
                code = process.wait(timeout_s)
            except BaseException as fault:
                process.kill()
                if isinstance(fault, subprocess.TimeoutExpired):
                    raise EmbeddedError(f"{program} was not done after {timeout_s:.0f} s; see {self.log}") from None
                raise
        if code != 0:
            with self.log.open("rb") as log:
                log.seek(written)
                lines = [line for line in log.read().decode(errors="replace").splitlines() if "error" in line.lower()]
            reason = lines[-1].strip() if lines else f"exit code {code}"
            raise EmbeddedError(f"PostgreSQL's data directory cannot be made: {reason}. More is in {self.log}")

    def _spawn(self, program: str, *arguments: str | Path, death_signal: signal.Signals) -> subprocess.Popen[bytes]:
        log = open_log(self.log)
        try:
            return spawn(
                [self._programs / program, *arguments],
                cwd=self._directory,
                environ=_ENVIRON,
                user=self._user,
                output=log,
                death_signal=death_signal,
            )
        finally:
            os.close(log)
