"""Time slots of bids: how they are written, and ranges of them."""

from decimal import Decimal
from typing import Any

from tests.answers import assert_invalid
from tests.conftest import Client
from tests.factories import bid, place, sign_up
from tests.offers import levels, offer


async def test_a_slot_is_written_as_its_times_its_start_or_its_number(client: Client) -> None:
    household = await sign_up(client)
    for given, shown in (
        ("10:00-10:15", "10:00-10:15"),
        ("10:00", "10:00-10:15"),
        ("41", "10:00-10:15"),
        (41, "10:00-10:15"),
        (1, "00:00-00:15"),
        ("00:00", "00:00-00:15"),
        ("1", "00:00-00:15"),
    ):
        placed = await place(client, household, {**bid(), "timeslot": given})  # type: ignore[dict-item]  # a JSON number
        assert [b["timeslot"] for b in placed["bids"]] == [shown], given
    last = set()
    for given in ("23:45-00:00", "23:45-24:00", "23:45", 96, "96"):
        placed = await place(client, household, {**bid(), "timeslot": given})  # type: ignore[dict-item]  # a JSON number
        last |= {b["timeslot"] for b in placed["bids"]}
    assert len(last) == 1
    assert last <= {"23:45-00:00", "23:45-24:00"}
    assert {level[0] for level in await levels(client, household)} == {1, 41, 96}


async def test_an_unknown_slot_is_refused_and_never_becomes_another(client: Client) -> None:
    household = await sign_up(client)
    texts = (
        "10:07",
        "10:00-10:07",
        "10:05-10:20",
        "10:00-10:00",
        "11:00-10:00",
        "24:00",
        "25:00",
        "10:60",
        "0",
        "97",
        "-1",
    )
    more = (
        "1.5",
        "４１",
        "१",
        "",
        "noon",
        "10:00-",
        "-10:15",
        "10:00–10:15",
        "10:00-10:15-10:30",
        "10:00\n",
        "10.00",
        "4e1",
    )
    values: tuple[Any, ...] = (0, 97, -1, 1.5, 2**70, None, True, [], {}, ["10:00"])
    for wrong in (*texts, *more, *values):
        errors = assert_invalid(await offer(client, household, {"arr": [{**bid(), "timeslot": wrong}]}))
        assert "timeslot" in errors[0], (wrong, errors)
    assert await levels(client, household) == []


async def test_a_longer_range_is_the_same_price_in_each_slot_with_the_volume_split(client: Client) -> None:
    household = await sign_up(client)
    placed = await place(client, household, bid("10:00-11:00", "1", "4.25"))
    assert [b["timeslot"] for b in placed["bids"]] == ["10:00-10:15", "10:15-10:30", "10:30-10:45", "10:45-11:00"]
    assert {Decimal(b["volume"]) for b in placed["bids"]} == {Decimal("0.25")}
    assert {Decimal(b["price"]) for b in placed["bids"]} == {Decimal("4.25")}


async def test_a_volume_that_does_not_divide_is_split_to_the_tick_with_nothing_lost(client: Client) -> None:
    household = await sign_up(client)
    for slots, timeslot, volume in (
        (4, "10:00-11:00", "1.001"),
        (4, "10:00-11:00", "0.999"),
        (3, "10:00-10:45", "1"),
        (96, "00:00-24:00", "100.007"),
        (96, "00:00-24:00", "0.096"),
        (2, "23:30-00:00", "0.003"),
    ):
        placed = await place(client, household, bid(timeslot, volume))
        volumes = [Decimal(b["volume"]) for b in placed["bids"]]
        assert len(volumes) == slots, timeslot
        assert sum(volumes) == Decimal(volume)
        assert max(volumes) - min(volumes) <= Decimal("0.001")
        assert min(volumes) > 0
    assert_invalid(await offer(client, household, {"arr": [bid("10:00-11:00", "0.003")]}))
