"""One household that places, changes and withdraws bids at random, whatever becomes of the server.

What lives here: its requests, each with a key and repeated until it is answered. What must not: who watches, who kills.
"""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.drills.households import Household

_SIZES = (1, 1, 2, 4, 24, 96)
_RETRY_PAUSE_S = 0.05
# Few prices, so that levels hold several bids, and lose their last one often.
_PRICES = (380, 420)


@dataclass(slots=True)
class Trade:
    """A household and what it was told: requests answered with 200, events they were, retries, and its open bids."""

    household: Household
    chance: random.Random
    answered: int = 0
    events: int = 0
    retries: int = 0
    open_bids: list[int] = field(default_factory=list)


async def trade(session: aiohttp.ClientSession, one: Trade, day: str, left: list[int]) -> None:
    """Trade until no events are left of the drill's, which several households take from."""
    chance = one.chance
    while left[0] > 0:
        what = chance.random()
        if what < 0.5 or not one.open_bids:
            size = min(chance.choice(_SIZES), left[0])
            left[0] -= size
            body = await _ask(session, one, "POST", "/placebid/dayahead", _placement(chance, size, day))
            one.open_bids += [bid["id"] for bid in body["bids"]]
            one.events += size
            continue
        left[0] -= 1
        place = chance.randrange(len(one.open_bids))
        url = f"/bids/dayahead/{one.open_bids[place]}"
        if what < 0.75:
            change = chance.choice(({"price": _price(chance)}, {"volume": _volume(chance)}))
            await _ask(session, one, "PATCH", url, change)
        else:
            await _ask(session, one, "DELETE", url, None)
            one.open_bids[place] = one.open_bids[-1]
            one.open_bids.pop()
        one.events += 1


def _placement(chance: random.Random, size: int, day: str) -> dict[str, Any]:
    arr = [{"timeslot": chance.randint(1, 96), "volume": _volume(chance), "price": _price(chance)} for _ in range(size)]
    return {"arr": arr, "deliveryDate": day}


def _price(chance: random.Random) -> str:
    return f"{chance.randint(*_PRICES) / 100:.2f}"


def _volume(chance: random.Random) -> str:
    return f"{chance.randint(1, 9999) / 1000:.3f}"


async def _ask(session: aiohttp.ClientSession, one: Trade, method: str, url: str, body: Any) -> dict[str, Any]:
    """A request with a key, repeated until it gets its 200."""
    headers = {**one.household.headers, "Idempotency-Key": f"{one.chance.getrandbits(96):x}"}
    while True:
        try:
            async with session.request(method, url, json=body, headers=headers) as response:
                answer: dict[str, Any] = await response.json()
                if response.status == 200:
                    one.answered += 1
                    return answer
                # An outage, in the words of the endpoint's family: nothing else may happen in a drill.
                assert response.status == (500 if method == "POST" else 503), (method, response.status, answer)
                assert int(response.headers["Retry-After"]) >= 1
        except (aiohttp.ClientError, TimeoutError):
            pass
        one.retries += 1
        await asyncio.sleep(_RETRY_PAUSE_S)
