"""What clients send on the feed: ids echoed, faults told, bytes that are no message."""

from typing import Any

import pytest

from tests.conftest import Client, MakeClient
from tests.factories import Household, sign_up
from tests.feed_book import Message
from tests.feed_sources import channel
from tests.feed_wire import Wire

EASY = {"messages_per_s": 1e6, "message_burst": 10**6}
WRONG_FIELDS: tuple[dict[str, Any], ...] = (
    {},
    {"ch": None},
    {"ch": 5},
    {"ch": ["book"]},
    {"ch": {}},
    {"ch": "book", "rate": 250},
    {"ch": "book", "rate": 0},
    {"ch": "book", "rate": -100},
    {"ch": "book", "rate": "100"},
    {"ch": "book", "rate": True},
    {"ch": "book", "rate": 100.5},
    {"ch": "book", "rate": [100]},
    {"ch": "book", "slots": []},
    {"ch": "book", "slots": [0]},
    {"ch": "book", "slots": [97]},
    {"ch": "book", "slots": [-1]},
    {"ch": "book", "slots": [41, 41]},
    {"ch": "book", "slots": ["41"]},
    {"ch": "book", "slots": [True]},
    {"ch": "book", "slots": [41.5]},
    {"ch": "book", "slots": [None]},
    {"ch": "book", "slots": [[41]]},
    {"ch": "book", "slots": "41"},
    {"ch": "book", "slots": 41},
    {"ch": "book", "slots": {"41": 1}},
    {"ch": "book", "slots": list(range(1, 98))},
    {"ch": "book", "since": 5},
    {"ch": "book", "since": []},
    {"ch": "book", "since": {}},
    {"ch": "book", "since": {"ep": "x"}},
    {"ch": "book", "since": {"seq": 5}},
    {"ch": "book", "since": {"ep": 5, "seq": 5}},
    {"ch": "book", "since": {"ep": "x", "seq": "5"}},
    {"ch": "book", "since": {"ep": "x", "seq": 5.5}},
    {"ch": "book", "since": {"ep": "x", "seq": True}},
    {"ch": "book", "since": {"ep": "x", "seq": None}},
)
UNKNOWN = ("books", "Book", "book:", "book:2026-02-30", "book:soon", "book:2026-1-2", "trades", "*", "me:1", "\x00")
NO_MESSAGES: tuple[str, ...] = (
    "",
    " ",
    "hello",
    "{",
    '{"op":"ping"',
    '{"op":"ping"} {"op":"ping"}',
    "[]",
    '["ping"]',
    '"ping"',
    "5",
    "null",
    "true",
    "NaN",
    '{"op":NaN}',
    "{'op':'ping'}",
    "{}",
    '{"id":1}',
    '{"op":null}',
    '{"op":5}',
    '{"op":["ping"]}',
    '{"op":"PING"}',
    '{"op":"ping "}',
    '{"op":"nonsense","id":1}',
    '{"op":"ping","id":1.5}',
    '{"op":"ping","id":true}',
    '{"op":"ping","id":[1]}',
    '{"op":"ping","id":{}}',
    f'{{"op":"ping","id":"{"x" * 65}"}}',
    '{"op":"auth"}',
    '{"op":"auth","token":5}',
    '{"op":"auth","token":null}',
    '{"op":"auth","token":["x"]}',
)


def assert_err(answer: Message, code: int, *, is_temporary: bool = False) -> None:
    """An error that a person can act on, and a program."""
    assert set(answer) - {"id"} == {"t", "code", "msg", "temporary"}, answer
    assert (answer["t"], answer["code"], answer["temporary"]) == ("err", code, is_temporary), answer
    assert answer["msg"].strip(), answer


async def open_for(client: Client, household: Household) -> Wire:
    return await Wire.open(client, token=household.token)


@pytest.mark.parametrize("number", [0, 1, -5, 2**53, "", "a text", "é" * 64], ids=repr)
async def test_an_id_is_echoed(client: Client, number: Any) -> None:
    wire = await open_for(client, await sign_up(client))
    for op, kind in (("ping", "ok"), ("subscribe", "err")):
        await wire.send(op, id=number)
        answer = await wire.next()
        assert (answer["t"], answer["id"], type(answer["id"])) == (kind, number, type(number))


async def test_without_an_id_the_answer_has_none(client: Client) -> None:
    wire = await open_for(client, await sign_up(client))
    await wire.send("ping")
    answer = await wire.next()
    assert (answer["t"], set(answer)) == ("ok", {"t", "ts"})
    await wire.send("nonsense")
    answer = await wire.next()
    assert "id" not in answer
    assert_err(answer, 1400)


async def test_what_is_no_message_is_told_so(make_client: MakeClient) -> None:
    client = await make_client(feed=EASY)
    household = await sign_up(client)
    for text in NO_MESSAGES:
        wire = await open_for(client, household)
        await wire.socket.send_str(text)
        assert_err(await wire.next(), 1400)
        assert (await wire.ask("ping"))["t"] == "ok", "the socket lives on"
        await wire.close()


async def test_a_wrong_field_is_told_so(make_client: MakeClient) -> None:
    client = await make_client(feed=EASY)
    household = await sign_up(client)
    for fields in WRONG_FIELDS:
        wire = await open_for(client, household)
        answer = await wire.ask("subscribe", **fields)
        assert_err(answer, 1400)
        await wire.close()
    for op in ("unsubscribe", "resync"):
        wire = await open_for(client, household)
        for given in ({}, {"ch": None}, {"ch": 5}):
            assert_err(await wire.ask(op, **given), 1400)
        await wire.close()


async def test_an_unknown_channel_is_told_so(make_client: MakeClient) -> None:
    client = await make_client(feed=EASY)
    household = await sign_up(client)
    for named in (*UNKNOWN, channel(8), "book:9999-12-31", "book:" + "9" * 300):
        wire = await open_for(client, household)
        for op in ("subscribe", "unsubscribe", "resync"):
            assert_err(await wire.ask(op, ch=named), 1404)
        await wire.close()


async def test_whoever_is_not_subscribed_is_told_so(client: Client) -> None:
    wire = await open_for(client, await sign_up(client))
    for op in ("unsubscribe", "resync"):
        assert_err(await wire.ask(op, ch=channel()), 1404)
    assert_err(await wire.ask("unsubscribe", ch="me"), 1404)
    await wire.subscribe(channel())
    assert_err(await wire.ask("resync", ch=channel(2)), 1404)


async def test_an_error_tells_nothing_that_was_sent_and_nothing_inside(client: Client) -> None:
    wire = await open_for(client, await sign_up(client))
    secret = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0.c2VjcmV0"
    for fields in ({"op": secret}, {"op": "subscribe", "ch": secret}, {"op": "auth", "token": [secret]}):
        await wire.send(**fields)
        answer = await wire.next()
        assert answer["t"] == "err"
        for word in (secret, "Traceback", "asyncpg", "/handlers/", "/feed/"):
            assert word not in str(answer)
