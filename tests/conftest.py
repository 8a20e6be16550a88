"""What tests stand on: embedded services for the whole run, a database of its own for each test, the application."""

import asyncio
import functools
import inspect
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import uvloop
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.app import create_app, now
from server.config import AuthSettings, Config, DatabaseSettings, RedisSettings, ServerSettings
from server.embedded import EmbeddedServices
from server.runner import Runner
from storage.migrations import migrate

TEMPLATE = "shakti_template"
SECRET = "a-secret-for-tests-only-0123456789abcdef"

Client = TestClient[web.Request, web.Application]
MakeClient = Callable[..., Awaitable[Client]]
ReadOutbox = Callable[[], Awaitable[list[dict[str, Any]]]]
_numbers = itertools.count(1)
# What a test's fixtures may take of its time limit.
_FOR_FIXTURES_S = 15.0


@dataclass(frozen=True, slots=True)
class Services:
    """Running PostgreSQL and Redis."""

    database_url: str
    redis_url: str
    embedded: EmbeddedServices

    def url_of(self, database: str) -> str:
        """The URL of another database of the same server."""
        head, _, options = self.database_url.partition("?")
        return f"{head.rpartition('/')[0]}/{database}?{options}"


class Served(TestServer):
    """An application as a worker serves it."""

    async def _make_runner(self, **options: Any) -> Runner:
        return Runner(self.app, **options)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that production runs on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_xdist_auto_num_workers() -> int:
    """With `-n auto`: one more than cores, for tests wait for servers and sockets a third of their time."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_itemcollected(item: pytest.Item) -> None:
    """Have a test that waits for ever fail before pytest-timeout ends it: that ends its whole process, and with it what
    other tests of it would have shown."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        marker = item.get_closest_marker("timeout")
        limit_s = float(marker.args[0] if marker else item.config.getini("timeout"))
        item.obj = _within(limit_s - _FOR_FIXTURES_S, item.obj)


def _within(limit_s: float, test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    @functools.wraps(test)
    async def limited(*args: Any, **named: Any) -> None:
        async with asyncio.timeout(limit_s):
            await test(*args, **named)

    return limited


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Embedded services for the whole run, with a migrated template database."""
    embedded = EmbeddedServices(tmp_path_factory.mktemp("services"), postgres=True, redis=True)
    endpoints = embedded.start()
    assert endpoints.database_url
    assert endpoints.redis_url
    started = Services(endpoints.database_url, endpoints.redis_url, embedded)
    asyncio.run(_make_template(started))
    yield started
    embedded.stop()


async def _make_template(started: Services) -> None:
    admin = await asyncpg.connect(started.database_url)
    await admin.execute(f"CREATE DATABASE {TEMPLATE}")
    await admin.close()
    await migrate(started.url_of(TEMPLATE))


@pytest.fixture
async def database_url(services: Services) -> AsyncIterator[str]:
    """A migrated database of the test's own."""
    name = f"test_{next(_numbers)}"
    admin = await asyncpg.connect(services.database_url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield services.url_of(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def redis_url(services: Services) -> str:
    """An empty Redis database."""
    from redis import asyncio as aioredis

    redis = aioredis.Redis.from_url(services.redis_url)
    await redis.flushall()
    await redis.aclose()
    return services.redis_url


@pytest.fixture
def config(database_url: str, redis_url: str, tmp_path: Path) -> Config:
    """Settings for a test: the defaults, a cheap bcrypt, and services of the test's own."""
    return Config(
        server=ServerSettings(port=0, data_dir=tmp_path),
        database=DatabaseSettings(url=database_url, pool_size=8),
        redis=RedisSettings(url=redis_url),
        auth=AuthSettings(bcrypt_cost=4, secret_key=SECRET),
    )


@pytest.fixture
async def make_client(config: Config) -> AsyncIterator[MakeClient]:
    """Start servers of the whole application, each with a client: `await make_client(market={"cap": Decimal(5)})`.

    Keyword arguments name sections of the settings and what to change in them; `clock` replaces the time.
    """
    clients: list[Client] = []

    async def start(clock: Callable[[], datetime] = now, **changes: dict[str, Any]) -> Client:
        changed = replace(
            config, **{section: replace(getattr(config, section), **values) for section, values in changes.items()}
        )
        client = TestClient(Served(create_app(changed, clock)))
        clients.append(client)
        await client.start_server()
        return client

    yield start
    for client in clients:
        await client.close()


@pytest.fixture
async def client(make_client: MakeClient) -> Client:
    """A client of one server with the default settings."""
    return await make_client()


@pytest.fixture
def outbox(client: Client) -> ReadOutbox:
    """Reads the development outbox of `client`, newest first."""

    async def read() -> list[dict[str, Any]]:
        response = await client.get("/dev/outbox")
        assert response.status == 200, await response.text()
        messages: list[dict[str, Any]] = await response.json()
        return messages

    return read


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to the test's database, for looking at what was kept."""
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()
