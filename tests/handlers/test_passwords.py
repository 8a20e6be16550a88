"""POST /changepassword and /resetpassword."""

from typing import Any

from tests.answers import Answer, assert_invalid, assert_refused, call
from tests.clock import Clock
from tests.conftest import Client, MakeClient
from tests.factories import PASSWORD, Household, ask_otp, latest_otp, new_phone, sign_up
from tests.handlers.test_tokens import until_refused

NEW = "rain-and-sunshine"


async def sign_in(client: Client, household: Household, password: str) -> Answer:
    return await call(
        client,
        "POST",
        "/signin",
        {
            "PhoneNo": household.phone,
            "password": password,
            "connectionId": household.connection_id,
            "accountType": household.account_type,
        },
    )


async def change(client: Client, household: Household, old: Any, new: Any) -> Answer:
    return await call(client, "POST", "/changepassword", {"oldPassword": old, "newPassword": new}, by=household)


async def reset(client: Client, household: Household, otp: Any, **changed: Any) -> Answer:
    form = {"PhoneNo": household.phone, "otp": otp, "accountType": household.account_type, "newPassword": NEW}
    return await call(client, "POST", "/resetpassword", {**form, **changed})


async def test_a_changed_password_replaces_the_old_one_and_revokes_every_token(client: Client) -> None:
    household = await sign_up(client)
    other = (await sign_in(client, household, PASSWORD)).body["token"]
    answer = await change(client, household, PASSWORD, NEW)
    assert answer.status == 200, answer
    assert answer.message
    for token in (household.token, other):
        assert await until_refused(client, Household("", "", "", token)) < 1
    assert_refused(await sign_in(client, household, PASSWORD), 401, "Invalid credentials")
    fresh = await sign_in(client, household, NEW)
    assert (await call(client, "GET", "/me", by=Household("", "", "", fresh.body["token"]))).status == 200


async def test_a_password_changes_only_with_the_old_one(client: Client) -> None:
    household = await sign_up(client)
    assert_refused(await change(client, household, "not-the-password", NEW), 401)
    assert_invalid(await change(client, household, PASSWORD, "short"), "newPassword")
    assert_invalid(await change(client, household, PASSWORD, "p" * 73), "newPassword")
    assert_invalid(await call(client, "POST", "/changepassword", {}, by=household), "oldPassword", "newPassword")
    values: tuple[Any, ...] = (None, 1, [], {})
    for wrong in values:
        assert_invalid(await change(client, household, wrong, wrong), "oldPassword", "newPassword")
    assert (await sign_in(client, household, PASSWORD)).status == 200
    assert (await call(client, "GET", "/me", by=household)).status == 200


async def test_guessing_the_old_password_is_slowed(make_client: MakeClient) -> None:
    client = await make_client(limits={"signin_failures": 3})
    household = await sign_up(client)
    statuses = [(await change(client, household, f"guess-number-{n}", NEW)).status for n in range(4)]
    assert statuses == [401, 401, 401, 429]


async def test_a_password_is_reset_with_an_otp_of_its_own_purpose(client: Client) -> None:
    household = await sign_up(client)
    otp = await ask_otp(client, household.phone, purpose="reset")
    answer = await reset(client, household, otp)
    assert answer.status == 200, answer
    assert answer.message
    assert await until_refused(client, household) < 1
    assert_refused(await sign_in(client, household, PASSWORD), 401, "Invalid credentials")
    assert (await sign_in(client, household, NEW)).status == 200
    assert_refused(await reset(client, household, otp), 401, "Invalid OTP")


async def test_an_otp_of_another_purpose_resets_nothing(client: Client) -> None:
    household = await sign_up(client)
    right = await ask_otp(client, household.phone, purpose="reset")
    wrong = {await ask_otp(client, household.phone)}
    await call(client, "POST", "/api/validate/send-otp", {"mobileNumber": household.phone})
    wrong.add(await latest_otp(client, household.phone))
    for otp in wrong - {right}:
        assert_refused(await reset(client, household, otp), 401, "Invalid OTP")
    assert (await sign_in(client, household, PASSWORD)).status == 200


async def test_a_reset_changes_the_account_of_the_number_and_kind_only(client: Client) -> None:
    phone = new_phone()
    seller = await sign_up(client, "prosumer", phone)
    buyer = await sign_up(client, "consumer", phone)
    stranger = await sign_up(client)
    otp = await ask_otp(client, phone, purpose="reset")
    assert_refused(await reset(client, stranger, otp), 401, "Invalid OTP")
    assert (await reset(client, buyer, otp, connectionId=seller.connection_id, accountId=1)).status == 200
    assert (await call(client, "GET", "/me", by=seller)).status == 200
    assert (await call(client, "GET", "/me", by=stranger)).status == 200
    assert (await sign_in(client, seller, PASSWORD)).status == 200


async def test_the_otp_of_a_reset_obeys_the_rules_of_every_otp(make_client: MakeClient) -> None:
    clock = Clock()
    client = await make_client(clock=clock)
    household = await sign_up(client)
    otp = await ask_otp(client, household.phone, purpose="reset")
    for n in range(1, 6):
        wrong = f"{(int(otp) + n) % 1_000_000:06}"
        assert_refused(await reset(client, household, wrong), 401, "Invalid OTP")
    assert_refused(await reset(client, household, otp), 401, "Invalid OTP")
    otp = await ask_otp(client, household.phone, purpose="reset")
    clock.move(seconds=301)
    assert_refused(await reset(client, household, otp), 401, "Invalid OTP")


async def test_a_reset_with_bad_values_names_them_and_keeps_the_otp(client: Client) -> None:
    household = await sign_up(client)
    otp = await ask_otp(client, household.phone, purpose="reset")
    fields = ("PhoneNo", "otp", "accountType", "newPassword")
    assert_invalid(await call(client, "POST", "/resetpassword", {}), *fields)
    assert_invalid(await reset(client, household, otp, newPassword="p" * 73), "newPassword")
    assert_invalid(await reset(client, household, otp, accountType="operator"), "accountType")
    assert (await reset(client, household, otp)).status == 200


async def test_asking_for_a_reset_does_not_tell_who_is_registered(client: Client) -> None:
    household = await sign_up(client)
    answers = [
        await call(client, "POST", "/sendotp", {"PhoneNo": phone, "purpose": "reset"})
        for phone in (household.phone, new_phone())
    ]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body
