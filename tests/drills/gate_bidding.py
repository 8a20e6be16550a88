"""Households that bid before and after a gate, whatever becomes of the server, and remember what they were told.

What lives here: their requests, and what each answer means at its time. What must not: who kills, or what the auction
made of the bids (gate_checks.py).
"""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import aiohttp

from market.bid_ids import split_bid_id
from market.calendar import ZONE, Calendar, parse_gate_closure
from tests.drills.households import Household

_SIZES = (1, 1, 1, 2, 4, 24, 96)
_PRICES = (380, 420)
_RETRY_PAUSE_S = 0.05
# A thousand that race the gate would keep a server that starts from its work.
_LONGEST_RETRY_PAUSE_S = 0.8
# Between two requests of a household, at most: many households share two cores with the server.
_LONGEST_PAUSE_S = 0.04
# Answers that each household asks for once more when all is over.
_KEPT = 20


@dataclass(frozen=True, slots=True)
class Session:
    """The delivery day whose gate closes, the one after it, and when (seconds since 1970; one machine, one clock)."""

    day: str
    next_day: str
    gate_s: float


def gate_ahead(seconds: float) -> tuple[str, Session]:
    """A gate that many seconds ahead, or up to one more: its setting, and the day that it closes. At any time of the
    day: past midnight in India it is the day after tomorrow's."""
    now = datetime.now(ZONE)
    at = (now + timedelta(seconds=seconds + 1)).replace(microsecond=0)
    closure = "24:00" if at.time() == datetime.min.time() else f"{at:%H:%M:%S}"
    calendar = Calendar(parse_gate_closure(closure))
    day = calendar.open_day(now)
    assert calendar.gate_at(day) == at, (now, at, day)
    return closure, Session(day.isoformat(), (day + timedelta(days=1)).isoformat(), at.timestamp())


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with its key (None: without one), as it may be repeated."""

    method: str
    url: str
    body: dict[str, Any] | None
    key: str | None


class Told(NamedTuple):
    """An answer that is final: 200 or 409, when it was first asked for, and when it came."""

    status: int
    body: dict[str, Any]
    begun_s: float
    came_s: float


@dataclass(slots=True)
class Bidder:
    """A household, and what it was told. `acknowledged` holds each bid as the last 200 about it showed it; `seqs` the
    numbers of all acknowledged events by day; `unanswered` the placements without a key that nobody answered."""

    household: Household
    session: Session
    chance: random.Random
    acknowledged: dict[int, dict[str, Any]] = field(default_factory=dict)
    seqs: dict[str, list[int]] = field(default_factory=dict)
    unanswered: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    kept: list[tuple[Asked, Told]] = field(default_factory=list)
    _open: list[int] = field(default_factory=list)

    async def bid_until(self, client: aiohttp.ClientSession, ends: asyncio.Event) -> None:
        """Place, change and withdraw at random until `ends` is set; every request that has a key gets its answer."""
        while not ends.is_set():
            what = self.chance.random()
            if what < 0.6 or not self._open:
                await self.place(client, is_pinned=self.chance.random() < 0.7)
            else:
                await self._revise(client, is_change=what < 0.85)
            await asyncio.sleep(self.chance.random() * _LONGEST_PAUSE_S)

    async def place(self, client: aiohttp.ClientSession, *, is_pinned: bool, size: int | None = None) -> None:
        """One placement, for the day or for whichever is open; nine in ten have a key."""
        body: dict[str, Any] = {"arr": [self._bid() for _ in range(size or self.chance.choice(_SIZES))]}
        if is_pinned:
            body["deliveryDate"] = self.session.day
        asked = Asked("POST", "/placebid/dayahead", body, self._key() if self.chance.random() < 0.9 else None)
        told = await self._ask(client, asked)
        if told is None:
            self.unanswered.append(body)
            self.counts["unanswered"] += 1
        elif self._is_acknowledged(asked, told, told.body.get("deliveryDate", self.session.day)):
            for bid in told.body["bids"]:
                if bid["id"] in self.acknowledged:
                    self.faults.append(f"bid {bid['id']} was acknowledged twice")
                self._learn(bid, _seq_of(bid))
                if bid["deliveryDate"] == self.session.day:
                    self._open.append(bid["id"])

    async def ask_again(self, client: aiohttp.ClientSession) -> None:
        """Repeat some requests under their keys when all is over: the answers must be the first ones."""
        for asked, told in self.kept:
            again = await self._ask(client, asked)
            if again is None or (again.status, again.body) != (told.status, told.body):
                self.faults.append(f"{asked.method} {asked.url} was answered {told}, and {again} when asked again")
            self.counts["asked again"] += 1

    async def _revise(self, client: aiohttp.ClientSession, *, is_change: bool) -> None:
        """Change or withdraw an open bid of the day."""
        place = self.chance.randrange(len(self._open))
        number = self._open[place]
        body: dict[str, Any] | None = None
        if is_change:
            body = self.chance.choice(({"price": self._price()}, {"volume": self._volume()}))
        asked = Asked("PATCH" if is_change else "DELETE", f"/bids/dayahead/{number}", body, self._key())
        told = await self._ask(client, asked)
        if told is None or not self._is_acknowledged(asked, told, self.session.day):
            return
        self._learn(told.body["bid"], told.body["seq"])
        if not is_change:
            self._open.remove(number)

    def _learn(self, bid: dict[str, Any], seq: int) -> None:
        self.acknowledged[bid["id"]] = bid
        self.seqs.setdefault(bid["deliveryDate"], []).append(seq)

    def _is_acknowledged(self, asked: Asked, told: Told, day: str) -> bool:
        """Whether a final answer is a 200. One that comes too early or too late for its status is a fault."""
        gate_s, name = self.session.gate_s, f"{asked.method} {asked.url} for {day}"
        is_pinned = asked.method != "POST" or (asked.body is not None and "deliveryDate" in asked.body)
        if told.status == 409:
            self.counts["refused"] += 1
            if told.came_s < gate_s or not is_pinned:
                self.faults.append(f"{name} was refused {told.came_s - gate_s:+.3f} s from the gate: {told.body}")
        else:
            self.counts["acknowledged"] += 1
            if day == self.session.day and told.begun_s >= gate_s:
                self.faults.append(f"{name} was accepted; it began {told.begun_s - gate_s:.3f} s after the gate")
            if day != self.session.day and (is_pinned or told.came_s < gate_s):
                self.faults.append(f"{name} was accepted {told.came_s - gate_s:+.3f} s from the gate of the day before")
        if asked.key is not None:
            self.kept.append((asked, told))
            if len(self.kept) > _KEPT:
                self.kept.pop(self.chance.randrange(len(self.kept)))
        return told.status == 200

    async def _ask(self, client: aiohttp.ClientSession, asked: Asked) -> Told | None:
        """A request, repeated until its answer is final if it has a key. None: nobody knows what became of it."""
        headers = dict(self.household.headers)
        if asked.key is not None:
            headers["Idempotency-Key"] = asked.key
        begun_s, pause_s = time.time(), _RETRY_PAUSE_S
        while True:
            try:
                async with client.request(asked.method, asked.url, json=asked.body, headers=headers) as response:
                    body: dict[str, Any] = await response.json()
                    if response.status in (200, 409):
                        return Told(response.status, body, begun_s, time.time())
                    # An outage, in the words of the endpoint's family: nothing else may happen in a drill.
                    is_outage = response.status == (500 if asked.method == "POST" else 503)
                    if not is_outage or int(response.headers.get("Retry-After", "0")) < 1:
                        self.faults.append(f"{asked.method} {asked.url}: {response.status} {body}")
                        return None
            except (aiohttp.ClientError, TimeoutError):
                pass
            if asked.key is None:
                return None
            self.counts["retries"] += 1
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_RETRY_PAUSE_S)

    def _bid(self) -> dict[str, Any]:
        return {"timeslot": self.chance.randint(1, 96), "volume": self._volume(), "price": self._price()}

    def _price(self) -> str:
        return f"{self.chance.randint(*_PRICES) / 100:.2f}"

    def _volume(self) -> str:
        return f"{self.chance.randint(1, 9999) / 1000:.3f}"

    def _key(self) -> str:
        return f"{self.chance.getrandbits(96):x}"


def _seq_of(bid: dict[str, Any]) -> int:
    named = split_bid_id(bid["id"])
    assert named is not None, bid
    return named[1]


async def race_the_gate(
    client: aiohttp.ClientSession, bidders: list[Bidder], placements: int, width_s: float = 1.2
) -> None:
    """Placements of one bid each for the day, sent evenly over a time in whose middle its gate closes; none waits for
    the answer of another."""
    begins_s = bidders[0].session.gate_s - width_s / 2
    async with asyncio.TaskGroup() as racing:
        for number in range(placements):
            await asyncio.sleep(begins_s + width_s * number / placements - time.time())
            racing.create_task(bidders[number % len(bidders)].place(client, is_pinned=True, size=1))
