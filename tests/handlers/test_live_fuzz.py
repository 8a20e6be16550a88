"""S8: thousands of wrong frames and messages; each ends in a close code or an `err`, and nothing is left behind."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from logging import ERROR

import orjson
import pytest
from structlog.testing import capture_logs

from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, place, sign_up
from tests.feed_book import Message
from tests.feed_client import FeedClient, Wanted, assert_flawless
from tests.feed_sources import book_of, channel
from tests.fuzzed_frames import Attack, attacks, messages
from tests.raw_websocket import CLOSE, TEXT, RawWebSocket, frame

ALIVE = frame(b'{"op":"ping","id":"alive"}')
EASY = {"messages_per_s": 1e6, "message_burst": 10**6, "connections_per_account": 10**6}
WORKERS = 12
OF_THE_PROTOCOL = {1002, 1003, 1007, 1009, 4013, 4500, 4501, 4502, 4503}


class Surroundings:
    """A server under attack, with a subscriber that must not notice."""

    def __init__(self, client: Client, household: Household, watching: FeedClient) -> None:
        self.client, self.household, self.watching = client, household, watching
        self.raws: list[RawWebSocket] = []

    async def open(self) -> RawWebSocket:
        raw = await RawWebSocket.open(self.client.port or 0, headers=self.household.headers)
        self.raws.append(raw)
        assert b'"hello"' in (await raw.read()).payload
        return raw


@pytest.fixture
async def around(make_client: MakeClient, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Surroundings]:
    """Afterwards the subscriber is served as before, no task is left, and no exception was logged."""
    client = await make_client(feed=EASY)
    household = await sign_up(client)
    watching = await FeedClient(client, household.token, Wanted(channel())).start()
    await place(client, household, bid())
    count = len(asyncio.all_tasks())
    with capture_logs() as logged:
        attacked = Surroundings(client, household, watching)
        yield attacked
        for raw in attacked.raws:
            raw.close()
        seq = (await place(client, household, bid()))["seq"]
        await watching.reach(seq)
        assert watching.book.levels == (await book_of(client, household))["lv"]
        deadline = asyncio.get_running_loop().time() + 10
        while len(left := asyncio.all_tasks()) > count:  # tasks tell nobody that they are done
            assert asyncio.get_running_loop().time() < deadline, left
            await asyncio.sleep(0.02)
    assert_flawless([watching])
    assert watching.counts["connected"] == 1
    await watching.close()
    faults = [record.getMessage() for record in caplog.records if record.levelno >= ERROR or record.exc_info]
    faults += [str(entry) for entry in logged if entry["log_level"] in ("error", "critical") or entry.get("exc_info")]
    assert not faults, (len(faults), set(faults[:5]))


async def in_parallel(items: Iterable[object], work: Callable[..., Awaitable[None]]) -> None:
    """Work on items by several at once."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(worker())


async def answers_of(raw: RawWebSocket) -> tuple[list[Message], int]:
    """The answers before the one to `ping`, and 0; or the code with which the socket closes, -1 when it ends without a
    word."""
    answers: list[Message] = []
    try:
        while True:
            got = await raw.read(10)
            if got.opcode == CLOSE:
                return answers, got.close_code
            if got.opcode == TEXT:
                message: Message = orjson.loads(got.payload)
                if message.get("id") == "alive":
                    return answers, 0
                if message["t"] in ("ok", "err"):
                    answers.append(message)
    except (EOFError, ConnectionError):
        return answers, -1


@pytest.mark.timeout(120)
async def test_every_wrong_frame_ends_its_connection_by_the_standard(around: Surroundings) -> None:
    seen: Counter[tuple[str, int]] = Counter()

    async def attack(one: Attack) -> None:
        raw = await around.open()
        await raw.send(one.data)
        if one.is_cut:
            raw.send_eof()
        else:
            await raw.send(ALIVE)
        _, code = await answers_of(raw)
        seen[one.name, code] += 1
        raw.close()
        assert code in one.codes or (one.is_cut and code in (-1, 0)), (one, code)

    await in_parallel(itertools.islice(attacks(random.Random(8)), 1200), attack)
    assert seen.total() == 1200
    assert len({name for name, _ in seen}) == 16
    assert {1002, 1003, 1007, 1009} <= {code for _, code in seen}


@pytest.mark.timeout(120)
async def test_every_wrong_message_is_answered_with_an_error_or_a_close(around: Surroundings) -> None:
    texts = messages(random.Random(9))
    seen: Counter[str] = Counter()

    async def converse(_: object) -> None:
        """Up to nine messages on one socket, each followed by a `ping`, so that its answer is known from silence."""
        raw = await around.open()
        code = 0
        for _ in range(9):
            text = next(texts)
            await raw.send(frame(text) + ALIVE)
            answers, code = await answers_of(raw)
            assert code >= 0, f"cut without a word after {text!r}"
            if code:
                assert code in OF_THE_PROTOCOL, (text, code)
                seen["closed"] += 1
                break
            assert answers, f"{text!r} was not answered"
            seen[answers[0]["t"]] += 1
            if answers[0]["t"] == "err":
                assert answers[0]["temporary"] is False, (text, answers[0])
                assert answers[0]["code"] in (1400, 1401, 1403, 1404, 1429), (text, answers[0])
        raw.close()

    await in_parallel(range(430), converse)
    assert seen.total() > 3400
    assert seen["err"] > 2000


async def test_unmasked_frames_are_refused_or_told(around: Surroundings) -> None:
    """RFC 6455 has a server close on a client's unmasked frame; aiohttp's reader takes it as it is. Either will do:
    masks protect proxies from clients, and no server from anybody."""
    for text in (b"nonsense", b"{", b'{"op":"publish"}'):
        raw = await around.open()
        await raw.send(frame(text, mask=None) + ALIVE)
        answers, code = await answers_of(raw)
        assert code == 1002 or [answer["code"] for answer in answers] == [1400], text


@pytest.mark.timeout(90)
async def test_a_hundred_subscriptions_a_second_end_the_flood(around: Surroundings, make_client: MakeClient) -> None:
    """With the limits of every day, at another server; the one with the subscriber shares its process."""
    client = await make_client(feed={"connections_per_account": 1000})
    codes: Counter[int] = Counter()

    async def flood(number: int) -> None:
        raw = await RawWebSocket.open(client.port or 0, headers=around.household.headers)
        text = orjson.dumps({"op": "subscribe", "ch": channel(1 + number % 7), "slots": [1 + number % 96]})
        await raw.send(frame(text) * 100)
        codes[(await answers_of(raw))[1]] += 1
        raw.close()

    await in_parallel(range(40), flood)
    await client.close()
    assert set(codes) == {4013}


@pytest.mark.timeout(90)
async def test_connections_that_come_and_go_leave_nothing(around: Surroundings) -> None:
    """Cut at every moment: before the greeting, within a message, with subscriptions, in the middle of an answer."""
    chance = random.Random(10)

    async def visit(_: object) -> None:
        raw = await RawWebSocket.open(around.client.port or 0, headers=around.household.headers)
        for _ in range(chance.randint(0, 4)):
            named = chance.choice(("me", "book", channel(chance.randint(1, 7))))
            await raw.send(frame(orjson.dumps({"op": chance.choice(("subscribe", "resync")), "ch": named})))
            if chance.random() < 0.5:
                await raw.read()
        if chance.random() < 0.3:
            await raw.send(frame(b'{"op":"subscribe"', is_last=False))
        if chance.random() < 0.3:
            raw.send_eof()
        raw.close()

    placing = asyncio.create_task(_place_along(around))
    await in_parallel(range(400), visit)
    placing.cancel()
    await asyncio.gather(placing, return_exceptions=True)


async def _place_along(around: Surroundings) -> None:
    while True:
        await place(around.client, around.household, bid(), bid("11:00"))
