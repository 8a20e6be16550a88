"""What is true of one endpoint, said once: who may call it, how it fails, what its documentation shows.

What lives here: the decorator and its frozen record. What must not: the URL (routes.py), or what any error means
(errors.py).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from aiohttp import web
from marshmallow import Schema

from auth.tokens import Purpose
from handlers.schemas.base import RequestSchema

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_ATTRIBUTE = "__endpoint__"


class Family(Enum):
    """Which error shape an endpoint has: PARTNER adds `"success": false`, the others have `message` alone."""

    ENERGY = "energy"
    PARTNER = "partner"
    VALIDATION = "validation"


@dataclass(frozen=True, slots=True)
class Answer:
    """A documented answer: what it means, and an example of its whole body. Without a `schema` the example's own shape
    is documented, which needs one where a value can be null or left out. `csv` is an example of the same as CSV, where
    that may be asked for."""

    description: str
    example: Mapping[str, Any] | None = None
    schema: type[Schema] | None = None
    csv: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`purposes` are the tokens that open it, none for public. `failure` is the whole 500 body of a published
    document, also for services that are unreachable; without it those are a 503. `answers` document every status but
    those that the middlewares add."""

    summary: str
    tag: str
    family: Family = Family.ENERGY
    purposes: tuple[Purpose, ...] = ()
    # A token of one of these is recognised, and refused with 403.
    foreign: tuple[Purpose, ...] = ()
    failure: Mapping[str, Any] | None = None
    request: type[RequestSchema[Any]] | None = None
    query: type[RequestSchema[Any]] | None = None
    # JSON schemas of the variables in its path, for documentation.
    path: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    answers: Mapping[int, Answer] = field(default_factory=dict)
    # Public once market.public_book is set.
    is_book: bool = False
    has_idempotency_key: bool = False
    # Left out of the API documentation: pages for people.
    is_page: bool = False


def endpoint(record: Endpoint) -> Callable[[Handler], Handler]:
    """Attach an endpoint's record to its handler."""

    def attach(handler: Handler) -> Handler:
        setattr(handler, _ATTRIBUTE, record)
        return handler

    return attach


def endpoint_of(handler: object) -> Endpoint | None:
    """The record of a handler; None for aiohttp's own (not found, static files)."""
    return getattr(handler, _ATTRIBUTE, None)
