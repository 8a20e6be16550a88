"""docs/feed.md: what it works out and what it lists is true."""

import re
import tomllib
from typing import Any
from zlib import crc32

import orjson
import pytest

from server.config import PROJECT_DIR
from tests.feed_book import FeedBook
from tests.feed_documents import documented_as

GUIDE = (PROJECT_DIR / "docs" / "feed.md").read_text()
CHECKSUMS = GUIDE.partition("## Checksums")[2].partition("\n## ")[0]
# Rows of the two tables: slot, bytes, checksum, the checksum as a word.
WORKED = re.findall(r"^\| ([0-9]+) \| (?:`([^`]+)`)? ?\| ([0-9]+) \| `([0-9a-f]{8})` \|$", CHECKSUMS, re.MULTILINE)


def shown() -> list[dict[str, Any]]:
    """Every message that stands in a JSON block, in order. A value left out as `...` makes it none."""
    blocks = re.findall(r"```json\n(.+?)```", GUIDE, re.DOTALL)
    # A message that goes on in the next line is indented there.
    texts = [text for block in blocks for text in re.sub(r"\n +", "", block).splitlines()]
    return [orjson.loads(text) for text in texts if "..." not in text.replace("J9...", "")]


def the(kind: str) -> dict[str, Any]:
    return next(message for message in shown() if message.get("t") == kind)


def written_code() -> dict[str, Any]:
    """What the guide's Python defines."""
    found = re.search(r"```python\n(.+?)```", CHECKSUMS, re.DOTALL)
    assert found
    namespace: dict[str, Any] = {}
    exec(found[1], namespace)  # noqa: S102 - the guide is ours
    return namespace


def test_every_message_shown_is_one_that_is_documented() -> None:
    assert len(shown()) >= 14
    for message in shown():
        assert len(documented_as(message)) == 1, message


def test_the_messages_shown_are_one_story_whose_checksums_are_true() -> None:
    book = FeedBook()
    book.apply(the("snap"))
    book.apply(the("upd"))
    book.apply(the("hb"))
    assert (book.seq, book.ind) == (11, [[41, 437, 2500]])


def test_the_bytes_written_out_have_the_checksums_beside_them() -> None:
    assert [slot for slot, *_ in WORKED] == ["12", "41", "12", "41"]
    for slot, text, crc, word in WORKED:
        assert crc32(text.encode("ascii")) == int(crc) == int(word, 16), slot


@pytest.mark.parametrize(("rows", "kind"), [(WORKED[:2], "snap"), (WORKED[2:], "upd")], ids=["before", "after"])
def test_the_bytes_written_out_are_those_of_the_book_shown(rows: list[tuple[str, ...]], kind: str) -> None:
    book = FeedBook()
    book.apply(the("snap"))
    if kind == "upd":
        book.apply(the("upd"))
        assert the("upd")["cs"] == {slot: int(crc) for slot, _, crc, _ in rows}
    for slot, text, *_ in rows:
        levels = [level[1:] for level in book.levels if level[0] == int(slot)]
        assert "".join(",".join(map(str, level)) + ";" for level in levels) == text


def test_the_bytes_of_the_books_checksum_are_those_described() -> None:
    found = re.search(
        r"are (\d+) zero bytes for slots 1 to 11, `([0-9a-f ]+)`, (\d+) zero bytes for slots 13 to 40,\s"
        r"`([0-9a-f ]+)`, and (\d+) zero bytes for slots 42 to 96\. Their CRC-32 is (\d+)",
        CHECKSUMS,
    )
    assert found
    before, slot_12, between, slot_41, after, crc = found.groups()
    data = (
        bytes(int(before)) + bytes.fromhex(slot_12) + bytes(int(between)) + bytes.fromhex(slot_41) + bytes(int(after))
    )
    assert len(data) == 384
    assert crc32(data) == int(crc) == the("snap")["crc"]


def test_the_code_shown_computes_the_checksums_shown() -> None:
    code, book = written_code(), FeedBook()
    for kind, rows in (("snap", WORKED[:2]), ("upd", WORKED[2:])):
        book.apply(the(kind))
        for slot, _, crc, _ in rows:
            assert code["slot_crc"]([level[1:] for level in book.levels if level[0] == int(slot)]) == int(crc)
        # In whatever order the levels come.
        assert code["book_crc"](book.levels[::-1]) == book.crc
    assert book.crc == the("hb")["at"][book.channel][2]
    assert f"The book's is now {book.crc}." in CHECKSUMS


def test_the_settings_listed_are_all_that_there_are_with_their_defaults() -> None:
    defaults = tomllib.loads((PROJECT_DIR / "config.toml").read_text())["feed"]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([0-9, ]+) \|", GUIDE, re.MULTILINE)
    listed = {
        name: float(value)
        for names, values in rows
        for name, value in zip(re.findall(r"\w+", names), values.split(", "), strict=True)
    }
    assert listed == defaults
