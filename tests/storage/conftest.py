"""What several tests of this room stand on: accounts, the pool, and which way batches went."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from storage.database import Database
from tests.account_log import make_accounts
from tests.batches import Short


@pytest.fixture
async def accounts(database_url: str) -> None:
    """Accounts 1 to 50 in the test's database."""
    opened = await asyncpg.connect(database_url)
    await make_accounts(opened, 50)
    await opened.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The pool of one process."""
    opened = await Database.open(database_url, pool_size=4, timeout_s=6)
    yield opened
    await opened.close()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Short:
    """Counts the batches that go the short way."""
    return Short(monkeypatch)
