"""The AsyncAPI document as tests read it, and what holds messages of the feed against it.

What lives here: which documented message a message is. What must not: a socket.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft7Validator, FormatChecker

from handlers.asyncapi import build_document


def published() -> dict[str, Any]:
    """The document as the server publishes it."""
    return build_document(is_book_public=False)


def documented_as(message: Mapping[str, Any]) -> list[str]:
    """The names of the documented messages that this could be: one, if it is as documented."""
    return [name for name, validator in _validators().items() if validator.is_valid(message)]


def requests() -> set[str]:
    """The names of the messages that clients send."""
    return {
        name for name, shown in published()["components"]["messages"].items() if "op" in shown["payload"]["required"]
    }


@cache
def _validators() -> dict[str, Draft7Validator]:
    shown = published()["components"]["messages"]
    return {name: _validator(message["payload"]) for name, message in shown.items()}


def _validator(payload: dict[str, Any]) -> Draft7Validator:
    """Of the payload and nothing beyond it. The document itself does not promise that, so that a later version may add
    to it."""
    waiting: list[Any] = [payload]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
            if "properties" in node:
                node.setdefault("additionalProperties", False)
            if isinstance(node.get("items"), list):
                node.setdefault("additionalItems", False)
    return Draft7Validator(payload, format_checker=FormatChecker())
