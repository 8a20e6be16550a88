"""POST /operator/signin: a token of its own purpose."""

import asyncio
import os
import sys
from typing import Any

import pytest

from server.config import PROJECT_DIR
from tests.answers import assert_invalid, assert_refused, call
from tests.conftest import SECRET, Client, MakeClient
from tests.factories import Household, sign_up


@pytest.fixture
async def password(database_url: str, redis_url: str) -> str:
    """The password of the operator `control-room`, made by the command that makes operators."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROJECT_DIR / "run.py"),
        "operator",
        "create",
        "control-room",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "SECRET_KEY": SECRET,
            "SHAKTI_AUTH_BCRYPT_COST": "4",
        },
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    words = [word.strip(".,:;'\"") for word in out.decode().split()]
    found = max(words, key=len)
    assert len(found) >= 12, out
    return found


async def test_no_operator_exists_by_default(client: Client) -> None:
    for name in ("operator", "admin", "root", "control-room", ""):
        answer = await call(client, "POST", "/operator/signin", {"name": name, "password": name or "password"})
        assert answer.status in (400, 401), answer
        assert answer.message


async def test_an_operator_signs_in_to_a_token_of_its_own_purpose(client: Client, password: str) -> None:
    form = {"name": "control-room", "password": password}
    answer = await call(client, "POST", "/operator/signin", form)
    assert answer.status == 200, answer
    operator = Household("", "", "", answer.body["token"])
    assert password not in str(answer.body)
    for method, path in (
        ("GET", "/me"),
        ("POST", "/placebid/dayahead"),
        ("POST", "/setup"),
        ("GET", "/bids/dayahead"),
        ("GET", "/userData"),
        ("POST", "/token/refresh"),
        ("POST", "/changepassword"),
        ("GET", "/api/shipper/me"),
    ):
        refused = await call(client, method, path, {} if method == "POST" else None, by=operator)
        assert refused.status in (401, 403), (path, refused)
        assert path.startswith("/api/") or refused.status == 401


async def test_failures_cannot_be_told_apart(client: Client, password: str) -> None:
    wrong = (
        {"name": "control-room", "password": "not-the-password"},
        {"name": "nobody", "password": password},
        {"name": "control-room' --", "password": "x"},
    )
    answers = [await call(client, "POST", "/operator/signin", form) for form in wrong]
    for answer in answers:
        assert_refused(answer, 401, "Invalid credentials")


async def test_bad_values_are_named(client: Client) -> None:
    assert_invalid(await call(client, "POST", "/operator/signin", {}), "name", "password")
    values: tuple[Any, ...] = (None, 1, [], {}, True)
    for wrong in values:
        answer = await call(client, "POST", "/operator/signin", {"name": wrong, "password": wrong})
        assert_invalid(answer, "name", "password")


async def test_guessing_is_slowed(make_client: MakeClient) -> None:
    client = await make_client(limits={"signin_failures": 3})
    answers = [
        await call(client, "POST", "/operator/signin", {"name": "control-room", "password": f"guess-{n}"})
        for n in range(4)
    ]
    assert [answer.status for answer in answers] == [401, 401, 401, 429]
    assert int(answers[-1].headers["Retry-After"]) >= 1


async def test_a_household_is_no_operator(client: Client, password: str) -> None:
    household = await sign_up(client)
    form = {"name": household.phone, "password": "sunshine-and-rain"}
    assert_refused(await call(client, "POST", "/operator/signin", form), 401, "Invalid credentials")
