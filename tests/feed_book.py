"""A book as a client of the feed keeps it, written from the protocol's text alone.

What lives here: rules 1 and 4 of the protocol, and the `me` channel's chain. What must not: a socket, or anything of
the server's own book, for what is wrong there must not be wrong here too.
"""

import zlib
from bisect import bisect_left, insort
from collections.abc import Collection, Iterable
from typing import Any

Message = dict[str, Any]
_SIDES = {"B": 0, "S": 1}
_STATES = ("open", "closed", "cleared")
SLOTS = range(1, 97)


class Fault(AssertionError):
    """The feed said what the protocol does not allow."""


class Gap(Fault):
    """Messages are missing before this one."""


class Disagreement(Fault):
    """A checksum, or the form of a message, is not what it must be."""


class _Slot:
    """The levels of one slot in the order of rule 4, with each level's part of the checksum's text."""

    __slots__ = ("crc", "keys", "levels", "texts")

    def __init__(self) -> None:
        self.keys: list[tuple[int, int]] = []
        self.levels: dict[tuple[int, int], tuple[int, int]] = {}
        self.texts: dict[tuple[int, int], str] = {}
        self.crc = 0

    def put(self, side: str, price: int, volume: int, bids: int) -> None:
        """Set a level to its absolute volume; volume 0 removes it, also one that is not there."""
        key = (_SIDES[side], price)
        if volume == 0:
            if self.levels.pop(key, None) is not None:
                del self.texts[key]
                del self.keys[bisect_left(self.keys, key)]
            return
        if key not in self.levels:
            insort(self.keys, key)
        self.levels[key] = (volume, bids)
        self.texts[key] = f"{side},{price},{volume},{bids};"

    def sum_up(self) -> int:
        """The checksum of the slot; 0 without a level."""
        self.crc = zlib.crc32("".join([self.texts[key] for key in self.keys]).encode("ascii"))
        return self.crc


class FeedBook:
    """One delivery day's book, kept from messages. `slots` is the filter of the subscription, None for the whole book.

    `apply` raises Gap or Disagreement and leaves the book as it is, or in need of a `snap`.
    """

    def __init__(self, slots: Collection[int] | None = None) -> None:
        self.covered: tuple[int, ...] = tuple(SLOTS) if slots is None else tuple(sorted(slots))
        self.channel = ""
        self.epoch = ""
        self.seq = -1
        self.state = ""
        self.gate = ""
        self.ticks: dict[str, str] = {}
        self.indicatives: dict[int, tuple[int, int]] = {}
        # What the auction came to, once it ran.
        self.results: list[list[int]] | None = None
        self._slots: dict[int, _Slot] = {}

    @property
    def crc(self) -> int:
        """The checksum over the checksums of the slots that are covered, ascending."""
        return zlib.crc32(b"".join(self._slots[slot].crc.to_bytes(4, "big") for slot in self.covered))

    @property
    def levels(self) -> list[list[Any]]:
        """As a `snap` has them."""
        return [
            [number, "BS"[side], price, *slot.levels[side, price]]
            for number, slot in self._slots.items()
            for side, price in slot.keys
        ]

    @property
    def ind(self) -> list[list[int]]:
        """As a `snap` has them."""
        return [[slot, *self.indicatives[slot]] for slot in sorted(self.indicatives)]

    def apply(self, message: Message) -> bool:
        """Take in a `snap`, `upd`, `gate`, `cleared` or the channel's entry of an `hb`; whether there was news."""
        if message["t"] == "snap":
            self._restart(message)
            return True
        if message["t"] == "hb":
            self._compare(*message["at"][self.channel])
            return False
        if message["ch"] != self.channel:
            raise Disagreement(f"{message['ch']} on {self.channel}")
        if self.seq < 0:
            raise Gap(f"{message['t']} before a snap")
        if message["seq"] <= self.seq:
            return False
        if message["prev"] > self.seq:
            raise Gap(f"at {self.seq}, then {message['t']} {message['prev']}..{message['seq']}")
        if message["t"] == "gate":
            self._close(message)
        elif message["t"] == "cleared":
            self._clear(message)
        else:
            self._update(message)
        self.seq = message["seq"]
        return True

    def _restart(self, snap: Message) -> None:
        self.indicatives = {}
        self._slots = {slot: _Slot() for slot in self.covered}
        self.channel, self.epoch, self.seq = snap["ch"], snap["ep"], snap["seq"]
        self.state, self.gate, self.ticks = snap["state"], snap["gate"], snap["ticks"]
        if self.state not in _STATES:
            raise Disagreement(f"state {self.state!r}")
        if any(level[3] <= 0 for level in snap["lv"]):
            raise Disagreement("a level without volume in a snap")
        self._put(snap["lv"])
        for slot in self._slots.values():
            slot.sum_up()
        self._show(snap["ind"])
        if self.crc != snap["crc"]:
            raise Disagreement(f"the book at {self.seq}: {self.crc} is not {snap['crc']}")
        if self.levels != snap["lv"]:
            raise Disagreement("levels out of order")

    def _update(self, upd: Message) -> None:
        touched = {level[0] for level in upd["lv"]}
        if {int(slot) for slot in upd["cs"]} != touched or {entry[0] for entry in upd["ind"]} != touched:
            raise Disagreement(f"lv of {touched}, cs of {list(upd['cs'])}, ind of {upd['ind']}")
        self._put(upd["lv"])
        self._show(upd["ind"])
        wrong = [slot for slot in touched if self._slots[slot].sum_up() != upd["cs"][str(slot)]]
        if wrong:
            raise Disagreement(f"slots {wrong} at {upd['seq']}")

    def _clear(self, cleared: Message) -> None:
        if cleared["ep"] != self.epoch:
            raise Disagreement(f"the auction of {cleared['ep']} in {self.epoch}")
        if self.state != "closed":
            raise Disagreement(f"cleared after the book was {self.state}")
        # The book froze at the gate, so what it showed last is what cleared.
        shown = [[slot, *self.indicatives[slot]] for slot in self.covered if self.indicatives.get(slot, (0, 0))[1]]
        if cleared["slots"] != shown:
            raise Disagreement(f"cleared {cleared['slots']}, and the book showed {shown}")
        self.state = "cleared"
        self.results = cleared["slots"]

    def _close(self, gate: Message) -> None:
        if gate["ep"] != self.epoch:
            raise Disagreement(f"the gate of {gate['ep']} in {self.epoch}")
        if self.state != "open" or gate["state"] != "closed":
            raise Disagreement(f"{self.state}, then a gate that says {gate['state']}")
        self.state = gate["state"]

    def _compare(self, epoch: str, seq: int, crc: int) -> None:
        if epoch != self.epoch:
            raise Disagreement(f"a heartbeat of {epoch} in {self.epoch}")
        if seq > self.seq:
            raise Gap(f"at {self.seq}, then a heartbeat at {seq}")
        # One from before a resume brought this book further is of no use, and no fault.
        if seq == self.seq and crc != self.crc:
            raise Disagreement(f"the heartbeat at {seq}: {self.crc} is not {crc}")

    def _put(self, levels: Iterable[list[Any]]) -> None:
        seen = set()
        for slot, side, price, volume, bids in levels:
            if slot not in self._slots or (slot, side, price) in seen or min(volume, bids) < 0:
                raise Disagreement(f"level {[slot, side, price, volume, bids]}")
            if (volume == 0) != (bids == 0):
                raise Disagreement(f"{bids} bids of {volume}")
            seen.add((slot, side, price))
            self._slots[slot].put(side, price, volume, bids)

    def _show(self, indicatives: Iterable[list[Any]]) -> None:
        for slot, price, volume in indicatives:
            if (price is None) != (volume == 0):
                raise Disagreement(f"{volume} clear at {price}")
            if price is None:
                self.indicatives.pop(slot, None)
            else:
                self.indicatives[slot] = (price, volume)


class OwnMessages:
    """The `me` channel as a client keeps it: every message since `seq`, none missing, none twice."""

    def __init__(self) -> None:
        self.epoch = ""
        self.seq = -1
        self.messages: list[Message] = []

    def begin(self, ok: Message) -> None:
        """A subscription that was not recovered: what came before it is for REST to tell."""
        self.epoch, self.seq = ok["ep"], ok["seq"]

    def apply(self, message: Message) -> None:
        """Take in the next message. Raises Gap, Disagreement."""
        if message["ep"] != self.epoch:
            raise Disagreement(f"{message['ep']} in {self.epoch}")
        if message["prev"] != self.seq or message["seq"] != self.seq + 1:
            raise Gap(f"me at {self.seq}, then {message['prev']}..{message['seq']}")
        self.seq = message["seq"]
        self.messages.append(message)
