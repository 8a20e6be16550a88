"""The load: people who place, change and withdraw bids, and watch the feed while they do.

    make loadtest HOST=http://127.0.0.1:8080 USERS=50 TIME=60s

The run fails on any answer but 200, any gap or wrong checksum on a feed, and any feed that in the end has another book
than the server, or has not seen all that its account did.

What lives here: what users do, and the final count. What must not: the rules of the feed (mirror.py).
"""

import itertools
import json
import logging
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.request import Request, urlopen

import gevent
from locust import FastHttpUser, between, events, task
from locust.exception import StopUser

from loadtest.accounts import Account, new_account, read_accounts, token_of
from loadtest.feed import Feed
from loadtest.mirror import FeedFault

log = logging.getLogger("shakti.loadtest")
# Far enough ahead for no gate to close during a run, and within market.days_ahead.
DAY = (datetime.now(UTC) + timedelta(hours=5, minutes=30, days=2)).date().isoformat()
_SETTLE_S = 30.0
_numbers = itertools.count()
_accounts: list[Account] = []
_traders: list["Trader"] = []


class Trader(FastHttpUser):
    """A household with one feed. `writes` counts its requests that were answered with 200."""

    wait_time = between(0.5, 1.5)
    connection_timeout = network_timeout = 30.0

    def on_start(self) -> None:
        """Get a token and a feed; without them there is nothing to do."""
        number = next(_numbers)
        self.writes = 0
        self.feed: Feed | None = None
        self.bids: list[int] = []
        _traders.append(self)
        try:
            account = _accounts[number] if _accounts else new_account(number)
            self.token = token_of(self.client, account)
            url = f"{str(self.host).rstrip('/').replace('http', 'ws', 1)}/ws"
            self.feed = Feed(url, self.token, f"book:{DAY}", self._report)
        except Exception as fault:
            self._report("start", 0.0, 0, fault)
            log.error("a user could not start: %s", fault)
            raise StopUser from fault

    @task(6)
    def place(self) -> None:
        """One to four bids."""
        arr = [{"timeslot": random.randint(1, 96), **_offer()} for _ in range(random.choice((1, 1, 2, 4)))]
        answer = self._write("POST", "/placebid/dayahead", {"arr": arr, "deliveryDate": DAY})
        if answer:
            self.bids += [bid["id"] for bid in answer["bids"]]

    @task(3)
    def amend(self) -> None:
        """Another price and volume for one bid."""
        if self.bids:
            self._write("PATCH", f"/bids/dayahead/{random.choice(self.bids)}", _offer(), "/bids/dayahead/{id}")

    @task(1)
    def withdraw(self) -> None:
        """One bid less."""
        if self.bids:
            bid = self.bids.pop(random.randrange(len(self.bids)))
            self._write("DELETE", f"/bids/dayahead/{bid}", None, "/bids/dayahead/{id}")

    @task(1)
    def look(self) -> None:
        """The own bids."""
        self.client.get(f"/bids/dayahead?deliveryDate={DAY}", headers=self._headers(), name="/bids/dayahead")

    def _write(self, method: str, path: str, body: Any, name: str | None = None) -> Any:
        headers = {**self._headers(), "Idempotency-Key": uuid.uuid4().hex}
        with self.client.request(
            method, path, json=body, headers=headers, name=name or path, catch_response=True
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code} {answer.text}")
                return None
            self.writes += 1
            return answer.json()

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def _report(self, kind: str, age_ms: float, size: int, fault: Exception | None) -> None:
        _fire(self.environment, kind, age_ms, size, fault)


def _offer() -> dict[str, str]:
    return {"volume": f"{random.randint(1, 9999) / 1000:.3f}", "price": f"{random.randint(300, 700) / 100:.2f}"}


def _fire(environment: Any, kind: str, age_ms: float, size: int, fault: Exception | None) -> None:
    environment.events.request.fire(
        request_type="WS", name=kind, response_time=age_ms, response_length=size, exception=fault, context={}
    )


@events.init_command_line_parser.add_listener
def _add_arguments(parser: Any) -> None:
    parser.add_argument("--accounts", default="", help="CSV file: phone,password,connectionId,accountType")


@events.test_start.add_listener
def _say_what_it_needs(environment: Any, **_: Any) -> None:
    options = environment.parsed_options
    if options.accounts:
        _accounts[:] = read_accounts(options.accounts)
        if len(_accounts) < options.num_users:
            raise SystemExit(f"{options.accounts} has {len(_accounts)} accounts for {options.num_users} users")
    log.info(
        "All users come from one address. The server allows by default 100 sign-ups in 15 minutes and 1000 feeds; for "
        "more, or a second run: SHAKTI_LIMITS_OTP_PER_ADDRESS=%d SHAKTI_FEED_CONNECTIONS_PER_ADDRESS=%d, and "
        "SHAKTI_AUTH_BCRYPT_COST=4 to have them signed up sooner",
        *(max(100_000, 10 * options.num_users), max(1000, options.num_users)),
    )


@events.test_stop.add_listener
def _count(environment: Any, **_: Any) -> None:
    """Have every feed reach the server's book, and see that nothing is missing."""
    feeds = [(trader, trader.feed) for trader in _traders if trader.feed is not None]
    if not feeds:
        _fail(environment, FeedFault("nobody had a feed"))
        return
    try:
        with gevent.Timeout(_SETTLE_S, FeedFault(f"the feeds did not settle in {_SETTLE_S:.0f} s")):
            seq = _settle(feeds)
        whole = sum(feed.fault is None for _trader, feed in feeds)
        log.info("%d of %d feeds stand at event %d of %s, with the server's checksum", whole, len(feeds), seq, DAY)
    except (FeedFault, OSError) as fault:
        _fail(environment, fault)
    for _trader, feed in feeds:
        feed.close()


def _settle(feeds: list[tuple[Trader, Feed]]) -> int:
    """Wait until all stand where the server stands, which may go on for others; the number. Raises FeedFault."""
    while True:
        book = _book(feeds[0][0])
        while any(_is_behind(trader, feed, book["seq"]) for trader, feed in feeds):
            gevent.sleep(0.05)
        if all(feed.book.seq == book["seq"] for _, feed in feeds if feed.fault is None):
            break
    wrong = [feed.book.crc for _, feed in feeds if feed.fault is None and feed.book.crc != book["crc"]]
    if wrong:
        raise FeedFault(f"{len(wrong)} feeds have another book at {book['seq']} than GET /book/dayahead")
    return int(book["seq"])


def _is_behind(trader: Trader, feed: Feed, seq: int) -> bool:
    return feed.fault is None and (feed.book.seq < seq or feed.own.seen < trader.writes)


def _book(trader: Trader) -> Any:
    url = f"{str(trader.host).rstrip('/')}/book/dayahead?deliveryDate={DAY}"
    with urlopen(Request(url, headers=trader._headers()), timeout=10) as answer:  # noqa: S310 - the host is given
        return json.load(answer)


def _fail(environment: Any, fault: Exception) -> None:
    log.error("%s", fault)
    _fire(environment, "settle", 0.0, 0, fault)
    environment.process_exit_code = 1
