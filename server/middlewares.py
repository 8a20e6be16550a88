"""What happens around every handler: request id, client address, headers, CORS, tokens, deadlines, errors as JSON.

What lives here: the middlewares and the signal that sets headers. What must not: what any error means
(handlers/errors.py), or whom an endpoint admits (its record).
"""

import re
import time
from ipaddress import ip_address
from random import getrandbits

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from auth.tokens import TokenError
from handlers.answer import STANDING_HEADERS
from handlers.context import CLIENT_ADDRESS, FEED, HTTP, LEAVING, MARKET, REQUEST_ID, SESSION, SESSIONS, HttpRules
from handlers.endpoint import Endpoint, Family, endpoint_of
from handlers.errors import InvalidToken, WrongKind, answer_to, is_outage
from handlers.requests import json_response, read_token
from server.time_limit import TimeLimit
from storage.deadlines import Deadlines

log = structlog.get_logger("shakti.http")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
# Pages that are served from here load nothing from elsewhere and run nothing inline.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_UNROUTED = {
    "/api/shipper/": Endpoint("", "", Family.PARTNER),
    "/api/transporters/": Endpoint("", "", Family.PARTNER),
}


TIME_LIMITS: web.AppKey[Deadlines[TimeLimit]] = web.AppKey("time_limits")


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id and its client's address, and log it when it is over."""
    request[REQUEST_ID] = request_id_of(request)
    rules = request.app[HTTP]
    request[CLIENT_ADDRESS] = client_address(request, rules)
    if not rules.log_access:
        return await handler(request)
    began = time.perf_counter()
    response = await handler(request)
    log_access(request, request[REQUEST_ID], response.status, began)
    return response


def request_id_of(request: web.BaseRequest) -> str:
    """The id that the client gave its request, if it is one, or a new one."""
    given = request.headers.get("X-Request-ID")
    if given is None or not _REQUEST_ID.fullmatch(given):
        # To tell requests apart, and no secret.
        given = f"{getrandbits(64):016x}"
    return given


def log_access(request: web.BaseRequest, request_id: str, status: int, began: float) -> None:
    """Log a request that is over; it `began` at that time.perf_counter()."""
    log.info(
        "request",
        request_id=request_id,
        method=request.method,
        path=request.path,
        status=status,
        ms=round((time.perf_counter() - began) * 1000, 1),
    )


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into the answer that its API family shows, within the request's deadline."""
    record = endpoint_of(request.match_info.handler) or _unrouted(request)
    try:
        with TimeLimit(request.app[TIME_LIMITS]):
            return await handler(request)
    except web.HTTPException as fault:
        if fault.status < 400:
            raise
        answer = answer_to(fault, record)
    except Exception as fault:
        answer = answer_to(fault, record)
        if answer.is_fault:
            _log_fault(request, fault, answer.status)
    response = json_response(answer.body, status=answer.status)
    response.headers.update(answer.headers)
    if not request.can_read_body or request.content.at_eof():
        return response
    # What is left of a body that nobody will read would be taken for the next request.
    response.force_close()
    return response


@web.middleware
async def check_token(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let through to an endpoint who holds a token for it."""
    record = endpoint_of(request.match_info.handler)
    if record is None or not record.purposes or (record.is_book and request.app[MARKET].is_book_public):
        return await handler(request)
    if SESSION in request:
        # The straight way had checked it.
        return await handler(request)
    try:
        session = await request.app[SESSIONS].check(read_token(request), *record.purposes, *record.foreign)
    except TokenError:
        raise InvalidToken from None
    if session.claims.purpose not in record.purposes:
        raise WrongKind
    request[SESSION] = session
    return await handler(request)


@web.middleware
async def allow_origins(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a browser's question whether another origin may call (CORS preflight)."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return await handler(request)
    return web.Response(status=204)


@web.middleware
async def converse(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Hold the conversation over a websocket that was accepted: after, and so outside of, everything that is done for a
    request. Its deadline does not apply, and nothing of it is kept for as long as the socket lives."""
    response = await handler(request)
    if isinstance(response, web.WebSocketResponse) and request.transport is not None:
        session = request.get(SESSION)
        await request.app[FEED].serve(response, request.transport, request[CLIENT_ADDRESS], session)
    return response


MIDDLEWARES = (converse, identify, allow_origins, answer_errors, check_token)


async def set_headers(request: web.Request, response: web.StreamResponse) -> None:
    """The headers that every answer carries, whoever made it."""
    app, headers = request.app, response.headers
    headers["X-Request-ID"] = request.get(REQUEST_ID, "-")
    if isinstance(response, web.FileResponse):
        # Files are asked about again, and not sent again while they are the same; answers are never kept.
        headers.setdefault("Cache-Control", "no-cache")
    if headers.get("Content-Type", "").startswith("text/html"):
        headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
    # What is set already stays.
    headers.merge(STANDING_HEADERS)
    headers.popall("Server", None)
    # A websocket is let go of by its feed, and its handshake has a Connection header of its own.
    if app[LEAVING].is_set() and not isinstance(response, web.WebSocketResponse):
        # The client is told with its answer, so it does not send its next request into a closing connection.
        headers["Connection"] = "close"
        response.force_close()
    # The answer depends on who asks, also where the asker is refused: a cache must know.
    headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if origin in app[HTTP].cors_origins:
        headers["Access-Control-Allow-Origin"] = str(origin)
        headers["Access-Control-Expose-Headers"] = "X-Request-ID, Retry-After, Content-Disposition"
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        if request.method == "OPTIONS":
            headers["Access-Control-Allow-Methods"] = "GET, POST, PATCH, DELETE"
            headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Idempotency-Key, X-Request-ID"
            headers["Access-Control-Max-Age"] = "600"


def client_address(request: web.Request, rules: HttpRules) -> str:
    """The address of who asks: the peer's, or what trusted proxies say they forward for.

    X-Forwarded-For is read from its end: each trusted hop vouches for the one before it, and no further.
    """
    address = request.remote or "unknown"
    if not rules.trusted_proxies:
        return address
    hops = [hop.strip() for line in request.headers.getall("X-Forwarded-For", []) for hop in line.split(",")]
    while hops and _is_trusted(address, rules):
        try:
            address = str(ip_address(hops[-1]))
        except ValueError:
            break
        hops.pop()
    return address


def _is_trusted(address: str, rules: HttpRules) -> bool:
    try:
        peer = ip_address(address)
    except ValueError:
        return False
    return any(peer in network for network in rules.trusted_proxies)


def _unrouted(request: web.Request) -> Endpoint | None:
    """Whose error shape a request has that met no endpoint."""
    return next((record for prefix, record in _UNROUTED.items() if request.path.startswith(prefix)), None)


def _log_fault(request: web.Request, fault: Exception, status: int) -> None:
    route = request.match_info.route.resource
    log.error(
        "request failed",
        request_id=request[REQUEST_ID],
        method=request.method,
        route=route.canonical if route else request.path,
        status=status,
        fault=type(fault).__name__,
        cause=type(fault.__cause__).__name__ if fault.__cause__ else None,
        # A fault of ours needs its trace; a service that is down needs a line.
        exc_info=fault if status == 500 and not is_outage(fault) else None,
    )
