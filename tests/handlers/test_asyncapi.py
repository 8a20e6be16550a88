"""The AsyncAPI document: valid, true to itself, to what the server reads, and to what it says."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft7Validator

from feed import messages
from feed.connection import CloseCode
from feed.requests import ErrorCode, RequestError, parse
from handlers.asyncapi import build_document, may_come_back
from server.config import PROJECT_DIR
from tests.answers import call
from tests.clock import india_day
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, place, sign_up
from tests.feed_book import FeedBook
from tests.feed_client import COME_BACK
from tests.feed_documents import documented_as, published, requests
from tests.feed_sources import amend, channel, withdraw
from tests.feed_wire import Wire

SCHEMA = orjson.loads((Path(__file__).parents[1] / "data" / "asyncapi" / "3.1.0.json").read_bytes())
MESSAGES = published()["components"]["messages"]
GUIDE = (PROJECT_DIR / "docs" / "feed.md").read_text()


def examples() -> list[Any]:
    return [
        pytest.param(name, example["payload"], id=f"{name}-{number}")
        for name, message in MESSAGES.items()
        for number, example in enumerate(message["examples"], 1)
    ]


def test_the_document_is_valid_asyncapi_3_1() -> None:
    document = published()
    assert document["asyncapi"] == "3.1.0"
    assert [fault.message for fault in Draft7Validator(SCHEMA).iter_errors(document)] == []


@pytest.mark.parametrize("name", ["asyncapi", "info"])
def test_the_published_schema_refuses_a_document_without_what_it_needs(name: str) -> None:
    document = {key: value for key, value in published().items() if key != name}
    assert not Draft7Validator(SCHEMA).is_valid(document)


def test_every_reference_leads_to_something() -> None:
    document = published()
    references = list(_references(document))
    assert len(references) > 30
    for reference in references:
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for inner in node.values():
            yield from _references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _references(inner)


@pytest.mark.parametrize(("name", "payload"), examples())
def test_every_example_is_the_message_that_it_shows_and_no_other(name: str, payload: dict[str, Any]) -> None:
    assert documented_as(payload) == [name]


def test_every_message_has_an_example_and_belongs_to_an_operation() -> None:
    used = set()
    for operation in published()["operations"].values():
        shown = [*operation["messages"], *operation.get("reply", {}).get("messages", [])]
        used |= {reference["$ref"].rpartition("/")[2] for reference in shown}
    assert used == MESSAGES.keys() == {name for name, message in MESSAGES.items() if message["examples"]}


def test_what_clients_send_is_received_and_what_the_server_sends_is_sent() -> None:
    for name, operation in published()["operations"].items():
        named = {reference["$ref"].rpartition("/")[2] for reference in operation["messages"]}
        assert operation["action"] == ("receive" if named <= requests() else "send"), name
        assert ("reply" in operation) == (operation["action"] == "receive"), name


def test_the_examples_tell_one_story_whose_checksums_are_true() -> None:
    book = FeedBook()
    for name in ("snap", "upd", "hb", "gate"):
        book.apply(MESSAGES[name]["examples"][0]["payload"])
    assert (book.seq, book.state) == (12, "closed")


@pytest.mark.parametrize(("name", "payload"), [param for param in examples() if param.values[0] in requests()])
def test_the_server_reads_every_example_of_a_request(name: str, payload: dict[str, Any]) -> None:
    assert parse(orjson.dumps(payload).decode()).id == payload["id"]


SUBSCRIBE = {"op": "subscribe", "id": 1, "ch": "book"}


@pytest.mark.parametrize(
    ("change", "is_good"),
    [
        ({"id": "a" * 64}, True),
        ({"id": "a" * 65}, False),
        ({"id": -3}, True),
        ({"id": 1.5}, False),
        ({"id": True}, False),
        ({"rate": 1000}, True),
        ({"rate": None}, True),
        ({"rate": 500}, False),
        ({"rate": "100"}, False),
        ({"slots": None}, True),
        ({"slots": [1, 96]}, True),
        ({"slots": []}, False),
        ({"slots": [0]}, False),
        ({"slots": [97]}, False),
        ({"slots": "all"}, False),
        ({"since": None}, True),
        ({"since": {"ep": "x", "seq": 0}}, True),
        ({"since": {"ep": "x", "seq": -1}}, False),
        ({"since": {"ep": "x"}}, False),
        ({"since": 7}, False),
        ({"ch": 7}, False),
        ({"op": "follow"}, False),
    ],
    ids=str,
)
def test_a_request_is_read_exactly_where_it_is_documented(change: dict[str, Any], is_good: bool) -> None:
    request = {**SUBSCRIBE, **change}
    assert bool(documented_as(request)) is is_good
    if is_good:
        parse(orjson.dumps(request).decode())
    else:
        with pytest.raises(RequestError):
            parse(orjson.dumps(request).decode())


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("gate", messages.gate(channel="book:2026-11-23", epoch="e", prev=1, seq=2, state="closed")),
        ("tokenExpiring", messages.token_expiring(1772370000)),
        ("unsub", messages.unsubscribed("me", 4005, "token expired")),
        ("bye", messages.bye(4001, 5000)),
        ("err", messages.error(None, ErrorCode.UNAVAILABLE, "later")),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_is_seldom_said_is_said_as_documented(name: str, frame: bytes) -> None:
    assert documented_as(orjson.loads(frame[frame.index(b"{") :])) == [name]


def test_the_document_has_every_close_code_and_who_may_come_back() -> None:
    shown = {entry["code"]: entry["reconnect"] for entry in published()["channels"]["feed"]["x-close-codes"]}
    assert shown.keys() >= {int(code) for code in CloseCode}
    may = {code for code, comes_back in shown.items() if comes_back}
    assert may == {4001, 4005, 4008, 4012, 4013, 1012}
    assert may < COME_BACK
    assert not any(may_come_back(code) for code in (1002, 1003, 1007, 1009, 4500, 4504))


def test_the_guide_has_the_same_close_codes_and_errors() -> None:
    table = re.search(r"## Close codes\n(.+?)\n## ", GUIDE, re.DOTALL)
    assert table
    told: dict[int, bool] = {}
    for codes, _, comes_back in re.findall(r"^\| ([0-9, ]+) \| (.+) \| (.+) \|$", table[1], re.MULTILINE):
        told |= {int(code): comes_back.startswith("yes") for code in codes.split(", ")}
    # What no server sends, but a client sees.
    assert told.pop(1006)
    assert told == {entry["code"]: entry["reconnect"] for entry in published()["channels"]["feed"]["x-close-codes"]}
    assert {int(code) for code in re.findall(r"^\| (1[0-9]{3}) \|", GUIDE.partition("## Errors")[2], re.MULTILINE)} >= {
        int(code) for code in ErrorCode
    }


def test_the_subscriptions_need_a_token_and_those_to_a_public_book_none() -> None:
    secured = {name for name, operation in published()["operations"].items() if "security" in operation}
    assert secured == {"subscribeBook", "subscribeMe", "resync"}
    public = build_document(is_book_public=True)["operations"]
    assert {name for name, operation in public.items() if "security" in operation} == {"subscribeMe"}


async def test_the_server_serves_the_document_and_the_guide(client: Client) -> None:
    response = await client.get("/asyncapi.json")
    assert (response.status, response.content_type) == (200, "application/json")
    assert await response.json() == published()
    guide = await client.get("/docs/feed.md")
    assert (guide.status, guide.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert await guide.text() == GUIDE


async def test_the_page_of_the_documentation_leads_to_both(client: Client) -> None:
    page = await (await client.get("/docs")).text()
    assert 'href="/asyncapi.json"' in page
    assert 'href="/docs/feed.md"' in page


async def test_a_server_with_a_public_book_publishes_that(make_client: MakeClient) -> None:
    client = await make_client(market={"public_book": True})
    assert await (await client.get("/asyncapi.json")).json() == build_document(is_book_public=True)


@asynccontextmanager
async def listening(client: Client, **options: Any) -> AsyncIterator[Wire]:
    """A connection, each of whose messages is as documented."""
    wire = await Wire.open(client, **options)
    try:
        yield wire
    finally:
        await wire.drop()
    for text in wire.texts:
        assert len(documented_as(orjson.loads(text))) == 1, text


def names(*wires: Wire) -> set[str]:
    return {name for wire in wires for text in wire.texts for name in documented_as(orjson.loads(text))}


async def test_a_real_connection_says_nothing_that_is_not_documented(client: Client) -> None:
    seller, buyer = await sign_up(client, "prosumer"), await sign_up(client, "consumer")
    async with listening(client) as wire, listening(client, header=seller.token) as other:
        assert (await wire.ask("subscribe", ch="me"))["t"] == "err"
        assert (await wire.ask("auth", token=buyer.token))["t"] == "ok"
        await _follow_everything(client, wire, seller, buyer)
        # A resume that brings an update, and one that brings nothing.
        _, snap = await other.subscribe(channel(), slots=[41, 42], rate=1000)
        await other.ask("unsubscribe", ch=channel())
        await place(client, seller, bid("10:00"))
        for _ in range(2):
            resumed = await other.ask("subscribe", ch=channel(), since={"ep": snap["ep"], "seq": snap["seq"]})
            assert resumed["recovered"], resumed
        await other.ask("subscribe", ch="me", since={"ep": "another", "seq": 3})
    assert names(wire, other) == MESSAGES.keys() - requests() - {
        *("gate", "cleared", "ownTrades"),  # tests/handlers/test_live_clearing.py
        *("tokenExpiring", "unsub", "bye"),
    }


async def _follow_everything(client: Client, wire: Wire, seller: Household, buyer: Household) -> None:
    await wire.ask("subscribe", ch="book")
    await wire.next("snap")
    await wire.ask("subscribe", ch="me")
    placed = await place(client, buyer, bid("10:00"), bid("10:15"))
    await wire.next("me")
    await place(client, seller, bid("10:00", price="3.00"))
    number = placed["bids"][0]["id"]
    await amend(client, buyer, number, price="4.26")
    await wire.next("me")
    await withdraw(client, buyer, number)
    await wire.next("me")
    reading = {"timeslot": "10:00", "energyConsumption": "0.8"}
    answer = await call(client, "POST", "/readings", {"date": india_day(-1), "readings": [reading]}, by=buyer)
    assert answer.status == 200, answer
    assert (await wire.next("me"))["kind"] == "reading"
    await wire.next("hb")
    assert (await wire.ask("resync", ch="book"))["t"] == "ok"
    await wire.next("snap")
    assert (await wire.ask("ping"))["t"] == "ok"
