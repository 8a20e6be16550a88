"""The clients in examples/: run as they are, against a real server, over lost, spoilt and cut messages."""

import asyncio
import os
import re
import runpy
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Page, expect

from server.config import PROJECT_DIR
from tests.browser import needs_chromium, page
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, place, sign_up
from tests.feed_book import FeedBook
from tests.feed_documents import published
from tests.feed_sources import amend, book_of, withdraw
from tests.standins.feed_proxy import FeedProxy, Message, Spoil, proxy_to

EXAMPLES = PROJECT_DIR / "examples"
PYTHON = EXAMPLES / "python" / "book.py"
BROWSER = EXAMPLES / "browser"
LINE = re.compile(r"(book:[0-9-]{10}) seq ([0-9]+) levels ([0-9]+) crc ([0-9]+)")
# Told by the documentation's examples, whose checksums are true.
STORY = [
    published()["components"]["messages"][name]["examples"][0]["payload"]
    for name in ("snap", "upd", "hb", "gate", "cleared")
]


@pytest.mark.parametrize("path", [PYTHON, BROWSER / "book.js"], ids=lambda path: path.name)
def test_a_client_is_under_80_lines(path: Path) -> None:
    assert len([line for line in path.read_text().splitlines() if line.strip()]) < 80


class PythonClient:
    """examples/python/book.py as a process, and what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[tuple[str, int, int, int]] = []

    async def reach(self, seq: int) -> None:
        """Return when it has printed that it stands at an event of the book."""
        assert self.process.stdout
        async with asyncio.timeout(20):
            while not self.lines or self.lines[-1][1] < seq:
                line = (await self.process.stdout.readline()).decode()
                found = LINE.fullmatch(line.strip())
                assert found, (line, await self._complaints())
                self.lines.append((found[1], int(found[2]), int(found[3]), int(found[4])))

    async def _complaints(self) -> str:
        assert self.process.stderr
        return (await self.process.stderr.read()).decode() if self.process.returncode is not None else ""


@asynccontextmanager
async def python_client(url: str, token: str = "") -> AsyncIterator[PythonClient]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        PYTHON,
        url,
        env={**os.environ, "SHAKTI_TOKEN": token},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield PythonClient(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def assert_it_has_the_book(kept: PythonClient, client: Client, by: Household) -> None:
    """What it printed last is what REST says; the checksum covers every level."""
    book = await book_of(client, by)
    await kept.reach(book["seq"])
    assert kept.lines[-1] == (book["ch"], book["seq"], len(book["lv"]), book["crc"])


async def change_a_lot(client: Client, seller: Household, buyer: Household) -> None:
    """Levels that come, change and go, on both sides."""
    placed = await place(client, seller, bid("10:00-11:00", "8", "4.25"), bid("23:45", "1", "10.10"))
    bought = await place(client, buyer, bid("10:00", "2", "4.50"), bid("00:00", "0.001", "9.99"))
    await amend(client, seller, placed["bids"][0]["id"], price="3.99")
    await withdraw(client, buyer, bought["bids"][1]["id"])


async def test_the_python_client_keeps_the_book(client: Client) -> None:
    seller, buyer = await sign_up(client, "prosumer"), await sign_up(client, "consumer")
    await place(client, seller, bid("12:00"))
    async with python_client(str(client.make_url("")), seller.token) as kept:
        await kept.reach(1)
        await change_a_lot(client, seller, buyer)
        await assert_it_has_the_book(kept, client, seller)


async def test_the_python_client_needs_no_token_for_a_public_book(make_client: MakeClient) -> None:
    client = await make_client(market={"public_book": True})
    seller = await sign_up(client)
    await place(client, seller, bid())
    async with python_client(str(client.make_url(""))) as kept:
        await assert_it_has_the_book(kept, client, seller)


async def test_the_python_client_leaves_for_good_when_it_is_not_wanted(client: Client) -> None:
    async with python_client(str(client.make_url("")), "nonsense") as kept:
        async with asyncio.timeout(20):
            _, complaint = await kept.process.communicate()
        assert (kept.process.returncode, complaint.decode().strip()) == (1, "closed for good: 4500")


async def test_the_python_client_fetches_a_fresh_token_when_told_that_its_own_ends(make_client: MakeClient) -> None:
    # A token that lives for a minute is about to expire from the start.
    client = await make_client(auth={"token_hours": 1 / 60})
    seller = await sign_up(client)
    async with proxy_to(client.make_url("")) as proxy, python_client(proxy.url, seller.token) as kept:
        await kept.reach(0)
        await proxy.until(lambda: any(message.get("id") == "refresh" for message in proxy.answers))
    tokens = [message["token"] for message in proxy.requests if message["op"] == "auth"]
    assert tokens[0] == seller.token
    assert tokens[1] != seller.token
    assert not [message for message in proxy.answers if message["t"] == "err"]


def lose_one_update() -> Spoil:
    return _once(lambda _: None)


def spoil_one_checksum() -> Spoil:
    return _once(lambda message: {**message, "cs": {slot: crc ^ 1 for slot, crc in message["cs"].items()}})


def spoil_one_level() -> Spoil:
    return _once(lambda message: {**message, "lv": [[*level[:3], 77, 7] for level in message["lv"]]})


def _once(spoil: Spoil) -> Spoil:
    """Spoils the first update that changes a level."""
    left = [1]

    def spoil_first(message: Message) -> Message | None:
        if message["t"] == "upd" and message["lv"] and left:
            left.pop()
            return spoil(message)
        return message

    return spoil_first


FAULTS = [lose_one_update, spoil_one_checksum, spoil_one_level]


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_python_client_notices_a_fault_and_asks_anew(client: Client, fault: Callable[[], Spoil]) -> None:
    seller, buyer = await sign_up(client, "prosumer"), await sign_up(client, "consumer")
    async with proxy_to(client.make_url("")) as proxy, python_client(proxy.url, seller.token) as kept:
        await kept.reach(0)
        await _spoil_one_update(proxy, fault, client, seller)
        await change_a_lot(client, seller, buyer)
        await _until_resynced(proxy, 1)
        await assert_it_has_the_book(kept, client, seller)
    # Once is enough: what comes before the snapshot is not looked at.
    assert _resyncs(proxy) == 1


async def _spoil_one_update(proxy: FeedProxy, fault: Callable[[], Spoil], client: Client, seller: Household) -> None:
    """Return when it has passed: what is changed then comes with updates after it, which show that one was lost."""
    before = proxy.spoilt
    proxy.spoil = fault()
    await place(client, seller, bid("12:00"))
    await proxy.until(lambda: proxy.spoilt > before)


async def _until_told(proxy: FeedProxy, seq: int) -> None:
    await proxy.until(lambda: any(message["t"] == "upd" and message["seq"] == seq for message in proxy.answers))


def _resyncs(proxy: FeedProxy) -> int:
    return [message["op"] for message in proxy.requests].count("resync")


async def _until_resynced(proxy: FeedProxy, times: int) -> None:
    await proxy.until(lambda: _resyncs(proxy) >= times)


async def test_the_python_client_asks_anew_once_and_resumes_from_no_book_that_it_does_not_believe(
    client: Client,
) -> None:
    seller = await sign_up(client)
    async with proxy_to(client.make_url("")) as proxy, python_client(proxy.url, seller.token) as kept:
        await kept.reach(0)
        lost = lose_one_update()
        proxy.spoil = lambda message: None if message["t"] == "snap" else lost(message)
        await place(client, seller, bid("12:00"))
        await proxy.until(lambda: proxy.lost == 1)
        # The next shows that one is lost, and the others come while it waits for a snapshot.
        for seq in range(2, 5):
            await place(client, seller, bid("12:00"))
            await _until_told(proxy, seq)
        await _until_resynced(proxy, 1)
        proxy.spoil = None
        proxy.cut()
        await assert_it_has_the_book(kept, client, seller)
    assert _resyncs(proxy) == 1
    assert [message["since"] for message in proxy.requests if message["op"] == "subscribe"] == [None, None]


async def test_the_python_client_resumes_where_it_was_cut(client: Client) -> None:
    seller, buyer = await sign_up(client, "prosumer"), await sign_up(client, "consumer")
    await place(client, seller, bid("12:00"))
    async with proxy_to(client.make_url("")) as proxy, python_client(proxy.url, seller.token) as kept:
        await kept.reach(1)
        assert proxy.cut() == 1
        await change_a_lot(client, seller, buyer)
        await assert_it_has_the_book(kept, client, seller)
        _assert_resumed(proxy, 1)


def _assert_resumed(proxy: FeedProxy, seq: int) -> None:
    subscribed = [message for message in proxy.requests if message["op"] == "subscribe"]
    assert [message["since"] and message["since"]["seq"] for message in subscribed] == [None, seq]
    assert [message["recovered"] for message in proxy.answers if message.get("id") == "subscribe"] == [False, True]


def python_book() -> Any:
    return runpy.run_path(str(PYTHON))["Book"]()


def test_the_python_book_follows_the_documented_story() -> None:
    book, other = python_book(), FeedBook()
    for message in STORY:
        assert book.apply(message)
        other.apply(message)
        kept = [[slot, *key, *value] for slot, rows in book.levels.items() for key, value in sorted(rows.items())]
        assert (kept, book.seq, book.crc()) == (other.levels, other.seq, other.crc)


SNAP, UPD, HEARTBEAT, *_ = STORY


def _beat(epoch: str, seq: int, crc: int) -> Message:
    return {**HEARTBEAT, "at": {SNAP["ch"]: [epoch, seq, crc]}}


# What a client is told, and whether it may believe it.
CASES: dict[str, tuple[list[Message], bool]] = {
    "the same update twice": ([SNAP, UPD, UPD], True),
    "an update that begins earlier": ([SNAP, {**UPD, "prev": 3}], True),
    "a heartbeat of before": ([SNAP, UPD, _beat(SNAP["ep"], 7, 1)], True),
    "a message before the snapshot": ([UPD, SNAP], True),
    "an update lost": ([SNAP, HEARTBEAT], False),
    "an update that begins later": ([SNAP, {**UPD, "prev": 8}], False),
    "the checksum of a snapshot": ([{**SNAP, "crc": 1}], False),
    "the checksum of a slot": ([SNAP, {**UPD, "cs": {**UPD["cs"], "12": 1}}], False),
    "the checksum of a heartbeat": ([SNAP, UPD, _beat(SNAP["ep"], 11, 1)], False),
    "another history": ([SNAP, UPD, _beat("another", 11, 401083584)], False),
}


@pytest.mark.parametrize(("story", "is_right"), CASES.values(), ids=CASES)
def test_the_python_book_knows_what_is_a_fault(story: list[Message], is_right: bool) -> None:
    book = python_book()
    assert all(book.apply(message) for message in story) is is_right


@asynccontextmanager
async def served_page() -> AsyncIterator[str]:
    """The browser example as any static server shows it: its origin."""
    app = web.Application()
    app.router.add_static("/", BROWSER)
    server = TestServer(app)
    await server.start_server()
    yield str(server.make_url("")).rstrip("/")
    await server.close()


@pytest.fixture
async def origin() -> AsyncIterator[str]:
    async with served_page() as origin:
        yield origin


async def follow(shown: Page, origin: str, server: str, token: str = "") -> None:
    await shown.goto(f"{origin}/index.html")
    await shown.get_by_label("Server").fill(server)
    await shown.get_by_label("Token").fill(token)
    await shown.get_by_role("button", name="Follow").click()


async def assert_it_shows_the_book(shown: Page, client: Client, by: Household) -> None:
    book = await book_of(client, by)
    await expect(shown.locator("[name=seq]")).to_have_text(str(book["seq"]), timeout=20_000)
    await expect(shown.locator("[role=status]")).to_have_text("verified")
    await expect(shown.locator("[name=crc]")).to_have_text(str(book["crc"]))
    rows = await shown.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert rows == [[str(value) for value in level] for level in book["lv"]]


@needs_chromium
async def test_the_browser_client_keeps_the_book(make_client: MakeClient, origin: str) -> None:
    client = await make_client(server={"cors_origins": (origin,)})
    seller, buyer = await sign_up(client, "prosumer"), await sign_up(client, "consumer")
    await place(client, seller, bid("12:00"))
    complaints: list[str] = []
    async with page(complaints) as shown:
        await follow(shown, origin, str(client.make_url("")), seller.token)
        await assert_it_shows_the_book(shown, client, seller)
        await change_a_lot(client, seller, buyer)
        await assert_it_shows_the_book(shown, client, seller)
    assert complaints == []


@needs_chromium
async def test_the_browser_client_of_a_page_that_is_not_allowed_is_kept_out(client: Client, origin: str) -> None:
    complaints: list[str] = []
    async with page(complaints) as shown:
        await follow(shown, origin, str(client.make_url("")), (await sign_up(client)).token)
        await expect(shown.locator("[role=status]")).to_have_text("closed with 1006, coming back", timeout=20_000)
    assert any("403" in text for text in complaints), complaints


@needs_chromium
async def test_the_browser_client_notices_faults_and_asks_anew(make_client: MakeClient, origin: str) -> None:
    client = await make_client(server={"cors_origins": (origin,)})
    seller, buyer = await sign_up(client, "prosumer"), await sign_up(client, "consumer")
    async with proxy_to(client.make_url("")) as proxy, page([]) as shown:
        await follow(shown, origin, proxy.url, seller.token)
        await assert_it_shows_the_book(shown, client, seller)
        for number, fault in enumerate(FAULTS, 1):
            await _spoil_one_update(proxy, fault, client, seller)
            await change_a_lot(client, seller, buyer)
            await _until_resynced(proxy, number)
            await assert_it_shows_the_book(shown, client, seller)
            assert _resyncs(proxy) == number


@needs_chromium
async def test_the_browser_client_resumes_where_it_was_cut(make_client: MakeClient, origin: str) -> None:
    client = await make_client(server={"cors_origins": (origin,)})
    seller, buyer = await sign_up(client, "prosumer"), await sign_up(client, "consumer")
    await place(client, seller, bid("12:00"))
    async with proxy_to(client.make_url("")) as proxy, page([]) as shown:
        await follow(shown, origin, proxy.url, seller.token)
        await assert_it_shows_the_book(shown, client, seller)
        assert proxy.cut() == 1
        await change_a_lot(client, seller, buyer)
        await assert_it_shows_the_book(shown, client, seller)
        _assert_resumed(proxy, 1)


@needs_chromium
async def test_the_browser_book_follows_the_documented_story_and_knows_what_is_a_fault(origin: str) -> None:
    async with page([]) as shown:
        await shown.goto(f"{origin}/index.html")
        kept, found = await shown.evaluate(
            """async ([story, cases]) => {
                const { Book } = await import("./book.js");
                const book = new Book();
                const kept = story.map((message) => [book.apply(message), book.rows(), book.seq, book.crc()]);
                const isRight = (messages) => {
                    const fresh = new Book();
                    return messages.every((message) => fresh.apply(message));
                };
                return [kept, cases.map(isRight)];
            }""",
            [STORY, [story for story, _ in CASES.values()]],
        )
    book = FeedBook()
    for message, shown_book in zip(STORY, kept, strict=True):
        book.apply(message)
        assert shown_book == [True, book.levels, book.seq, book.crc]
    assert dict(zip(CASES, found, strict=True)) == {name: is_right for name, (_, is_right) in CASES.items()}
