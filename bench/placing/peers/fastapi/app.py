"""The peer FastAPI + asyncpg: pydantic models, a pool, and one prepared statement a request, which is its own
transaction. Runs in an environment of its own, with the packages of ../../requirements.txt.
"""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import asyncpg
import jwt
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel, Field, StringConstraints

SECRET = os.environ["SECRET_KEY"]
INDIA = timedelta(hours=5, minutes=30)
CAP = 1_000_000
MAX_VOLUME = 1_000_000_000

PLACE = """
WITH placed AS (
    INSERT INTO bids (account_id, delivery_day, slot, side, price, volume)
    SELECT $1, $2, b.slot, $3, b.price, b.volume
      FROM unnest($4::smallint[], $5::integer[], $6::integer[]) AS b (slot, price, volume)
    RETURNING id
)
INSERT INTO idempotency_keys (account_id, key, body_sha256, delivery_day, bid_ids)
SELECT $1, $7, $8, $2, array_agg(id ORDER BY id) FROM placed
RETURNING bid_ids
"""
REPLAY = "SELECT body_sha256, delivery_day, bid_ids FROM idempotency_keys WHERE account_id = $1 AND key = $2"


def _time(quarter: int) -> str:
    return f"{quarter // 4:02}:{quarter % 4 * 15:02}"


SLOTS = {f"{_time(n)}-{_time((n + 1) % 96)}": n + 1 for n in range(96)}


class Bid(BaseModel):
    timeslot: Annotated[str, StringConstraints(max_length=11)]
    volume: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,7}(\.[0-9]{1,3})?$")]
    price: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,5}(\.[0-9]{1,2})?$")]


class Placement(BaseModel):
    arr: Annotated[list[Bid], Field(min_length=1, max_length=1000)]


class Placed(BaseModel):
    message: str
    deliveryDate: date
    bids: list[int]


@dataclass(frozen=True, slots=True)
class User:
    account_id: int
    side: str


async def current_user(authorization: Annotated[str, Header()] = "") -> User:
    try:
        claims = jwt.decode(
            authorization.removeprefix("Bearer "),
            SECRET,
            algorithms=["HS256"],
            audience="shakti:account",
            issuer="shakti",
        )
    except jwt.PyJWTError:
        raise HTTPException(401, "Invalid token") from None
    return User(int(claims["sub"]), "S" if claims["accountType"] == "prosumer" else "B")


async def no_reset(connection: asyncpg.Connection) -> None:
    """Nothing here changes the state of a connection: the statement that would reset it costs a round trip."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    size = int(os.environ["POOL_SIZE"])
    async with asyncpg.create_pool(min_size=size, max_size=size, reset=no_reset) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/placebid/dayahead")
async def place(
    request: Request,
    placement: Placement,
    user: Annotated[User, Depends(current_user)],
    idempotency_key: Annotated[str, Header(pattern=r"^[\x21-\x7e]{1,200}$")],
) -> Placed:
    slots = [SLOTS.get(bid.timeslot, 0) for bid in placement.arr]
    prices = [round(float(bid.price) * 100) for bid in placement.arr]
    volumes = [round(float(bid.volume) * 1000) for bid in placement.arr]
    if 0 in slots or max(prices) > CAP or min(volumes) < 1 or max(volumes) > MAX_VOLUME:
        raise HTTPException(400, "Validation failed")
    day = (datetime.now(UTC) + INDIA + timedelta(days=1)).date()
    digest = hashlib.sha256(await request.body()).digest()
    pool = request.app.state.pool
    try:
        ids = await pool.fetchval(
            PLACE, user.account_id, day, user.side, slots, prices, volumes, idempotency_key, digest
        )
    except asyncpg.UniqueViolationError:
        earlier = await pool.fetchrow(REPLAY, user.account_id, idempotency_key)
        if earlier["body_sha256"] != digest:
            raise HTTPException(422, "Key reused") from None
        day, ids = earlier["delivery_day"], earlier["bid_ids"]
    return Placed(message="Bid placed successfully", deliveryDate=day, bids=ids)
