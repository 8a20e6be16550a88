"""The auction over single bids: against published cases, and against shares worked out in fractions, bid by bid."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from market import auction as auction_module
from market import curves
from market.auction import Auction, Offers, auction
from market.clearing import Clearing, PriceRule, clear_levels
from market.ticks import INT64_MAX, INT64_MIN, Tick

VECTORS = Path(__file__).parents[1] / "data" / "clearing" / "vectors.json"
PRICE = Tick(Decimal("0.00001"))
VOLUME = Tick(Decimal("0.01"))

Bids = list[tuple[int, int]]


def offers(bids: Bids, priorities: list[int] | None = None) -> Offers:
    columns = np.array(bids, np.int64).reshape(-1, 2)
    return Offers(
        columns[:, 0].copy(), columns[:, 1].copy(), None if priorities is None else np.array(priorities, np.int64)
    )


def run(buys: Bids, sells: Bids, rule: PriceRule = PriceRule.MIDPOINT) -> Auction:
    return auction(offers(buys), offers(sells), rule)


def plain(result: Auction) -> tuple[Clearing | None, list[int], list[int]]:
    return result.clearing, result.bought.tolist(), result.sold.tolist()


@dataclass(frozen=True)
class Reference:
    """Market rules "The auction", 2 to 4, word by word: every limit tried as the price, shares in fractions."""

    buys: Bids
    sells: Bids
    rule: PriceRule

    def demand(self, price: int) -> int:
        return sum(volume for limit, volume in self.buys if limit >= price)

    def supply(self, price: int) -> int:
        return sum(volume for limit, volume in self.sells if limit <= price)

    def answer(self) -> tuple[Clearing | None, list[int], list[int]]:
        limits = {limit for limit, _ in self.buys + self.sells}
        most = max((min(self.demand(price), self.supply(price)) for price in limits), default=0)
        if not most:
            return None, [0] * len(self.buys), [0] * len(self.sells)
        consistent = [
            price
            for price in limits
            if self.demand(price + 1) <= most <= self.demand(price)
            and self.supply(price - 1) <= most <= self.supply(price)
        ]
        lo, hi = min(consistent), max(consistent)
        price = {PriceRule.MIDPOINT: floor(Fraction(lo + hi, 2)), PriceRule.SELLER: lo, PriceRule.BUYER: hi}[self.rule]
        worse_first = [(-limit, volume) for limit, volume in self.buys]
        return Clearing(most, lo, hi, price), fills(worse_first, most), fills(self.sells, most)


def fills(bids: Bids, volume: int) -> list[int]:
    """What each bid gets of `volume`: smaller limits are better, earlier bids were placed earlier."""
    filled = [0] * len(bids)
    for limit in sorted({limit for limit, _ in bids}):
        level = [number for number, bid in enumerate(bids) if bid[0] == limit]
        total = sum(bids[number][1] for number in level)
        left = min(volume - sum(filled), total)
        exact = {number: Fraction(bids[number][1] * left, total) for number in level}
        for number in level:
            filled[number] = floor(exact[number])
        over = left - sum(filled[number] for number in level)
        for number in sorted(level, key=lambda number: (floor(exact[number]) - exact[number], number))[:over]:
            filled[number] += 1
    return filled


@contextmanager
def in_four_bins() -> Iterator[None]:
    """Every book is one of too many prices to be counted at once."""
    with (
        mock.patch.object(curves, "_LEAST_BINS_BITS", 2),
        mock.patch.object(curves, "_MOST_BINS_BITS", 2),
    ):
        yield


@contextmanager
def near_a_guess() -> Iterator[None]:
    """Of every book it is guessed first where its curves cross."""
    with mock.patch.object(auction_module, "_LEAST_SAMPLED", 1), mock.patch.object(auction_module, "_SAMPLE", 4):
        yield


@contextmanager
def in_big_integers() -> Iterator[None]:
    """Every book is one of too large totals."""
    with mock.patch.object(auction_module, "_EXACT_IN_FLOATS", 1):
        yield


@pytest.mark.parametrize("rule", PriceRule)
@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(vector, id=vector["id"])
        for vector in json.loads(VECTORS.read_text("utf-8"), parse_float=Decimal)["vectors"]
    ],
)
def test_a_published_auction_clears_and_shares_out_as_worked_out_for_it(
    vector: dict[str, Any], rule: PriceRule
) -> None:
    expected = vector["reference"]
    sides = []
    for side, shares in (("buys", "buy_alloc_prorata"), ("sells", "sell_alloc_prorata")):
        bids = [(PRICE.parse(price), VOLUME.parse(volume)) for price, volume in vector[side]]
        # Where nothing trades, no shares were worked out.
        shared = [Decimal(share) / VOLUME.size for share in expected.get(shares, [0] * len(bids))]
        # What is no bid here is none there: an entry without volume gets nothing.
        assert not any(share for (_, volume), share in zip(bids, shared, strict=True) if volume <= 0)
        kept = [(bid, share) for bid, share in zip(bids, shared, strict=True) if bid[1] > 0]
        sides.append(([bid for bid, _ in kept], [share for _, share in kept]))
    (buys, bought), (sells, sold) = sides
    result = run(buys, sells, rule)
    assert result.clearing == clear_levels(buys, sells, rule)
    volume = VOLUME.parse(expected["max_volume"])
    if result.clearing is None:
        assert volume == 0
    else:
        prices = {"midpoint": "midpoint", "seller": "price_low", "buyer": "price_high"}
        assert (result.clearing.volume, result.clearing.price) == (volume, PRICE.parse(expected[prices[rule]]))
    for filled, shares_ in ((result.bought.tolist(), bought), (result.sold.tolist(), sold)):
        assert sum(filled) == volume
        # The published shares are no whole ticks.
        assert all(abs(ticks - share) < 1 for ticks, share in zip(filled, shares_, strict=True))


# One number is one bid, for speed: 25 prices around zero, and volumes of one tick to seven.
BID = st.integers(0, 25 * 7 - 1).map(lambda number: (number // 7 - 12, number % 7 + 1))
SIDE = st.lists(BID, max_size=9)
RULES = st.sampled_from(PriceRule)


def mirrored(buys: Bids, sells: Bids) -> tuple[Bids, Bids]:
    """The book in which who bought sells, and prices have changed their sign."""
    return [(-price, volume) for price, volume in sells], [(-price, volume) for price, volume in buys]


# 10,200 random books: two an example, for each way to clear one.
@pytest.mark.parametrize("way", [nullcontext, in_four_bins, near_a_guess, in_big_integers])
@given(buys=SIDE, sells=SIDE, rule=RULES)
@example(buys=[], sells=[], rule=PriceRule.MIDPOINT)
@example(buys=[(5, 4), (5, 4)], sells=[(5, 6)], rule=PriceRule.MIDPOINT)
@example(buys=[(-3, 1)], sells=[(-6, 1)], rule=PriceRule.MIDPOINT)
@example(buys=[(1, 1), (1, 1), (1, 1)], sells=[(1, 2)], rule=PriceRule.SELLER)
@settings(deadline=None, max_examples=1700)
def test_every_bid_gets_what_trying_every_price_and_sharing_in_fractions_gives(
    way: Callable[[], AbstractContextManager[None]], buys: Bids, sells: Bids, rule: PriceRule
) -> None:
    for book in ((buys, sells), mirrored(buys, sells)):
        with way():
            assert plain(run(*book, rule)) == Reference(*book, rule).answer()


@given(SIDE, SIDE, RULES)
@settings(deadline=None, max_examples=400)
def test_nobody_trades_against_the_own_limit_and_nobody_in_the_money_is_left_out(
    buys: Bids, sells: Bids, rule: PriceRule
) -> None:
    clearing, bought, sold = plain(run(buys, sells, rule))
    if clearing is None:
        assert not any(bought)
        assert not any(sold)
        return
    assert sum(bought) == sum(sold) == clearing.volume > 0
    for (limit, volume), filled in zip(buys, bought, strict=True):
        assert 0 <= filled <= volume
        assert limit >= clearing.price or not filled
        assert limit <= clearing.price or filled == volume
    for (limit, volume), filled in zip(sells, sold, strict=True):
        assert 0 <= filled <= volume
        assert limit <= clearing.price or not filled
        assert limit >= clearing.price or filled == volume


@given(SIDE, SIDE, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=400)
def test_the_order_in_which_bids_are_read_does_not_matter(buys: Bids, sells: Bids, random: Any) -> None:
    result = run(buys, sells)
    read_buys, read_sells = list(range(len(buys))), list(range(len(sells)))
    random.shuffle(read_buys)
    random.shuffle(read_sells)
    for way in (in_four_bins, near_a_guess, in_big_integers):
        with way():
            shuffled = auction(
                offers([buys[number] for number in read_buys], [7 * number - 20 for number in read_buys]),
                offers([sells[number] for number in read_sells], [7 * number - 20 for number in read_sells]),
                PriceRule.MIDPOINT,
            )
        assert shuffled.clearing == result.clearing
        assert shuffled.bought.tolist() == [result.bought[number] for number in read_buys]
        assert shuffled.sold.tolist() == [result.sold[number] for number in read_sells]


@given(SIDE, SIDE, st.integers(2, 10**12), st.integers(-(10**12), 10**12))
@settings(deadline=None, max_examples=400)
def test_finer_price_ticks_and_another_zero_move_prices_alone(buys: Bids, sells: Bids, finer: int, zero: int) -> None:
    result = run(buys, sells)
    moved = run(
        [(price * finer + zero, volume) for price, volume in buys],
        [(price * finer + zero, volume) for price, volume in sells],
    )
    assert plain(moved)[1:] == plain(result)[1:]
    if result.clearing is None:
        assert moved.clearing is None
        return
    lo, hi = result.clearing.lo * finer + zero, result.clearing.hi * finer + zero
    assert moved.clearing == Clearing(result.clearing.volume, lo, hi, (lo + hi) // 2)


@given(SIDE, SIDE, st.integers(2, 10**15))
@settings(deadline=None, max_examples=400)
def test_finer_volume_ticks_share_more_finely_and_move_no_price(buys: Bids, sells: Bids, finer: int) -> None:
    result = run(buys, sells)
    scaled = run(
        [(price, volume * finer) for price, volume in buys], [(price, volume * finer) for price, volume in sells]
    )
    if result.clearing is None:
        assert scaled.clearing is None
        return
    once = result.clearing
    assert scaled.clearing == Clearing(once.volume * finer, once.lo, once.hi, once.price)
    for coarse, fine in ((result.bought, scaled.bought), (result.sold, scaled.sold)):
        assert all(abs(b - a * finer) <= finer for a, b in zip(coarse.tolist(), fine.tolist(), strict=True))


WIDE_PRICE = st.one_of(
    st.integers(INT64_MIN, INT64_MAX),
    st.sampled_from([INT64_MIN, INT64_MIN + 1, -(2**62), -1, 0, 1, 2**62, INT64_MAX - 1, INT64_MAX]),
    st.integers(-(2**14), 2**14),
)
HUGE_VOLUME = st.one_of(
    st.integers(2**62 - 9, 2**62), st.integers(2**52, 2**54), st.integers(1, INT64_MAX), st.integers(1, 3)
)


@given(
    st.lists(st.tuples(WIDE_PRICE, st.integers(1, 9)), max_size=12),
    st.lists(st.tuples(WIDE_PRICE, st.integers(1, 9)), max_size=12),
    RULES,
)
@settings(deadline=None, max_examples=400)
def test_prices_may_be_anywhere_in_64_bits(buys: Bids, sells: Bids, rule: PriceRule) -> None:
    expected = Reference(buys, sells, rule).answer()
    assert plain(run(buys, sells, rule)) == expected
    for way in (in_four_bins, near_a_guess):
        with way():
            assert plain(run(buys, sells, rule)) == expected


@given(
    st.lists(st.tuples(st.integers(-2, 3), HUGE_VOLUME), max_size=7),
    st.lists(st.tuples(st.integers(-3, 2), HUGE_VOLUME), max_size=7),
    RULES,
)
@settings(deadline=None, max_examples=400)
def test_volumes_may_need_all_of_64_bits_and_their_sums_more(buys: Bids, sells: Bids, rule: PriceRule) -> None:
    assert plain(run(buys, sells, rule)) == Reference(buys, sells, rule).answer()


# One that nearly fills what floats hold, whose share they miss by a tick, among some whose remainders compete with its.
NEARLY_ALL = st.tuples(st.integers(2**51, 2**52 - 2**12), st.lists(st.integers(1, 99), min_size=2, max_size=9))
LARGE_VOLUME = st.one_of(st.integers(2**47, 2**48 - 1), st.integers(1, 2**48 - 1), st.integers(1, 3))


@given(st.one_of(NEARLY_ALL.map(lambda all_: [all_[0], *all_[1]]), st.lists(LARGE_VOLUME, min_size=1)), st.data())
@example([2**52 - 2, 1], None)
@example([2**51 - 1, 2**51], None)
@example([2**52 - 1, 1], None)
@settings(deadline=None, max_examples=500)
def test_shares_are_exact_where_products_need_104_bits(volumes: list[int], data: Any) -> None:
    total = sum(volumes)
    lefts = [data.draw(st.integers(1, total))] if data else [1, total // 3, total // 2, total - 1, total]
    for left in lefts:
        buys, sells = [(0, volume) for volume in volumes], [(0, left)]
        expected = Reference(buys, sells, PriceRule.MIDPOINT).answer()
        assert plain(run(buys, sells)) == expected
        with in_big_integers():
            assert plain(run(buys, sells)) == expected


@pytest.mark.parametrize(
    ("volumes", "left"),
    [
        ([4503599627356641, 8, 53, 89, 46, 57], 3977253639428251),
        ([4503599627367910, 33, 78, 33, 64, 68], 4037291820143409),
        ([4503599627367253, 26, 42, 52, 63, 5, 68, 11, 75], 4363649679491199),
    ],
)
def test_a_share_that_floats_round_up_takes_no_tick_from_a_larger_remainder(volumes: list[int], left: int) -> None:
    assert int(volumes[0] * (left / sum(volumes))) == volumes[0] * left // sum(volumes) + 1
    assert run([(0, volume) for volume in volumes], [(0, left)]).bought.tolist() == fills(
        [(0, volume) for volume in volumes], left
    )


@pytest.mark.parametrize("prices", [1, 7, 3000, 10**5, 2**40, 2**63 - 1])
@pytest.mark.parametrize("largest", [1, 50, 10**9, 2**40])
def test_a_large_book_is_cleared_alike_in_floats_and_in_big_integers(prices: int, largest: int) -> None:
    random = np.random.default_rng(prices + largest)
    buys, sells = (
        Offers(
            random.integers(-prices, prices, count), random.integers(1, largest + 1, count), random.permutation(count)
        )
        for count in (3000, 4000)
    )
    result = auction(buys, sells, PriceRule.MIDPOINT)
    assert result.clearing is not None
    assert result.clearing == clear_levels(
        list(zip(buys.prices.tolist(), buys.volumes.tolist(), strict=True)),
        list(zip(sells.prices.tolist(), sells.volumes.tolist(), strict=True)),
        PriceRule.MIDPOINT,
    )
    with in_big_integers():
        assert plain(auction(buys, sells, PriceRule.MIDPOINT)) == plain(result)
    assert sum(result.bought.tolist()) == sum(result.sold.tolist()) == result.clearing.volume


def test_left_over_ticks_go_to_the_largest_remainders_then_to_whom_was_placed_earlier() -> None:
    # Shares of 8 among 7, 5, 5 and 3: 2.8, 2, 2 and 1.2.
    assert run([(5, 7), (5, 5), (5, 5), (5, 3)], [(5, 8)]).bought.tolist() == [3, 2, 2, 1]
    # Shares of 5 among three equals: 1.67 each.
    assert run([(5, 3)] * 3, [(5, 5)]).bought.tolist() == [2, 2, 1]
    last_first = auction(offers([(5, 3)] * 3, [30, 20, 10]), offers([(5, 5)]), PriceRule.MIDPOINT)
    assert last_first.bought.tolist() == [1, 2, 2]


def test_clearing_leaves_the_bids_as_they_are_and_gives_the_same_twice() -> None:
    buys, sells = offers([(5, 7), (5, 5), (9, 1)]), offers([(5, 8), (2, 1)])
    before = [column.copy() for side in (buys, sells) for column in (side.prices, side.volumes)]
    first = auction(buys, sells, PriceRule.MIDPOINT)
    first.bought[:] = 0
    assert plain(auction(buys, sells, PriceRule.MIDPOINT)) == plain(run([(5, 7), (5, 5), (9, 1)], [(5, 8), (2, 1)]))
    after = [column for side in (buys, sells) for column in (side.prices, side.volumes)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


INT = np.array([1, 2], np.int64)


@pytest.mark.parametrize(
    ("prices", "volumes", "priorities"),
    [
        (INT, INT[:1], None),
        (INT[:1], INT, None),
        (INT, INT, INT[:1]),
        (INT.reshape(1, 2), INT.reshape(1, 2), None),
        (INT.astype(float), INT, None),
        (INT, INT.astype(np.int32), None),
    ],
)
def test_columns_that_do_not_belong_together_are_refused(prices: Any, volumes: Any, priorities: Any) -> None:
    with pytest.raises(ValueError, match="columns of int64, all of one length"):
        Offers(prices, volumes, priorities)


@pytest.mark.parametrize("volume", [0, -1, INT64_MIN])
def test_a_bid_without_volume_is_refused(volume: int) -> None:
    with pytest.raises(ValueError, match="volume must be above 0"):
        Offers(INT, np.array([1, volume], np.int64))


SHAPES: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "even": lambda random, count: random.integers(300, 600, count),
    "fine": lambda random, count: random.integers(0, 2**50, count),
    "a few prices": lambda random, count: random.choice([-5, 400, 410, 411, 900], count),
    "read by price": lambda random, count: np.sort(random.integers(300, 600, count)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("supply", [0.2, 1, 5])
def test_a_book_with_a_guessed_crossing_is_cleared_as_without(shape: str, supply: float) -> None:
    random = np.random.default_rng(len(shape) + int(10 * supply))
    count = auction_module._LEAST_SAMPLED
    buys, sells = (
        Offers(SHAPES[shape](random, count), random.integers(1, most, count), random.permutation(count))
        for most in (1000, int(1000 * supply))
    )
    found = auction(buys, sells, PriceRule.MIDPOINT)
    with mock.patch.object(auction_module, "_LEAST_SAMPLED", count + 1):
        assert plain(found) == plain(auction(buys, sells, PriceRule.MIDPOINT))
    assert found.clearing is not None


def test_the_guess_is_good_for_usual_books_and_refused_where_it_is_not() -> None:
    random = np.random.default_rng(3)
    count = auction_module._LEAST_SAMPLED
    buys, sells = (
        Offers(random.integers(low, low + 300, count), random.integers(1, 1000, count)) for low in (350, 300)
    )
    guess = auction_module._guessed_crossing(buys, sells)
    near = auction_module._cleared_near(guess, buys, sells, PriceRule.MIDPOINT)
    assert near is not None
    assert near.clearing is not None
    assert guess[0] < near.clearing.lo <= near.clearing.hi < guess[1] < guess[0] + 30
    for window in ((0, 300), (guess[1], 700), (near.clearing.price, near.clearing.price), (0, 0)):
        beside = auction_module._cleared_near(window, buys, sells, PriceRule.MIDPOINT)
        assert beside is None or plain(beside) == plain(near)
    assert auction_module._cleared_near((0, 300), buys, sells, PriceRule.MIDPOINT) is None


SMALL_SIDE = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4)), min_size=1, max_size=7)


@given(SMALL_SIDE, SMALL_SIDE, RULES)
@settings(deadline=None, max_examples=300)
def test_whatever_is_guessed_the_answer_is_right_or_none_is_given(buys: Bids, sells: Bids, rule: PriceRule) -> None:
    expected = Reference(buys, sells, rule).answer()
    for low in range(-1, 8):
        for high in range(low, 8):
            near = auction_module._cleared_near((low, high), offers(buys), offers(sells), rule)
            assert near is None or plain(near) == expected
