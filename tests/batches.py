"""Batches of commands as tests give them to a writer, and what they are told.

What lives here: making commands, writers and accounts for them, and counting which way they went. What must not: any
rule of the book.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

import asyncpg
import orjson
import pytest

from market.calendar import Calendar
from storage.commands import Change, Command, IdempotencyKey, Place, Receipt
from storage.database import Database
from storage.short_way import Placements
from storage.writer import BookWriter

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
CALENDAR = Calendar(timedelta(hours=24))
DAY = CALENDAR.today(datetime.now(UTC)) + timedelta(days=2)
TWO_DAYS = (DAY, DAY + timedelta(days=1))
MAX_OPEN_BIDS = 300


def render(receipt: Receipt) -> bytes:
    """An answer that says the numbers."""
    return orjson.dumps({"seq": receipt.seq, "bids": [bid.bid_seq for bid in receipt.bids]})


def command(change: Change, *, account: int = 1, key: str | None = None, body: bytes = b"", day: date = DAY) -> Command:
    """A change that an account asks for, with a key if named."""
    named = IdempotencyKey("POST", "/placebid/dayahead", key, body.ljust(32)) if key else None
    return Command(account, day, change, render, named)


def one(price: int = 400, side: str = "S") -> Place:
    """A placement of one bid."""
    return Place(side, [41], [price], [1000])


async def events(connection: Connection) -> list[tuple[str, int, int]]:
    """Kind, first and last number of every row of the log."""
    rows = await connection.fetch("SELECT kind, first_seq, last_seq FROM book_events ORDER BY delivery_day, first_seq")
    return [(row["kind"], row["first_seq"], row["last_seq"]) for row in rows]


class MovableGate(Calendar):
    """A calendar whose gate lies where the test puts it."""

    def __init__(self, gate: datetime) -> None:
        super().__init__(timedelta(hours=24))
        object.__setattr__(self, "gate", gate)

    def gate_at(self, day: date) -> datetime:  # noqa: ARG002 - of every day
        gate: datetime = self.__dict__["gate"]
        return gate


@asynccontextmanager
async def writer_of(
    database: Database, calendar: Calendar = CALENDAR, max_open_bids: int = MAX_OPEN_BIDS
) -> AsyncIterator[BookWriter]:
    """A writer for as long as the block runs."""
    opened = BookWriter(database, calendar, max_open_bids)
    opened.start()
    yield opened
    await opened.close()


async def ask(writer: BookWriter, commands: Sequence[Command]) -> list[bytes | BaseException]:
    """Commands that form one batch, and what each is told."""
    return await asyncio.gather(*(writer.submit(each) for each in commands), return_exceptions=True)


def seqs(answers: Sequence[bytes | BaseException]) -> list[int | type]:
    """The last number that each answer says, and of each refusal what it is."""
    return [orjson.loads(a)["seq"] if isinstance(a, bytes) else type(a) for a in answers]


class Short:
    """Counts what went the short way, and what it was no good for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done = self.refused = 0
        real = Placements.write

        async def write(*args: Any) -> int | None:
            base = await real(*args)
            self.done += base is not None
            self.refused += base is None
            return base

        monkeypatch.setattr(Placements, "write", write)
