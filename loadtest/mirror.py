"""What a subscriber of the feed knows, for whom every gap and every wrong checksum is a fault of the server's.

What lives here: the rules of docs/feed.md for applying messages. What must not: a socket, or a second chance: a client
would ask for a resync, a load test must fail.
"""

from struct import pack
from typing import Any
from zlib import crc32

SLOTS = range(1, 97)


class FeedFault(Exception):
    """What the feed said cannot be right."""


class BookMirror:
    """The whole book of one channel as of event `seq` of history `epoch`; `seq` is -1 before the snapshot."""

    def __init__(self) -> None:
        self.epoch = ""
        self.seq = -1
        self._slots: dict[int, dict[tuple[str, int], tuple[int, int]]] = {}
        self._sums: dict[int, int] = {}

    @property
    def crc(self) -> int:
        """The checksum of the book."""
        return crc32(pack(">96I", *self._sums.values()))

    def apply(self, message: dict[str, Any]) -> None:
        """Take in a `snap`, `upd`, `gate`, `cleared` or `hb`. Raises FeedFault."""
        if message["t"] == "snap":
            self._begin(message)
        elif message["t"] == "hb":
            for epoch, seq, crc in message["at"].values():
                self._look_at(epoch, seq, crc)
        elif message["seq"] > self.seq:
            self._go_on(message)

    def _begin(self, snap: dict[str, Any]) -> None:
        self.epoch, self.seq = snap["ep"], snap["seq"]
        self._slots, self._sums = {slot: {} for slot in SLOTS}, dict.fromkeys(SLOTS, 0)
        self._put(snap["lv"])
        if self.crc != snap["crc"]:
            raise FeedFault(f"the snapshot at {self.seq} has checksum {self.crc}, and says {snap['crc']}")

    def _look_at(self, epoch: str, seq: int, crc: int) -> None:
        if epoch != self.epoch:
            raise FeedFault(f"a heartbeat of history {epoch} in {self.epoch}")
        if seq > self.seq:
            raise FeedFault(f"a gap: at {self.seq}, then a heartbeat at {seq}")
        if seq == self.seq and crc != self.crc:
            raise FeedFault(f"the book at {self.seq} has checksum {self.crc}, and a heartbeat says {crc}")

    def _go_on(self, message: dict[str, Any]) -> None:
        if message["prev"] > self.seq:
            raise FeedFault(f"a gap: at {self.seq}, then {message['t']} from {message['prev']} to {message['seq']}")
        if message.get("ep", self.epoch) != self.epoch:
            raise FeedFault(f"{message['t']} of history {message['ep']} in {self.epoch}")
        self._put(message.get("lv", []))
        self.seq = message["seq"]
        for slot, crc in message.get("cs", {}).items():
            if self._sums[int(slot)] != crc:
                raise FeedFault(f"slot {slot} at {self.seq} has checksum {self._sums[int(slot)]}, and {crc} was said")

    def _put(self, levels: list[list[Any]]) -> None:
        for slot, side, price, volume, bids in levels:
            if volume:
                self._slots[slot][side, price] = volume, bids
            else:
                self._slots[slot].pop((side, price), None)
        for slot in {level[0] for level in levels}:
            rows = sorted(self._slots[slot].items())
            text = "".join(f"{side},{price},{volume},{bids};" for (side, price), (volume, bids) in rows)
            self._sums[slot] = crc32(text.encode("ascii"))


class OwnMirror:
    """How many events of the account's own have been seen since the subscription, which began at `seq`."""

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.seen = 0

    def apply(self, message: dict[str, Any]) -> None:
        """Take in a `me` message. Raises FeedFault."""
        if (message["prev"], message["seq"]) != (self.seq, self.seq + 1):
            raise FeedFault(f"a gap: own events at {self.seq}, then from {message['prev']} to {message['seq']}")
        self.seq += 1
        self.seen += 1
