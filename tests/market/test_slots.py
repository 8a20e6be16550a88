"""The 96 slots: their names, what clients may write for them, and splitting a volume over them."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.slots import SLOT_OF_TEXT, SLOTS, SlotError, format_slot, parse_timeslot, split_volume

MIDNIGHT = datetime(2026, 1, 1)  # noqa: DTZ001 - a clock face, not an instant


def clock(quarters: int) -> str:
    return "24:00" if quarters == SLOTS else f"{MIDNIGHT + timedelta(minutes=15 * quarters):%H:%M}"


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("10:00-10:15", 41, 41),
        ("10:00", 41, 41),
        ("00:00", 1, 1),
        ("0:00", 1, 1),
        ("00:00-00:15", 1, 1),
        ("9:00", 37, 37),
        ("9:00-9:15", 37, 37),
        ("09:00-9:15", 37, 37),
        ("9:45-10:00", 40, 40),
        ("23:45", 96, 96),
        ("23:45-00:00", 96, 96),
        ("23:45-0:00", 96, 96),
        ("23:45-24:00", 96, 96),
        ("10:00-11:00", 41, 44),
        ("8:30-10:00", 35, 40),
        ("22:00-24:00", 89, 96),
        ("22:00-00:00", 89, 96),
        ("00:00-24:00", 1, 96),
        ("0:00-24:00", 1, 96),
        ("1", 1, 1),
        ("96", 96, 96),
        (1, 1, 1),
        (96, 96, 96),
        (Decimal("37"), 37, 37),
        (Decimal("37.0"), 37, 37),
    ],
)
def test_a_timeslot_is_read(value: object, first: int, last: int) -> None:
    assert parse_timeslot(value) == range(first, last + 1)


def test_every_aligned_range_of_the_day_is_read() -> None:
    for start in range(SLOTS):
        for end in range(start + 1, SLOTS + 1):
            assert parse_timeslot(f"{clock(start)}-{clock(end)}") == range(start + 1, end + 1)


UNKNOWN = r"^must be a slot like 10:00-10:15, its start like 10:00, or its number from 1 to 96$"
NO_TIME = "^must be a time of the day between 00:00 and 24:00$"
NOT_ALIGNED = "^must start and end on a quarter hour, like 10:00-10:15$"
BACKWARDS = "^must end after it starts"
NO_NUMBER = "^must be a slot number from 1 to 96$"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("10:07", NOT_ALIGNED),
        ("10:00-10:20", NOT_ALIGNED),
        ("10:05-10:15", NOT_ALIGNED),
        ("10:15-10:00", BACKWARDS),
        ("10:00-10:00", BACKWARDS),
        ("00:00-00:00", BACKWARDS),
        ("24:00-24:00", BACKWARDS),
        ("24:00-00:00", BACKWARDS),
        ("24:00-00:15", BACKWARDS),
        ("23:00-01:00", BACKWARDS),
        ("25:00", NO_TIME),
        ("24:15", NO_TIME),
        ("24:15-25:00", NO_TIME),
        ("10:60", NO_TIME),
        ("10:75-11:00", NO_TIME),
        ("99:99", NO_TIME),
        ("24:00", UNKNOWN),
        ("", UNKNOWN),
        ("abc", UNKNOWN),
        ("10:00 - 10:15", UNKNOWN),
        (" 10:00", UNKNOWN),
        ("10:00\n", UNKNOWN),
        ("10:00-10:15\n", UNKNOWN),
        ("10:00-", UNKNOWN),
        ("-10:00", UNKNOWN),
        ("10:00-10:15-10:30", UNKNOWN),
        ("10:00:00", UNKNOWN),
        ("10:0", UNKNOWN),
        ("010:00", UNKNOWN),
        ("1000", UNKNOWN),
        ("10:00–10:15", UNKNOWN),
        ("10：00", UNKNOWN),
        ("１０:００", UNKNOWN),
        ("١٠:٠٠", UNKNOWN),
        ("١٠:00", UNKNOWN),
        ("١٠:00-11:00", UNKNOWN),
        ("10:٠٠-11:00", UNKNOWN),
        ("10:00-١١:00", UNKNOWN),
        ("10:00-11:٠٠", UNKNOWN),
        ("४१", UNKNOWN),
        ("0", UNKNOWN),
        ("97", UNKNOWN),
        ("-1", UNKNOWN),
        ("+1", UNKNOWN),
        ("01", UNKNOWN),
        ("1.0", UNKNOWN),
        ("1_0", UNKNOWN),
        ("5\n", UNKNOWN),
        ("\x00", UNKNOWN),
        ("\ud800", UNKNOWN),
        (None, UNKNOWN),
        (True, UNKNOWN),
        (False, UNKNOWN),
        ([], UNKNOWN),
        ({}, UNKNOWN),
        (b"10:00", UNKNOWN),
        (Decimal("NaN"), UNKNOWN),
        (Decimal("sNaN"), UNKNOWN),
        (Decimal("Infinity"), UNKNOWN),
        (0, NO_NUMBER),
        (97, NO_NUMBER),
        (-1, NO_NUMBER),
        (2**70, NO_NUMBER),
        pytest.param(10**5000, NO_NUMBER, id="10**5000"),
        (Decimal("37.5"), NO_NUMBER),
        (Decimal("1E+999999999999"), NO_NUMBER),
        (Decimal("1E-999999999999"), NO_NUMBER),
    ],
    ids=ascii,
)
def test_what_is_no_slot_is_refused_with_the_reason(value: object, text: str) -> None:
    with pytest.raises(SlotError, match=text):
        parse_timeslot(value)


def test_a_binary_float_is_our_own_fault_and_no_users() -> None:
    with pytest.raises(TypeError, match="binary float"):
        parse_timeslot(37.0)


def test_answers_name_every_slot_by_both_ends() -> None:
    assert format_slot(1) == "00:00-00:15"
    assert format_slot(41) == "10:00-10:15"
    assert format_slot(96) == "23:45-24:00"
    for slot in range(1, SLOTS + 1):
        assert format_slot(slot) == f"{clock(slot - 1)}-{clock(slot)}"
        assert parse_timeslot(format_slot(slot)) == range(slot, slot + 1)


@pytest.mark.parametrize("slot", [0, 97, -1])
def test_a_slot_that_does_not_exist_has_no_name(slot: int) -> None:
    with pytest.raises(SlotError):
        format_slot(slot)


def test_the_table_of_texts_holds_single_slots_that_parse_to_themselves() -> None:
    assert set(SLOT_OF_TEXT.values()) == set(range(1, SLOTS + 1))
    for text, slot in SLOT_OF_TEXT.items():
        assert text.isdigit() or text.split("-")[0].rjust(5, "0") == clock(slot - 1)
        assert parse_timeslot(text) == range(slot, slot + 1)


@given(st.text(max_size=20) | st.text(alphabet="0123456789:-", max_size=12))
@settings(deadline=None, max_examples=1000)
def test_any_text_is_a_range_of_the_day_or_a_slot_error(text: str) -> None:
    try:
        slots = parse_timeslot(text)
    except SlotError:
        return
    assert 1 <= slots.start < slots.stop <= SLOTS + 1
    assert text.isascii()


@given(st.integers(1, 2**63 - 1), st.integers(1, SLOTS))
@settings(deadline=None, max_examples=500)
def test_a_split_loses_nothing_and_is_equal_to_the_tick(volume: int, parts: int) -> None:
    if volume < parts:
        with pytest.raises(SlotError, match="cannot be split"):
            split_volume(volume, parts)
        return
    shares = split_volume(volume, parts)
    assert sum(shares) == volume
    assert len(shares) == parts
    assert max(shares) - min(shares) <= 1
    assert shares == sorted(shares, reverse=True)


def test_left_over_ticks_go_to_the_earliest_slots() -> None:
    assert split_volume(10, 4) == [3, 3, 2, 2]
    assert split_volume(1000, 3) == [334, 333, 333]
    assert split_volume(4, 4) == [1, 1, 1, 1]
    assert split_volume(7, 1) == [7]


@pytest.mark.parametrize(("volume", "parts"), [(3, 4), (0, 1), (-4, 2), (5, 0), (0, 0)])
def test_a_volume_with_fewer_ticks_than_slots_is_not_split(volume: int, parts: int) -> None:
    with pytest.raises(SlotError, match=f"{volume} ticks cannot be split over {parts} slots"):
        split_volume(volume, parts)
