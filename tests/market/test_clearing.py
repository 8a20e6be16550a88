"""The price rule of the auction: against published cases, and against every price tried in turn."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from market.clearing import Clearing, PriceRule, clear_levels
from market.ticks import Tick

VECTORS = Path(__file__).parents[1] / "data" / "clearing" / "vectors.json"
PRICE = Tick(Decimal("0.00001"))
VOLUME = Tick(Decimal("0.01"))

Levels = list[tuple[int, int]]


def vectors() -> list[Any]:
    return [
        pytest.param(vector, id=vector["id"])
        for vector in json.loads(VECTORS.read_text("utf-8"), parse_float=Decimal)["vectors"]
    ]


def in_ticks(orders: list[list[object]]) -> Levels:
    levels = [(PRICE.parse(price), VOLUME.parse(volume)) for price, volume in orders]
    return [(price, volume) for price, volume in levels if volume >= 0]


@pytest.mark.parametrize("vector", vectors())
def test_a_published_auction_clears_its_volume_between_its_prices(vector: dict[str, Any]) -> None:
    buys, sells, reference = in_ticks(vector["buys"]), in_ticks(vector["sells"]), vector["reference"]
    results = {rule: clear_levels(buys, sells, rule) for rule in PriceRule}
    if not reference["max_volume"]:
        assert set(results.values()) == {None}
        return
    volume = VOLUME.parse(reference["max_volume"])
    lo, hi = PRICE.parse(reference["price_low"]), PRICE.parse(reference["price_high"])
    assert results == {
        PriceRule.MIDPOINT: Clearing(volume, lo, hi, PRICE.parse(reference["midpoint"])),
        PriceRule.SELLER: Clearing(volume, lo, hi, lo),
        PriceRule.BUYER: Clearing(volume, lo, hi, hi),
    }


def test_all_published_auctions_are_there() -> None:
    assert len(vectors()) == 45


PRICES = st.integers(-12, 12)
SIDE = st.lists(st.tuples(PRICES, st.integers(0, 9)), max_size=8)
LARGE_SIDE = st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(1, 2**62)), min_size=1, max_size=8)


def demand(buys: Levels, price: int) -> int:
    return sum(volume for limit, volume in buys if limit >= price)


def supply(sells: Levels, price: int) -> int:
    return sum(volume for limit, volume in sells if limit <= price)


@given(SIDE, SIDE, st.sampled_from(PriceRule))
@example([], [], PriceRule.MIDPOINT)
@example([(5, 4), (5, 4)], [(5, 6)], PriceRule.MIDPOINT)
@example([(-3, 1)], [(-6, 1)], PriceRule.MIDPOINT)
@settings(deadline=None, max_examples=1000)
def test_volume_and_interval_are_those_of_trying_every_price(buys: Levels, sells: Levels, rule: PriceRule) -> None:
    candidates = range(-14, 15)
    most = max(min(demand(buys, price), supply(sells, price)) for price in candidates)
    result = clear_levels(buys, sells, rule)
    if not most:
        assert result is None
        return
    # At a clearing price whatever lies strictly in the money is filled, and nothing beyond the limit is.
    consistent = [
        price
        for price in candidates
        if demand(buys, price + 1) <= most <= demand(buys, price)
        and supply(sells, price - 1) <= most <= supply(sells, price)
    ]
    lo, hi = min(consistent), max(consistent)
    assert consistent == list(range(lo, hi + 1))
    price = {PriceRule.MIDPOINT: (lo + hi) // 2, PriceRule.SELLER: lo, PriceRule.BUYER: hi}[rule]
    assert result == Clearing(most, lo, hi, price)


@given(SIDE, SIDE, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=300)
def test_the_order_of_levels_and_how_a_price_is_shared_out_do_not_matter(
    buys: Levels, sells: Levels, random: Any
) -> None:
    result = clear_levels(buys, sells, PriceRule.MIDPOINT)
    unit_buys = [(price, 1) for price, volume in buys for _ in range(volume)]
    unit_sells = [(price, 1) for price, volume in sells for _ in range(volume)]
    random.shuffle(unit_buys)
    random.shuffle(unit_sells)
    assert clear_levels(unit_buys, unit_sells, PriceRule.MIDPOINT) == result


@given(LARGE_SIDE, LARGE_SIDE)
@settings(deadline=None, max_examples=300)
def test_numbers_of_63_bits_stay_exact(buys: Levels, sells: Levels) -> None:
    limits = [price for price, _ in buys + sells]
    most = max(min(demand(buys, price), supply(sells, price)) for price in limits)
    result = clear_levels(buys, sells, PriceRule.MIDPOINT)
    if not most:
        assert result is None
        return
    assert result is not None
    assert result.volume == most
    assert demand(buys, result.hi + 1) <= most <= demand(buys, result.hi)
    assert supply(sells, result.lo - 1) <= most <= supply(sells, result.lo)
    assert result.price == (result.lo + result.hi) // 2


@pytest.mark.parametrize(
    ("buys", "sells", "lo", "hi", "midpoint"),
    [
        ([(5, 1)], [(2, 1)], 2, 5, 3),
        ([(-2, 1)], [(-5, 1)], -5, -2, -4),
        ([(0, 1)], [(-1, 1)], -1, 0, -1),
        ([(6, 1)], [(2, 1)], 2, 6, 4),
    ],
)
def test_the_midpoint_is_rounded_towards_minus_infinity(
    buys: Levels, sells: Levels, lo: int, hi: int, midpoint: int
) -> None:
    assert clear_levels(buys, sells, PriceRule.MIDPOINT) == Clearing(1, lo, hi, midpoint)


@pytest.mark.parametrize(
    ("buys", "sells", "volume", "lo", "hi"),
    [
        # A buy that is left over would trade above the last sell: it lifts the low end.
        ([(10, 5), (7, 1)], [(3, 5)], 5, 7, 10),
        # A sell that is left over would trade below the last buy: it lowers the high end.
        ([(10, 5)], [(3, 5), (6, 1)], 5, 3, 6),
        # A buy filled in part is the price.
        ([(10, 6)], [(3, 5)], 5, 10, 10),
        # A sell filled in part is the price.
        ([(10, 5)], [(3, 6)], 5, 3, 3),
        # Both sides exhausted at once: only the last accepted limits count.
        ([(10, 5)], [(3, 5)], 5, 3, 10),
        # What is left on both sides does not cross.
        ([(10, 5), (4, 9)], [(3, 5), (8, 9)], 5, 4, 8),
    ],
)
def test_the_interval_ends_at_the_last_accepted_or_first_unaccepted_limit(
    buys: Levels, sells: Levels, volume: int, lo: int, hi: int
) -> None:
    assert clear_levels(buys, sells, PriceRule.SELLER) == Clearing(volume, lo, hi, lo)
    assert clear_levels(buys, sells, PriceRule.BUYER) == Clearing(volume, lo, hi, hi)


@pytest.mark.parametrize(
    ("buys", "sells"),
    [([], []), ([(5, 1)], []), ([], [(5, 1)]), ([(4, 1)], [(5, 1)]), ([(5, 0)], [(4, 1)]), ([(5, 1)], [(4, 0)])],
)
def test_nothing_clears_where_the_sides_do_not_meet(buys: Levels, sells: Levels) -> None:
    assert clear_levels(buys, sells, PriceRule.MIDPOINT) is None


def test_a_tombstone_does_not_move_the_price() -> None:
    assert clear_levels([(10, 5), (9, 0)], [(3, 5), (4, 0)], PriceRule.SELLER) == Clearing(5, 3, 10, 3)


@pytest.mark.parametrize(("buys", "sells"), [([(5, -1)], [(4, 1)]), ([(5, 1)], [(4, -1)])])
def test_a_negative_level_is_a_broken_book(buys: Levels, sells: Levels) -> None:
    with pytest.raises(ValueError, match="negative volume"):
        clear_levels(buys, sells, PriceRule.MIDPOINT)


def test_a_price_rule_is_named_as_in_the_configuration() -> None:
    assert [PriceRule(name) for name in ("midpoint", "seller", "buyer")] == list(PriceRule)
