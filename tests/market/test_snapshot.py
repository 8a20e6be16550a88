"""The public book: checksums byte for byte, and the snapshot as the feed sends it."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from struct import pack
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.clearing import PriceRule
from market.level import Indicative, Level, Side, book_crc, indicative, slot_crc
from market.snapshot import snapshot
from market.ticks import Tick

GATE = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)


def crc_by_hand(data: bytes) -> int:
    """CRC-32 as its definition has it, bit by bit: an oracle that shares no code with zlib."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@st.composite
def books(draw: st.DrawFn) -> list[Level]:
    keys = st.tuples(st.integers(1, 96), st.sampled_from(["B", "S"]), st.integers(-2000, 2000))
    amounts = st.tuples(st.integers(0, 2**53 - 1), st.integers(1, 500))
    entries = draw(st.dictionaries(keys, amounts, max_size=12))
    return [
        Level(slot, "B" if side == "B" else "S", price, volume, bids if volume else 0)
        for (slot, side, price), (volume, bids) in entries.items()
    ]


def take(
    levels: Iterable[Level], indicatives: Iterable[Indicative] = (), slots: list[int] | None = None, **other: Any
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "channel": "book:2026-11-23",
        "epoch": "k3f9",
        "seq": 48230,
        "gate": GATE,
        "state": "open",
        "price_tick": Tick(Decimal("0.01")),
        "volume_tick": Tick(Decimal("0.001")),
    }
    return dict(snapshot(levels=levels, indicatives=indicatives, slots=slots, **(values | other)))


def test_the_oracle_knows_the_check_value_of_crc_32() -> None:
    assert crc_by_hand(b"123456789") == 0xCBF43926


def test_a_slot_checksum_covers_its_levels_buys_first_and_prices_numerically() -> None:
    levels = [
        Level(12, "S", 1000, 5, 1),
        Level(12, "B", 1000, 33700, 2),
        Level(12, "S", 910, 33700, 1),
        Level(12, "B", 425, 120000, 3),
        Level(12, "B", -5, 7, 1),
        Level(12, "B", -40, 8, 1),
    ]
    text = b"B,-40,8,1;B,-5,7,1;B,425,120000,3;B,1000,33700,2;S,910,33700,1;S,1000,5,1;"
    assert slot_crc(levels) == slot_crc(reversed(levels)) == crc_by_hand(text)


def test_an_empty_slot_has_checksum_0() -> None:
    assert slot_crc([]) == 0
    assert slot_crc([Level(12, "B", 425, 0, 0)]) == 0


def test_a_tombstone_does_not_count_in_a_checksum() -> None:
    level = Level(12, "B", 425, 120000, 3)
    assert slot_crc([level, Level(12, "S", 1, 0, 0)]) == slot_crc([level])


def test_the_book_checksum_covers_96_big_endian_words() -> None:
    levels = [Level(13, "S", 910, 33700, 1), Level(1, "B", 5, 1, 1), Level(96, "B", 425, 120000, 3)]
    words = [0] * 96
    words[0] = crc_by_hand(b"B,5,1,1;")
    words[12] = crc_by_hand(b"S,910,33700,1;")
    words[95] = crc_by_hand(b"B,425,120000,3;")
    assert book_crc(levels) == crc_by_hand(b"".join(word.to_bytes(4, "big") for word in words))


def test_the_checksum_of_an_empty_book_is_that_of_384_zero_bytes() -> None:
    assert book_crc([]) == crc_by_hand(bytes(384))


def test_a_filtered_checksum_covers_its_slots_in_ascending_order() -> None:
    levels = [Level(13, "S", 910, 33700, 1), Level(2, "B", 5, 1, 1), Level(50, "B", 425, 120000, 3)]
    expected = crc_by_hand(pack(">3I", crc_by_hand(b"B,5,1,1;"), 0, crc_by_hand(b"S,910,33700,1;")))
    assert book_crc(levels, [13, 2, 7]) == expected
    assert book_crc(levels, {2, 7, 13}) == expected
    assert book_crc(levels, [2, 2, 7, 13]) == expected


@given(books(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=200)
def test_checksums_do_not_depend_on_the_order_of_levels(levels: list[Level], random: Any) -> None:
    shuffled = levels.copy()
    random.shuffle(shuffled)
    assert book_crc(shuffled) == book_crc(levels) == book_crc(levels, range(1, 97))


@given(books())
@settings(deadline=None, max_examples=100)
def test_a_checksum_is_the_one_that_its_rule_spells_out(levels: list[Level]) -> None:
    words = b""
    for slot in range(1, 97):
        text = "".join(
            f"{side},{price},{volume},{bids};"
            for side in "BS"
            for price, volume, bids in sorted((x[2], x[3], x[4]) for x in levels if x[:2] == (slot, side) and x[3])
        )
        words += crc_by_hand(text.encode()).to_bytes(4, "big")
    assert book_crc(levels) == crc_by_hand(words)


def test_a_snapshot_reads_as_the_protocol_shows_it() -> None:
    levels = [Level(13, "S", 910, 33700, 1), Level(12, "B", 425, 120000, 3)]
    text = orjson.dumps(take(levels, [Indicative(12, 431, 98000)])).decode()
    assert text == (
        '{"t":"snap","ch":"book:2026-11-23","ep":"k3f9","seq":48230,"gate":"2026-11-22T18:30:00Z","state":"open",'
        '"ticks":{"price":"0.01","volume":"0.001"},"lv":[[12,"B",425,120000,3],[13,"S",910,33700,1]],'
        f'"ind":[[12,431,98000]],"crc":{book_crc(levels)}}}'
    )


@given(books(), st.lists(st.integers(1, 96), unique=True) | st.none())
@settings(deadline=None, max_examples=200)
def test_a_snapshot_carries_what_its_checksum_covers(levels: list[Level], slots: list[int] | None) -> None:
    snap = take(levels, slots=slots)
    rebuilt = [Level(*entry) for entry in snap["lv"]]
    assert rebuilt == sorted(x for x in levels if x.volume_ticks and (slots is None or x.slot in slots))
    assert snap["crc"] == book_crc(rebuilt, slots)


def test_a_filtered_snapshot_holds_only_its_slots_in_ascending_order() -> None:
    levels = [Level(slot, side, 100 + slot, 5, 1) for slot in (50, 13, 2) for side in _sides()]
    snap = take(levels, [Indicative(slot, 9, 5) for slot in (50, 13, 2)], slots=[13, 2])
    assert [entry[:2] for entry in snap["lv"]] == [[2, "B"], [2, "S"], [13, "B"], [13, "S"]]
    assert snap["ind"] == [[2, 9, 5], [13, 9, 5]]
    assert snap["crc"] == book_crc(levels, [2, 13]) != book_crc(levels)


def test_a_filter_of_no_slots_is_an_empty_book_and_not_the_whole() -> None:
    snap = take([Level(2, "B", 5, 1, 1)], slots=[])
    assert snap["lv"] == []
    assert snap["crc"] == 0


def test_a_checksum_that_is_known_is_not_computed_again() -> None:
    levels = [Level(2, "B", 5, 1, 1)]
    assert take(levels, crc=7)["crc"] == 7
    assert take(levels, crc=0)["crc"] == 0


def test_a_snapshot_names_only_slots_that_would_clear() -> None:
    snap = take([], [Indicative(3, None, 0), Indicative(2, -5, 7), Indicative(1, 0, 9)])
    assert snap["ind"] == [[1, 0, 9], [2, -5, 7]]


def test_the_gate_is_shown_in_utc_whatever_zone_it_came_in() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    assert take([], gate=GATE.astimezone(india))["gate"] == "2026-11-22T18:30:00Z"
    with pytest.raises(ValueError, match="time zone"):
        take([], gate=datetime(2026, 11, 22, 18, 30))  # noqa: DTZ001 - the fault under test


def test_tick_sizes_are_shown_as_plain_decimals() -> None:
    snap = take([], price_tick=Tick(Decimal("0.05")), volume_tick=Tick(Decimal("1E+1")))
    assert snap["ticks"] == {"price": "0.05", "volume": "10"}


def test_the_indicative_price_is_that_of_the_auction_on_the_levels() -> None:
    levels = [
        Level(7, "B", 500, 100, 1),
        Level(7, "S", 300, 60, 2),
        Level(7, "S", 450, 40, 1),
        Level(2, "S", 10, 5, 1),
        Level(2, "B", 9, 5, 1),
        Level(90, "B", -1, 3, 1),
        Level(90, "S", -4, 3, 1),
        Level(91, "B", 5, 0, 0),
    ]
    assert indicative(levels, PriceRule.MIDPOINT) == [(2, None, 0), (7, 475, 100), (90, -3, 3), (91, None, 0)]
    assert indicative(levels, PriceRule.SELLER)[1] == Indicative(7, 450, 100)
    assert indicative(levels, PriceRule.BUYER)[1] == Indicative(7, 500, 100)
    assert indicative([], PriceRule.MIDPOINT) == []


def _sides() -> tuple[Side, Side]:
    return "B", "S"
