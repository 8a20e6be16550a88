"""One slot's auction worked out a second time, for the audit: slowly, in plain integers, word by word from the rules.

What lives here: market rules, "The auction", 1 to 4. What must not: anything of clearing.py and auction.py but the
names of the price rules; what checks them must not share their mistakes.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, assert_never

from market.clearing import PriceRule


class Offer(NamedTuple):
    """A bid that stands when the gate closes: limit and volume in ticks (volume above 0). Of equal ones the smaller
    `priority` was placed earlier. `place` is how the caller finds it again."""

    place: int
    price: int
    volume: int
    priority: int


@dataclass(frozen=True, slots=True)
class WorkedOut:
    """What one slot comes to, in ticks. Where nothing clears there is no price and no interval. `fills` has each bid
    that gets something, by its place."""

    volume: int = 0
    price: int | None = None
    low: int | None = None
    high: int | None = None
    fills: dict[int, int] = field(default_factory=dict)


class _Point(NamedTuple):
    """Both curves at one price: `demand` counts limits from the price up, `wanted_more` those above it; `supply` counts
    limits up to the price, `offered_less` those below it."""

    price: int
    demand: int
    wanted_more: int
    supply: int
    offered_less: int


def work_out(buys: Sequence[Offer], sells: Sequence[Offer], rule: PriceRule) -> WorkedOut:
    """One slot's auction over all bids that stand in it, in any order."""
    points = _curves(buys, sells)
    # Between two limits neither curve grows, so the most that clears, clears at a limit (rules 1 and 2).
    volume = max((min(point.demand, point.supply) for point in points), default=0)
    if not volume:
        return WorkedOut()
    # Rule 3 in its own words: whoever is accepted (the best `volume` of each side) is within the limit, and whoever is
    # strictly in the money is accepted. Both ends of the interval are limits.
    clearing = [
        point.price
        for point in points
        if point.wanted_more <= volume <= point.demand and point.offered_less <= volume <= point.supply
    ]
    low, high = min(clearing), max(clearing)
    fills = {**_fills(buys, volume, best_is_high=True), **_fills(sells, volume, best_is_high=False)}
    return WorkedOut(volume, _price(low, high, rule), low, high, fills)


def _curves(buys: Sequence[Offer], sells: Sequence[Offer]) -> list[_Point]:
    """Demand and supply at every limit, with running totals from the lowest up."""
    bought, sold = _volumes(buys), _volumes(sells)
    demand, supply = sum(bought.values()), 0
    points = []
    for price in sorted(bought.keys() | sold.keys()):
        points.append(_Point(price, demand, demand - bought[price], supply + sold[price], supply))
        demand -= bought[price]
        supply += sold[price]
    return points


def _volumes(offers: Sequence[Offer]) -> Counter[int]:
    volumes: Counter[int] = Counter()
    for offer in offers:
        volumes[offer.price] += offer.volume
    return volumes


def _price(low: int, high: int, rule: PriceRule) -> int:
    match rule:
        case PriceRule.MIDPOINT:
            # Rounds towards minus infinity, as the rule says.
            return (low + high) // 2
        case PriceRule.SELLER:
            return low
        case PriceRule.BUYER:
            return high
    assert_never(rule)


def _fills(offers: Sequence[Offer], volume: int, *, best_is_high: bool) -> dict[int, int]:
    """Rule 4 for one side: whole from the best limit on, until a limit's bids have to share what is left."""
    at_price: defaultdict[int, list[Offer]] = defaultdict(list)
    for offer in offers:
        at_price[offer.price].append(offer)
    fills: dict[int, int] = {}
    left = volume
    for price in sorted(at_price, reverse=best_is_high):
        marginal = at_price[price]
        total = sum(offer.volume for offer in marginal)
        if total > left:
            fills.update(_shares(marginal, total, left))
            break
        fills.update((offer.place, offer.volume) for offer in marginal)
        left -= total
    return fills


def _shares(offers: Sequence[Offer], total: int, left: int) -> dict[int, int]:
    """`left` ticks over bids of `total`, pro rata: the floor of each share, then one tick each by the largest remainder
    and, of equal ones, by earlier placement. Bids that get nothing are left out."""
    shares = {}
    remainders = []
    for offer in offers:
        share, remainder = divmod(offer.volume * left, total)
        shares[offer.place] = share
        remainders.append((-remainder, offer.priority, offer.place))
    left_over = left - sum(shares.values())
    for _, _, place in sorted(remainders)[:left_over]:
        shares[place] += 1
    return {place: share for place, share in shares.items() if share}
