"""To come."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from market.clearing import Clearing, PriceRule

Ticks: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Offers:
    """The bids of one side of one slot, as columns: limit prices and volumes in ticks (volumes above 0). `priorities`
    tells who was placed earlier (the smaller number); all different. None: the order of the columns."""

    prices: Ticks
    volumes: Ticks
    priorities: Ticks | None = None


@dataclass(frozen=True, slots=True)
class Auction:
    """What one slot's auction came to: `clearing` (None where nothing clears) and what each bid was filled, in ticks,
    in the places of its Offers."""

    clearing: Clearing | None
    bought: Ticks
    sold: Ticks


def auction(buys: Offers, sells: Offers, rule: PriceRule) -> Auction:
    """To come."""
    raise NotImplementedError
