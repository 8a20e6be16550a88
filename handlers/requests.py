"""Parsing and responding: the few lines that begin and end nearly every handler.

What lives here: reading a request by its schema, answering in JSON, counting against limits. What must not: a rule of
one endpoint.
"""

import re
from collections.abc import Sequence
from typing import Any, TypeVar

import orjson
from aiohttp import web

from auth.tokens import Purpose
from handlers.body import read_object
from handlers.context import CLOCK, CODES, IDENTITY, MARKET, TOKENS
from handlers.errors import InvalidToken, TooManyRequests
from handlers.schemas.base import Reading, RequestSchema
from market.calendar import Calendar
from storage.codes import Limit

T = TypeVar("T")
QUARTER_OF_AN_HOUR_S = 900
DAY_S = 86_400
_BEARER = re.compile(r"(?:[Bb][Ee][Aa][Rr][Ee][Rr] +)?([^ ]+)")


def reading_of(app: web.Application) -> Reading:
    """What schemas may need to know now."""
    calendar: Calendar = app[MARKET].calendar
    return Reading(region=app[IDENTITY].default_region, year=calendar.today(app[CLOCK]()).year)


async def read_json(request: web.Request, schema: type[RequestSchema[T]]) -> T:
    """The body, read by its schema. Raises InvalidRequest and the refusals of handlers/body.py."""
    return schema().read(await read_object(request), reading_of(request.app))


def read_query(request: web.Request, schema: type[RequestSchema[T]]) -> T:
    """The query parameters, read by their schema; of one given twice the first counts. Raises InvalidRequest."""
    return schema().read({name: request.query[name] for name in request.query}, reading_of(request.app))


def json_response(body: Any, status: int = 200) -> web.Response:
    """A JSON answer. Decimals must have been made texts before."""
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", charset="utf-8")


def read_token(request: web.Request) -> str:
    """The bearer token, or the bare token that the first web client sends. Raises InvalidToken."""
    given = request.headers.getall("Authorization", [])
    match = _BEARER.fullmatch(given[0].strip()) if len(given) == 1 else None
    if match is None:
        raise InvalidToken
    return match[1]


async def take(request: web.Request, limits: Sequence[Limit]) -> None:
    """Count against limits. Raises TooManyRequests when one of them is reached, RedisUnavailable."""
    wait_s = await request.app[CODES].take(limits)
    if wait_s:
        raise TooManyRequests(wait_s)


def issue_token(app: web.Application, purpose: Purpose, subject: int, generation: int) -> str:
    """A fresh access token of an account, partner or operator."""
    return app[TOKENS].issue(purpose, subject, generation, app[IDENTITY].token_lifetime)[0]
