"""Which answers an endpoint can give, and what they look like: its record's own and those that every endpoint shares.

What lives here: statuses, bodies, headers and shapes of answers. What must not: what any error means - the examples are
made by errors.py, as the answers themselves are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema

from handlers.endpoint import Endpoint
from handlers.errors import (
    BodyTooLarge,
    BodyTooSlow,
    InvalidToken,
    UnsupportedBody,
    WrongKind,
    answer_to,
)
from handlers.schemas.base import InvalidRequest
from storage.errors import DatabaseUnavailable

HEADERS: Mapping[str, Mapping[str, Any]] = {
    "X-Request-ID": {
        "description": "Names this request in the server's log",
        "required": True,
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds after which the same request may succeed",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Content-Disposition": {
        "description": "With CSV: the name of the file to keep it in",
        "schema": {"type": "string"},
    },
}
_MESSAGE = {"message": "What went wrong"}
_INVALID = {"message": "Validation failed", "errors": ["What is wrong, one text a fault"]}
_EXAMPLE_LIMIT = 1_048_576


@dataclass(frozen=True, slots=True)
class Case:
    """One body that an answer can have. `schema` is its shape where the body alone does not tell; `csv` is the same as
    CSV, if it can be had so."""

    description: str
    body: Mapping[str, Any]
    schema: type[Schema] | None = None
    csv: str | None = None


def shape_of(value: Any) -> dict[str, Any]:
    """The JSON schema of everything that looks like an example. A null tells nothing and allows everything."""
    if isinstance(value, Mapping):
        return {
            "type": "object",
            "properties": {name: shape_of(inner) for name, inner in value.items()},
            "required": sorted(value),
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        shapes: list[dict[str, Any]] = []
        for shape in map(shape_of, value):
            if shape not in shapes:
                shapes.append(shape)
        return {"type": "array", "items": shapes[0] if len(shapes) == 1 else {"anyOf": shapes} if shapes else {}}
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")):
        if isinstance(value, kind):
            return {"type": name}
    return {}


# Shapes that many answers share, by the name that they have in the document.
SHARED_SHAPES: Mapping[str, dict[str, Any]] = {
    "Message": shape_of(_MESSAGE),
    "ValidationErrors": shape_of(_INVALID),
    "PartnerMessage": shape_of({"success": False, **_MESSAGE}),
    "PartnerValidationErrors": shape_of({"success": False, **_INVALID}),
}


def responses(record: Endpoint) -> dict[str, Any]:
    """The OpenAPI responses of an endpoint, by status."""
    cases: dict[int, list[Case]] = {}
    for status, answer in record.answers.items():
        cases[status] = [Case(answer.description, answer.example or {}, answer.schema, answer.csv)]
    for description, fault in _shared_faults(record):
        answer_given = answer_to(fault, record)
        same = cases.setdefault(answer_given.status, [])
        # The record says more about a body that it shows than what is true of every endpoint.
        if not any(shape_of(case.body) == shape_of(answer_given.body) for case in same):
            same.append(Case(description, answer_given.body))
    return {str(status): _response(record, status, cases[status]) for status in sorted(cases)}


def _shared_faults(record: Endpoint) -> Iterator[tuple[str, Exception]]:
    """What can go wrong before, around and below a handler, each with what it means."""
    has_body = record.request is not None or record.has_idempotency_key
    if has_body:
        yield "A field is missing or wrong", InvalidRequest(["The body must be a JSON object"])
    if record.purposes:
        yield "No valid token", InvalidToken()
    if record.foreign:
        yield "A token of another kind of account", WrongKind()
    if has_body:
        yield "The body did not arrive in time", BodyTooSlow()
        yield "The body is too large", BodyTooLarge(_EXAMPLE_LIMIT)
        yield (
            "The body is not JSON in UTF-8, or is compressed",
            UnsupportedBody("Send the body as JSON with Content-Type: application/json"),
        )
    yield "A fault of ours", RuntimeError()
    if has_body or record.query is not None or record.purposes:
        yield "A service that is needed does not answer", DatabaseUnavailable()


def _response(record: Endpoint, status: int, cases: Sequence[Case]) -> dict[str, Any]:
    headers = {"X-Request-ID": "X-Request-ID"}
    if status < 200:
        # What follows is another protocol.
        return {"description": cases[0].description, "headers": headers}
    if status in (429, 503) or (status == 500 and record.failure is not None):
        headers["Retry-After"] = "Retry-After"
    shapes: list[Any] = []
    for case in cases:
        if (shape := _schema_of(case)) not in shapes:
            shapes.append(shape)
    content: dict[str, Any] = {"schema": shapes[0] if len(shapes) == 1 else {"anyOf": shapes}}
    if len(cases) == 1:
        content["example"] = cases[0].body
    else:
        content["examples"] = {
            f"{position}": {"summary": case.description, "value": case.body}
            for position, case in enumerate(cases, start=1)
        }
    described: dict[str, Any] = {
        "description": "; or: ".join(case.description for case in cases),
        "headers": headers,
        "content": {"application/json": content},
    }
    for case in cases:
        if case.csv is not None:
            headers["Content-Disposition"] = "Content-Disposition"
            described["content"]["text/csv"] = {"schema": {"type": "string"}, "example": case.csv}
    return described


def _schema_of(case: Case) -> Any:
    """A schema's class, the name of a shared shape, or a shape of its own: apispec resolves all three."""
    if case.schema is not None:
        return case.schema
    shape = shape_of(case.body)
    return next((name for name, shared in SHARED_SHAPES.items() if shared == shape), shape)
