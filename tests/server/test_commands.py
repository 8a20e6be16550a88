"""The command line as an operator meets it: real processes, what they say, and with which code they end."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.config import Config, MailSettings, ServerSettings, SmsSettings
from server.greeting import greeting
from storage.migrations import read_migrations
from tests.conftest import SECRET
from tests.drills.server import ENVIRONMENT, PROJECT, DrillServer, Said, assert_refused, environment, run_command

ALL_MIGRATIONS = ", ".join(migration.title for migration in read_migrations())
PASSWORD_LINE = re.compile(r"^Password \(shown only now\): (\S{20,})$", re.MULTILINE)
PASSWORD = "sunshine-and-rain"


async def signs_in(url: str, name: str, password: str) -> bool:
    form = {"name": name, "password": password}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/operator/signin", json=form) as response:
        assert response.status in (200, 401), await response.text()
        return response.status == 200


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrillServer]:
    """A server on a machine that has nothing else, as `run.py` starts it, with the default cost of a hash."""
    server = DrillServer(
        tmp_path_factory.mktemp("machine") / "data",
        environ={"SHAKTI_AUTH_BCRYPT_COST": "12"},
        cwd=tmp_path_factory.mktemp("elsewhere"),
    )
    began = time.monotonic()
    asyncio.run(server.start(timeout_s=20))
    sys.stdout.write(f"\nready {time.monotonic() - began:.1f} s after the start, from an empty data directory\n")
    yield server
    # Ctrl+C; SIGTERM has a test of its own.
    assert asyncio.run(server.stop(signal.SIGINT, timeout_s=20)) == 0
    assert "Traceback" not in server.log


@pytest.fixture
def external(database_url: str, redis_url: str) -> dict[str, str]:
    """Settings that name a database and a Redis of the test's own, as variables."""
    return {**ENVIRONMENT, "DATABASE_URL": database_url, "REDIS_URL": redis_url, "SECRET_KEY": SECRET}


async def test_the_server_says_where_everything_is(machine: DrillServer) -> None:
    await machine.wait_until_said("Stop it with Ctrl+C.")
    data_dir = machine.data_dir
    assert machine.out.splitlines() == [
        f"Migrations applied: {ALL_MIGRATIONS}",
        "",
        f"Shakti is ready at {machine.url}",
        f"  API page    {machine.url}/docs",
        f"  PostgreSQL  embedded, in {data_dir}",
        f"  Redis       embedded, in {data_dir}",
        f"  SMS         development outbox: {machine.url}/dev/outbox",
        f"  e-mail      development outbox: {machine.url}/dev/outbox",
        "Stop it with Ctrl+C.",
    ]
    assert machine.err == ""
    async with aiohttp.ClientSession(machine.url) as session:
        for path in ("/docs", "/dev/outbox", "/readyz"):
            async with session.get(path) as response:
                assert response.status == 200


async def test_operators_are_made_while_the_server_runs(machine: DrillServer) -> None:
    said = await machine.command("operator", "create", "control-room")
    assert (said.code, said.err) == (0, ""), said
    assert said.out.startswith("Operator 'control-room' can sign in at POST /operator/signin.\n")
    [password] = PASSWORD_LINE.findall(said.out)
    assert await signs_in(machine.url, "control-room", password)
    assert not await signs_in(machine.url, "control-room", f"{password}x")
    again = await machine.command("operator", "create", "control-room")
    assert_refused(again, "No operator was made: there is an operator 'control-room' already; choose another name")
    assert await signs_in(machine.url, "control-room", password)


async def test_migrating_while_the_server_runs_finds_nothing_to_do(machine: DrillServer) -> None:
    said = await machine.command("migrate")
    assert said == Said(0, "The database is up to date; no migration was needed.\n", "")
    await machine.wait_until_ready(5)


async def test_a_second_server_on_the_same_data_says_who_has_them(machine: DrillServer) -> None:
    said = await machine.command("--port", "0")
    assert_refused(
        said, "Shakti cannot start: The data directory", f"(process {machine.pid})", "choose another data directory"
    )


async def test_an_occupied_port_is_refused_before_anything_is_made(machine: DrillServer, tmp_path: Path) -> None:
    said = await run_command("--port", str(machine.port), "--data-dir", tmp_path / "data")
    assert_refused(said, f"127.0.0.1:{machine.port} is in use by another program", "choose another port")
    assert not (tmp_path / "data").exists()


async def test_commands_work_from_nothing_and_where_they_are_called(tmp_path: Path) -> None:
    environ = {"SHAKTI_AUTH_BCRYPT_COST": "4"}

    async def run(*arguments: str) -> Said:
        return await run_command(*arguments, "--data-dir", "here", environ=environ, cwd=tmp_path)

    assert await run("migrate") == Said(0, f"Migrations applied: {ALL_MIGRATIONS}\n", "")
    assert await run("migrate") == Said(0, "The database is up to date; no migration was needed.\n", "")
    assert (tmp_path / "here" / "postgres").is_dir()
    made = await run("operator", "create", "  control-room ")
    assert made.out.startswith("Operator 'control-room' can sign in")
    assert PASSWORD_LINE.search(made.out)
    assert_refused(await run("operator", "create", "control-room"), "there is an operator 'control-room' already")
    # Signing tokens is the server's business.
    assert not (tmp_path / "here" / "secret_key").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "the name is required"),
        ("  ", "the name is required"),
        ("x" * 101, "the name must not be longer than 100 characters"),
        ("a\nb", "the name must not contain line breaks"),
    ],
)
async def test_a_name_that_could_not_sign_in_is_refused(tmp_path: Path, name: str, words: str) -> None:
    said = await run_command("operator", "create", name, "--data-dir", tmp_path / "data")
    assert_refused(said, f"No operator was made: {words}")
    assert not (tmp_path / "data").exists()


async def test_neither_command_asks_for_what_only_the_server_needs(database_url: str) -> None:
    environ = {**ENVIRONMENT, "DATABASE_URL": database_url}
    assert (await run_command("migrate", environ=environ)).code == 0
    assert (await run_command("operator", "create", "control-room", environ=environ)).code == 0
    assert_refused(
        await run_command("--port", "0", environ=environ), "SECRET_KEY must be set when DATABASE_URL is", code=78
    )


async def test_help_and_slips_are_answered_at_once(tmp_path: Path) -> None:
    said = await run_command("--help")
    assert said.code == 0
    for word in ("serve", "migrate", "operator", "--config", "--data-dir", "--host", "--port", "--workers"):
        assert word in said.out
    said = await run_command("operator", "create", "--help")
    assert "what the operator signs in with" in said.out
    for arguments in (("operator", "create"), ("migrat",)):
        said = await run_command(*arguments)
        assert said.code == 2
        assert "usage: run.py" in said.err
        assert "Traceback" not in said.err
    assert_refused(await run_command("worker"), "the server starts its workers itself; run: run.py serve")
    assert_refused(await run_command("--port", "eighty"), "--port must be a whole number, not 'eighty'", code=78)


async def test_a_machine_open_to_others_has_no_outbox_and_links_bear_the_port_that_was_free(
    external: dict[str, str], tmp_path: Path
) -> None:
    server = DrillServer(tmp_path / "data", environ=external, arguments=("--host", "0.0.0.0", "--port", "0"))  # noqa: S104
    server.launch()
    try:
        await server.wait_until_said("Stop it with Ctrl+C.")
        found = re.search(r"Shakti is ready at (http://127\.0\.0\.1:([0-9]+))\n", server.out)
        assert found, server.out
        url = found[1]
        assert found[2] != "0"
        assert "  PostgreSQL  the server that DATABASE_URL names\n" in server.out
        assert "  Redis       the server that REDIS_URL names\n" in server.out
        assert "  SMS         development outbox, on this console only\n" in server.out
        assert "/dev/outbox" not in server.out
        async with aiohttp.ClientSession(url) as session:
            async with session.get("/dev/outbox") as response:
                assert response.status == 404
            account = {"email": "ravi@example.in", "gstNumber": "29ABCDE1234F1Z5"}
            partner = {
                **account,
                "ownerName": "Ravi",
                "ownerContactNumber": "9812345671",
                "phoneNumber": "9812345672",
                "password": PASSWORD,
                "companyName": "Ravi Transport",
                "companyAddress": "Bengaluru",
            }
            async with session.post("/api/shipper/register", json=partner) as response:
                assert response.status == 201, await response.text()
            link = {**account, "userType": "shipper"}
            async with session.post("/api/email/send-email-link", json=link) as response:
                assert response.status == 200, await response.text()
        await server.wait_until_said(f"{url}/verify-email?token=")
    finally:
        assert await server.stop() == 0


async def test_on_sigterm_requests_under_way_are_finished(external: dict[str, str], tmp_path: Path) -> None:
    """Sign-ins of the default cost, more at once than there are cores, are under way."""
    server = DrillServer(tmp_path / "data", environ={**external, "SHAKTI_AUTH_BCRYPT_COST": "12"})
    await server.start()
    form = {"PhoneNo": "9812345670", "password": PASSWORD, "connectionId": "C-1", "accountType": "prosumer"}

    async def sign_in(session: aiohttp.ClientSession) -> tuple[int, Any]:
        async with session.post("/signin", json=form) as response:
            return response.status, await response.json()

    try:
        async with aiohttp.ClientSession(server.url) as session:
            waiting = [asyncio.create_task(sign_in(session)) for _ in range(6)]
            # By the time that one password was hashed, the loop has long taken the six up.
            _, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert pending
            began = time.monotonic()
            code = await server.stop(timeout_s=20)
            took_s = time.monotonic() - began
            answers = await asyncio.gather(*waiting)
    finally:
        await server.stop()
    assert code == 0
    assert took_s < 10
    assert answers == [(401, {"message": "Invalid credentials"})] * 6
    assert "Traceback" not in server.log
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.port)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_a_signal_during_the_first_start_leaves_nothing_that_hinders_the_next(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    server = DrillServer(tmp_path / "data")
    server.launch()
    try:
        async with asyncio.timeout(20):
            # The database is being made.
            while not (tmp_path / "data" / "postgres.new").exists():  # noqa: ASYNC110 - a directory tells nobody
                await asyncio.sleep(0.005)
        assert await server.stop(number, timeout_s=10) == code
        assert "Traceback" not in server.log, server.log
        if number == signal.SIGTERM:
            assert (await server.command("migrate")).code == 0
    finally:
        await server.stop()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_that_python_ignores_is_obeyed_later(number: signal.Signals, code: int) -> None:
    """As when it comes in the very moment of a fork: exceptions out of a destructor are ignored in the same way."""
    script = f"""
import os, sys
sys.path.insert(0, {str(PROJECT)!r})
from server.early_signals import EarlySignals
early = EarlySignals()
class Deaf:
    def __del__(self):
        os.kill(os.getpid(), {int(number)})
Deaf()
print("goes on", flush=True)
try:
    early.obey()
except KeyboardInterrupt:
    sys.exit(130)
print("was not obeyed")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "goes on\n", "")


async def test_nobody_has_to_listen(external: dict[str, str]) -> None:
    """Standard output is a pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            PROJECT / "run.py",
            "migrate",
            env=environment(external),
            stdout=writer,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(writer)
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (0, b"")


def test_the_greeting_tells_what_is_in_use() -> None:
    config = Config(
        server=ServerSettings(host="::1", data_dir=Path("/srv/shakti")),
        sms=SmsSettings(account_sid="AC1", auth_token="a-twilio-token", from_number="+15005550006"),
        mail=MailSettings(host="mail.example.in", username="shakti", password="a-mail-password"),
    )
    text = greeting(config, 8080, embeds_database=True, embeds_redis=False)
    assert text.splitlines() == [
        "",
        "Shakti is ready at http://[::1]:8080",
        "  API page    http://[::1]:8080/docs",
        "  PostgreSQL  embedded, in /srv/shakti",
        "  Redis       the server that REDIS_URL names",
        "  SMS         Twilio",
        "  e-mail      mail.example.in",
        "Stop it with Ctrl+C.",
    ]
