"""GET /trades/dayahead: an account's own filled bids, and nobody else's; in JSON and as CSV."""

from decimal import Decimal
from typing import Any

import pytest

from auth.passwords import Passwords
from handlers.context import DATABASE
from storage import operators
from storage import results as stored_results
from storage.sql import QUERIES
from tests.answers import assert_invalid, assert_refused, call
from tests.cleared import Connection, clear
from tests.clock import india_day
from tests.conftest import Client
from tests.factories import PASSWORD, Household, bid, place, sign_up
from tests.handlers.test_results import as_csv

TRADES = "/trades/dayahead"
COLUMNS = ["id", "timeslot", "side", "volume", "price", "amount"]
NONE_YET: dict[str, Any] = {"trades": [], "totals": {"volume": "0.000", "amount": "0.00000"}, "next": None}


async def trades(client: Client, household: Household, query: str = "") -> dict[str, Any]:
    answer = await call(client, "GET", f"{TRADES}{query}", by=household)
    assert answer.status == 200, answer
    body: dict[str, Any] = answer.body
    return body


def ids(body: dict[str, Any]) -> list[int]:
    """The ids of a placement's bids."""
    return [one["id"] for one in body["bids"]]


async def fill_an_hour(client: Client, connection: Connection) -> tuple[Household, Household, list[int]]:
    """A seller of 1.001 to 1.004 kWh in the four quarters from ten and one more kWh at ten that is partly filled, a
    buyer of all that at once; the ids of the seller's bids."""
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    wanted = [bid(str(slot), f"1.00{slot - 40}", "4") for slot in range(41, 45)]
    sold = ids(await place(client, seller, *wanted)) + ids(await place(client, seller, bid("10:00", "1", "4.2")))
    bought = ids(await place(client, buyer, bid("10:00-11:00", "16", "5")))
    given = [1001, 1002, 1003, 1004, 250]
    taken = [1251, 1002, 1003, 1004]
    prices = {slot: (420 + slot, 420, 500) for slot in range(41, 45)}
    await clear(connection, india_day(1), prices, dict(zip(sold + bought, given + taken, strict=True)))
    return seller, buyer, sold


async def test_a_trade_is_a_filled_bid_at_the_price_of_its_slot(client: Client, connection: Connection) -> None:
    seller, buyer, sold = await fill_an_hour(client, connection)
    body = await trades(client, seller)
    assert body == {
        "deliveryDate": india_day(1),
        "trades": [
            {
                "id": sold[position],
                "timeslot": timeslot,
                "side": "sell",
                "volume": volume,
                "price": price,
                "amount": amount,
            }
            for position, timeslot, volume, price, amount in (
                (0, "10:00-10:15", "1.001", "4.61", "4.61461"),
                (1, "10:15-10:30", "1.002", "4.62", "4.62924"),
                (2, "10:30-10:45", "1.003", "4.63", "4.64389"),
                (3, "10:45-11:00", "1.004", "4.64", "4.65856"),
                (4, "10:00-10:15", "0.250", "4.61", "1.15250"),
            )
        ],
        "totals": {"volume": "4.260", "amount": "19.69880"},
        "next": None,
    }
    assert await trades(client, seller, f"?deliveryDate={india_day(1)}") == body
    bought = await trades(client, buyer)
    assert [one["side"] for one in bought["trades"]] == ["buy"] * 4
    assert bought["trades"][0]["volume"] == "1.251"
    assert bought["trades"][0]["amount"] == "5.76711"
    assert bought["totals"] == body["totals"], "what was sold was bought"


async def test_trades_are_the_accounts_own(client: Client, connection: Connection) -> None:
    seller, buyer, sold = await fill_an_hour(client, connection)
    stranger, same_phone = await sign_up(client), await sign_up(client, "consumer", seller.phone)
    for other in (stranger, same_phone):
        assert await trades(client, other) == {"deliveryDate": india_day(1), **NONE_YET}
        table, _ = await as_csv(client, TRADES, other.headers)
        assert table == [COLUMNS]
    theirs = {one["id"] for one in (await trades(client, buyer))["trades"]}
    assert not theirs & set(sold)
    for query in (f"?account_id=1&accountId=1&by={buyer.phone}", "?after=0&limit=1000", f"?timeslot=41&id={sold[0]}"):
        assert {one["id"] for one in (await trades(client, seller, query))["trades"]} <= set(sold)


async def test_a_bid_that_got_nothing_is_no_trade(client: Client, connection: Connection) -> None:
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    rejected, withdrawn, changed = ids(
        await place(client, seller, bid(price="9"), bid(price="1"), bid(volume="3", price="8"))
    )
    (bought,) = ids(await place(client, buyer, bid(volume="2", price="5")))
    path = "/bids/dayahead"
    assert (await call(client, "DELETE", f"{path}/{withdrawn}", by=seller)).status == 200
    assert (await call(client, "PATCH", f"{path}/{changed}", {"price": "4", "volume": "2"}, by=seller)).status == 200
    await clear(connection, india_day(1), {41: (450, 400, 500)}, {changed: 2000, bought: 2000})
    body = await trades(client, seller)
    assert [(one["id"], one["volume"], one["price"]) for one in body["trades"]] == [(changed, "2.000", "4.50")]
    assert body["totals"] == {"volume": "2.000", "amount": "9.00000"}
    assert rejected not in {one["id"] for one in body["trades"]}


async def test_trades_can_be_narrowed_to_a_slot_and_the_totals_with_them(
    client: Client, connection: Connection
) -> None:
    seller, _, sold = await fill_an_hour(client, connection)
    for same in ("10:00-10:15", "10:00", "41"):
        body = await trades(client, seller, f"?timeslot={same}")
        assert [one["id"] for one in body["trades"]] == [sold[0], sold[4]]
        assert body["totals"] == {"volume": "1.251", "amount": "5.76711"}
    assert await trades(client, seller, "?timeslot=45") == {"deliveryDate": india_day(1), **NONE_YET}
    table, _ = await as_csv(client, f"{TRADES}?timeslot=41", seller.headers)
    assert [line[0] for line in table[1:]] == [str(sold[0]), str(sold[4])]


async def test_trades_come_in_pages_that_hold_each_once_and_the_totals_of_all(
    client: Client, connection: Connection
) -> None:
    seller, _, sold = await fill_an_hour(client, connection)
    whole = await trades(client, seller)
    for limit in range(1, 7):
        for name in ("after", "next"):
            seen: list[Any] = []
            after: Any = 0
            while after is not None:
                body = await trades(client, seller, f"?limit={limit}&{name}={after}")
                assert 0 < len(body["trades"]) <= limit
                assert body["totals"] == whole["totals"]
                seen += body["trades"]
                after = body["next"]
            assert seen == whole["trades"]
    beyond = sold[-1] & (2**36 - 1)
    assert await trades(client, seller, f"?after={beyond}") == {**whole, "trades": []}


@pytest.mark.parametrize("page", [1, 2, 5, 1000])
async def test_the_csv_holds_the_whole_day(
    client: Client, connection: Connection, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(stored_results, "_PAGE", page)
    seller, *_ = await fill_an_hour(client, connection)
    shown = [list(map(str, one.values())) for one in (await trades(client, seller))["trades"]]
    for query in ("", "?limit=2", "?after=3&limit=1"):
        table, headers = await as_csv(client, f"{TRADES}{query}", seller.headers)
        assert table == [COLUMNS, *shown]
        assert headers["Content-Disposition"] == f'attachment; filename="trades-{india_day(1)}.csv"'


async def test_amounts_are_exact_however_large(client: Client, connection: Connection) -> None:
    """Beyond 64 bits, and far beyond what a binary float can tell apart."""
    seller, *_ = await fill_an_hour(client, connection)
    most = 2**63 - 1
    await connection.execute("UPDATE cleared_slots SET price = $1::bigint, high = $1 WHERE volume > 0", most - 4)
    await connection.execute("UPDATE fills SET volume = $1::bigint - bid_seq", most)
    rows = await connection.fetch("SELECT bid_seq FROM fills WHERE bid_seq <= 5 ORDER BY 1")
    volumes = [most - row["bid_seq"] for row in rows]
    await connection.execute(
        "UPDATE cleared_positions SET slots = '{41, 42}', volumes = ARRAY[$1::bigint, $1::bigint - 9]", most
    )

    def inr(product: int) -> str:
        return f"{product // 100_000}.{product % 100_000:05}"

    body = await trades(client, seller)
    assert [one["amount"] for one in body["trades"]] == [inr((most - 4) * volume) for volume in volumes]
    volume = 2 * most - 9
    assert body["totals"] == {"volume": f"{volume // 1000}.{volume % 1000:03}", "amount": inr((most - 4) * volume)}


async def test_a_price_below_zero_is_paid_by_the_seller(client: Client, connection: Connection) -> None:
    seller, *_ = await fill_an_hour(client, connection)
    await connection.execute("UPDATE cleared_slots SET price = -1, low = -1 WHERE volume > 0")
    body = await trades(client, seller)
    assert (body["trades"][0]["price"], body["trades"][0]["amount"]) == ("-0.01", "-0.01001")
    assert body["totals"]["amount"] == "-0.04260"
    assert sum(Decimal(one["amount"]) for one in body["trades"]) == Decimal(body["totals"]["amount"])


async def test_without_a_day_trades_are_those_of_the_last_cleared_one(client: Client, connection: Connection) -> None:
    seller, *_ = await fill_an_hour(client, connection)
    assert len((await trades(client, seller))["trades"]) == 5
    await clear(connection, india_day(2))
    assert await trades(client, seller) == {"deliveryDate": india_day(2), **NONE_YET}
    assert len((await trades(client, seller, f"?deliveryDate={india_day(1)}"))["trades"]) == 5


async def test_a_day_that_is_not_cleared_has_no_trades_and_says_so(client: Client, connection: Connection) -> None:
    household = await sign_up(client)
    for accept in ("application/json", "text/csv"):
        headers = {"Accept": accept}
        none = await call(client, "GET", TRADES, by=household, headers=headers)
        assert_refused(none, 404, "No delivery day has been cleared yet")
        for ahead in (-30, 1):
            query = f"?deliveryDate={india_day(ahead)}"
            asked = await call(client, "GET", f"{TRADES}{query}", by=household, headers=headers)
            told = await call(client, "GET", f"/results/dayahead{query}", by=household, headers=headers)
            assert_refused(asked, 404, told.message)
    await clear(connection, india_day(2))
    assert_refused(await call(client, "GET", f"{TRADES}?deliveryDate={india_day(1)}", by=household), 404)


async def test_a_query_that_cannot_be_read_is_refused(client: Client, connection: Connection) -> None:
    household = await sign_up(client)
    await clear(connection, india_day(1))
    for name, wrong in (
        ("deliveryDate", ("soon", "2026-02-30", "%00", "'%20OR%201=1--")),
        ("timeslot", ("97", "0", "10:07", "-1", "%00", "10:00-11:00", "१")),
        ("limit", ("0", "-1", "x", "1e3", "1001", "99999999999999999999", "%00")),
        ("after", ("-1", "x", "99999999999999999999", "%00")),
    ):
        for value in wrong:
            assert_invalid(await call(client, "GET", f"{TRADES}?{name}={value}", by=household), name)
    both = await call(client, "GET", f"{TRADES}?deliveryDate=soon&timeslot=97", by=household)
    assert_invalid(both, "deliveryDate", "timeslot")


async def test_only_an_account_has_trades(client: Client, connection: Connection) -> None:
    await clear(connection, india_day(1))
    assert_refused(await call(client, "GET", TRADES), 401, "Invalid token")
    hashing = Passwords(4, threads=1)
    await operators.create(client.app[DATABASE], "control-room", await hashing.hash(PASSWORD))
    hashing.close()
    signed_in = await call(client, "POST", "/operator/signin", {"name": "control-room", "password": PASSWORD})
    token = {"Authorization": f"Bearer {signed_in.body['token']}"}
    assert_refused(await call(client, "GET", TRADES, headers=token), 401, "Invalid token")


@pytest.mark.parametrize("query", ["trades/list", "bids/list"])
async def test_a_page_looks_only_at_what_is_on_it(client: Client, connection: Connection, query: str) -> None:
    """Of a day with thousands of fills, and of an account with hundreds of them."""
    seller = await sign_up(client)
    account = await connection.fetchval("SELECT id FROM accounts WHERE connection_id = $1", seller.connection_id)
    for _ in range(6):
        await place(client, seller, *(bid(str(slot)) for slot in range(1, 97)))
    await clear(connection, india_day(1))
    await connection.execute("UPDATE cleared_slots SET price = 1, low = 1, high = 1, volume = 1, buy_volume = 1")
    await connection.execute(
        "INSERT INTO fills SELECT delivery_day, n, 1 FROM cleared_days, generate_series(1, 20000) AS n"
    )
    await connection.execute("ANALYZE")
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute("SET enable_seqscan = off")
    day = await connection.fetchval("SELECT delivery_day FROM cleared_days")
    plan = await connection.fetch(f"EXPLAIN (ANALYZE, TIMING off) {QUERIES[query]}", account, day, None, 96, 100)
    text = "\n".join(row[0] for row in plan)
    assert "Seq Scan" not in text, text
    found = [line for line in text.splitlines() if "on fills" in line or "on cleared_slots" in line]
    assert len(found) == 2, text
    for line in found:
        assert "Index" in line, text
        assert "(actual rows=1 loops=100)" in line.replace("rows=1.00", "rows=1"), text
