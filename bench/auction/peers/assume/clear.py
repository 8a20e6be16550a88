"""The peer assume-framework: its pay-as-clear market for one product, on orders as its agents send them.

    python clear.py BOOK.npz SECONDS

Prints {"seconds", "volume", "price"}: the median time of a call, and what it cleared. Orders are made before the clock
starts. Calls go on until SECONDS are spent in them; there is one at least. It runs in an environment of its own.
"""

import json
import statistics
import sys
import time
from datetime import datetime, timedelta

import numpy as np
from assume.common.market_objects import MarketConfig, MarketProduct
from assume.markets.clearing_algorithms.simple import PayAsClearRole
from dateutil import rrule
from dateutil.relativedelta import relativedelta

START = datetime(2026, 1, 1)  # noqa: DTZ001 - its own are without a time zone
PRODUCT = (START, START + timedelta(minutes=15), None)


def order(bid_id, volume, price):
    """One bid; demand has a negative volume."""
    return {
        "bid_id": bid_id,
        "start_time": PRODUCT[0],
        "end_time": PRODUCT[1],
        "volume": volume,
        "price": price,
        "only_hours": None,
        "agent_addr": bid_id,
        "node": "node0",
    }


def orders(book):
    """All of a book, new ones: a clearing writes into them."""
    buys = zip(book["buy_prices"].tolist(), book["buy_volumes"].tolist(), strict=True)
    sells = zip(book["sell_prices"].tolist(), book["sell_volumes"].tolist(), strict=True)
    return [
        *(order(f"buy_{number}", -volume, price) for number, (price, volume) in enumerate(buys)),
        *(order(f"sell_{number}", volume, price) for number, (price, volume) in enumerate(sells)),
    ]


def main():
    """Clear, and tell."""
    book, budget_s = dict(np.load(sys.argv[1])), float(sys.argv[2])
    config = MarketConfig(
        opening_hours=rrule.rrule(rrule.DAILY, dtstart=START, until=START + timedelta(days=1)),
        market_products=[MarketProduct(relativedelta(minutes=15), 1)],
    )
    market = PayAsClearRole(config)
    times = []
    while sum(times) < budget_s:
        orderbook = orders(book)
        began = time.perf_counter()
        _accepted, _rejected, meta, _flows = market.clear(orderbook, [PRODUCT])
        times.append(time.perf_counter() - began)
    told = {"seconds": statistics.median(times), "volume": meta[0]["supply_volume"], "price": meta[0]["price"]}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
