"""The straight way of flawless placements: nobody can tell it from the way of all other requests."""

import asyncio
import itertools
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

import asyncpg
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from handlers.answer import PlainAnswer
from handlers.context import LEAVING
from server import straight_way
from server.config import Config
from server.straight_way import StraightWay
from storage.writer import BookWriter
from tests.answers import assert_refused, call
from tests.clock import Clock, india_day
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, sign_up
from tests.mutants import until_waiting
from tests.offers import PLACE
from tests.standins.link import link_to

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
ORIGIN = "https://app.example.in"
MAX_BODY = 50_000
MAX_OPEN = 210


class Taken:
    """Counts the answers that went the straight way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0

        def answer(*args: Any, **named: Any) -> PlainAnswer:
            self.count += 1
            return PlainAnswer(*args, **named)

        answer.status = PlainAnswer.status  # type: ignore[attr-defined]  # the class has it
        monkeypatch.setattr(straight_way, "PlainAnswer", answer)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    return Taken(monkeypatch)


def without_the_straight_way(client: Client) -> None:
    """Have the requests of connections that are yet to be opened go the way of all others."""
    runner = client.server.runner
    assert isinstance(runner, web.AppRunner)
    assert runner.server
    ours = runner.server.request_handler
    assert isinstance(ours, StraightWay)
    runner.server.request_handler = ours._handle


class Told(NamedTuple):
    """An answer as it came over the wire, without what differs from one moment to the next."""

    status: int
    headers: list[tuple[str, str]]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


async def read_answer(reader: asyncio.StreamReader, *, has_body: bool = True) -> Told:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers = [(name, value) for name, value in (line.split(": ", 1) for line in lines)]
    length = int(dict(headers)["Content-Length"])
    body = await reader.readexactly(length) if has_body and length else b""
    shown = [
        (name, "made" if name == "X-Request-ID" and re.fullmatch("[0-9a-f]{16}", value) else value)
        for name, value in headers
        if name != "Date"
    ]
    assert len(shown) == len(headers) - 1
    return Told(int(first.split()[1]), sorted(shown), body)


async def exchange(client: Client, *pieces: bytes, answers: int = 1) -> list[Told]:
    """What is answered to bytes on a connection of their own. The server has read each piece when the next is sent."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    try:
        async with asyncio.timeout(10):
            for number, piece in enumerate(pieces):
                if number:
                    assert (await client.get("/healthz")).status == 200
                writer.write(piece)
                await writer.drain()
            return [await read_answer(reader, has_body=not pieces[0].startswith(b"HEAD")) for _ in range(answers)]
    finally:
        writer.transport.abort()


def head(
    by: str | None,
    *more: str,
    method: str = "POST",
    path: str = PLACE,
    version: str = "1.1",
    content_type: str = "application/json",
) -> str:
    lines = [f"{method} {path} HTTP/{version}", "Host: x", *more]
    lines += [f"Authorization: {by}"] if by is not None else []
    lines += [f"Content-Type: {content_type}"] if content_type else []
    return "\r\n".join(lines) + "\r\n"


def request(by: str | None, body: Any, *more: str, **how: str) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"{head(by, *more, **how)}Content-Length: {len(raw)}\r\n\r\n".encode() + raw


ONE = {"arr": [bid()]}
DAY_OF_BIDS = {"arr": [bid(f"{slot // 4:02}:{slot % 4 * 15:02}", "1.5", str(slot)) for slot in range(96)]}


FAULTY: list[dict[str, Any]] = [{}, {"arr": []}, {"arr": [{}]}, {"arr": [bid(), 1]}]


class Row(NamedTuple):
    """Requests one after another, each on its own connection, and how many of them must take the straight way (None if
    that may be so or so)."""

    straight: int | None
    requests: Sequence[Sequence[bytes]]


def table(seller: str, buyer: str, hoarder: str, leaver: str) -> Iterable[tuple[str, Row]]:
    """By name. Each argument is the token of a household that the server knows."""
    good = f"Bearer {seller}"

    def goes(*requests: bytes) -> Row:
        return Row(len(requests), [[each] for each in requests])

    def ordinary(*requests: bytes) -> Row:
        return Row(0, [[each] for each in requests])

    yield "one bid", goes(request(good, ONE))
    yield "of a consumer", goes(request(f"bearer  {buyer}", ONE))
    yield "a bare token", goes(request(seller, ONE))
    yield "96 bids", goes(request(good, DAY_OF_BIDS))
    yield "ranges", goes(request(good, {"arr": [bid("10:00-11:30", "3", "4"), bid("23:30-00:00")]}))
    yield "without arr", goes(request(good, bid()))
    yield "numbers", goes(request(good, b'{"arr":[{"timeslot":41,"volume":1,"price":2}]}'))
    yield "fractions", goes(request(good, b'{"arr":[{"timeslot":41,"volume":1.25,"price":4.5}],"more":null}'))
    yield "white space", goes(request(good, b'{ "arr" :\n [ {"timeslot" : "41", "volume": "1", "price":"4" } ] }'))
    yield "a charset", goes(request(good, ONE, content_type="application/json; charset=utf-8"))
    yield "an id", goes(request(good, ONE, "X-Request-ID: mine-of-eight"))
    yield "ids that are none", goes(*(request(good, ONE, f"X-Request-ID: {bad}") for bad in ("", "a b", "x" * 300)))
    yield "a day that is null", goes(request(good, {**ONE, "deliveryDate": None}))
    yield "connection kept", goes(request(good, ONE, "Connection: keep-alive"))
    key = "Idempotency-Key: k1"
    yield "a key", goes(request(good, ONE, key))
    yield "a key again", goes(request(good, ONE, key))
    yield "a key of another", goes(request(buyer, ONE, key))
    yield "a key with another body", ordinary(request(good, {"arr": [bid(price="5")]}, key))
    yield (
        "keys that are none",
        ordinary(*(request(good, ONE, f"Idempotency-Key: {bad}") for bad in ("", "a b", "x" * 201))),
    )
    yield "two keys", ordinary(request(good, ONE, key, "Idempotency-Key: k2"), request(good, ONE, key, key))
    yield "no token", ordinary(request(None, ONE))
    yield "bad tokens", ordinary(*(request(bad, ONE) for bad in ("", "Bearer", "a b c", f"{good}x", "Basic x", "ä")))
    yield "two tokens", ordinary(request(good, ONE, f"Authorization: {good}"))
    yield (
        "a token that was revoked",
        Row(
            1,
            [
                [request(leaver, ONE)],
                [request(leaver, b"", method="POST", path="/signout")],
                [request(leaver, ONE)],
            ],
        ),
    )
    yield (
        "no JSON",
        ordinary(*(request(good, bad) for bad in (b"", b"{", b"[]", b"null", b'"x"', b"{'arr':1}", b"\xff"))),
    )
    yield (
        "a key twice in an object",
        ordinary(request(good, b'{"arr":[{"timeslot":"41","volume":"1","volume":"2","price":"4"}]}')),
    )
    yield (
        "numbers that are none",
        ordinary(
            *(
                request(good, b'{"arr":[{"timeslot":41,"volume":%s,"price":4}]}' % bad)
                for bad in (b"NaN", b"1e999", b"0.0001", b"-1", b"true", b'"1.23456"', b"[1]", b"{}")
            )
        ),
    )
    yield (
        "faults",
        ordinary(*(request(good, bad) for bad in FAULTY)),
    )
    yield "many faults", ordinary(request(good, {"arr": [bid("25:00", "x", "y")] * 90}))
    yield "too many bids", ordinary(request(good, {"arr": [bid()] * 500}))
    yield (
        "other types",
        ordinary(
            *(request(good, ONE, content_type=bad) for bad in ("text/plain", "application/json; charset=latin-1"))
        ),
    )
    yield (
        "types that are taken too",
        Row(
            None,
            [[request(good, ONE, content_type=rare)] for rare in ("", "application/vnd.x+json", "APPLICATION/JSON")],
        ),
    )
    yield "a coding", ordinary(request(good, ONE, "Content-Encoding: identity"))
    yield "a large body", goes(request(good, json.dumps(ONE).encode() + b" " * (MAX_BODY - 200)))
    yield "too large a body", ordinary(request(good, json.dumps(ONE).encode() + b" " * MAX_BODY))
    raw = json.dumps(ONE).encode()
    chunks = b"%x\r\n%s\r\n" % (9, raw[:9]) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(raw) - 9, raw[9:])
    chunked = head(good, "Transfer-Encoding: chunked").encode() + b"\r\n"
    yield "chunks", Row(None, [[chunked + chunks], [chunked, chunks]])
    whole = request(good, ONE)
    yield "a body in two parts", Row(0, [[whole[:-20], whole[-20:]]])
    yield "a body after its head", Row(0, [[whole[: -len(raw)], raw]])
    yield (
        "a pinned day",
        ordinary(*(request(good, {**ONE, "deliveryDate": day}) for day in (india_day(2), india_day(-1), "x", 5, ""))),
    )
    yield "origins", ordinary(*(request(good, ONE, f"Origin: {origin}") for origin in (ORIGIN, "https://evil.example")))
    yield (
        "HTTP/1.0",
        ordinary(request(good, ONE, version="1.0"), request(good, ONE, "Connection: keep-alive", version="1.0")),
    )
    yield "the last of its connection", ordinary(request(good, ONE, "Connection: close"))
    yield "expecting to be told to continue", Row(0, [[request(good, ONE, "Expect: something")]])
    yield (
        "other paths",
        ordinary(
            *(
                request(good, ONE, path=path)
                for path in (f"{PLACE}?x=1", f"{PLACE}/", f"/{PLACE}", "/placebid%2fdayahead")
            )
        ),
    )
    yield "other methods", ordinary(*(request(good, ONE, method=method) for method in ("GET", "HEAD", "PUT", "post")))
    yield "up to the limit of open bids", goes(request(hoarder, DAY_OF_BIDS), request(hoarder, DAY_OF_BIDS))
    yield "beyond the limit of open bids", ordinary(request(hoarder, DAY_OF_BIDS))
    yield "and one more below it", goes(request(hoarder, ONE))


async def answers_of(client: Client, taken: Taken) -> dict[str, tuple[list[Told], int]]:
    """What a server tells to the whole table, with the count of those that went straight."""
    households = [await sign_up(client, kind) for kind in ("prosumer", "consumer", "prosumer", "prosumer")]
    for household in households:
        assert (await call(client, "GET", "/me", by=household)).status == 200
    told = {}
    for name, row in table(*(household.token for household in households)):
        before = taken.count
        answers = list(itertools.chain.from_iterable([await exchange(client, *pieces) for pieces in row.requests]))
        told[name] = answers, taken.count - before
    return told


async def test_who_goes_the_straight_way_is_told_the_same_as_without_it(
    make_client: MakeClient, connection: Connection, taken: Taken
) -> None:
    rules: dict[str, dict[str, Any]] = {
        "server": {"cors_origins": (ORIGIN,), "max_body_bytes": MAX_BODY},
        "market": {"max_open_bids": MAX_OPEN},
    }
    client = await make_client(**rules)
    straight = await answers_of(client, taken)
    await client.close()
    # The other server begins with an empty book, too: its bids get the same numbers.
    await connection.execute("TRUNCATE delivery_days, book_events, account_days, idempotency_keys, changed_bids")
    client = await make_client(**rules)
    without_the_straight_way(client)
    before = taken.count
    ordinary = await answers_of(client, taken)
    assert taken.count == before
    assert {name: answers for name, (answers, _) in straight.items()} == {
        name: answers for name, (answers, _) in ordinary.items()
    }
    rows = dict(table("", "", "", ""))
    went = {name: count for name, (_, count) in straight.items() if rows[name].straight is not None}
    assert went == {name: row.straight for name, row in rows.items() if row.straight is not None}
    statuses = {name: [told.status for told in answers] for name, (answers, _) in straight.items()}
    assert statuses["a token that was revoked"] == [200, 200, 401]
    assert statuses["beyond the limit of open bids"] == [400]
    assert statuses["a key with another body"] == [422]
    assert straight["a key"][0][0].body == straight["a key again"][0][0].body


async def ready(client: Client) -> Household:
    """A household whose token the server knows."""
    household = await sign_up(client)
    assert (await call(client, "GET", "/me", by=household)).status == 200
    return household


@pytest.mark.parametrize("way", ["straight", "ordinary"])
async def test_placements_that_are_sent_together_are_answered_in_their_order(
    way: str, client: Client, taken: Taken
) -> None:
    household = await ready(client)
    if way == "ordinary":
        without_the_straight_way(client)
    bodies = [ONE, {"arr": []}, DAY_OF_BIDS, {**ONE, "deliveryDate": india_day(2)}, ONE]
    answers = await exchange(client, b"".join(request(household.token, body) for body in bodies), answers=5)
    assert [told.status for told in answers] == [200, 400, 200, 200, 200]
    assert [told.body.get("seq") for told in answers] == [1, None, 97, 1, 98]
    assert taken.count == (3 if way == "straight" else 0)


async def test_the_access_log_has_one_line_for_it(make_client: MakeClient, taken: Taken) -> None:
    client = await make_client(log={"access": True})
    household = await ready(client)
    lines = []
    for is_straight in (True, False):
        if not is_straight:
            without_the_straight_way(client)
        with capture_logs() as written:
            await exchange(client, request(household.token, ONE, "X-Request-ID: mine-of-nine"))
            await exchange(client, request(household.token, {}, "X-Request-ID: mine-of-ten"))
        lines.append([{**line, "ms": line["ms"] >= 0} for line in written])
    assert taken.count == 1
    assert lines[0] == lines[1]
    assert [(line["event"], line["request_id"], line["status"]) for line in lines[0]] == [
        ("request", "mine-of-nine", 200),
        ("request", "mine-of-ten", 400),
    ]


async def test_a_server_that_leaves_says_so_with_its_answers(
    client: Client, connection: Connection, taken: Taken
) -> None:
    """Also where it began to leave while the placement was on its way."""
    household = await ready(client)
    await exchange(client, request(household.token, ONE))
    holder = connection.transaction()
    await holder.start()
    await connection.execute("SELECT FROM delivery_days FOR UPDATE")
    reader, writer = await asyncio.open_connection(client.host, client.port)
    try:
        writer.write(request(household.token, ONE))
        await until_waiting(connection, 1)
        client.app[LEAVING].set()
        await holder.rollback()
        async with asyncio.timeout(5):
            under_way = await read_answer(reader)
            assert await reader.read() == b"", "the connection is closed"
    finally:
        writer.transport.abort()
    assert taken.count == 2
    (later,) = await exchange(client, request(household.token, ONE))
    assert taken.count == 2
    for told in (under_way, later):
        assert told.status == 200
        assert ("Connection", "close") in told.headers
    assert {**dict(under_way.headers), "Content-Length": ""} == {**dict(later.headers), "Content-Length": ""}


def moves_to_the_present(clock: Clock) -> Callable[..., Awaitable[bytes]]:
    """A writer's `submit` that takes so long that the clock is beyond the gate when it answers."""
    real = BookWriter.submit

    async def submit(*args: Any) -> bytes:
        try:
            return await real(*args)
        finally:
            clock.at = datetime.now(UTC)

    return submit


@pytest.mark.parametrize("way", ["straight", "ordinary"])
@pytest.mark.parametrize("clock_moves", [False, True])
async def test_a_gate_that_closes_between_the_clock_and_the_lock_moves_the_bid_to_the_next_day(
    *, way: str, clock_moves: bool, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(datetime.now(UTC) - timedelta(days=1))
    household = await sign_up(await make_client())
    client = await make_client(clock=clock)
    assert (await call(client, "GET", "/me", by=household)).status == 200
    if clock_moves:
        monkeypatch.setattr(BookWriter, "submit", moves_to_the_present(clock))
    if way == "ordinary":
        without_the_straight_way(client)
    answer = await call(client, "POST", PLACE, ONE, by=household)
    assert answer.status == 200, answer
    assert answer.body["deliveryDate"] == india_day(1)


@pytest.mark.parametrize("way", ["straight", "ordinary"])
@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_without_the_database_it_is_refused_in_time_and_done_when_it_is_back(
    way: str, how: str, make_client: MakeClient, config: Config, database_url: str, connection: Connection, taken: Taken
) -> None:
    name = database_url.partition("?")[0].rpartition("/")[2]
    directory = database_url.partition("host=")[2].partition("&")[0]
    async with link_to(f"{directory}/.s.PGSQL.5432") as link:
        url = f"postgresql://shakti@127.0.0.1:{link.port}/{name}?sslmode=disable"
        client = await make_client(database={"url": url, "timeout_s": 1.5})
        household = await ready(client)
        if way == "ordinary":
            without_the_straight_way(client)
        for _ in range(2):
            assert (await exchange(client, request(household.token, ONE)))[0].status == 200
        if how == "cut":
            link.cut()
        else:
            link.is_silent = True
        async with asyncio.timeout(2.5):
            answer = await call(client, "POST", PLACE, ONE, by=household, headers={"Idempotency-Key": "k"})
        assert_refused(answer, 500, "Error placing bid")
        assert int(answer.headers["Retry-After"]) >= 1
        link.cut()
        link.restore()
        async with asyncio.timeout(10):
            while (
                answer := await call(client, "POST", PLACE, ONE, by=household, headers={"Idempotency-Key": "k"})
            ).status != 200:
                pass
        assert await connection.fetchval("SELECT count(*) FROM book_events") == 3
        assert answer.body["seq"] == 3
    assert (taken.count >= 2) == (way == "straight")
