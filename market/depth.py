"""One slot of a book that changes: its levels in order, and what was last computed from them.

What lives here: the running total of a level, and a slot's present levels with their checksum and indicative price.
What must not: the log, sequence numbers' meaning, or more than one slot.
"""

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate
from zlib import crc32

from market.clearing import PriceRule, clear_columns
from market.level import Indicative, Level, Side, level_text


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
    """The levels of one side of a slot that hold bids, by ascending price, and what was last computed from them.

    Column by column: all of a column is gone through in one go, when nothing else of most levels was looked at lately.
    """

    side: Side
    tallies: list[Tally] = field(default_factory=list)
    prices: "array[int]" = field(default_factory=lambda: array("q"))
    volumes: "array[int]" = field(default_factory=lambda: array("q"))
    # Shares of the slot's checksum.
    texts: list[str] = field(default_factory=list)
    _text: bytes | None = None
    _best_first: "tuple[array[int], list[int]] | None" = None

    def insert(self, tally: Tally) -> None:
        place = bisect_left(self.prices, tally.price)
        self.tallies.insert(place, tally)
        self.prices.insert(place, tally.price)
        self.volumes.insert(place, 0)
        self.texts.insert(place, "")
        self._text = self._best_first = None

    def remove(self, tally: Tally) -> None:
        place = bisect_left(self.prices, tally.price)
        for column in (self.tallies, self.prices, self.volumes, self.texts):
            del column[place]
        self._text = self._best_first = None

    def refresh(self, tally: Tally) -> None:
        place = bisect_left(self.prices, tally.price)
        self.volumes[place] = tally.volume
        self.texts[place] = tally.written()
        self._text = self._best_first = None

    def text(self) -> bytes:
        if self._text is None:
            self._text = "".join(self.texts).encode("ascii")
        return self._text

    def best_first(self) -> "tuple[array[int], list[int]]":
        """Prices, and the total volumes down to each."""
        if self._best_first is None:
            step = -1 if self.side == "B" else 1
            self._best_first = self.prices[::step], list(accumulate(self.volumes[::step]))
        return self._best_first


@dataclass(slots=True, eq=False)
class Depth:
    """The levels of one slot that hold bids. `insert`, `remove` or `refresh` goes with every change of one."""

    slot: int
    _buys: _Ladder = field(default_factory=lambda: _Ladder("B"))
    _sells: _Ladder = field(default_factory=lambda: _Ladder("S"))
    _crc: int | None = None
    _indicative: Indicative | None = None

    def insert(self, tally: Tally) -> None:
        """A level got its first bid; `refresh` says later what it holds."""
        self._ladder(tally.side).insert(tally)

    def remove(self, tally: Tally) -> None:
        """A level lost its last bid."""
        self._ladder(tally.side).remove(tally)
        self._crc = self._indicative = None

    def refresh(self, tally: Tally) -> None:
        """A level with bids holds what its tally says."""
        self._ladder(tally.side).refresh(tally)
        self._crc = self._indicative = None

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
            clearing = clear_columns(*self._buys.best_first(), *self._sells.best_first(), rule)
            price, volume = (clearing.price, clearing.volume) if clearing else (None, 0)
            self._indicative = Indicative(self.slot, price, volume)
        return self._indicative

    def _ladder(self, side: Side) -> _Ladder:
        return self._buys if side == "B" else self._sells
