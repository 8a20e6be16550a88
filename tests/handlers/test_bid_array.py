"""Bids from parsed JSON: what makes a bid, what is refused, and that every fault is named at once."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.schemas import bid_array
from handlers.schemas.bid_array import MAX_FAULTS, BidFaults, BidLimits, Change, ParsedBids, parse_bids, parse_change
from market.slots import SlotError, format_slot, parse_timeslot
from market.ticks import Tick, TickError

LIMITS = BidLimits(
    price_tick=Tick(Decimal("0.01")),
    volume_tick=Tick(Decimal("0.001")),
    floor_ticks=-1000,
    cap_ticks=1_000_000,
    max_volume_ticks=1_000_000_000,
    max_bids=200,
)

JsonObject = dict[str, Any]


def bid(timeslot: object = "10:00-10:15", volume: object = "2.5", price: object = "4.25", **more: object) -> JsonObject:
    return {"timeslot": timeslot, "volume": volume, "price": price, **more}


def faults_of(body: JsonObject, limits: BidLimits = LIMITS) -> list[str]:
    with pytest.raises(BidFaults) as refusal:
        parse_bids(body, limits)
    return refusal.value.errors


def change_faults_of(body: JsonObject) -> list[str]:
    with pytest.raises(BidFaults) as refusal:
        parse_change(body, LIMITS)
    return refusal.value.errors


def test_an_array_of_bids_is_read_in_the_order_sent() -> None:
    body = {
        "arr": [bid(), bid("23:45-24:00", "0.001", "0"), bid(1, 12, -10), bid("37", Decimal("1.5"), Decimal("4.2"))]
    }
    assert parse_bids(body, LIMITS) == ParsedBids(
        slots=[41, 96, 1, 37], prices=[425, 0, -1000, 420], volumes=[2500, 1, 12000, 1500]
    )


def test_numbers_of_json_are_read_exactly() -> None:
    text = '{"arr": [{"timeslot": 5, "volume": 0.3, "price": 0.1}, {"timeslot": 6.0, "volume": 1e2, "price": 25E-1}]}'
    body = json.loads(text, parse_float=Decimal)
    assert parse_bids(body, LIMITS) == ParsedBids(slots=[5, 6], prices=[10, 250], volumes=[300, 100_000])


def test_a_whole_day_of_bids_is_read() -> None:
    bids = parse_bids({"arr": [bid(format_slot(slot), f"{slot}.5", f"{slot}.25") for slot in range(1, 97)]}, LIMITS)
    assert bids.slots == list(range(1, 97))
    assert bids.prices == [100 * slot + 25 for slot in range(1, 97)]
    assert bids.volumes == [1000 * slot + 500 for slot in range(1, 97)]


def test_a_range_is_the_same_price_in_each_slot_with_the_volume_split() -> None:
    bids = parse_bids({"arr": [bid("10:00-11:00", "0.333", "4"), bid("23:30-00:00", "1", "5")]}, LIMITS)
    assert bids == ParsedBids(
        slots=[41, 42, 43, 44, 95, 96], prices=[400] * 4 + [500] * 2, volumes=[84, 83, 83, 83, 500, 500]
    )


def test_the_same_slot_and_price_twice_are_two_bids() -> None:
    assert parse_bids({"arr": [bid(), bid()]}, LIMITS) == ParsedBids([41, 41], [425, 425], [2500, 2500])


@pytest.mark.parametrize("left_out", [{}, {"price": None}])
def test_what_stands_beside_arr_fills_what_an_object_leaves_out(left_out: JsonObject) -> None:
    body = {"timeslot": "9:00", "volume": "7", "price": "3", "arr": [bid(), {"volume": "1", **left_out}, {}]}
    assert parse_bids(body, LIMITS) == ParsedBids([41, 37, 37], [425, 300, 300], [2500, 1000, 7000])


def test_what_stands_beside_arr_and_fills_nothing_is_ignored() -> None:
    body = {"timeslot": "", "volume": "nonsense", "price": [], "arr": [bid()], "id": 7, "side": "buy"}
    assert parse_bids(body, LIMITS) == ParsedBids([41], [425], [2500])


def test_unknown_fields_of_a_bid_are_ignored() -> None:
    assert parse_bids({"arr": [bid(id=1, side="buy", status="cleared", account_id=2)]}, LIMITS).slots == [41]


@pytest.mark.parametrize("arr", [{}, {"arr": None}])
def test_one_bid_may_stand_without_arr(arr: JsonObject) -> None:
    assert parse_bids({**bid("10:00-10:30"), **arr}, LIMITS) == ParsedBids([41, 42], [425, 425], [1250, 1250])


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, ["arr is required"]),
        ({"arr": None, "price": None}, ["arr is required"]),
        ({"other": 1}, ["arr is required"]),
        ({"arr": []}, ["arr must not be empty"]),
        ({**bid(), "arr": []}, ["arr must not be empty"]),
        ({"arr": {}}, ["arr must be an array"]),
        ({"arr": "10:00"}, ["arr must be an array"]),
        ({"arr": False}, ["arr must be an array"]),
        ({"arr": 0}, ["arr must be an array"]),
        ({"arr": [bid(), 5, None, "x", [], True]}, [f"arr[{index}] must be an object" for index in range(1, 6)]),
        ({"arr": [{}]}, ["arr[0].timeslot is required", "arr[0].volume is required", "arr[0].price is required"]),
        ({"arr": [bid(timeslot=None)]}, ["arr[0].timeslot is required"]),
        ({"timeslot": "10:00"}, ["volume is required", "price is required"]),
        ({"timeslot": "10:00", "volume": "1"}, ["price is required"]),
        ({"price": "x"}, ["timeslot is required", "volume is required", "price must be a decimal number like 4.25"]),
        (
            {"arr": [bid(), bid(), bid(), bid(price="4.255")]},
            ["arr[3].price must be a multiple of 0.01"],
        ),
        ({"arr": [bid(volume="0.0005")]}, ["arr[0].volume must be a multiple of 0.001"]),
        ({"arr": [bid(volume="0")]}, ["arr[0].volume must be greater than 0"]),
        ({"arr": [bid(volume="-0")]}, ["arr[0].volume must not be a negative zero"]),
        ({"arr": [bid(volume="-1")]}, ["arr[0].volume must be greater than 0"]),
        ({"arr": [bid(volume="1000000.001")]}, ["arr[0].volume must be at most 1000000"]),
        ({"arr": [bid(volume=2**70)]}, ["arr[0].volume is too large"]),
        ({"arr": [bid(price="10000.01")]}, ["arr[0].price must be at most 10000"]),
        ({"arr": [bid(price="-10.01")]}, ["arr[0].price must be at least -10"]),
        ({"arr": [bid(price=Decimal("1e999999999999"))]}, ["arr[0].price is too large"]),
        ({"arr": [bid(timeslot="10:07")]}, ["arr[0].timeslot must start and end on a quarter hour, like 10:00-10:15"]),
        ({"arr": [bid(timeslot=0)]}, ["arr[0].timeslot must be a slot number from 1 to 96"]),
        (
            {"arr": [bid("10:00-11:00", "0.003")]},
            ["arr[0].volume must be at least 0.004 to be split over 4 slots"],
        ),
        (
            {"arr": [bid("11:00-10:00", "0", "x"), 7, bid(), bid(price=True)]},
            [
                "arr[0].timeslot must end after it starts, like 10:00-10:15; the end of the day is 24:00",
                "arr[0].volume must be greater than 0",
                "arr[0].price must be a decimal number like 4.25",
                "arr[1] must be an object",
                "arr[3].price must be a decimal number like 4.25",
            ],
        ),
        (
            {"price": "4.255", "arr": [bid(), {"timeslot": 1, "volume": 1}]},
            ["arr[1].price must be a multiple of 0.01"],
        ),
    ],
)
def test_every_fault_is_named_by_index_and_field(body: JsonObject, errors: list[str]) -> None:
    assert faults_of(body) == errors


HOSTILE = [
    "", " 12 ", "5\n", "1_000", "1e5", "+5", ".5", "5.", "NaN", "Infinity", "1e999", "５", "٤", "\x00", "5\x00",
    "\ud800", "\u202e5", "' OR 1=1 --", "9" * 100_000, True, False, [], {}, [5], {"$gt": 0}, Decimal("NaN"),
    Decimal("sNaN"), Decimal("-Infinity"),
]  # fmt: skip


@pytest.mark.parametrize("field", ["timeslot", "volume", "price"])
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value)[:20])
def test_a_hostile_value_is_one_short_fault_that_does_not_repeat_it(field: str, value: object) -> None:
    (error,) = faults_of({"arr": [bid(), bid(**{field: value})]})
    assert error.startswith(f"arr[1].{field} must be ")
    assert len(error) < 130
    assert error.isascii()
    assert "\n" not in error
    (error,) = faults_of(bid(**{field: value}))
    assert error.startswith(f"{field} must be ")


@pytest.mark.parametrize("field", ["timeslot", "volume", "price"])
@pytest.mark.parametrize("others", [{}, {"timeslot": "x", "volume": "x", "price": "x"}])
def test_a_binary_float_is_our_own_fault_and_no_users(field: str, others: JsonObject) -> None:
    with pytest.raises(TypeError, match="binary float"):
        parse_bids({"arr": [bid(**{**others, field: 4.25})]}, LIMITS)
    with pytest.raises(TypeError, match="binary float"):
        parse_bids(bid(**{**others, field: 4.25}), LIMITS)


def test_limits_are_inclusive() -> None:
    bids = parse_bids({"arr": [bid(1, "1000000", "10000"), bid(2, "1000000.000", "-10"), bid(3, "0.001")]}, LIMITS)
    assert bids.prices == [1_000_000, -1000, 425]
    assert bids.volumes == [1_000_000_000, 1_000_000_000, 1]


def test_the_largest_volume_holds_for_a_bid_before_its_range_is_split() -> None:
    assert sum(parse_bids({"arr": [bid("00:00-24:00", "1000000")]}, LIMITS).volumes) == 1_000_000_000
    assert faults_of({"arr": [bid("00:00-24:00", "1000001")]}) == ["arr[0].volume must be at most 1000000"]


def test_a_request_may_hold_as_many_bids_as_allowed() -> None:
    assert len(parse_bids({"arr": [bid()] * 200}, LIMITS).slots) == 200
    assert len(parse_bids({"arr": [bid()] * 104 + [bid("00:00-24:00")]}, LIMITS).slots) == 200


def test_more_bids_than_allowed_are_refused_before_they_are_read() -> None:
    assert faults_of({"arr": [7] * 201}) == ["arr holds 201 bids; at most 200 are allowed in a request"]


def test_bids_are_counted_after_ranges_are_split() -> None:
    text = "more than 200 bids, counting one for each slot of a range; at most 200 are allowed in a request"
    assert faults_of({"arr": [bid()] * 105 + [bid("00:00-24:00")]}) == [f"arr makes {text}"]
    assert faults_of({"arr": [bid("00:00-24:00")] * 105 + [bid()]}) == [f"arr makes {text}"]
    exactly_200 = [bid("00:00-24:00"), bid("00:00-24:00"), bid("00:00-02:00")]
    assert len(parse_bids({"arr": exactly_200}, LIMITS).slots) == 200
    assert faults_of({"arr": [*exactly_200, bid("10:00-10:30")]}) == [f"arr makes {text}"]
    assert faults_of({"arr": [*exactly_200, bid()]}) == [f"arr makes {text}"]
    assert faults_of({"arr": [bid("00:00-24:00")] * 3 + [7]}) == ["arr[3] must be an object", f"arr makes {text}"]
    few = BidLimits(LIMITS.price_tick, LIMITS.volume_tick, 0, 10**6, 10**9, max_bids=3)
    assert faults_of(bid("10:00-11:00"), few) == [f"timeslot makes {text.replace('200', '3')}"]


def test_a_hundred_faults_are_named_and_the_rest_counted() -> None:
    assert MAX_FAULTS == 100
    assert len(faults_of({"arr": [7] * 100})) == 100
    errors = faults_of({"arr": [7] * 101})
    assert errors[99:] == ["arr[99] must be an object", "... and 1 more"]
    assert faults_of({"arr": [{}] * 200})[-1] == "... and 500 more"


def test_one_bad_bid_places_none() -> None:
    assert faults_of({"arr": [bid()] * 95 + [bid(price="x")]}) == ["arr[95].price must be a decimal number like 4.25"]


def test_limits_are_shown_in_ticks_of_any_size() -> None:
    coarse = BidLimits(Tick(Decimal("0.05")), Tick(Decimal("10")), 1, 30, 20, 5)
    errors = faults_of({"arr": [bid(volume="210", price="1.55"), bid(volume="15", price="0")]}, coarse)
    assert errors == [
        "arr[0].volume must be at most 200",
        "arr[0].price must be at most 1.5",
        "arr[1].volume must be a multiple of 10",
        "arr[1].price must be at least 0.05",
    ]


SLOT_VALUES: st.SearchStrategy[object] = (
    st.integers(-1, 98)
    | st.integers(1, 96).map(format_slot)
    | st.sampled_from(["10:00-11:00", "22:00-00:00", "00:00-24:00", "9:00", "10:07", "x", "37", "", None])
)
NUMBER_VALUES: st.SearchStrategy[object] = (
    st.integers(-(2**70), 2**70)
    | st.integers(-5, 50)
    | st.decimals(allow_nan=True, allow_infinity=True)
    | st.decimals(min_value=-11, max_value=2000, places=2)
    | st.from_regex(r"-?[0-9]{1,4}(\.[0-9]{1,4})?", fullmatch=True, alphabet="-.0123456789")
    | st.sampled_from([None, True, "", "x", [], {}, "1e5"])
)
MOSTLY_GOOD = st.fixed_dictionaries(
    {
        "timeslot": st.integers(1, 96).map(format_slot),
        "volume": st.integers(1, 10**6).map(LIMITS.volume_tick.format),
        "price": st.integers(-1000, 10**6).map(LIMITS.price_tick.format),
    }
)
BIDS = MOSTLY_GOOD | st.fixed_dictionaries(
    {}, optional={"timeslot": SLOT_VALUES, "volume": NUMBER_VALUES, "price": NUMBER_VALUES}
)


def expected_of(item: JsonObject) -> list[tuple[int, int, int]] | None:
    """(slot, price, volume) of one bid by the rules alone, field by field and without a fast way; None if refused."""
    try:
        slots = parse_timeslot(item.get("timeslot"))
        price = LIMITS.price_tick.parse(item.get("price"))
        volume = LIMITS.volume_tick.parse(item.get("volume"))
    except (SlotError, TickError):
        return None
    if not (LIMITS.floor_ticks <= price <= LIMITS.cap_ticks and len(slots) <= volume <= LIMITS.max_volume_ticks):
        return None
    share, left_over = divmod(volume, len(slots))
    return [(slot, price, share + (nth < left_over)) for nth, slot in enumerate(slots)]


@given(st.lists(BIDS, min_size=1, max_size=6))
@settings(deadline=None, max_examples=500)
def test_any_bids_are_placed_by_the_rules_or_each_bad_one_is_named(arr: list[JsonObject]) -> None:
    expected = [expected_of(item) for item in arr]
    bad = {index for index, rows in enumerate(expected) if rows is None}
    rows = [row for rows in expected if rows is not None for row in rows]
    if bad:
        named = {int(error.removeprefix("arr[").split("]")[0]) for error in faults_of({"arr": arr}) if "[" in error}
        assert named == bad
    elif len(rows) > LIMITS.max_bids:
        assert "more than 200 bids" in faults_of({"arr": arr})[0]
    else:
        bids = parse_bids({"arr": arr}, LIMITS)
        assert list(zip(bids.slots, bids.prices, bids.volumes, strict=True)) == rows


LEAVES = st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=12)
JSON_VALUES = LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(st.text(max_size=3), LEAVES, max_size=1)
OBJECTS = st.fixed_dictionaries({}, optional={"timeslot": JSON_VALUES, "volume": JSON_VALUES, "price": JSON_VALUES})
BODIES = st.builds(
    lambda beside, arr: {**beside, **arr},
    OBJECTS,
    st.fixed_dictionaries({}, optional={"arr": JSON_VALUES | st.lists(OBJECTS | JSON_VALUES, max_size=3)}),
)


@given(BODIES)
@settings(deadline=None, max_examples=300)
def test_any_json_body_is_bids_or_faults(body: JsonObject) -> None:
    errors: list[str] = []
    try:
        bids = parse_bids(body, LIMITS)
    except BidFaults as refusal:
        errors = refusal.errors
    else:
        assert len(bids.slots) == len(bids.prices) == len(bids.volumes) > 0
        return
    assert errors
    assert all(error.isascii() and len(error) < 130 for error in errors)


def outcome(body: JsonObject) -> ParsedBids | list[str] | str:
    """Bids, faults, or what a binary float raises."""
    try:
        return parse_bids(body, LIMITS)
    except BidFaults as refusal:
        return refusal.errors
    except TypeError as fault:
        return str(fault)


def outcome_with_care(body: JsonObject) -> ParsedBids | list[str] | str:
    """The same, each bid read by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bid_array, "_read_columns", lambda *_: False)
        return outcome(body)


GOOD = st.fixed_dictionaries(
    {
        "timeslot": st.integers(1, 96).map(format_slot) | st.sampled_from(["1", "96", "10:00", "9:45", "23:45-00:00"]),
        "volume": st.sampled_from(["1", "0.001", "2.50", "1000000", 3, Decimal("1.5")]),
        "price": st.sampled_from(["4", "-10", "10000", "0", 7, Decimal("2.25")]),
    }
)
# What is wrong, rare, or at the edge, in the place of one value.
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        "10:00-11:00",
        41,
        True,
        False,
        None,
        "",
        "0",
        "-0",
        "-0.001",
        "1000000.001",
        "-10.01",
        "10000.01",
        "4.255",
        4.25,
        [],
        {},
    ]
)
ODD_BID = st.tuples(GOOD, st.sampled_from(["timeslot", "volume", "price"]), ODD).map(
    lambda made: {**made[0], made[1]: made[2]}
)
LEFT_OUT = st.tuples(GOOD, st.sampled_from(["timeslot", "volume", "price"])).map(
    lambda made: {name: value for name, value in made[0].items() if name != made[1]}
)
ARRAYS = st.lists(GOOD, min_size=1, max_size=5) | st.lists(
    st.one_of(GOOD, GOOD, ODD_BID, LEFT_OUT, st.sampled_from(["text", 5, None, ["timeslot"]])), min_size=1, max_size=4
)


@given(ARRAYS, st.sampled_from([{}, {"price": "5"}, {"volume": "x"}]))
@settings(deadline=None, max_examples=500)
def test_an_array_read_by_columns_is_what_it_is_bid_by_bid(arr: list[Any], beside: JsonObject) -> None:
    body = {**beside, "arr": arr}
    assert outcome(body) == outcome_with_care(body)


@given(st.lists(GOOD, min_size=1, max_size=5))
@settings(deadline=None, max_examples=100)
def test_arrays_without_a_fault_are_read_by_columns(arr: list[Any]) -> None:
    bids = ParsedBids([], [], [])
    assert bid_array._read_columns(arr, LIMITS, bids)
    assert bids == outcome_with_care({"arr": arr})


def test_an_array_that_is_not_read_by_columns_leaves_nothing_behind() -> None:
    for odd in (bid(volume="0"), bid(price="x"), bid("10:00-11:00"), bid(volume="1000001"), bid(price="-11"), {}, 5):
        bids = ParsedBids([], [], [])
        assert not bid_array._read_columns([bid(), odd], LIMITS, bids)
        assert bids == ParsedBids([], [], [])


@given(OBJECTS)
@settings(deadline=None, max_examples=200)
def test_any_json_body_is_a_change_or_faults(body: JsonObject) -> None:
    errors: list[str] = []
    try:
        change = parse_change(body, LIMITS)
    except BidFaults as refusal:
        errors = refusal.errors
    else:
        assert change != Change(None, None)
        return
    assert 1 <= len(errors) <= 2


@pytest.mark.parametrize(
    ("body", "change"),
    [
        ({"price": "4.25"}, Change(price=425, volume=None)),
        ({"volume": Decimal("2.5")}, Change(price=None, volume=2500)),
        ({"price": 0, "volume": "1", "timeslot": "nonsense"}, Change(price=0, volume=1000)),
        ({"price": None, "volume": 3}, Change(price=None, volume=3000)),
    ],
)
def test_a_change_sets_price_or_volume_or_both(body: JsonObject, change: Change) -> None:
    assert parse_change(body, LIMITS) == change


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, ["price or volume is required"]),
        ({"price": None, "timeslot": "10:00"}, ["price or volume is required"]),
        ({"price": "4.255"}, ["price must be a multiple of 0.01"]),
        (
            {"price": "10001", "volume": "0"},
            ["price must be at most 10000", "volume must be greater than 0"],
        ),
        ({"volume": "1000001"}, ["volume must be at most 1000000"]),
        ({"price": "", "volume": True}, [f"{name} must be a decimal number like 4.25" for name in ("price", "volume")]),
    ],
)
def test_every_fault_of_a_change_is_named(body: JsonObject, errors: list[str]) -> None:
    assert change_faults_of(body) == errors


def test_a_binary_float_in_a_change_is_our_own_fault() -> None:
    with pytest.raises(TypeError, match="binary float"):
        parse_change({"price": 4.25}, LIMITS)


def test_a_refusal_says_its_first_faults() -> None:
    refusal = BidFaults(["a", "b", "c", "d"])
    assert str(refusal) == "a; b; c"
    assert refusal.errors == ["a", "b", "c", "d"]
