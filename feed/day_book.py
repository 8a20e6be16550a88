"""One delivery day's book as the feed tells it: snapshots, updates and checksums as frames.

What lives here: which messages lead a client from one sequence number to the present. What must not: sockets, or
reading the log (follower.py).
"""

import hashlib
from collections.abc import Collection
from datetime import date, datetime

import orjson

from feed import messages
from feed.frames import text_frame
from feed.rules import FeedRules
from market.book import Book, BookState
from market.snapshot import snapshot


def epoch(base: str, subject: str) -> str:
    """A short name of one history of a sequence: another one after a restore that lost events. `base` is the
    database's identity, `subject` what the sequence belongs to."""
    return hashlib.sha256(f"{base}/{subject}".encode()).hexdigest()[:8]


class DayBook:
    """A book with its channel, epoch and gate. Frames are made from the book as it stands when they are asked for."""

    __slots__ = ("_kept", "_rules", "book", "channel", "day", "epoch", "gate_at")

    def __init__(self, day: date, book: Book, identity: str, rules: FeedRules) -> None:
        self.day = day
        self.book = book
        self.channel = f"book:{day.isoformat()}"
        self.epoch = epoch(identity, day.isoformat())
        self.gate_at = rules.calendar.gate_at(day)
        self._rules = rules
        # The whole book's snapshot: sequence number, state, JSON, frame.
        self._kept: tuple[int, BookState, bytes, bytes] | None = None

    def snapshot(self, now: datetime, slots: Collection[int] | None = None) -> bytes:
        """The snapshot as JSON; of `slots` only, checksum included, if given. Past the gate the book shows as closed,
        also in the moment before the gate's event is in the log."""
        if slots is None:
            return self._whole(now)[2]
        return self._make(now, slots)

    def snap_frame(self, now: datetime, slots: Collection[int] | None) -> bytes:
        """The frame of `snapshot`."""
        if slots is None:
            return self._whole(now)[3]
        return text_frame(self._make(now, slots))

    def end(self, *, at_gate: bool) -> int:
        """The number of the last event that is told: of all, or of those up to the gate."""
        closed_seq = self.book.closed_seq
        return closed_seq if at_gate and closed_seq is not None else self.book.seq

    def lead(self, since: int, end: int, slots: Collection[int] | None, ts_ms: int) -> bytes:
        """The frames that lead a client from sequence number `since` to `end`, one after another; levels of any
        number of events are merged into one update, the gate and the auction have a message each."""
        book, frames = self.book, []
        for seq, message in ((book.closed_seq, self._gate), (book.cleared_seq, self._cleared)):
            if seq is not None and since < seq <= end:
                if since < seq - 1:
                    frames.append(self._update(since, seq - 1, slots, ts_ms))
                frames.append(message(seq, slots))
                since = seq
        if since < end:
            frames.append(self._update(since, end, slots, ts_ms))
        return b"".join(frames)

    def position(self, end: int, slots: Collection[int] | None) -> tuple[str, int, int]:
        """Epoch, sequence number and checksum at `end`; no level has changed since the gate."""
        return self.epoch, end, self.book.crc(slots)

    def _gate(self, seq: int, _slots: Collection[int] | None) -> bytes:
        return messages.gate(channel=self.channel, epoch=self.epoch, prev=seq - 1, seq=seq, state="closed")

    def _cleared(self, seq: int, slots: Collection[int] | None) -> bytes:
        results = [result for result in self.book.results if slots is None or result.slot in slots]
        return messages.cleared(channel=self.channel, epoch=self.epoch, prev=seq - 1, seq=seq, results=results)

    def _update(self, prev: int, seq: int, slots: Collection[int] | None, ts_ms: int) -> bytes:
        book = self.book
        levels = book.changed_since(prev, slots)
        touched = sorted({level.slot for level in levels})
        return messages.update(
            channel=self.channel,
            prev=prev,
            seq=seq,
            ts_ms=ts_ms,
            levels=levels,
            indicatives=book.indicatives(touched),
            checksums={slot: book.slot_crc(slot) for slot in touched},
        )

    def _whole(self, now: datetime) -> tuple[int, BookState, bytes, bytes]:
        state = self._state(now)
        if self._kept is None or self._kept[:2] != (self.book.seq, state):
            text = self._make(now, None)
            self._kept = self.book.seq, state, text, text_frame(text)
        return self._kept

    def _make(self, now: datetime, slots: Collection[int] | None) -> bytes:
        book = self.book
        levels = book.levels(slots)
        return orjson.dumps(
            snapshot(
                channel=self.channel,
                epoch=self.epoch,
                seq=book.seq,
                gate=self.gate_at,
                state=self._state(now),
                price_tick=self._rules.price_tick,
                volume_tick=self._rules.volume_tick,
                levels=levels,
                indicatives=book.indicatives(sorted({level.slot for level in levels})),
                slots=slots,
                crc=book.crc(slots),
            )
        )

    def _state(self, now: datetime) -> BookState:
        return "closed" if self.book.state == "open" and now >= self.gate_at else self.book.state
