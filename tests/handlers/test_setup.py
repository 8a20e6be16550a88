"""POST /setup, line by line of the published document and the rules around it."""

from datetime import datetime
from typing import Any

from tests.answers import Answer, assert_invalid, assert_refused, call
from tests.clock import IST, Clock
from tests.conftest import Client, MakeClient
from tests.factories import Household, sign_up

DOCUMENTED = {
    "solarCapacity": "5",
    "city": "Bengaluru",
    "pincode": "560001",
    "gps": "12.9716,77.5946",
    "solarBrand": "Tata Power Solar",
    "year": "2022",
    "load": "3.5",
}
FOR_EVERYBODY = ("city", "pincode", "gps", "year", "load")


async def set_up(client: Client, household: Household, **changed: Any) -> Answer:
    return await call(client, "POST", "/setup", {**DOCUMENTED, **changed}, by=household)


async def kept(client: Client, household: Household) -> dict[str, Any]:
    """The account's set-up and columns, as the original web client reads them."""
    columns: dict[str, Any] = (await call(client, "GET", "/userData", by=household)).body["message"]
    return columns


async def flat_me(client: Client, household: Household) -> dict[str, Any]:
    """The account and its set-up in one dictionary."""
    body = (await call(client, "GET", "/me", by=household)).body
    return {**body, **(body.get("setup") or {})}


async def test_set_up_answers_as_the_document_says(client: Client) -> None:
    household = await sign_up(client)
    answer = await set_up(client, household)
    assert answer.status == 200
    assert answer.body == {"message": "Setup successful"}
    shown = (await flat_me(client, household)).values()
    for value in ("5", "Bengaluru", "560001", "Tata Power Solar", "3.5"):
        assert value in map(str, shown), (value, shown)
    assert "2022" in map(str, shown)


async def test_set_up_may_be_repeated_and_replaces_what_was(client: Client) -> None:
    household = await sign_up(client)
    await set_up(client, household, tilt="15", city="Bengaluru")
    assert (await set_up(client, household, city="Mysuru", load="7 kW")).body == {"message": "Setup successful"}
    shown = list((await flat_me(client, household)).values())
    assert "Mysuru" in shown
    assert "Bengaluru" not in shown
    assert "7" in map(str, shown)


async def test_every_missing_field_is_named_at_once(client: Client) -> None:
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    assert_invalid(await call(client, "POST", "/setup", {}, by=seller), *FOR_EVERYBODY, "solarCapacity", "solarBrand")
    assert_invalid(await call(client, "POST", "/setup", {}, by=buyer), *FOR_EVERYBODY)


async def test_a_consumer_needs_no_solar_panels(client: Client) -> None:
    buyer = await sign_up(client, "consumer")
    only = {name: DOCUMENTED[name] for name in FOR_EVERYBODY}
    assert (await call(client, "POST", "/setup", only, by=buyer)).body == {"message": "Setup successful"}


async def test_a_household_cannot_choose_to_be_a_consumer_in_its_set_up(client: Client) -> None:
    seller = await sign_up(client)
    only = {name: DOCUMENTED[name] for name in FOR_EVERYBODY}
    assert_invalid(
        await call(client, "POST", "/setup", {**only, "accountType": "consumer"}, by=seller),
        "solarCapacity",
        "solarBrand",
    )


async def test_numbers_come_as_texts_or_numbers_with_or_without_a_unit(client: Client) -> None:
    household = await sign_up(client)
    for same in ("5", "5.0", 5, 5.0, "5 kW", "5kW", " 5 kW ", "5 KW"):
        assert (await set_up(client, household, solarCapacity=same, load=same)).status == 200, same
    assert (await set_up(client, household, pincode=560001, year=2022)).status == 200
    assert (
        await set_up(client, household, tilt=15.5, azimuth="180°", demand="4.25 kW", state="Karnataka")
    ).status == 200
    shown = [str(value) for value in (await flat_me(client, household)).values()]
    for value in ("15.5", "180", "4.25", "Karnataka"):
        assert value in shown, (value, shown)


async def test_decimals_are_kept_exactly(client: Client) -> None:
    household = await sign_up(client)
    for capacity in ("0.1", "3.333", "1234.567"):
        assert (await set_up(client, household, solarCapacity=capacity)).status == 200
        assert capacity in map(str, (await flat_me(client, household)).values())


async def test_a_capacity_or_load_is_a_positive_decimal(client: Client) -> None:
    household = await sign_up(client)
    wrong = (
        "0",
        0,
        "-1",
        -0.5,
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "five",
        "5 MWh",
        "5 kW kW",
        "١",
        "５",
        "1_000",
    )
    for name in ("solarCapacity", "load"):
        values: tuple[Any, ...] = (*wrong, "", " ", "0x5", "1,5", True, [], {}, None, "5\n; DROP TABLE", "9" * 400)
        for value in values:
            assert_invalid(await set_up(client, household, **{name: value}), name)
    assert_invalid(await set_up(client, household, demand="-1"), "demand")
    assert_invalid(await set_up(client, household, tilt="steep"), "tilt")


async def test_a_pincode_has_six_digits(client: Client) -> None:
    household = await sign_up(client)
    for wrong in (
        "56000",
        "5600011",
        "56000a",
        "५६०००१",
        "５６００01",
        "560 01",
        "-56001",
        56000,
        5600010,
        56000.1,
    ):
        assert_invalid(await set_up(client, household, pincode=wrong), "pincode")


async def test_gps_is_read_in_every_usual_form(client: Client) -> None:
    household = await sign_up(client)
    shown = set()
    for same in (
        "12.9716,77.5946",
        "12.9716, 77.5946",
        " 12.9716 , 77.5946 ",
        "12.9716°, 77.5946°",
        "12.9716° N, 77.5946° E",
        "12.9716N,77.5946E",
        "12.9716°N 77.5946°E".replace(" ", ", "),
    ):
        assert (await set_up(client, household, gps=same)).status == 200, same
        me = await flat_me(client, household)
        shown.add(str(me.get("gps")))
    assert len(shown) == 1, shown
    await set_up(client, household, gps="33.8688° S, 151.2093° W")
    south_west = str((await flat_me(client, household)).get("gps"))
    assert "-33.8688" in south_west
    assert "-151.2093" in south_west


async def test_gps_out_of_range_or_unreadable_is_refused(client: Client) -> None:
    household = await sign_up(client)
    out = ("90.0001,0", "-91,0", "0,180.5", "0,-181", "91° S, 0° E", "1e9,1e9", "NaN,NaN", "inf,0")
    unreadable = (
        "12.9716",
        "12.9716,",
        ",77",
        "1,2,3",
        "here",
        "",
        "12.9 E, 77.5 N",
        "-12 S, 77 E",
        "١٢,٧٧",
        "12;77",
        "12 77 N E S",
    )
    for wrong in (*out, *unreadable, None, 12.9, [], [12.9716, 77.5946], {"lat": 1}):
        assert_invalid(await set_up(client, household, gps=wrong), "gps")
    for edge in ("90,180", "-90,-180", "0,0"):
        assert (await set_up(client, household, gps=edge)).status == 200, edge


async def test_a_year_lies_between_1950_and_this_one_in_india(make_client: MakeClient) -> None:
    clock = Clock(datetime(2031, 12, 31, 23, 59, 59, tzinfo=IST))
    client = await make_client(clock=clock)
    real = await make_client()
    household = await sign_up(real)
    for wrong in ("1949", "2032", "22", "20220", "two thousand", "2022.5", "२०२२", 1949, 2022.5, True, None, ""):
        assert_invalid(await set_up(client, household, year=wrong), "year")
    for right in ("1950", "2031", 2031, 1950):
        assert (await set_up(client, household, year=right)).status == 200, right
    clock.move(seconds=1)
    assert (await set_up(client, household, year="2032")).status == 200, "the new year has begun in India"
    assert_invalid(await set_up(client, household, year="2033"), "year")


async def test_the_names_of_the_old_client_stand_for_the_documents(client: Client) -> None:
    household = await sign_up(client)
    given = {name: value for name, value in DOCUMENTED.items() if name not in ("solarBrand", "load")}
    answer = await call(client, "POST", "/setup", {**given, "brand": "Waaree", "connectedLoad": "6"}, by=household)
    assert answer.body == {"message": "Setup successful"}
    shown = [str(value) for value in (await flat_me(client, household)).values()]
    assert "Waaree" in shown
    assert "6" in shown


async def test_text_is_kept_as_text_or_refused(client: Client) -> None:
    household = await sign_up(client)
    for name in ("city", "solarBrand", "state"):
        for text in ("'); DROP TABLE accounts;--", "$1 %s {0} \\", "<b>ब</b>", 'O\'Brien "&" Söhne'):
            assert (await set_up(client, household, **{name: text})).status == 200, (name, text)
            assert text in (await flat_me(client, household)).values()
        for text in ("a\r\nX-Forged: 1", "a\0b", "\ud800", "x" * 100_000, "a\u2028b", "\x1b[2J"):
            assert_invalid(await set_up(client, household, **{name: text}))


async def test_all_faults_are_told_at_once(client: Client) -> None:
    household = await sign_up(client)
    wrong = {"solarCapacity": "0", "city": "", "pincode": "1", "gps": "x", "solarBrand": [], "year": "1", "load": "-1"}
    assert_invalid(await call(client, "POST", "/setup", wrong, by=household), *wrong)


async def test_one_account_sets_up_itself_only(client: Client) -> None:
    one, other = await sign_up(client), await sign_up(client)
    before = await kept(client, other)
    ids = {"id": 2, "accountId": 2, "account_id": 2, "PhoneNo": other.phone, "connectionId": other.connection_id}
    assert (
        await set_up(client, one, **ids, isEmailVerified=True, status="operator", password="changed-password")
    ).status == 200
    assert await kept(client, other) == before
    me = await flat_me(client, one)
    assert other.phone not in me.values()
    assert other.connection_id not in me.values()


async def test_set_up_needs_a_token(client: Client) -> None:
    assert_refused(await call(client, "POST", "/setup", DOCUMENTED), 401, "Invalid token")
