"""What an account's holder does with tokens and passwords: refresh, sign out, change, reset.

What lives here: those endpoints. What must not: sign-up and sign-in (energy.py), or how a password is hashed.
"""

from aiohttp import web

from auth.otp import OtpPurpose
from auth.tokens import Purpose
from handlers.account_answers import INVALID, NO_TOKEN, SIGNED, TOO_MANY
from handlers.context import CODES, DATABASE, PASSWORDS, SESSION, SESSIONS
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.errors import InvalidCredentials, InvalidOtp, NotFound, OtpExpired
from handlers.one_time import use_otp
from handlers.requests import issue_token, json_response, read_json
from handlers.schemas.energy import ChangePasswordSchema, ResetPasswordSchema
from handlers.sign_in import begin_sign_in
from storage import accounts
from storage.accounts import Credentials
from storage.errors import AccountGone


@endpoint(
    Endpoint(
        summary="A fresh token for a valid one",
        tag="Energy accounts",
        purposes=(Purpose.ACCOUNT,),
        answers={200: Answer("A token that lives longer", {"message": "Token refreshed", **SIGNED}), 401: NO_TOKEN},
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
        answers={200: Answer("The token is worth nothing now", {"message": "Signed out"}), 401: NO_TOKEN},
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
            200: Answer("Changed; go on with the new token", {"message": "Password changed", **SIGNED}),
            400: INVALID,
            401: Answer("No valid token, or the old password is wrong", {"message": "Invalid credentials"}),
            429: TOO_MANY,
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
            200: Answer("Set; signed in", {"message": "Password reset", **SIGNED}),
            400: INVALID,
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
    app[SESSIONS].forget(Purpose.ACCOUNT, found.account_id)
    token = issue_token(app, Purpose.ACCOUNT, found.account_id, generation)
    return json_response({"message": message, "token": token, "accountType": account_type})
