"""Reads that the first web client of the energy API also calls.

What lives here: its three endpoints, in its own words. What must not: anything new.
"""

from typing import Any

from aiohttp import web

from auth.tokens import Purpose
from handlers.account import ACCOUNT, own_account, show_account
from handlers.context import CLOCK, DATABASE, MARKET, SESSION
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.requests import json_response
from handlers.results import results_view
from handlers.schemas.answers import TransactionsSchema, UserDataSchema
from storage.results import all_trades

_NO_TOKEN = Answer("No valid token", {"message": "Invalid token"})


def _flat(shown: dict[str, Any]) -> dict[str, Any]:
    """An account as the first client knows it: its own columns and those of its set-up, if it has one, side by side."""
    columns = {name: shown[name] for name in ("username", "PhoneNo", "connectionId", "accountType")}
    return {**columns, **(shown["setup"] or {})}


@endpoint(
    Endpoint(
        summary="Whether the set-up was made",
        tag="First web client",
        purposes=(Purpose.ACCOUNT,),
        answers={200: Answer("`status` says so", {"status": True}), 401: _NO_TOKEN},
    )
)
async def setup_status(request: web.Request) -> web.Response:
    """Whether the account has a set-up."""
    account = await own_account(request)
    return json_response({"status": account.setup is not None})


@endpoint(
    Endpoint(
        summary="Account and set-up in one flat object",
        tag="First web client",
        purposes=(Purpose.ACCOUNT,),
        answers={
            200: Answer(
                "Columns of the set-up are missing before it was made", {"message": _flat(ACCOUNT)}, UserDataSchema
            ),
            401: _NO_TOKEN,
        },
    )
)
async def user_data(request: web.Request) -> web.Response:
    """The account's columns and those of its set-up; never the password's hash."""
    return json_response({"message": _flat(show_account(await own_account(request)))})


@endpoint(
    Endpoint(
        summary="Today's trades",
        tag="First web client",
        purposes=(Purpose.ACCOUNT,),
        answers={
            200: Answer(
                "What was traded for delivery today, one entry for each bid that was filled",
                {"transactions": [{"TimeSlot": "10:00-10:15", "Volume": "2.000", "Price": "4.37"}]},
                TransactionsSchema,
            ),
            401: _NO_TOKEN,
        },
    )
)
async def transactions(request: web.Request) -> web.Response:
    """The account's trades of today, the delivery day in India; none before it is cleared."""
    app, view = request.app, results_view(request.app)
    today = app[MARKET].calendar.today(app[CLOCK]())
    pages = all_trades(app[DATABASE], request[SESSION].account_id, today, slot=None)
    return json_response({"transactions": [shown async for page in pages for shown in view.show_transactions(page)]})
