"""Revocation: heard in every process within a second, and no cached token trusted by a process that cannot hear."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from auth.tokens import Purpose, TokenError, Tokens
from storage.database import Database
from storage.notifications import Notifications
from storage.sessions import Sessions
from tests.conftest import SECRET

TOKENS = Tokens(SECRET)
HOUR = timedelta(hours=1)
Connection = asyncpg.Connection
MakeProcess = Callable[[], Awaitable[tuple[Sessions, Notifications]]]


@pytest.fixture
async def make_process(database_url: str) -> AsyncIterator[MakeProcess]:
    """What one server process has: its own pool, its own listening connection, its own cache."""
    opened: list[tuple[Database, Notifications]] = []

    async def make() -> tuple[Sessions, Notifications]:
        database = await Database.open(database_url, pool_size=2, timeout_s=2)
        notifications = Notifications(database_url)
        sessions = Sessions(TOKENS, database, notifications)
        await notifications.start()
        opened.append((database, notifications))
        return sessions, notifications

    yield make
    for database, notifications in opened:
        await notifications.close()
        await database.close()


@pytest.fixture
async def token(connection: "Connection[asyncpg.Record]") -> str:
    account = await connection.fetchval(
        "INSERT INTO accounts (account_type, connection_id, username, phone, phone_as_given, password_hash)"
        " VALUES ('consumer', 'c', 'u', '+911234567890', '1234567890', 'x') RETURNING id"
    )
    return TOKENS.issue(Purpose.ACCOUNT, account, 1, HOUR)[0]


async def is_refused_soon(sessions: Sessions, token: str) -> bool:
    """Within a second, as promised; asked again and again because nothing says when a process has heard."""
    deadline = asyncio.get_running_loop().time() + 1
    while asyncio.get_running_loop().time() < deadline:
        try:
            await sessions.check(token, Purpose.ACCOUNT)
        except TokenError:
            return True
        await asyncio.sleep(0.01)
    return False


async def until(notifications: Notifications, *, live: bool) -> None:
    """Wait until a process knows that it hears, or that it does not; nothing announces it."""
    while notifications.is_live is not live:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_a_sign_out_is_heard_in_every_process(make_process: MakeProcess, token: str) -> None:
    (here, _), (there, _) = await make_process(), await make_process()
    assert here.known(token, Purpose.ACCOUNT) is None
    session = await here.check(token, Purpose.ACCOUNT)
    other = TOKENS.issue(Purpose.ACCOUNT, session.account_id, 1, HOUR)[0]
    for sessions in (here, there):
        await sessions.check(token, Purpose.ACCOUNT)
        await sessions.check(other, Purpose.ACCOUNT)
    await here.revoke(session)
    assert here.known(token, Purpose.ACCOUNT) is None
    with pytest.raises(TokenError):
        await here.check(token, Purpose.ACCOUNT)
    assert await is_refused_soon(there, token)
    assert there.known(token, Purpose.ACCOUNT) is None
    assert (await there.check(other, Purpose.ACCOUNT)).account_id == session.account_id


@pytest.mark.parametrize(
    "statement", ["UPDATE accounts SET token_generation = token_generation + 1", "DELETE FROM accounts"]
)
async def test_what_is_changed_by_hand_revokes_too(
    statement: str, make_process: MakeProcess, token: str, connection: "Connection[asyncpg.Record]"
) -> None:
    sessions, _ = await make_process()
    await sessions.check(token, Purpose.ACCOUNT)
    await connection.execute(statement)
    assert await is_refused_soon(sessions, token)


async def test_a_process_that_cannot_hear_asks_about_every_token(
    make_process: MakeProcess, token: str, connection: "Connection[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, notifications = await make_process()
    await sessions.check(token, Purpose.ACCOUNT)
    # Its listening connection is cut and cannot be made again.
    monkeypatch.setattr(notifications, "_dsn", "postgresql://nobody@127.0.0.1:1/none")
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = 'shakti-listen'"
    )
    await until(notifications, live=False)
    assert sessions.known(token, Purpose.ACCOUNT) is None
    assert (await sessions.check(token, Purpose.ACCOUNT)).kind == "consumer"
    await connection.execute("UPDATE accounts SET token_generation = 2")
    with pytest.raises(TokenError):
        await sessions.check(token, Purpose.ACCOUNT)


async def test_what_was_missed_while_cut_off_is_forgotten_on_return(
    make_process: MakeProcess, token: str, connection: "Connection[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, notifications = await make_process()
    await sessions.check(token, Purpose.ACCOUNT)
    dsn = notifications._dsn
    monkeypatch.setattr(notifications, "_dsn", "postgresql://nobody@127.0.0.1:1/none")
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = 'shakti-listen'"
    )
    await until(notifications, live=False)
    await connection.execute("UPDATE accounts SET token_generation = 2")
    monkeypatch.setattr(notifications, "_dsn", dsn)
    await until(notifications, live=True)
    with pytest.raises(TokenError):
        await sessions.check(token, Purpose.ACCOUNT)


async def test_a_cached_token_costs_no_query_and_still_expires(
    make_process: MakeProcess, connection: "Connection[asyncpg.Record]", token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, _ = await make_process()
    session = await sessions.check(token, Purpose.ACCOUNT)
    brief = TOKENS.issue(Purpose.ACCOUNT, session.account_id, 1, timedelta(seconds=30))[0]
    await sessions.check(brief, Purpose.ACCOUNT)

    async def fail(*_: object) -> None:
        raise AssertionError("a cached token was asked about")

    monkeypatch.setattr(Database, "fetchrow", fail)
    assert await sessions.check(token, Purpose.ACCOUNT) is session
    assert sessions.known(token, Purpose.ACCOUNT) is session
    assert sessions.known(brief, Purpose.ACCOUNT)
    assert sessions.known(token, Purpose.OPERATOR) is None
    with pytest.raises(TokenError):
        await sessions.check(token, Purpose.OPERATOR)

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Later":  # noqa: ARG003 - always UTC
            return cls.fromtimestamp(datetime.now(UTC).timestamp() + 60, UTC)

    monkeypatch.setattr("storage.sessions.datetime", Later)
    assert sessions.known(brief, Purpose.ACCOUNT) is None
    with pytest.raises(TokenError):
        await sessions.check(brief, Purpose.ACCOUNT)
