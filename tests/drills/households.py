"""Households as drills have them: signed up over the API, their bids listed and added up.

What lives here: what several drills ask of one server. What must not: a drill's plan or its load.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp


@dataclass(frozen=True, slots=True)
class Household:
    token: str
    side: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


async def sign_up(session: aiohttp.ClientSession, number: int) -> Household:
    """A fresh account; odd ones sell, even ones buy."""
    phone = f"97{number:08}"
    async with session.post("/sendotp", json={"PhoneNo": phone}) as response:
        assert response.status == 200, await response.text()
    async with session.get("/dev/outbox") as response:
        newest = next(message for message in await response.json() if message["to"].endswith(phone))
    otp = re.search(r"\b[0-9]{6}\b", newest["body"])
    assert otp, newest
    account_type = "prosumer" if number % 2 else "consumer"
    form = {"PhoneNo": phone, "password": "sunshine-and-rain", "connectionId": phone, "otp": otp[0]}
    async with session.post("/signup", json={**form, "username": "Asha", "accountType": account_type}) as response:
        body = await response.json()
        assert response.status == 200, body
    return Household(body["token"], "sell" if number % 2 else "buy")


async def list_bids(session: aiohttp.ClientSession, household: Household, day: str) -> list[dict[str, Any]]:
    """All of a household's bids of a day, page by page."""
    bids: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        url = f"/bids/dayahead?deliveryDate={day}&limit=1000&after={after}"
        async with session.get(url, headers=household.headers) as response:
            page = await response.json()
            assert response.status == 200, page
        bids += page["bids"]
        after = page["next"]
    return bids


async def list_trades(
    session: aiohttp.ClientSession, household: Household, day: str
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """All of a household's trades of a day, page by page, and their totals."""
    trades: list[dict[str, Any]] = []
    totals: dict[str, str] = {}
    after: int | None = 0
    while after is not None:
        url = f"/trades/dayahead?deliveryDate={day}&limit=1000&after={after}"
        async with session.get(url, headers=household.headers) as response:
            page = await response.json()
            assert response.status == 200, page
        trades += page["trades"]
        after, totals = page["next"], page["totals"]
    return trades, totals


async def get_results(session: aiohttp.ClientSession, household: Household, day: str) -> dict[str, Any] | None:
    """The results of a day; None before there are any."""
    async with session.get(f"/results/dayahead?deliveryDate={day}", headers=household.headers) as response:
        results: dict[str, Any] = await response.json()
        if response.status == 404:
            return None
        assert response.status == 200, results
    return results


async def get_book(session: aiohttp.ClientSession, household: Household, day: str) -> dict[str, Any]:
    """The book of a day."""
    async with session.get(f"/book/dayahead?deliveryDate={day}", headers=household.headers) as response:
        book: dict[str, Any] = await response.json()
        assert response.status == 200, book
    return book


def levels_of(bids: Iterable[dict[str, Any]]) -> dict[tuple[Any, ...], tuple[int, int]]:
    """What bids add up to: volume and number by slot, side and price, in ticks."""
    levels: dict[tuple[Any, ...], tuple[int, int]] = {}
    for bid in bids:
        key = (slot_of(bid), "S" if bid["side"] == "sell" else "B", int(bid["price"].replace(".", "")))
        volume, count = levels.get(key, (0, 0))
        levels[key] = (volume + int(bid["volume"].replace(".", "")), count + 1)
    return levels


def slot_of(bid: dict[str, Any]) -> int:
    """The slot 1..96 of a bid as REST shows it."""
    hours, minutes = bid["timeslot"][:5].split(":")
    return int(hours) * 4 + int(minutes) // 15 + 1
