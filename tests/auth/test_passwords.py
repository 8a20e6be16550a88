import asyncio
import time
from collections.abc import AsyncIterator

import bcrypt
import pytest

from auth.passwords import Passwords, password_fault


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    made = Passwords(cost=4, threads=2)
    yield made
    made.close()


@pytest.mark.parametrize(
    "password", ["eight888", "p" * 72, "🌞" * 18, "        ", " inner spaces ", "मेरा-पासवर्ड", "a" * 70 + "é", "क" * 24]
)
def test_a_password_of_eight_characters_to_72_bytes_is_accepted(password: str) -> None:
    assert password_fault(password) is None


@pytest.mark.parametrize(
    "password", ["", "seven77", "🌞" * 7, "p" * 73, "a" * 71 + "é", "क" * 25, "nul\0within", "\0" * 8]
)
def test_every_other_password_is_refused_with_a_reason(password: str) -> None:
    fault = password_fault(password)
    assert fault
    assert password not in fault or not password


async def test_a_password_matches_its_own_hash_only(passwords: Passwords) -> None:
    hashed = await passwords.hash("sunshine-and-rain")
    assert hashed.startswith("$2b$04$")
    assert await passwords.check("sunshine-and-rain", hashed)
    for wrong in ("sunshine-and-rai", "Sunshine-and-rain", "sunshine-and-rain ", "", "x" * 73, "sunshine-and-rain\0"):
        assert not await passwords.check(wrong, hashed), wrong


async def test_two_hashes_of_one_password_differ(passwords: Passwords) -> None:
    assert await passwords.hash("sunshine-and-rain") != await passwords.hash("sunshine-and-rain")


async def test_the_whole_72_bytes_count_and_nothing_is_cut(passwords: Passwords) -> None:
    hashed = await passwords.hash("p" * 71 + "q")
    assert await passwords.check("p" * 71 + "q", hashed)
    assert not await passwords.check("p" * 71 + "r", hashed)
    assert not await passwords.check("p" * 71 + "qz", hashed), "73 bytes of which 72 are right"


async def test_nobody_has_no_password_but_costs_the_same_check(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = await passwords.hash("sunshine-and-rain")
    costs = []
    check = bcrypt.checkpw

    def counted(password: bytes, against: bytes) -> bool:
        costs.append(against[:7])
        return check(password, against)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    assert not await passwords.check("sunshine-and-rain", None)
    assert not await passwords.check("x" * 200, None)
    assert not await passwords.check("x" * 200, hashed)
    assert await passwords.check("sunshine-and-rain", hashed)
    assert costs == [b"$2b$04$"] * 4


async def test_hashing_does_not_hold_the_loop() -> None:
    """At cost 11 one hash takes some 100 ms; inline, the loop would not turn once while four are made."""
    passwords = Passwords(cost=11, threads=2)
    try:
        work = asyncio.gather(*(passwords.hash("sunshine-and-rain") for _ in range(4)))
        turns, longest, last = 0, 0.0, time.monotonic()
        while not work.done():
            await asyncio.sleep(0.001)
            now = time.monotonic()
            turns, longest, last = turns + 1, max(longest, now - last), now
        await work
        assert turns > 20
        assert longest < 0.1
    finally:
        passwords.close()
