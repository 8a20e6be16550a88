"""The market as everyone may see it: the aggregated, anonymous book.

What lives here: its endpoints. What must not: anything that tells who bid.
"""

from datetime import timedelta

from aiohttp import web

from auth.tokens import Purpose
from handlers.context import CLOCK, FEED, MARKET
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.requests import read_query
from handlers.schemas.answers import BookSnapshotSchema
from handlers.schemas.base import InvalidRequest
from handlers.schemas.bids import DayQuerySchema

_SNAPSHOT = {
    "t": "snap",
    "ch": "book:2026-11-23",
    "ep": "k3f9a1c2",
    "seq": 2,
    "gate": "2026-11-22T18:30:00Z",
    "state": "open",
    "ticks": {"price": "0.01", "volume": "0.001"},
    "lv": [[41, "B", 450, 2000, 1], [41, "S", 425, 2500, 1]],
    "ind": [[41, 425, 2000]],
    "crc": 3310070434,
}


@endpoint(
    Endpoint(
        summary="The aggregated book of a delivery day",
        tag="Market",
        purposes=(Purpose.ACCOUNT, Purpose.OPERATOR),
        query=DayQuerySchema,
        is_book=True,
        answers={
            200: Answer(
                "The feed's snapshot: levels [slot, side, price ticks, volume ticks, bids], indicative prices "
                "[slot, price ticks, volume ticks], and the checksum over both",
                _SNAPSHOT,
                BookSnapshotSchema,
            ),
            400: Answer(
                "A parameter is wrong",
                {"message": "Validation failed", "errors": ["deliveryDate must be a day like 2026-11-23"]},
            ),
            401: Answer("No valid token", {"message": "Invalid token"}),
        },
    )
)
async def get_book(request: web.Request) -> web.Response:
    """The book of the day named, or of the one that is open."""
    asked = read_query(request, DayQuerySchema)
    rules, now = request.app[MARKET], request.app[CLOCK]()
    last_day = rules.calendar.today(now) + timedelta(days=rules.days_ahead)
    if asked.day is not None and asked.day > last_day:
        raise InvalidRequest([f"deliveryDate must not be after {last_day.isoformat()}"])
    day = asked.day or rules.calendar.open_day(now)
    found = await request.app[FEED].current_book(day)
    shown = found.snapshot(now, None if asked.slot is None else [asked.slot])
    return web.Response(body=shown, content_type="application/json", charset="utf-8")
