"""The public book of one delivery day: anonymous levels, their checksums, and the snapshot that carries them.

Feed protocol rules 1, 4 and 5 and the `snap` message. Prices and volumes are whole ticks. Accounts, single
bids, sockets and JSON text do not belong here.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from struct import pack
from typing import Literal, NamedTuple, TypedDict
from zlib import crc32

from market.clearing import PriceRule, clear_levels
from market.slots import SLOTS
from market.ticks import Tick

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


class Snapshot(TypedDict):
    """The feed's `snap` message, and the answer of GET /book/dayahead; keys in the order of the protocol."""

    t: Literal["snap"]
    ch: str
    ep: str
    seq: int
    gate: str
    state: BookState
    ticks: dict[str, str]
    lv: list[list[int | str]]
    ind: list[list[int | None]]
    crc: int


def slot_crc(levels: Iterable[Level]) -> int:
    """Unsigned CRC-32 over one slot's levels as `side,price,volume,bids;`; 0 for a slot without any."""
    lines = [
        f"{level.side},{level.price_ticks},{level.volume_ticks},{level.bids};"
        for level in sorted(levels)
        if level.volume_ticks
    ]
    return crc32("".join(lines).encode("ascii"))


def book_crc(levels: Iterable[Level], slots: Collection[int] | None = None) -> int:
    """CRC-32 over the slot CRCs as unsigned big-endian words: of all 96 slots, or of `slots` ascending."""
    checksums = {slot: slot_crc(group) for slot, group in _by_slot(levels)}
    covered = _covered(slots)
    return crc32(pack(f">{len(covered)}I", *(checksums.get(slot, 0) for slot in covered)))


def indicative(levels: Iterable[Level], rule: PriceRule) -> list[Indicative]:
    """What each slot that has a level would clear at this moment, in ascending order of slots."""
    return [_indicative_of(slot, list(group), rule) for slot, group in _by_slot(levels)]


def snapshot(
    *,
    channel: str,
    epoch: str,
    seq: int,
    gate: datetime,
    state: BookState,
    price_tick: Tick,
    volume_tick: Tick,
    levels: Iterable[Level],
    indicatives: Iterable[Indicative],
    slots: Collection[int] | None = None,
) -> Snapshot:
    """The `snap` message of a delivery day at `seq`; with `slots` it covers these only, `crc` included.

    `ind` lists only slots whose indicative volume is above 0: in a snapshot a slot that is not named clears
    nothing. (In an update `[slot, null, 0]` says that a slot no longer clears.) `gate` needs a time zone.
    """
    covered = frozenset(_covered(slots))
    present = sorted(level for level in levels if level.volume_ticks and level.slot in covered)
    clearing = sorted(entry for entry in indicatives if entry.volume_ticks and entry.slot in covered)
    return {
        "t": "snap",
        "ch": channel,
        "ep": epoch,
        "seq": seq,
        "gate": _instant(gate),
        "state": state,
        "ticks": {"price": price_tick.format(1), "volume": volume_tick.format(1)},
        "lv": [list(level) for level in present],
        "ind": [list(entry) for entry in clearing],
        "crc": book_crc(present, slots),
    }


def _indicative_of(slot: int, levels: Sequence[Level], rule: PriceRule) -> Indicative:
    buys = [(level.price_ticks, level.volume_ticks) for level in levels if level.side == "B"]
    sells = [(level.price_ticks, level.volume_ticks) for level in levels if level.side == "S"]
    clearing = clear_levels(buys, sells, rule)
    return Indicative(slot, clearing.price, clearing.volume) if clearing else Indicative(slot, None, 0)


def _by_slot(levels: Iterable[Level]) -> Iterable[tuple[int, Iterable[Level]]]:
    return groupby(sorted(levels), key=attrgetter("slot"))


def _covered(slots: Collection[int] | None) -> Sequence[int]:
    return range(1, SLOTS + 1) if slots is None else sorted(set(slots))


def _instant(moment: datetime) -> str:
    if moment.utcoffset() is None:
        raise ValueError("the gate needs a time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
