"""The short way into the book: a batch of placements in one statement, which does all of it or nothing.

What lives here: what of a batch the statement needs to know, and what its placements are told then. What must not: what
becomes of a batch that something stands in the way of (book_transaction.py), or of a statement that goes unanswered
(writer.py).

While a transaction is spread over statements, its lock of the day is held whenever a process has something else to do
between two of them. Most batches need nothing decided in between; migration 0007 has the function that does these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from storage.arrays import array_of, array_of_arrays, array_of_words
from storage.batch import MAX_LEVEL_TICKS
from storage.commands import Command, Place, Receipt
from storage.database import Database
from storage.idempotency import KEY_LIFETIME, Scope, scope_of


@dataclass(frozen=True, slots=True)
class Placements:
    """Placements of one delivery day, in the order of the log. The first bid of each is number `base` + 1 + its
    offset, where `base` is the day's last sequence number before them."""

    delivery_day: date
    places: Sequence[Place]
    commands: Sequence[Command]
    scopes: Sequence[Scope | None]
    offsets: Sequence[int]

    @classmethod
    def of(cls, day: date, commands: Sequence[Command]) -> "Placements | None":
        """None when a command is no placement, or two of them have the same key: that takes deciding."""
        places: list[Place] = []
        offsets: list[int] = []
        offset = 0
        for command in commands:
            place = command.change
            if not isinstance(place, Place):
                return None
            places.append(place)
            offsets.append(offset)
            offset += len(place.slots)
        scopes = [scope_of(command) for command in commands]
        keys = [scope for scope in scopes if scope is not None]
        return cls(day, places, commands, scopes, offsets) if len(set(keys)) == len(keys) else None

    async def write(self, database: Database, gate_at: datetime, batch_id: int, max_open_bids: int) -> int | None:
        """Place all of it durably and return `base`, or do nothing and return None because something stands in the way.

        Raises DatabaseUnavailable when there was no answer: then it was done, or not, or will be when the statement
        arrives. Waits for locks at most half of the time that the database has, and raises then too.
        """
        most_wait = f"{int(database.timeout_s * 500)}ms"
        arguments = self._arguments(gate_at, batch_id, max_open_bids)
        base: int | None = await database.call("book/place_at_once", *arguments, most_wait)
        return base

    def receipt(self, number: int, first_seq: int) -> Receipt:
        """What a placement did; `first_seq` is the number of the batch's first event."""
        place, first = self.places[number], first_seq + self.offsets[number]
        last = first + len(place.slots) - 1
        return Receipt(self.delivery_day, last, first, place.side, place.slots, place.prices, place.volumes)

    def _arguments(self, gate_at: datetime, batch_id: int, max_open_bids: int) -> list[object]:
        places, commands = self.places, self.commands
        counts = [len(place.slots) for place in places]
        # Of each account, how many placements and bids.
        totals: dict[int, tuple[int, int]] = {}
        ranks: list[int] = []
        for command, count in zip(commands, counts, strict=True):
            placements, bids = totals.get(command.account_id, (0, 0))
            ranks.append(placements + 1)
            totals[command.account_id] = placements + 1, bids + count
        keyed = [
            (scope, command.key.body_sha256, offset)
            for scope, command, offset in zip(self.scopes, commands, self.offsets, strict=True)
            if scope is not None and command.key is not None
        ]
        return [
            self.delivery_day,
            gate_at,
            batch_id,
            sum(sum(place.volumes) for place in places),
            MAX_LEVEL_TICKS,
            max_open_bids,
            KEY_LIFETIME,
            array_of(self.offsets),
            array_of(counts),
            array_of([command.account_id for command in commands]),
            array_of(ranks),
            array_of_words(place.side for place in places),
            array_of_arrays(place.slots for place in places),
            array_of_arrays(place.prices for place in places),
            array_of_arrays(place.volumes for place in places),
            array_of(list(totals)),
            array_of([placements for placements, _ in totals.values()]),
            array_of([bids for _, bids in totals.values()]),
            array_of([account_id for (account_id, _), _, _ in keyed]),
            array_of_words(scope.hex() for (_, scope), _, _ in keyed),
            array_of_words(digest.hex() for _, digest, _ in keyed),
            array_of([offset for _, _, offset in keyed]),
        ]
