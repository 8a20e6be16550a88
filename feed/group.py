"""Subscribers that get the same bytes: one channel, one rate, one set of slots.

What lives here: who is in, who is behind, and how far the group was told. What must not: when it is told (hub.py).
"""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Final, NamedTuple

from feed.connection import Connection, Door
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


class Group:
    """Its members were sent everything up to `seq`. Those behind have stopped reading: they hold the number up to which
    they were sent everything, or None when a snapshot is due to them. `sent_at` is of time.monotonic()."""

    __slots__ = ("_departures", "behind", "day_book", "key", "members", "sent_at", "seq")

    def __init__(self, key: GroupKey, day_book: DayBook, now_s: float) -> None:
        self.key = key
        self.day_book = day_book
        self.seq = day_book.book.seq
        self.members: dict[Connection, Door] = {}
        self.behind: dict[Connection, int | None] = {}
        self.sent_at = now_s
        # Counts those who were taken out, so that who goes on with a list of members knows whether it is still right.
        self._departures = 0

    @property
    def name(self) -> str:
        """The channel as those who are here named it."""
        return OPEN_BOOK_CHANNEL if self.key.is_open_book else self.day_book.channel

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
        if connection.door is None:
            # It is closed already.
            return
        if is_told:
            self.members[connection] = connection.door
        else:
            self.behind[connection] = None

    def remove(self, connection: Connection) -> None:
        """Take a connection out, if it is in."""
        self._departures += 1
        self.members.pop(connection, None)
        self.behind.pop(connection, None)

    def tell(self, frames: bytes, told: int) -> Iterator[None]:
        """Send to every member, a chunk at each step; one that cannot take it is behind, and was told up to `told`."""
        members, size = self.members, len(frames)
        doors, departures = tuple(members.values()), self._departures
        for start in range(0, len(doors), _CHUNK):
            chunk = doors[start : start + _CHUNK]
            if self._departures != departures:
                # Some have left since the chunk before.
                chunk = tuple([door for door in chunk if door.connection in members])
            for is_closing, unsent, write, connection in chunk:
                # What `connection.send` does, without calling it: this is most of what the feed costs.
                if not is_closing() and not unsent():
                    try:
                        written = write(frames)
                    except OSError:
                        pass
                    else:
                        if written != size:
                            connection.hold(frames[written:])
                        continue
                if not connection.send(frames):
                    del members[connection]
                    self.behind[connection] = told
            yield

    def catch_up(self, frames_since: Callable[[int | None], bytes]) -> None:
        """Bring those who have read everything again to the present, each with what `frames_since` its number gives."""
        for connection, told in tuple(self.behind.items()):
            if not connection.unsent_bytes():
                self.put(connection, is_told=True)
                connection.send(frames_since(told))
