"""Demand and supply of one slot, out of single bids by the million: the levels that an auction needs to know.

What lives here: adding up bids of one price, best price first. What must not: where the curves cross, which is
`market.clearing`, or who is filled what.
"""

from collections import defaultdict
from itertools import accumulate
from typing import Final, TypeAlias

import numpy as np

from market.offers import Offers, Ticks

# Levels of one side, best first: their prices, and the volumes down to each.
Curve: TypeAlias = tuple[list[int], list[int]]

_LEAST_BINS_BITS: Final = 12
_MOST_BINS_BITS: Final = 16
_INT64: Final = np.iinfo(np.int64)


def added_curve(side: Offers, *, is_descending: bool) -> Curve:
    """All levels of a side, in Python's integers, for totals that may need more than 64 bits."""
    levels: defaultdict[int, int] = defaultdict(int)
    for price, volume in zip(side.prices.tolist(), side.volumes.tolist(), strict=True):
        levels[price] += volume
    prices = sorted(levels, reverse=is_descending)
    return prices, list(accumulate(levels[price] for price in prices))


def sorted_curve(side: Offers, before: int, *, is_descending: bool) -> Curve:
    """All levels of a side of some bids; `before` is the volume of better ones that are not among them."""
    order = np.argsort(side.prices)
    if is_descending:
        order = order[::-1]
    prices = side.prices[order]
    is_last = np.append(prices[1:] != prices[:-1], True)
    return prices[is_last].tolist(), (before + side.volumes[order].cumsum()[is_last]).tolist()


def counted_curves(buys: Offers, sells: Offers) -> tuple[Curve, Curve]:
    """The levels of both sides around their crossing, found by counting volumes in bins of prices: nothing is sorted.

    Where the prices are more than the bins, a bin holds several, and the two bins in which the curves cross are
    counted again, more finely: the window `low`..`high`. At its low end demand is not below supply, at its high end
    not above it, or no bid beyond that end can trade. So the buys above it and the sells below it are filled whole, and
    those on its other side not at all; of either lot only the limit next to the window can move the interval.
    """
    bids = (buys.prices, buys.volumes), (sells.prices, sells.volumes)
    # No other price can trade, and no bid beyond them can move the interval.
    low, high = int(sells.prices.min()), int(buys.prices.max())
    if high < low:
        return ([], []), ([], [])
    bins_bits = min(max(_LEAST_BINS_BITS, len(buys.prices).bit_length() - 3), _MOST_BINS_BITS)
    above = below = 0  # what the buys above the window want, and the sells below it offer
    is_whole = True
    while True:
        shift = max(0, (high - low).bit_length() - bins_bits)
        low = low >> shift << shift  # so that no bin reaches beyond 64 bits
        wanted, offered = (_binned(*side, low, high, shift) for side in bids)
        demand = above + wanted[::-1].cumsum()[::-1]
        supply = below + offered.cumsum()
        if not shift:
            break
        crossing = int(np.count_nonzero(demand >= supply)) - 1  # the last such bin; before the first there may be none
        first, last = max(crossing, 0), min(crossing + 1, len(demand) - 1)
        above = int(demand[last + 1]) if last + 1 < len(demand) else above
        below = int(supply[first - 1]) if first else below
        low, high = low + (first << shift), low + (last + 1 << shift) - 1
        bids = _between(*bids[0], low, high), _between(*bids[1], low, high)
        is_whole = False
    bought, sold = np.flatnonzero(wanted)[::-1], np.flatnonzero(offered)
    buy_curve = (bought + low).tolist(), demand[bought].tolist()
    sell_curve = (sold + low).tolist(), supply[sold].tolist()
    if not is_whole:
        _add_neighbours(buy_curve, _nearest_above(buys.prices, high), above, _nearest_below(buys.prices, low))
        _add_neighbours(sell_curve, _nearest_below(sells.prices, low), below, _nearest_above(sells.prices, high))
    return buy_curve, sell_curve


def _binned(prices: Ticks, volumes: Ticks, low: int, high: int, shift: int) -> Ticks:
    """Volumes by price, 2^shift prices to a bin, from `low` to the end of the bin of `high`."""
    count = (high - low >> shift) + 1
    # The distance may need 64 bits without a sign: it wraps, and is read so. Below `low` it wraps to beyond all bins.
    bins = np.minimum((prices - low).view(np.uint64) >> shift, count).view(np.int64)
    return np.bincount(bins, volumes, count + 1)[:count].astype(np.int64)


def _between(prices: Ticks, volumes: Ticks, low: int, high: int) -> tuple[Ticks, Ticks]:
    """The bids of a window; where they are many, all: to leave the others in costs less than to take these out."""
    is_inside = (prices >= low) & (prices <= high)
    if 2 * np.count_nonzero(is_inside) > len(prices):
        return prices, volumes
    inside = np.flatnonzero(is_inside)
    return prices[inside], volumes[inside]


def _add_neighbours(curve: Curve, better: int | None, better_total: int, worse: int | None) -> None:
    """Put the limits next to the window at the ends of a curve. How much the worse one holds makes no difference."""
    prices, totals = curve
    if better is not None:
        prices.insert(0, better)
        totals.insert(0, better_total)
    if worse is not None:
        prices.append(worse)
        totals.append((totals[-1] if totals else 0) + 1)


def _nearest_above(prices: Ticks, limit: int) -> int | None:
    if limit == _INT64.max:
        return None
    # Without a sign the distances of those not above it wrap to more than any of those above.
    nearest = int(prices[(prices - (limit + 1)).view(np.uint64).argmin()])
    return nearest if nearest > limit else None


def _nearest_below(prices: Ticks, limit: int) -> int | None:
    if limit == _INT64.min:
        return None
    nearest = int(prices[(limit - 1 - prices).view(np.uint64).argmin()])
    return nearest if nearest < limit else None
