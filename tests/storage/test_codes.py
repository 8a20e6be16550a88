"""What Redis keeps: OTPs that one try can use up, counters that limit, and how a Redis that is gone or hung is met."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.embedded import EmbeddedServices
from storage.codes import Codes, Limit, OtpAnswer, OtpRules
from storage.errors import RedisUnavailable

PHONE = "+911234567890"
RULES = OtpRules(lifetime_s=300, tries=5, failures_per_number_day=75, failures_day=5000)


class Clock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def codes(redis_url: str, clock: Clock) -> AsyncIterator[Codes]:
    opened = Codes(redis_url, 1.0, clock)
    yield opened
    await opened.close()


async def attempt(codes: Codes, digest: str, rules: OtpRules = RULES) -> OtpAnswer:
    return (await codes.try_otp("signup", PHONE, digest, rules))[0]


async def test_the_right_one_is_used_up_once_however_many_try(codes: Codes) -> None:
    await codes.keep_otp("signup", PHONE, "right", RULES)
    answers = await asyncio.gather(*(attempt(codes, "right") for _ in range(20)))
    assert sorted(answer.value for answer in answers) == ["none"] * 19 + ["right"]


async def test_wrong_tries_count_together_and_end_it(codes: Codes) -> None:
    await codes.keep_otp("signup", PHONE, "right", RULES)
    answers = await asyncio.gather(*(attempt(codes, f"wrong{n}") for n in range(20)))
    assert sorted(answer.value for answer in answers) == ["none"] * 15 + ["wrong"] * 5
    assert await attempt(codes, "right") is OtpAnswer.NONE


async def test_it_lives_for_its_time_and_no_longer(codes: Codes, clock: Clock) -> None:
    await codes.keep_otp("signup", PHONE, "right", RULES)
    clock.now += 299.9
    assert await attempt(codes, "wrong") is OtpAnswer.WRONG
    clock.now += 0.1
    assert await attempt(codes, "right") is OtpAnswer.NONE


async def test_purposes_and_numbers_are_apart_and_a_new_one_replaces_the_old(codes: Codes) -> None:
    await codes.keep_otp("signup", PHONE, "first", RULES)
    await codes.keep_otp("signup", PHONE, "second", RULES)
    assert await attempt(codes, "first") is OtpAnswer.WRONG
    assert (await codes.try_otp("partner", PHONE, "second", RULES))[0] is OtpAnswer.NONE
    assert (await codes.try_otp("signup", "+919999999999", "second", RULES))[0] is OtpAnswer.NONE
    assert await attempt(codes, "second") is OtpAnswer.RIGHT


async def test_one_put_back_keeps_its_time_and_its_failures_and_yields_to_a_newer(codes: Codes, clock: Clock) -> None:
    await codes.keep_otp("signup", PHONE, "right", RULES)
    for _ in range(3):
        await attempt(codes, "wrong")
    clock.now += 100
    _, used = await codes.try_otp("signup", PHONE, "right", RULES)
    assert used is not None
    await codes.put_back_otp(used)
    assert await attempt(codes, "wrong") is OtpAnswer.WRONG
    clock.now += 199
    _, used = await codes.try_otp("signup", PHONE, "right", RULES)
    assert used is not None
    assert used.failures == 4
    await codes.keep_otp("signup", PHONE, "newer", RULES)
    await codes.put_back_otp(used)
    assert await attempt(codes, "newer") is OtpAnswer.RIGHT
    await codes.put_back_otp(used)
    clock.now += 1
    assert await attempt(codes, "right") is OtpAnswer.NONE


async def test_a_new_one_does_not_reset_the_failures_of_its_number(codes: Codes) -> None:
    rules = OtpRules(lifetime_s=300, tries=5, failures_per_number_day=7, failures_day=5000)
    for _ in range(2):
        await codes.keep_otp("signup", PHONE, "right", rules)
        for _ in range(4):
            await attempt(codes, "wrong", rules)
    await codes.keep_otp("signup", PHONE, "right", rules)
    assert await attempt(codes, "right", rules) is OtpAnswer.NONE


async def test_failures_over_all_numbers_are_bounded_too(codes: Codes) -> None:
    rules = OtpRules(lifetime_s=300, tries=5, failures_per_number_day=75, failures_day=3)
    for n in range(4):
        await codes.keep_otp("signup", f"+9112345678{n:02}", "right", rules)
        await codes.try_otp("signup", f"+9112345678{n:02}", "wrong", rules)
    await codes.keep_otp("signup", PHONE, "right", rules)
    assert await attempt(codes, "right", rules) is OtpAnswer.NONE


async def test_one_that_was_not_sent_is_dropped_but_never_a_newer_one(codes: Codes) -> None:
    await codes.keep_otp("signup", PHONE, "newer", RULES)
    await codes.drop_otp("signup", PHONE, "older")
    assert await attempt(codes, "wrong") is OtpAnswer.WRONG
    await codes.drop_otp("signup", PHONE, "newer")
    assert await attempt(codes, "newer") is OtpAnswer.NONE


async def test_a_limit_counts_all_or_none_and_says_how_long_to_wait(codes: Codes) -> None:
    narrow, wide = Limit("narrow", 2, 60), Limit("wide", 100, 600)
    waits = await asyncio.gather(*(codes.take([wide, narrow]) for _ in range(10)))
    assert sorted(waits)[:2] == [0, 0]
    assert all(50 < wait <= 60 for wait in sorted(waits)[2:])
    assert await codes.take([Limit("wide", 3, 600)]) == 0
    assert 590 < await codes.take([Limit("wide", 3, 600)]) <= 600
    await codes.give_back([narrow])
    assert await codes.take([narrow]) == 0


async def test_a_redis_that_hangs_or_is_gone_is_given_up_in_time(tmp_path: Path) -> None:
    services = EmbeddedServices(tmp_path / "data", postgres=False, redis=True)
    url = services.start().redis_url
    assert url
    codes = Codes(url, 0.2)
    try:
        await codes.ping()
        pid = await codes._redis.info("server")
        os.kill(pid["process_id"], signal.SIGSTOP)
        began = time.monotonic()
        answers = await asyncio.gather(*(codes.take([Limit("x", 10, 60)]) for _ in range(30)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {RedisUnavailable}
        assert time.monotonic() - began < 2
        os.kill(pid["process_id"], signal.SIGCONT)
        services.stop()
        with pytest.raises(RedisUnavailable):
            await codes.ping()
    finally:
        services.stop()
        await codes.close()
