"""Day-ahead bids: placing, listing, changing, withdrawing one's own.

What lives here: their endpoints. What must not: other people's bids in any form (market.py has the anonymous book), or
the gate, which the database decides.
"""

import hashlib
import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, NamedTuple

from aiohttp import web

from auth.tokens import Purpose
from handlers.answer import JsonAnswer
from handlers.body import body_at_hand, check_type, parse_object, read_body
from handlers.context import CLOCK, DATABASE, HTTP, MARKET, SESSION, WRITER
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.errors import InvalidToken
from handlers.requests import json_response, read_query, reading_of
from handlers.schemas.answers import ChangedBidSchema, PageOfBidsSchema, PlacedBidsSchema
from handlers.schemas.base import InvalidRequest
from handlers.schemas.bid_array import BidFaults, parse_bids
from handlers.schemas.bids import (
    AmendBidSchema,
    BidsQuerySchema,
    BidView,
    PinnableDays,
    PlaceBidsSchema,
    read_change,
    read_placement,
)
from market.bid_ids import split_bid_id
from market.slots import format_slot
from storage import bids as stored_bids
from storage.commands import Amend, Change, Command, IdempotencyKey, Place, Receipt, Withdraw
from storage.errors import AccountGone, BidNotFound, GateClosed, LevelFull, TooManyOpenBids
from storage.sessions import Session


class Refusal(NamedTuple):
    """Why the writer refused what a request asks for, when it was asked before the request came to its handler."""

    delivery_day: date
    reason: Exception


REFUSAL = web.RequestKey("refusal", Refusal)
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_DIGITS = re.compile(r"[0-9]{1,16}")
_BID = {
    "id": 674106214252545,
    "deliveryDate": "2026-11-23",
    "timeslot": "10:00-10:15",
    "side": "sell",
    "volume": "2.500",
    "price": "4.25",
    "status": "open",
    "filledVolume": "0.000",
    "clearingPrice": None,
}
_PATH = {"id": {"type": "integer", "minimum": 1, "description": "The `id` of the bid", "examples": [_BID["id"]]}}
_NO_TOKEN = Answer("No valid token", {"message": "Invalid token"})
_GATE_CLOSED = Answer("The gate of that day is closed", {"message": "The gate for 2026-11-23 is closed"})
_NOT_FOUND = Answer("No such bid, or another account's", {"message": "No such bid of yours"})
_KEY_REUSED = Answer(
    "The Idempotency-Key was used with another body",
    {"message": "This Idempotency-Key was used before with another body; use a new key"},
)


@endpoint(
    Endpoint(
        summary="Place day-ahead bids",
        tag="Bids",
        purposes=(Purpose.ACCOUNT,),
        failure={"message": "Error placing bid"},
        request=PlaceBidsSchema,
        has_idempotency_key=True,
        answers={
            200: Answer(
                "All bids are in the book",
                {"message": "Bid placed successfully", "deliveryDate": "2026-11-23", "seq": 1, "bids": [_BID]},
                PlacedBidsSchema,
            ),
            400: Answer(
                "A bid is wrong; none was placed",
                {"message": "Validation failed", "errors": ["arr[0].price must be a multiple of 0.01"]},
            ),
            401: _NO_TOKEN,
            409: _GATE_CLOSED,
            422: _KEY_REUSED,
        },
    )
)
async def place(request: web.Request) -> web.Response:
    """Place all bids of the request for one delivery day, or none."""
    app = request.app
    market = app[MARKET]
    check_type(request)
    raw = await read_body(request)
    key = _idempotency_key(request, raw)
    now = app[CLOCK]()

    def pinnable() -> PinnableDays:
        return PinnableDays(reading_of(app), market.calendar.today(now) + timedelta(days=market.days_ahead))

    asked = read_placement(parse_object(raw), market.bids, pinnable)
    bids = asked.bids
    change = Place(request[SESSION].side, bids.slots, bids.prices, bids.volumes)
    earlier = request.get(REFUSAL)
    # The clock may have passed the gate since the writer was asked: what it said is about that day.
    day = earlier.delivery_day if earlier else asked.day or market.calendar.open_day(now)
    last = day if asked.day else market.calendar.today(now) + timedelta(days=market.days_ahead)
    while True:
        try:
            return await _submit(request, day, change, key)
        except GateClosed:
            if day >= last:
                raise
            # The gate closed between the look at the clock and the lock, or this machine's clock is slow: the database
            # says which day is open.
            day += timedelta(days=1)


@endpoint(
    Endpoint(
        summary="Own bids of a delivery day",
        tag="Bids",
        purposes=(Purpose.ACCOUNT,),
        query=BidsQuerySchema,
        answers={
            200: Answer(
                "A page of bids in the order in which they were placed; `next` is `after` of the next page, or null",
                {"bids": [_BID], "next": None},
                PageOfBidsSchema,
            ),
            400: Answer(
                "A parameter is wrong",
                {"message": "Validation failed", "errors": ["deliveryDate must be a day like 2026-11-23"]},
            ),
            401: _NO_TOKEN,
        },
    )
)
async def list_own(request: web.Request) -> web.Response:
    """The account's bids as they stand now; of the open day when none is named. Of a cleared day with what the auction
    made of each: `clearingPrice` is that of the slot, null if the bid was withdrawn or nothing cleared there."""
    asked = read_query(request, BidsQuerySchema)
    market, view = request.app[MARKET], _view(request.app)
    day = asked.day or market.calendar.open_day(request.app[CLOCK]())
    found = await stored_bids.list_own(
        request.app[DATABASE],
        request[SESSION].account_id,
        day,
        slot=asked.slot,
        after_seq=asked.after,
        limit=asked.limit + 1,
    )
    page = found[: asked.limit]
    is_last = len(found) == len(page)
    shown = [view.show(day, own.bid, own.outcome) for own in page]
    return json_response({"bids": shown, "next": None if is_last else page[-1].bid.bid_seq})


@endpoint(
    Endpoint(
        summary="Change the price or volume of an own bid",
        tag="Bids",
        purposes=(Purpose.ACCOUNT,),
        request=AmendBidSchema,
        path=_PATH,
        has_idempotency_key=True,
        answers={
            200: Answer(
                "Changed; the bid has lost its time priority",
                {"message": "Bid changed successfully", "seq": 2, "bid": _BID},
                ChangedBidSchema,
            ),
            400: Answer(
                "A value is wrong", {"message": "Validation failed", "errors": ["price or volume is required"]}
            ),
            401: _NO_TOKEN,
            404: _NOT_FOUND,
            409: Answer("The gate is closed, or the bid was withdrawn", {"message": "The bid is not open any more"}),
            422: _KEY_REUSED,
        },
    )
)
async def amend(request: web.Request) -> web.Response:
    """Change an open bid while the gate is open."""
    day, seq = _named_bid(request)
    check_type(request)
    raw = await read_body(request)
    key = _idempotency_key(request, raw)
    asked = read_change(parse_object(raw), request.app[MARKET].bids)
    return await _submit(request, day, Amend(seq, asked.price, asked.volume), key)


@endpoint(
    Endpoint(
        summary="Withdraw an own bid",
        tag="Bids",
        purposes=(Purpose.ACCOUNT,),
        path=_PATH,
        has_idempotency_key=True,
        answers={
            200: Answer(
                "Withdrawn",
                {"message": "Bid withdrawn successfully", "seq": 3, "bid": {**_BID, "status": "withdrawn"}},
                ChangedBidSchema,
            ),
            401: _NO_TOKEN,
            404: _NOT_FOUND,
            409: Answer("The gate is closed, or the bid was withdrawn", {"message": "The bid is not open any more"}),
            422: _KEY_REUSED,
        },
    )
)
async def withdraw(request: web.Request) -> web.Response:
    """Withdraw an open bid while the gate is open."""
    day, seq = _named_bid(request)
    raw = await read_body(request)
    return await _submit(request, day, Withdraw(seq), _idempotency_key(request, raw))


def flawless_placement(app: web.Application, request: web.Request, session: Session) -> Command | None:
    """What a placement for the open day asks for, if it is all there and nothing is wrong with it. None for any other:
    `place` reads it again, and says what is wrong."""
    market = app[MARKET]
    raw = body_at_hand(request, app[HTTP].max_body_bytes)
    if raw is None:
        return None
    try:
        document = parse_object(raw)
        if document.get("deliveryDate") is not None:
            return None
        bids = parse_bids(document, market.bids)
        key = _idempotency_key(request, raw)
    except (InvalidRequest, BidFaults):
        return None
    day = market.calendar.open_day(app[CLOCK]())
    change = Place(session.side, bids.slots, bids.prices, bids.volumes)
    return Command(session.account_id, day, change, _view(app).placement, key)


async def _submit(request: web.Request, day: date, change: Change, key: IdempotencyKey | None) -> web.Response:
    app = request.app
    view = _view(app)
    render: Callable[[Receipt], bytes] = view.placement
    if not isinstance(change, Place):
        render = view.single("Bid changed successfully" if isinstance(change, Amend) else "Bid withdrawn successfully")
    command = Command(request[SESSION].account_id, day, change, render, key)
    try:
        if (refusal := request.pop(REFUSAL, None)) is not None:
            raise refusal.reason
        body = await app[WRITER].submit(command)
    except LevelFull as fault:
        price = view.price_tick.format(fault.price_ticks)
        text = f"The total volume at {price} in {format_slot(fault.slot)} would be too large; use another price"
        raise InvalidRequest([text]) from None
    except TooManyOpenBids as fault:
        raise InvalidRequest([str(fault)]) from None
    except AccountGone:
        raise InvalidToken from None
    return JsonAnswer(body)


def _view(app: web.Application) -> BidView:
    limits = app[MARKET].bids
    return BidView(limits.price_tick, limits.volume_tick)


def _named_bid(request: web.Request) -> tuple[date, int]:
    """Delivery day and seq of the bid in the path. Raises BidNotFound."""
    text = request.match_info["id"]
    named = split_bid_id(int(text)) if _DIGITS.fullmatch(text) else None
    if named is None:
        raise BidNotFound
    return named


def _idempotency_key(request: web.Request, raw: bytes) -> IdempotencyKey | None:
    """The request's key, if it has one, with the digest of its body. Raises InvalidRequest."""
    given: Any = request.headers.getall("Idempotency-Key", [])
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise InvalidRequest(["Idempotency-Key must be 1 to 200 visible ASCII characters, given once"])
    return IdempotencyKey(request.method, request.path, given[0], hashlib.sha256(raw).digest())
