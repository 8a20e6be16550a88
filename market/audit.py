"""The results of a cleared day, worked out a second time from its log and held against the tables, to the tick.

What lives here: the comparison of slots, fills and positions, and the properties that results have whatever worked them
out. What must not: how a slot is worked out (audit_auction.py), the log (audit_replay.py), the book (audit_book.py),
anything of the code that clears.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from market.audit_auction import Offer, WorkedOut, work_out
from market.audit_replay import Replay
from market.audit_rows import ClearedSlot, Fill, Position, name_bid
from market.clearing import PriceRule
from market.slots import SLOT_NAMES, SLOTS


@dataclass(slots=True)
class Totals:
    """What the day came to by the log alone: slots that cleared, volume (ticks), price x volume (price ticks x volume
    ticks), bids that were filled."""

    slots: int = 0
    volume: int = 0
    turnover: int = 0
    fills: int = 0


class ResultAudit:
    """Compares results with a replay that is at its end; every disagreement becomes one of the replay's findings.

    In this order: `cleared_day`, every row of fills, `settle` with the rows of cleared_slots, every row of
    cleared_positions, `end`.
    """

    def __init__(self, replay: Replay, rule: PriceRule) -> None:
        self.totals = Totals()
        self._replay = replay
        self._findings = replay.findings
        self._rule = rule
        # By the bid's place: what the table says, and what the log comes to.
        self._recorded = array("q", bytes(8 * len(replay.bids)))
        self._filled = array("q", bytes(8 * len(replay.bids)))
        # The bids of the auction by account and slot, and whose they are.
        self._order = array("q")
        self._owners = array("q")
        self._positioned: set[int] = set()

    def cleared_day(self, seq: int | None) -> None:
        """The event that cleared_days names; None where it has no row of the day."""
        clear = self._replay.clear
        if clear is None:
            self._findings.add("there are results, and the log has no event of a clearing")
        elif seq is None:
            self._findings.add(f"cleared_days lacks the day, which event {clear.first_seq} cleared")
        elif seq != clear.first_seq:
            self._findings.add(f"cleared_days names event {seq}, and event {clear.first_seq} cleared the day")

    def fill(self, row: Fill) -> None:
        """A row of fills."""
        bids = self._replay.bids
        place = bids.find(row.bid_seq)
        if place is None:
            self._findings.add(f"{self._name(row.bid_seq)} was filled {row.volume}, and the log does not have it")
        elif bids.is_withdrawn[place]:
            self._findings.add(f"{self._name(row.bid_seq)} was filled {row.volume}, and was withdrawn before the gate")
        else:
            self._recorded[place] = row.volume

    def settle(self, rows: Iterable[ClearedSlot]) -> None:
        """Work all slots out, and compare them with the rows of cleared_slots and the fills that came before."""
        recorded = {row.slot: row for row in rows}
        announced = self._announced()
        places = self._places()
        for slot in range(1, SLOTS + 1):
            buys, sells = (self._offers(side) for side in places[slot])
            result = work_out(buys, sells, self._rule)
            self._add_up(result)
            row = recorded.get(slot)
            if row is None:
                self._findings.add(f"{_slot(slot)}: cleared_slots has no row")
            else:
                self._compare_slot(row, result, buys, sells)
                self._check_properties(row, buys, sells)
            if announced is not None:
                self._compare_announced(slot, announced.get(slot), result)
            for offer in (*buys, *sells):
                self._compare_fill(offer, result.fills.get(offer.place, 0))

    def position(self, row: Position) -> None:
        """A row of cleared_positions."""
        self._sort_by_account()
        account = self._replay.accounts.get(row.account_id)
        first, end = bisect_left(self._owners, row.account_id), bisect_right(self._owners, row.account_id)
        if first == end or account is None:
            self._findings.add(f"account {row.account_id} has a position, and no bid in the auction")
            return
        self._positioned.add(row.account_id)
        expected: Counter[int] = Counter()
        for place in self._order[first:end]:
            if self._filled[place]:
                expected[self._replay.bids.slots[place]] += self._filled[place]
        if row.slots != sorted(set(row.slots)) or len(row.slots) != len(row.volumes):
            self._findings.add(
                f"account {row.account_id}'s position has the slots {row.slots}, not each once, ascending"
            )
        given = dict(zip(row.slots, row.volumes, strict=False))
        for slot in sorted(given.keys() | expected.keys()):
            if given.get(slot) != expected.get(slot):
                self._findings.add(
                    f"account {row.account_id}'s position has {given.get(slot, 'nothing')} in {_slot(slot)} instead of "
                    f"{expected.get(slot, 'nothing')}"
                )
        if row.account_seq <= account.last_account_seq:
            self._findings.add(
                f"account {row.account_id}'s position has number {row.account_seq} of its own sequence, and its last "
                f"event before has {account.last_account_seq}"
            )

    def taken_number(self, account_id: int, account_seq: int) -> None:
        """A position whose number another event of its account has, or which the account has not reached."""
        self._findings.add(
            f"account {account_id}'s position has number {account_seq} of its own sequence, which is another "
            "event's or beyond its last"
        )

    def end(self) -> None:
        """No more rows come."""
        self._sort_by_account()
        for account_id in sorted(set(self._owners) - self._positioned):
            self._findings.add(f"account {account_id} has a bid in the auction, and no position")

    def _places(self) -> list[tuple["array[int]", "array[int]"]]:
        """By slot: where the buys and the sells that stand are found."""
        bids = self._replay.bids
        places = [(array("q"), array("q")) for _ in range(SLOTS + 1)]
        for place in bids.standing():
            places[bids.slots[place]][bids.is_sell[place]].append(place)
        return places

    def _offers(self, places: "array[int]") -> list[Offer]:
        bids = self._replay.bids
        return [Offer(place, bids.prices[place], bids.volumes[place], bids.priorities[place]) for place in places]

    def _announced(self) -> dict[int, tuple[int, int]] | None:
        """By slot: price and volume that the event of the clearing tells; None where the log has no such event."""
        clear = self._replay.clear
        if clear is None:
            return None
        if clear.slots != sorted(set(clear.slots)):
            self._findings.add(f"event {clear.first_seq} has the slots {clear.slots}, not each once, ascending")
        return dict(zip(clear.slots, zip(clear.prices, clear.volumes, strict=True), strict=True))

    def _compare_announced(self, slot: int, told: tuple[int, int] | None, result: WorkedOut) -> None:
        expected = None if result.price is None else (result.price, result.volume)
        if told != expected:
            self._findings.add(f"{_slot(slot)}: the event of the clearing says {_told(told)}, not {_told(expected)}")

    def _add_up(self, result: WorkedOut) -> None:
        for place, volume in result.fills.items():
            self._filled[place] = volume
        self.totals.fills += len(result.fills)
        if result.price is not None:
            self.totals.slots += 1
            self.totals.volume += result.volume
            self.totals.turnover += result.price * result.volume

    def _compare_slot(self, row: ClearedSlot, result: WorkedOut, buys: list[Offer], sells: list[Offer]) -> None:
        expected = ClearedSlot(
            row.slot,
            result.price,
            result.low,
            result.high,
            result.volume,
            sum(offer.volume for offer in buys),
            sum(offer.volume for offer in sells),
            len(buys),
            len(sells),
        )
        for field, kept, right in zip(ClearedSlot._fields, row, expected, strict=True):
            if kept != right:
                self._findings.add(f"{_slot(row.slot)}: cleared_slots has {field} {kept} instead of {right}")

    def _compare_fill(self, offer: Offer, expected: int) -> None:
        kept = self._recorded[offer.place]
        if kept != expected:
            self._findings.add(
                f"{self._offer(offer)}: fills has {kept or 'nothing'} instead of {expected or 'nothing'}"
            )

    def _check_properties(self, row: ClearedSlot, buys: list[Offer], sells: list[Offer]) -> None:
        """What holds for recorded results whatever they should have been: they balance, nobody trades beyond the limit,
        and nobody strictly in the money is left."""
        bought, sold = (sum(self._recorded[offer.place] for offer in side) for side in (buys, sells))
        if not bought == sold == row.volume:
            self._findings.add(f"{_slot(row.slot)}: {bought} are bought, {sold} are sold, and {row.volume} are cleared")
        if row.price is None:
            return
        for offers, sign in ((buys, 1), (sells, -1)):
            for offer in offers:
                # How much better the limit is than the price.
                gain = sign * (offer.price - row.price)
                filled = self._recorded[offer.place]
                if gain < 0 and filled:
                    self._findings.add(f"{self._offer(offer)} trades at {row.price}, beyond its limit {offer.price}")
                elif gain > 0 and filled < offer.volume:
                    self._findings.add(
                        f"{self._offer(offer)} is not filled whole, and its limit {offer.price} is better than the "
                        f"price {row.price}"
                    )

    def _sort_by_account(self) -> None:
        bids = self._replay.bids
        if not self._order:
            places = sorted(bids.standing(), key=lambda place: bids.accounts[place])
            self._order.extend(places)
            self._owners.extend(bids.accounts[place] for place in places)

    def _offer(self, offer: Offer) -> str:
        bids = self._replay.bids
        return f"{self._name(bids.seqs[offer.place])} in {_slot(bids.slots[offer.place])}"

    def _name(self, seq: int) -> str:
        return name_bid(self._replay.delivery_day, seq)


def _slot(slot: int) -> str:
    return f"slot {slot}, {SLOT_NAMES[slot]}" if 1 <= slot <= SLOTS else f"slot {slot}"


def _told(cleared: tuple[int, int] | None) -> str:
    return f"{cleared[1]} at {cleared[0]}" if cleared else "that nothing cleared"
