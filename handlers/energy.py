"""Energy accounts: OTP, sign-up, sign-in, tokens, passwords, set-up, and the account itself.

What lives here: their endpoints. What must not: bids, or partners' accounts.
"""

from typing import Any

from aiohttp import web

from auth.otp import OtpPurpose
from auth.tokens import Purpose
from handlers.context import CODES, DATABASE, PASSWORDS, SESSION, SESSIONS
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.errors import Conflict, InvalidCredentials, InvalidOtp, InvalidToken, NotFound, OtpExpired
from handlers.one_time import send_otp, use_otp
from handlers.requests import issue_token, json_response, read_json
from handlers.schemas.answers import AccountSchema
from handlers.schemas.energy import (
    ChangePasswordSchema,
    ProsumerSetupSchema,
    ResetPasswordSchema,
    SendOtpSchema,
    SetupSchema,
    SignInSchema,
    SignUpSchema,
    shown,
)
from handlers.sign_in import begin_sign_in, know_address
from storage import accounts
from storage.accounts import Account, Credentials, NewAccount
from storage.errors import AccountGone, AlreadyRegistered

_TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..."  # noqa: S105 - the documents' own placeholder
_INVALID = Answer("A field is missing or wrong", {"message": "Validation failed", "errors": ["PhoneNo is required"]})
_NO_TOKEN = Answer("No valid token", {"message": "Invalid token"})
_TOO_MANY = Answer("Too many tries", {"message": "Too many requests; try again in 900 seconds"})
_SIGNED = {"token": _TOKEN, "accountType": "prosumer"}
_TAKEN = {"phone": "This phone number", "connection": "This connectionId"}


@endpoint(
    Endpoint(
        summary="Send an OTP to a phone number",
        tag="Energy accounts",
        failure={"message": "Error sending OTP"},
        request=SendOtpSchema,
        answers={
            200: Answer("The OTP is on its way", {"message": "OTP sent successfully"}),
            400: _INVALID,
            429: _TOO_MANY,
        },
    )
)
async def send(request: web.Request) -> web.Response:
    """Send an OTP for a sign-up or the reset of a password."""
    asked = await read_json(request, SendOtpSchema)
    await send_otp(request, OtpPurpose(asked.purpose), asked.phone.e164)
    return json_response({"message": "OTP sent successfully"})


@endpoint(
    Endpoint(
        summary="Sign up with an OTP",
        tag="Energy accounts",
        failure={"message": "Error creating user"},
        request=SignUpSchema,
        answers={
            200: Answer("The account exists, and is signed in", {"message": "User created successfully", **_SIGNED}),
            400: _INVALID,
            401: Answer("The OTP is wrong, expired or was never sent", {"message": "Invalid OTP"}),
            409: Answer(
                "The number or the connection has an account; the OTP stays usable",
                {"message": "This phone number already has a prosumer account"},
            ),
        },
    )
)
async def sign_up(request: web.Request) -> web.Response:
    """Make an account for the holder of an OTP, who is told if one exists already."""
    asked = await read_json(request, SignUpSchema)
    app = request.app
    try:
        otp = await use_otp(request, OtpPurpose.SIGNUP, asked.phone.e164, asked.otp)
    except OtpExpired:
        raise InvalidOtp from None
    try:
        made = await accounts.create(
            app[DATABASE],
            NewAccount(
                asked.account_type,
                asked.connection_id,
                asked.username,
                asked.phone.e164,
                str(asked.phone),
                await app[PASSWORDS].hash(asked.password),
            ),
        )
    except AlreadyRegistered as fault:
        await app[CODES].put_back_otp(otp)
        taken = " and ".join(_TAKEN[what] for what in fault.what)
        have = "already have" if len(fault.what) > 1 else "already has"
        raise Conflict(f"{taken} {have} a {asked.account_type} account") from None
    except BaseException:
        await app[CODES].put_back_otp(otp)
        raise
    await know_address(request, f"{asked.account_type}:{asked.phone.e164}")
    return _signed_in(request, "User created successfully", made, asked.account_type)


@endpoint(
    Endpoint(
        summary="Sign in",
        tag="Energy accounts",
        failure={"message": "Error logging in"},
        request=SignInSchema,
        answers={
            200: Answer("Signed in", {"message": "Login successful", **_SIGNED}),
            400: _INVALID,
            401: Answer("No such account, or another password", {"message": "Invalid credentials"}),
            429: _TOO_MANY,
        },
    )
)
async def sign_in(request: web.Request) -> web.Response:
    """Exchange number, connection and password for a token. All failures look and last the same."""
    asked = await read_json(request, SignInSchema)
    # Looked up before the try is counted: an outage of the database is no failed sign-in.
    found = await accounts.find_credentials(request.app[DATABASE], asked.account_type, asked.phone.e164)
    attempt = await begin_sign_in(request, f"{asked.account_type}:{asked.phone.e164}")
    expected = found.password_hash if found and found.connection_id == asked.connection_id else None
    is_right = await request.app[PASSWORDS].check(asked.password, expected)
    if found is None or not is_right:
        raise InvalidCredentials
    await attempt.succeed()
    return _signed_in(request, "Login successful", found, asked.account_type)


@endpoint(
    Endpoint(
        summary="A fresh token for a valid one",
        tag="Energy accounts",
        purposes=(Purpose.ACCOUNT,),
        answers={200: Answer("A token that lives longer", {"message": "Token refreshed", **_SIGNED}), 401: _NO_TOKEN},
    )
)
async def refresh(request: web.Request) -> web.Response:
    """A token like the one given, with a new lifetime. The old one stays valid until it expires."""
    session = request[SESSION]
    token = issue_token(request.app, Purpose.ACCOUNT, session.account_id, session.claims.generation)
    return json_response({"message": "Token refreshed", "token": token, "accountType": session.kind})


@endpoint(
    Endpoint(
        summary="Revoke the token",
        tag="Energy accounts",
        purposes=(Purpose.ACCOUNT,),
        answers={200: Answer("The token is worth nothing now", {"message": "Signed out"}), 401: _NO_TOKEN},
    )
)
async def sign_out(request: web.Request) -> web.Response:
    """Revoke the token that the request was made with, in every process."""
    await request.app[SESSIONS].revoke(request[SESSION])
    return json_response({"message": "Signed out"})


@endpoint(
    Endpoint(
        summary="Change the password, which revokes every token",
        tag="Energy accounts",
        purposes=(Purpose.ACCOUNT,),
        request=ChangePasswordSchema,
        answers={
            200: Answer("Changed; go on with the new token", {"message": "Password changed", **_SIGNED}),
            400: _INVALID,
            401: Answer("No valid token, or the old password is wrong", {"message": "Invalid credentials"}),
            429: _TOO_MANY,
        },
    )
)
async def change_password(request: web.Request) -> web.Response:
    """Set a new password for who knows the old one, and sign everybody else out."""
    asked = await read_json(request, ChangePasswordSchema)
    session, app = request[SESSION], request.app
    found = await accounts.get_credentials(app[DATABASE], session.account_id)
    attempt = await begin_sign_in(request, f"change:{session.account_id}")
    if not await app[PASSWORDS].check(asked.old_password, found.password_hash):
        raise InvalidCredentials
    await attempt.succeed()
    return await _set_password(request, found, asked.new_password, "Password changed", session.kind)


@endpoint(
    Endpoint(
        summary="Set a new password with an OTP of its own purpose, which revokes every token",
        tag="Energy accounts",
        request=ResetPasswordSchema,
        answers={
            200: Answer("Set; signed in", {"message": "Password reset", **_SIGNED}),
            400: _INVALID,
            401: Answer("The OTP is wrong, expired or was never sent", {"message": "Invalid OTP"}),
            404: Answer(
                "The number has no such account; told only to the holder of a valid OTP, which stays usable",
                {"message": "This phone number has no prosumer account"},
            ),
        },
    )
)
async def reset_password(request: web.Request) -> web.Response:
    """Set a new password for who holds the number. The OTP is asked for with purpose `reset`."""
    asked = await read_json(request, ResetPasswordSchema)
    app = request.app
    try:
        otp = await use_otp(request, OtpPurpose.RESET, asked.phone.e164, asked.otp)
    except OtpExpired:
        raise InvalidOtp from None
    try:
        found = await accounts.find_credentials(app[DATABASE], asked.account_type, asked.phone.e164)
        if found is None:
            raise NotFound(f"This phone number has no {asked.account_type} account")
        return await _set_password(request, found, asked.new_password, "Password reset", asked.account_type)
    except BaseException:
        await app[CODES].put_back_otp(otp)
        raise


@endpoint(
    Endpoint(
        summary="Record the household's set-up",
        tag="Energy accounts",
        purposes=(Purpose.ACCOUNT,),
        failure={"message": "Error setting up"},
        # What is asked of prosumers alone cannot be required of all.
        request=SetupSchema,
        answers={
            200: Answer("Recorded", {"message": "Setup successful"}),
            400: Answer(
                "A field is missing or wrong", {"message": "Validation failed", "errors": ["city is required"]}
            ),
            401: _NO_TOKEN,
        },
    )
)
async def set_up(request: web.Request) -> web.Response:
    """Record the set-up, in place of an earlier one."""
    session = request[SESSION]
    schema = ProsumerSetupSchema if session.kind == "prosumer" else SetupSchema
    setup = await read_json(request, schema)
    try:
        await accounts.save_setup(request.app[DATABASE], session.account_id, setup)
    except AccountGone:
        raise InvalidToken from None
    return json_response({"message": "Setup successful"})


_ACCOUNT = {
    "id": 1,
    "accountType": "prosumer",
    "connectionId": "BLR-0042",
    "username": "Asha",
    "PhoneNo": "1234567890",
    "createdAt": "2025-07-13T10:30:45.123Z",
    "setup": {
        "solarCapacity": "5",
        "solarBrand": "Tata Power Solar",
        "load": "3.5",
        "demand": None,
        "city": "Bengaluru",
        "state": "Karnataka",
        "pincode": "560001",
        "gps": "12.9716,77.5946",
        "year": 2022,
        "tilt": None,
        "azimuth": None,
    },
}


@endpoint(
    Endpoint(
        summary="The account and its set-up",
        tag="Energy accounts",
        purposes=(Purpose.ACCOUNT,),
        answers={
            200: Answer("The account; `setup` is null before it was made", _ACCOUNT, AccountSchema),
            401: _NO_TOKEN,
        },
    )
)
async def me(request: web.Request) -> web.Response:
    """The token's own account."""
    return json_response(show_account(await own_account(request)))


async def own_account(request: web.Request) -> Account:
    """The account that the token speaks for. Raises InvalidToken when it is gone."""
    try:
        return await accounts.get(request.app[DATABASE], request[SESSION].account_id)
    except AccountGone:
        raise InvalidToken from None


def show_account(account: Account) -> dict[str, Any]:
    """An account in JSON; capacities in kW as decimal texts."""
    setup = account.setup
    return {
        "id": account.account_id,
        "accountType": account.account_type,
        "connectionId": account.connection_id,
        "username": account.username,
        "PhoneNo": account.phone_as_given,
        "createdAt": account.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "setup": setup
        and {
            "solarCapacity": shown(setup.solar_capacity_kw),
            "solarBrand": setup.solar_brand,
            "load": shown(setup.load_kw),
            "demand": shown(setup.demand_kw),
            "city": setup.city,
            "state": setup.state,
            "pincode": setup.pincode,
            "gps": ",".join(f"{degrees:f}" for degrees in setup.gps),
            "year": setup.year,
            "tilt": shown(setup.tilt_degrees),
            "azimuth": shown(setup.azimuth_degrees),
        },
    }


async def _set_password(
    request: web.Request, found: Credentials, password: str, message: str, account_type: str
) -> web.Response:
    app = request.app
    try:
        generation = await accounts.change_password(
            app[DATABASE], found.account_id, await app[PASSWORDS].hash(password), found.token_generation
        )
    except AccountGone:
        # Another change came first, or the account went: either way what was proved is not true any more.
        raise InvalidCredentials from None
    token = issue_token(app, Purpose.ACCOUNT, found.account_id, generation)
    return json_response({"message": message, "token": token, "accountType": account_type})


def _signed_in(request: web.Request, message: str, found: Credentials, account_type: str) -> web.Response:
    token = issue_token(request.app, Purpose.ACCOUNT, found.account_id, found.token_generation)
    return json_response({"message": message, "token": token, "accountType": account_type})
