"""Requests as tests make them, and what every answer of the server has in common.

What lives here: one call, its answer, and the shapes that the API promises for all endpoints. What must not: anything
that one endpoint promises.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import Client
from tests.factories import Household


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read whole. `asked` is what it answers, for the text of a failing assertion."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(repr=False)
    asked: str

    @property
    def message(self) -> str:
        """The message that every error has, and most successes."""
        message = self.body["message"]
        assert isinstance(message, str), self
        assert message.strip(), self
        return message


async def call(
    client: Client,
    method: str,
    path: str,
    body: Any = None,
    *,
    by: Household | None = None,
    headers: Mapping[str, str] | None = None,
    data: Any = None,
) -> Answer:
    """One request; `body` is sent as JSON, `data` as it is. The answer must be JSON in UTF-8."""
    sent = {**(by.headers if by else {}), **(headers or {})}
    if body is not None:
        data = json.dumps(body).encode()  # not orjson: tests send what is no 64-bit number and no Unicode too
    if data is not None:
        sent.setdefault("Content-Type", "application/json")
    async with client.request(method, path, data=data, headers=sent) as response:
        raw = await response.read()
        assert response.content_type == "application/json", (response.status, response.headers, raw[:500])
        assert (response.charset or "utf-8").lower() == "utf-8"
        return Answer(
            response.status, json.loads(raw), response.headers.copy(), f"{method} {path} {headers or ''} {data!r:.300}"
        )


def assert_invalid(answer: Answer, *faults: str) -> list[str]:
    """A validation error: 400 with a message and the list of all faults. Each of `faults` stands in an error of its
    own, and there are no others. The errors, in their order."""
    assert answer.status == 400, answer
    assert set(answer.body) == {"message", "errors"}, answer
    assert answer.message
    errors: list[Any] = answer.body["errors"]
    assert errors, answer
    assert all(isinstance(error, str) and error.strip() for error in errors), answer
    if faults:
        assert len(errors) == len(faults), answer
        for fault in faults:
            assert sum(bool(re.search(rf"\b{fault}\b", error)) for error in errors) == 1, (fault, errors)
    return errors


def assert_refused(answer: Answer, status: int, message: str | None = None) -> None:
    """An error whose whole body is a message, `message` if given."""
    assert answer.status == status, answer
    assert set(answer.body) == {"message"}, answer
    assert answer.message
    if message is not None:
        assert answer.body == {"message": message}, answer
