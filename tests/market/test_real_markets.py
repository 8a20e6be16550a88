"""Markets that were cleared by others: what they published must come out, of the function and of the command."""

import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from market.auction import Offers, auction
from market.clearing import PriceRule
from market.ticks import Tick
from tests.drills.server import PROJECT, environment
from tests.market.real_markets import Hour, Steps, as_lines, iberia, italy

Answer = dict[str, Any]
# Clears hours with a price tick, a volume tick and a price rule; answers as the command prints them.
Clear = Callable[[list[Hour], str, str, PriceRule], list[Answer]]


def by_function(hours: list[Hour], price_tick: str, volume_tick: str, rule: PriceRule) -> list[Answer]:
    price, volume = Tick(Decimal(price_tick)), Tick(Decimal(volume_tick))

    def offers(steps: Steps) -> Offers:
        columns = [(price.parse(limit), volume.parse(size)) for limit, size in steps]
        return Offers(*np.array(columns, np.int64).T.copy())

    answers = []
    for hour in hours:
        result = auction(offers(hour.buys), offers(hour.sells), rule)
        assert result.clearing is not None
        answers.append(
            {
                "id": hour.name,
                "price": price.format(result.clearing.price),
                "low": price.format(result.clearing.lo),
                "high": price.format(result.clearing.hi),
                "volume": volume.format(result.clearing.volume),
                "buys": [volume.format(ticks) for ticks in result.bought.tolist()],
                "sells": [volume.format(ticks) for ticks in result.sold.tolist()],
            }
        )
    return answers


def by_command(hours: list[Hour], price_tick: str, volume_tick: str, rule: PriceRule) -> list[Answer]:
    options = ("--price-tick", price_tick, "--volume-tick", volume_tick, "--price-rule", rule)
    lines = "".join(f"{line}\n" for line in as_lines(hours))
    done = subprocess.run(
        [sys.executable, PROJECT / "run.py", "auction", "-", *options],
        input=lines.encode(),
        env=environment(),
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]


both_ways = pytest.mark.parametrize("clear", [by_function, by_command])


def assert_shared_out(hour: Hour, answer: Answer) -> None:
    """Who is in the money has all, who is out of it nothing, and both sides as much as clears."""
    price, volume = Decimal(answer["price"]), Decimal(answer["volume"])
    for steps, sign, filled in ((hour.buys, 1, answer["buys"]), (hour.sells, -1, answer["sells"])):
        assert sum(map(Decimal, filled)) == volume
        for (limit, size), text in zip(steps, filled, strict=True):
            gain = sign * (limit - price)
            assert Decimal(text) == size if gain > 0 else Decimal(text) == 0 if gain < 0 else 0 <= Decimal(text) <= size


@both_ways
def test_the_published_prices_of_italy_lie_in_the_interval_and_are_exact_where_it_is_one_price(clear: Clear) -> None:
    hours = italy()
    answers = clear(hours, "0.01", "0.001", PriceRule.MIDPOINT)
    assert [answer["id"] for answer in answers] == [hour.name for hour in hours]
    inside, single, exact = 0, 0, 0
    for hour, answer in zip(hours, answers, strict=True):
        low, high = Decimal(answer["low"]), Decimal(answer["high"])
        assert (low, high, Decimal(answer["volume"])) == (hour.low, hour.high, hour.volume)
        assert_shared_out(hour, answer)
        inside += low <= hour.price <= high
        single += low == high
        exact += low == high == hour.price == Decimal(answer["price"])
    assert (inside, single, exact) == (409, 341, 341)


@both_ways
@pytest.mark.parametrize(
    ("rule", "price"), [(PriceRule.SELLER, "5.369"), (PriceRule.BUYER, "8.000"), (PriceRule.MIDPOINT, "6.684")]
)
def test_the_iberian_hour_clears_as_published_under_the_sellers_rule(clear: Clear, rule: PriceRule, price: str) -> None:
    [hour] = iberia()
    [answer] = clear([hour], "0.001", "0.1", rule)
    assert {name: answer[name] for name in ("price", "low", "high", "volume")} == {
        "price": price,
        "low": "5.369",
        "high": "8.000",
        "volume": "25312.1",
    }
    assert (hour.low, hour.high, hour.volume) == (Decimal("5.369"), Decimal("8.0"), Decimal("25312.1"))
    if rule == PriceRule.SELLER:
        assert Decimal(answer["price"]) == hour.price
    assert_shared_out(hour, answer)


def test_function_and_command_fill_every_step_alike() -> None:
    hours = italy()[::20]
    for rule in PriceRule:
        assert by_function(hours, "0.01", "0.001", rule) == by_command(hours, "0.01", "0.001", rule)


def test_a_stranger_can_pipe_a_market_into_the_command() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "tests.market.real_markets", "iberia"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert printed.stdout.splitlines() == list(as_lines(iberia()))
    usage = subprocess.run(
        [sys.executable, "-m", "tests.market.real_markets", "atlantis"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (usage.returncode, usage.stdout) == (1, "")
    assert usage.stderr == "usage: python -m tests.market.real_markets italy|iberia\n"
