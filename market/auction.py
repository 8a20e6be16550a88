"""The auction of one slot over its single bids: what clears, and what each bid is filled.

What lives here: which bids have to be looked at, and allocation at the margin (market rules "The auction", 4). What
must not: the rule for volume, interval and price, which is `market.clearing` alone; accounts, days or JSON.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from market.clearing import Clearing, PriceRule, clear_columns
from market.curves import Curve, added_curve, counted_curves, sorted_curve
from market.offers import Offers, Ticks, total_of

__all__ = ["Auction", "Offers", "Ticks", "auction"]

# Below it floats hold volumes exactly, and their products with a share of 1 to less than one tick.
_EXACT_IN_FLOATS: Final = 2**52
# Of each side, to guess where the curves cross; a side must have several times as many bids for the guess to pay.
_SAMPLE: Final = 16_384
_LEAST_SAMPLED: Final = 4 * _SAMPLE
# How far the guess of the cleared volume may be off, as a share of each side's volume: some three standard deviations.
_DOUBT: Final = 0.02


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
    if not len(buys.prices) or not len(sells.prices):
        return _nothing(buys, sells)
    demand: Curve
    supply: Curve
    if max(total_of(buys.volumes), total_of(sells.volumes)) < _EXACT_IN_FLOATS:
        if min(len(buys.prices), len(sells.prices)) >= _LEAST_SAMPLED:
            found = _cleared_near(_guessed_crossing(buys, sells), buys, sells, rule)
            if found is not None:
                return found
        demand, supply = counted_curves(buys, sells)
    else:
        demand, supply = added_curve(buys, is_descending=True), added_curve(sells, is_descending=False)
    clearing = clear_columns(*demand, *supply, rule)
    if clearing is None:
        return _nothing(buys, sells)
    last_buy, last_sell = (prices[bisect_left(totals, clearing.volume)] for prices, totals in (demand, supply))
    bought = _fill(buys, buys.prices >= last_buy, last_buy, clearing.volume)
    sold = _fill(sells, sells.prices <= last_sell, last_sell, clearing.volume)
    return Auction(clearing, bought, sold)


def _nothing(buys: Offers, sells: Offers) -> Auction:
    return Auction(None, np.zeros_like(buys.volumes), np.zeros_like(sells.volumes))


def _guessed_crossing(buys: Offers, sells: Offers) -> tuple[int, int]:
    """Prices between which the curves of a sample of the bids say that those of all cross, with room for doubt."""
    buy_prices, demand = _sampled(buys, -1)
    sell_prices, supply = _sampled(sells, 1)
    # What would clear at each buyer's limit.
    within = np.searchsorted(sell_prices, buy_prices, side="right")
    volume = np.minimum(demand, np.concatenate(([0.0], supply))[within]).max()
    limits = [
        prices[min(int(np.searchsorted(totals, volume + doubt)), len(prices) - 1)]
        for prices, totals in ((buy_prices, demand), (sell_prices, supply))
        for doubt in (-_DOUBT * totals[-1], _DOUBT * totals[-1])
    ]
    return int(min(limits)), int(max(limits))


def _sampled(side: Offers, sign: int) -> tuple[Ticks, NDArray[np.float64]]:
    """Prices of a sample, best first, and about how much of the side's volume there is down to each."""
    step = max(len(side.prices) // _SAMPLE, 1)
    prices, volumes = side.prices[::step], side.volumes[::step]
    order = np.argsort(prices)[::sign]
    return prices[order], volumes[order].cumsum() * (len(side.prices) / len(prices))


def _cleared_near(window: tuple[int, int], buys: Offers, sells: Offers, rule: PriceRule) -> Auction | None:
    """The auction, if the curves cross between two prices; None if that is not certain.

    It is where more clears than the buys above them want, and than the sells below them offer. No price beyond can
    clear as much then, and the last accepted bid of each side lies between them: so the buys above are filled whole,
    like the sells below, the others beyond not at all, and none of these is near enough to move the interval.
    """
    low, high = window
    is_above, is_below = buys.prices > high, sells.prices < low
    bought, sold = buys.volumes * is_above, sells.volumes * is_below
    above, below = int(bought.sum()), int(sold.sum())
    buying, selling = np.flatnonzero(is_above ^ (buys.prices >= low)), np.flatnonzero(is_below ^ (sells.prices <= high))
    if not len(buying) or not len(selling):
        return None
    inner_buys, inner_sells = _taken(buys, buying), _taken(sells, selling)
    demand = sorted_curve(inner_buys, above, is_descending=True)
    supply = sorted_curve(inner_sells, below, is_descending=False)
    clearing = clear_columns(*demand, *supply, rule)
    if clearing is None or clearing.volume <= max(above, below):
        return None
    last_buy, last_sell = (prices[bisect_left(totals, clearing.volume)] for prices, totals in (demand, supply))
    bought[buying] = _fill(inner_buys, inner_buys.prices >= last_buy, last_buy, clearing.volume - above)
    sold[selling] = _fill(inner_sells, inner_sells.prices <= last_sell, last_sell, clearing.volume - below)
    return Auction(clearing, bought, sold)


def _taken(side: Offers, places: NDArray[np.intp]) -> Offers:
    priorities = places if side.priorities is None else side.priorities[places]
    return Offers(side.prices[places], side.volumes[places], priorities)


def _fill(side: Offers, is_accepted: NDArray[np.bool_], margin: int, volume: int) -> Ticks:
    """What each bid gets of `volume`: the accepted ones all, but for what those at the margin of the long side lack."""
    filled = side.volumes * is_accepted
    if lacking := total_of(filled) - volume:
        at_margin = np.flatnonzero(side.prices == margin)
        priorities = at_margin if side.priorities is None else side.priorities[at_margin]
        filled[at_margin] = _shares(side.volumes[at_margin], lacking, priorities)
    return filled


def _shares(volumes: Ticks, lacking: int, priorities: Ticks) -> Ticks:
    """Pro rata to `volumes`, all ticks of their sum but `lacking`."""
    total = total_of(volumes)
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
