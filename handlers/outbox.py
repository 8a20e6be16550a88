"""The development outbox: what a machine without Twilio and without a mail server would have sent.

What lives here: who may list it, and the listing. What must not: keeping messages (storage/codes.py), or deciding
whether there is an outbox at all.
"""

from ipaddress import IPv6Address, ip_address

import aiohttp_jinja2
import orjson
from aiohttp import web

from handlers.context import CODES, HAS_OUTBOX
from handlers.endpoint import Endpoint, endpoint
from handlers.requests import json_response

_LISTED = 200
# Whoever forwards a request was not asked to speak for this machine's own user.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")


@endpoint(Endpoint(summary="Messages of the development outbox", tag="Development", is_page=True))
async def list_messages(request: web.Request) -> web.Response:
    """The newest messages, newest first: JSON, or a page for a browser. Not there at all for anybody else than the
    user of this machine."""
    if not request.app[HAS_OUTBOX] or not is_local(request):
        raise web.HTTPNotFound
    messages = [orjson.loads(text) for text in await request.app[CODES].list_outbox(_LISTED)]
    if prefers_html(request.headers.get("Accept", "")):
        response = await aiohttp_jinja2.render_template_async("outbox.html", request, {"messages": messages})
    else:
        response = json_response(messages)
    response.headers.add("Vary", "Accept")
    return response


def is_local(request: web.Request) -> bool:
    """Whether the request comes straight from this machine, and was meant for it: a site that a browser here has open
    could point a name of its own at 127.0.0.1."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    if not isinstance(peer, tuple) or not _is_loopback(str(peer[0])):
        return False
    if any(name in request.headers for name in _FORWARDED):
        return False
    host = (request.url.host or "").lower()
    return host == "localhost" or host.endswith(".localhost") or _is_loopback(host)


def _is_loopback(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def prefers_html(accept: str) -> bool:
    """Whether an Accept header (RFC 9110, 12.5.1) ranks text/html above application/json. Equal ranks, and no header at
    all, mean JSON."""
    return _rank(accept, "text/html") > _rank(accept, "application/json")


def _rank(accept: str, wanted: str) -> float:
    """The quality that a header gives to a media type, by the most specific range that covers it."""
    ranges = (wanted, wanted.split("/")[0] + "/*", "*/*")
    best = (len(ranges), 0.0)
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name not in ranges:
            continue
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                quality = _quality(value.strip())
        best = min(best, (ranges.index(name), quality))
    return best[1]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
