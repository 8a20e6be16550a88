"""Bid ids: day and sequence number in one integer that a browser can hold exactly."""

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.bid_ids import MAX_SEQ, bid_id, split_bid_id

FIRST = date(2000, 1, 1)
LAST = FIRST + timedelta(days=2**17 - 1)

DAYS = st.dates(FIRST, LAST)
SEQS = st.integers(1, MAX_SEQ)


def test_an_id_is_days_since_2000_and_the_sequence_number() -> None:
    assert bid_id(date(2000, 1, 1), 1) == 1
    assert bid_id(date(2000, 1, 2), 7) == 2**36 + 7
    assert bid_id(date(2026, 11, 23), 48230) == 9823 * 2**36 + 48230


@given(DAYS, SEQS)
@settings(deadline=None, max_examples=300)
def test_an_id_splits_into_what_it_was_made_of(day: date, seq: int) -> None:
    number = bid_id(day, seq)
    assert split_bid_id(number) == (day, seq)
    assert int(float(number)) == number


def test_the_largest_id_is_the_largest_integer_of_a_browser() -> None:
    assert bid_id(LAST, MAX_SEQ) == 2**53 - 1
    assert split_bid_id(2**53 - 1) == (LAST, MAX_SEQ)


@pytest.mark.parametrize("number", [0, -1, -(2**36), 2**36, 5 * 2**36, 2**53, 2**53 + 1, 2**63, 2**70, -(2**70)])
def test_a_number_that_no_bid_can_have_is_none(number: int) -> None:
    assert split_bid_id(number) is None


@given(st.integers(-(2**60), 2**60))
@settings(deadline=None, max_examples=500)
def test_any_number_is_either_one_bids_id_or_none(number: int) -> None:
    parts = split_bid_id(number)
    assert parts is None or bid_id(*parts) == number


@pytest.mark.parametrize(
    ("day", "seq"), [(date(1999, 12, 31), 1), (LAST + timedelta(days=1), 1), (FIRST, 0), (FIRST, -1), (FIRST, 2**36)]
)
def test_what_does_not_fit_an_id_is_refused(day: date, seq: int) -> None:
    with pytest.raises(ValueError, match="bid id"):
        bid_id(day, seq)
