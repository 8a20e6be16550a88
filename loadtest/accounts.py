"""Who the users of the load test are: accounts signed up for it, or accounts that are there already.

What lives here: getting a token. What must not: what is done with it (locustfile.py).
"""

import csv
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PASSWORD = "sunshine-and-rain"
_SEED = random.SystemRandom()


class AccountFault(Exception):
    """No token could be had; the text says what to do about it."""


@dataclass(frozen=True, slots=True)
class Account:
    """`phone` and `connection_id` name it. `is_new` accounts have to sign up first."""

    phone: str
    password: str
    connection_id: str
    account_type: str
    is_new: bool


def new_account(number: int) -> Account:
    """An account that nobody has; every other one sells."""
    phone = f"9{_SEED.randrange(10**9):09}"
    return Account(phone, _PASSWORD, f"LOAD-{phone}", ("prosumer", "consumer")[number % 2], True)


def read_accounts(path: str) -> list[Account]:
    """Accounts out of a CSV file with the columns phone, password, connectionId and accountType."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return [
            Account(row["phone"], row["password"], row["connectionId"], row["accountType"], False)
            for row in csv.DictReader(file)
        ]


def token_of(client: Any, account: Account) -> str:
    """Sign up or in. `client` is locust's. Raises AccountFault."""
    form = {
        "PhoneNo": account.phone,
        "password": account.password,
        "connectionId": account.connection_id,
        "accountType": account.account_type,
    }
    if account.is_new:
        _checked(client.post("/sendotp", json={"PhoneNo": account.phone}))
        form |= {"otp": _otp(client, account.phone), "username": "Load"}
    answer = _checked(client.post("/signup" if account.is_new else "/signin", json=form))
    token: str = answer.json()["token"]
    return token


def _otp(client: Any, phone: str) -> str:
    for message in _checked(client.get("/dev/outbox")).json():
        found = re.search(r"\b[0-9]{6}\b", message["body"])
        if message["to"].endswith(phone) and found:
            return found[0]
    raise AccountFault("the OTP is not in the development outbox")


def _checked(answer: Any) -> Any:
    if answer.status_code == 404:
        raise AccountFault("the server has no development outbox here; name accounts with ACCOUNTS=file.csv")
    if answer.status_code == 429:
        raise AccountFault("the server limits sign-ups from one address; see what to set at the start of the output")
    if answer.status_code != 200:
        raise AccountFault(f"no token: {answer.status_code} {answer.text}")
    return answer
