"""The auction on the feed: `cleared` on the book's channel, a trade event on each account's (rules 1, 5, 12)."""

from datetime import date, timedelta

from market.bid_ids import bid_id
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, place, sign_up
from tests.feed_book import FeedBook, Message
from tests.feed_documents import documented_as
from tests.feed_sources import book_of, withdraw
from tests.feed_wire import Wire
from tests.handlers.test_gate_races import cleared_book, gate_in

AHEAD_S = 2.0


async def trade_until_the_gate(make_client: MakeClient) -> tuple[Client, Household, Household, date]:
    """A day with 3 kWh bought of 4 kWh offered at 10:00, and a bid that finds no partner at 12:00."""
    first = await make_client()
    seller, buyer = await sign_up(first, "prosumer"), await sign_up(first, "consumer")
    closure, day, _ = gate_in(AHEAD_S)
    client = await make_client(market={"gate_closure": closure})
    pinned = day.isoformat()
    await place(client, seller, bid("10:00", "1", "4.00"), bid("10:00", "3", "4.20"), deliveryDate=pinned)
    await place(client, buyer, bid("10:00", "3", "4.60"), bid("12:00", "1", "9.99"), deliveryDate=pinned)
    return client, seller, buyer, day


async def test_what_was_cleared_is_told_with_the_slots_of_the_filter(make_client: MakeClient) -> None:
    client, seller, _, day = await trade_until_the_gate(make_client)
    whole, filtered, other = [await Wire.open(client, token=seller.token) for _ in range(3)]
    ok, snap = await whole.subscribe(f"book:{day}")
    await filtered.subscribe(f"book:{day}", slots=[41])
    await other.subscribe(f"book:{day}", slots=[49])
    book = FeedBook()
    book.apply(snap)
    gate, cleared = await whole.next("gate"), await whole.next()
    # 3 kWh clear: 1 at 4.00 and 2 of the 3 at 4.20, which then sets the price from both ends.
    expected = {"t": "cleared", "ch": f"book:{day}", "ep": ok["ep"], "prev": 5, "seq": 6, "slots": [[41, 420, 3000]]}
    assert (gate["seq"], cleared) == (5, expected)
    assert documented_as(cleared) == ["cleared"]
    assert book.apply(gate)
    assert book.apply(cleared)
    assert await filtered.next("cleared") == expected
    assert await other.next("cleared") == {**expected, "slots": []}
    shown = await cleared_book(client, seller, day)
    assert (shown["seq"], shown["lv"], shown["ind"]) == (6, book.levels, [[41, 420, 3000]])
    # Whoever comes later is led there the same way, also by a process that read the day anew.
    later = await make_client(market={"gate_closure": "24:00"})
    for server in (client, later):
        wire = await Wire.open(server, token=seller.token)
        again = await wire.ask("subscribe", ch=f"book:{day}", since={"ep": ok["ep"], "seq": 5})
        assert (again["recovered"], again["seq"]) == (True, 6)
        assert await wire.next() == expected
        assert {**await book_of(server, seller, str(day)), "gate": shown["gate"]} == shown


def traded(event: Message) -> list[tuple[int, str, int, int]]:
    """Slot, side, price and filled volume of each trade of an event."""
    return [(one["slot"], one["side"], one["price"], one["volume"]) for one in event["data"]["trades"]]


async def test_each_account_that_took_part_is_told_once_what_it_was_given(make_client: MakeClient) -> None:
    client, seller, buyer, day = await trade_until_the_gate(make_client)
    bystander, quitter = await sign_up(client), await sign_up(client)
    placed = await place(client, quitter, bid("10:00", "1", "4"), deliveryDate=day.isoformat())
    await withdraw(client, quitter, placed["bids"][0]["id"])
    wires, seqs = [], []
    for household in (seller, buyer, bystander, quitter):
        wires.append(await Wire.open(client, token=household.token))
        seqs.append((await wires[-1].ask("subscribe", ch="me"))["seq"])
    assert seqs == [1, 1, 0, 2]
    sold, bought = [await wire.next("me", within_s=8) for wire in wires[:2]]
    assert documented_as(sold) == documented_as(bought) == ["ownTrades"]
    assert (sold["seq"], sold["prev"], sold["kind"]) == (2, 1, "trade")
    for event in (sold, bought):
        assert (event["data"]["deliveryDate"], event["data"]["seq"]) == (day.isoformat(), 8), "the gate's is 7"
    assert traded(sold) == [(41, "S", 420, 1000), (41, "S", 420, 2000)]
    assert traded(bought) == [(41, "B", 420, 3000)], "the other was rejected, and is not named"
    ids = [bid_id(day, number) for number in (1, 2, 3)]
    assert [one["id"] for one in sold["data"]["trades"] + bought["data"]["trades"]] == ids
    # Nobody else hears of it, and nobody hears of it twice.
    for wire in wires:
        await wire.quiet()
    # It is replayed like any other event.
    for household, event in ((seller, sold), (buyer, bought)):
        wire = await Wire.open(client, token=household.token)
        again = await wire.ask("subscribe", ch="me", since={"ep": event["ep"], "seq": 0})
        assert (again["recovered"], again["seq"]) == (True, 2)
        assert [(await wire.next("me"))["kind"], await wire.next("me")] == ["bid", event]


async def test_an_account_whose_bids_were_all_rejected_is_told_so(make_client: MakeClient) -> None:
    first = await make_client()
    seller = await sign_up(first)
    closure, day, _ = gate_in(1.0)
    client = await make_client(market={"gate_closure": closure})
    wire = await Wire.open(client, token=seller.token)
    await wire.ask("subscribe", ch="me")
    await place(client, seller, bid(), deliveryDate=day.isoformat())
    await place(client, seller, bid(), deliveryDate=(day + timedelta(days=1)).isoformat())
    assert [(await wire.next("me"))["seq"] for _ in range(2)] == [1, 2]
    event = await wire.next("me", within_s=8)
    assert (event["seq"], event["kind"]) == (3, "trade")
    assert event["data"] == {"deliveryDate": day.isoformat(), "seq": 3, "trades": []}
    await wire.quiet()
