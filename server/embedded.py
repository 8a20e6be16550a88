"""PostgreSQL and Redis of our own, for a machine that has none.

What lives here: the data directory as a whole, its lock, where the sockets are, both servers' start and stop. What
must not: what is particular to either server, see embedded_postgres.py and embedded_redis.py.

    <data_dir>/shakti.lock                  held as long as a server runs on this directory
    <data_dir>/postgres/, postgres.log      the database
    <data_dir>/redis/, redis.log            one-time codes and counters
    <data_dir>/run                          the sockets, or a link to where they are
"""

import contextlib
import fcntl
import os
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from server.embedded_errors import EmbeddedError
from server.embedded_postgres import SOCKET_NAME as POSTGRES_SOCKET
from server.embedded_postgres import EmbeddedPostgres
from server.embedded_process import Keeper, open_in_home
from server.embedded_redis import SOCKET_NAME as REDIS_SOCKET
from server.embedded_redis import EmbeddedRedis
from server.service_user import ServiceUser, choose_service_user

__all__ = ["EmbeddedError", "EmbeddedServices", "Endpoints"]

# A server that was killed in the middle of much work recovers first; PostgreSQL may take a minute for that.
_READY_TIMEOUT_S = 300.0
# sizeof(sockaddr_un.sun_path), less the byte that ends it.
_LONGEST_SOCKET_PATH = 107


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the embedded servers are reached; None stands for one that was not asked for."""

    database_url: str | None
    redis_url: str | None


class EmbeddedServices:
    """The servers of one data directory. Used from the main thread of one process, and ended with it."""

    def __init__(self, data_dir: Path, *, postgres: bool, redis: bool) -> None:
        self._data_dir = data_dir
        self._wants_postgres = postgres
        self._wants_redis = redis
        self._lock: int | None = None
        self._link: Path | None = None
        self._keepers: list[Keeper] = []

    def start(self) -> Endpoints:
        """Start what was asked for, and return when all of it answers. Raises EmbeddedError; nothing runs then."""
        if not (self._wants_postgres or self._wants_redis):
            return Endpoints(None, None)
        if sys.platform != "linux":
            raise EmbeddedError(
                "The embedded servers need Linux. Set DATABASE_URL and REDIS_URL to servers of your own."
            )
        try:
            return self._start()
        except OSError as fault:
            self.stop()
            raise EmbeddedError(
                f"The data directory {self._data_dir} cannot be used: {fault}. Make it writable for the user that runs "
                "Shakti, or choose another one."
            ) from fault
        except BaseException:
            self.stop()
            raise

    def check(self) -> list[str]:
        """Start again what died; call it a few times a second. Returns sentences for the log, usually none."""
        return [sentence for keeper in self._keepers for sentence in keeper.check()]

    def stop(self) -> None:
        """End the servers, saving everything. Takes 25 s at most, usually 0.1 s. Once is enough, twice is no harm."""
        keepers, self._keepers = self._keepers, []
        for keeper in keepers:
            keeper.signal_stop()
        for keeper in keepers:
            keeper.stop()
        if self._link is not None:
            with contextlib.suppress(OSError):
                _discard(self._link.readlink())
                self._link.unlink()
            self._link = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _start(self) -> Endpoints:
        is_new = not self._data_dir.exists()
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        data_dir = self._data_dir.resolve()
        user = choose_service_user(data_dir / "postgres", data_dir)
        if is_new and user.is_other:
            # So that its servers can walk through; what root keeps in here stays root's.
            os.chown(data_dir, -1, user.gid)
            data_dir.chmod(0o710)
        self._lock = _lock(data_dir / "shakti.lock", data_dir)
        sockets = self._socket_dir(data_dir, user)
        postgres = EmbeddedPostgres(data_dir, sockets, user) if self._wants_postgres else None
        redis = EmbeddedRedis(data_dir, sockets, user) if self._wants_redis else None
        programs: list[EmbeddedRedis | EmbeddedPostgres | None] = [redis, postgres]
        for program in programs:
            if program is not None:
                program.prepare()
                keeper = Keeper(program)
                self._keepers.append(keeper)
                keeper.begin()
        for keeper in self._keepers:
            keeper.wait_until_ready(_READY_TIMEOUT_S)
        if postgres is not None:
            postgres.settle()
        return Endpoints(
            database_url=None if postgres is None else postgres.url,
            redis_url=None if redis is None else redis.url,
        )

    def _socket_dir(self, data_dir: Path, user: ServiceUser) -> Path:
        """A private directory for the sockets: `run` in the data directory where that will do, else one in a temporary
        place that `run` is a link to."""
        run = data_dir / "run"
        if _is_fit(run) and user.lacks([(data_dir, os.X_OK)]) is None:
            if run.is_symlink():
                _discard(run.readlink())
                run.unlink()
            run.mkdir(mode=0o700, exist_ok=True)
            run.chmod(0o700)
            user.take(run)
            return run
        self._link = run
        if run.is_symlink():
            earlier = run.readlink()
            if _is_private(earlier, user):
                return earlier
            run.unlink()
        elif run.exists():
            _discard(run)
        # The system's own choice first (TMPDIR), for it may be the only private one.
        for place in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108 - mkdtemp makes ours
            if _is_fit(Path(place, "shakti-12345678")) and user.lacks([(Path(place), os.X_OK)]) is None:
                with contextlib.suppress(OSError):
                    directory = Path(tempfile.mkdtemp(prefix="shakti-", dir=place))
                    user.take(directory)
                    run.symlink_to(directory)
                    return directory
        raise EmbeddedError(
            f"The path {run} cannot be used for sockets (too long, or closed to the user {user.name}), and there is no "
            "temporary directory for them. Set TMPDIR to a short path that every user may enter."
        )


def _is_fit(directory: Path) -> bool:
    """Whether sockets in there can have clients: the kernel bounds the length, asyncpg splits hosts at commas."""
    path = os.fsencode(directory / POSTGRES_SOCKET)
    return len(path) <= _LONGEST_SOCKET_PATH and b"," not in path


def _is_private(directory: Path, user: ServiceUser) -> bool:
    try:
        status = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == user.uid and stat.S_IMODE(status.st_mode) == 0o700


def _discard(directory: Path) -> None:
    """Remove a directory of sockets, and nothing else: a link may lead anywhere."""
    for name in (POSTGRES_SOCKET, f"{POSTGRES_SOCKET}.lock", REDIS_SOCKET):
        (directory / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        directory.rmdir()


def _lock(path: Path, data_dir: Path) -> int:
    """The descriptor of the lock on a data directory; the kernel lets go of it however we end. Raises EmbeddedError."""
    descriptor = open_in_home(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise EmbeddedError(
            f"The data directory {data_dir} is in use by another Shakti server (process {holder}). Stop that one, or "
            "choose another data directory."
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
