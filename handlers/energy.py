"""Energy accounts, as their published document has them: OTP, sign-up, sign-in, set-up.

What lives here: those endpoints. What must not: bids, passwords and tokens of an account that exists (credentials.py).
"""

from aiohttp import web

from auth.otp import OtpPurpose
from auth.tokens import Purpose
from handlers.account_answers import INVALID, NO_TOKEN, SIGNED, TOO_MANY, signed_in
from handlers.context import CODES, DATABASE, PASSWORDS, SESSION
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.errors import Conflict, InvalidCredentials, InvalidOtp, InvalidToken, OtpExpired
from handlers.one_time import send_otp, use_otp
from handlers.requests import json_response, read_json
from handlers.schemas.energy import ProsumerSetupSchema, SendOtpSchema, SetupSchema, SignInSchema, SignUpSchema
from handlers.sign_in import begin_sign_in, know_address
from storage import accounts
from storage.accounts import NewAccount
from storage.errors import AccountGone, AlreadyRegistered

_TAKEN = {"phone": "this phone number", "connection": "this connectionId"}


@endpoint(
    Endpoint(
        summary="Send an OTP to a phone number",
        tag="Energy accounts",
        failure={"message": "Error sending OTP"},
        request=SendOtpSchema,
        answers={
            200: Answer("The OTP is on its way", {"message": "OTP sent successfully"}),
            400: INVALID,
            429: TOO_MANY,
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
            200: Answer("The account exists, and is signed in", {"message": "User created successfully", **SIGNED}),
            400: INVALID,
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
        raise Conflict(f"{taken[0].upper()}{taken[1:]} {have} a {asked.account_type} account") from None
    except BaseException:
        await app[CODES].put_back_otp(otp)
        raise
    await know_address(request, f"{asked.account_type}:{asked.phone.e164}")
    return signed_in(request, "User created successfully", made, asked.account_type)


@endpoint(
    Endpoint(
        summary="Sign in",
        tag="Energy accounts",
        failure={"message": "Error logging in"},
        request=SignInSchema,
        answers={
            200: Answer("Signed in", {"message": "Login successful", **SIGNED}),
            400: INVALID,
            401: Answer("No such account, or another password", {"message": "Invalid credentials"}),
            429: TOO_MANY,
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
    return signed_in(request, "Login successful", found, asked.account_type)


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
            401: NO_TOKEN,
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
