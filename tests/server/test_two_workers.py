"""Several processes that behave as one: two workers on one port, and two servers on one database."""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson
import pytest

from tests.conftest import SECRET
from tests.drills.server import DrillServer
from tests.factories import PASSWORD, new_phone

CONNECTIONS = 24
BID = {"timeslot": "10:00-10:15", "volume": "1", "price": "4.25"}


class Wire:
    """One connection that stays open, with as much HTTP as is needed to send at one instant and read later."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, server: DrillServer) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", server.port))

    @property
    def port(self) -> int:
        """Our end's."""
        return int(self._writer.get_extra_info("sockname")[1])

    def send(self, method: str, path: str, token: str = "", body: Any = None, **headers: str) -> None:
        content = b"" if body is None else orjson.dumps(body)
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(content)}", f"Authorization: Bearer {token}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + content)

    async def read(self) -> tuple[int, Any]:
        async with asyncio.timeout(20):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"\r\nContent-Length: ([0-9]+)\r\n", head)
            assert length, head
            body = await self._reader.readexactly(int(length[1]))
        return int(head.split()[1]), orjson.loads(body)

    async def ask(self, method: str, path: str, token: str = "", body: Any = None, **headers: str) -> tuple[int, Any]:
        self.send(method, path, token, body, **headers)
        return await self.read()

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def wires(*servers: DrillServer) -> AsyncIterator[list[Wire]]:
    """Many open connections, each answered once alserver. One server's reach both of its workers."""
    opened = [await Wire.open(server) for server in servers for _ in range(CONNECTIONS // len(servers))]
    try:
        for wire in opened:
            assert (await wire.ask("GET", "/healthz"))[0] == 200
        if len(servers) == 1:
            behind = {servers[0].worker_behind(wire.port) for wire in opened}
            assert len(behind) == 2, f"all connections went to {behind}"
        yield opened
    finally:
        for wire in opened:
            await wire.close()


async def sign_up(asked: DrillServer, used: DrillServer) -> str:
    """The token of a fresh account, whose OTP one server sends and another one takes."""
    phone = new_phone()
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{asked.url}/sendotp", json={"PhoneNo": phone}) as response:
            assert response.status == 200, await response.text()
        async with session.get(f"{used.url}/dev/outbox") as response:
            messages = await response.json()
        otp = next(re.findall(r"\b[0-9]{6}\b", m["body"])[0] for m in messages if m["to"].endswith(phone))
        form = {"PhoneNo": phone, "password": PASSWORD, "connectionId": phone, "accountType": "prosumer"}
        async with session.post(f"{used.url}/signup", json={**form, "otp": otp, "username": "Asha"}) as response:
            body = await response.json()
            assert response.status == 200, body
            return str(body["token"])


async def at_one_instant(
    opened: list[Wire], method: str, path: str, token: str, body: Any, key: str
) -> tuple[int, Any]:
    """The one answer that equal requests on all connections get."""
    for wire in opened:
        wire.send(method, path, token, body, Idempotency_Key=key)
    first, *others = await asyncio.gather(*(wire.read() for wire in opened))
    assert all(other == first for other in others), (first, others)
    return first


async def assert_equal_keys_write_once(opened: list[Wire], token: str) -> None:
    """R8, for each kind of write."""
    for turn in range(5):
        status, placed = await at_one_instant(
            opened, "POST", "/placebid/dayahead", token, {"arr": [BID]}, key=f"place-{turn}"
        )
        assert status == 200, placed
        [bid] = placed["bids"]
        change = {"price": f"5.0{turn}"}
        status, changed = await at_one_instant(
            opened, "PATCH", f"/bids/dayahead/{bid['id']}", token, change, key=f"amend-{turn}"
        )
        assert (status, changed["seq"]) == (200, placed["seq"] + 1), changed
        if turn % 2:
            status, gone = await at_one_instant(
                opened, "DELETE", f"/bids/dayahead/{bid['id']}", token, None, key=f"withdraw-{turn}"
            )
            assert (status, gone["seq"]) == (200, placed["seq"] + 2), gone
    status, listed = await opened[0].ask("GET", "/bids/dayahead", token)
    assert status == 200
    states = [(bid["price"], bid["status"]) for bid in listed["bids"]]
    assert states == [(f"5.0{turn}", "withdrawn" if turn % 2 else "open") for turn in range(5)]


async def assert_refused_everywhere_within_a_second(opened: list[Wire], token: str) -> None:
    """S18, after a revocation that has just been answered."""
    revoked_s = time.monotonic()
    waiting = list(opened)
    while waiting:
        answers = [await wire.ask("GET", "/me", token) for wire in waiting]
        assert time.monotonic() - revoked_s < 1, f"{len(waiting)} connections still let the token in"
        assert {status for status, _ in answers} <= {200, 401}
        waiting = [wire for wire, (status, _) in zip(waiting, answers, strict=True) if status == 200]
    # And so it stays.
    assert {(await wire.ask("GET", "/me", token))[0] for wire in opened} == {401}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrillServer]:
    """One server with two workers."""
    started = DrillServer(tmp_path_factory.mktemp("two") / "data", workers=2)

    async def start() -> None:
        await started.start()
        # One worker answers before the other is there.
        await started.wait_until_said("Shakti is ready")

    asyncio.run(start())
    yield started
    assert asyncio.run(started.stop()) == 0
    assert "Traceback" not in started.log


async def test_equal_keys_at_one_instant_write_once_and_get_equal_answers(server: DrillServer) -> None:
    async with wires(server) as opened:
        await assert_equal_keys_write_once(opened, await sign_up(server, server))


async def test_a_token_that_was_signed_out_is_refused_by_both_workers(server: DrillServer) -> None:
    async with wires(server) as opened:
        token = await sign_up(server, server)
        # Both workers have checked it and would not ask again.
        assert {(await wire.ask("GET", "/me", token))[0] for wire in opened} == {200}
        assert (await opened[0].ask("POST", "/signout", token))[0] == 200
        await assert_refused_everywhere_within_a_second(opened, token)


async def test_a_changed_password_revokes_tokens_in_both_workers(server: DrillServer) -> None:
    async with wires(server) as opened:
        token = await sign_up(server, server)
        assert {(await wire.ask("GET", "/me", token))[0] for wire in opened} == {200}
        change = {"oldPassword": PASSWORD, "newPassword": f"{PASSWORD}-again"}
        status, body = await opened[0].ask("POST", "/changepassword", token, change)
        assert status == 200, body
        await assert_refused_everywhere_within_a_second(opened, token)
        assert {(await wire.ask("GET", "/me", body["token"]))[0] for wire in opened} == {200}


async def test_a_killed_worker_is_replaced_and_the_other_goes_on(server: DrillServer) -> None:
    victim, survivor = server.workers()
    async with wires(server) as opened:
        token = await sign_up(server, server)
        kept = [wire for wire in opened if server.worker_behind(wire.port) == survivor]
        os.kill(victim, signal.SIGKILL)
        async with asyncio.timeout(20):
            while len(server.workers()) < 2 or victim in server.workers():
                for wire in kept:
                    assert (await wire.ask("GET", "/me", token))[0] == 200
                await asyncio.sleep(0.01)
        assert (await kept[0].ask("POST", "/placebid/dayahead", token, {"arr": [BID]}))[0] == 200
    assert survivor in server.workers()
    # Until the new one serves, connections that the kernel gives to it wait; none is lost.
    async with wires(server) as opened:
        assert {(await wire.ask("GET", "/me", token))[0] for wire in opened} == {200}
    await server.wait_until_said("(killed by SIGKILL) and is replaced.")


async def test_no_request_fails_while_the_workers_are_replaced(server: DrillServer) -> None:
    """SIGHUP, as after an update, with placements on fresh connections all along."""
    earlier = set(server.workers())
    token = await sign_up(server, server)
    is_done = False
    placed: list[int] = []

    async def place_along(number: int) -> None:
        count = 0
        while not is_done:
            count += 1
            wire = await Wire.open(server)
            status, body = await wire.ask(
                "POST", "/placebid/dayahead", token, {"arr": [BID]}, Idempotency_Key=f"{number}-{count}"
            )
            assert status == 200, body
            placed.append(body["bids"][0]["id"])
            await wire.close()
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as clients:
        for number in range(4):
            clients.create_task(place_along(number))
        os.kill(server.pid, signal.SIGHUP)
        async with asyncio.timeout(40):
            while len(server.workers()) != 2 or earlier & set(server.workers()):  # noqa: ASYNC110 - pids tell nobody
                await asyncio.sleep(0.02)
        is_done = True
    assert len(placed) == len(set(placed)) > 20


@pytest.mark.timeout(90)
async def test_two_servers_on_one_database_behave_as_one(database_url: str, redis_url: str, tmp_path: Path) -> None:
    environ = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "SECRET_KEY": SECRET}
    first, second = (DrillServer(tmp_path / name, environ=environ) for name in ("first", "second"))
    try:
        await asyncio.gather(first.start(), second.start())
        token = await sign_up(asked=first, used=second)
        async with wires(first, second) as opened:
            await assert_equal_keys_write_once(opened, token)
            books = [(await wire.ask("GET", "/book/dayahead", token))[1] for wire in (opened[0], opened[-1])]
            assert books[0]["lv"] == books[1]["lv"] != []
            assert (await opened[-1].ask("POST", "/signout", token))[0] == 200
            await assert_refused_everywhere_within_a_second(opened, token)
    finally:
        codes = [await server.stop() for server in (first, second)]
    assert codes == [0, 0]
    assert "Traceback" not in first.log + second.log
