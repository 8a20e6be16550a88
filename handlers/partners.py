"""Shippers and transporters: registration, login, and the account itself. Same code, two kinds.

What lives here: their endpoints, made once for each kind. What must not: the verification of numbers (otp.py) and
e-mails (email.py).
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from auth.emails import email_key
from auth.phones import PhoneError, parse_phone
from handlers.context import CLIENT_ADDRESS, DATABASE, IDENTITY, PASSWORDS, SESSION
from handlers.endpoint import Answer, Endpoint, Family, Handler, endpoint
from handlers.errors import InvalidCredentials, InvalidToken
from handlers.partner_answers import (
    EXAMPLES,
    FAILED,
    FAILURE,
    FOREIGN,
    INVALID,
    INVALID_LOGIN,
    NO_TOKEN,
    TAGS,
    TOO_MANY,
    WRONG_CREDENTIALS,
    login_example,
    me_example,
)
from handlers.requests import QUARTER_OF_AN_HOUR_S, issue_token, json_response, read_json, take
from handlers.schemas.base import InvalidRequest
from handlers.schemas.partners import (
    PURPOSES,
    Login,
    LoginSchema,
    Registration,
    RegistrationSchema,
    show_login,
    show_partner,
    show_registered,
)
from handlers.sign_in import begin_sign_in, know_address
from storage import partners
from storage.codes import Limit
from storage.errors import AlreadyRegistered
from storage.partners import NewPartner, PartnerCredentials, PartnerKind

_TAKEN = {
    "email": "Email is already registered",
    "gst": "GST number is already registered",
    "phone": "Phone number is already registered",
}


def _make_register(kind: PartnerKind) -> Handler:
    message = f"{kind.capitalize()} registered successfully"

    @endpoint(
        Endpoint(
            summary=f"Register a {kind}",
            tag=TAGS[kind],
            family=Family.PARTNER,
            failure=FAILURE,
            request=RegistrationSchema,
            answers={
                201: Answer("Registered", {"success": True, "message": message, "data": EXAMPLES[kind]}),
                400: INVALID,
                429: TOO_MANY,
                500: FAILED,
            },
        )
    )
    async def register(request: web.Request) -> web.Response:
        """Make an account; everything that is missing, wrong or taken is told at once."""
        await take_partner_request(request)
        asked = await _read_registration(request, kind)
        partner = _new_partner(kind, asked, await request.app[PASSWORDS].hash(asked.password))
        try:
            created = await partners.create(request.app[DATABASE], partner)
        except AlreadyRegistered as fault:
            raise InvalidRequest(_taken_texts(fault.what)) from None
        await know_address(request, _subject_of(kind, created.partner_id))
        return json_response({"success": True, "message": message, "data": show_registered(partner, created)}, 201)

    return register


def _make_log_in(kind: PartnerKind) -> Handler:
    @endpoint(
        Endpoint(
            summary=f"Log in as a {kind}",
            tag=TAGS[kind],
            family=Family.PARTNER,
            failure=FAILURE,
            request=LoginSchema,
            answers={
                200: Answer("Logged in", login_example(kind)),
                400: INVALID_LOGIN,
                401: WRONG_CREDENTIALS,
                429: TOO_MANY,
                500: FAILED,
            },
        )
    )
    async def log_in(request: web.Request) -> web.Response:
        """Exchange an e-mail or a number and the password for a token. All failures look and last the same."""
        asked = await read_json(request, LoginSchema)
        name, found = await _find(request, kind, asked)
        # Failures count for the account by whichever of its names it is tried.
        attempt = await begin_sign_in(request, _subject_of(kind, found.partner_id) if found else f"{kind}:{name}")
        is_right = await request.app[PASSWORDS].check(asked.password, found.password_hash if found else None)
        if found is None or not is_right:
            raise InvalidCredentials
        await attempt.succeed()
        token = issue_token(request.app, PURPOSES[kind], found.partner_id, found.token_generation)
        return json_response(
            {"success": True, "message": "Login successful", "token": token, "data": show_login(found)}
        )

    return log_in


def _make_me(kind: PartnerKind) -> Handler:
    @endpoint(
        Endpoint(
            summary=f"The {kind}'s own account",
            tag=TAGS[kind],
            family=Family.PARTNER,
            purposes=(PURPOSES[kind],),
            foreign=tuple(purpose for other, purpose in PURPOSES.items() if other is not kind),
            answers={
                200: Answer("The account", me_example(kind)),
                401: NO_TOKEN,
                403: FOREIGN,
            },
        )
    )
    async def me(request: web.Request) -> web.Response:
        """The token's own account, and which of its numbers and e-mail are verified."""
        partner = await partners.get(request.app[DATABASE], request[SESSION].claims.subject)
        if partner is None:
            raise InvalidToken
        return json_response({"success": True, "data": show_partner(partner)})

    return me


register_shipper = _make_register(PartnerKind.SHIPPER)
register_transporter = _make_register(PartnerKind.TRANSPORTER)
log_in_shipper = _make_log_in(PartnerKind.SHIPPER)
log_in_transporter = _make_log_in(PartnerKind.TRANSPORTER)
get_shipper = _make_me(PartnerKind.SHIPPER)
get_transporter = _make_me(PartnerKind.TRANSPORTER)


async def take_partner_request(request: web.Request) -> None:
    """Count a request whose answer tells whether an account exists. Raises TooManyRequests, RedisUnavailable."""
    most = request.app[IDENTITY].partner_requests_per_address
    await take(request, [Limit(f"partner-requests:{request[CLIENT_ADDRESS]}", most, QUARTER_OF_AN_HOUR_S)])


async def _read_registration(request: web.Request, kind: PartnerKind) -> Registration:
    """The registration. Raises InvalidRequest with what is wrong and, of the fields that are right, what is taken."""
    try:
        asked = await read_json(request, RegistrationSchema)
    except InvalidRequest as fault:
        if not fault.valid:
            raise
        raise InvalidRequest([*fault.errors, *await _find_taken(request, kind, fault.valid)]) from None
    values = {name: getattr(asked, name) for name in ("email", "gst_number", "owner_contact_number", "phone_number")}
    if taken := await _find_taken(request, kind, values):
        raise InvalidRequest(taken)
    return asked


async def _find_taken(request: web.Request, kind: PartnerKind, values: Mapping[str, Any]) -> list[str]:
    """What of these values (by the schema's attributes) another account holds, as texts."""
    email = values.get("email")
    taken = await partners.find_taken(
        request.app[DATABASE],
        kind,
        email_key=None if email is None else email_key(email),
        gst_number=values.get("gst_number"),
        phones=[values[name].e164 for name in ("owner_contact_number", "phone_number") if name in values],
    )
    return _taken_texts(taken)


def _taken_texts(taken: tuple[str, ...]) -> list[str]:
    return [_TAKEN[what] for what in taken]


def _new_partner(kind: PartnerKind, asked: Registration, password_hash: str) -> NewPartner:
    return NewPartner(
        kind=kind,
        owner_name=asked.owner_name,
        owner_contact_number=str(asked.owner_contact_number),
        owner_contact_e164=asked.owner_contact_number.e164,
        phone_number=str(asked.phone_number),
        phone_e164=asked.phone_number.e164,
        email=asked.email,
        email_key=email_key(asked.email),
        password_hash=password_hash,
        company_name=asked.company_name,
        company_address=asked.company_address,
        gst_number=asked.gst_number,
    )


async def _find(request: web.Request, kind: PartnerKind, asked: Login) -> tuple[str, PartnerCredentials | None]:
    """What the login names an account by, in the form that is compared, and that account. The e-mail goes first."""
    database = request.app[DATABASE]
    if asked.email is not None:
        key = email_key(asked.email)
        return key, await partners.find_credentials_by_email(database, kind, key)
    number = asked.mobile_number or ""
    # What is no number is looked for all the same: no account has it, and the answer takes as long as any.
    with contextlib.suppress(PhoneError):
        number = parse_phone(number, request.app[IDENTITY].default_region)
    return number, await partners.find_credentials_by_phone(database, kind, number)


def _subject_of(kind: PartnerKind, partner_id: int) -> str:
    """The account as sign-ins are counted; it looks like no e-mail and no number."""
    return f"{kind}#{partner_id}"
