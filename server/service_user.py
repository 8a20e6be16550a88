"""The operating system user that the embedded servers run as.

What lives here: choosing that user, acting as it, handing directories to it. What must not: knowledge of the servers.
"""

import contextlib
import os
import pwd
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.embedded_errors import EmbeddedError

_CANNOT_BECOME = 255


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """Ourselves, or, where we are root, somebody else: PostgreSQL refuses to run as root."""

    uid: int
    gid: int
    name: str

    @property
    def is_other(self) -> bool:
        """Whether a process has to change its user to be this one."""
        return self.uid != os.geteuid()

    def perform(self, work: Callable[[], int]) -> int:
        """What `work` returns (0 to 254), done in a short-lived process of this user.

        Only so can its rights be known: mode bits leave out access lists and mount options, and a root without
        CAP_SYS_PTRACE, as in most containers, sees less of the user's processes than the user does.
        """
        if not self.is_other:
            return work()
        pid = os.fork()
        if pid == 0:
            code = _CANNOT_BECOME
            try:
                os.setgroups([])
                os.setresgid(self.gid, self.gid, self.gid)
                os.setresuid(self.uid, self.uid, self.uid)
                code = work()
            finally:
                # Never back into the caller's frames, which the parent is running too.
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code in (_CANNOT_BECOME, -1):
            raise EmbeddedError(
                f"Shakti runs as root here but may not become the user {self.name}, and PostgreSQL refuses to run as "
                "root. Start Shakti as an ordinary user, or set DATABASE_URL and REDIS_URL to servers of your own."
            )
        return code

    def lacks(self, wishes: Sequence[tuple[Path, int]]) -> Path | None:
        """The first path that this user may not use as wished (os.R_OK, os.W_OK, os.X_OK), or None."""

        def first_refused() -> int:
            for number, (path, mode) in enumerate(wishes, start=1):
                if not os.access(path, mode):
                    return number
            return 0

        number = self.perform(first_refused)
        return wishes[number - 1][0] if number else None

    def take(self, directory: Path) -> None:
        """Make this user the owner of a directory and of everything in it; as ourselves, check that it is so."""
        owner = directory.lstat().st_uid
        if owner == self.uid:
            return
        if not self.is_other:
            raise EmbeddedError(
                f"{directory} belongs to the user {_name_of(owner)}, and Shakti runs as {self.name}. Start it as "
                f"{_name_of(owner)} or root, or change the owner with: chown -R {self.name} '{directory}'"
            )
        # By descriptor and never through a symbolic link: what is handed over is what lies in there.
        for _, directories, files, descriptor in os.fwalk(directory, follow_symlinks=False):
            for name in (*directories, *files):
                os.chown(name, self.uid, self.gid, dir_fd=descriptor, follow_symlinks=False)
        os.chown(directory, self.uid, self.gid, follow_symlinks=False)


def choose_service_user(*homes: Path) -> ServiceUser:
    """Ourselves; where we are root, the owner of the first of `homes` that has one other than root, else `nobody`.

    The owner comes first so that somebody's own data stay usable for them after one start by root. It needs a name in
    the system's list of users, which initdb looks up. Raises EmbeddedError where no user will do.
    """
    if os.geteuid() != 0:
        return ServiceUser(os.geteuid(), os.getegid(), _name_of(os.geteuid()))
    for home in homes:
        try:
            owner = home.stat().st_uid
        except FileNotFoundError:
            continue
        if owner != 0 and _is_named(owner):
            return _by_uid(owner)
    for name in ("nobody", "daemon"):
        with contextlib.suppress(KeyError):
            return _by_uid(pwd.getpwnam(name).pw_uid)
    raise EmbeddedError(
        "Shakti runs as root here, PostgreSQL refuses to, and there is no user 'nobody' on this machine to run it as. "
        "Start Shakti as an ordinary user, or set DATABASE_URL to a server of your own."
    )


def _by_uid(uid: int) -> ServiceUser:
    entry = pwd.getpwuid(uid)
    user = ServiceUser(entry.pw_uid, entry.pw_gid, entry.pw_name)
    # Told now, and not by the first thing that a root without rights may not do.
    user.perform(lambda: 0)
    return user


def _is_named(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _name_of(uid: int) -> str:
    return pwd.getpwuid(uid).pw_name if _is_named(uid) else str(uid)
