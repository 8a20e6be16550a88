"""What a book is made of as others see it: levels, indicative prices, and the checksums over them.

Feed protocol rules 1, 4 and 5, computed afresh from whatever levels are given. Prices and volumes are whole ticks.
Keeping a book as it changes (book.py), accounts, single bids and JSON text do not belong here.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from struct import pack
from typing import Literal, NamedTuple
from zlib import crc32

from market.clearing import PriceRule, clear_levels
from market.slots import SLOTS

Side = Literal["B", "S"]
BookState = Literal["open", "closed", "cleared"]


class Level(NamedTuple):
    """All bids of one slot (1..96), side and limit price: their total volume and how many they are.

    Sorts as the feed orders levels: by slot, buys before sells, prices numerically. Volume 0 is a tombstone:
    a level that was there once and counts as absent.
    """

    slot: int
    side: Side
    price_ticks: int
    volume_ticks: int
    bids: int


class Indicative(NamedTuple):
    """What a slot would clear now: price in ticks (None where nothing would) and volume in ticks."""

    slot: int
    price_ticks: int | None
    volume_ticks: int


def slot_crc(levels: Iterable[Level]) -> int:
    """Unsigned CRC-32 over one slot's levels as `side,price,volume,bids;`; 0 for a slot without any."""
    return crc32("".join([level_text(*level[1:]) for level in sorted(levels) if level.volume_ticks]).encode("ascii"))


def level_text(side: Side, price_ticks: int, volume_ticks: int, bids: int) -> str:
    """A level as its slot's checksum has it."""
    return f"{side},{price_ticks},{volume_ticks},{bids};"


def book_crc(levels: Iterable[Level], slots: Collection[int] | None = None) -> int:
    """CRC-32 over the slot CRCs as unsigned big-endian words: of all 96 slots, or of `slots` ascending."""
    checksums = {slot: slot_crc(group) for slot, group in _by_slot(levels)}
    return words_crc([checksums.get(slot, 0) for slot in covered_slots(slots)])


def words_crc(checksums: Sequence[int]) -> int:
    """CRC-32 over slot CRCs as unsigned big-endian words, in the order given."""
    return crc32(pack(f">{len(checksums)}I", *checksums))


def indicative(levels: Iterable[Level], rule: PriceRule) -> list[Indicative]:
    """What each slot that has a level would clear at this moment, in ascending order of slots."""
    return [_indicative_of(slot, list(group), rule) for slot, group in _by_slot(levels)]


def covered_slots(slots: Collection[int] | None) -> Sequence[int]:
    """The slots that a filter lets through, ascending: None lets all through."""
    return range(1, SLOTS + 1) if slots is None else sorted(set(slots))


def _indicative_of(slot: int, levels: Sequence[Level], rule: PriceRule) -> Indicative:
    buys = [(level.price_ticks, level.volume_ticks) for level in levels if level.side == "B"]
    sells = [(level.price_ticks, level.volume_ticks) for level in levels if level.side == "S"]
    clearing = clear_levels(buys, sells, rule)
    return Indicative(slot, clearing.price, clearing.volume) if clearing else Indicative(slot, None, 0)


def _by_slot(levels: Iterable[Level]) -> Iterable[tuple[int, Iterable[Level]]]:
    return groupby(sorted(levels), key=attrgetter("slot"))
