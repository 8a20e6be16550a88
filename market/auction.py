"""The auction of one slot over its single bids: what clears, and what each bid is filled.

What lives here: levels out of bids by the million, and allocation at the margin (market rules "The auction", 4). What
must not: the rule for volume, interval and price, which is `market.clearing` alone; accounts, days or JSON.
"""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from market.clearing import Clearing, PriceRule, clear_columns

Ticks: TypeAlias = NDArray[np.int64]
# Levels of one side, best first: their prices, and the volumes down to each.
_Curve: TypeAlias = tuple[list[int], list[int]]

# Below it floats hold volumes exactly, and their products with a share of 1 to less than one tick.
_EXACT_IN_FLOATS: Final = 2**52
_LEAST_BINS_BITS: Final = 12
_MOST_BINS_BITS: Final = 16
_INT64: Final = np.iinfo(np.int64)


@dataclass(frozen=True, slots=True)
class Offers:
    """The bids of one side of one slot, as columns: limit prices and volumes in ticks (volumes above 0). `priorities`
    tells who was placed earlier (the smaller number); all different. None: the order of the columns.

    Raises ValueError where the columns are not int64 or not of one length, or a volume is not above 0.
    """

    prices: Ticks
    volumes: Ticks
    priorities: Ticks | None = None

    def __post_init__(self) -> None:
        columns = [column for column in (self.prices, self.volumes, self.priorities) if column is not None]
        if any(column.dtype != np.int64 or column.shape != (len(self.prices),) for column in columns):
            raise ValueError("prices, volumes and priorities must be columns of int64, all of one length")
        if len(self.volumes) and self.volumes.min() <= 0:
            raise ValueError("a bid's volume must be above 0")


@dataclass(frozen=True, slots=True)
class Auction:
    """What one slot's auction came to: `clearing` (None where nothing clears) and what each bid was filled, in ticks,
    in the places of its Offers."""

    clearing: Clearing | None
    bought: Ticks
    sold: Ticks


def auction(buys: Offers, sells: Offers, rule: PriceRule) -> Auction:
    """The uniform-price auction of one slot, exact for all ticks of 64 bits (market rules "The auction", 1 to 6).

    All bids better than the last accepted limit are filled whole. Those at it share what is left pro rata to volume:
    whole ticks, the left-over ones by largest remainder, then to who was placed earlier.
    """
    demand, supply = _curves(buys, sells)
    clearing = clear_columns(*demand, *supply, rule)
    if clearing is None:
        return Auction(None, np.zeros_like(buys.volumes), np.zeros_like(sells.volumes))
    last_buy, last_sell = (prices[bisect_left(totals, clearing.volume)] for prices, totals in (demand, supply))
    bought = _fill(buys, buys.prices >= last_buy, last_buy, clearing.volume)
    sold = _fill(sells, sells.prices <= last_sell, last_sell, clearing.volume)
    return Auction(clearing, bought, sold)


def _curves(buys: Offers, sells: Offers) -> tuple[_Curve, _Curve]:
    """What `clear_columns` is to know of both sides."""
    if not len(buys.prices) or not len(sells.prices):
        return ([], []), ([], [])
    if max(_total(buys.volumes), _total(sells.volumes)) < _EXACT_IN_FLOATS:
        return _counted_curves(buys, sells)
    return _added_curve(buys, is_descending=True), _added_curve(sells, is_descending=False)


def _added_curve(side: Offers, *, is_descending: bool) -> _Curve:
    """All levels of a side, in Python's integers, for totals that may need more than 64 bits."""
    levels: defaultdict[int, int] = defaultdict(int)
    for price, volume in zip(side.prices.tolist(), side.volumes.tolist(), strict=True):
        levels[price] += volume
    prices = sorted(levels, reverse=is_descending)
    return prices, list(accumulate(levels[price] for price in prices))


def _counted_curves(buys: Offers, sells: Offers) -> tuple[_Curve, _Curve]:
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


def _add_neighbours(curve: _Curve, better: int | None, better_total: int, worse: int | None) -> None:
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


def _fill(side: Offers, is_accepted: NDArray[np.bool_], margin: int, volume: int) -> Ticks:
    """What each bid gets of `volume`: the accepted ones all, but for what those at the margin of the long side lack."""
    filled = side.volumes * is_accepted
    if lacking := _total(filled) - volume:
        at_margin = np.flatnonzero(side.prices == margin)
        priorities = at_margin if side.priorities is None else side.priorities[at_margin]
        filled[at_margin] = _shares(side.volumes[at_margin], lacking, priorities)
    return filled


def _shares(volumes: Ticks, lacking: int, priorities: Ticks) -> Ticks:
    """Pro rata to `volumes`, all ticks of their sum but `lacking`."""
    total = _total(volumes)
    left = total - lacking
    if total >= _EXACT_IN_FLOATS:
        return _shares_in_big_integers(volumes, left, total, priorities)
    # The float may be off by one. Products may wrap, but what remains of them is small, and thus right: it tells.
    shares = (volumes * (left / total)).astype(np.int64)
    remainders = volumes * left - shares * total
    correction = remainders // total
    shares += correction
    remainders -= correction * total
    if left_over := left - int(shares.sum()):
        least = np.partition(remainders, -left_over)[-left_over]
        larger, ties = remainders > least, np.flatnonzero(remainders == least)
        shares += larger
        earlier = ties[np.argsort(priorities[ties], kind="stable")]
        shares[earlier[: left_over - int(np.count_nonzero(larger))]] += 1
    return shares


def _shares_in_big_integers(volumes: Ticks, left: int, total: int, priorities: Ticks) -> Ticks:
    shares, remainders = zip(*(divmod(volume * left, total) for volume in volumes.tolist()), strict=True)
    filled = np.array(shares, np.int64)
    order = sorted(range(len(shares)), key=lambda bid: (-remainders[bid], priorities[bid]))
    filled[order[: left - sum(shares)]] += 1
    return filled


def _total(volumes: Ticks) -> int:
    """Their sum, whatever its size."""
    if not len(volumes) or int(volumes.max()) * len(volumes) <= _INT64.max:
        return int(volumes.sum())
    return sum(volumes.tolist())
