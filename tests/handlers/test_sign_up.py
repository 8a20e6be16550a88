"""POST /sendotp and /signup, line by line of the published document and the rules around it."""

import asyncio
from typing import Any

import pytest

from tests.answers import Answer, assert_invalid, assert_refused, call
from tests.clock import Clock
from tests.conftest import Client, MakeClient
from tests.factories import PASSWORD, Household, ask_otp, latest_otp, new_phone

FIELDS = ("PhoneNo", "password", "connectionId", "otp", "username", "accountType")


def form(phone: str, otp: str, /, **changed: Any) -> dict[str, Any]:
    """A sign-up that is right but for what is changed."""
    return {
        "PhoneNo": phone,
        "password": PASSWORD,
        "connectionId": f"C-{phone[-10:]}",
        "otp": otp,
        "username": "Asha",
        "accountType": "prosumer",
        **changed,
    }


async def sign_up(client: Client, phone: str, otp: str, /, **changed: Any) -> Answer:
    return await call(client, "POST", "/signup", form(phone, otp, **changed))


def bearer(answer: Answer) -> Household:
    assert answer.status == 200, answer
    return Household("", "", "", answer.body["token"])


async def test_an_otp_is_sent_for_the_documents_number(client: Client) -> None:
    answer = await call(client, "POST", "/sendotp", {"PhoneNo": "1234567890"})
    assert answer.status == 200
    assert answer.body == {"message": "OTP sent successfully"}
    assert len(await latest_otp(client, "1234567890")) == 6


async def test_sign_up_answers_as_the_document_says(client: Client) -> None:
    otp = await ask_otp(client, "1234567890")
    answer = await sign_up(client, "1234567890", otp)
    assert answer.status == 200
    assert set(answer.body) == {"message", "token", "accountType"}
    assert answer.body["message"] == "User created successfully"
    assert answer.body["accountType"] == "prosumer"
    me = await call(client, "GET", "/me", by=bearer(answer))
    assert me.status == 200
    assert "1234567890" in me.body.values(), "the number is shown as it was given"


async def test_every_missing_field_is_named_at_once(client: Client) -> None:
    assert_invalid(await call(client, "POST", "/signup", {}), *FIELDS)
    assert_invalid(await call(client, "POST", "/sendotp", {}), "PhoneNo")
    for name in FIELDS:
        whole = form("1234567890", "123456")
        del whole[name]
        assert_invalid(await call(client, "POST", "/signup", whole), name)


async def test_a_value_of_a_wrong_type_or_blank_is_refused_at_every_field(client: Client) -> None:
    for name in FIELDS:
        for wrong in (None, True, {}, [], ["1234567890"], {"$ne": ""}, 1.5, "", "   "):
            answer = await sign_up(client, "1234567890", "123456", **{name: wrong})
            assert_invalid(answer, name)
            if name == "PhoneNo":
                assert_invalid(await call(client, "POST", "/sendotp", {name: wrong}), name)


async def test_numbers_that_cannot_be_dialled_are_refused(client: Client) -> None:
    wrong = [
        "12",
        "abc",
        "98765432101234567",
        "+",
        "+91",
        "9876543210; DROP TABLE accounts",
        "٩٨٧٦٥٤٣٢١٠",
        "９８７６５４３２１０",
    ]
    for phone in [*wrong, "9876543210\r\nTo: +911111111111", "9876543210\x00"]:
        assert_invalid(await call(client, "POST", "/sendotp", {"PhoneNo": phone}), "PhoneNo")


async def test_an_account_type_is_prosumer_or_consumer(client: Client) -> None:
    for wrong in ("operator", "admin", "Prosumer ", "both", "prosumer\u0000"):
        assert_invalid(await sign_up(client, "1234567890", "123456", accountType=wrong), "accountType")


async def test_a_wrong_otp_and_none_at_all_are_invalid(client: Client) -> None:
    phone = new_phone()
    assert_refused(await sign_up(client, phone, "123456"), 401, "Invalid OTP")
    otp = await ask_otp(client, phone)
    wrong = f"{(int(otp) + 1) % 1_000_000:06}"
    assert_refused(await sign_up(client, phone, wrong), 401, "Invalid OTP")
    other = new_phone()
    assert_refused(await sign_up(client, other, otp), 401, "Invalid OTP")
    assert (await sign_up(client, phone, otp)).status == 200


async def test_an_otp_that_is_left_out_never_signs_anybody_up(client: Client) -> None:
    """The system of old compared undefined with undefined."""
    phone = new_phone()
    for missing in ({}, {"otp": None}, {"otp": ""}, {"otp": "undefined"}, {"otp": "null"}):
        whole = form(phone, "")
        del whole["otp"]
        answer = await call(client, "POST", "/signup", {**whole, **missing})
        assert answer.status in (400, 401), (missing, answer)


async def test_an_otp_lives_five_minutes(make_client: MakeClient) -> None:
    clock = Clock()
    client = await make_client(clock=clock)
    late, early = new_phone(), new_phone()
    late_otp, early_otp = await ask_otp(client, late), await ask_otp(client, early)
    clock.move(seconds=299)
    assert (await sign_up(client, early, early_otp)).status == 200
    clock.move(seconds=1.001)
    assert_refused(await sign_up(client, late, late_otp), 401, "Invalid OTP")


async def test_an_otp_is_gone_after_five_wrong_tries(client: Client) -> None:
    for wrong_tries, status in ((4, 200), (5, 401)):
        phone = new_phone()
        otp = await ask_otp(client, phone)
        for n in range(1, wrong_tries + 1):
            wrong = f"{(int(otp) + n) % 1_000_000:06}"
            assert_refused(await sign_up(client, phone, wrong), 401, "Invalid OTP")
        assert (await sign_up(client, phone, otp)).status == status, wrong_tries


async def test_success_consumes_an_otp(client: Client) -> None:
    phone = new_phone()
    otp = await ask_otp(client, phone)
    assert (await sign_up(client, phone, otp)).status == 200
    again = await sign_up(client, phone, otp, accountType="consumer")
    assert_refused(again, 401, "Invalid OTP")


async def test_a_new_otp_replaces_the_one_before(client: Client) -> None:
    phone = new_phone()
    first = await ask_otp(client, phone)
    second = await ask_otp(client, phone)
    if first != second:
        assert_refused(await sign_up(client, phone, first), 401, "Invalid OTP")
    assert (await sign_up(client, phone, second)).status == 200


async def test_an_otp_of_another_purpose_signs_nobody_up(client: Client) -> None:
    phone = new_phone()
    otp = await ask_otp(client, phone)
    reset = await ask_otp(client, phone, purpose="reset")
    answer = await call(client, "POST", "/api/validate/send-otp", {"mobileNumber": phone})
    assert answer.status == 200, answer
    partner = await latest_otp(client, phone)
    for foreign in {reset, partner} - {otp}:
        assert_refused(await sign_up(client, phone, foreign), 401, "Invalid OTP")
    assert (await sign_up(client, phone, otp)).status == 200, "asking for another purpose replaced the OTP of this one"


async def test_what_is_registered_is_told_only_to_the_holder_of_an_otp_who_may_then_correct_it(client: Client) -> None:
    owner, second = new_phone(), new_phone()
    taken = form(owner, await ask_otp(client, owner))
    assert (await call(client, "POST", "/signup", taken)).status == 200
    guess = await sign_up(client, second, "123456", connectionId=taken["connectionId"])
    assert_refused(guess, 401, "Invalid OTP")
    otp = await ask_otp(client, second)
    assert_refused(await sign_up(client, second, otp, connectionId=taken["connectionId"]), 409)
    assert (await sign_up(client, second, otp, connectionId="corrected")).status == 200
    otp = await ask_otp(client, owner)
    assert_refused(await sign_up(client, owner, otp, connectionId="another"), 409)


async def test_every_usual_form_of_a_number_is_the_same_number(client: Client) -> None:
    otp = await ask_otp(client, "9876543210")
    made = await sign_up(client, "91 98765 43210", otp)
    me = await call(client, "GET", "/me", by=bearer(made))
    assert "91 98765 43210" in me.body.values()
    for n, same in enumerate(("9876543210", "09876543210", "+919876543210", "+91 98765-43210")):
        otp = await ask_otp(client, "9876543210")
        assert_refused(await sign_up(client, same, otp, connectionId=f"other-{n}"), 409)


async def test_one_household_may_hold_both_kinds(client: Client) -> None:
    phone = new_phone()
    tokens = []
    for kind in ("prosumer", "consumer"):
        answer = await sign_up(client, phone, await ask_otp(client, phone), accountType=kind)
        assert answer.body["accountType"] == kind
        tokens.append((await call(client, "GET", "/me", by=bearer(answer))).body)
    assert tokens[0] != tokens[1]


async def test_passwords_have_eight_characters_and_at_most_72_bytes(client: Client) -> None:
    phone = new_phone()
    otp = await ask_otp(client, phone)
    for wrong in ("seven77", "p" * 73, "🌞" * 19, "a" * 71 + "é", "with\0nul-inside"):
        assert_invalid(await sign_up(client, phone, otp, password=wrong), "password")
    for n, right in enumerate(("eight888", "p" * 72, "🌞" * 18, " spaces are kept ", "मेरा-पासवर्ड")):
        phone = new_phone()
        assert (await sign_up(client, phone, await ask_otp(client, phone), password=right)).status == 200, n
        whole = {"PhoneNo": phone, "password": right, "connectionId": f"C-{phone}", "accountType": "prosumer"}
        assert (await call(client, "POST", "/signin", whole)).status == 200, n
        cut = {**whole, "password": right.strip()[:-1]}
        assert (await call(client, "POST", "/signin", cut)).status == 401, n


async def test_fields_that_are_not_asked_for_change_nothing(client: Client) -> None:
    phone = new_phone()
    extra = {"id": 4711, "account_id": 4711, "status": "operator", "role": "admin", "isOperator": True, "generation": 9}
    answer = await sign_up(
        client, phone, await ask_otp(client, phone), **extra, isEmailVerified=True, phone="+15550000"
    )
    assert set(answer.body) == {"message", "token", "accountType"}
    me = (await call(client, "GET", "/me", by=bearer(answer))).body
    assert 4711 not in me.values()
    assert not {"role", "isOperator", "isEmailVerified"} & set(me)


async def test_text_is_kept_as_text(client: Client) -> None:
    for name in (
        "Robert'); DROP TABLE accounts;--",
        "ज्योति ☀",
        "<script>alert(1)</script>",
        "%s %d {0} $1",
        "\u202eahsA",
    ):
        phone = new_phone()
        answer = await sign_up(
            client, phone, await ask_otp(client, phone), username=name, connectionId=f"'{phone}\" --"
        )
        if answer.status == 400:
            assert_invalid(answer, "username")
            continue
        me = (await call(client, "GET", "/me", by=bearer(answer))).body
        assert name in me.values()
        assert f"'{phone}\" --" in me.values()


async def test_text_that_cannot_be_kept_is_refused(client: Client) -> None:
    for name in ("username", "connectionId"):
        for wrong in ("a\0b", "x" * 100_000):
            assert_invalid(await sign_up(client, "1234567890", "123456", **{name: wrong}), name)


async def test_an_otp_that_could_not_be_sent_is_not_kept(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth.otp.secrets.randbelow", lambda _: 123_456)
    phone = new_phone()
    nowhere = {"account_sid": "AC0", "auth_token": "x", "from_number": "+15005550006", "base_url": "http://127.0.0.1:9"}
    silent = await make_client(sms=nowhere)
    answer = await call(silent, "POST", "/sendotp", {"PhoneNo": phone})
    assert_refused(answer, 500, "Error sending OTP")
    assert_refused(await sign_up(silent, phone, "123456"), 401, "Invalid OTP")
    working = await make_client()
    assert await ask_otp(working, phone) == "123456"
    assert (await sign_up(working, phone, "123456")).status == 200


async def test_one_connection_claimed_twice_at_once_is_registered_once(client: Client) -> None:
    for _ in range(5):
        phones = [new_phone(), new_phone()]
        otps = [await ask_otp(client, phone) for phone in phones]
        answers = await asyncio.gather(
            *(
                sign_up(client, phone, otp, connectionId=f"shared-{phones[0]}")
                for phone, otp in zip(phones, otps, strict=True)
            )
        )
        assert sorted(answer.status for answer in answers) == [200, 409]
