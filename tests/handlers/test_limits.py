"""Limits on OTPs and sign-ins: who is slowed, for how long, and who is not."""

import asyncio

from tests.answers import Answer, assert_refused, call
from tests.clock import let_pass
from tests.conftest import Client, MakeClient
from tests.factories import PASSWORD, Household, ask_otp, latest_otp, new_phone, sign_up
from tests.handlers.test_sign_up import sign_up as try_sign_up

PROXY = {"trusted_proxies": ("127.0.0.0/8",)}


async def ask(client: Client, phone: str, address: str = "198.51.100.1", **more: str) -> Answer:
    return await call(client, "POST", "/sendotp", {"PhoneNo": phone, **more}, headers={"X-Forwarded-For": address})


async def sign_in(client: Client, household: Household, password: str, address: str, **changed: str) -> Answer:
    form = {
        "PhoneNo": household.phone,
        "password": password,
        "connectionId": household.connection_id,
        "accountType": household.account_type,
        **changed,
    }
    return await call(client, "POST", "/signin", form, headers={"X-Forwarded-For": address})


def assert_slowed(answer: Answer, at_most_s: int) -> int:
    """A 429 that says when to come back; the seconds."""
    assert_refused(answer, 429)
    wait = int(answer.headers["Retry-After"])
    assert 1 <= wait <= at_most_s
    return wait


async def test_a_number_gets_five_otps_in_fifteen_minutes(client: Client, redis_url: str) -> None:
    forms = ("9876543210", "09876543210", "+919876543210", "91 98765 43210", "9876543210")
    for phone in forms:
        assert (await ask(client, phone)).status == 200
    for same in forms:
        assert_slowed(await ask(client, same), 15 * 60)
    assert_slowed(await ask(client, "9876543210", purpose="reset"), 15 * 60)
    partner = await call(client, "POST", "/api/validate/send-otp", {"mobileNumber": "9876543210"})
    assert partner.status == 429, "over all purposes"
    assert (await ask(client, new_phone())).status == 200
    await let_pass(redis_url, minutes=14)
    assert_slowed(await ask(client, "9876543210"), 60)
    await let_pass(redis_url, minutes=1)
    assert (await ask(client, "9876543210")).status == 200


async def test_retry_after_is_the_time_until_there_is_room(make_client: MakeClient, redis_url: str) -> None:
    client = await make_client(limits={"otp_per_number": 2})
    phone = new_phone()
    assert (await ask(client, phone)).status == 200
    await let_pass(redis_url, minutes=5)
    assert (await ask(client, phone)).status == 200
    wait = assert_slowed(await ask(client, phone), 10 * 60)
    await let_pass(redis_url, seconds=wait - 2)
    assert_slowed(await ask(client, phone), 2)
    await let_pass(redis_url, seconds=2)
    assert (await ask(client, phone)).status == 200


async def test_a_number_gets_fifteen_otps_a_day_over_all_purposes(client: Client, redis_url: str) -> None:
    phone = new_phone()
    for n in range(15):
        assert (await ask(client, phone, purpose=("signup", "reset")[n % 2])).status == 200
        if n % 5 == 4:
            await let_pass(redis_url, minutes=15)
    assert_slowed(await ask(client, phone), 24 * 3600)
    await let_pass(redis_url, hours=22)
    assert_slowed(await ask(client, phone, purpose="reset"), 2 * 3600)
    partner = await call(client, "POST", "/api/validate/send-otp", {"mobileNumber": phone})
    assert partner.status == 429
    await let_pass(redis_url, hours=2)
    assert (await ask(client, phone)).status == 200


async def test_an_address_asks_for_a_bounded_number_of_otps(make_client: MakeClient) -> None:
    client = await make_client(limits={"otp_per_address": 3}, server=PROXY)
    for _ in range(3):
        assert (await ask(client, new_phone(), "198.51.100.1")).status == 200
    assert_slowed(await ask(client, new_phone(), "198.51.100.1"), 15 * 60)
    assert (await ask(client, new_phone(), "198.51.100.2")).status == 200


async def test_a_request_that_is_slowed_sends_nothing_and_keeps_the_otp_before(make_client: MakeClient) -> None:
    client = await make_client(limits={"otp_per_number": 1})
    phone = new_phone()
    otp = await ask_otp(client, phone)
    assert (await ask(client, phone)).status == 429
    assert len(await (await client.get("/dev/outbox")).json()) == 1
    assert (await try_sign_up(client, phone, otp)).status == 200


async def test_guesses_at_the_same_instant_count_each(client: Client) -> None:
    """Forty at once on one OTP, the right one last: no more than five are looked at."""
    phone = new_phone()
    otp = await ask_otp(client, phone)
    wrong = [f"{(int(otp) + n) % 1_000_000:06}" for n in range(1, 41)]
    answers = await asyncio.gather(*(try_sign_up(client, phone, guess) for guess in wrong))
    assert {answer.status for answer in answers} <= {401, 429}
    assert (await try_sign_up(client, phone, otp)).status in (401, 429)


async def test_a_number_can_be_guessed_at_75_times_a_day(client: Client, redis_url: str) -> None:
    """The arithmetic of it: 15 OTPs a day with 5 tries each are 75 guesses at one in a million each, a chance below
    one in 10,000. A guess that is looked at leaves its mark: an OTP is gone after the fifth, and the day's last one
    cannot be replaced."""
    phone = new_phone()
    otps = 0
    for _ in range(20):
        if (await ask(client, phone)).status != 200:
            break
        otp = await latest_otp(client, phone)
        otps += 1
        for n in range(1, 6):
            assert (await try_sign_up(client, phone, f"{(int(otp) + n) % 1_000_000:06}")).status == 401
        assert (await try_sign_up(client, phone, otp)).status == 401, "the sixth guess of an OTP, a right one"
        if otps % 5 == 0:
            await let_pass(redis_url, minutes=15)
    assert otps == 15
    assert otps * 5 / 1_000_000 < 1 / 10_000


async def test_wrong_tries_count_for_the_number_whatever_otp_they_were_for(make_client: MakeClient) -> None:
    """Two OTPs a day are ten tries a day, also if a third OTP came about by other means."""
    strict = await make_client(limits={"otp_per_number": 1000, "otp_per_number_day": 2})
    generous = await make_client(limits={"otp_per_number": 1000, "otp_per_number_day": 1000})
    phone, other = new_phone(), new_phone()
    for _ in range(2):
        otp = await ask_otp(strict, phone)
        for n in range(1, 6):
            assert (await try_sign_up(strict, phone, f"{(int(otp) + n) % 1_000_000:06}")).status == 401
    third = await ask_otp(generous, phone)
    assert (await try_sign_up(strict, phone, third)).status == 401
    assert (await try_sign_up(strict, other, await ask_otp(strict, other))).status == 200


async def test_wrong_otps_over_all_numbers_are_bounded(make_client: MakeClient) -> None:
    client = await make_client(limits={"otp_failures_day": 3})
    phones = [new_phone() for _ in range(4)]
    otps = [await ask_otp(client, phone) for phone in phones]
    for phone, otp in list(zip(phones, otps, strict=True))[:3]:
        assert (await try_sign_up(client, phone, f"{(int(otp) + 1) % 1_000_000:06}")).status == 401
    assert (await try_sign_up(client, phones[3], otps[3])).status in (401, 429)


async def test_failed_sign_ins_are_slowed_for_an_account_and_address(make_client: MakeClient, redis_url: str) -> None:
    client = await make_client(server=PROXY)
    household, other = await sign_up(client), await sign_up(client)
    assert (await sign_in(client, household, PASSWORD, "203.0.113.8")).status == 200
    for _ in range(10):
        assert (await sign_in(client, household, "a-wrong-guess", "203.0.113.7")).status == 401
    assert_slowed(await sign_in(client, household, "a-wrong-guess", "203.0.113.7"), 15 * 60)
    wait = assert_slowed(await sign_in(client, household, PASSWORD, "203.0.113.7"), 15 * 60)
    assert (await sign_in(client, other, PASSWORD, "203.0.113.7")).status == 200, "another account"
    assert (await sign_in(client, household, PASSWORD, "203.0.113.8")).status == 200, "an address that is known"
    await let_pass(redis_url, seconds=wait)
    assert (await sign_in(client, household, PASSWORD, "203.0.113.7")).status == 200


async def test_guesses_from_many_addresses_at_one_account_are_slowed(make_client: MakeClient) -> None:
    client = await make_client(limits={"signin_failures": 3}, server=PROXY)
    household = await sign_up(client)
    statuses = [(await sign_in(client, household, "a-wrong-guess", f"203.0.113.{n}")).status for n in range(1, 9)]
    assert statuses[:3] == [401] * 3
    assert statuses[-1] == 429


async def test_a_stranger_locks_nobody_out_of_an_address_that_signed_in_before(make_client: MakeClient) -> None:
    client = await make_client(limits={"signin_failures": 3}, server=PROXY)
    household = await sign_up(client)
    assert (await sign_in(client, household, PASSWORD, "198.51.100.1")).status == 200
    for n in range(1, 9):
        assert (await sign_in(client, household, "a-wrong-guess", f"203.0.113.{n}")).status in (401, 429)
    for _ in range(3):
        assert (await sign_in(client, household, PASSWORD, "198.51.100.1")).status == 200


async def test_a_stranger_behind_the_same_address_locks_nobody_out_who_signed_in_there(make_client: MakeClient) -> None:
    """Many households share one address of a mobile carrier; one of them guesses at accounts of others."""
    client = await make_client(limits={"signin_failures_address": 4}, server=PROXY)
    household, victim = await sign_up(client), await sign_up(client)
    assert (await sign_in(client, household, PASSWORD, "198.51.100.1")).status == 200
    statuses = [(await sign_in(client, victim, "a-wrong-guess", "198.51.100.1")).status for _ in range(5)]
    assert statuses == [401, 401, 401, 401, 429]
    assert (await sign_in(client, household, PASSWORD, "198.51.100.1")).status == 200


async def test_unknown_accounts_are_slowed_alike(make_client: MakeClient) -> None:
    client = await make_client(limits={"signin_failures": 3})
    household = await sign_up(client)
    known = [await sign_in(client, household, "a-wrong-guess", "-") for _ in range(4)]
    unknown = [await sign_in(client, household, "a-wrong-guess", "-", PhoneNo="9000000001") for _ in range(4)]
    assert [answer.status for answer in known] == [401, 401, 401, 429]
    assert [answer.status for answer in unknown] == [401, 401, 401, 429]
    assert [answer.body for answer in known] == [answer.body for answer in unknown]


async def test_one_address_cannot_try_one_password_on_many_accounts(make_client: MakeClient) -> None:
    client = await make_client(limits={"signin_failures_address": 4}, server=PROXY)
    household = await sign_up(client)
    statuses = [
        (await sign_in(client, household, PASSWORD, "203.0.113.7", PhoneNo=new_phone())).status for _ in range(5)
    ]
    assert statuses == [401, 401, 401, 401, 429]
    assert (await sign_in(client, household, PASSWORD, "203.0.113.8")).status == 200


async def test_guesses_at_the_same_instant_are_slowed_too(make_client: MakeClient) -> None:
    client = await make_client(limits={"signin_failures": 5})
    household = await sign_up(client)
    answers = await asyncio.gather(*(sign_in(client, household, f"a-wrong-guess-{n}", "-") for n in range(20)))
    assert sum(answer.status == 401 for answer in answers) == 5
    assert sum(answer.status == 429 for answer in answers) == 15


async def test_right_passwords_are_never_counted_as_failures(make_client: MakeClient) -> None:
    client = await make_client(limits={"signin_failures": 3})
    household = await sign_up(client)
    for _ in range(8):
        assert (await sign_in(client, household, PASSWORD, "-")).status == 200
