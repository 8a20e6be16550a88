"""One delivery day's public book in memory: kept up by the rows of the event log, asked by the feed.

What lives here: what each row does to the levels, and the questions. What must not: reading the log, sockets, JSON,
accounts and single bids.
"""

from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter

from market.clearing import PriceRule
from market.depth import Depth, Tally
from market.level import BookState, Indicative, Level, Side, covered_slots, words_crc
from market.slots import SLOTS
from market.trail import Trail

__all__ = ["Book", "BookState", "BrokenLog", "Indicative", "Level", "LogGap"]


class LogGap(Exception):
    """A row that does not follow on the book's last event. The book is as it was."""

    def __init__(self, seq: int, first_seq: int) -> None:
        super().__init__(f"the book stands at event {seq}, and the row begins with event {first_seq}")


class BrokenLog(Exception):
    """A log that no bids can have written. The book that met it is of no further use."""


class Book:
    """The levels of one delivery day at event `seq`, every level with the event of its last change.

    `closed_seq` is the event of the gate, None before it, `cleared_seq` that of the auction. Levels that are gone stay
    as tombstones. Checksums, texts and prices are computed when asked for, and then only of what changed. Not safe for
    use by several threads.
    """

    def __init__(self, rule: PriceRule) -> None:
        self.seq = 0
        self.state: BookState = "open"
        self.closed_seq: int | None = None
        self.cleared_seq: int | None = None
        # What the auction came to: the slots that cleared, ascending.
        self.results: list[Indicative] = []
        self._rule = rule
        slots = range(1, SLOTS + 1)
        self._depths = {slot: Depth(slot) for slot in slots}
        # By side, slot and price; tombstones too.
        self._tallies: dict[Side, dict[int, dict[int, Tally]]] = {
            "B": {slot: {} for slot in slots},
            "S": {slot: {} for slot in slots},
        }
        self._trail = Trail()
        # Levels changed since anything was last computed.
        self._changed: set[Tally] = set()

    @classmethod
    def restore(
        cls,
        rule: PriceRule,
        *,
        seq: int,
        state: BookState,
        closed_seq: int | None,
        cleared_seq: int | None = None,
        results: Iterable[Indicative] = (),
        levels: Iterable[tuple[Level, int]],
    ) -> "Book":
        """The book that lived through all events up to `seq`, from its levels (tombstones too, in any order), each
        with the event of its last change. Raises BrokenLog."""
        book = cls(rule)
        book.seq, book.state = seq, state
        book.closed_seq, book.cleared_seq, book.results = closed_seq, cleared_seq, list(results)
        tallies = []
        for level, changed_seq in levels:
            tally = book._open(level.slot, level.side, level.price_ticks)
            tally.volume, tally.bids, tally.seq = level.volume_ticks, level.bids, changed_seq
            _check(tally)
            if tally.bids:
                book._depths[tally.slot].insert(tally)
            tallies.append(tally)
        book._changed.update(tallies)
        book._trail.refill(sorted(tallies, key=attrgetter("seq")))
        return book

    def apply(
        self,
        first_seq: int,
        last_seq: int,
        kind: str,
        side: str | None,
        slots: Sequence[int],
        prices: Sequence[int],
        volumes: Sequence[int],
    ) -> None:
        """Do what one row of the log did: see book_events in the migrations. Prices and volumes in ticks.

        Raises LogGap when the row is not the next one, and BrokenLog.
        """
        if first_seq != self.seq + 1:
            raise LogGap(self.seq, first_seq)
        if last_seq != first_seq and kind != "place":
            raise BrokenLog(f"event {first_seq} is one of kind {kind!r}, and its row ends with event {last_seq}")
        match self.state, kind:
            case "open", "place":
                _check_row(last_seq - self.seq, slots, prices, volumes)
                self._add(first_seq, 1, _known(side), slots, prices, volumes)
            case "open", "change":
                _check_row(2, slots, prices, volumes)
                self._take(first_seq, _known(side), slots[0], prices[0], volumes[0])
                self._add(first_seq, 0, _known(side), slots[1:], prices[1:], volumes[1:])
            case "open", "withdraw":
                _check_row(1, slots, prices, volumes)
                self._take(first_seq, _known(side), slots[0], prices[0], volumes[0])
            case "open", "close":
                self.state, self.closed_seq = "closed", first_seq
            case "closed", "clear":
                self.state, self.cleared_seq = "cleared", first_seq
                self.results = [Indicative(*row) for row in zip(slots, prices, volumes, strict=True)]
            case _:
                raise BrokenLog(f"event {first_seq} is of kind {kind!r}, and the book is {self.state}")
        self.seq = last_seq

    def levels(self, slots: Collection[int] | None = None) -> list[Level]:
        """The levels that hold bids, sorted; None means all slots."""
        return [level for slot in covered_slots(slots) for level in self._depths[slot].levels()]

    def changed_since(self, seq: int, slots: Collection[int] | None = None) -> list[Level]:
        """The levels changed after event `seq`, as they stand now, sorted; gone ones with volume 0 and no bids."""
        if seq >= self.seq:
            return []
        changed: Iterable[Tally] = self._trail.since(seq)
        if slots is not None:
            covered = frozenset(slots)
            changed = [tally for tally in changed if tally.slot in covered]
        return [tally.shown() for tally in sorted(changed, key=attrgetter("rank"))]

    def indicatives(self, slots: Iterable[int]) -> list[Indicative]:
        """What each of these slots would clear now, in ascending order."""
        self._settle()
        return [self._depths[slot].indicative(self._rule) for slot in sorted(set(slots))]

    def slot_crc(self, slot: int) -> int:
        """The checksum of one slot, as market.level.slot_crc has it."""
        self._settle()
        return self._depths[slot].crc()

    def crc(self, slots: Collection[int] | None = None) -> int:
        """The checksum of all slots, or of `slots` ascending, as market.level.book_crc has it."""
        self._settle()
        return words_crc([self._depths[slot].crc() for slot in covered_slots(slots)])

    def is_known_since(self, seq: int) -> bool:
        """Whether `changed_since(seq)` leads a client that stands at event `seq` to the present."""
        return 0 <= seq <= self.seq

    def _add(
        self,
        seq: int,
        step: int,
        side: Side,
        slots: Sequence[int],
        prices: Sequence[int],
        volumes: Sequence[int],
    ) -> None:
        """Add one bid for each element, each `step` events after the one before it."""
        if min(volumes) <= 0:
            raise BrokenLog(f"the row of event {seq} adds a bid without volume")
        by_slot = self._tallies[side]
        self._trail.mark(seq)
        trail = self._trail.tallies
        before, append = len(trail), trail.append
        for slot, price, volume in zip(slots, prices, volumes, strict=True):
            try:
                tally = by_slot[slot][price]
            except KeyError:
                tally = self._open(slot, side, price)
            if not tally.bids:
                self._depths[slot].insert(tally)
            tally.volume += volume
            tally.bids += 1
            tally.seq = seq
            tally.text = ""
            append(tally)
            seq += step
        self._changed.update(trail[before:])

    def _take(self, seq: int, side: Side, slot: int, price: int, volume: int) -> None:
        """Take one bid from its level; `volume` is negative."""
        tally = self._tallies[side].get(slot, {}).get(price)
        if tally is None or volume >= 0:
            raise BrokenLog(f"event {seq} takes nothing, or what never was there")
        tally.volume += volume
        tally.bids -= 1
        tally.seq = seq
        tally.text = ""
        _check(tally)
        if not tally.bids:
            self._depths[slot].remove(tally)
        self._changed.add(tally)
        self._trail.mark(seq)
        self._trail.tallies.append(tally)

    def _open(self, slot: int, side: Side, price: int) -> Tally:
        """Make a level that was never there."""
        if slot not in self._depths:
            raise BrokenLog(f"there is no slot {slot}")
        tally = self._tallies[side][slot][price] = Tally(slot, side, price)
        return tally

    def _settle(self) -> None:
        """Have the slots of changed levels know what these hold now."""
        for tally in self._changed:
            if tally.bids:
                self._depths[tally.slot].refresh(tally)
        self._changed.clear()


def _check_row(expected: int, slots: Sequence[int], prices: Sequence[int], volumes: Sequence[int]) -> None:
    if not 0 < expected == len(slots) == len(prices) == len(volumes):
        raise BrokenLog(f"a row of {expected} elements has {len(slots)}, {len(prices)} and {len(volumes)} of them")


def _check(tally: Tally) -> None:
    if not tally.is_sound():
        raise BrokenLog(f"no bids add up to {tally.shown()}")


def _known(side: str | None) -> Side:
    match side:
        case "B":
            return "B"
        case "S":
            return "S"
    raise BrokenLog(f"there is no side {side!r}")
