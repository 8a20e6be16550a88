"""The peer pymarket: both curves of its bids, and where they meet.

    python clear.py BOOK.npz SECONDS

Prints {"seconds", "volume", "price"}: the median time of a call, and what it cleared. Its table of bids is made before
the clock starts. Calls go on until SECONDS are spent in them; there is one at least. It runs in an environment of its
own.
"""

import json
import statistics
import sys
import time

import numpy as np
from pymarket import BidManager
from pymarket.bids.demand_curves import demand_curve_from_bids, intersect_stepwise, supply_curve_from_bids


def table(book):
    """All of a book."""
    bids = BidManager()
    for side in ("buy", "sell"):
        for price, volume in zip(book[f"{side}_prices"].tolist(), book[f"{side}_volumes"].tolist(), strict=True):
            bids.add_bid(volume, price, bids.n_bids, side == "buy")
    return bids.get_df()


def main():
    """Clear, and tell."""
    bids, budget_s = table(dict(np.load(sys.argv[1]))), float(sys.argv[2])
    times = []
    while sum(times) < budget_s:
        began = time.perf_counter()
        demand, _buyers = demand_curve_from_bids(bids)
        supply, _sellers = supply_curve_from_bids(bids)
        volume, _buyer, _seller, price = intersect_stepwise(demand, supply)
        times.append(time.perf_counter() - began)
    told = {"seconds": statistics.median(times), "volume": float(volume or 0), "price": float(price)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
