"""What the auction came to: the results of a delivery day for everyone, and an account's own trades.

What lives here: their endpoints. What must not: other people's trades in any form; a result tells no more of who bid
than the book does.
"""

from datetime import date
from typing import Any

from aiohttp import web

from auth.tokens import Purpose
from handlers.account_answers import NO_TOKEN
from handlers.context import CLOCK, DATABASE, MARKET, SESSION
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.errors import NotFound
from handlers.requests import read_query
from handlers.schemas.answers import PageOfTradesSchema, ResultsOfDaySchema
from handlers.schemas.results import (
    SLOT_COLUMNS,
    TRADE_COLUMNS,
    ResultsQuerySchema,
    ResultsView,
    TradesQuerySchema,
    why_no_results,
)
from handlers.tables import csv_header, csv_rows, csv_table, json_table, prefers_csv
from storage import results as stored_results
from storage.results import ClearedDay

_SLOT: dict[str, Any] = {
    "timeslot": "10:00-10:15",
    "clearingPrice": "4.25",
    "low": "4.25",
    "high": "4.25",
    "clearedVolume": "2.000",
    "buyVolume": "2.000",
    "sellVolume": "2.500",
    "buyBids": 1,
    "sellBids": 1,
}
_RESULTS = {
    "deliveryDate": "2026-11-23",
    "state": "cleared",
    "seq": 4,
    "clearedAt": "2026-11-22T18:30:00.412Z",
    "priceRule": "midpoint",
    "slots": [_SLOT],
    "totals": {"clearedVolume": "2.000", "turnover": "8.50000", "buyVolume": "2.000", "sellVolume": "2.500"},
}
_TRADE: dict[str, Any] = {
    "id": 674106214252545,
    "timeslot": "10:00-10:15",
    "side": "sell",
    "volume": "2.000",
    "price": "4.25",
    "amount": "8.50000",
}
_TRADES = {
    "deliveryDate": "2026-11-23",
    "trades": [_TRADE],
    "totals": {"volume": "2.000", "amount": "8.50000"},
    "next": None,
}
_WRONG_DAY = Answer(
    "A parameter is wrong", {"message": "Validation failed", "errors": ["deliveryDate must be a day like 2026-11-23"]}
)
_NO_RESULTS = Answer(
    "The day is not cleared; the message says why, and when it will be",
    {"message": "The results of 2026-11-23 come after its gate closes at 2026-11-22T18:30:00Z"},
)


@endpoint(
    Endpoint(
        summary="The results of a delivery day",
        tag="Market",
        purposes=(Purpose.ACCOUNT, Purpose.OPERATOR),
        query=ResultsQuerySchema,
        is_book=True,
        answers={
            200: Answer(
                "All 96 slots; prices are null where nothing cleared. CSV has the slots alone",
                _RESULTS,
                ResultsOfDaySchema,
                csv=csv_header(SLOT_COLUMNS) + csv_rows(SLOT_COLUMNS, [_SLOT]),
            ),
            400: _WRONG_DAY,
            401: NO_TOKEN,
            404: _NO_RESULTS,
        },
    )
)
async def get_results(request: web.Request) -> web.Response:
    """What each slot cleared, at which price, and what was offered; of the last cleared day when none is named. `low`
    and `high` are the ends of the interval that the price was taken from. As CSV with `Accept: text/csv`."""
    day = await _cleared_day(request, read_query(request, ResultsQuerySchema).day)
    slots = await stored_results.list_slots(request.app[DATABASE], day.delivery_day)
    view = results_view(request.app)
    if prefers_csv(request):
        text = csv_header(SLOT_COLUMNS) + csv_rows(SLOT_COLUMNS, view.show_slots(slots))
        return csv_table(f"results-{day.delivery_day}", text)
    return json_table(view.show_day(day, slots))


@endpoint(
    Endpoint(
        summary="Own trades of a delivery day",
        tag="Bids",
        purposes=(Purpose.ACCOUNT,),
        query=TradesQuerySchema,
        answers={
            200: Answer(
                "A page of filled bids in the order in which they were placed; `next` is `after` of the next page, or "
                "null; `totals` are of all pages. CSV has all trades, whatever page is asked for",
                _TRADES,
                PageOfTradesSchema,
                csv=csv_header(TRADE_COLUMNS) + csv_rows(TRADE_COLUMNS, [_TRADE]),
            ),
            400: _WRONG_DAY,
            401: NO_TOKEN,
            404: _NO_RESULTS,
        },
    )
)
async def list_own(request: web.Request) -> web.Response:
    """The account's filled bids, each at its slot's clearing price; of the last cleared day when none is named. As CSV
    with `Accept: text/csv`."""
    asked = read_query(request, TradesQuerySchema)
    day = (await _cleared_day(request, asked.day)).delivery_day
    if prefers_csv(request):
        return await _trades_as_csv(request, day, asked.slot)
    database, account_id, view = request.app[DATABASE], request[SESSION].account_id, results_view(request.app)
    found = await stored_results.list_trades(
        database, account_id, day, slot=asked.slot, after_seq=asked.after, limit=asked.limit + 1
    )
    page = found[: asked.limit]
    totals = await stored_results.total_trades(database, account_id, day, slot=asked.slot)
    return json_table(
        {
            "deliveryDate": day.isoformat(),
            "trades": view.show_trades(day, page),
            "totals": view.show_totals(totals),
            "next": None if len(found) == len(page) else page[-1].bid_seq,
        }
    )


def results_view(app: web.Application) -> ResultsView:
    """How this market shows its results."""
    limits = app[MARKET].bids
    return ResultsView(limits.price_tick, limits.volume_tick)


async def _trades_as_csv(request: web.Request, day: date, slot: int | None) -> web.Response:
    """All of the account's trades of a day, or of one slot of it."""
    view = results_view(request.app)
    pages = stored_results.all_trades(request.app[DATABASE], request[SESSION].account_id, day, slot=slot)
    lines = [csv_rows(TRADE_COLUMNS, view.show_trades(day, page)) async for page in pages]
    return csv_table(f"trades-{day}", csv_header(TRADE_COLUMNS) + "".join(lines))


async def _cleared_day(request: web.Request, asked: date | None) -> ClearedDay:
    """The day asked for, or the last cleared one. Raises NotFound, which says why there are no results."""
    found = await stored_results.find(request.app[DATABASE], asked)
    if isinstance(found, ClearedDay):
        return found
    if asked is None:
        raise NotFound("No delivery day has been cleared yet")
    gate_at, now = request.app[MARKET].calendar.gate_at(asked), request.app[CLOCK]()
    raise NotFound(why_no_results(asked, None if found is None else found.state, gate_at, now))
