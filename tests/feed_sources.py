"""Where what a feed shows comes from: bids changed over REST, the book as REST shows it, tokens made for a test.

What lives here: requests and tokens. What must not: a websocket.
"""

import math
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from auth.tokens import Purpose, Tokens
from tests.answers import call
from tests.clock import india_day
from tests.conftest import SECRET, Client
from tests.factories import Household


def channel(ahead: int = 1) -> str:
    """The channel of the book of a day that many days from today."""
    return f"book:{india_day(ahead)}"


async def book_of(client: Client, by: Household, day: str | None = None, slot: int | None = None) -> dict[str, Any]:
    """GET /book/dayahead. After it, subscriptions at the same server begin at that number or later."""
    query = [f"deliveryDate={day}"] if day else []
    query += [f"timeslot={slot}"] if slot else []
    answer = await call(client, "GET", f"/book/dayahead?{'&'.join(query)}", by=by)
    assert answer.status == 200, answer
    book: dict[str, Any] = answer.body
    return book


async def amend(client: Client, by: Household, bid_id: int, **changes: str) -> int:
    """Change a bid; the number of the event."""
    answer = await call(client, "PATCH", f"/bids/dayahead/{bid_id}", changes, by=by)
    assert answer.status == 200, answer
    return int(answer.body["seq"])


async def withdraw(client: Client, by: Household, bid_id: int) -> int:
    """Withdraw a bid; the number of the event."""
    answer = await call(client, "DELETE", f"/bids/dayahead/{bid_id}", by=by)
    assert answer.status == 200, answer
    return int(answer.body["seq"])


async def refresh(client: Client, by: Household) -> Household:
    """The same household with a fresh token; the old one stays good."""
    answer = await call(client, "POST", "/token/refresh", by=by)
    assert answer.status == 200, answer
    return Household(by.phone, by.connection_id, by.account_type, answer.body["token"])


def claims_of(token: str) -> dict[str, Any]:
    """What a token says."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def token_until(household: Household, seconds: float) -> tuple[str, int]:
    """A token of a household's that ends that many seconds from now, or a little later: and when, as a Unix time."""
    claims, ends = claims_of(household.token), math.ceil(time.time() + seconds)
    made = datetime.now(UTC)
    lifetime = datetime.fromtimestamp(ends, UTC) - made
    token, _ = Tokens(SECRET).issue(Purpose.ACCOUNT, int(claims["sub"]), claims["gen"], lifetime, made)
    return token, ends


def token_for(purpose: Purpose, subject: int) -> str:
    """A token of another purpose, good for an hour."""
    return Tokens(SECRET).issue(purpose, subject, 1, timedelta(hours=1))[0]
