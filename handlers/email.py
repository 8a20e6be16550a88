"""Logistics partners prove that an e-mail address is theirs, by a link sent to it.

What lives here: the three endpoints under /api/email, and the verification that the page shares (pages.py). What must
not: the mail's texts (verification_mail.py).
"""

from enum import Enum

from aiohttp import web

from auth.emails import email_key
from auth.tokens import Purpose, TokenError
from handlers.context import CLOCK, DATABASE, IDENTITY, MAIL, TOKENS
from handlers.endpoint import Answer, Endpoint, Family, endpoint
from handlers.errors import InvalidLink, StatusUnknown, UserNotFound
from handlers.partners import take_partner_request
from handlers.requests import QUARTER_OF_AN_HOUR_S, json_response, read_json, take
from handlers.schemas.partners import EmailLinkSchema, EmailStatusSchema, PartnerEmailAsked, PartnerEmailSchema
from handlers.verification_mail import verification_mail
from storage import email_links
from storage.codes import Limit
from storage.email_links import PartnerEmail

_TAG = "E-mail verification"
_FAILURE = {"message": "Internal server error", "error": ""}
_FAILED = Answer(
    "A fault of ours, or a service that does not answer", {"message": "Internal server error", "error": "error.message"}
)
_INVALID = Answer("The userType is not one of the two", {"message": "Invalid userType"})
_TOO_MANY = Answer(
    "Too many from this address or to this account; Retry-After says when again",
    {"message": "Too many requests; try again in 900 seconds"},
)
_NOT_FOUND = Answer("No account has this GST number and this e-mail", {"message": "User not found"})
_VERIFIED = {"message": "Email verified successfully"}
_ALREADY_VERIFIED = {"message": "Email already verified"}


class Verification(Enum):
    """What became of a click on a link."""

    VERIFIED = "verified"
    ALREADY_VERIFIED = "already verified"
    # Forged, malformed, expired, or overwritten by a later link.
    INVALID = "invalid"
    # The account is gone.
    UNKNOWN = "unknown"


@endpoint(
    Endpoint(
        summary="How far the verification of an e-mail is",
        tag=_TAG,
        family=Family.VALIDATION,
        failure={"status": "user_not_found"},
        request=PartnerEmailSchema,
        answers={
            200: Answer("How far it is", {"status": "verified"}, EmailStatusSchema),
            400: _INVALID,
            404: Answer("No account has this GST number and this e-mail", {"status": "user_not_found"}),
            429: _TOO_MANY,
            500: Answer("A fault of ours, or a service that does not answer", {"status": "user_not_found"}),
        },
    )
)
async def check_status(request: web.Request) -> web.Response:
    """Say whether the e-mail is verified, or a link that still works is out."""
    await take_partner_request(request)
    found = await _find(request, await read_json(request, PartnerEmailSchema))
    if found is None:
        raise StatusUnknown
    if found.is_verified:
        return json_response({"status": "verified"})
    is_out = found.awaits_click(request.app[CLOCK]())
    return json_response({"status": "token_sent_not_verified" if is_out else "not_verified_no_token"})


@endpoint(
    Endpoint(
        summary="Send a verification link; an earlier one is overwritten",
        tag=_TAG,
        family=Family.VALIDATION,
        failure=_FAILURE,
        request=PartnerEmailSchema,
        answers={
            200: Answer("Sent; or `Email already verified`, and not sent", {"message": "Verification email sent"}),
            400: _INVALID,
            404: _NOT_FOUND,
            429: _TOO_MANY,
            500: _FAILED,
        },
    )
)
async def send_link(request: web.Request) -> web.Response:
    """Mail the account a fresh link, unless it needs none."""
    await take_partner_request(request)
    found = await _find(request, await read_json(request, PartnerEmailSchema))
    if found is None:
        raise UserNotFound
    if found.is_verified or not await _send(request, found):
        return json_response(_ALREADY_VERIFIED)
    return json_response({"message": "Verification email sent"})


@endpoint(
    Endpoint(
        summary="Verify an e-mail by its link",
        tag=_TAG,
        family=Family.VALIDATION,
        failure=_FAILURE,
        query=EmailLinkSchema,
        answers={
            200: Answer("Verified; or `Email already verified` at a second click", _VERIFIED),
            400: Answer("Forged, expired or overwritten by a later link", {"message": "Invalid or expired token"}),
            404: Answer("The account is gone", {"message": "User not found"}),
            500: _FAILED,
        },
    )
)
async def verify_link(request: web.Request) -> web.Response:
    """Verify the e-mail that the link was sent to."""
    outcome = await follow_link(request)
    if outcome is Verification.INVALID:
        raise InvalidLink
    if outcome is Verification.UNKNOWN:
        raise UserNotFound
    return json_response(_VERIFIED if outcome is Verification.VERIFIED else _ALREADY_VERIFIED)


async def follow_link(request: web.Request) -> Verification:
    """Do what a link's `token` parameter asks for; doing it again changes nothing. Raises DatabaseUnavailable."""
    app = request.app
    try:
        claims = app[TOKENS].verify(request.query.get("token", ""), Purpose.EMAIL_LINK)
    except TokenError:
        return Verification.INVALID
    if await email_links.verify(app[DATABASE], claims.subject, claims.jti):
        return Verification.VERIFIED
    found = await email_links.get(app[DATABASE], claims.subject)
    if found is None:
        return Verification.UNKNOWN
    if found.link.jti != claims.jti:
        return Verification.INVALID
    return Verification.ALREADY_VERIFIED


async def _find(request: web.Request, asked: PartnerEmailAsked) -> PartnerEmail | None:
    return await email_links.find(request.app[DATABASE], asked.kind, asked.gst_number, email_key(asked.email))


async def _send(request: web.Request, partner: PartnerEmail) -> bool:
    """Send a fresh link; False when the e-mail was verified meanwhile.

    The link counts before it is sent, so that nobody holds one that does not work yet. When it cannot be sent the one
    before counts again. Raises TooManyRequests, RedisUnavailable, DatabaseUnavailable, GatewayError.
    """
    app, rules = request.app, request.app[IDENTITY]
    key = f"email-links:{partner.partner_id}"
    await take(request, [Limit(key, rules.email_links_per_account, QUARTER_OF_AN_HOUR_S)])
    token, claims = app[TOKENS].issue(
        Purpose.EMAIL_LINK, partner.partner_id, partner.token_generation, rules.email_link_lifetime, app[CLOCK]()
    )
    earlier = await email_links.keep(app[DATABASE], partner.partner_id, claims.jti, claims.expires_at)
    if earlier is None:
        return False
    try:
        await app[MAIL].send(await verification_mail(app, partner.email, token))
    except BaseException:
        await email_links.restore(app[DATABASE], partner.partner_id, claims.jti, earlier)
        raise
    return True
