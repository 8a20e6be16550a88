"""The body of a request, from bytes on a socket to JSON values without a loss.

What lives here: size, time, type and coding of a body, and reading JSON exactly. What must not: what any field means
(schemas/).
"""

import asyncio
import json
import re
from decimal import Decimal
from itertools import chain
from typing import Any, NoReturn

import orjson
from aiohttp import web

from handlers.context import HTTP
from handlers.errors import BodyTooLarge, BodyTooSlow, UnsupportedBody
from handlers.schemas.base import InvalidRequest

# What nearly every client sends; anything else is looked at more closely.
_PLAIN_JSON = frozenset({"application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8"})
# A key with white space before its colon; all others are followed by quote and colon.
_SPACED_KEY = re.compile(rb'"[ \t\r\n]+:')
_OBJECTS, _TEXTS = {dict}, {str}
_OBJECT_NEEDED = "The body must be a JSON object"
# A body that was read before the request came to its handler.
BODY = web.RequestKey("body", bytes)


async def read_body(request: web.Request) -> bytes:
    """The raw body. Raises BodyTooLarge, BodyTooSlow, UnsupportedBody."""
    if BODY in request:
        return request[BODY]
    rules = request.app[HTTP]
    if "Content-Encoding" in request.headers:
        # A small compressed body may be an enormous one.
        raise UnsupportedBody("Send the body uncompressed: Content-Encoding is not accepted")
    if request.content_length is not None and request.content_length > rules.max_body_bytes:
        raise BodyTooLarge(rules.max_body_bytes)
    if request.content.is_eof():
        # Most often a body is there as soon as its head is: then there is nothing to wait for, nor to limit in time.
        body = request.content.read_nowait()
        if len(body) > rules.max_body_bytes:
            raise BodyTooLarge(rules.max_body_bytes)
        return body
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(rules.body_timeout_s):
            async for part in request.content.iter_any():
                size += len(part)
                if size > rules.max_body_bytes:
                    raise BodyTooLarge(rules.max_body_bytes)
                parts.append(part)
    except TimeoutError:
        raise BodyTooSlow from None
    return b"".join(parts)


async def read_object(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object; see `parse_object`."""
    check_type(request)
    return parse_object(await read_body(request))


def body_at_hand(request: web.Request, max_bytes: int) -> bytes | None:
    """The raw body if all of it has arrived and it is plain JSON of a size that is taken; `read_body` gives it again.
    None where that takes a closer look."""
    headers, content = request.headers, request.content
    if headers.get("Content-Type") not in _PLAIN_JSON or "Content-Encoding" in headers:
        return None
    if not content.is_eof() or content.total_bytes > max_bytes:
        return None
    body = request[BODY] = content.read_nowait()
    return body


def check_type(request: web.Request) -> None:
    """Refuse what says of itself that it is not JSON in UTF-8. Raises UnsupportedBody."""
    if request.headers.get("Content-Type", "application/json") in _PLAIN_JSON:
        return
    if request.content_type != "application/json" and not request.content_type.endswith("+json"):
        raise UnsupportedBody("Send the body as JSON with Content-Type: application/json")
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedBody("Send the body in UTF-8")


def parse_object(raw: bytes) -> dict[str, Any]:
    """A JSON object. Fractions and long numbers become Decimal, never float. Raises InvalidRequest for everything else:
    NaN, lone surrogates, bad UTF-8, depth beyond reason and an object that names a key twice among it."""
    try:
        document = orjson.loads(raw)
        keys, is_exact = _survey(document)
        if not is_exact:
            document = json.loads(raw, parse_float=_exact, parse_int=_whole, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidRequest([_unreadable(raw)]) from None
    if not isinstance(document, dict):
        raise InvalidRequest([_OBJECT_NEEDED])
    # As many keys as quotes with a colon prove that no key was lost to a later twin. Where texts hold some too, or
    # white space hides some, the slow way tells.
    if keys != raw.count(b'":') or (_has_space(raw) and _SPACED_KEY.search(raw)):
        try:
            json.loads(raw, object_pairs_hook=_refuse_twins)
        except RecursionError:
            raise InvalidRequest([_OBJECT_NEEDED + " that is not nested so deeply"]) from None
    return document


def _unreadable(raw: bytes) -> str:
    """What a person can do about a body that is no JSON."""
    if not raw.strip():
        return "The body is empty; send a JSON object"
    return "The body must be a JSON object in UTF-8, and numbers in it finite and of a usual size: it cannot be read"


def _exact(text: str) -> Decimal:
    # Beyond this length no number is a price, and making the Decimal would cost time for nothing.
    if len(text) > 60:
        raise ValueError("number too long")
    return Decimal(text)


def _whole(text: str) -> int | Decimal:
    return Decimal(text) if text == "-0" else int(text)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(text)


def _survey(document: Any) -> tuple[int, bool]:
    """How many keys all objects have together, and whether no number went through a binary float: one with a fraction
    or an exponent, or longer than 64 bits; or may be a negative zero, which JSON's reader makes a zero."""
    keys, is_exact = 0, True
    waiting: list[Any] = [document]
    for value in waiting:  # which grows
        kind = type(value)
        # Texts first, for most values are.
        if kind is str:
            continue
        if kind is dict:
            keys += len(value)
            waiting.extend(value.values())
        elif kind is list:
            if set(map(type, value)) == _OBJECTS:
                # An array of objects, as that of bids is: most of a large body, and most often nothing but texts.
                keys += sum(map(len, value))
                value = list(chain.from_iterable(map(dict.values, value)))
                if set(map(type, value)) == _TEXTS:
                    continue
            waiting.extend(value)
        elif kind is float or value == 0:
            is_exact = False
    return keys, is_exact


def _has_space(raw: bytes) -> bool:
    """Whether white space may stand before a colon: four searches for a byte or two, where most bodies would else be
    gone through by a regular expression in vain."""
    return b" :" in raw or b"\n" in raw or b"\t" in raw or b"\r" in raw


def _refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidRequest(["The body names a key twice in one object"])
    return found
