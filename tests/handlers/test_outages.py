"""Without PostgreSQL or Redis: who says what, when to come back, and what goes on all the same."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from server.config import Config
from tests.answers import Answer, assert_refused, call
from tests.conftest import Client, MakeClient, Services
from tests.factories import PASSWORD, Household, ask_otp, bid, new_phone, sign_up
from tests.handlers.test_errors import assert_tells_nothing
from tests.handlers.test_setup import DOCUMENTED
from tests.standins.link import Link, link_to

DOCUMENTS = (
    ("/sendotp", {"PhoneNo": "1234567890"}, "Error sending OTP"),
    (
        "/signup",
        {
            "PhoneNo": "1234567890",
            "password": "sunshine-and-rain",
            "connectionId": "C-1",
            "otp": "123456",
            "username": "Asha",
            "accountType": "prosumer",
        },
        "Error creating user",
    ),
    (
        "/signin",
        {
            "PhoneNo": "1234567890",
            "password": "sunshine-and-rain",
            "connectionId": "C-1",
            "accountType": "prosumer",
        },
        "Error logging in",
    ),
    ("/setup", DOCUMENTED, "Error setting up"),
    ("/placebid/dayahead", {"arr": [bid()]}, "Error placing bid"),
)


@pytest.fixture
async def redis_link(services: Services, redis_url: str) -> AsyncIterator[Link]:
    async with link_to(redis_url.removeprefix("unix://")) as link:
        yield link


@pytest.fixture
async def postgres_link(database_url: str) -> AsyncIterator[Link]:
    directory = database_url.partition("host=")[2].partition("&")[0]
    async with link_to(f"{directory}/.s.PGSQL.5432") as link:
        yield link


@pytest.fixture
async def far_client(make_client: MakeClient, config: Config, postgres_link: Link, redis_link: Link) -> Client:
    """A client of a server that reaches PostgreSQL and Redis over lines that can be cut."""
    name = config.database.url.partition("?")[0].rpartition("/")[2]
    url = f"postgresql://shakti@127.0.0.1:{postgres_link.port}/{name}?sslmode=disable"
    return await make_client(
        database={"url": url, "timeout_s": 0.2},
        redis={"url": f"redis://127.0.0.1:{redis_link.port}", "timeout_s": 0.3},
    )


async def documented_answers(client: Client, by: Household) -> list[tuple[Answer, str]]:
    async with asyncio.timeout(8):
        return [(await call(client, "POST", path, form, by=by), text) for path, form, text in DOCUMENTS]


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_without_the_database_documented_endpoints_say_their_own_text_and_ours_503(
    far_client: Client, postgres_link: Link, how: str
) -> None:
    household = await sign_up(far_client)
    assert (await call(far_client, "GET", "/me", by=household)).status == 200
    newcomer = new_phone()
    form = {**DOCUMENTS[1][1], "PhoneNo": newcomer, "otp": await ask_otp(far_client, newcomer)}
    if how == "cut":
        postgres_link.cut()
    else:
        postgres_link.is_silent = True
    answers = (await documented_answers(far_client, household))[2:]
    answers.append((await call(far_client, "POST", "/signup", form), "Error creating user"))
    for answer, text in answers:
        assert_refused(answer, 500, text)
        assert int(answer.headers["Retry-After"]) >= 1
        assert_tells_nothing(answer)
    for method, path, body in (
        ("GET", "/me", None),
        ("GET", "/bids/dayahead", None),
        ("GET", "/book/dayahead", None),
        ("GET", "/userData", None),
        ("POST", "/signout", None),
        ("GET", "/readings", None),
        ("POST", "/readings", {"date": "2025-11-21", "timeslot": 41, "solarGeneration": 1, "netEnergy": 1}),
        ("PATCH", "/bids/dayahead/1", {"price": "5"}),
    ):
        async with asyncio.timeout(5):
            answer = await call(far_client, method, path, body, by=household)
        if answer.status == 404 and path.endswith("/1"):
            continue  # no bid can have that id, whatever the database would say
        assert_refused(answer, 503)
        assert int(answer.headers["Retry-After"]) >= 1
        assert_tells_nothing(answer)
    postgres_link.cut()
    postgres_link.restore()
    async with asyncio.timeout(10):
        while (await call(far_client, "GET", "/me", by=household)).status != 200:
            pass
    assert (await call(far_client, "POST", "/placebid/dayahead", {"arr": [bid()]}, by=household)).status == 200
    made = await call(far_client, "POST", "/signup", form)
    assert made.status == 200, "an OTP survives a sign-up that failed for the server's own reasons"


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_without_redis_what_needs_it_says_so_and_bidding_goes_on(
    far_client: Client, redis_link: Link, how: str
) -> None:
    household = await sign_up(far_client)
    if how == "cut":
        redis_link.cut()
    else:
        redis_link.is_silent = True
    answers = await documented_answers(far_client, household)
    for answer, text in answers[:2]:
        assert_refused(answer, 500, text)
        assert int(answer.headers["Retry-After"]) >= 1
        assert_tells_nothing(answer)
    signin = answers[2][0]
    assert signin.status in (401, 500), signin
    assert [answer.status for answer, _ in answers[3:]] == [200, 200], "set-up and bids need no Redis"
    reset = await call(
        far_client,
        "POST",
        "/resetpassword",
        {"PhoneNo": household.phone, "otp": "123456", "accountType": "prosumer", "newPassword": "rain-and-sun"},
    )
    assert_refused(reset, 503)
    assert int(reset.headers["Retry-After"]) >= 1
    for path in ("/me", "/bids/dayahead", "/book/dayahead"):
        assert (await call(far_client, "GET", path, by=household)).status == 200
    redis_link.restore()
    async with asyncio.timeout(10):
        while (await call(far_client, "POST", "/sendotp", {"PhoneNo": new_phone()})).status != 200:
            pass


async def test_an_outage_is_no_failed_sign_in(make_client: MakeClient, config: Config, postgres_link: Link) -> None:
    """Whoever tried again and again while the database was away must not be slowed when it is back."""
    name = config.database.url.partition("?")[0].rpartition("/")[2]
    url = f"postgresql://shakti@127.0.0.1:{postgres_link.port}/{name}?sslmode=disable"
    client = await make_client(database={"url": url, "timeout_s": 0.1}, limits={"signin_failures": 3})
    household = await sign_up(client)
    form = {"PhoneNo": household.phone, "password": PASSWORD, "connectionId": household.connection_id}
    postgres_link.cut()
    for _ in range(5):
        answer = await call(client, "POST", "/signin", {**form, "accountType": "prosumer"})
        assert_refused(answer, 500, "Error logging in")
    postgres_link.restore()
    async with asyncio.timeout(10):
        while (answer := await call(client, "POST", "/signin", {**form, "accountType": "prosumer"})).status == 500:
            pass
    assert answer.status == 200, answer


async def test_a_full_disk_or_a_missing_table_tells_nothing_either(
    client: Client, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    household = await sign_up(client)
    await connection.execute("ALTER TABLE accounts RENAME TO elsewhere")
    for path, form, text in DOCUMENTS[1:4]:
        answer = await call(client, "POST", path, form, by=household)
        if answer.status != 401:
            assert_refused(answer, 500, text)
        assert_tells_nothing(answer)
    mine = await call(client, "GET", "/me", by=household)
    assert mine.status >= 500
    assert_tells_nothing(mine)
