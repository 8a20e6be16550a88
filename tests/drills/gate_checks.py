"""What must hold once a delivery day is cleared, of what anybody can see of it from outside.

What lives here: the rules of the book's end and of the auction, as comparisons of answers; every disagreement becomes a
sentence. What must not: a request, a look into the database, or anything of the server's own auction: what is wrong
there must not be wrong here too.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from market.bid_ids import split_bid_id
from tests.drills.gate_bidding import Bidder
from tests.drills.households import levels_of, slot_of
from tests.feed_book import OwnMessages
from tests.feed_client import FeedClient

_SHOWN = ("timeslot", "side", "volume", "price")


@dataclass(slots=True)
class Account:
    """A household's bids and trades of the day, as REST lists them."""

    bids: list[dict[str, Any]]
    trades: list[dict[str, Any]]
    totals: dict[str, str]


@dataclass(slots=True)
class Ended:
    """Everything that the API shows of a day that has been cleared, accounts in the order of their bidders."""

    results: dict[str, Any]
    book: dict[str, Any]
    accounts: list[Account]


def ticks(text: str) -> int:
    """A decimal text of a fixed number of decimals, as a whole number of its last place."""
    return int(text.replace(".", ""))


def faults_of(ended: Ended, bidders: Sequence[Bidder], day: str) -> list[str]:
    """All disagreements, between what was acknowledged and what stands, and within what stands."""
    found = [fault for bidder in bidders for fault in bidder.faults]
    extra: list[int] = []
    for number, (account, bidder) in enumerate(zip(ended.accounts, bidders, strict=True)):
        found += (f"household {number}: {fault}" for fault in _of_bids(account, bidder, day, extra))
        found += (f"household {number}: {fault}" for fault in _of_trades(account))
    found += _of_log(ended, [*extra, *(seq for bidder in bidders for seq in bidder.seqs.get(day, []))])
    found += _of_slots(ended)
    found += _of_money(ended)
    return found


def faults_of_feed(ended: Ended, watching: Sequence[FeedClient]) -> Iterator[str]:
    """Every subscriber saw the gate and the auction once, over all its connections, and nothing that is not so.
    Subscribers with their own data are of the first accounts, in their order."""
    last = ended.results["seq"]
    cleared = [
        [number, ticks(slot["clearingPrice"]), ticks(slot["clearedVolume"])]
        for number, slot in enumerate(ended.results["slots"], start=1)
        if slot["clearingPrice"] is not None
    ]
    owners = iter(ended.accounts)
    for number, watcher in enumerate(watching):
        book, counts = watcher.book, watcher.counts
        yield from (f"subscriber {number}: {fault}" for fault in watcher.faults)
        if (counts["gate"], counts["cleared"], counts["not recovered"]) != (1, 1, 0):
            yield f"subscriber {number} saw {counts}"
        if (book.state, book.seq) != ("cleared", last):
            yield f"subscriber {number} stands at {book.seq} of {last}, {book.state}"
        covered = set(book.covered)
        if book.results != [slot for slot in cleared if slot[0] in covered]:
            yield f"subscriber {number} was told of other results: {book.results}"
        if book.levels != [level for level in ended.book["lv"] if level[0] in covered]:
            yield f"subscriber {number} has another book"
        if watcher.own is not None:
            yield from (f"subscriber {number}: {fault}" for fault in _of_own(watcher.own, next(owners), last))


def _of_own(own: OwnMessages, account: Account, last: int) -> Iterator[str]:
    """One event of the account's own, with all its trades."""
    told = [message["data"] for message in own.messages if message["kind"] == "trade"]
    if len(told) != 1:
        yield f"{len(told)} trade events"
        return
    side = {"buy": "B", "sell": "S"}
    expected = [
        {
            "id": trade["id"],
            "slot": slot_of(trade),
            "side": side[trade["side"]],
            "price": ticks(trade["price"]),
            "volume": ticks(trade["volume"]),
        }
        for trade in account.trades
    ]
    if told[0]["seq"] != last or told[0]["trades"] != expected:
        yield f"the trade event is of {told[0]['seq']} and does not say what the {len(expected)} trades are"


def _of_bids(account: Account, bidder: Bidder, day: str, extra: list[int]) -> Iterator[str]:
    """Every acknowledged bid once and in its last acknowledged state; nothing else but placements that nobody answered,
    each whole. The numbers of these go to `extra`."""
    listed = {bid["id"]: bid for bid in account.bids}
    if len(listed) != len(account.bids):
        yield "a bid is listed twice"
    acknowledged = {number: bid for number, bid in bidder.acknowledged.items() if bid["deliveryDate"] == day}
    for number, bid in acknowledged.items():
        shown = listed.get(number)
        if shown is None:
            yield f"bid {number} was acknowledged and is not there"
            continue
        if any(shown[name] != bid[name] for name in _SHOWN):
            yield f"bid {number} was acknowledged as {bid} and is {shown}"
        if (shown["status"] == "withdrawn") != (bid["status"] == "withdrawn"):
            yield f"bid {number} was {bid['status']} when its gate closed and is {shown['status']}"
    unknown = [bid for bid in account.bids if bid["id"] not in acknowledged]
    extra += [named[1] for bid in unknown if (named := split_bid_id(bid["id"]))]
    unanswered = [[(arr["timeslot"], arr["volume"], arr["price"]) for arr in body["arr"]] for body in bidder.unanswered]
    while unknown:
        # The longest first: one placement may begin as another whole one does.
        whole = next((one for one in sorted(unanswered, key=len, reverse=True) if _begins_with(unknown, one)), None)
        if whole is None:
            yield f"bid {unknown[0]['id']} stands, and was refused, or is part of what nobody acknowledged"
            return
        unanswered.remove(whole)
        del unknown[: len(whole)]


def _begins_with(bids: Sequence[dict[str, Any]], placement: Sequence[tuple[int, str, str]]) -> bool:
    first = bids[: len(placement)]
    ids = [bid["id"] for bid in first]
    return ids == list(range(ids[0], ids[0] + len(placement))) and [
        (slot_of(bid), bid["volume"], bid["price"]) for bid in first
    ] == list(placement)


def _of_log(ended: Ended, seqs: Sequence[int]) -> Iterator[str]:
    """The numbers of all events that anybody knows of, the gate and the auction are 1, 2, 3, ...; the book is the sum
    of the bids that stand."""
    results, book = ended.results, ended.book
    last = results["seq"]
    if (results["state"], book["state"], book["seq"]) != ("cleared", "cleared", last):
        yield f"cleared by event {last}, and the book is {book['state']} at {book['seq']}"
    times = Counter([*seqs, last - 1, last])
    repeated = [seq for seq, number in times.items() if number > 1]
    unknown = set(range(1, last + 1)) ^ times.keys()
    if repeated or unknown:
        yield f"of {last} events {sorted(repeated)[:5]} are told more than once, {sorted(unknown)[:5]} by nobody"
    levels = {tuple(level[:3]): tuple(level[3:]) for level in book["lv"]}
    if levels != levels_of(bid for account in ended.accounts for bid in _standing(account)):
        yield "the book is not the sum of the bids that stand"


def _of_slots(ended: Ended) -> Iterator[str]:
    """All 96, each with what was offered, and every bid with a fill that its price earns it; fills add up."""
    slots = ended.results["slots"]
    if [slot_of(slot) for slot in slots] != list(range(1, 97)):
        yield f"the results have the slots {[slot['timeslot'] for slot in slots]}"
        return
    offered: Counter[tuple[int, str]] = Counter()
    bids: Counter[tuple[int, str]] = Counter()
    filled: Counter[tuple[int, str]] = Counter()
    for account in ended.accounts:
        for bid in account.bids:
            slot = slot_of(bid)
            yield from _of_fill(bid, slots[slot - 1]["clearingPrice"])
            if bid["status"] != "withdrawn":
                offered[slot, bid["side"]] += ticks(bid["volume"])
                bids[slot, bid["side"]] += 1
                filled[slot, bid["side"]] += ticks(bid["filledVolume"])
    for number, slot in enumerate(slots, start=1):
        cleared = ticks(slot["clearedVolume"])
        for side in ("buy", "sell"):
            key, shown = (number, side), (ticks(slot[f"{side}Volume"]), slot[f"{side}Bids"])
            if shown != (offered[key], bids[key]):
                yield f"slot {number}: {side}s of {shown}, and {(offered[key], bids[key])} stand"
            if filled[key] != cleared:
                yield f"slot {number}: {side}s are filled {filled[key]}, and {cleared} cleared"
        if (slot["clearingPrice"] is None) != (cleared == 0):
            yield f"slot {number}: {cleared} cleared at {slot['clearingPrice']}"


def _of_fill(bid: dict[str, Any], price: str | None) -> Iterator[str]:
    """A bid's status says its fill; nobody pays above or gets below the limit, and nobody strictly in the money is left
    out."""
    filled, volume, status = ticks(bid["filledVolume"]), ticks(bid["volume"]), bid["status"]
    if status == "withdrawn":
        if filled or bid["clearingPrice"] is not None:
            yield f"a withdrawn bid took part: {bid}"
        return
    expected = "rejected" if filled == 0 else "cleared" if filled == volume else "partly cleared"
    if status != expected or not 0 <= filled <= volume or bid["clearingPrice"] != price:
        yield f"a bid that should be {expected} at {price}: {bid}"
    if price is None:
        return
    inside = (ticks(bid["price"]) - ticks(price)) * (1 if bid["side"] == "buy" else -1)
    if (inside < 0 and filled) or (inside > 0 and filled != volume):
        yield f"the price {price} and the limit do not go with the fill: {bid}"


def _of_trades(account: Account) -> Iterator[str]:
    """A trade for each filled bid, at the price of its slot; every amount is price x volume exactly."""
    expected = {
        bid["id"]: (bid["timeslot"], bid["side"], bid["filledVolume"], bid["clearingPrice"])
        for bid in account.bids
        if ticks(bid["filledVolume"])
    }
    traded = {
        trade["id"]: (trade["timeslot"], trade["side"], trade["volume"], trade["price"]) for trade in account.trades
    }
    if traded != expected or len(traded) != len(account.trades):
        yield f"{len(account.trades)} trades do not agree with {len(expected)} filled bids"
    for trade in account.trades:
        if ticks(trade["amount"]) != ticks(trade["price"]) * ticks(trade["volume"]):
            yield f"the amount is not price x volume: {trade}"
    sums = tuple(sum(ticks(trade[name]) for trade in account.trades) for name in ("volume", "amount"))
    if sums != (ticks(account.totals["volume"]), ticks(account.totals["amount"])):
        yield f"trades of {sums} have the totals {account.totals}"


def _of_money(ended: Ended) -> Iterator[str]:
    """What buyers pay is what sellers get is what the results say, slot by slot."""
    paid: Counter[tuple[int, str]] = Counter()
    for account in ended.accounts:
        for trade in account.trades:
            paid[slot_of(trade), trade["side"]] += ticks(trade["amount"])
    turnover = cleared = 0
    for number, slot in enumerate(ended.results["slots"], start=1):
        volume = ticks(slot["clearedVolume"])
        worth = volume * ticks(slot["clearingPrice"] or "0")
        turnover, cleared = turnover + worth, cleared + volume
        if not paid[number, "buy"] == paid[number, "sell"] == worth:
            yield f"slot {number}: paid {paid[number, 'buy']}, received {paid[number, 'sell']}, worth {worth}"
    totals = ended.results["totals"]
    if (ticks(totals["turnover"]), ticks(totals["clearedVolume"])) != (turnover, cleared):
        yield f"the slots come to {turnover} and {cleared}, and the totals are {totals}"


def _standing(account: Account) -> list[dict[str, Any]]:
    return [bid for bid in account.bids if bid["status"] != "withdrawn"]
