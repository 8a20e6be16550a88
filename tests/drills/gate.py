"""The gate drill: a gate closes while bids pour in and the server is killed, and the auction that follows is compared
with everything that households were told.

    python -m tests.drills.gate --seconds-to-gate 120 --kills 9 --workers 2 --seed 1

What lives here: the plan, the kills around the gate, and what is asked when it is over. What must not: the bids
(gate_bidding.py), the rules that must hold (gate_checks.py), or a look into the database.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import aiohttp

from tests.drills.gate_bidding import Bidder, Session, gate_ahead, race_the_gate
from tests.drills.gate_checks import Account, Ended, faults_of, faults_of_feed, ticks
from tests.drills.households import get_book, get_results, list_bids, list_trades, sign_up
from tests.drills.killing import is_clearing, strike
from tests.drills.server import DrillServer
from tests.feed_book import OwnMessages
from tests.feed_client import FeedClient, Wanted

_ENVIRONMENT = {
    # All subscribers come from one address, and come back at once.
    "SHAKTI_FEED_MESSAGES_PER_S": "1000",
    "SHAKTI_FEED_MESSAGE_BURST": "1000",
    "SHAKTI_MARKET_MAX_OPEN_BIDS": "1000000",
}
_CLOSURE = "SHAKTI_MARKET_GATE_CLOSURE"
_RESULTS_WITHIN_S = 60.0
# What a server must not log, however often it is killed: faults of its own.
_FAULTS_IN_LOG = ("closing a gate failed", "clearing a day failed")


@dataclass(frozen=True, slots=True)
class Plan:
    """How far ahead the gate is when all begin to bid, or a little more; how often what is killed around it, how many
    placements race it, for how long bidding goes on after it, and the seed of all choices."""

    seconds_to_gate: float
    kills: int
    workers: int = 1
    seed: int = 1
    households: int = 16
    race: int = 1000
    after_s: float = 5.0


@dataclass(slots=True)
class Report:
    """What happened; `faults` is empty if all went well."""

    bids: int = 0
    cleared: int = 0
    events: int = 0
    clearing_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    of_clients: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = self.counts
        return (
            f"{counts['acknowledged']} requests acknowledged, {counts['refused']} refused at the gate, "
            f"{counts['unanswered']} without a key unanswered, {counts['retries']} retries, {counts['asked again']} "
            f"asked again; kills: {dict(self.kills)}, "
            f"{dict(self.moments)}; {self.bids} bids and {self.events} events, cleared {self.cleared / 1000:.3f} kWh "
            f"{self.clearing_s:.2f} s after the gate; resumes recovered {self.of_clients['recovered']}, not recovered "
            f"{self.of_clients['not recovered']}; faults found: {len(self.faults)}"
        )


async def run(plan: Plan, directory: Path) -> Report:
    """Run the drill; the report's faults tell what was lost, doubled, torn or wrong."""
    chance = random.Random(plan.seed)
    report = Report()
    server = DrillServer(directory / "data", workers=plan.workers, environ=_ENVIRONMENT)
    # A fresh database takes its time, and sign-ups too: for that long no gate is near.
    server.set({_CLOSURE: gate_ahead(12 * 3600)[0]})
    began = time.monotonic()
    await server.start()
    startup_s = time.monotonic() - began
    try:
        async with contextlib.AsyncExitStack() as stack:
            connector = aiohttp.TCPConnector(limit=0)
            client = await stack.enter_async_context(
                aiohttp.ClientSession(server.url, timeout=aiohttp.ClientTimeout(total=20), connector=connector)
            )
            # What lives long has no time limit as a whole.
            feed = await stack.enter_async_context(
                aiohttp.ClientSession(server.url, timeout=aiohttp.ClientTimeout(total=None))
            )
            households = [await sign_up(client, number) for number in range(plan.households)]
            await server.stop()
            # Another start takes no longer than one with a fresh database.
            closure, session = gate_ahead(plan.seconds_to_gate + startup_s)
            server.set({_CLOSURE: closure})
            await server.start()
            assert time.time() < session.gate_s - 1, "this machine is too slow for a gate so near"
            bidders = [Bidder(household, session, random.Random(chance.random())) for household in households]
            watching = _watchers(feed, bidders, session.day)
            for watcher in watching:
                stack.push_async_callback(watcher.close)
                await watcher.start()
            struck: list[float] = []
            ends = asyncio.Event()
            async with asyncio.TaskGroup() as work:
                for bidder in bidders:
                    work.create_task(bidder.bid_until(client, ends))
                work.create_task(race_the_gate(client, bidders, plan.race))
                cleared = work.create_task(_wait_until_cleared(server, client, bidders[0]))
                await _kill_around(server, plan, session, cleared, chance, report, struck)
                await cleared
                await server.wait_until_ready()
                await asyncio.sleep(session.gate_s + plan.after_s - time.time())
                ends.set()
            await _compare(server, client, bidders, watching, report)
            _place_in_time(report, session, struck)
    finally:
        await server.stop()
    return report


def _watchers(feed: aiohttp.ClientSession, bidders: list[Bidder], day: str) -> list[FeedClient]:
    """One of the whole book and one of some slots; the first two households with their own data beside the book."""
    channel = f"book:{day}"
    return [
        FeedClient(feed, bidders[-1].household.token, Wanted(channel)),
        FeedClient(feed, bidders[-1].household.token, Wanted(channel, 1000, (1, 41, 96))),
        *(FeedClient(feed, bidder.household.token, Wanted(channel), with_own=True) for bidder in bidders[:2]),
    ]


async def _kill_around(
    server: DrillServer,
    plan: Plan,
    session: Session,
    cleared: asyncio.Task[None],
    chance: random.Random,
    report: Report,
    struck: list[float],
) -> None:
    """kill -9 before the gate, at it and while the day is cleared, a third of the kills each. Nobody waits until the
    server is ready again: it may be struck while it starts, or be down when its gate closes."""
    early, late = plan.kills // 3, (plan.kills + 1) // 3
    before = [session.gate_s - chance.uniform(0.5, min(plan.seconds_to_gate / 2, 20.0)) for _ in range(early)]
    at = [session.gate_s + chance.uniform(-0.3, 0.3) for _ in range(plan.kills - early - late)]
    for number, moment in enumerate([*sorted([*before, *at]), *[None] * late]):
        if moment is None:
            while not is_clearing(server) and not cleared.done():  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.005)
            await asyncio.sleep(chance.uniform(0.0, 0.1))
        else:
            await asyncio.sleep(moment - time.time())
        # The first takes everything, so that every drill has that.
        victim = chance.choices(("all", "worker", "postgres"), weights=(2, 1, 1))[0] if number else "all"
        report.moments["while it is cleared"] += is_clearing(server)
        struck.append(time.time())
        report.kills[await strike(server, victim)] += 1


async def _wait_until_cleared(server: DrillServer, client: aiohttp.ClientSession, bidder: Bidder) -> None:
    """Return when the day has results. A server that was just killed says nothing."""
    url = f"/results/dayahead?deliveryDate={bidder.session.day}"
    await asyncio.sleep(bidder.session.gate_s - time.time())
    try:
        async with asyncio.timeout(_RESULTS_WITHIN_S):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.get(url, headers=bidder.household.headers) as response:
                        assert response.status in (200, 404, 500, 503), await response.text()
                        if response.status == 200:
                            return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"no results {_RESULTS_WITHIN_S} s after the gate:\n{server.log[-4000:]}") from None


async def _look(client: aiohttp.ClientSession, bidders: list[Bidder]) -> Ended:
    """All that the API shows of the day."""
    day = bidders[0].session.day
    results = await get_results(client, bidders[0].household, day)
    assert results is not None, "results that were there are gone"
    accounts = [
        Account(
            await list_bids(client, bidder.household, day),
            *await list_trades(client, bidder.household, day),
        )
        for bidder in bidders
    ]
    return Ended(results, await get_book(client, bidders[0].household, day), accounts)


async def _compare(
    server: DrillServer,
    client: aiohttp.ClientSession,
    bidders: list[Bidder],
    watching: list[FeedClient],
    report: Report,
) -> None:
    """Hold everything that can be seen against everything that was told, by the rules; then clear again, and audit."""
    session = bidders[0].session
    ended = await _look(client, bidders)
    report.bids, report.events = sum(len(account.bids) for account in ended.accounts), ended.results["seq"]
    report.cleared = ticks(ended.results["totals"]["clearedVolume"])
    report.clearing_s = datetime.fromisoformat(ended.results["clearedAt"]).timestamp() - session.gate_s
    for bidder in bidders:
        await bidder.ask_again(client)
        report.counts += bidder.counts
    report.faults += faults_of(ended, bidders, session.day)
    for number, watcher in enumerate(watching):
        try:
            await watcher.reach(ended.results["seq"])
            if watcher.own is not None:
                await watcher.until(partial(_has_trades, watcher.own))
        except AssertionError as late:
            report.faults.append(f"subscriber {number}: {late}")
        report.of_clients += watcher.counts
    report.faults += faults_of_feed(ended, watching)
    report.faults += await _faults_of_next_day(client, bidders)
    for command in ("clear", "audit"):
        said = await server.command(command, "--date", session.day)
        if said.code != 0:
            report.faults.append(f"run.py {command} ended with {said.code}: {said.out} {said.err}")
    if await _look(client, bidders) != ended:
        report.faults.append("clearing the day again changed what it shows")
    report.faults += [f"the log says {text!r}" for text in _FAULTS_IN_LOG if text in server.log]


async def _faults_of_next_day(client: aiohttp.ClientSession, bidders: list[Bidder]) -> list[str]:
    """Bids that came too late for the day and did not name it are in the next, which is open."""
    faults = []
    next_day = bidders[0].session.next_day
    if await get_results(client, bidders[0].household, next_day) is not None:
        faults.append(f"there are results of {next_day}")
    for bidder in bidders:
        listed = {bid["id"]: bid for bid in await list_bids(client, bidder.household, next_day)}
        wrong = [
            bid
            for number, bid in bidder.acknowledged.items()
            if bid["deliveryDate"] == next_day and listed.get(number) != bid
        ]
        if wrong:
            faults.append(f"{len(wrong)} bids of {next_day} are not as they were acknowledged, the first: {wrong[0]}")
    return faults


def _has_trades(own: OwnMessages) -> bool:
    return any(message["kind"] == "trade" for message in own.messages)


def _place_in_time(report: Report, session: Session, struck: list[float]) -> None:
    """When the kills were, now that it is known when the day was cleared."""
    for moment in struck:
        ahead = moment - session.gate_s
        when = "before the gate" if ahead < 0 else "before the results" if ahead < report.clearing_s else "after them"
        report.moments[when] += 1


def main() -> int:
    """Run a drill from the command line and print its counts, and what it found wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds-to-gate", type=float, default=120.0)
    parser.add_argument("--kills", type=int, default=9)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--households", type=int, default=16)
    given = parser.parse_args()
    plan = Plan(given.seconds_to_gate, given.kills, given.workers, given.seed, given.households)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shakti-drill-") as directory:
        report = asyncio.run(run(plan, Path(directory)))
    sys.stdout.write(f"{report}; {time.monotonic() - began:.0f} s\n")
    sys.stdout.writelines(f"FAULT: {fault}\n" for fault in report.faults[:50])
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
