"""The auction of one slot: how much clears, between which prices, and at which of them.

Market rules "The auction", 1 to 3, in exact integers on aggregated levels. Who gets how much of it
(allocation) is not decided here, and nothing here knows of accounts, days or JSON.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
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
    # The best level tops each stack; the two are matched as long as the buyer's limit reaches the seller's.
    demand = _ascending(buys)
    supply = _ascending([(-price, volume) for price, volume in sells])
    volume = last_buy = last_sell = 0
    while demand and supply and demand[-1][0] >= -supply[-1][0]:
        (last_buy, wanted), (negated, offered) = demand.pop(), supply.pop()
        last_sell = -negated
        traded = min(wanted, offered)
        volume += traded
        if wanted > traded:
            demand.append((last_buy, wanted - traded))
        if offered > traded:
            supply.append((negated, offered - traded))
    if not volume:
        return None
    # What tops a side now is its best bid that is not wholly accepted; an exhausted side has none.
    lo = max(last_sell, demand[-1][0]) if demand else last_sell
    hi = min(last_buy, -supply[-1][0]) if supply else last_buy
    return Clearing(volume, lo, hi, _price(lo, hi, rule))


def _ascending(levels: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    if any(volume < 0 for _, volume in levels):
        raise ValueError("a level cannot hold a negative volume")
    return sorted(level for level in levels if level[1])


def _price(lo: int, hi: int, rule: PriceRule) -> int:
    match rule:
        case PriceRule.MIDPOINT:
            return (lo + hi) // 2
        case PriceRule.SELLER:
            return lo
        case PriceRule.BUYER:
            return hi
    assert_never(rule)
