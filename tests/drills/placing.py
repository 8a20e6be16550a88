"""The placing drill: households place bids while the server is killed, and every acknowledged bid is counted after.

    python -m tests.drills.placing --bids 100000 --kills 10 --seed 1

What lives here: the load, the kills, and the checks, all through the public API. What must not: a look into the
database.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from market.bid_ids import split_bid_id
from tests.drills.households import Household, get_book, levels_of, list_bids, sign_up
from tests.drills.killing import kill_one
from tests.drills.server import DrillServer

_SIZES = (1, 1, 1, 1, 2, 4, 24, 96)
_RETRY_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is placed by how many, how often what is killed, and the seed of all choices."""

    bids: int
    kills: int
    households: int = 32
    workers: int = 1
    seed: int = 1


@dataclass(slots=True)
class Tally:
    """What clients were told. Placements with a key are repeated until they get a 200; those without are sent once."""

    acknowledged: dict[int, dict[str, Any]] = field(default_factory=dict)
    requests: int = 0
    retries: int = 0
    repeated_answers: int = 0
    unanswered: list[int] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)


async def run(plan: Plan, directory: Path) -> Tally:
    """Run the drill; AssertionError tells what was lost, doubled or torn."""
    chance = random.Random(plan.seed)
    server = DrillServer(directory / "data", workers=plan.workers)
    tally = Tally()
    # Well ahead, so that no midnight closes the gate in the middle.
    day = (date.today() + timedelta(days=4)).isoformat()  # noqa: DTZ011 - any day ahead will do
    await server.start()
    try:
        async with aiohttp.ClientSession(
            server.url, timeout=aiohttp.ClientTimeout(total=20), connector=aiohttp.TCPConnector(limit=0)
        ) as session:
            households = [await sign_up(session, number) for number in range(plan.households)]
            left = [plan.bids]
            clients = [
                asyncio.create_task(
                    _place_until_done(session, household, day, left, random.Random(chance.random()), tally)
                )
                for household in households
            ]
            await _kill_along(server, plan, left, chance, tally, clients)
            await asyncio.gather(*clients)
            await _check(session, households, day, tally)
    finally:
        await server.stop()
    return tally


async def _place_until_done(
    session: aiohttp.ClientSession,
    household: Household,
    day: str,
    left: list[int],
    chance: random.Random,
    tally: Tally,
) -> None:
    """Place bids until none are left of the drill's. Most placements have a key and are repeated until a 200."""
    while left[0] > 0:
        size = min(chance.choice(_SIZES), left[0])
        left[0] -= size
        arr = [
            {
                "timeslot": chance.randint(1, 96),
                "volume": f"{chance.randint(1, 9999) / 1000:.3f}",
                "price": f"{chance.randint(300, 700) / 100:.2f}",
            }
            for _ in range(size)
        ]
        has_key = chance.random() < 0.9
        headers = dict(household.headers)
        if has_key:
            headers["Idempotency-Key"] = f"{chance.getrandbits(96):x}"
        tally.requests += 1
        body = await _place(session, headers, {"arr": arr, "deliveryDate": day}, has_key, tally)
        if body is None:
            tally.unanswered.append(size)
            continue
        assert [(b["volume"], b["price"]) for b in body["bids"]] == [(b["volume"], b["price"]) for b in arr], body
        for bid in body["bids"]:
            assert bid["id"] not in tally.acknowledged, f"bid {bid['id']} was acknowledged twice"
            tally.acknowledged[bid["id"]] = bid
        # Now and then a client that got its answer asks again all the same, and must get the same one.
        if has_key and chance.random() < 0.05:
            again = await _place(session, headers, {"arr": arr, "deliveryDate": day}, True, tally)
            assert again == body, (again, body)
            tally.repeated_answers += 1


async def _place(
    session: aiohttp.ClientSession, headers: dict[str, str], json: dict[str, Any], has_key: bool, tally: Tally
) -> dict[str, Any] | None:
    while True:
        try:
            async with session.post("/placebid/dayahead", json=json, headers=headers) as response:
                body: dict[str, Any] = await response.json()
                if response.status == 200:
                    return body
                # The document's own text, and when to come back: nothing else may happen in this drill.
                assert (response.status, body) == (500, {"message": "Error placing bid"}), (response.status, body)
                assert int(response.headers["Retry-After"]) >= 1
        except (aiohttp.ClientError, TimeoutError):
            pass
        if not has_key:
            return None
        tally.retries += 1
        await asyncio.sleep(_RETRY_PAUSE_S)


async def _kill_along(
    server: DrillServer,
    plan: Plan,
    left: list[int],
    chance: random.Random,
    tally: Tally,
    clients: list[asyncio.Task[None]],
) -> None:
    """Kill at moments spread at random over the whole load: everything, or one of its processes."""
    moments = sorted((chance.randint(1, plan.bids - 1) for _ in range(plan.kills)), reverse=True)
    for moment in moments:
        # Polled: the load must not know that it is watched.
        while left[0] > moment and not all(client.done() for client in clients):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await asyncio.sleep(chance.random() * 0.05)
        tally.kills[await kill_one(server, chance)] += 1


async def _check(session: aiohttp.ClientSession, households: list[Household], day: str, tally: Tally) -> None:
    """Every acknowledged bid once and as acknowledged; the rest whole or absent; seq 1..n; the book their sum."""
    found: dict[int, dict[str, Any]] = {}
    for household in households:
        for bid in await list_bids(session, household, day):
            assert bid["id"] not in found, f"bid {bid['id']} is listed twice"
            assert bid["side"] == household.side, bid
            found[bid["id"]] = bid
    lost = tally.acknowledged.keys() - found.keys()
    assert not lost, f"{len(lost)} acknowledged bids are lost"
    changed = [bid for number, bid in tally.acknowledged.items() if found[number] != bid]
    assert not changed, f"{len(changed)} bids are not as they were acknowledged, the first: {changed[0]}"
    extra = len(found) - len(tally.acknowledged)
    assert _is_sum_of_some(extra, tally.unanswered), f"{extra} bids stand that nobody placed whole"

    book = await get_book(session, households[0], day)
    seqs = sorted(named[1] for number in found if (named := split_bid_id(number)))
    assert seqs == list(range(1, len(found) + 1)), "the sequence has a gap or a repeat"
    assert book["seq"] == len(found), f"the book stands at {book['seq']} with {len(found)} bids"
    levels = {tuple(level[:3]): tuple(level[3:]) for level in book["lv"]}
    assert levels_of(found.values()) == levels, "the book is not the sum of its bids"


def _is_sum_of_some(total: int, parts: list[int]) -> bool:
    """Whether some of the placements that nobody answered, each whole, make up the total."""
    sums = {0}
    for part in parts:
        sums |= {reached + part for reached in sums if reached + part <= total}
    return total in sums


def main() -> None:
    """Run a drill from the command line and print its counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bids", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    plan = Plan(given.bids, given.kills, workers=given.workers, seed=given.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shakti-drill-") as directory:
        tally = asyncio.run(run(plan, Path(directory)))
    sys.stdout.write(
        f"{len(tally.acknowledged)} bids acknowledged in {tally.requests} placements, {tally.retries} retries, "
        f"{tally.repeated_answers} answers repeated, {len(tally.unanswered)} placements without a key unanswered; "
        f"kills: {dict(tally.kills)}; lost 0, doubled 0, seq without a gap, book equals bids; "
        f"{time.monotonic() - began:.0f} s\n"
    )


if __name__ == "__main__":
    main()
