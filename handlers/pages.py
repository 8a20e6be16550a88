"""Pages for people, rendered here and working without a script.

What lives here: the page behind a verification link. What must not: what the page does - the API's own function does it
(email.py).
"""

from dataclasses import dataclass

import aiohttp_jinja2
from aiohttp import web

from handlers.email import Verification, follow_link
from handlers.endpoint import Endpoint, endpoint
from handlers.errors import RETRY_AFTER_S
from storage.errors import Unavailable


@dataclass(frozen=True, slots=True)
class _Page:
    """What a page says. `mood` is good or bad, and is said in words too."""

    status: int
    mood: str
    heading: str
    text: str


_PAGES = {
    Verification.VERIFIED: _Page(
        200, "good", "Email verified successfully", "Thank you. You can close this page and go on with your account."
    ),
    Verification.ALREADY_VERIFIED: _Page(
        200, "good", "Email already verified", "There is nothing left to do. You can close this page."
    ),
    Verification.INVALID: _Page(
        400,
        "bad",
        "Invalid or expired token",
        "This link does not work, or not any more. If a newer mail came, use the link in that one; otherwise ask for a "
        "new link where you registered.",
    ),
    Verification.UNKNOWN: _Page(
        404, "bad", "User not found", "The account that this link belongs to does not exist any more."
    ),
}
_UNAVAILABLE = _Page(
    503, "bad", "Not possible at the moment", "Nothing is wrong with your link. Open it again in a minute."
)


@endpoint(Endpoint(summary="The page behind a verification link", tag="Pages", is_page=True))
async def verify_email(request: web.Request) -> web.Response:
    """Verify the e-mail that the link was sent to, and tell the person who clicked it."""
    try:
        page = _PAGES[await follow_link(request)]
    except Unavailable:
        page = _UNAVAILABLE
    response = await aiohttp_jinja2.render_template_async(
        "verify_email.html", request, {"page": page}, status=page.status
    )
    if page is _UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


@endpoint(Endpoint(summary="Where a person begins", tag="Pages", is_page=True))
async def home(request: web.Request) -> web.Response:
    """Leads to the API's page."""
    raise web.HTTPFound(request.app.router["docs"].url_for())
