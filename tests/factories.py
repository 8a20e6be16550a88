"""Things that many tests need and few are about: accounts, tokens, OTPs, bids."""

import itertools
import re
from dataclasses import dataclass
from typing import Any

from tests.conftest import Client

PASSWORD = "sunshine-and-rain"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Household:
    """A signed-up account and what it takes to speak for it."""

    phone: str
    connection_id: str
    account_type: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def new_phone() -> str:
    """A number that no other test has used."""
    return f"98{next(_numbers):08}"


async def latest_otp(client: Client, phone: str) -> str:
    """The OTP that was sent last to a number; its last ten digits are enough."""
    for message in await (await client.get("/dev/outbox")).json():
        if message["kind"] == "sms" and message["to"].endswith(phone[-10:]):
            found = re.search(r"\b[0-9]{6}\b", message["body"])
            assert found, message
            return found[0]
    raise AssertionError(f"no SMS to {phone}")


async def ask_otp(client: Client, phone: str, **more: str) -> str:
    """Have an OTP sent to a number, and read it."""
    response = await client.post("/sendotp", json={"PhoneNo": phone, **more})
    assert response.status == 200, await response.text()
    return await latest_otp(client, phone)


async def sign_up(client: Client, account_type: str = "prosumer", phone: str | None = None) -> Household:
    """A fresh account."""
    phone = phone or new_phone()
    household = Household(phone, f"C-{phone}-{account_type}", account_type, "")
    response = await client.post(
        "/signup",
        json={
            "PhoneNo": phone,
            "password": PASSWORD,
            "connectionId": household.connection_id,
            "otp": await ask_otp(client, phone),
            "username": "Asha",
            "accountType": account_type,
        },
    )
    body = await response.json()
    assert response.status == 200, body
    return Household(phone, household.connection_id, account_type, body["token"])


def bid(timeslot: str = "10:00-10:15", volume: str = "1", price: str = "4.25") -> dict[str, str]:
    """A bid as a client sends it."""
    return {"timeslot": timeslot, "volume": volume, "price": price}


async def place(client: Client, household: Household, *bids: dict[str, str], **more: Any) -> dict[str, Any]:
    """Place bids that must be accepted; the answer's body."""
    response = await client.post("/placebid/dayahead", json={"arr": list(bids), **more}, headers=household.headers)
    body: dict[str, Any] = await response.json()
    assert response.status == 200, body
    return body
