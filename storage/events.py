"""Reading the event log of the book: a whole day added up, and what follows on a position.

What lives here: one typed function for each query file, in whole ticks. What must not: what rows do to a book
(market/book.py), when to read (feed/follower.py), writing (writer.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from market.book import BookState, BrokenLog, Indicative, Level
from storage.database import Database

# Added up by one statement. A day of any length is read in stretches that end well before a statement's deadline.
_STRETCH_EVENTS: Final = 250_000


@dataclass(frozen=True, slots=True)
class LoggedDay:
    """A delivery day at event `seq`, added up from its log: what market.book.Book.restore takes.

    `levels` are all that ever were, gone ones with volume 0 and no bids, each with the event of its last change;
    `closed_seq` is the event of the gate, None before it, `cleared_seq` that of the auction, and `results` what that
    came to.
    """

    seq: int
    state: BookState
    closed_seq: int | None
    cleared_seq: int | None
    results: list[Indicative]
    levels: list[tuple[Level, int]]


class LogRow(NamedTuple):
    """One row of book_events. What market.book.Book.apply takes is `row[1:8]`. The gate's and the auction's have no
    account."""

    delivery_day: date
    first_seq: int
    last_seq: int
    kind: str
    side: str | None
    slots: list[int]
    prices: list[int]
    volumes: list[int]
    account_id: int | None
    account_seq: int | None


async def read_day(database: Database, delivery_day: date) -> LoggedDay | None:
    """A whole delivery day; None when nobody used it. Raises BrokenLog when events are missing at its end.

    It is as of one moment, however many statements it takes: a row once written never changes, and none comes before
    one that is there, so that stretches read one after another are what one statement would have read.
    """
    totals: dict[tuple[int, str, int], Level] = {}
    seqs: dict[tuple[int, str, int], int] = {}
    seq = 0
    closed_seq = cleared_seq = None
    while True:
        row = await database.fetchrow("events/aggregate", delivery_day, seq, _STRETCH_EVENTS)
        if row is None:
            return None
        columns = (row["slots"], row["sides"], row["prices"], row["volumes"], row["bids"], row["seqs"])
        for slot, side, price, volume, bids, changed_seq in zip(*columns, strict=True):
            key = slot, side, price
            before = totals.get(key)
            if before is not None:
                volume += before.volume_ticks
                bids += before.bids
            totals[key] = Level(slot, side, price, volume, bids)
            seqs[key] = changed_seq
        closed_seq, cleared_seq = row["closed_seq"] or closed_seq, row["cleared_seq"] or cleared_seq
        if row["stretch_seq"] == row["last_seq"]:
            levels = [(level, seqs[key]) for key, level in totals.items()]
            results = [] if cleared_seq is None else await _results(database, delivery_day, cleared_seq)
            return LoggedDay(row["last_seq"], row["state"], closed_seq, cleared_seq, results, levels)
        if row["stretch_seq"] == seq:
            raise BrokenLog(f"the log of {delivery_day} ends at event {seq}, and not at event {row['last_seq']}")
        seq = row["stretch_seq"]


async def read_beyond(database: Database, cursors: Mapping[date, int], limit: int) -> list[LogRow]:
    """Rows that follow on the last event seen of each day, by day and in order; at most `limit` rows of each day."""
    rows = await database.fetch("events/read_beyond", list(cursors), list(cursors.values()), limit)
    return [LogRow(*row) for row in rows]


async def _results(database: Database, delivery_day: date, cleared_seq: int) -> list[Indicative]:
    """What the auction came to, as its event says."""
    (row,) = await read_beyond(database, {delivery_day: cleared_seq - 1}, 1)
    return [Indicative(*result) for result in zip(row.slots, row.prices, row.volumes, strict=True)]


async def list_live(database: Database, from_day: date) -> dict[date, int]:
    """The delivery days from `from_day` on that were used, and how far their logs go."""
    rows = await database.fetch("events/list_live", from_day)
    return {row["delivery_day"]: row["last_seq"] for row in rows}
