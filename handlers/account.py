"""The account that a token speaks for, as its holder sees it.

What lives here: the endpoint, and how an account is shown. What must not: changing anything of it.
"""

from typing import Any

from aiohttp import web

from auth.tokens import Purpose
from handlers.account_answers import NO_TOKEN
from handlers.context import DATABASE, SESSION
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.errors import InvalidToken
from handlers.requests import json_response
from handlers.schemas.answers import AccountSchema
from handlers.schemas.energy import shown
from storage import accounts
from storage.accounts import Account
from storage.errors import AccountGone

ACCOUNT: dict[str, Any] = {
    "id": 1,
    "accountType": "prosumer",
    "connectionId": "BLR-0042",
    "username": "Asha",
    "PhoneNo": "1234567890",
    "createdAt": "2025-07-13T10:30:45.123Z",
    "setup": {
        "solarCapacity": "5",
        "solarBrand": "Tata Power Solar",
        "load": "3.5",
        "demand": None,
        "city": "Bengaluru",
        "state": "Karnataka",
        "pincode": "560001",
        "gps": "12.9716,77.5946",
        "year": 2022,
        "tilt": None,
        "azimuth": None,
    },
}


@endpoint(
    Endpoint(
        summary="The account and its set-up",
        tag="Energy accounts",
        purposes=(Purpose.ACCOUNT,),
        answers={
            200: Answer("The account; `setup` is null before it was made", ACCOUNT, AccountSchema),
            401: NO_TOKEN,
        },
    )
)
async def me(request: web.Request) -> web.Response:
    """The token's own account."""
    return json_response(show_account(await own_account(request)))


async def own_account(request: web.Request) -> Account:
    """The account that the token speaks for. Raises InvalidToken when it is gone."""
    try:
        return await accounts.get(request.app[DATABASE], request[SESSION].account_id)
    except AccountGone:
        raise InvalidToken from None


def show_account(account: Account) -> dict[str, Any]:
    """An account in JSON; capacities in kW as decimal texts."""
    setup = account.setup
    return {
        "id": account.account_id,
        "accountType": account.account_type,
        "connectionId": account.connection_id,
        "username": account.username,
        "PhoneNo": account.phone_as_given,
        "createdAt": account.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "setup": setup
        and {
            "solarCapacity": shown(setup.solar_capacity_kw),
            "solarBrand": setup.solar_brand,
            "load": shown(setup.load_kw),
            "demand": shown(setup.demand_kw),
            "city": setup.city,
            "state": setup.state,
            "pincode": setup.pincode,
            "gps": ",".join(f"{degrees:f}" for degrees in setup.gps),
            "year": setup.year,
            "tilt": shown(setup.tilt_degrees),
            "azimuth": shown(setup.azimuth_degrees),
        },
    }
