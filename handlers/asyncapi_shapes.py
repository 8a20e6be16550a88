"""What the documentation of the live feed is made of: a message's record, and the shapes that messages share.

What lives here: JSON schema (draft 7, which AsyncAPI speaks). What must not: a message (asyncapi_requests.py,
asyncapi_answers.py), or how they are put together in a document (asyncapi.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import orjson

from market.slots import SLOTS

Shape: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of message. `word` is what stands in its `op` (from a client) or `t` (from the server); `fields` are the
    others with their shapes, and `optional` names those that may be left out. `examples` are JSON texts."""

    name: str
    key: Literal["op", "t"]
    word: str
    summary: str
    fields: Mapping[str, Shape]
    examples: tuple[str, ...]
    optional: frozenset[str] = frozenset()

    @property
    def payload(self) -> dict[str, Any]:
        """Its JSON schema. A later version may add to it."""
        return {
            "type": "object",
            "properties": {self.key: {"const": self.word}, **self.fields},
            "required": [self.key, *(name for name in self.fields if name not in self.optional)],
        }

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Its examples."""
        return [orjson.loads(example) for example in self.examples]


def text(description: str, **more: Any) -> Shape:
    """A text."""
    return {"type": "string", "description": description, **more}


def whole(description: str, **more: Any) -> Shape:
    """A whole number."""
    return {"type": "integer", "description": description, **more}


def row(description: str, *places: Shape) -> Shape:
    """An array whose places have a meaning each."""
    bounds = {"minItems": len(places), "maxItems": len(places)}
    return {"type": "array", "description": description, "items": list(places), **bounds}


def rows(description: str, item: Shape, **more: Any) -> Shape:
    """An array of any number of the same."""
    return {"type": "array", "description": description, "items": item, **more}


def record(description: str, fields: Mapping[str, Shape]) -> Shape:
    """An object that has all of these fields."""
    return {"type": "object", "description": description, "properties": dict(fields), "required": list(fields)}


DAY_PATTERN: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
ID: Final[Shape] = {
    "type": ["integer", "string"],
    "maxLength": 64,
    "description": "A name of the client's own for its request; the reply has it again",
}
BOOK: Final = text("The book's channel, its delivery day in it", pattern=f"^book:{DAY_PATTERN}$")
CHANNEL: Final = text("A channel as it was subscribed to", pattern=f"^(book(:{DAY_PATTERN})?|me)$")
EPOCH: Final = text("Names one history of the book; where it changes, start anew")
SEQ: Final = whole("The number of the last event that is in it", minimum=0)
PREV: Final = whole(
    "It applies where this is at most the receiver's own number; where it is greater, something is missing"
)
SLOT: Final = whole("Slot of the delivery day", minimum=1, maximum=SLOTS)
SIDE: Final[Shape] = {"enum": ["B", "S"], "description": "Buy or sell"}
PRICE: Final = whole("Price in ticks")
VOLUME: Final = whole("Volume in ticks", minimum=0)
CRC: Final = whole("CRC-32, unsigned", minimum=0, maximum=2**32 - 1)
MILLISECONDS: Final = whole("Unix time in milliseconds")
EXPIRES: Final = whole("The end of the token, Unix time in seconds")
TICKS: Final = record("Sizes of the ticks", {"price": text("INR per kWh"), "volume": text("kWh")})
