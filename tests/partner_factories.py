"""Shippers and transporters for tests: the published document's own, and fresh ones."""

import itertools
import re
from dataclasses import dataclass
from typing import Any

from tests.conftest import Client
from tests.factories import new_phone

# The document's own requests.
SHIPPER = {
    "ownerName": "John Doe",
    "ownerContactNumber": "9876543210",
    "email": "john@example.com",
    "phoneNumber": "9876543211",
    "password": "securepassword",
    "companyName": "ABC Logistics",
    "companyAddress": "123 Main St",
    "gstNumber": "27AAPFU0939F1ZV",
}
TRANSPORTER = {
    "ownerName": "Alex Johnson",
    "ownerContactNumber": "9876543212",
    "email": "alex@transco.com",
    "phoneNumber": "9876543213",
    "password": "securepassword",
    "companyName": "TransCo Logistics",
    "companyAddress": "456 Transport Hub",
    "gstNumber": "27AAPFU0939F1ZV",
}
ROOTS = {"shipper": "/api/shipper", "transporter": "/api/transporters"}
DOCUMENTED = {"shipper": SHIPPER, "transporter": TRANSPORTER}
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered partner: its kind, what it registered with, and its id."""

    kind: str
    given: dict[str, str]
    partner_id: int

    @property
    def account(self) -> dict[str, str]:
        """How the e-mail endpoints are asked about it."""
        return {"gstNumber": self.given["gstNumber"], "userType": self.kind, "email": self.given["email"]}


def new_registration(**changes: str) -> dict[str, str]:
    """A registration that collides with no other."""
    number = next(_numbers)
    return {
        "ownerName": "Meera Nair",
        "ownerContactNumber": new_phone(),
        "email": f"partner{number}@example.com",
        "phoneNumber": new_phone(),
        "password": "securepassword",
        "companyName": "Nair Roadways",
        "companyAddress": "7 Depot Road",
        "gstNumber": f"29ABCDE{number:04}F1Z5",
        **changes,
    }


async def register(client: Client, kind: str = "shipper", **changes: str) -> Registered:
    """A fresh partner."""
    given = new_registration(**changes)
    response = await client.post(f"{ROOTS[kind]}/register", json=given)
    body = await response.json()
    assert response.status == 201, body
    return Registered(kind, given, body["data"]["id"])


async def log_in(client: Client, partner: Registered) -> dict[str, str]:
    """The headers that speak for a partner."""
    response = await client.post(
        f"{ROOTS[partner.kind]}/login", json={"email": partner.given["email"], "password": partner.given["password"]}
    )
    body = await response.json()
    assert response.status == 200, body
    return {"Authorization": f"Bearer {body['token']}"}


async def send_link(client: Client, partner: Registered) -> str:
    """Have a verification link sent to a partner; the token in it."""
    response = await client.post("/api/email/send-email-link", json=partner.account)
    assert (response.status, await response.json()) == (200, {"message": "Verification email sent"})
    messages: list[dict[str, Any]] = await (await client.get("/dev/outbox")).json()
    assert messages[0]["kind"] == "email"
    return token_in(messages[0]["body"])


def token_in(text: str) -> str:
    """The token of the link in a mail's text."""
    found = re.search(r"/verify-email\?token=([A-Za-z0-9_.-]+)", text)
    assert found, text
    return found[1]
