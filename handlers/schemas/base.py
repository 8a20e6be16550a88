"""How every request is read: a marshmallow schema, a frozen dataclass out of it, and all faults as one list of texts.

What lives here: the base schema, its context and its error. What must not: any field of any request.
"""

import dataclasses
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from marshmallow import EXCLUDE, Schema, ValidationError

T = TypeVar("T")


class InvalidRequest(Exception):
    """The request's fields are at fault; `errors` has one text for each fault, all at once. `valid` holds the fields
    that are not, by the schema's attributes."""

    def __init__(self, errors: list[str], valid: Mapping[str, Any] | None = None) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors
        self.valid = valid or {}


@dataclass(frozen=True, slots=True)
class Reading:
    """What fields may need to know: the country of bare phone numbers, and the present year in India."""

    region: str
    year: int


READING: ContextVar[Reading] = ContextVar("reading")


class RequestSchema(Schema, Generic[T]):
    """Reads a JSON object into `target`, a frozen dataclass whose fields are named as the schema's attributes.

    A field's fault is a clause, "must be a text"; the error's text is the field's label, or its name in JSON, and the
    clause. Unknown fields are ignored: web clients send their whole form.
    """

    target: ClassVar[type[Any]]

    class Meta:
        unknown = EXCLUDE

    def read(self, document: Mapping[str, Any], reading: Reading) -> T:
        """The request. Raises InvalidRequest."""
        token = READING.set(reading)
        try:
            loaded = self.load(self.prepare(document))
        except ValidationError as fault:
            valid = fault.valid_data if isinstance(fault.valid_data, Mapping) else None
            raise InvalidRequest(self._texts(_by_field(fault)), valid) from None
        finally:
            READING.reset(token)
        names = {field.name for field in dataclasses.fields(self.target)}
        # A blank optional field is one left out: the dataclass knows what that means.
        given = {name: value for name, value in loaded.items() if name in names and value is not None}
        made: T = self.target(**given)
        return made

    def prepare(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """The document as the fields expect it. A null is a field left out."""
        return {name: value for name, value in document.items() if value is not None}

    def _texts(self, messages: Mapping[str, Any]) -> list[str]:
        """One text a fault, in the order in which the schema declares its fields."""
        order = {
            field.data_key or name: (position, field) for position, (name, field) in enumerate(self.fields.items())
        }
        texts = []
        for name in sorted(messages, key=lambda name: order[name][0] if name in order else -1):
            label = order[name][1].metadata.get("label", name) if name in order else ""
            texts += [f"{label} {clause}".strip() for clause in _flat(messages[name])]
        return texts


def _by_field(fault: ValidationError) -> Mapping[str, Any]:
    messages = fault.messages
    return messages if isinstance(messages, Mapping) else {"_schema": messages}


def _flat(clauses: Any) -> list[str]:
    if isinstance(clauses, Mapping):
        return [text for inner in clauses.values() for text in _flat(inner)]
    return [str(clause) for clause in clauses]
