"""A whole day's auctions: slot by slot as each would be alone, and added up by account."""

import random

import numpy as np
import pytest

from market.auction import Offers, auction
from market.clearing import PriceRule
from market.day_auction import DayBids, clear_slots, positions

Row = tuple[int, int, int, bool, int, int]


def columns(rows: list[Row]) -> DayBids:
    """Rows of (bid, account, slot, whether it sells, price, volume); who was earlier has the smaller bid number."""
    bids, accounts, slots, sells, prices, volumes = np.array(rows, dtype=np.int64).reshape(-1, 6).T.copy()
    return DayBids(bids, bids, accounts, slots.astype(np.int16), sells.astype(np.bool_), prices, volumes)


def a_day(seed: int, count: int = 3000) -> list[Row]:
    chance = random.Random(seed)
    return [
        (
            bid,
            chance.randint(1, 40),
            chance.choice((1, 2, 50, 95, 96)),
            chance.random() < 0.5,
            chance.randint(-5, 5),
            bid,
        )
        for bid in range(1, count + 1)
    ]


@pytest.mark.parametrize("rule", PriceRule)
def test_every_slot_is_cleared_as_if_it_were_alone(rule: PriceRule) -> None:
    rows = a_day(1)
    day = clear_slots(columns(rows), rule)
    assert [result.slot for result in day.slots] == list(range(1, 97))
    filled = dict(zip([row[0] for row in rows], day.filled.tolist(), strict=True))
    for result in day.slots:
        sides = [[row for row in rows if row[2] == result.slot and row[3] is sells] for sells in (False, True)]
        buys, sells = (
            Offers(*(np.array([row[place] for row in side], dtype=np.int64) for place in (4, 5))) for side in sides
        )
        alone = auction(buys, sells, rule)
        assert result.clearing == alone.clearing
        assert [filled[row[0]] for row in sides[0]] == alone.bought.tolist()
        assert [filled[row[0]] for row in sides[1]] == alone.sold.tolist()
        assert (result.buy_bids, result.sell_bids) == (len(sides[0]), len(sides[1]))
        assert (result.buy_volume, result.sell_volume) == tuple(sum(row[5] for row in side) for side in sides)
    assert sum(result.clearing is not None for result in day.slots) == 5


def test_the_order_in_which_bids_are_read_makes_no_difference() -> None:
    rows = a_day(2)
    shuffled = rows.copy()
    random.Random(3).shuffle(shuffled)
    one, other = (clear_slots(columns(given), PriceRule.MIDPOINT) for given in (rows, shuffled))
    assert one.slots == other.slots
    fills = [
        dict(zip([row[0] for row in given], day.filled.tolist(), strict=True))
        for given, day in ((rows, one), (shuffled, other))
    ]
    assert fills[0] == fills[1]


def test_positions_add_up_fills_by_account_and_slot() -> None:
    rows = a_day(4)
    bids = columns(rows)
    filled = clear_slots(bids, PriceRule.SELLER).filled
    given = positions(bids, filled)
    expected: dict[tuple[int, int], int] = {}
    for row, volume in zip(rows, filled.tolist(), strict=True):
        if volume:
            expected[row[1], row[2]] = expected.get((row[1], row[2]), 0) + volume
    found = list(zip(given.accounts.tolist(), given.slots.tolist(), given.volumes.tolist(), strict=True))
    assert found == [(*key, expected[key]) for key in sorted(expected)]
    assert given.unfilled.tolist() == []


def test_who_took_part_and_was_given_nothing_is_named() -> None:
    bids = columns([(1, 7, 1, True, 5, 1), (2, 8, 1, False, 4, 1), (3, 7, 2, True, 1, 1), (4, 9, 2, False, 1, 1)])
    given = positions(bids, clear_slots(bids, PriceRule.MIDPOINT).filled)
    assert (given.accounts.tolist(), given.slots.tolist(), given.volumes.tolist()) == ([7, 9], [2, 2], [1, 1])
    assert given.unfilled.tolist() == [8]
    nothing = columns([])
    assert positions(nothing, clear_slots(nothing, PriceRule.MIDPOINT).filled).unfilled.tolist() == []


def test_what_was_offered_is_told_beyond_64_bits() -> None:
    bids = columns([(bid, 1, 5, True, 1, 2**62) for bid in range(1, 6)])
    offered = clear_slots(bids, PriceRule.MIDPOINT).slots[4]
    assert (offered.sell_volume, offered.sell_bids, offered.clearing) == (5 * 2**62, 5, None)
