"""The audit's own auction: against the published cases, and against doing it bid by bid and price by price."""

import random
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from market.audit_auction import Offer, WorkedOut, work_out
from market.clearing import PriceRule
from tests.market.test_clearing import PRICE, VOLUME, in_ticks, vectors

Bids = list[tuple[int, int]]
MIDPOINT, SELLER, BUYER = PriceRule


def offers(bids: Bids, first_place: int = 0) -> list[Offer]:
    """Bids of (limit, volume), each placed later than the one before."""
    return [Offer(first_place + i, price, volume, i) for i, (price, volume) in enumerate(bids)]


def answer(buys: Bids, sells: Bids, rule: PriceRule = MIDPOINT) -> tuple[WorkedOut, list[int], list[int]]:
    """The result, and what each bid gets."""
    bought, sold = offers(buys), offers(sells, len(buys))
    result = work_out(bought, sold, rule)
    filled = result.fills
    return result, [filled.get(one.place, 0) for one in bought], [filled.get(one.place, 0) for one in sold]


def accepted(bids: Bids, volume: int, sign: int) -> list[Fraction]:
    """What each bid gets before anything is rounded: tick by tick to the best limit, evenly within a limit."""
    given = [Fraction(0)] * len(bids)
    for price in sorted({price for price, _ in bids}, reverse=sign > 0):
        equal = [i for i, bid in enumerate(bids) if bid[0] == price]
        total = sum(bids[i][1] for i in equal)
        taken = min(total, volume)
        for i in equal:
            given[i] = Fraction(bids[i][1] * taken, total)
        volume -= taken
    return given


def by_hand(buys: Bids, sells: Bids, rule: PriceRule) -> tuple[int, int, int, int] | None:
    """Volume, lo, hi and price from the formulas of rules 2 and 3, over bids that are accepted one by one."""
    limits = [price for price, _ in buys + sells]
    candidates = range(min(limits, default=0) - 1, max(limits, default=0) + 2)
    volume = max(
        min(sum(v for limit, v in buys if limit >= p), sum(v for limit, v in sells if limit <= p)) for p in candidates
    )
    if not volume:
        return None
    bought, sold = accepted(buys, volume, 1), accepted(sells, volume, -1)
    in_sells = [price for (price, _), got in zip(sells, sold, strict=True) if got]
    in_buys = [price for (price, _), got in zip(buys, bought, strict=True) if got]
    out_buys = [price for (price, size), got in zip(buys, bought, strict=True) if got < size]
    out_sells = [price for (price, size), got in zip(sells, sold, strict=True) if got < size]
    lo, hi = max([max(in_sells), *out_buys]), min([min(in_buys), *out_sells])
    middle = Fraction(lo + hi, 2)
    return volume, lo, hi, {MIDPOINT: middle.numerator // middle.denominator, SELLER: lo, BUYER: hi}[rule]


def rounded(exact: list[Fraction], order: list[int]) -> list[int]:
    """Floors, and one tick each to the largest remainders, of equal ones to the earlier, until nothing is missing."""
    whole = [int(share) for share in exact]
    missing = sum(exact) - sum(whole)
    for i in sorted(range(len(exact)), key=lambda i: (whole[i] - exact[i], order[i])):
        if missing:
            whole[i] += 1
            missing -= 1
    return whole


PRICES = st.integers(-6, 6)
SIDE = st.lists(st.tuples(PRICES, st.integers(1, 12)), max_size=8)


@given(SIDE, SIDE, st.sampled_from(PriceRule))
@example([], [], MIDPOINT)
@example([(-3, 1)], [(-6, 1)], MIDPOINT)
@example([(5, 4), (5, 4), (5, 4)], [(5, 5)], MIDPOINT)
@settings(deadline=None, max_examples=1500)
def test_every_slot_comes_to_what_it_comes_to_by_hand(buys: Bids, sells: Bids, rule: PriceRule) -> None:
    result, bought, sold = answer(buys, sells, rule)
    expected = by_hand(buys, sells, rule)
    if expected is None:
        assert result == WorkedOut()
        return
    volume, lo, hi, price = expected
    assert (result.volume, result.low, result.high, result.price) == (volume, lo, hi, price)
    assert bought == rounded(accepted(buys, volume, 1), list(range(len(buys))))
    assert sold == rounded(accepted(sells, volume, -1), list(range(len(sells))))
    assert sum(bought) == sum(sold) == volume


@given(SIDE, SIDE, st.randoms())
@settings(deadline=None, max_examples=200)
def test_the_order_in_which_bids_are_read_does_not_matter(buys: Bids, sells: Bids, chance: random.Random) -> None:
    bought, sold = offers(buys), offers(sells, len(buys))
    result = work_out(bought, sold, MIDPOINT)
    chance.shuffle(bought)
    chance.shuffle(sold)
    assert work_out(bought, sold, MIDPOINT) == result


@pytest.mark.parametrize("vector", vectors())
def test_published_auctions_clear_as_published(vector: dict[str, Any]) -> None:
    buys, sells = in_ticks(vector["buys"]), in_ticks(vector["sells"])
    result, _, _ = answer([bid for bid in buys if bid[1]], [bid for bid in sells if bid[1]])
    reference = vector["reference"]
    assert result.volume == VOLUME.parse(reference["max_volume"])
    if result.volume:
        ends = PRICE.parse(reference["price_low"]), PRICE.parse(reference["price_high"])
        assert (result.low, result.high) == ends
        assert result.price == PRICE.parse(reference["midpoint"])


def test_shares_do_not_overflow() -> None:
    size = 2**62
    result, bought, _ = answer([(5, size), (5, size - 1), (5, 1)], [(5, size - 3)])
    assert result.volume == sum(bought) == size - 3


def test_the_odd_tick_goes_to_the_larger_remainder_and_then_to_the_earlier() -> None:
    assert answer([(5, 1), (5, 3), (5, 3)], [(5, 5)])[1] == [1, 2, 2]
    assert answer([(5, 5), (5, 5)], [(5, 3)])[1] == [2, 1]
    assert answer([(5, 3)], [(5, 5), (5, 5)])[2] == [2, 1]
