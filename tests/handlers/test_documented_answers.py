"""Answers that no generated request earns, held against the document: what success looks like, and what outages do."""

import re
from collections.abc import Callable
from datetime import datetime, time
from typing import Any

import pytest
from aiohttp import web

from auth.passwords import Passwords
from handlers.context import DATABASE
from server.app import create_app, now
from server.config import Config
from storage import operators
from tests.cleared import Connection, clear
from tests.clock import Clock, india_at, india_day
from tests.conftest import Client, MakeClient
from tests.documents import Watch
from tests.factories import PASSWORD, Household, ask_otp, bid, latest_otp, new_phone, place, sign_up

SETUP = {
    "solarCapacity": "5 kW",
    "solarBrand": "Tata Power Solar",
    "city": "Bengaluru",
    "pincode": "560001",
    "gps": "12.9716,77.5946",
    "year": 2022,
    "load": 3.5,
}
# Nothing listens there.
NO_REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture
def watches(monkeypatch: pytest.MonkeyPatch) -> list[Watch]:
    """A watch over every application that the test starts."""
    made: list[Watch] = []

    def watched(config: Config, clock: Callable[[], datetime] = now) -> web.Application:
        app = create_app(config, clock)
        made.append(Watch(app))
        return app

    monkeypatch.setattr("tests.conftest.create_app", watched)
    return made


def faults(watches: list[Watch]) -> list[str]:
    assert watches
    return [fault for watch in watches for fault in watch.faults]


async def expect(client: Client, status: int, method: str, path: str, by: Household | str = "", **more: Any) -> Any:
    """The body of an answer that must have this status."""
    token = by.token if isinstance(by, Household) else by
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = await client.request(method, path, headers={**headers, **more.pop("headers", {})}, **more)
    assert response.status == status, await response.text()
    return await response.json()


async def test_a_household_sees_only_documented_answers(
    watches: list[Watch], make_client: MakeClient, connection: Connection
) -> None:
    client = await make_client()
    seller, buyer = await sign_up(client, "prosumer"), await sign_up(client, "consumer")
    for path in ("/me", "/userData", "/setupstatus"):
        await expect(client, 200, "GET", path, seller)
    await expect(client, 200, "POST", "/setup", seller, json=SETUP)
    for path in ("/me", "/userData", "/setupstatus", "/getTransactions"):
        await expect(client, 200, "GET", path, seller)

    first = (await place(client, seller, bid(), bid("11:00")))["bids"]
    await place(client, buyer, bid(price="5"))
    assert (await expect(client, 200, "GET", "/bids/dayahead?limit=1", seller))["next"] is not None
    book = await expect(client, 200, "GET", "/book/dayahead", seller)
    assert book["lv"]
    assert book["ind"]

    path = f"/bids/dayahead/{first[0]['id']}"
    key = {"Idempotency-Key": "once"}
    await expect(client, 200, "PATCH", path, seller, json={"price": "4.50"}, headers=key)
    await expect(client, 422, "PATCH", path, seller, json={"price": "4.75"}, headers=key)
    await expect(client, 200, "DELETE", path, seller)
    await expect(client, 409, "DELETE", path, seller)
    await expect(client, 409, "POST", "/placebid/dayahead", seller, json={"arr": [bid()], "deliveryDate": "2025-01-01"})

    for by, energy in ((seller, {"solarGeneration": "1.2", "netEnergy": "0.8"}), (buyer, {"energyConsumption": 0.4})):
        reading = {"timeslot": "10:00-10:15", **energy}
        for more in ({"readings": [reading]}, reading, {**reading, "netEnergy": -1, "energyConsumption": 1}):
            await expect(client, 200, "POST", "/readings", by, json={"date": "2025-11-21", **more})
        (shown,) = (await expect(client, 200, "GET", "/readings?date=2025-11-21", by))["readings"]
        assert shown["history"]
    await expect(client, 400, "POST", "/readings", seller, json={"date": "2025-11-21", "readings": [{}]})

    for path in ("/results/dayahead", "/trades/dayahead"):
        for query in ("", f"?deliveryDate={india_day(1)}", "?deliveryDate=2025-11-21"):
            await expect(client, 404, "GET", f"{path}{query}", seller)
        await expect(client, 400, "GET", f"{path}?deliveryDate=soon", seller)
    sold = (await place(client, seller, bid(price="4")))["bids"][0]["id"]
    (bought,) = (await expect(client, 200, "GET", "/bids/dayahead", buyer))["bids"]
    await clear(connection, india_day(1), {41: (450, 400, 500)}, {sold: 1000, bought["id"]: 1000})
    for by in (seller, buyer):
        assert {one["status"] for one in (await expect(client, 200, "GET", "/bids/dayahead", by))["bids"]} >= {
            "cleared"
        }
        assert len((await expect(client, 200, "GET", "/results/dayahead", by))["slots"]) == 96
        assert (await expect(client, 200, "GET", "/trades/dayahead?limit=1", by))["trades"]
    tomorrow = await make_client(clock=Clock(india_at(1, time(9))))
    assert (await expect(tomorrow, 200, "GET", "/getTransactions", seller))["transactions"]

    await expect(client, 200, "POST", "/token/refresh", seller)
    passwords = {"oldPassword": PASSWORD, "newPassword": "rain-and-sunshine"}
    await expect(client, 200, "POST", "/changepassword", seller, json=passwords)
    reset = {
        "PhoneNo": buyer.phone,
        "otp": await ask_otp(client, buyer.phone, purpose="reset"),
        "accountType": "consumer",
        "newPassword": "rain-and-sunshine",
    }
    body = await expect(client, 200, "POST", "/resetpassword", json=reset)
    await expect(client, 200, "POST", "/signout", body["token"])
    assert not faults(watches)


@pytest.mark.parametrize(("kind", "path"), [("shipper", "/api/shipper"), ("transporter", "/api/transporters")])
async def test_a_partner_sees_only_documented_answers(
    watches: list[Watch], make_client: MakeClient, kind: str, path: str
) -> None:
    client = await make_client()
    partner = {
        "ownerName": "John Doe",
        "ownerContactNumber": new_phone(),
        "email": f"{kind}@example.com",
        "phoneNumber": new_phone(),
        "password": PASSWORD,
        "companyName": "ABC Logistics",
        "companyAddress": "123 Main St",
        "gstNumber": "27AAPFU0939F1ZV",
    }
    await expect(client, 201, "POST", f"{path}/register", json=partner)
    body = await expect(client, 200, "POST", f"{path}/login", json={"email": partner["email"], "password": PASSWORD})
    await expect(client, 200, "GET", f"{path}/me", body["token"])
    other = "/api/transporters" if kind == "shipper" else "/api/shipper"
    await expect(client, 403, "GET", f"{other}/me", body["token"])

    number = {"mobileNumber": partner["phoneNumber"]}
    await expect(client, 200, "POST", "/api/validate/send-otp", json=number)
    otp = await latest_otp(client, partner["phoneNumber"])
    await expect(client, 200, "POST", "/api/validate/verify-otp", json={**number, "otp": otp})

    asked = {"gstNumber": partner["gstNumber"], "userType": kind, "email": partner["email"]}
    for text in ("Verification email sent", "Email already verified"):
        await expect(client, 200, "POST", "/api/email/check-email-status", json=asked)
        answer = await expect(client, 200, "POST", "/api/email/send-email-link", json=asked)
        assert answer == {"message": text}
        newest = (await (await client.get("/dev/outbox")).json())[0]
        link = re.search(r"token=([\w.-]+)", newest["body"])
        assert link
        await expect(client, 200, "GET", f"/api/email/verify-email-link?token={link[1]}")
    assert not faults(watches)


async def test_an_operator_sees_only_documented_answers(
    watches: list[Watch], make_client: MakeClient, connection: Connection
) -> None:
    client = await make_client()
    hashing = Passwords(4, threads=1)
    await operators.create(client.app[DATABASE], "control-room", await hashing.hash(PASSWORD))
    hashing.close()
    body = await expect(client, 200, "POST", "/operator/signin", json={"name": "control-room", "password": PASSWORD})
    await expect(client, 200, "GET", "/book/dayahead", body["token"])
    await clear(connection, india_day(1))
    await expect(client, 200, "GET", "/results/dayahead", body["token"])
    assert not faults(watches)


async def test_an_outage_is_answered_as_documented(watches: list[Watch], make_client: MakeClient) -> None:
    client = await make_client(redis={"url": NO_REDIS})
    for path, status, body in (
        ("/sendotp", 500, {"PhoneNo": "9876543210"}),
        ("/api/validate/send-otp", 500, {"mobileNumber": "9876543210"}),
        ("/api/shipper/login", 500, {"email": "john@example.com", "password": PASSWORD}),
        ("/operator/signin", 503, {"name": "control-room", "password": PASSWORD}),
    ):
        response = await client.post(path, json=body)
        assert response.status == status, path
        assert response.headers["Retry-After"], path
    await expect(client, 503, "GET", "/readyz")
    assert not faults(watches)


async def test_the_watch_sees_what_is_not_documented(
    watches: list[Watch], make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests above say nothing if it does not."""
    client = await make_client()
    monkeypatch.setattr("handlers.health.json_response", lambda body: web.json_response({**body, "host": "db-1"}))
    await expect(client, 200, "GET", "/healthz")
    monkeypatch.setattr("handlers.health.json_response", lambda body: web.json_response(body, status=202))
    await expect(client, 202, "GET", "/healthz")
    added, status = faults(watches)
    assert "'host' was unexpected" in added
    assert "this status is not documented" in status
