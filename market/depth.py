"""One slot of a book that changes: its levels in order, and what was last computed from them.

What lives here: the running total of a level, and a slot's present levels with their checksum and indicative price.
What must not: the log, sequence numbers' meaning, or more than one slot.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from itertools import accumulate
from operator import attrgetter
from zlib import crc32

from market.clearing import PriceRule, clear_columns
from market.level import Indicative, Level, Side, level_text

_PRICE, _VOLUME, _TEXT = attrgetter("price"), attrgetter("volume"), attrgetter("text")


@dataclass(slots=True, eq=False)
class Tally:
    """The running total of one level; `volume` and `price` in ticks, `seq` that of its last change.

    Whoever changes it empties `text`, its share of the slot's checksum; `shown` fills it again.
    """

    slot: int
    side: Side
    price: int
    volume: int = 0
    bids: int = 0
    seq: int = 0
    text: str = ""
    # Sorts tallies as their levels sort, and faster: one number for slot, side and a price of 64 bits.
    rank: int = field(init=False)
    _level: Level = field(init=False)

    def __post_init__(self) -> None:
        self.rank = ((2 * self.slot + (self.side == "S")) << 64) + self.price

    def shown(self) -> Level:
        """The level as it stands."""
        if not self.text:
            side, price, volume, bids = self.side, self.price, self.volume, self.bids
            # What Level(...) does, without its detour through Python: this runs for every level of every update.
            self._level = tuple.__new__(Level, (self.slot, side, price, volume, bids))
            self.text = level_text(side, price, volume, bids)
        return self._level

    def written(self) -> str:
        """Its share of the slot's checksum."""
        self.shown()
        return self.text

    def is_sound(self) -> bool:
        """Whether bids can add up to this: volume and count are both above 0, or both are 0."""
        return (self.volume > 0 and self.bids > 0) or (self.volume == 0 and self.bids == 0)


@dataclass(slots=True, eq=False)
class _Ladder:
    """The levels of one side of a slot that hold bids, by ascending price, and what was last computed from them."""

    tallies: list[Tally] = field(default_factory=list)
    # Their shares of the slot's checksum, in order.
    _text: bytes | None = None
    # Prices and running totals of the volumes, best price first.
    _columns: tuple[list[int], list[int]] | None = None

    def forget(self) -> None:
        self._text = self._columns = None

    def text(self) -> bytes:
        if self._text is None:
            texts = list(map(_TEXT, self.tallies))
            if "" in texts:
                texts = [tally.written() for tally in self.tallies]
            self._text = "".join(texts).encode("ascii")
        return self._text

    def columns(self, side: Side) -> tuple[list[int], list[int]]:
        if self._columns is None:
            best_first = self.tallies[::-1] if side == "B" else self.tallies
            self._columns = list(map(_PRICE, best_first)), list(accumulate(map(_VOLUME, best_first)))
        return self._columns


@dataclass(slots=True, eq=False)
class Depth:
    """The levels of one slot that hold bids. `forget` goes with every change of one."""

    slot: int
    _buys: _Ladder = field(default_factory=_Ladder)
    _sells: _Ladder = field(default_factory=_Ladder)
    _crc: int | None = None
    _indicative: Indicative | None = None

    def insert(self, tally: Tally) -> None:
        """A level got its first bid."""
        insort(self._side(tally.side).tallies, tally, key=_PRICE)

    def remove(self, tally: Tally) -> None:
        """A level lost its last bid."""
        tallies = self._side(tally.side).tallies
        del tallies[bisect_left(tallies, tally.price, key=_PRICE)]

    def forget(self, side: Side) -> None:
        """Some level of a side changed: what was computed holds no more."""
        self._crc = self._indicative = None
        self._side(side).forget()

    def levels(self) -> list[Level]:
        """The levels with bids, buys before sells, by ascending price."""
        return [tally.shown() for side in (self._buys, self._sells) for tally in side.tallies]

    def crc(self) -> int:
        """The slot's checksum, as market.level.slot_crc has it."""
        if self._crc is None:
            self._crc = crc32(self._sells.text(), crc32(self._buys.text()))
        return self._crc

    def indicative(self, rule: PriceRule) -> Indicative:
        """What the slot would clear now; always by the same rule."""
        if self._indicative is None:
            clearing = clear_columns(*self._buys.columns("B"), *self._sells.columns("S"), rule)
            price, volume = (clearing.price, clearing.volume) if clearing else (None, 0)
            self._indicative = Indicative(self.slot, price, volume)
        return self._indicative

    def _side(self, side: Side) -> _Ladder:
        return self._buys if side == "B" else self._sells
