"""The live feed's door: the websocket handshake.

What lives here: who may connect, and from where. What must not: what is said once the socket is open (feed/).
"""

from urllib.parse import urlsplit

from aiohttp import web

from auth.tokens import TokenError
from feed.dialogue import FOREIGN, PURPOSES
from handlers.context import FEED, HTTP, LEAVING, SESSION, SESSIONS
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.errors import BadHandshake, ForeignOrigin, InvalidToken, Leaving, WrongKind
from handlers.requests import read_token
from storage.sessions import Session


@endpoint(
    Endpoint(
        summary="The live feed: a websocket",
        tag="Market",
        foreign=FOREIGN,
        answers={
            101: Answer("The feed, see /asyncapi.json"),
            400: Answer("No websocket handshake", {"message": BadHandshake.message}),
            401: Answer("The Authorization header holds no valid token", {"message": "Invalid token"}),
            403: Answer("A page of another origin, or a partner's token", {"message": ForeignOrigin.message}),
            503: Answer("This process is about to leave", {"message": Leaving.message}),
        },
    )
)
async def connect(request: web.Request) -> web.StreamResponse:
    """Every change of the book as it happens, and the account's own data. Authenticate with the Authorization header,
    or with the first message; a token in the URL is not looked at."""
    # What is said over the socket comes after this answer: see the middleware `converse`.
    if not _is_allowed(request):
        raise ForeignOrigin
    ws = request.app[FEED].new_socket()
    if not ws.can_prepare(request).ok:
        raise BadHandshake
    session = await _session(request)
    if request.app[LEAVING].is_set():
        raise Leaving
    transport = request.transport
    if transport is None or transport.is_closing():
        # It went while its token was looked up: nobody hears this, and it is no fault of ours.
        raise BadHandshake
    await ws.prepare(request)
    # They are sent, and would be kept for as long as the socket: two kilobytes of each of thousands.
    ws.headers.clear()
    if session is not None:
        request[SESSION] = session
    return ws


def _is_allowed(request: web.Request) -> bool:
    """Whether it is no browser's page, one of this server's own, or one of an origin that may call."""
    origin = request.headers.get("Origin")
    if origin is None or origin in request.app[HTTP].cors_origins:
        return True
    return urlsplit(origin).netloc == request.host and origin.startswith(("http://", "https://"))


async def _session(request: web.Request) -> Session | None:
    """Whose token the handshake carries, if any. Raises InvalidToken, WrongKind."""
    if "Authorization" not in request.headers:
        return None
    try:
        session = await request.app[SESSIONS].check(read_token(request), *PURPOSES, *FOREIGN)
    except TokenError:
        raise InvalidToken from None
    if session.claims.purpose in FOREIGN:
        raise WrongKind
    return session
