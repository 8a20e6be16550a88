"""The gate drill at the size of a test, and the proof that it would notice what it looks for."""

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from market.bid_ids import bid_id
from market.calendar import Calendar, parse_gate_closure
from market.slots import SLOTS, format_slot
from tests.drills import gate
from tests.drills.gate import Plan
from tests.drills.gate_bidding import Asked, Bidder, Session, Told, gate_ahead
from tests.drills.gate_checks import Account, Ended, faults_of, faults_of_feed
from tests.drills.households import Household
from tests.feed_book import OwnMessages
from tests.feed_client import FeedClient, Wanted

DAY, NEXT_DAY = "2026-11-23", "2026-11-24"
GATE_S = 1_795_000_000.0
SLOT = 41
LAST = 6


@pytest.mark.timeout(120)
async def test_a_day_is_cleared_once_however_the_server_is_killed_around_its_gate(tmp_path: Path) -> None:
    report = await gate.run(Plan(5, kills=3, households=6, race=200, after_s=1, seed=5), tmp_path)
    assert report.faults == []
    assert report.kills.total() == 3
    assert report.kills["all"] >= 1
    assert min(report.counts["acknowledged"], report.counts["refused"], report.counts["retries"]) > 0
    assert report.cleared > 0
    assert report.of_clients["recovered"] > 0


@pytest.mark.timeout(120)
async def test_each_of_a_thousand_placements_that_race_the_gate_is_in_the_auction_or_refused(tmp_path: Path) -> None:
    report = await gate.run(Plan(4, kills=0, households=6, workers=2, race=1000, after_s=1), tmp_path)
    assert report.faults == []
    assert min(report.counts["acknowledged"], report.counts["refused"]) > 100
    assert report.counts["retries"] == report.counts["unanswered"] == 0
    assert report.cleared > 0


@pytest.mark.parametrize("seconds", [8.0, 12 * 3600.0, 24 * 3600.0 - 2])
def test_a_gate_ahead_closes_the_day_that_is_open_now(seconds: float) -> None:
    closure, session = gate_ahead(seconds)
    assert Calendar(parse_gate_closure(closure)).gate_at(date.fromisoformat(session.day)).timestamp() == session.gate_s
    assert (date.fromisoformat(session.next_day) - date.fromisoformat(session.day)).days == 1


@dataclass(frozen=True, slots=True)
class Market:
    """A buyer, a seller who withdrew one of two bids, what their day came to, and who watched."""

    bidders: list[Bidder]
    ended: Ended
    watcher: FeedClient

    def faults(self) -> str:
        return "\n".join([*faults_of(self.ended, self.bidders, DAY), *faults_of_feed(self.ended, [self.watcher])])

    def told(self, bidder: int, status: int, *, begun: float, came: float, method: str = "POST", **body: Any) -> None:
        """What a bidder was told, so many seconds from the gate, of a request with that body."""
        asked = Asked(method, "/bids", body, "key")
        told = Told(status, {}, GATE_S + begun, GATE_S + came)
        self.bidders[bidder]._is_acknowledged(asked, told, body.get("deliveryDate", NEXT_DAY))


def _bid(seq: int, side: str, volume: str, price: str, status: str, filled: str = "0.000") -> dict[str, Any]:
    return {
        "id": bid_id(date.fromisoformat(DAY), seq),
        "deliveryDate": DAY,
        "timeslot": format_slot(SLOT),
        "side": side,
        "volume": volume,
        "price": price,
        "status": status,
        "filledVolume": filled,
        "clearingPrice": None if status in ("open", "withdrawn") else "4.37",
    }


def _account(*bids: dict[str, Any]) -> Account:
    trade = {
        "id": bids[0]["id"],
        "timeslot": format_slot(SLOT),
        "side": bids[0]["side"],
        "volume": "2.000",
        "price": "4.37",
        "amount": "8.74000",
    }
    return Account(list(bids), [trade], {"volume": "2.000", "amount": "8.74000"})


def _results() -> dict[str, Any]:
    empty = {"clearingPrice": None, "clearedVolume": "0.000", "buyVolume": "0.000", "sellVolume": "0.000"}
    slots = [{"timeslot": format_slot(slot), **empty, "buyBids": 0, "sellBids": 0} for slot in range(1, SLOTS + 1)]
    slots[SLOT - 1] |= {"clearingPrice": "4.37", "clearedVolume": "2.000", "buyVolume": "2.000", "sellVolume": "2.500"}
    slots[SLOT - 1] |= {"buyBids": 1, "sellBids": 1}
    totals = {"clearedVolume": "2.000", "turnover": "8.74000"}
    return {"state": "cleared", "seq": LAST, "slots": slots, "totals": totals}


async def _watcher(account: Account) -> FeedClient:
    async with aiohttp.ClientSession() as nowhere:
        watcher = FeedClient(nowhere, None, Wanted(f"book:{DAY}"), with_own=True)
    begin = {"ch": f"book:{DAY}", "ep": "k3f9"}
    levels = [[SLOT, "B", 450, 2000, 1], [SLOT, "S", 437, 2500, 1]]
    crc = zlib.crc32(b"B,450,2000,1;S,437,2500,1;")
    for message in (
        {
            "t": "snap",
            "seq": 0,
            "gate": "",
            "state": "open",
            "ticks": {},
            "lv": [],
            "ind": [],
            "crc": zlib.crc32(bytes(384)),
        },
        {"t": "upd", "prev": 0, "seq": 4, "lv": levels, "ind": [[SLOT, 437, 2000]], "cs": {str(SLOT): crc}},
        {"t": "gate", "prev": 4, "seq": 5, "state": "closed"},
        {"t": "cleared", "prev": 5, "seq": 6, "slots": [[SLOT, 437, 2000]]},
    ):
        watcher.book.apply({**begin, **message})
        watcher.counts[str(message["t"])] += 1
    assert watcher.own is not None
    watcher.own.begin({"ep": "u1", "seq": 3})
    trades = [{"id": account.trades[0]["id"], "slot": SLOT, "side": "B", "price": 437, "volume": 2000}]
    data = {"deliveryDate": DAY, "seq": LAST, "trades": trades}
    watcher.own.apply({"t": "me", "ep": "u1", "prev": 3, "seq": 4, "kind": "trade", "data": data})
    return watcher


@pytest.fixture
async def market() -> Market:
    session = Session(DAY, NEXT_DAY, GATE_S)
    bidders = [Bidder(Household("", side), session, random.Random(1)) for side in ("buy", "sell")]
    placed = [_bid(1, "buy", "2.000", "4.50", "open"), _bid(2, "sell", "2.500", "4.37", "open")]
    withdrawn = _bid(3, "sell", "1.000", "4.00", "withdrawn")
    for bidder, bids, seqs in zip(bidders, (placed[:1], [placed[1], withdrawn]), ([1], [2, 3, 4]), strict=True):
        bidder.acknowledged |= {bid["id"]: bid for bid in bids}
        bidder.seqs[DAY] = seqs
    buyer = _account(_bid(1, "buy", "2.000", "4.50", "cleared", "2.000"))
    seller = _account(_bid(2, "sell", "2.500", "4.37", "partly cleared", "2.000"), dict(withdrawn))
    levels = [[SLOT, "B", 450, 2000, 1], [SLOT, "S", 437, 2500, 1]]
    ended = Ended(_results(), {"state": "cleared", "seq": LAST, "lv": levels}, [buyer, seller])
    made = Market(bidders, ended, await _watcher(buyer))
    assert made.faults() == ""
    return made


def _slot(market: Market) -> dict[str, Any]:
    found: dict[str, Any] = market.ended.results["slots"][SLOT - 1]
    return found


def _buy(market: Market) -> dict[str, Any]:
    return market.ended.accounts[0].bids[0]


def _sell(market: Market) -> dict[str, Any]:
    return market.ended.accounts[1].bids[0]


def _own(market: Market) -> OwnMessages:
    assert market.watcher.own is not None
    return market.watcher.own


TAMPERED: list[tuple[Callable[[Market], object], str]] = [
    # What was told at the gate.
    (lambda m: m.told(0, 200, begun=0.01, came=0.02, deliveryDate=DAY), "was accepted; it began 0.010 s after"),
    (lambda m: m.told(0, 409, begun=-0.2, came=-0.1, deliveryDate=DAY), "was refused -0.100 s from the gate"),
    (lambda m: m.told(0, 409, begun=0.1, came=0.2), "was refused +0.200 s from the gate"),
    (lambda m: m.told(0, 200, begun=-0.2, came=-0.1), "was accepted -0.100 s from the gate of the day before"),
    # What became of it.
    (lambda m: m.ended.accounts[0].bids.clear(), "was acknowledged and is not there"),
    (lambda m: m.ended.accounts[0].bids.append(_buy(m)), "a bid is listed twice"),
    (lambda m: _buy(m).update(price="4.60"), "was acknowledged as"),
    (lambda m: m.ended.accounts[1].bids[1].update(status="rejected", clearingPrice="4.37"), "was withdrawn when its"),
    (lambda m: m.bidders[0].acknowledged.clear(), "was refused, or is part of what nobody acknowledged"),
    (lambda m: m.bidders[0].seqs[DAY].append(2), "[2] are told more than once"),
    (lambda m: m.bidders[1].seqs[DAY].remove(4), "[4] by nobody"),
    (lambda m: m.ended.results.update(seq=LAST + 1), "cleared by event 7, and the book is cleared at 6"),
    (lambda m: m.ended.book.update(state="closed"), "the book is closed at 6"),
    (lambda m: m.ended.book["lv"].pop(), "not the sum of the bids that stand"),
    # The auction.
    (lambda m: m.ended.results["slots"].pop(), "the results have the slots"),
    (lambda m: _slot(m).update(buyBids=2), "slot 41: buys of (2000, 2), and (2000, 1) stand"),
    (lambda m: _slot(m).update(clearedVolume="2.001"), "slot 41: buys are filled 2000, and 2001 cleared"),
    (lambda m: _sell(m).update(filledVolume="1.999"), "slot 41: sells are filled 1999, and 2000 cleared"),
    (lambda m: _slot(m).update(clearingPrice=None), "2000 cleared at None"),
    (lambda m: _sell(m).update(status="cleared"), "a bid that should be partly cleared at 4.37"),
    (lambda m: _buy(m).update(filledVolume="0.000", status="rejected"), "the price 4.37 and the limit do not go"),
    (lambda m: _buy(m).update(price="4.36"), "the price 4.37 and the limit do not go"),
    (lambda m: m.ended.accounts[1].bids[1].update(filledVolume="0.001"), "a withdrawn bid took part"),
    # Money.
    (lambda m: m.ended.accounts[0].trades.clear(), "0 trades do not agree with 1 filled bids"),
    (lambda m: m.ended.accounts[0].trades.append(m.ended.accounts[0].trades[0]), "2 trades do not agree with 1"),
    (lambda m: m.ended.accounts[0].trades[0].update(amount="8.74001"), "the amount is not price x volume"),
    (lambda m: m.ended.accounts[1].totals.update(amount="8.75000"), "have the totals"),
    (lambda m: m.ended.accounts[1].trades.clear(), "slot 41: paid 874000, received 0, worth 874000"),
    (lambda m: m.ended.results["totals"].update(turnover="8.73000"), "and the totals are"),
    # The feed.
    (lambda m: m.watcher.faults.append("Gap: at 5, then 7"), "subscriber 0: Gap: at 5, then 7"),
    (lambda m: m.watcher.counts.update(["cleared"]), "subscriber 0 saw Counter"),
    (lambda m: m.watcher.counts.update(["not recovered"]), "subscriber 0 saw Counter"),
    (lambda m: setattr(m.watcher.book, "seq", 5), "subscriber 0 stands at 5 of 6"),
    (lambda m: setattr(m.watcher.book, "results", [[SLOT, 436, 2000]]), "was told of other results"),
    (lambda m: m.ended.book["lv"].pop(), "subscriber 0 has another book"),
    (lambda m: _own(m).messages.clear(), "0 trade events"),
    (lambda m: _own(m).messages.append(_own(m).messages[0]), "2 trade events"),
    (lambda m: _own(m).messages[0]["data"]["trades"][0].update(price=436), "does not say what the 1 trades are"),
]


@pytest.mark.parametrize(("tamper", "words"), TAMPERED, ids=[words for _, words in TAMPERED])
def test_the_drill_notices(market: Market, tamper: Callable[[Market], object], words: str) -> None:
    tamper(market)
    assert words in market.faults()


def _forget(market: Market, *placements: int) -> None:
    """The buyer's bid was never acknowledged: it is of a placement of so many that nobody answered."""
    market.bidders[0].acknowledged.clear()
    market.bidders[0].seqs.clear()
    for size in placements:
        bid = {"timeslot": SLOT, "volume": "2.000", "price": "4.50"}
        market.bidders[0].unanswered.append({"arr": [bid] * size})


def test_the_drill_forgives_a_placement_without_an_answer_that_stands_whole(market: Market) -> None:
    _forget(market, 2, 1)
    assert market.faults() == ""


def test_the_drill_notices_half_a_placement(market: Market) -> None:
    _forget(market, 2)
    assert "is part of what nobody acknowledged" in market.faults()
