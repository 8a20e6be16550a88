"""Requests made out of the document, against a running server: whatever is asked, the answer is a documented one.

Examples, every boundary that the document draws, and random requests, right and wrong. The same ones at every run.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import asyncpg
import hypothesis
import pytest
import schemathesis
from aiohttp.test_utils import TestClient, TestServer
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from auth.passwords import Passwords
from auth.tokens import Purpose
from handlers.context import DATABASE
from handlers.endpoint import endpoint_of
from handlers.routes import ROUTES, Route
from server.app import create_app
from server.config import AuthSettings, Config, DatabaseSettings, LimitSettings, RedisSettings, ServerSettings
from storage import operators
from tests.conftest import SECRET, TEMPLATE, Client, Services
from tests.documents import closed
from tests.factories import PASSWORD, Household, bid, place, sign_up

T = TypeVar("T")
NO_LIMIT = 10**9
# After a request to these the token is worth nothing.
ENDS_TOKENS = ("sign_out", "change_password")
PARTNERS = {Purpose.SHIPPER: "/api/shipper", Purpose.TRANSPORTER: "/api/transporters"}
_routes = {f"{route.method} {route.path}": route for route in ROUTES}

schema = schemathesis.openapi.from_dict(closed())
# The real address is known once the server runs.
schema.config.update(base_url="http://127.0.0.1:1")
schema.config.generation.update(max_examples=10, deterministic=True)
schema.config.phases.update(phases=["examples", "coverage", "fuzzing"])


class LiveServer:
    """The application on an event loop in a thread of its own: the requests come from blocking code."""

    def __init__(self, config: Config) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="live-server", daemon=True)
        self._thread.start()
        self._households: dict[str, Household] = {}
        self._tokens: dict[Purpose, str] = {}
        self.client: Client = self.run(_start(config))

    @property
    def url(self) -> str:
        return str(self.client.make_url("")).rstrip("/")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the server's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def headers(self, route: Route) -> dict[str, str]:
        """A token that opens the endpoint."""
        record = endpoint_of(route.handler)
        if record is None or not record.purposes:
            return {}
        if Purpose.ACCOUNT in record.purposes:
            return self.household(route).headers
        purpose = record.purposes[0]
        if purpose not in self._tokens:
            self._tokens[purpose] = self.run(_sign_in(self.client, purpose))
        return {"Authorization": f"Bearer {self._tokens[purpose]}"}

    def household(self, route: Route) -> Household:
        """An account for the requests to one endpoint."""
        if route.name not in self._households or route.name in ENDS_TOKENS:
            self._households[route.name] = self.run(sign_up(self.client))
        return self._households[route.name]

    def stop(self) -> None:
        self.run(self.client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def live(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One server for all requests; what limits users is out of the way."""
    name = "documented"
    asyncio.run(_copy_template(services, name))
    config = Config(
        server=ServerSettings(port=0, data_dir=tmp_path_factory.mktemp("live")),
        database=DatabaseSettings(url=services.url_of(name)),
        redis=RedisSettings(url=services.redis_url),
        auth=AuthSettings(bcrypt_cost=4, secret_key=SECRET),
        limits=LimitSettings(
            otp_per_number=NO_LIMIT,
            otp_per_number_day=NO_LIMIT,
            otp_per_address=NO_LIMIT,
            otp_failures_day=NO_LIMIT,
            email_links_per_account=NO_LIMIT,
            signin_failures=NO_LIMIT,
            signin_failures_address=NO_LIMIT,
            partner_requests_per_address=NO_LIMIT,
        ),
    )
    server = LiveServer(config)
    yield server
    server.stop()


@schema.parametrize()
def test_every_answer_to_generated_requests_is_a_documented_one(case: schemathesis.Case[Any], live: LiveServer) -> None:
    route = _routes[case.operation.label]
    # A longer line never becomes a request: the HTTP parser refuses it before there is anything to answer for.
    hypothesis.assume(len(f"{case.query}{case.headers}") < 2000)
    headers = live.headers(route)
    if case.path_parameters.get("id") == EXAMPLE_BID:
        # The example's own bid is nobody's.
        case.path_parameters["id"] = live.run(place(live.client, live.household(route), bid()))["bids"][0]["id"]
    # What the document says of a field is necessary and not sufficient: 31st of February, a number with no country.
    excluded: list[schemathesis.CheckFunction] = [positive_data_acceptance]
    if _has_blanks(case.body) or _has_blanks(case.query):
        # A blank is a field left out, whatever else the document says of it.
        excluded.append(negative_data_rejection)
    case.call_and_validate(base_url=live.url, headers=headers, excluded_checks=excluded, timeout=20)


EXAMPLE_BID = next(
    parameter["schema"]["examples"][0]
    for parameter in schema["/bids/dayahead/{id}"]["DELETE"].definition.raw["parameters"]
    if parameter["name"] == "id"
)


def _has_blanks(fields: object) -> bool:
    return isinstance(fields, dict) and any(isinstance(text, str) and not text.strip() for text in fields.values())


async def _copy_template(services: Services, name: str) -> None:
    admin = await asyncpg.connect(services.database_url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    await admin.close()


async def _start(config: Config) -> Client:
    client = TestClient(TestServer(create_app(config)))
    await client.start_server()
    return client


async def _sign_in(client: Client, purpose: Purpose) -> str:
    """The token of a fresh partner or operator."""
    if purpose is Purpose.OPERATOR:
        hashing = Passwords(4, threads=1)
        await operators.create(client.app[DATABASE], "control-room", await hashing.hash(PASSWORD))
        hashing.close()
        response = await client.post("/operator/signin", json={"name": "control-room", "password": PASSWORD})
    else:
        partner = {
            "ownerName": "John Doe",
            "ownerContactNumber": "9876500001",
            "email": "live@example.com",
            "phoneNumber": "9876500002",
            "password": PASSWORD,
            "companyName": "ABC Logistics",
            "companyAddress": "123 Main St",
            "gstNumber": "27AAPFU0939F1Z0",
        }
        assert (await client.post(f"{PARTNERS[purpose]}/register", json=partner)).status == 201
        response = await client.post(
            f"{PARTNERS[purpose]}/login", json={"email": partner["email"], "password": PASSWORD}
        )
    body = await response.json()
    assert response.status == 200, body
    return str(body["token"])
