"""Which slots can be metered, and the deviation of a reading."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.calendar import Calendar
from market.readings import Metered, last_ended_slot

CALENDAR = Calendar()
DAY = date(2026, 11, 21)
MIDNIGHT = datetime(2026, 11, 20, 18, 30, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("passed", "slot"),
    [
        (timedelta(days=-400), 0),
        (timedelta(0), 0),
        (timedelta(minutes=15) - TICK, 0),
        (timedelta(minutes=15), 1),
        (timedelta(minutes=30) - TICK, 1),
        (timedelta(hours=24) - TICK, 95),
        (timedelta(hours=24), 96),
        (timedelta(days=400), 96),
    ],
    ids=str,
)
def test_a_slot_has_ended_once_its_last_moment_is_over(passed: timedelta, slot: int) -> None:
    assert last_ended_slot(CALENDAR, DAY, MIDNIGHT + passed) == slot


@given(st.integers(-(10**12), 10**12))
def test_the_slots_that_have_ended_are_those_whose_end_is_past(passed_us: int) -> None:
    now = MIDNIGHT + passed_us * TICK
    ended = [slot for slot in range(1, 97) if CALENDAR.slot_start(DAY, slot) + timedelta(minutes=15) <= now]
    assert last_ended_slot(CALENDAR, DAY, now) == len(ended)


@pytest.mark.parametrize(
    ("metered", "cleared", "deviation"),
    [
        (Metered(solar_generation=1200, net_energy=800), 1000, -200),
        (Metered(solar_generation=1200, net_energy=-300), 1000, -1300),
        (Metered(solar_generation=1200, net_energy=0), 0, 0),
        (Metered(energy_consumption=2**62), 2**53 - 1, 2**62 - 2**53 + 1),
        (Metered(energy_consumption=0), 5, -5),
        (Metered(energy_consumption=5), None, None),
    ],
    ids=["less", "drawn", "nothing", "large", "none", "not-cleared"],
)
def test_a_deviation_is_the_metered_volume_minus_the_cleared_one(
    metered: Metered, cleared: int | None, deviation: int | None
) -> None:
    assert metered.deviation(cleared) == deviation
