"""What is short-lived, in Redis: OTPs, counters that limit, the development outbox. The only module that knows Redis.

What lives here: atomic steps on those keys and their lifetimes. What must not: what an OTP looks like (auth/otp.py),
what a limit's breach is called (handlers/errors.py).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

# aioredis 2.0.1 cannot be imported on Python 3.11; redis-py is its maintained successor.
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from storage.errors import RedisUnavailable

T = TypeVar("T")
_OUTBOX = "outbox"
_OUTBOX_KEPT = 500

# KEYS: the OTP, the failures of its number, the failures of all numbers.
# ARGV: digest, tries of one OTP, failures a number may have a day, failures all numbers may have a day, now in ms.
# Answers {word, milliseconds left}. Nothing can come between the comparison and the count or the deletion.
_CONSUME = """
local kept = redis.call('HMGET', KEYS[1], 'digest', 'failures', 'expires')
if not kept[1] then return {'none', 0} end
local left = tonumber(kept[3]) - tonumber(ARGV[5])
if left <= 0 then
    redis.call('DEL', KEYS[1])
    return {'none', 0}
end
if tonumber(redis.call('GET', KEYS[2]) or 0) >= tonumber(ARGV[3])
   or tonumber(redis.call('GET', KEYS[3]) or 0) >= tonumber(ARGV[4]) then
    redis.call('DEL', KEYS[1])
    return {'none', 0}
end
if kept[1] == ARGV[1] then
    redis.call('DEL', KEYS[1])
    return {'right', left, tonumber(kept[2])}
end
for i = 2, 3 do
    if redis.call('INCR', KEYS[i]) == 1 then redis.call('EXPIRE', KEYS[i], 86400) end
end
if redis.call('HINCRBY', KEYS[1], 'failures', 1) >= tonumber(ARGV[2]) then redis.call('DEL', KEYS[1]) end
return {'wrong', 0}
"""
# KEYS: the OTP. ARGV: digest, failures, the moment it expires in ms, its time left in ms.
# In one step: a hash that holds a digest and not yet the rest would be a fault to whoever tries it, and, if this
# process died there, an OTP that never expires.
_PUT_BACK = """
if redis.call('HSETNX', KEYS[1], 'digest', ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'failures', ARGV[2], 'expires', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
"""
# KEYS: counters. ARGV: for each counter its limit and its window in seconds.
# Counts on all of them, or on none and answers the seconds until the fullest has room again.
_TAKE = """
local wait = 0
for i, key in ipairs(KEYS) do
    if tonumber(redis.call('GET', key) or 0) >= tonumber(ARGV[2 * i - 1]) then
        wait = math.max(wait, math.ceil(redis.call('PTTL', key) / 1000), 1)
    end
end
if wait > 0 then return wait end
for i, key in ipairs(KEYS) do
    if redis.call('INCR', key) == 1 then redis.call('EXPIRE', key, ARGV[2 * i]) end
end
return 0
"""
# KEYS: counters. Takes back one count of each that still has any.
_GIVE_BACK = """
for _, key in ipairs(KEYS) do
    if tonumber(redis.call('GET', key) or 0) > 0 then redis.call('DECR', key) end
end
return 0
"""


class OtpAnswer(Enum):
    """What became of a try: RIGHT consumed the OTP; WRONG counted; NONE means there is no live OTP."""

    RIGHT = "right"
    WRONG = "wrong"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ConsumedOtp:
    """An OTP that was right and is gone, with what is needed to put it back."""

    key: str
    digest: str
    left_ms: int
    failures: int


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` counts of `key` in a window of `window_s` seconds that begins with the first."""

    key: str
    most: int
    window_s: int


@dataclass(frozen=True, slots=True)
class OtpRules:
    """Lifetime in seconds, wrong tries an OTP survives, wrong tries a day for one number and for all numbers."""

    lifetime_s: int
    tries: int
    failures_per_number_day: int
    failures_day: int


class Codes:
    """Everything of one process that is kept in Redis. Every method raises RedisUnavailable when Redis does not
    answer in time."""

    def __init__(self, url: str, timeout_s: float, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells the time in seconds since 1970; what an OTP's age is measured by."""
        self._clock = clock
        self._deadline_s = 2 * timeout_s
        self._redis: Any = aioredis.Redis(
            connection_pool=aioredis.BlockingConnectionPool.from_url(
                url,
                max_connections=50,
                timeout=timeout_s,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                decode_responses=True,
                # A count or a consumption must not be repeated blindly.
                retry=Retry(NoBackoff(), 0),
            )
        )
        self._consume = self._redis.register_script(_CONSUME)
        self._put_back = self._redis.register_script(_PUT_BACK)
        self._take = self._redis.register_script(_TAKE)
        self._give_back = self._redis.register_script(_GIVE_BACK)

    async def _ask(self, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await answer
        except (RedisError, OSError, TimeoutError) as fault:
            raise RedisUnavailable from fault

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    async def ping(self) -> None:
        """Return when Redis answers."""
        await self._ask(self._redis.ping())

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose(close_connection_pool=True)

    async def keep_otp(self, purpose: str, phone: str, digest: str, rules: OtpRules) -> None:
        """Keep the digest of an OTP that was sent, in place of an earlier one of this purpose and number (E.164)."""
        key = _otp_key(purpose, phone)
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.delete(key)
        expires_ms = self._now_ms() + rules.lifetime_s * 1000
        pipeline.hset(key, mapping={"digest": digest, "failures": 0, "expires": expires_ms})
        pipeline.pexpire(key, rules.lifetime_s * 1000)
        await self._ask(pipeline.execute())

    async def drop_otp(self, purpose: str, phone: str, digest: str) -> None:
        """Forget an OTP that could not be sent."""
        key = _otp_key(purpose, phone)
        if await self._ask(self._redis.hget(key, "digest")) == digest:
            await self._ask(self._redis.delete(key))

    async def try_otp(
        self, purpose: str, phone: str, digest: str, rules: OtpRules
    ) -> tuple[OtpAnswer, ConsumedOtp | None]:
        """Try an OTP's digest. The right one is consumed in the same step, so that of two only one succeeds."""
        key = _otp_key(purpose, phone)
        word, *rest = await self._ask(
            self._consume(
                keys=[key, f"otp-failures:{phone}", "otp-failures"],
                args=[digest, rules.tries, rules.failures_per_number_day, rules.failures_day, self._now_ms()],
            )
        )
        answer = OtpAnswer(word)
        if answer is not OtpAnswer.RIGHT:
            return answer, None
        return answer, ConsumedOtp(key, digest, int(rest[0]), int(rest[1]))

    async def put_back_otp(self, otp: ConsumedOtp) -> None:
        """Make a consumed OTP live again for the rest of its time, unless a newer one has taken its place."""
        if otp.left_ms <= 0:
            return
        expires_ms = self._now_ms() + otp.left_ms
        await self._ask(self._put_back(keys=[otp.key], args=[otp.digest, otp.failures, expires_ms, otp.left_ms]))

    async def take(self, limits: Sequence[Limit]) -> int:
        """Count once against every limit, or, where one is reached, against none. Returns 0, or the seconds to wait."""
        return int(
            await self._ask(
                self._take(
                    keys=[limit.key for limit in limits],
                    args=[part for limit in limits for part in (limit.most, limit.window_s)],
                )
            )
        )

    async def give_back(self, limits: Sequence[Limit]) -> None:
        """Take back what `take` counted."""
        await self._ask(self._give_back(keys=[limit.key for limit in limits]))

    async def remember(self, key: str, lifetime_s: int) -> None:
        """Remember a fact for a while."""
        await self._ask(self._redis.set(key, "1", ex=lifetime_s))

    async def remembers(self, key: str) -> bool:
        """Whether a fact is still remembered."""
        return bool(await self._ask(self._redis.exists(key)))

    async def push_outbox(self, text: str) -> None:
        """Keep a message of the development outbox, for all processes to show; the oldest make room."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.lpush(_OUTBOX, text)
        pipeline.ltrim(_OUTBOX, 0, _OUTBOX_KEPT - 1)
        await self._ask(pipeline.execute())

    async def list_outbox(self, limit: int) -> list[str]:
        """The newest messages of the development outbox, newest first."""
        return list(await self._ask(self._redis.lrange(_OUTBOX, 0, limit - 1)))


def _otp_key(purpose: str, phone: str) -> str:
    return f"otp:{purpose}:{phone}"
