"""The books of one slot that every contender clears: the same ones in every run.

What lives here: making them, what has to come out, and the file that peers read. What must not: clearing that is timed.

Prices stand on steps, as they do where people choose them: must-run sellers at the floor, buyers at any price at the
cap, the others in groups, every second one of them at a round price. Buyers' prices are even ticks and sellers' odd
ones: the `intersect_stepwise` of pymarket passes over a crossing where two limits are equal. And the last seller is
filled in part: then there is one price and no interval, so that nobody's rule for the price inside it matters.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from market.auction import Offers, Ticks
from market.clearing import Clearing, PriceRule, clear_levels

_FLOOR, _CAP = 1, 1_000_000
# Of each group of a side: its share, and mean and spread of its prices (ticks of 0.01 INR/kWh).
_SELLERS = ((0.15, _FLOOR, 0), (0.35, 240, 60), (0.35, 450, 120), (0.15, 800, 150))
_BUYERS = ((0.15, _CAP, 0), (0.30, 700, 150), (0.40, 480, 120), (0.15, 250, 80))
_ROUND = 25
_USUAL_VOLUME, _MOST_VOLUME = 2_400, 20_000


@dataclass(frozen=True, slots=True)
class Book:
    """Half of the bids on each side, and what an auction of them comes to."""

    buys: Offers
    sells: Offers
    clearing: Clearing

    @property
    def count(self) -> int:
        """How many bids there are."""
        return len(self.buys.prices) + len(self.sells.prices)

    def write(self, file: Path) -> None:
        """As peers read it: four arrays of whole ticks, each under its name."""
        with file.open("wb") as output:
            np.savez(
                output,
                buy_prices=self.buys.prices,
                buy_volumes=self.buys.volumes,
                sell_prices=self.sells.prices,
                sell_volumes=self.sells.volumes,
            )


def make_book(count: int) -> Book:
    """A book of `count` bids."""
    for attempt in itertools.count():
        chance = np.random.default_rng(count)
        # A little more demand each time, until the curves meet where they should.
        buys = _offers(chance, count // 2, _BUYERS, _USUAL_VOLUME * (1 + attempt / 100), odd=0)
        sells = _offers(chance, count // 2, _SELLERS, _USUAL_VOLUME, odd=1)
        clearing = clear_levels(_levels(buys), _levels(sells), PriceRule.MIDPOINT)
        if clearing is not None and clearing.lo == clearing.hi and clearing.lo % 2:
            return Book(buys, sells, clearing)
    raise AssertionError("there is no end of attempts")


def _offers(
    chance: np.random.Generator,
    count: int,
    groups: tuple[tuple[float, int, int], ...],
    usual_volume: float,
    *,
    odd: int,
) -> Offers:
    shares, means, spreads = (np.array(column) for column in zip(*groups, strict=True))
    members = chance.choice(len(groups), size=count, p=shares)
    prices = np.rint(chance.normal(means[members], spreads[members])).astype(np.int64)
    # Those at the floor and the cap stay there.
    is_round = (chance.random(count) < 0.5) & (spreads[members] > 0)
    prices = np.where(is_round, np.rint(prices / _ROUND).astype(np.int64) * _ROUND, prices)
    # Whole ticks; few are large.
    volumes = np.minimum(chance.gamma(2.0, usual_volume / 2, count).astype(np.int64) + 1, _MOST_VOLUME)
    return Offers(np.clip(prices, _FLOOR, _CAP) // 2 * 2 + odd, volumes)


def _levels(offers: Offers) -> list[tuple[int, int]]:
    prices, places = np.unique(offers.prices, return_inverse=True)
    volumes: Ticks = np.zeros(len(prices), dtype=np.int64)
    np.add.at(volumes, places, offers.volumes)
    return list(zip(prices.tolist(), volumes.tolist(), strict=True))
