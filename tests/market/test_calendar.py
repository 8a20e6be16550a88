"""Delivery days in India and their gates, whatever zone the clock is read in."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.calendar import Calendar, GateClosureError, parse_gate_closure

MIDNIGHT = Calendar()
MORNING = Calendar(parse_gate_closure("10:30"))
INDIA = timezone(timedelta(hours=5, minutes=30))

INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
CLOSURES = st.integers(1, 86_400).map(lambda seconds: Calendar(timedelta(seconds=seconds)))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "closure"),
    [
        ("24:00", timedelta(hours=24)),
        ("24:00:00", timedelta(hours=24)),
        ("10:30", timedelta(hours=10, minutes=30)),
        ("23:59:30", timedelta(hours=23, minutes=59, seconds=30)),
        ("00:00:01", timedelta(seconds=1)),
    ],
)
def test_a_gate_closure_is_read(text: str, closure: timedelta) -> None:
    assert parse_gate_closure(text) == closure


@pytest.mark.parametrize(
    "value",
    ["00:00", "00:00:00", "24:01", "24:00:01", "25:00", "10:60", "10:00:60", "9:30", "10", "10:30\n", " 10:30", "-1:00",
     "１０:30", "10:３０", "", "midnight", None, 10, 24.0, True, timedelta(hours=1)],
    ids=ascii,
)  # fmt: skip
def test_a_gate_closure_that_is_no_time_of_the_day_before_is_refused(value: object) -> None:
    with pytest.raises(GateClosureError, match="must be a quoted time of the day before delivery"):
        parse_gate_closure(value)


@pytest.mark.parametrize(
    "closure",
    [timedelta(0), timedelta(seconds=-1), timedelta(hours=24, seconds=1), timedelta(days=2), timedelta(milliseconds=1)],
)
def test_a_calendar_refuses_a_gate_outside_the_day_before(closure: timedelta) -> None:
    with pytest.raises(GateClosureError, match="whole seconds"):
        Calendar(closure)


@pytest.mark.parametrize(
    ("now", "today"),
    [
        ("2026-11-21T18:29:59+00:00", date(2026, 11, 21)),
        ("2026-11-21T18:30:00+00:00", date(2026, 11, 22)),
        ("2026-11-22T00:00:00+05:30", date(2026, 11, 22)),
        ("2026-11-21T10:30:00-08:00", date(2026, 11, 22)),
        ("2026-12-31T18:30:00+00:00", date(2027, 1, 1)),
    ],
)
def test_the_day_is_the_indian_one_and_not_the_servers(now: str, today: date) -> None:
    assert MIDNIGHT.today(at(now)) == today


def test_the_default_gate_is_the_indian_midnight_that_begins_the_delivery_day() -> None:
    gate = MIDNIGHT.gate_at(date(2026, 11, 23))
    assert gate == at("2026-11-22T18:30:00+00:00")
    assert gate.tzinfo is UTC
    assert gate == MIDNIGHT.slot_start(date(2026, 11, 23), 1)


def test_an_earlier_gate_is_a_time_of_the_day_before_delivery() -> None:
    assert MORNING.gate_at(date(2026, 11, 23)) == at("2026-11-22T10:30:00+05:30")
    assert MORNING.gate_at(date(2028, 3, 1)) == at("2028-02-29T10:30:00+05:30")


@pytest.mark.parametrize(
    ("calendar", "now", "day"),
    [
        (MIDNIGHT, "2026-11-22T00:00:00+05:30", date(2026, 11, 23)),
        (MIDNIGHT, "2026-11-22T23:59:59.999999+05:30", date(2026, 11, 23)),
        (MIDNIGHT, "2026-11-23T00:00:00+05:30", date(2026, 11, 24)),
        (MORNING, "2026-11-22T10:29:59.999999+05:30", date(2026, 11, 23)),
        (MORNING, "2026-11-22T10:30:00+05:30", date(2026, 11, 24)),
        (MORNING, "2026-11-22T23:00:00+05:30", date(2026, 11, 24)),
        (MORNING, "2026-11-23T00:00:00+05:30", date(2026, 11, 24)),
    ],
)
def test_the_open_day_is_the_next_whose_gate_still_lies_ahead(calendar: Calendar, now: str, day: date) -> None:
    assert calendar.open_day(at(now)) == day
    assert calendar.open_day(at(now).astimezone(ZoneInfo("America/Los_Angeles"))) == day


@given(CLOSURES, INSTANTS)
@settings(deadline=None, max_examples=300)
def test_no_earlier_day_after_today_is_open_than_the_open_day(calendar: Calendar, now: datetime) -> None:
    day = calendar.open_day(now)
    assert day > calendar.today(now)
    assert now < calendar.gate_at(day)
    earlier = day - timedelta(days=1)
    assert earlier == calendar.today(now) or calendar.gate_at(earlier) <= now


@given(INSTANTS)
@settings(deadline=None, max_examples=200)
def test_with_the_default_gate_tomorrow_is_always_open(now: datetime) -> None:
    assert MIDNIGHT.open_day(now) == MIDNIGHT.today(now) + timedelta(days=1)


@given(CLOSURES, st.dates(date(2000, 1, 1), date(2200, 1, 1)))
@settings(deadline=None, max_examples=200)
def test_a_gate_closes_within_the_indian_day_before_delivery(calendar: Calendar, day: date) -> None:
    begins = datetime(day.year, day.month, day.day, tzinfo=INDIA)
    assert begins - timedelta(days=1) < calendar.gate_at(day) <= begins
    assert calendar.gate_at(day) == begins - timedelta(days=1) + calendar.gate_closure


def test_a_slot_starts_at_its_quarter_hour_in_india() -> None:
    day = date(2026, 11, 23)
    assert MIDNIGHT.slot_start(day, 1) == at("2026-11-23T00:00:00+05:30")
    assert MIDNIGHT.slot_start(day, 41) == at("2026-11-23T10:00:00+05:30")
    assert MIDNIGHT.slot_start(day, 96) == at("2026-11-23T23:45:00+05:30")
    assert MIDNIGHT.slot_start(day, 1).tzinfo is UTC


@pytest.mark.parametrize("slot", [0, 97, -1])
def test_a_slot_beyond_the_day_has_no_start(slot: int) -> None:
    with pytest.raises(ValueError, match="a day has slots 1 to 96"):
        MIDNIGHT.slot_start(date(2026, 11, 23), slot)


def test_an_instant_without_a_zone_is_refused() -> None:
    naive = datetime(2026, 11, 22, 12)  # noqa: DTZ001 - the fault under test
    with pytest.raises(ValueError, match="time zone"):
        MIDNIGHT.today(naive)
    with pytest.raises(ValueError, match="time zone"):
        MIDNIGHT.open_day(naive)
