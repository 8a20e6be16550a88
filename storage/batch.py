"""What one transaction does to one delivery day's book: decided command by command, in memory, before it is written.

What lives here: the decisions, and the rows they amount to. What must not: any statement or await; the writer loads
what is needed here and writes what comes out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from storage.commands import Amend, Change, Place, Receipt, Withdraw
from storage.errors import AccountGone, BidNotFound, BidNotOpen, GateClosed, LevelFull, TooManyOpenBids

# 2^53 - 1: the largest whole number that every browser holds exactly.
MAX_LEVEL_TICKS = 9_007_199_254_740_991
LevelKey = tuple[int, str, int]


class EventRow(NamedTuple):
    """One row of book_events. A tuple: the rows of a batch turn into the columns of its statement by one zip."""

    first_seq: int
    last_seq: int
    account_id: int | None
    account_seq: int | None
    bid_seq: int | None
    kind: str
    side: str | None
    slots: list[int]
    prices: list[int]
    volumes: list[int]


@dataclass(slots=True)
class HeldBid:
    """A bid as it stands while the batch is decided. `seq` is that of its last change within this batch, else 0."""

    account_id: int
    side: str
    slot: int
    price: int
    volume: int
    is_withdrawn: bool
    seq: int = 0


@dataclass(slots=True)
class HeldAccount:
    """An account while the batch is decided: the number of the last event of its own sequence, and its open bids of
    the delivery day. `first_seq` is that of its first event within this batch, else 0."""

    last_seq: int
    open_bids: int
    first_seq: int = 0

    def take_seq(self) -> int:
        """The number of the account's next event."""
        self.last_seq += 1
        self.first_seq = self.first_seq or self.last_seq
        return self.last_seq


@dataclass(slots=True)
class Batch:
    """The decisions of one transaction, made in the order of the log.

    `last_seq`, `volume_bound`, `is_open` are read under the day's lock; `held` are the bids that the commands name,
    `accounts` those that ask for something, each under its own lock. `levels` holds the total volumes of the levels
    that grow, or is None while `volume_bound` shows that none can grow too large.
    """

    delivery_day: date
    last_seq: int
    volume_bound: int
    is_open: bool
    max_open_bids: int
    held: dict[int, HeldBid]
    accounts: dict[int, HeldAccount]
    levels: dict[LevelKey, int] | None = None
    rows: list[EventRow] = field(default_factory=list)

    def apply(self, account_id: int, change: Change) -> Receipt:
        """Do one command wholly, or raise the BookError or AccountGone that refuses it and do nothing."""
        if isinstance(change, Place):
            if not self.is_open:
                raise GateClosed(self.delivery_day)
            return self._place(account_id, self._account(account_id), change)
        bid = self.held.get(change.bid_seq)
        if bid is None or bid.account_id != account_id:
            raise BidNotFound
        if not self.is_open:
            raise GateClosed(self.delivery_day)
        if bid.is_withdrawn:
            raise BidNotOpen
        if isinstance(change, Amend):
            return self._amend(bid, self._account(account_id), change)
        return self._withdraw(bid, self._account(account_id), change)

    def close(self) -> None:
        """The gate closes: one event, and nothing after it."""
        self.last_seq += 1
        self.is_open = False
        self.rows.append(EventRow(self.last_seq, self.last_seq, None, None, None, "close", None, [], [], []))

    def _account(self, account_id: int) -> HeldAccount:
        try:
            return self.accounts[account_id]
        except KeyError:
            raise AccountGone from None

    def _place(self, account_id: int, account: HeldAccount, place: Place) -> Receipt:
        count = len(place.slots)
        if account.open_bids + count > self.max_open_bids:
            raise TooManyOpenBids(self.max_open_bids, account.open_bids)
        if self.levels is not None:
            rows = zip(place.slots, place.prices, place.volumes, strict=True)
            self._grow(((slot, place.side, price), volume) for slot, price, volume in rows)
        first = self.last_seq + 1
        self.last_seq += count
        self.volume_bound += sum(place.volumes)
        account.open_bids += count
        self.rows.append(
            EventRow(
                first,
                self.last_seq,
                account_id,
                account.take_seq(),
                None,
                "place",
                place.side,
                place.slots,
                place.prices,
                place.volumes,
            )
        )
        return Receipt(self.delivery_day, self.last_seq, first, place.side, place.slots, place.prices, place.volumes)

    def _amend(self, bid: HeldBid, account: HeldAccount, amend: Amend) -> Receipt:
        price = bid.price if amend.price is None else amend.price
        volume = bid.volume if amend.volume is None else amend.volume
        old = (bid.slot, bid.side, bid.price)
        self._shrink(old, bid.volume)
        try:
            self._grow([((bid.slot, bid.side, price), volume)])
        except LevelFull:
            self._shrink(old, -bid.volume)
            raise
        self._record("change", bid, account, amend.bid_seq, [bid.price, price], [-bid.volume, volume])
        self.volume_bound += volume
        bid.price, bid.volume = price, volume
        return self._receipt(bid, amend.bid_seq)

    def _withdraw(self, bid: HeldBid, account: HeldAccount, withdraw: Withdraw) -> Receipt:
        self._shrink((bid.slot, bid.side, bid.price), bid.volume)
        self._record("withdraw", bid, account, withdraw.bid_seq, [bid.price], [-bid.volume])
        account.open_bids -= 1
        bid.is_withdrawn = True
        return self._receipt(bid, withdraw.bid_seq)

    def _record(
        self, kind: str, bid: HeldBid, account: HeldAccount, bid_seq: int, prices: list[int], volumes: list[int]
    ) -> None:
        self.last_seq += 1
        bid.seq = self.last_seq
        self.rows.append(
            EventRow(
                self.last_seq,
                self.last_seq,
                bid.account_id,
                account.take_seq(),
                bid_seq,
                kind,
                bid.side,
                [bid.slot] * len(prices),
                prices,
                volumes,
            )
        )

    def _receipt(self, bid: HeldBid, bid_seq: int) -> Receipt:
        return Receipt(
            self.delivery_day,
            self.last_seq,
            bid_seq,
            bid.side,
            [bid.slot],
            [bid.price],
            [bid.volume],
            is_withdrawn=bid.is_withdrawn,
        )

    def _grow(self, additions: Iterable[tuple[LevelKey, int]]) -> None:
        if self.levels is None:
            return
        grown: dict[LevelKey, int] = {}
        for level, volume in additions:
            total = grown.get(level, self.levels.get(level, 0)) + volume
            if total > MAX_LEVEL_TICKS:
                raise LevelFull(level[0], level[2])
            grown[level] = total
        self.levels.update(grown)

    def _shrink(self, level: LevelKey, volume: int) -> None:
        if self.levels is not None and level in self.levels:
            self.levels[level] -= volume


def added_volume(changes: Iterable[Change], held: Mapping[int, HeldBid]) -> int:
    """The most volume (ticks) that commands add together, to any level."""
    total = 0
    for change in changes:
        if isinstance(change, Place):
            total += sum(change.volumes)
        elif isinstance(change, Amend) and (bid := held.get(change.bid_seq)) is not None:
            total += change.volume if change.volume is not None else bid.volume
    return total


def growing_levels(changes: Iterable[Change], held: Mapping[int, HeldBid]) -> set[LevelKey]:
    """The levels that commands may add volume to.

    A bid that several commands of the batch change may grow any price that one of them names.
    """
    levels: set[LevelKey] = set()
    for change in changes:
        if isinstance(change, Place):
            levels.update((slot, change.side, price) for slot, price in zip(change.slots, change.prices, strict=True))
        elif isinstance(change, Amend) and (bid := held.get(change.bid_seq)) is not None:
            levels.add((bid.slot, bid.side, bid.price))
            if change.price is not None:
                levels.add((bid.slot, bid.side, change.price))
    return levels
