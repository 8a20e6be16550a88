"""The OpenAPI 3.1 document, built from the route table, the endpoints' records and the schemas that validate.

What lives here: putting the document together, purely. What must not: serving it (documentation.py), or a text about
one endpoint, which belongs into its record.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
from apispec import APISpec

from auth.tokens import Purpose
from handlers.endpoint import Endpoint, endpoint_of
from handlers.openapi_answers import HEADERS, SHARED_SHAPES, responses
from handlers.openapi_fields import SchemaPlugin

if TYPE_CHECKING:
    # The table names the endpoints that serve the document.
    from handlers.routes import Route

VERSION = "0.1.0"
_VARIABLE = re.compile(r"{([a-z_]+)}")
_DESCRIPTION = """
A day-ahead exchange for the electricity of households: prosumers sell, consumers buy, in 96 slots of a quarter hour of
the next day in India.

- **Tokens.** Sign in, then send `Authorization: Bearer <token>`. A token opens only what its kind of account may do.
- **Numbers.** Prices (INR per kWh) and volumes (kWh) are exact decimals. Send them as texts or JSON numbers; answers
  show them as texts.
- **Errors.** Every error has a `message`; one about fields has all faults at once in `errors`. `X-Request-ID` names the
  request in the server's log.
- **Repeating a request safely.** With an `Idempotency-Key` header a write to bids that is sent again is answered again
  and done once.
- **Limits.** 429 and 503 say in `Retry-After` how many seconds to wait.
"""
_SCHEMES = {
    Purpose.ACCOUNT: ("accountToken", "The token of an energy account, from /signup or /signin"),
    Purpose.SHIPPER: ("shipperToken", "The token of a shipper, from /api/shipper/login"),
    Purpose.TRANSPORTER: ("transporterToken", "The token of a transporter, from /api/transporters/login"),
    Purpose.OPERATOR: ("operatorToken", "The token of an operator, from /operator/signin"),
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": (
        "A name of your own for this write, such as a UUID. Sent again with the same body within 24 hours it gets the "
        "first answer, and nothing is done twice"
    ),
    "schema": {"type": "string", "pattern": "^[!-~]{1,200}$", "minLength": 1, "maxLength": 200},
}


@lru_cache(maxsize=2)
def document_bytes(routes: tuple[Route, ...], *, is_book_public: bool) -> bytes:
    """The document as JSON."""
    return orjson.dumps(build_document(routes, is_book_public=is_book_public))


def build_document(routes: Sequence[Route], *, is_book_public: bool) -> dict[str, Any]:
    """The document of every route but pages for people. Raises ValueError for a route whose handler has no record."""
    plugin = SchemaPlugin()
    spec = APISpec(
        title="Shakti",
        version=VERSION,
        openapi_version="3.1.0",
        plugins=[plugin],
        info={"description": _DESCRIPTION.strip(), "license": {"name": "MIT", "identifier": "MIT"}},
        servers=[{"url": "/", "description": "This server"}],
    )
    for name, description in _SCHEMES.values():
        spec.components.security_scheme(
            name, {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": description}
        )
    for name, header in HEADERS.items():
        spec.components.header(name, dict(header))
    for name, shape in SHARED_SHAPES.items():
        spec.components.schema(name, shape)
    tags: list[str] = []
    for route in routes:
        record = endpoint_of(route.handler)
        if record is None:
            raise ValueError(f"{route.method} {route.path} is not documented: its handler needs an Endpoint record")
        if record.is_page:
            continue
        if record.tag not in tags:
            tags.append(record.tag)
            spec.tag({"name": record.tag})
        operation = _operation(route, record, plugin, is_open=record.is_book and is_book_public)
        spec.path(route.path, operations={route.method.lower(): operation})
    return spec.to_dict()


def _operation(route: Route, record: Endpoint, plugin: SchemaPlugin, *, is_open: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [record.tag],
        "summary": record.summary,
        "description": inspect.getdoc(route.handler) or record.summary,
        "responses": responses(record),
        "security": _security(record, is_open=is_open),
    }
    parameters: list[dict[str, Any]] = [_path_parameter(name, record) for name in _VARIABLE.findall(route.path)]
    if record.query is not None:
        parameters += plugin.query(record.query)
    if record.has_idempotency_key:
        parameters.append(_IDEMPOTENCY_KEY)
    if parameters:
        operation["parameters"] = parameters
    if record.request is not None:
        operation["requestBody"] = plugin.body(record.request)
    return operation


def _path_parameter(name: str, record: Endpoint) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": dict(record.path.get(name, {"type": "string"}))}


def _security(record: Endpoint, *, is_open: bool) -> list[dict[str, list[str]]]:
    """Any one of the kinds of token that open the endpoint, or none where none is needed."""
    if is_open:
        return [{}]
    return [{_SCHEMES[purpose][0]: []} for purpose in record.purposes]
