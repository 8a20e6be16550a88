"""The auction of one slot: how much clears, between which prices, and at which of them.

Market rules "The auction", 1 to 3, in exact integers on aggregated levels. Who gets how much of it
(allocation) is not decided here, and nothing here knows of accounts, days or JSON.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import assert_never


class PriceRule(StrEnum):
    """Which price of the clearing interval is taken: its middle, or the end that sellers or buyers set."""

    MIDPOINT = "midpoint"
    SELLER = "seller"
    BUYER = "buyer"


@dataclass(frozen=True, slots=True)
class Clearing:
    """What one slot clears: `volume` in volume ticks (above 0), `lo` <= `price` <= `hi` in price ticks."""

    volume: int
    lo: int
    hi: int
    price: int


def clear_levels(buys: Sequence[tuple[int, int]], sells: Sequence[tuple[int, int]], rule: PriceRule) -> Clearing | None:
    """The uniform-price auction of one slot over levels of (limit price ticks, volume ticks), in any order.

    None where nothing clears. A level of volume 0 is no level (books keep them as tombstones); a negative one
    is a broken book and raises ValueError.
    """
    best_first = sorted(_present(buys), reverse=True), sorted(_present(sells))
    (buy_prices, buy_volumes), (sell_prices, sell_volumes) = (_columns(side) for side in best_first)
    return clear_columns(buy_prices, list(accumulate(buy_volumes)), sell_prices, list(accumulate(sell_volumes)), rule)


def clear_columns(
    buy_prices: Sequence[int],
    demand: Sequence[int],
    sell_prices: Sequence[int],
    supply: Sequence[int],
    rule: PriceRule,
) -> Clearing | None:
    """`clear_levels` over levels that come best first, each price once, and hold volume: `demand` and `supply` are the
    total volumes of their side down to each level."""
    if not buy_prices or not sell_prices or buy_prices[0] < sell_prices[0]:
        return None
    # A buy level is accepted, wholly or in part, where those before it leave some of the supply within its limit. Down
    # the levels demand grows and the supply within the limit shrinks, so the last such level is found by halving.
    bought, end = 1, len(buy_prices)
    while bought < end:
        half = (bought + end + 1) // 2
        within = bisect_right(sell_prices, buy_prices[half - 1])
        if within and demand[half - 2] < supply[within - 1]:
            bought = half
        else:
            end = half - 1
    within = bisect_right(sell_prices, buy_prices[bought - 1])
    volume = min(demand[bought - 1], supply[within - 1])
    sold = bisect_left(supply, volume) + 1
    lo, hi = sell_prices[sold - 1], buy_prices[bought - 1]
    # The best level of each side that is not wholly accepted: the last accepted one, where it is so in part, or the
    # next; an exhausted side has none.
    unfilled = bought - (demand[bought - 1] > volume)
    unsold = sold - (supply[sold - 1] > volume)
    if unfilled < len(buy_prices):
        lo = max(lo, buy_prices[unfilled])
    if unsold < len(sell_prices):
        hi = min(hi, sell_prices[unsold])
    return Clearing(volume, lo, hi, _price(lo, hi, rule))


def _columns(levels: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Prices and volumes, the volumes of equal prices together."""
    prices: list[int] = []
    volumes: list[int] = []
    for price, volume in levels:
        if prices and prices[-1] == price:
            volumes[-1] += volume
        else:
            prices.append(price)
            volumes.append(volume)
    return prices, volumes


def _present(levels: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    if any(volume < 0 for _, volume in levels):
        raise ValueError("a level cannot hold a negative volume")
    return [level for level in levels if level[1]]


def _price(lo: int, hi: int, rule: PriceRule) -> int:
    match rule:
        case PriceRule.MIDPOINT:
            return (lo + hi) // 2
        case PriceRule.SELLER:
            return lo
        case PriceRule.BUYER:
            return hi
    assert_never(rule)
