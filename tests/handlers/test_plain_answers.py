"""Answers that are written as one piece: the same to a client as every other."""

from datetime import date
from decimal import Decimal
from typing import Any

import orjson
import pytest

from handlers.schemas.bids import BidView
from market.slots import SLOTS
from market.ticks import Tick
from storage.commands import Receipt
from tests.answers import call
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, sign_up

ORIGIN = "https://app.example.in"


async def placed(client: Client, by: Household, **headers: str) -> tuple[dict[str, str], Any]:
    """The headers of a placement's answer, and its bid without what counts up."""
    answer = await call(client, "POST", "/placebid/dayahead", {"arr": [bid()]}, by=by, headers=headers)
    assert answer.status == 200
    one = {name: value for name, value in answer.body["bids"][0].items() if name != "id"}
    return dict(answer.headers), one


async def test_an_answer_in_one_piece_says_what_one_by_headers_says(make_client: MakeClient) -> None:
    client = await make_client(server={"cors_origins": (ORIGIN,)})
    household = await sign_up(client)
    plain, one = await placed(client, household, **{"X-Request-ID": "same-for-all"})
    # An origin that may read the answer needs more headers than the text that is kept ready has.
    special, other = await placed(client, household, **{"X-Request-ID": "same-for-all", "Origin": ORIGIN})
    assert one == other
    assert special.pop("Access-Control-Allow-Origin") == ORIGIN
    assert special.pop("Access-Control-Expose-Headers")
    assert special.pop("Cross-Origin-Resource-Policy") == "cross-origin"
    assert plain.pop("Cross-Origin-Resource-Policy") == "same-site"
    for headers in (plain, special):
        assert headers.pop("Date").endswith("GMT")
        assert headers.pop("Content-Length").isdecimal()
    assert plain == special
    assert plain["X-Request-ID"] == "same-for-all"


async def test_a_foreign_origin_gets_the_plain_answer(make_client: MakeClient) -> None:
    client = await make_client(server={"cors_origins": (ORIGIN,)})
    headers, _ = await placed(client, await sign_up(client), Origin="https://evil.example")
    assert not [name for name in headers if name.startswith("Access-Control-")]
    assert headers["Vary"] == "Origin"


async def test_a_connection_that_is_to_end_ends(client: Client) -> None:
    headers, _ = await placed(client, await sign_up(client), Connection="close")
    assert headers["Connection"] == "close"


@pytest.mark.parametrize("count", [1, 2, SLOTS])
@pytest.mark.parametrize("side", ["B", "S"])
def test_a_placement_is_shown_as_its_bids_are(count: int, side: str) -> None:
    view = BidView(Tick(Decimal("0.01")), Tick(Decimal("0.001")))
    day = date(2026, 11, 23)
    slots = list(range(1, count + 1))
    receipt = Receipt(day, 40 + count, 41, side, slots, [7 * slot - 5 for slot in slots], [13 * slot for slot in slots])
    assert view.placement(receipt) == orjson.dumps(
        {
            "message": "Bid placed successfully",
            "deliveryDate": "2026-11-23",
            "seq": receipt.seq,
            "bids": [view.show(day, one) for one in receipt.bids],
        }
    )
