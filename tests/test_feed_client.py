"""The tests' own client of the feed: its checksums against a second way to compute them, and that it notices faults."""

import copy
from collections.abc import Callable

import pytest

from tests.feed_book import Disagreement, FeedBook, Gap, Message, OwnMessages

CHANNEL = "book:2026-11-23"


def crc32(data: bytes) -> int:
    """CRC-32 bit by bit, as the polynomial's definition has it."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0xEDB88320 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def whole(**slots: int) -> int:
    """The checksum of a book whose slots have these checksums, `s12=...`, and all others 0."""
    return crc32(b"".join(slots.get(f"s{slot}", 0).to_bytes(4, "big") for slot in range(1, 97)))


SLOT_12 = crc32(b"B,425,120000,3;S,910,33700,1;")
SLOT_13 = crc32(b"S,910,33700,1;")
SNAP: Message = {
    "t": "snap",
    "ch": CHANNEL,
    "ep": "k3f9",
    "seq": 10,
    "gate": "2026-11-22T18:30:00Z",
    "state": "open",
    "ticks": {"price": "0.01", "volume": "0.001"},
    "lv": [[12, "B", 425, 120000, 3], [12, "S", 910, 33700, 1]],
    "ind": [[12, 431, 98000]],
    "crc": whole(s12=SLOT_12),
}
UPD: Message = {
    "t": "upd",
    "ch": CHANNEL,
    "prev": 10,
    "seq": 14,
    "ts": 1772366400123,
    "lv": [[12, "B", 425, 0, 0], [12, "S", 910, 0, 0], [13, "S", 910, 33700, 1]],
    "ind": [[12, None, 0], [13, None, 0]],
    "cs": {"12": 0, "13": SLOT_13},
}
GATE: Message = {"t": "gate", "ch": CHANNEL, "ep": "k3f9", "prev": 14, "seq": 15, "state": "closed"}
HEARTBEAT: Message = {"t": "hb", "ts": 1772366405000, "at": {CHANNEL: ["k3f9", 14, whole(s13=SLOT_13)]}}


def a_book(*messages: Message) -> FeedBook:
    book = FeedBook()
    for message in messages:
        assert book.apply(message) is (message["t"] != "hb")
    return book


def test_the_second_way_to_compute_a_checksum_is_the_standard_one() -> None:
    assert crc32(b"123456789") == 0xCBF43926
    assert crc32(b"") == 0
    assert whole() == 0x88BAD147


def test_a_book_follows_a_snap_updates_heartbeats_and_the_gate() -> None:
    book = a_book(SNAP)
    assert (book.levels, book.ind, book.seq, book.crc) == (SNAP["lv"], SNAP["ind"], 10, SNAP["crc"])
    book = a_book(SNAP, UPD, HEARTBEAT)
    assert (book.levels, book.ind, book.seq) == ([[13, "S", 910, 33700, 1]], [], 14)
    assert book.crc == whole(s13=SLOT_13)
    assert a_book(SNAP, UPD, GATE).state == "closed"


def test_sides_and_prices_are_in_the_order_of_the_rule() -> None:
    text = b"B,-5,1,1;B,90,1,1;B,100,1,1;S,7,1,1;"
    levels = [[1, "B", -5, 1, 1], [1, "B", 90, 1, 1], [1, "B", 100, 1, 1], [1, "S", 7, 1, 1]]
    book = a_book({**SNAP, "lv": levels, "ind": [], "crc": whole(s1=crc32(text))})
    assert book.levels == levels


def test_a_filter_covers_its_slots_in_ascending_order() -> None:
    book = FeedBook((13, 12))
    book.apply({**SNAP, "crc": crc32(SLOT_12.to_bytes(4, "big") + bytes(4))})
    book.apply(UPD)
    assert book.crc == crc32(bytes(4) + SLOT_13.to_bytes(4, "big"))


def test_what_is_old_is_ignored_and_what_overlaps_is_taken() -> None:
    book = a_book(SNAP)
    assert not book.apply({**UPD, "prev": 3, "seq": 10, "cs": {"12": 5}})
    assert book.apply({**UPD, "prev": 3})
    assert not book.apply(UPD)


@pytest.mark.parametrize(
    ("messages", "last"),
    [
        pytest.param([SNAP], {**UPD, "prev": 11}, id="an update after a hole"),
        pytest.param([SNAP], GATE, id="a gate after a hole"),
        pytest.param([], UPD, id="an update before the snap"),
        pytest.param([SNAP], HEARTBEAT, id="a heartbeat ahead"),
    ],
)
def test_a_gap_is_noticed(messages: list[Message], last: Message) -> None:
    book = a_book(*messages)
    book.channel = CHANNEL
    with pytest.raises(Gap):
        book.apply(last)


def _worse(of: Message, change: Callable[[Message], None]) -> Message:
    copied = copy.deepcopy(of)
    change(copied)
    return copied


@pytest.mark.parametrize(
    ("messages", "last"),
    [
        pytest.param([], {**SNAP, "crc": SNAP["crc"] ^ 1}, id="another checksum of the book"),
        pytest.param([], _worse(SNAP, lambda m: m["lv"].reverse()), id="levels out of order"),
        pytest.param([], _worse(SNAP, lambda m: m["lv"].append([14, "S", 1, 0, 0])), id="a level of nothing"),
        pytest.param([], {**SNAP, "state": "ajar"}, id="an unknown state"),
        pytest.param([SNAP], {**UPD, "cs": {**UPD["cs"], "13": SLOT_13 ^ 1}}, id="another checksum of a slot"),
        pytest.param([SNAP], {**UPD, "cs": {"13": SLOT_13}}, id="a touched slot without a checksum"),
        pytest.param([SNAP], {**UPD, "ind": UPD["ind"][:1]}, id="a touched slot without an indicative price"),
        pytest.param([SNAP], _worse(UPD, lambda m: m["lv"][2].__setitem__(3, 33701)), id="another volume"),
        pytest.param([SNAP], _worse(UPD, lambda m: m["lv"][2].__setitem__(4, 2)), id="another count"),
        pytest.param([SNAP], _worse(UPD, lambda m: m["lv"].pop(0)), id="a level left out"),
        pytest.param([SNAP], _worse(UPD, lambda m: m["lv"].append(m["lv"][0])), id="a level twice"),
        pytest.param([SNAP], {**UPD, "ch": "book:2026-11-24"}, id="another day"),
        pytest.param([SNAP, UPD], {**GATE, "ep": "k3fa"}, id="a gate of another epoch"),
        pytest.param([SNAP, UPD, GATE], {**GATE, "prev": 15, "seq": 16}, id="a gate that closes again"),
        pytest.param(
            [SNAP, UPD], {**HEARTBEAT, "at": {CHANNEL: ["k3f9", 14, 1]}}, id="another checksum in a heartbeat"
        ),
        pytest.param([SNAP, UPD], {**HEARTBEAT, "at": {CHANNEL: ["x", 14, 1]}}, id="another epoch in a heartbeat"),
    ],
)
def test_a_disagreement_is_noticed(messages: list[Message], last: Message) -> None:
    book = a_book(*messages)
    with pytest.raises(Disagreement):
        book.apply(last)


def test_own_messages_follow_each_other_without_a_hole_or_a_repeat() -> None:
    own = OwnMessages()
    own.begin({"ep": "u42", "seq": 17})
    first = {"t": "me", "ep": "u42", "seq": 18, "prev": 17, "kind": "bid", "data": {}}
    own.apply(first)
    for wrong in (first, {**first, "prev": 19, "seq": 20}, {**first, "prev": 18, "seq": 20}):
        with pytest.raises(Gap):
            own.apply(wrong)
    with pytest.raises(Disagreement):
        own.apply({**first, "ep": "u43", "prev": 18, "seq": 19})
    assert own.messages == [first]
