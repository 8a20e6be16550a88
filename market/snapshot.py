"""The `snap` message: one delivery day's book at one sequence number, as the feed and GET /book/dayahead show it.

What lives here: its shape. What must not: keeping the book (book.py), and JSON text.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Literal, TypedDict

from market.level import BookState, Indicative, Level, book_crc, covered_slots
from market.ticks import Tick


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
    crc: int | None = None,
) -> Snapshot:
    """The `snap` message of a delivery day at `seq`; with `slots` it covers these only, `crc` included.

    `ind` lists only slots whose indicative volume is above 0: in a snapshot a slot that is not named clears
    nothing. (In an update `[slot, null, 0]` says that a slot no longer clears.) `gate` needs a time zone. `crc` is the
    checksum over `slots` where a Book knows it; None computes it.
    """
    covered = frozenset(covered_slots(slots))
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
        "crc": book_crc(present, slots) if crc is None else crc,
    }


def _instant(moment: datetime) -> str:
    if moment.utcoffset() is None:
        raise ValueError("the gate needs a time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
