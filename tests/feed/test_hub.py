"""The hub: what goes wrong with one group of subscribers is its own affair."""

import pytest

from feed.day_book import DayBook
from handlers.context import FEED
from tests.conftest import Client
from tests.factories import bid, place, sign_up
from tests.feed_wire import Wire


async def test_a_fault_of_one_group_leaves_the_others_their_updates(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    household = await sign_up(client)
    broken = await Wire.open(client, token=household.token)
    await broken.subscribe("book", slots=[5])
    wire = await Wire.open(client, token=household.token)
    await wire.subscribe("book")
    lead = DayBook.lead

    def fails_for_a_filter(self: DayBook, since: int, end: int, slots: frozenset[int] | None, ts_ms: int) -> bytes:
        if slots is not None:
            raise RuntimeError("a fault of ours")
        return lead(self, since, end, slots, ts_ms)

    monkeypatch.setattr(DayBook, "lead", fails_for_a_filter)
    await place(client, household, bid())
    assert (await wire.next("upd"))["seq"] == 1


async def test_an_account_that_nobody_listens_to_any_more_is_forgotten(client: Client) -> None:
    household = await sign_up(client)
    own = client.app[FEED]._own
    wire = await Wire.open(client, token=household.token)
    assert (await wire.ask("subscribe", ch="me"))["t"] == "ok"
    await place(client, household, bid())
    assert (await wire.next("me"))["seq"] == 1
    account_id = next(iter(own._listeners))
    await wire.ask("unsubscribe", ch="me")
    # A reading under way may name it once more.
    own._hinted.add(account_id)
    await own._deliver()
    assert not own._hinted
