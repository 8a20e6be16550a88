"""One small delivery day whose auction was worked out on paper: its log, and every table that says the same.

What lives here: the rows, and writing them into a database. What must not: any code that could work them out.

Slot 41: 10 at 400 and 10 at 410 are offered; 7 at 420, 5 at 405 (bid 6) and 5 at 405 (bid 8) are wanted. 10 clear: at
405 17 are wanted and 10 offered, at 410 only 7 are wanted. The last accepted sell is at 400, the best buy not wholly
accepted at 405, the last accepted buy at 405, the best sell not accepted at 410: the interval is [405, 405]. Bid 5 gets
its 7; the 3 that are left are shared by bids 6 and 8, one and a half each: one, and the odd one goes to the earlier.
Bid 6 was placed first, but changed after bid 8 came: bid 8 is the earlier.
Slot 42: nobody buys. Slot 43: 4 at -20 are offered, 4 at -5 are wanted; the interval is [-20, -5], its middle -12.5.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import TypeAlias

import asyncpg

from market.audit_rows import ChangedBid, ClearedSlot, CountedAccount, Fill, LoggedRow, Position
from market.slots import SLOTS
from tests.account_log import make_accounts

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
DAY = date(2026, 11, 24)


def _log() -> list[LoggedRow]:
    return [
        LoggedRow(1, 4, "place", "S", [41, 41, 42, 43], [400, 410, 500, -20], [10, 10, 5, 4], 1, 1, None),
        LoggedRow(5, 7, "place", "B", [41, 41, 43], [420, 405, -5], [7, 9, 4], 2, 1, None),
        LoggedRow(8, 8, "place", "B", [41], [405], [5], 3, 1, None),
        LoggedRow(9, 9, "change", "B", [41, 41], [405, 405], [-9, 5], 2, 2, 6),
        LoggedRow(10, 10, "place", "S", [42], [390], [7], 1, 2, None),
        LoggedRow(11, 11, "withdraw", "S", [42], [390], [-7], 1, 3, 10),
        LoggedRow(12, 12, "close", None, [], [], [], None, None, None),
        LoggedRow(13, 13, "clear", None, [41, 43], [405, -13], [10, 4], None, None, None),
    ]


def _slots() -> dict[int, ClearedSlot]:
    slots = {slot: ClearedSlot(slot, None, None, None, 0, 0, 0, 0, 0) for slot in range(1, SLOTS + 1)}
    slots[41] = ClearedSlot(41, 405, 405, 405, 10, 17, 20, 3, 2)
    slots[42] = ClearedSlot(42, None, None, None, 0, 0, 5, 0, 1)
    slots[43] = ClearedSlot(43, -13, -20, -5, 4, 4, 4, 1, 1)
    return slots


@dataclass(slots=True)
class PaperDay:
    """The day as everything has it. A test changes what it is about."""

    log: list[LoggedRow] = field(default_factory=_log)
    state: str = "cleared"
    last_seq: int = 13
    cleared_seq: int | None = 13
    price_rule: str = "midpoint"
    changed: list[ChangedBid] = field(
        default_factory=lambda: [ChangedBid(6, 9, 405, 5, False), ChangedBid(10, 11, 390, 7, True)]
    )
    accounts: list[CountedAccount] = field(
        default_factory=lambda: [CountedAccount(1, 4, 1, 3), CountedAccount(2, 3, 1, 2), CountedAccount(3, 1, 1, 1)]
    )
    slots: dict[int, ClearedSlot] = field(default_factory=_slots)
    fills: dict[int, int] = field(default_factory=lambda: {1: 10, 4: 4, 5: 7, 6: 1, 7: 4, 8: 2})
    positions: dict[int, Position] = field(
        default_factory=lambda: {
            1: Position(1, 4, [41, 43], [10, 4]),
            2: Position(2, 3, [41, 43], [8, 4]),
            3: Position(3, 2, [41], [2]),
        }
    )

    @property
    def fill_rows(self) -> list[Fill]:
        """The rows of fills."""
        return [Fill(*item) for item in self.fills.items()]

    def forget(self, *numbers: int) -> None:
        """Take the rows out of the log that begin with these events."""
        self.log = [row for row in self.log if row.first_seq not in numbers]

    def until(self, state: str) -> "PaperDay":
        """The day as it was before it was cleared: open or closed."""
        self.forget(*((12, 13) if state == "open" else (13,)))
        self.state, self.last_seq, self.cleared_seq = state, self.log[-1].last_seq, None
        self.slots, self.fills, self.positions = {}, {}, {}
        return self

    async def write(self, connection: Connection) -> None:
        """Put all of it into a database that has nothing yet."""
        await make_accounts(connection, 3)
        await connection.execute("UPDATE account_feeds SET last_seq = 5 - account_id")
        await connection.execute(
            "INSERT INTO delivery_days (delivery_day, state, last_seq) VALUES ($1, $2, $3)",
            DAY,
            self.state,
            self.last_seq,
        )
        await connection.executemany(
            """
            INSERT INTO book_events (delivery_day, batch_id, first_seq, last_seq, kind, side, slots, prices, volumes,
                                     account_id, account_seq, bid_seq)
            VALUES ($1, 1, $2, $3, $4, $5::text::"char", $6, $7, $8, $9, $10, $11)
            """,
            [(DAY, *row) for row in self.log],
        )
        await _fill(connection, "changed_bids", ChangedBid._fields, self.changed)
        await _fill(connection, "account_days", CountedAccount._fields, self.accounts)
        if self.cleared_seq is not None:
            await connection.execute(
                "INSERT INTO cleared_days (delivery_day, seq, price_rule) VALUES ($1, $2, $3)",
                DAY,
                self.cleared_seq,
                self.price_rule,
            )
        await _fill(connection, "cleared_slots", ClearedSlot._fields, list(self.slots.values()))
        await _fill(connection, "fills", Fill._fields, self.fill_rows)
        await _fill(connection, "cleared_positions", Position._fields, list(self.positions.values()))


async def _fill(
    connection: Connection,
    table: str,
    columns: tuple[str, ...],
    rows: "list[ChangedBid] | list[CountedAccount] | list[ClearedSlot] | list[Fill] | list[Position]",
) -> None:
    await connection.copy_records_to_table(
        table, columns=["delivery_day", *columns], records=[(DAY, *row) for row in rows]
    )
