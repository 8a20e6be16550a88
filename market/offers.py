"""The bids of one side of one slot as columns.

What lives here: their shape. What must not: what any auction makes of them.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ticks: TypeAlias = NDArray[np.int64]
_INT64_MAX: Final = np.iinfo(np.int64).max


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


def total_of(volumes: Ticks) -> int:
    """Their sum, whatever its size."""
    if not len(volumes) or int(volumes.max()) * len(volumes) <= _INT64_MAX:
        return int(volumes.sum())
    return sum(volumes.tolist())
