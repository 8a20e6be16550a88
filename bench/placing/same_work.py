"""That every contender does the same work: it checks tokens and bids, and places once what it is sent twice.

What lives here: a few requests with answers that are known, before anything is timed. What must not: timing.
"""

import json
from typing import Any

import aiohttp

from bench.placing.contenders import Contender
from bench.rounds import NotMeasured

_PATH = "/placebid/dayahead"
_GOOD = {"timeslot": "10:00-10:15", "volume": "2.500", "price": "4.25"}
# Each has one fault; FastAPI says 422 where the others say 400.
_BAD: tuple[Any, ...] = (
    {"arr": []},
    {"arr": [{**_GOOD, "timeslot": "10:01-10:16"}]},
    {"arr": [{**_GOOD, "volume": "0"}]},
    {"arr": [{**_GOOD, "volume": "1000000.001"}]},
    {"arr": [{**_GOOD, "price": "4.255"}]},
    {"arr": [{**_GOOD, "price": "10000.01"}]},
    {"arr": [_GOOD, {"timeslot": "10:00-10:15", "volume": "1"}]},
)


async def check(contender: Contender) -> None:
    """Raises NotMeasured when a contender does less than the others."""
    token = contender.tokens[0]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{contender.port}") as session:

        async def post(body: Any, key: str, token: str = token) -> tuple[int, Any]:
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key, "Content-Type": "application/json"}
            async with session.post(_PATH, data=json.dumps(body).encode(), headers=headers) as response:
                return response.status, await response.json(content_type=None)

        def demand(is_so: bool, what: str, got: object) -> None:
            if not is_so:
                raise NotMeasured(f"it does not do the same work: {what} was answered {got}")

        status, first = await post({"arr": [_GOOD, _GOOD]}, "check-1")
        demand(status == 200 and len(first["bids"]) == 2, "a placement of two bids", (status, first))
        status, again = await post({"arr": [_GOOD, _GOOD]}, "check-1")
        demand((status, again) == (200, first), "the same request again", (status, again))
        status, other = await post({"arr": [_GOOD]}, "check-1")
        demand(status == 422, "another body with a key that was used", (status, other))
        status, other = await post({"arr": [_GOOD, _GOOD]}, "check-2")
        demand(status == 200 and other["bids"] != first["bids"], "the same body with another key", (status, other))
        forged = token[:-6] + ("AAAAAA" if not token.endswith("AAAAAA") else "BBBBBB")
        status, answer = await post({"arr": [_GOOD]}, "check-3", forged)
        demand(status == 401, "a forged token", (status, answer))
        for body in _BAD:
            status, answer = await post(body, "check-4")
            demand(status in (400, 422), f"{json.dumps(body)}", (status, answer))
