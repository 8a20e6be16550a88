"""Time as tests give it: a clock to set, what Redis keeps grown older, days in Indian time.

What lives here: time. What must not: a sleep.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone

from redis import asyncio as aioredis

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


async def let_pass(redis_url: str, **time_passed: float) -> None:
    """Bring everything that Redis will forget nearer to that moment, by a timedelta's arguments."""
    passed_ms = int(timedelta(**time_passed) / timedelta(milliseconds=1))
    redis = aioredis.Redis.from_url(redis_url)
    async for key in redis.scan_iter():
        left_ms = await redis.pttl(key)
        if left_ms > 0:
            await redis.pexpire(key, max(0, left_ms - passed_ms))
    await redis.aclose()


def india_today() -> date:
    """The calendar day in India."""
    return datetime.now(IST).date()


def india_day(ahead: int) -> str:
    """The day in India that many days from today, as the API writes it."""
    return (india_today() + timedelta(days=ahead)).isoformat()


def india_at(ahead: int, clock: time) -> datetime:
    """An Indian time of the day that many days from today, in UTC."""
    return datetime.combine(india_today() + timedelta(days=ahead), clock, IST).astimezone(UTC)
