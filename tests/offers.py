"""Placements, own bids and the book as tests ask for them.

What lives here: the requests. What must not: what their answers should be.
"""

from typing import Any

from tests.answers import Answer, call
from tests.conftest import Client
from tests.factories import Household

PLACE = "/placebid/dayahead"


async def offer(client: Client, household: Household, body: Any) -> Answer:
    """A placement, with whatever body."""
    return await call(client, "POST", PLACE, body, by=household)


async def raw_offer(client: Client, household: Household, one: str, **headers: str) -> Answer:
    """A placement of one bid whose JSON is written by hand."""
    return await call(client, "POST", PLACE, data=f'{{"arr":[{one}]}}'.encode(), by=household, headers=headers)


async def own(client: Client, household: Household, day: str | None = None) -> list[dict[str, Any]]:
    """The account's bids of a day."""
    query = f"?deliveryDate={day}" if day else ""
    answer = await call(client, "GET", f"/bids/dayahead{query}", by=household)
    assert answer.status == 200, answer
    bids: list[dict[str, Any]] = answer.body["bids"]
    return bids


async def levels(client: Client, household: Household, day: str | None = None) -> list[list[Any]]:
    """The book's levels of a day."""
    query = f"?deliveryDate={day}" if day else ""
    answer = await call(client, "GET", f"/book/dayahead{query}", by=household)
    assert answer.status == 200, answer
    found: list[list[Any]] = answer.body["lv"]
    return found
