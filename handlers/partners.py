"""Shippers and transporters: registration, login, and the account itself. Same code, two kinds.

What lives here: their endpoints, made once for each kind. What must not: the verification of numbers (otp.py) and
e-mails (email.py).
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from auth.emails import email_key
from auth.phones import PhoneError, parse_phone
from handlers.context import CLIENT_ADDRESS, DATABASE, IDENTITY, PASSWORDS, SESSION
from handlers.endpoint import Answer, Endpoint, Family, Handler, endpoint
from handlers.errors import InvalidCredentials, InvalidRequest, InvalidToken
from handlers.requests import QUARTER_OF_AN_HOUR_S, issue_token, json_response, read_json, take
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

_TAGS = {PartnerKind.SHIPPER: "Shippers", PartnerKind.TRANSPORTER: "Transporters"}
_FAILURE = {"success": False, "message": "Internal server error"}
_TAKEN = {
    "email": "Email is already registered",
    "gst": "GST number is already registered",
    "phone": "Phone number is already registered",
}
_INVALID = Answer(
    "Fields are missing or wrong, or belong to another account; all faults at once",
    {
        "success": False,
        "message": "Validation failed",
        "errors": ["Password is required", "Email is already registered"],
    },
)
_TOO_MANY = Answer(
    "Too many from this address or for this account; Retry-After says when again",
    {"success": False, "message": "Too many requests; try again in 900 seconds"},
)
_NO_TOKEN = Answer("No valid token", {"success": False, "message": "Invalid token"})
_FOREIGN = Answer(
    "A token of the other kind of partner",
    {"success": False, "message": "This token belongs to another kind of account"},
)
_FAILED = Answer("A fault of ours, or a service that does not answer", _FAILURE)
_SHIPPER_EXAMPLE = {
    "id": 1,
    "ownerName": "John Doe",
    "ownerContactNumber": "9876543210",
    "email": "john@example.com",
    "phoneNumber": "9876543211",
    "companyName": "ABC Logistics",
    "companyAddress": "123 Main St",
    "gstNumber": "27AAPFU0939F1ZV",
    "createdAt": "2025-07-13T10:30:45.123Z",
    "updatedAt": "2025-07-13T10:30:45.123Z",
}
_EXAMPLES: Mapping[PartnerKind, Mapping[str, Any]] = {
    PartnerKind.SHIPPER: _SHIPPER_EXAMPLE,
    PartnerKind.TRANSPORTER: {
        "id": 1,
        "ownerName": "Alex Johnson",
        "ownerContactNumber": "9876543212",
        "email": "alex@transco.com",
        "phoneNumber": "9876543213",
        "companyName": "TransCo Logistics",
        "companyAddress": "456 Transport Hub",
        "gstNumber": "27AAPFU0939F1ZV",
        "createdAt": "2025-07-13T14:20:15.789Z",
        "updatedAt": "2025-07-13T14:20:15.789Z",
    },
}


def _make_register(kind: PartnerKind) -> Handler:
    message = f"{kind.capitalize()} registered successfully"

    @endpoint(
        Endpoint(
            summary=f"Register a {kind}",
            tag=_TAGS[kind],
            family=Family.PARTNER,
            failure=_FAILURE,
            request=RegistrationSchema,
            answers={
                201: Answer("Registered", {"success": True, "message": message, "data": _EXAMPLES[kind]}),
                400: _INVALID,
                429: _TOO_MANY,
                500: _FAILED,
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
    example = _EXAMPLES[kind]
    data = {
        "id": 1,
        "companyName": example["companyName"],
        "email": example["email"],
        "mobileNumber": example["ownerContactNumber"],
    }
    token_example = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..."  # noqa: S105 - the document's own placeholder

    @endpoint(
        Endpoint(
            summary=f"Log in as a {kind}",
            tag=_TAGS[kind],
            family=Family.PARTNER,
            failure=_FAILURE,
            request=LoginSchema,
            answers={
                200: Answer(
                    "Logged in",
                    {"success": True, "message": "Login successful", "token": token_example, "data": data},
                ),
                400: Answer(
                    "A field is missing or wrong",
                    {
                        "success": False,
                        "message": "Validation failed",
                        "errors": ["Email or mobile number is required", "Password is required"],
                    },
                ),
                401: Answer(
                    "No such account, or another password", {"success": False, "message": "Invalid credentials"}
                ),
                429: _TOO_MANY,
                500: _FAILED,
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
    shown = {**_EXAMPLES[kind], "emailVerified": True, "phoneVerified": True, "ownerContactVerified": False}

    @endpoint(
        Endpoint(
            summary=f"The {kind}'s own account",
            tag=_TAGS[kind],
            family=Family.PARTNER,
            purposes=(PURPOSES[kind],),
            foreign=tuple(purpose for other, purpose in PURPOSES.items() if other is not kind),
            answers={
                200: Answer("The account", {"success": True, "data": shown}),
                401: _NO_TOKEN,
                403: _FOREIGN,
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
    try:
        number = parse_phone(number, request.app[IDENTITY].default_region)
    except PhoneError:
        # It is looked for all the same: no account has it, and the answer takes as long as any.
        pass
    return number, await partners.find_credentials_by_phone(database, kind, number)


def _subject_of(kind: PartnerKind, partner_id: int) -> str:
    """The account as sign-ins are counted; it looks like no e-mail and no number."""
    return f"{kind}#{partner_id}"
