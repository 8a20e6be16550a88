"""Subscribers that get the same bytes: one channel, one rate, one set of slots.

What lives here: who is in, who is behind, and how far the group was told. What must not: when it is told (hub.py).
"""

import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Final, NamedTuple

from feed.connection import NO_WAY, Connection
from feed.day_book import DayBook
from feed.requests import OPEN_BOOK_CHANNEL

# A frame goes to this many sockets before others have their turn: a few milliseconds.
_CHUNK: Final = 400


class GroupKey(NamedTuple):
    """`slots` None means all. Who subscribed to the book that is open moves on at the gate, in a group of its own."""

    day: date
    rate_ms: int
    slots: frozenset[int] | None
    is_open_book: bool


class _Ways(NamedTuple):
    """How each of some connections is written to: past its transport, `owners[i]` by the descriptor `straight[i]`, or
    through it.

    Between two ticks all of this leaves the processor's caches. Numbers side by side come back many at once, objects
    one by one, which would take as long again as all else that is done here for a message.
    """

    straight: "array[int]"
    owners: list[Connection]
    roundabout: list[Connection]

    @classmethod
    def of(cls, connections: Iterable[Connection]) -> "_Ways":
        ways = cls(array("i"), [], [])
        for connection in connections:
            way = connection.way
            if way == NO_WAY:
                ways.roundabout.append(connection)
            else:
                ways.straight.append(way)
                ways.owners.append(connection)
        return ways


class Group:
    """Its members were sent everything up to `seq`. Those behind have stopped reading: they hold the number up to which
    they were sent everything, or None when a snapshot is due to them. `sent_at` is of time.monotonic()."""

    __slots__ = ("_ways", "behind", "day_book", "key", "members", "sent_at", "seq")

    def __init__(self, key: GroupKey, day_book: DayBook, now_s: float) -> None:
        self.key = key
        self.day_book = day_book
        self.seq = self.end
        # In the order in which they came.
        self.members: dict[Connection, None] = {}
        self.behind: dict[Connection, int | None] = {}
        self.sent_at = now_s
        # Of all members as they were when it was made; None when one came, left or has something held back since.
        self._ways: _Ways | None = None

    @property
    def name(self) -> str:
        """The channel as those who are here named it."""
        return OPEN_BOOK_CHANNEL if self.key.is_open_book else self.day_book.channel

    @property
    def end(self) -> int:
        """The last event that its members are told. Who follows the book that is open is told of no day more than its
        gate, and goes on with the next."""
        return self.day_book.end(at_gate=self.key.is_open_book)

    @property
    def is_empty(self) -> bool:
        """Whether nobody is left."""
        return not self.members and not self.behind

    @property
    def is_past_gate(self) -> bool:
        """Whether its members were told that the gate closed."""
        closed_seq = self.day_book.book.closed_seq
        return closed_seq is not None and self.seq >= closed_seq

    def put(self, connection: Connection, *, is_told: bool) -> None:
        """Add a connection: a member if it was told where the book stands, else one that a snapshot is due to."""
        self.remove(connection)
        if not connection.is_served:
            # It is closed already.
            return
        if is_told:
            self.members[connection] = None
        else:
            self.behind[connection] = None

    def remove(self, connection: Connection) -> None:
        """Take a connection out, if it is in."""
        self.changed()
        self.members.pop(connection, None)
        self.behind.pop(connection, None)

    def changed(self) -> None:
        """Who is in, or the way to one of them, is not what it was."""
        self._ways = None

    def tell(self, frames: bytes, told: int) -> Iterator[None]:
        """Send to every member, a chunk at each step; one that cannot take it is behind, and was told up to `told`."""
        if self._ways is None:
            self._ways = _Ways.of(self.members)
        ways = self._ways
        size, write = len(frames), os.write
        for start in range(0, len(ways.straight), _CHUNK):
            straight, owners = ways.straight[start : start + _CHUNK], ways.owners[start : start + _CHUNK]
            if self._ways is not ways:
                # Descriptors of those who left may be others' by now.
                straight, owners, roundabout = _Ways.of(owner for owner in owners if owner in self.members)
                for connection in roundabout:
                    self._tell_one(connection, frames, told)
            # This is most of what the feed costs.
            for way in straight:
                try:
                    written = write(way, frames)
                except OSError as fault:
                    owners[straight.index(way)].not_written(fault, frames)
                else:
                    if written != size:
                        owners[straight.index(way)].hold(frames[written:])
            yield
        for connection in ways.roundabout:
            self._tell_one(connection, frames, told)

    def _tell_one(self, connection: Connection, frames: bytes, told: int) -> None:
        if connection not in self.members:
            return
        if not connection.send(frames):
            del self.members[connection]
            self.behind[connection] = told
            self.changed()
        elif connection.way != NO_WAY:
            # It has read everything again.
            self.changed()

    def catch_up(self, frames_since: Callable[[int | None], bytes]) -> None:
        """Bring those who have read everything again to the present, each with what `frames_since` its number gives."""
        for connection, told in tuple(self.behind.items()):
            if not connection.unsent_bytes():
                self.put(connection, is_told=True)
                connection.send(frames_since(told))
