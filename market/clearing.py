"""The auction of one slot: how much clears, between which prices, and at which of them.

Market rules "The auction", 1 to 3, in exact integers on aggregated levels. Who gets how much of it
(allocation) is not decided here, and nothing here knows of accounts, days or JSON.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

# What follows the last level of a side.
_NOTHING: Final = (0, 0)


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
    return clear_sorted(
        iter(sorted(_present(buys), reverse=True)),
        iter(sorted(_present(sells))),
        rule,
    )


def clear_sorted(buys: Iterator[tuple[int, int]], sells: Iterator[tuple[int, int]], rule: PriceRule) -> Clearing | None:
    """`clear_levels` over levels that come best first and hold volume. No more is read of them than clears."""
    buy, buying = next(buys, _NOTHING)
    sell, selling = next(sells, _NOTHING)
    # Total volumes of each side, down to the level at hand: the shorter one is filled, and its side comes to its next
    # level, as long as the buyer's limit reaches the seller's.
    demand, supply = buying, selling
    volume = last_buy = last_sell = 0
    while buying and selling and buy >= sell:
        last_buy, last_sell = buy, sell
        volume = demand if demand < supply else supply
        if demand == volume:
            buy, buying = next(buys, _NOTHING)
            demand += buying
        if supply == volume:
            sell, selling = next(sells, _NOTHING)
            supply += selling
    if not volume:
        return None
    # The level at hand is its side's best that is not wholly accepted; an exhausted side has none.
    lo = max(last_sell, buy) if buying else last_sell
    hi = min(last_buy, sell) if selling else last_buy
    return Clearing(volume, lo, hi, _price(lo, hi, rule))


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
