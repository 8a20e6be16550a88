"""The `me` channel: an account's own bids and readings, in order, to nobody else (rule 12 of the feed)."""

import asyncio
from decimal import Decimal
from typing import Any

from tests.answers import call
from tests.clock import india_day
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, place, sign_up
from tests.feed_book import Message, OwnMessages
from tests.feed_sources import amend, channel, withdraw
from tests.feed_wire import Wire
from tests.offers import own


async def follow(client: Client, household: Household) -> tuple[Wire, Message]:
    """A socket that is subscribed to `me`, and the `ok`."""
    wire = await Wire.open(client, token=household.token)
    ok = await wire.ask("subscribe", ch="me")
    assert (ok["t"], ok["recovered"]) == ("ok", False), ok
    return wire, ok


def in_ticks(placed: dict[str, Any], side: str, slot: int) -> dict[str, Any]:
    """A bid of a REST answer as the feed has it."""
    price, volume = int(Decimal(placed["price"]) * 100), int(Decimal(placed["volume"]) * 1000)
    return {"id": placed["id"], "slot": slot, "side": side, "price": price, "volume": volume}


async def test_a_subscription_begins_at_the_present(client: Client) -> None:
    household = await sign_up(client)
    wire, ok = await follow(client, household)
    assert ok == {
        "t": "ok",
        "id": ok["id"],
        "ch": "me",
        "ep": ok["ep"],
        "seq": 0,
        "recovered": False,
        "ticks": {"price": "0.01", "volume": "0.001"},
    }
    assert ok["ep"].startswith("u")
    await place(client, household, bid())
    await place(client, household, bid())
    await wire.next("me")
    _, later = await follow(client, household)
    assert (later["ep"], later["seq"]) == (ok["ep"], 2)


async def test_what_happens_to_own_bids_comes_in_order(client: Client) -> None:
    household = await sign_up(client)
    await place(client, await sign_up(client), bid())
    wire, ok = await follow(client, household)
    placed = (await place(client, household, bid("10:00", "2.5", "4.25"), bid("00:00", "1", "5")))["bids"]
    first = await wire.next()
    assert first == {
        "t": "me",
        "ep": ok["ep"],
        "seq": 1,
        "prev": 0,
        "kind": "bid",
        "data": {
            "event": "placed",
            "deliveryDate": india_day(1),
            "seq": 3,
            "bids": [in_ticks(placed[0], "S", 41), in_ticks(placed[1], "S", 1)],
        },
    }
    seq = await amend(client, household, placed[0]["id"], price="6", volume="0.001")
    changed = await wire.next()
    assert (changed["seq"], changed["prev"], changed["kind"]) == (2, 1, "bid")
    now = {"id": placed[0]["id"], "slot": 41, "side": "S", "price": 600, "volume": 1}
    assert changed["data"] == {"event": "changed", "deliveryDate": india_day(1), "seq": seq, "bids": [now]}
    seq = await withdraw(client, household, placed[0]["id"])
    gone = await wire.next()
    assert (gone["seq"], gone["prev"]) == (3, 2)
    assert gone["data"] == {"event": "withdrawn", "deliveryDate": india_day(1), "seq": seq, "bids": [now]}
    await withdraw(client, household, placed[1]["id"])
    assert (await wire.next())["data"]["bids"] == [in_ticks(placed[1], "S", 1)]


async def test_a_buyers_bids_of_any_day_are_told(client: Client) -> None:
    household = await sign_up(client, "consumer")
    wire, _ = await follow(client, household)
    for number, ahead in enumerate((3, 1, 7, 3), start=1):
        await place(client, household, bid(), deliveryDate=india_day(ahead))
        message = await wire.next()
        assert (message["seq"], message["data"]["deliveryDate"]) == (number, india_day(ahead))
        assert message["data"]["bids"][0]["side"] == "B"


async def test_every_request_is_a_message_of_its_own(make_client: MakeClient) -> None:
    """Never merged, however many come at once."""
    client = await make_client()
    household = await sign_up(client)
    wire, ok = await follow(client, household)
    answers = await asyncio.gather(*(place(client, household, bid(), bid()) for _ in range(40)))
    kept = OwnMessages()
    kept.begin(ok)
    for _ in range(40):
        kept.apply(await wire.next("me"))
    assert [message["data"]["seq"] for message in kept.messages] == sorted(answer["seq"] for answer in answers)
    told = {b["id"] for message in kept.messages for b in message["data"]["bids"]}
    assert told == {b["id"] for answer in answers for b in answer["bids"]}
    await wire.quiet()


async def test_nobody_else_is_told(client: Client) -> None:
    household, stranger = await sign_up(client), await sign_up(client)
    other_kind = await sign_up(client, "consumer", household.phone)
    mine, _ = await follow(client, household)
    others = [(await follow(client, holder))[0] for holder in (stranger, other_kind)]
    without = await Wire.open(client, token=household.token)
    await without.subscribe(channel())
    await place(client, household, bid())
    await mine.next("me")
    await without.next("upd")
    await without.next("hb")
    for wire in (*others, without):
        await wire.quiet()
        assert not [text for text in wire.texts if text.startswith('{"t":"me"')]
    await place(client, stranger, bid())
    assert (await others[0].next())["seq"] == 1


async def test_every_socket_of_an_account_is_told(client: Client) -> None:
    household = await sign_up(client)
    wires = [(await follow(client, household))[0] for _ in range(3)]
    await place(client, household, bid())
    messages = [await wire.next() for wire in wires]
    assert messages[0] == messages[1] == messages[2]


async def test_a_repeated_request_is_told_once(client: Client) -> None:
    household = await sign_up(client)
    wire, _ = await follow(client, household)
    body = {"arr": [bid()]}
    for _ in range(3):
        answer = await call(client, "POST", "/placebid/dayahead", body, by=household, headers={"Idempotency-Key": "k"})
        assert answer.status == 200
    refused = await call(client, "POST", "/placebid/dayahead", {"arr": [bid(price="-1")]}, by=household)
    assert refused.status == 400
    await place(client, household, bid("11:00"))
    assert [(await wire.next())["seq"] for _ in range(2)] == [1, 2]
    await wire.quiet()


async def test_what_another_process_did_is_told(make_client: MakeClient) -> None:
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    wire, _ = await follow(here, household)
    placed = (await place(there, household, bid()))["bids"][0]
    assert (await wire.next())["data"]["event"] == "placed"
    await withdraw(there, household, placed["id"])
    message = await wire.next()
    assert (message["seq"], message["data"]["event"]) == (2, "withdrawn")
    assert message["data"]["bids"] == [in_ticks(placed, "S", 41)]


async def test_after_unsubscribe_nothing_more_is_told(client: Client) -> None:
    household = await sign_up(client)
    (wire, _), (other, _) = await follow(client, household), await follow(client, household)
    ok = await wire.ask("unsubscribe", ch="me")
    assert ok == {"t": "ok", "id": ok["id"], "ch": "me"}
    await place(client, household, bid())
    await other.next("me")
    await wire.quiet()


async def report(client: Client, household: Household, readings: list[dict[str, Any]]) -> None:
    """Report readings of yesterday."""
    answer = await call(client, "POST", "/readings", {"date": india_day(-1), "readings": readings}, by=household)
    assert answer.status == 200, answer


async def test_readings_are_told(client: Client) -> None:
    household, buyer = await sign_up(client), await sign_up(client, "consumer")
    (wire, _), (of_buyer, _) = await follow(client, household), await follow(client, buyer)
    first = {"timeslot": "10:00", "solarGeneration": "1.2", "netEnergy": "0.8"}
    await report(client, household, [first, {"timeslot": "00:00", "solarGeneration": "0", "netEnergy": "-0.5"}])
    message = await wire.next()
    assert (message["t"], message["seq"], message["prev"], message["kind"]) == ("me", 1, 0, "reading")
    assert message["data"]["date"] == india_day(-1)
    by_slot = sorted(message["data"]["readings"], key=lambda reading: int(reading["slot"]))
    assert by_slot == [
        {"slot": 1, "revision": 1, "solarGeneration": 0, "netEnergy": -500, "deviation": None},
        {"slot": 41, "revision": 1, "solarGeneration": 1200, "netEnergy": 800, "deviation": None},
    ]
    await place(client, household, bid())
    assert (await wire.next())["seq"] == 2
    await report(client, household, [first])
    await report(client, household, [{**first, "netEnergy": "0.9"}])
    message = await wire.next()
    assert message["seq"] == 3, "what was known already changed nothing"
    (corrected,) = message["data"]["readings"]
    assert (corrected["revision"], corrected["netEnergy"]) == (2, 900)
    await report(client, buyer, [{"timeslot": "10:00", "energyConsumption": "0.4"}])
    (reading,) = (await of_buyer.next())["data"]["readings"]
    assert reading == {"slot": 41, "revision": 1, "energyConsumption": 400, "deviation": None}


async def test_own_messages_add_up_to_the_own_bids(client: Client) -> None:
    household = await sign_up(client)
    wire, _ = await follow(client, household)
    ids = [b["id"] for b in (await place(client, household, *(bid(str(slot)) for slot in range(1, 13))))["bids"]]
    for number, bid_id in enumerate(ids):
        if number % 3 == 0:
            await withdraw(client, household, bid_id)
        elif number % 3 == 1:
            await amend(client, household, bid_id, price="9")
    known: dict[int, tuple[dict[str, Any], str]] = {}
    for _ in range(9):
        data = (await wire.next("me"))["data"]
        for told in data["bids"]:
            known[told["id"]] = (told, "withdrawn" if data["event"] == "withdrawn" else "open")
    listed = {b["id"]: (in_ticks(b, "S", known[b["id"]][0]["slot"]), b["status"]) for b in await own(client, household)}
    assert known == listed
