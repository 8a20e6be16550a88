"""A clock that a test sets, and days in Indian time.

What lives here: time as tests give it. What must not: a sleep.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone

IST = timezone(timedelta(hours=5, minutes=30))


@dataclass(slots=True)
class Clock:
    """Stands still until moved; starts at the present moment."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        """Forward by a timedelta's arguments."""
        self.at += timedelta(**by)


def india_today() -> date:
    """The calendar day in India."""
    return datetime.now(IST).date()


def india_day(ahead: int) -> str:
    """The day in India that many days from today, as the API writes it."""
    return (india_today() + timedelta(days=ahead)).isoformat()


def india_at(ahead: int, clock: time) -> datetime:
    """An Indian time of the day that many days from today, in UTC."""
    return datetime.combine(india_today() + timedelta(days=ahead), clock, IST).astimezone(UTC)
