"""GET /results/dayahead: what the auction came to, for everyone; in JSON and as CSV."""

import csv
import io
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from auth.passwords import Passwords
from handlers.context import DATABASE
from handlers.schemas.results import why_no_results
from handlers.tables import prefers_csv
from market.slots import SLOT_NAMES
from storage import operators
from tests.answers import assert_invalid, assert_refused, call
from tests.cleared import Connection, clear
from tests.clock import india_day
from tests.conftest import Client, MakeClient
from tests.documents import published
from tests.factories import PASSWORD, Household, bid, place, sign_up

RESULTS = "/results/dayahead"
NOTHING = {
    "clearingPrice": None,
    "low": None,
    "high": None,
    "clearedVolume": "0.000",
    "buyVolume": "0.000",
    "sellVolume": "0.000",
    "buyBids": 0,
    "sellBids": 0,
}
CLEARED_AT = "2026-11-22T18:30:00.412Z"


async def trade(client: Client, connection: Connection, day: str) -> tuple[Household, Household, int]:
    """A seller and a buyer who traded two kWh at ten for 4.37 INR each, and bid for more; the number of the results."""
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    sold = await place(client, seller, bid("10:00", "2.5", "4.25"), bid("11:00", "1", "3"), deliveryDate=day)
    bought = await place(client, buyer, bid("10:00", "2", "4.5"), bid("12:00", "0.5", "1"), deliveryDate=day)
    filled = {body["bids"][0]["id"]: 2000 for body in (sold, bought)}
    return seller, buyer, await clear(connection, day, {41: (437, 425, 450)}, filled)


def slots(**others: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All slots; `slot_41={...}` is what one has that is not nothing."""
    return [{"timeslot": SLOT_NAMES[slot], **NOTHING, **others.get(f"slot_{slot}", {})} for slot in range(1, 97)]


async def results(client: Client, by: Household | None, query: str = "") -> dict[str, Any]:
    answer = await call(client, "GET", f"{RESULTS}{query}", by=by)
    assert answer.status == 200, answer
    body: dict[str, Any] = answer.body
    return body


async def as_csv(client: Client, path: str, headers: Mapping[str, str]) -> tuple[list[list[str]], Mapping[str, str]]:
    """The lines of a table, and the headers that it came with."""
    async with client.get(path, headers={**headers, "Accept": "text/csv"}) as response:
        text = (await response.read()).decode("utf-8")
        assert response.status == 200, text
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert text.endswith("\r\n")
        assert text.count("\n") == text.count("\r\n")
        return list(csv.reader(io.StringIO(text, newline=""), strict=True)), response.headers.copy()


async def test_a_result_says_of_every_slot_what_it_cleared_and_what_was_offered(
    client: Client, connection: Connection
) -> None:
    seller, buyer, seq = await trade(client, connection, india_day(1))
    expected = {
        "deliveryDate": india_day(1),
        "state": "cleared",
        "seq": seq,
        "clearedAt": CLEARED_AT,
        "priceRule": "midpoint",
        "slots": slots(
            slot_41={
                "clearingPrice": "4.37",
                "low": "4.25",
                "high": "4.50",
                "clearedVolume": "2.000",
                "buyVolume": "2.000",
                "sellVolume": "2.500",
                "buyBids": 1,
                "sellBids": 1,
            },
            slot_45={"sellVolume": "1.000", "sellBids": 1},
            slot_49={"buyVolume": "0.500", "buyBids": 1},
        ),
        "totals": {"clearedVolume": "2.000", "turnover": "8.74000", "buyVolume": "2.500", "sellVolume": "3.500"},
    }
    for holder in (seller, buyer):
        assert await results(client, holder, f"?deliveryDate={india_day(1)}") == expected
        assert await results(client, holder) == expected
        assert await results(client, holder, "?deliveryDate=") == expected, "a blank one is left out"


async def test_without_a_day_it_is_the_last_delivery_day_that_was_cleared(
    client: Client, connection: Connection
) -> None:
    household = await sign_up(client)
    for ahead, rule in ((2, "seller"), (1, "buyer")):
        await clear(connection, india_day(ahead), rule=rule)
    await place(client, household, bid(), deliveryDate=india_day(3))
    latest = await results(client, household)
    assert (latest["deliveryDate"], latest["priceRule"]) == (india_day(2), "seller")
    assert (await results(client, household, f"?deliveryDate={india_day(1)}"))["priceRule"] == "buyer"


async def test_a_day_on_which_nothing_cleared_has_results_too(client: Client, connection: Connection) -> None:
    household = await sign_up(client)
    await clear(connection, india_day(1))
    body = await results(client, household)
    assert body["slots"] == slots()
    nothing = {"clearedVolume": "0.000", "turnover": "0.00000", "buyVolume": "0.000", "sellVolume": "0.000"}
    assert body["totals"] == nothing


async def test_a_day_that_is_not_cleared_says_when_it_will_be(client: Client, connection: Connection) -> None:
    household = await sign_up(client)
    assert_refused(await call(client, "GET", RESULTS, by=household), 404, "No delivery day has been cleared yet")
    gate = f"{india_day(0)}T18:30:00Z"
    later = f"The results of {india_day(1)} come after its gate closes at {gate}"
    query = f"{RESULTS}?deliveryDate={india_day(1)}"
    assert_refused(await call(client, "GET", query, by=household), 404, later)
    await place(client, household, bid())
    assert_refused(await call(client, "GET", query, by=household), 404, later)
    assert_refused(await call(client, "GET", RESULTS, by=household), 404, "No delivery day has been cleared yet")
    await connection.execute("UPDATE delivery_days SET state = 'closed'")
    closed = f"The gate of {india_day(1)} closed at {gate}; its results come once its auction is done, so ask again"
    assert_refused(await call(client, "GET", query, by=household), 404, f"{closed} in a moment")
    never = f"{india_day(-30)} was never traded: nobody had bid when its gate closed at {india_day(-31)}T18:30:00Z"
    answer = await call(
        client, "GET", f"{RESULTS}?deliveryDate={india_day(-30)}", by=household, headers={"Accept": "text/csv"}
    )
    assert_refused(answer, 404, never)


@pytest.mark.parametrize(
    ("state", "passed_s", "reason"),
    [
        ("open", -1, "The results of 2026-11-23 come after its gate closes at 2026-11-22T18:30:00Z"),
        (None, -1, "The results of 2026-11-23 come after its gate closes at 2026-11-22T18:30:00Z"),
        ("closed", -1, "The gate of 2026-11-23 closed at 2026-11-22T18:30:00Z; its results come once"),
        ("closed", 0, "The gate of 2026-11-23 closed at 2026-11-22T18:30:00Z; its results come once"),
        ("open", 0, "The gate of 2026-11-23 closed at 2026-11-22T18:30:00Z; its results come once"),
        (None, 0, "2026-11-23 was never traded: nobody had bid when its gate closed at 2026-11-22T18:30:00Z"),
    ],
)
def test_the_reason_is_told_by_the_log_and_the_clock(state: str | None, passed_s: int, reason: str) -> None:
    gate_at = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
    now = gate_at + timedelta(seconds=passed_s)
    assert why_no_results(date(2026, 11, 23), state, gate_at, now).startswith(reason)


async def test_a_query_that_cannot_be_read_is_refused(client: Client, connection: Connection) -> None:
    household = await sign_up(client)
    await clear(connection, india_day(1))
    for wrong in ("soon", "2026-02-30", "20261123", "%00", "'%20OR%201=1--", "1999-01-01", "9999-12-31"):
        assert_invalid(await call(client, "GET", f"{RESULTS}?deliveryDate={wrong}", by=household), "deliveryDate")


async def test_results_are_for_accounts_and_operators(client: Client, connection: Connection) -> None:
    await clear(connection, india_day(1))
    assert_refused(await call(client, "GET", RESULTS), 401, "Invalid token")
    hashing = Passwords(4, threads=1)
    await operators.create(client.app[DATABASE], "control-room", await hashing.hash(PASSWORD))
    hashing.close()
    signed_in = await call(client, "POST", "/operator/signin", {"name": "control-room", "password": PASSWORD})
    token = {"Authorization": f"Bearer {signed_in.body['token']}"}
    assert (await call(client, "GET", RESULTS, headers=token)).status == 200
    partner = {
        "ownerName": "John Doe",
        "ownerContactNumber": "9876500001",
        "email": "john@example.com",
        "phoneNumber": "9876500002",
        "password": PASSWORD,
        "companyName": "ABC Logistics",
        "companyAddress": "123 Main St",
        "gstNumber": "27AAPFU0939F1ZV",
    }
    assert (await call(client, "POST", "/api/shipper/register", partner)).status == 201
    shipper = await call(client, "POST", "/api/shipper/login", {"email": "john@example.com", "password": PASSWORD})
    token = {"Authorization": f"Bearer {shipper.body['token']}"}
    assert_refused(await call(client, "GET", RESULTS, headers=token), 401, "Invalid token")


async def test_with_a_public_book_the_results_are_public_too(make_client: MakeClient, connection: Connection) -> None:
    client = await make_client(market={"public_book": True})
    await clear(connection, india_day(1))
    assert (await results(client, None))["deliveryDate"] == india_day(1)
    table, _ = await as_csv(client, RESULTS, {})
    assert len(table) == 97
    assert_refused(await call(client, "GET", "/trades/dayahead"), 401, "Invalid token")


async def test_a_result_says_nothing_of_who_bid(client: Client, connection: Connection) -> None:
    seller, buyer, _ = await trade(client, connection, india_day(1))
    stranger = await sign_up(client)
    assert await results(client, stranger) == await results(client, seller)
    async with client.get(RESULTS, headers=stranger.headers) as response:
        text = await response.text()
    for holder in (seller, buyer):
        assert holder.connection_id not in text
        assert holder.phone not in text


async def test_sums_are_exact_however_large(client: Client, connection: Connection) -> None:
    """Beyond 64 bits, and far beyond what a binary float can tell apart."""
    seller, *_ = await trade(client, connection, india_day(1))
    most = 2**63 - 1
    await connection.execute(
        "UPDATE cleared_slots SET price = $1::bigint - 2, low = $1 - 3, high = $1, volume = $1 - slot, buy_volume = $1,"
        " sell_volume = $1",
        most,
    )
    body = await results(client, seller)
    turnover = sum((most - 2) * (most - slot) for slot in range(1, 97))
    volume = sum(most - slot for slot in range(1, 97))
    assert body["totals"] == {
        "clearedVolume": f"{volume // 1000}.{volume % 1000:03}",
        "turnover": f"{turnover // 100_000}.{turnover % 100_000:05}",
        "buyVolume": f"{96 * most // 1000}.{96 * most % 1000:03}",
        "sellVolume": f"{96 * most // 1000}.{96 * most % 1000:03}",
    }
    assert body["slots"][0]["clearingPrice"] == "92233720368547758.05"
    assert body["slots"][95]["clearedVolume"] == "9223372036854775.711"


async def test_prices_below_zero_are_shown_as_such(client: Client, connection: Connection) -> None:
    seller, *_ = await trade(client, connection, india_day(1))
    await connection.execute("UPDATE cleared_slots SET price = -5, low = -450, high = 0 WHERE slot = 41")
    body = await results(client, seller)
    slot = body["slots"][40]
    assert (slot["clearingPrice"], slot["low"], slot["high"]) == ("-0.05", "-4.50", "0.00")
    assert body["totals"]["turnover"] == "-0.10000"


async def test_the_csv_holds_the_slots_of_the_json(client: Client, connection: Connection) -> None:
    seller, *_ = await trade(client, connection, india_day(1))
    table, headers = await as_csv(client, RESULTS, seller.headers)
    assert table[0] == [
        "timeslot",
        "clearingPrice",
        "low",
        "high",
        "clearedVolume",
        "buyVolume",
        "sellVolume",
        "buyBids",
        "sellBids",
    ]
    body = await results(client, seller)
    shown = [{name: "" if value is None else str(value) for name, value in slot.items()} for slot in body["slots"]]
    assert [dict(zip(table[0], line, strict=True)) for line in table[1:]] == shown
    assert table[41] == ["10:00-10:15", "4.37", "4.25", "4.50", "2.000", "2.000", "2.500", "1", "1"]
    assert headers["Content-Disposition"] == f'attachment; filename="results-{india_day(1)}.csv"'


async def test_both_kinds_of_answer_say_that_they_depend_on_what_is_accepted(
    client: Client, connection: Connection
) -> None:
    seller, *_ = await trade(client, connection, india_day(1))
    for path in (RESULTS, "/trades/dayahead"):
        for accept in ("text/csv", "application/json"):
            async with client.get(path, headers={**seller.headers, "Accept": accept}) as response:
                assert response.content_type == accept
                assert response.headers.getall("Vary") == ["Accept", "Origin"]
                assert response.headers["Cache-Control"] == "no-store"


def ask(*accept: str) -> bool:
    headers = CIMultiDict([("Accept", line) for line in accept])
    return prefers_csv(make_mocked_request("GET", RESULTS, headers=headers))


@pytest.mark.parametrize(
    "accept",
    [
        "text/csv",
        "TEXT/CSV",
        "text/*",
        "text/csv; charset=utf-8",
        'text/csv;header="present, always";q=0.4',
        "text/csv;q=0.5, application/json;q=0.4",
        "text/csv;Q=1.000,application/json ; q = 0.999",
        "application/json;q=0, */*;q=0.1",
        "text/csv, */*",
        "text/html, text/csv;q=0.9, */*;q=0.8",
        "application/json;q=high, text/csv;q=0.001",
        "text/plain,,text/csv",
    ],
)
def test_csv_goes_to_who_would_rather_have_it(accept: str) -> None:
    assert ask(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "application/json",
        "application/json, text/csv",
        "text/csv, application/json",
        "text/csv;q=0.9, application/json",
        "text/csv;q=0.9, */*",
        "text/csv;q=0",
        "text/csv;q=0.000",
        "text/csv;q=0, */*;q=0.5",
        "text/csv;q=0, text/*",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "image/png",
        "csv",
        "text/csv;q=2",
        "text/csv;q=0.1234",
        "text/csv;q=-1",
        "text/csv;q=",
        "text/csv;q=nan",
        'image/png;x="text/csv"',
        'image/png;x=", text/csv',
        "text/csvx, xtext/csv, text / csv",
        "*/csv",
        ";;;,,,/",
    ],
)
def test_everyone_else_gets_json(accept: str) -> None:
    assert not ask(accept)


def test_a_request_without_a_wish_gets_json_and_several_lines_are_one() -> None:
    assert not ask()
    assert ask("application/json;q=0.5", "text/csv")
    assert not ask("application/json", "text/csv")


@pytest.mark.parametrize(
    "header", ["text/csv;q=0.1," * 600, '"' * 8000, ";" * 8000, "a/b;" + "q = " * 2000, " " * 8000]
)
def test_a_strange_header_takes_no_time(header: str) -> None:
    began_s = time.process_time()
    ask(header)
    assert time.process_time() - began_s < 0.1


@pytest.mark.parametrize(("path", "columns"), [(RESULTS, 9), ("/trades/dayahead", 6)])
def test_both_kinds_of_answer_are_documented(path: str, columns: int) -> None:
    answer = published()["paths"][path]["get"]["responses"]["200"]
    assert set(answer["content"]) == {"application/json", "text/csv"}
    example = answer["content"]["application/json"]["example"]
    header, *lines = csv.reader(io.StringIO(answer["content"]["text/csv"]["example"], newline=""))
    shown = example["slots" if path == RESULTS else "trades"]
    assert [dict(zip(header, line, strict=True)) for line in lines] == [
        {name: str(value) for name, value in row.items()} for row in shown
    ]
    assert len(header) == columns
    assert "Content-Disposition" in answer["headers"]
