"""The changes that can be asked of a delivery day's book, and what comes back.

What lives here: their shapes. What must not: deciding or doing them (batch.py, writer.py).

Named tuples: as immutable as frozen dataclasses, and made in half of the time. Each request makes four of them.
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import NamedTuple, TypeAlias


class Place(NamedTuple):
    """Place bids; slots 1..96, prices and volumes in ticks, parallel."""

    side: str
    slots: list[int]
    prices: list[int]
    volumes: list[int]


class Amend(NamedTuple):
    """Change an open bid's price and/or volume, in ticks; None leaves it. The bid loses its time priority."""

    bid_seq: int
    price: int | None
    volume: int | None


class Withdraw(NamedTuple):
    """Withdraw an open bid."""

    bid_seq: int


Change: TypeAlias = Place | Amend | Withdraw


class Bid(NamedTuple):
    """A bid as it stands after a change. `bid_seq` is the number of the event that placed it; prices and volumes in
    ticks."""

    bid_seq: int
    side: str
    slot: int
    price: int
    volume: int
    is_withdrawn: bool


class Receipt(NamedTuple):
    """What a command did: its bids as they stood then, and the sequence number of its last event.

    A placement has many bids, so they are columns: bid i is number `bid_seq + i`, of slot, price and volume i.
    """

    delivery_day: date
    seq: int
    bid_seq: int
    side: str
    slots: Sequence[int]
    prices: Sequence[int]
    volumes: Sequence[int]
    is_withdrawn: bool = False

    @property
    def bids(self) -> list[Bid]:
        """The bids one by one."""
        rows = zip(self.slots, self.prices, self.volumes, strict=True)
        return [
            Bid(bid_seq, self.side, slot, price, volume, self.is_withdrawn)
            for bid_seq, (slot, price, volume) in enumerate(rows, start=self.bid_seq)
        ]


class IdempotencyKey(NamedTuple):
    """A client's name for one request. The same key with another body is refused."""

    method: str
    path: str
    key: str
    body_sha256: bytes


class Command(NamedTuple):
    """A change asked for by one account. `render` makes the response's body, which is kept with the key."""

    account_id: int
    delivery_day: date
    change: Change
    render: Callable[[Receipt], bytes]
    key: IdempotencyKey | None = None
