"""What the original web client of the energy document also calls."""

from decimal import Decimal

from tests.answers import assert_refused, call
from tests.conftest import Client
from tests.factories import PASSWORD, bid, place, sign_up
from tests.handlers.test_setup import DOCUMENTED


async def test_the_status_of_the_set_up_is_a_boolean(client: Client) -> None:
    household = await sign_up(client)
    assert (await call(client, "GET", "/setupstatus", by=household)).body == {"status": False}
    assert (await call(client, "POST", "/setup", DOCUMENTED, by=household)).status == 200
    assert (await call(client, "GET", "/setupstatus", by=household)).body == {"status": True}


async def test_the_data_of_a_user_are_account_and_set_up_without_the_password(client: Client) -> None:
    household = await sign_up(client)
    empty = await call(client, "GET", "/userData", by=household)
    assert empty.status == 200, "also before the set-up"
    await call(client, "POST", "/setup", DOCUMENTED, by=household)
    answer = await call(client, "GET", "/userData", by=household)
    assert set(answer.body) == {"message"}
    shown = list(map(str, answer.body["message"].values()))
    for value in (household.connection_id, "Asha", "Bengaluru", "560001", "Tata Power Solar", "2022"):
        assert value in shown, value
    assert any(household.phone in value for value in shown)
    for shown_body in (empty.body, answer.body):
        assert not [name for name in shown_body["message"] if "password" in name.lower() or "hash" in name.lower()]
        assert "$2b$" not in str(shown_body)
        assert PASSWORD not in str(shown_body)


async def test_transactions_have_the_three_columns_of_old_and_are_ones_own(client: Client) -> None:
    household, other = await sign_up(client), await sign_up(client)
    empty = await call(client, "GET", "/getTransactions", by=household)
    assert (empty.status, empty.body) == (200, {"transactions": []})
    await place(client, other, bid("12:00", "9", "9"))
    await place(client, household, bid("10:00", "2.5", "4.25"))
    answer = await call(client, "GET", "/getTransactions", by=household)
    assert set(answer.body) == {"transactions"}
    for transaction in answer.body["transactions"]:
        assert set(transaction) == {"TimeSlot", "Volume", "Price"}
        assert transaction["TimeSlot"] == "10:00-10:15"
        assert Decimal(transaction["Volume"]) == Decimal("2.5")
        assert Decimal(transaction["Price"]) == Decimal("4.25")


async def test_nothing_of_it_is_readable_without_a_token(client: Client) -> None:
    for path in ("/setupstatus", "/userData", "/getTransactions"):
        assert_refused(await call(client, "GET", path), 401, "Invalid token")
