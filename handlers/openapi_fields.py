"""How each kind of field is documented: what OpenAPI shows beyond the type that marshmallow gives it.

What lives here: the converter from schemas to JSON schema, request bodies and parameters. What must not: an endpoint,
or how a field is read (schemas/fields.py).
"""

from collections.abc import Mapping
from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields

from handlers.schemas.base import RequestSchema
from handlers.schemas.bids import TIMESLOT_PATTERN, Day, Slot
from handlers.schemas.fields import Gps, Gstin, Number, Otp, Phone, Pincode, Year

_DEGREES = r"-?[0-9]{1,3}(\.[0-9]{1,12})? ?°? ?"
# The description is one sentence, which the field's own may follow. A pattern is the usual form: white space around it
# is cut off, and a field that is not required may also be blank.
_KINDS: Mapping[type[fields.Field[Any]], Mapping[str, Any]] = {
    Phone: {
        "description": "A phone number in any usual form; without a country code it is one of this server's country",
        "pattern": r"^\+?[0-9(][0-9 ().\-]{2,30}$",
    },
    Otp: {"description": "The 6 digits that were sent"},
    Gps: {
        "description": "Decimal degrees, latitude first: `12.9716,77.5946`; `°`, N, S, E and W are understood",
        "pattern": f"^{_DEGREES}[NSns]? ?, ?{_DEGREES}[EWew]?$",
    },
    Gstin: {
        "description": "A GST identification number, checked by format; stored in upper case",
        "pattern": "^[0-9]{2}[A-Za-z]{5}[0-9]{4}[A-Za-z][0-9A-Za-z][Zz][0-9A-Za-z]$",
    },
    Pincode: {
        "type": ["string", "integer"],
        "description": "A postal code of 6 digits",
        "pattern": "^[0-9]{6}$",
        "minimum": 100_000,
        "maximum": 999_999,
    },
    Year: {"description": "From 1950 to this year"},
    Day: {"description": "A delivery day in India", "format": "date"},
    Slot: {
        "type": "string",
        "description": "A slot of a quarter hour: `10:00-10:15`, its start `10:00`, or its number from 1 to 96",
        "pattern": TIMESLOT_PATTERN,
    },
}
_TEXT_NUMBER = r"-?[0-9]{1,12}(\.[0-9]{1,9})?"


class FieldConverter(OpenAPIConverter):
    """apispec's, with what our own kinds of field add."""

    def field2property(self, field: fields.Field[Any]) -> dict[str, Any]:
        """The JSON schema of a field."""
        shape = super().field2property(field)
        describe(field, shape)
        return shape


class SchemaPlugin(MarshmallowPlugin):
    """Puts schemas into one OpenAPI document."""

    Converter = FieldConverter

    def body(self, schema: type[RequestSchema[Any]]) -> dict[str, Any]:
        """A request body with the example that its fields make together."""
        content: dict[str, Any] = {"schema": schema}
        if example := example_of(schema):
            content["example"] = example
        return {"required": True, "content": {"application/json": content}}

    def query(self, schema: type[RequestSchema[Any]]) -> list[dict[str, Any]]:
        """Query parameters. They are texts: what a body may hold beside one has no place here."""
        assert self.converter is not None, "the plugin belongs to no document yet"
        parameters: list[dict[str, Any]] = self.converter.schema2parameters(schema, location="query")
        for parameter in parameters:
            shape = parameter["schema"]
            if isinstance(kinds := shape.get("type"), list):
                left = [kind for kind in kinds if kind != "null"]
                # A number is a text in a query, so only the number says more than the text does.
                shape["type"] = left[-1]
                if left[-1] != "string":
                    shape.pop("pattern", None)
            if not parameter["required"]:
                # An example would be sent by those who try the endpoint on its page and fill in nothing.
                shape.pop("examples", None)
        return parameters


def describe(field: fields.Field[Any], shape: dict[str, Any]) -> None:
    """Add to a field's JSON schema what its own class says."""
    own = field.metadata.get("description")
    if isinstance(field, Number):
        shape |= _number(field)
    for kind, shown in _KINDS.items():
        if isinstance(field, kind):
            shape |= shown
    if own and shape["description"] != own:
        shape["description"] += f". {own}"
    if "enum" in shape or shape.get("format") == "date":
        # These say it all.
        shape.pop("minLength", None)
        shape.pop("maxLength", None)
    if isinstance(field.parent, RequestSchema) and not field.required:
        _allow_null(shape)
    # JSON schema 2020-12, which OpenAPI 3.1 uses, has a list of them.
    if "example" in shape:
        shape["examples"] = [shape.pop("example")]
    if "prefixItems" in field.metadata:
        shape["prefixItems"] = field.metadata["prefixItems"]


def example_of(schema: type[Schema]) -> dict[str, Any]:
    """The body that the examples of a schema's fields make together; of a choice without one its first word."""
    body: dict[str, Any] = {}
    for name, field in schema().fields.items():
        choices = field.metadata.get("enum")
        if "example" in field.metadata:
            body[field.data_key or name] = field.metadata["example"]
        elif choices and field.required:
            body[field.data_key or name] = choices[0]
    return body


def _number(field: Number) -> dict[str, Any]:
    unit = f" ?({field.unit})?" if field.unit else ""
    bounds = {"minimum": field.low, "exclusiveMinimum": field.above, "maximum": field.high}
    shape: dict[str, Any] = {
        "type": ["string", "integer" if field.is_whole else "number"],
        "pattern": f"^{_TEXT_NUMBER}{unit}$",
        **{keyword: bound for keyword, bound in bounds.items() if bound is not None},
    }
    if field.unit:
        shape["description"] = f"{field.unit}; the unit may follow the number"
    return shape


def _allow_null(shape: dict[str, Any]) -> None:
    """A null is a field left out (RequestSchema.prepare)."""
    kinds = shape.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "null" not in kinds:
        shape["type"] = [*kinds, "null"]
    if "enum" in shape:
        shape["enum"] = [*shape["enum"], None]
