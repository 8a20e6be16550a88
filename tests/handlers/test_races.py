"""Requests that race each other, each race beside its mutant: the same race with the lock taken out, seen to break.

What has several locks (the day's row, and the key constraints below it) is shown to break when all of them are gone.
"""

import asyncio
from dataclasses import replace
from typing import TypeAlias

import asyncpg
import pytest

from tests.answers import Answer, call
from tests.conftest import Client, MakeClient
from tests.factories import Household, ask_otp, bid, latest_otp, new_phone, place, sign_up
from tests.handlers.test_sign_up import sign_up as try_sign_up
from tests.mutants import look_then_delete, without_the_key_of_the_log, without_the_lock_of_the_day
from tests.offers import PLACE

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def racing_sign_ups(client: Client) -> list[int]:
    """Two sign-ups at once with one OTP; of both kinds, for which one number may have an account each."""
    phone = new_phone()
    otp = await ask_otp(client, phone)
    answers = await asyncio.gather(
        *(try_sign_up(client, phone, otp, accountType=kind) for kind in ("prosumer", "consumer"))
    )
    return sorted(answer.status for answer in answers)


async def test_two_sign_ups_at_once_use_one_otp_once(client: Client) -> None:
    for _ in range(5):
        assert await racing_sign_ups(client) == [200, 401]


async def test_an_otp_that_is_looked_up_before_it_is_deleted_signs_up_two(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_then_delete(monkeypatch, 2)
    assert await racing_sign_ups(client) == [200, 200]


async def after_forty_guesses(client: Client) -> int:
    """The status of the right OTP after forty wrong guesses at the same instant."""
    phone = new_phone()
    otp = await ask_otp(client, phone)
    wrong = [f"{(int(otp) + n) % 1_000_000:06}" for n in range(1, 41)]
    answers = await asyncio.gather(*(try_sign_up(client, phone, guess) for guess in wrong))
    assert {answer.status for answer in answers} == {401}
    return (await try_sign_up(client, phone, otp)).status


async def test_forty_guesses_at_once_are_more_than_five_tries(client: Client) -> None:
    assert await after_forty_guesses(client) == 401


async def test_guesses_that_are_counted_in_two_steps_are_hardly_counted(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_then_delete(monkeypatch, 40)
    assert await after_forty_guesses(client) == 200


async def racing_twins(here: Client, there: Client, household: Household) -> tuple[list[Answer], int]:
    """Equal requests with one key at the same instant on two processes; their answers, and the bids in the book."""
    answers = await asyncio.gather(
        *(
            call(client, "POST", PLACE, {"arr": [bid("10:00", "1", "4")]}, by=household, headers=KEY)
            for client in (here, there) * 3
        )
    )
    levels = (await call(here, "GET", "/book/dayahead?timeslot=10:00", by=household)).body["lv"]
    return answers, sum(level[4] for level in levels)


async def test_equal_keys_at_the_same_instant_place_once(make_client: MakeClient) -> None:
    """Also for the first bids of a day, when the row whose lock orders everything does not exist yet."""
    here, there = await make_client(), await make_client()
    for earlier in range(3):
        household = await sign_up(here)
        answers, bids = await racing_twins(here, there, household)
        assert [answer.status for answer in answers] == [200] * 6
        assert all(answer.body == answers[0].body for answer in answers)
        assert bids == earlier + 1


async def test_equal_keys_place_twice_without_the_locks(
    make_client: MakeClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    for client in (here, there):
        await place(client, household, bid("00:00"))
    without_the_lock_of_the_day(monkeypatch)
    await without_the_key_of_the_log(connection)
    await racing_twins(here, there, household)
    # In the log: a book in memory takes each number once.
    assert await connection.fetchval("SELECT count(*) FROM book_events WHERE slots = '{41}'") == 2


async def test_an_otp_that_is_put_back_while_others_try_it_is_whole_again(client: Client) -> None:
    """Twenty sign-ups at once that fail over a taken connection: each uses the OTP up and gives it back. Seen to answer
    500 when giving back took two steps."""
    taken = await sign_up(client)
    for _ in range(3):
        phone = new_phone()
        otp = await ask_otp(client, phone)
        answers = await asyncio.gather(
            *(try_sign_up(client, phone, otp, connectionId=taken.connection_id) for _ in range(20))
        )
        assert {answer.status for answer in answers} <= {401, 409}
        assert (await try_sign_up(client, phone, otp)).status == 200


async def test_two_changes_of_password_at_once_leave_one_password(client: Client) -> None:
    """The second one's old password is not the password any more when the first is through."""
    household = await sign_up(client)
    form = {"oldPassword": "sunshine-and-rain"}
    answers = await asyncio.gather(
        *(
            call(client, "POST", "/changepassword", {**form, "newPassword": f"new-password-{n}"}, by=household)
            for n in range(2)
        )
    )
    assert sorted(answer.status for answer in answers) == [200, 401]
    winner = next(n for n, answer in enumerate(answers) if answer.status == 200)
    signed_in = replace(household, token="")
    for n in range(2):
        whole = {"PhoneNo": signed_in.phone, "connectionId": signed_in.connection_id, "accountType": "prosumer"}
        answer = await call(client, "POST", "/signin", {**whole, "password": f"new-password-{n}"})
        assert answer.status == (200 if n == winner else 401)


async def test_two_resets_at_once_use_one_otp_once(client: Client) -> None:
    household = await sign_up(client)
    await call(client, "POST", "/sendotp", {"PhoneNo": household.phone, "purpose": "reset"})
    form = {
        "PhoneNo": household.phone,
        "otp": await latest_otp(client, household.phone),
        "accountType": "prosumer",
        "newPassword": "rain-and-sunshine",
    }
    answers = await asyncio.gather(*(call(client, "POST", "/resetpassword", form) for _ in range(2)))
    assert sorted(answer.status for answer in answers) == [200, 401]
