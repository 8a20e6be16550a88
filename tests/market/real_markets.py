"""Real markets of the past as the auctions that `run.py auction` reads, with what was published of them.

`python -m tests.market.real_markets italy | python run.py auction -` clears 409 hours of the Italian market, and with
`iberia` and `--price-tick 0.001 --volume-tick 0.1 --price-rule seller` one hour of the Iberian.
"""

import gzip
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

DATA: Final = Path(__file__).parents[1] / "data" / "clearing"
# The limits of the Italian market: who takes any price bids one of them.
HIGHEST_PRICE: Final = Decimal("4000.0")
LOWEST_PRICE: Final = Decimal("-500.0")

Steps: TypeAlias = list[tuple[Decimal, Decimal]]


@dataclass(frozen=True, slots=True)
class Hour:
    """One price zone and hour: steps of (price per MWh, MWh), and what was published of it."""

    name: str
    buys: Steps
    sells: Steps
    price: Decimal
    low: Decimal
    high: Decimal
    volume: Decimal


@cache
def italy() -> list[Hour]:
    """1-15 April 2025. `low`, `high` and `volume` are what another program worked out from the same steps; the price is
    the market's own."""
    hours = []
    with gzip.open(DATA / "italy_2025-04.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            hour = json.loads(line, parse_float=Decimal)
            buys, sells = ([(price, volume) for price, volume in hour[side]] for side in ("buys", "sells"))
            # What flows over the zones' borders takes any price.
            if hour["net_export"] > 0:
                buys.append((HIGHEST_PRICE, hour["net_export"]))
            elif hour["net_export"] < 0:
                sells.append((LOWEST_PRICE, -hour["net_export"]))
            low, high = hour["ref_low"], hour["ref_high"]
            hours.append(Hour(hour["id"], buys, sells, hour["published"], low, high, hour["ref_volume"]))
    return hours


def iberia() -> list[Hour]:
    """2 January 2009, hour 1: the matched curves, out of which the market's complex conditions have already taken what
    they forbid."""
    sides: dict[str, Steps] = {"C": [], "V": []}
    lines = (DATA / "omie_2009-01-02_h1.txt").read_text("utf-8").splitlines()
    for line in lines[3:]:
        _, _, _, _, side, volume, price, state, *_ = line.split(";")
        if state == "C":
            sides[side].append((_spanish(price), _spanish(volume)))
    name = "2009-01-02T01/MI"
    return [Hour(name, sides["C"], sides["V"], Decimal("5.369"), Decimal("5.369"), Decimal("8.0"), Decimal("25312.1"))]


def _spanish(number: str) -> Decimal:
    return Decimal(number.replace(".", "").replace(",", "."))


def as_lines(hours: list[Hour]) -> Iterator[str]:
    """The command's format."""
    for hour in hours:
        sides = {
            side: [[str(price), str(volume)] for price, volume in steps]
            for side, steps in (("buys", hour.buys), ("sells", hour.sells))
        }
        yield json.dumps({"id": hour.name, **sides})


MARKETS: Final[dict[str, Callable[[], list[Hour]]]] = {"italy": italy, "iberia": iberia}


if __name__ == "__main__":
    if sys.argv[1:] not in [[name] for name in MARKETS]:
        sys.exit(f"usage: python -m tests.market.real_markets {'|'.join(MARKETS)}")
    for line in as_lines(MARKETS[sys.argv[1]]()):
        sys.stdout.write(f"{line}\n")
