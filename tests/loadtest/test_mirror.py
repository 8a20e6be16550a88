"""The load test's eyes: it follows what is right, and fails on each thing that is not."""

from typing import Any

import pytest

from loadtest.mirror import BookMirror, FeedFault, OwnMirror
from tests.feed_book import FeedBook
from tests.feed_documents import published

Message = dict[str, Any]
# Told by the documentation's examples, whose checksums are true.
STORY: list[Message] = [
    published()["components"]["messages"][name]["examples"][0]["payload"]
    for name in ("snap", "upd", "hb", "gate", "cleared")
]
SNAP, UPD, BEAT, GATE, CLEARED = STORY


def beat(epoch: str, seq: int, crc: int) -> Message:
    return {**BEAT, "at": {SNAP["ch"]: [epoch, seq, crc]}}


def test_it_follows_the_documented_story() -> None:
    mirror, book = BookMirror(), FeedBook()
    for message in STORY[:4]:
        mirror.apply(message)
        book.apply(message)
        assert (mirror.epoch, mirror.seq, mirror.crc) == (book.epoch, book.seq, book.crc)
    mirror.apply(CLEARED)
    assert mirror.seq == 13
    # Where it stands already, nothing is to be done.
    mirror.apply(UPD)
    mirror.apply(beat(SNAP["ep"], 7, 1))
    assert (mirror.seq, mirror.crc) == (13, book.crc)
    mirror.apply(SNAP)
    assert (mirror.seq, mirror.crc) == (7, SNAP["crc"])


@pytest.mark.parametrize(
    ("story", "words"),
    [
        ([UPD], "a gap: at -1, then upd from 7 to 11"),
        ([SNAP, {**UPD, "prev": 8}], "a gap: at 7, then upd from 8 to 11"),
        ([SNAP, GATE], "a gap: at 7, then gate from 11 to 12"),
        ([SNAP, BEAT], "a gap: at 7, then a heartbeat at 11"),
        ([SNAP, UPD, {**GATE, "ep": "another"}], "gate of history another in k3f9a1c2"),
        ([SNAP, UPD, beat("another", 11, 401083584)], "a heartbeat of history another in k3f9a1c2"),
        ([{**SNAP, "crc": 1}], "the snapshot at 7 has checksum 1615857205, and says 1"),
        ([SNAP, {**UPD, "cs": {**UPD["cs"], "12": 1}}], "slot 12 at 11 has checksum 0, and 1 was said"),
        ([SNAP, {**UPD, "lv": UPD["lv"][1:]}], "slot 12 at 11 has checksum 372726277, and 0 was said"),
        ([SNAP, UPD, beat("k3f9a1c2", 11, 1)], "the book at 11 has checksum 401083584, and a heartbeat says 1"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_it_fails_on(story: list[Message], words: str) -> None:
    mirror = BookMirror()
    for message in story[:-1]:
        mirror.apply(message)
    with pytest.raises(FeedFault, match=words):
        mirror.apply(story[-1])


@pytest.mark.parametrize(("prev", "seq"), [(18, 19), (16, 17), (17, 19), (16, 18)])
def test_own_events_follow_one_another(prev: int, seq: int) -> None:
    mirror = OwnMirror(17)
    with pytest.raises(FeedFault, match=f"a gap: own events at 17, then from {prev} to {seq}"):
        mirror.apply({"prev": prev, "seq": seq})
    mirror.apply({"prev": 17, "seq": 18})
    assert (mirror.seq, mirror.seen) == (18, 1)
