"""Whole ticks: what is read, what is refused, and that nothing is ever rounded."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from market.ticks import INT64_MAX, INT64_MIN, Tick, TickError, amount

PRICE = Tick(Decimal("0.01"))
VOLUME = Tick(Decimal("0.001"))
SIZES = ["0.01", "0.001", "0.05", "0.25", "0.15", "0.1", "0.10", "1", "5", "10", "1E+1", "0.000000001", "1000000000"]
TICKS = [Tick(Decimal(size)) for size in SIZES]

INT64 = st.integers(INT64_MIN, INT64_MAX)


@pytest.mark.parametrize(
    ("value", "ticks"),
    [
        ("4.25", 425),
        ("4.2", 420),
        ("4", 400),
        ("4.250", 425),
        ("4.2500000000", 425),
        ("004.25", 425),
        ("0.01", 1),
        ("-0.05", -5),
        ("-12", -1200),
        ("0", 0),
        ("999.99", 99999),
        ("1000", 100000),
        ("1234.5", 123450),
        (4, 400),
        (-4, -400),
        (0, 0),
        (Decimal("4.25"), 425),
        (Decimal("4"), 400),
        (Decimal("1E+2"), 10000),
        (Decimal("425E-2"), 425),
        (Decimal("0E+999999"), 0),
        (Decimal("0E-999999"), 0),
        (Decimal("4.25" + "0" * 500), 425),
        ("92233720368547758.07", INT64_MAX),
        ("-92233720368547758.08", INT64_MIN),
        (Decimal("92233720368547758.07"), INT64_MAX),
    ],
)
def test_a_price_is_read_as_whole_ticks(value: object, ticks: int) -> None:
    assert PRICE.parse(value) == ticks


@pytest.mark.parametrize(
    ("size", "value", "ticks"),
    [
        ("0.05", "4.05", 81),
        ("0.05", "0.1", 2),
        ("0.25", "0.5", 2),
        ("0.25", "12.75", 51),
        ("0.15", "4.05", 27),
        ("5", "125", 25),
        ("5", "125.0", 25),
        ("5", "1005", 201),
        ("1E+1", "120", 12),
        ("0.000000001", "1.000000001", 1000000001),
        ("1000000000", "3000000000", 3),
    ],
)
def test_ticks_of_any_decimal_size_work(size: str, value: str, ticks: int) -> None:
    tick = Tick(Decimal(size))
    assert tick.parse(value) == ticks
    assert tick.parse(Decimal(value)) == ticks
    assert tick.parse(value + "000" if "." in value else value + ".000") == ticks


NOT_A_NUMBER: list[object] = [
    "", " ", "x", ".5", "5.", "4.", "+5", "--5", "-", "-.5", ".", "1.2.3", "1,5", "1_000", " 12 ", "12 ", "\t12", "5\n",
    "5\r\n", "1e5", "1E2", "0x10", "NaN", "nan", "Infinity", "-inf", "1e999", "sNaN", "\x00", "5\x00", "4.2\x005",
    "５", "４.２５", "٤.٢٥", "४", "²", "4.²", "4.٢", "1\u20034", "\u202e5", "\ud800", "5\ud800", "−5", "5 kWh", "1/2",
    None, True, False, [], {}, ["4.25"], (4,), b"4.25", Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"),
    Decimal("-Infinity"), 1j,
]  # fmt: skip


@pytest.mark.parametrize(
    "value", ["-0", "-0.00", "-0.000", "-00", Decimal("-0.0"), Decimal("-0"), Decimal("-0E5")], ids=str
)
def test_a_negative_zero_is_no_number_of_ticks(value: object) -> None:
    with pytest.raises(TickError, match=r"^must not be a negative zero$"):
        PRICE.parse(value)


@pytest.mark.parametrize("value", NOT_A_NUMBER, ids=ascii)
def test_what_is_no_plain_decimal_number_is_refused(value: object) -> None:
    for tick in (PRICE, VOLUME):
        with pytest.raises(TickError, match=r"^must be a decimal number like 4\.25$"):
            tick.parse(value)


@pytest.mark.parametrize(
    "value", ["4.255", "0.001", "-0.009", "1234.567", Decimal("4.255"), Decimal("1E-400")], ids=str
)
def test_a_price_between_two_ticks_is_refused_and_not_rounded(value: object) -> None:
    with pytest.raises(TickError, match=r"^must be a multiple of 0\.01$"):
        PRICE.parse(value)


@pytest.mark.parametrize(
    "value",
    [Decimal("1E-999999999999"), Decimal("0.1E-50"), Decimal("0." + "0" * 30 + "1"), Decimal("4.25" + "0" * 200 + "1")],
    ids=lambda value: f"{value:.3e}",
)
def test_far_digits_are_refused_without_being_expanded(value: Decimal) -> None:
    with pytest.raises(TickError, match="multiple"):
        PRICE.parse(value)


@pytest.mark.parametrize(
    ("size", "value", "text"),
    [
        ("0.05", "4.03", "must be a multiple of 0.05"),
        ("0.25", "4.3", "must be a multiple of 0.25"),
        ("5", "7", "must be a multiple of 5"),
        ("5", 7, "must be a multiple of 5"),
        ("1E+1", "15", "must be a multiple of 10"),
        ("5", "x", "must be a decimal number like 5"),
    ],
)
def test_the_error_names_the_tick(size: str, value: object, text: str) -> None:
    with pytest.raises(TickError) as refusal:
        Tick(Decimal(size)).parse(value)
    assert str(refusal.value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("92233720368547758.08", "is too large"),
        ("-92233720368547758.09", "is too small"),
        (2**70, "is too large"),
        (-(2**70), "is too small"),
        pytest.param(10**5000, "is too large", id="10**5000"),
        pytest.param(-(10**5000), "is too small", id="-10**5000"),
        (Decimal("1E+999"), "is too large"),
        (Decimal("1E+999999999999"), "is too large"),
        (Decimal("-1E+999999999999"), "is too small"),
        (Decimal(2**70), "is too large"),
        ("9" * 40, "is too large"),
        ("-" + "9" * 39, "is too small"),
    ],
)
def test_what_does_not_fit_64_bits_is_refused(value: object, text: str) -> None:
    with pytest.raises(TickError) as refusal:
        PRICE.parse(value)
    assert str(refusal.value) == text


def test_a_text_of_40_characters_is_read_and_one_of_41_is_not() -> None:
    assert PRICE.parse("4." + "25".ljust(38, "0")) == 425
    assert PRICE.parse("0" * 37 + "4.2") == 420
    for text in ("4." + "25".ljust(39, "0"), "0" * 41, "9" * 100_000):
        with pytest.raises(TickError, match="at most 40 characters"):
            PRICE.parse(text)


@pytest.mark.parametrize("value", [4.25, 0.0, float("nan"), float("inf")])
def test_a_binary_float_is_our_own_fault_and_no_users(value: float) -> None:
    with pytest.raises(TypeError, match="binary float"):
        PRICE.parse(value)


def test_decimals_that_floats_get_wrong_are_exact() -> None:
    assert PRICE.parse("0.1") + PRICE.parse("0.2") == PRICE.parse("0.3")
    assert VOLUME.format(3 * VOLUME.parse("0.333")) == "0.999"
    assert PRICE.parse(Decimal("50.00")) == 5000
    assert amount(PRICE.parse("0.1"), VOLUME.parse("0.2"), PRICE, VOLUME) == "0.02000"
    assert VOLUME.parse("123456789012345.678") == 123456789012345678


@pytest.mark.parametrize(
    ("size", "ticks", "text"),
    [
        ("0.01", 450, "4.50"),
        ("0.01", -5, "-0.05"),
        ("0.01", 0, "0.00"),
        ("0.01", -100, "-1.00"),
        ("0.001", 1, "0.001"),
        ("0.05", 81, "4.05"),
        ("0.05", -81, "-4.05"),
        ("0.10", 45, "4.50"),
        ("0.1", 45, "4.5"),
        ("5", 25, "125"),
        ("5", -1, "-5"),
        ("1E+1", 12, "120"),
        ("0.01", INT64_MIN, "-92233720368547758.08"),
        ("0.000000001", 1, "0.000000001"),
    ],
)
def test_ticks_are_shown_with_the_decimals_of_the_tick(size: str, ticks: int, text: str) -> None:
    assert Tick(Decimal(size)).format(ticks) == text


@given(st.sampled_from(TICKS), INT64)
@example(TICKS[0], INT64_MAX)
@example(TICKS[0], INT64_MIN)
@settings(deadline=None, max_examples=400)
def test_what_is_shown_reads_back_as_the_same_ticks(tick: Tick, ticks: int) -> None:
    text = tick.format(ticks)
    assert tick.parse(text) == ticks
    assert tick.parse(Decimal(text)) == ticks
    assert Fraction(text) == ticks * Fraction(tick.size)


@given(st.sampled_from(TICKS), st.from_regex(r"-?[0-9]{1,6}(\.[0-9]{1,6})?", fullmatch=True, alphabet="-.0123456789"))
@settings(deadline=None, max_examples=1000)
def test_a_plain_decimal_is_read_exactly_or_refused(tick: Tick, text: str) -> None:
    exact = Fraction(text) / Fraction(tick.size)
    for value in (text, Decimal(text)):
        if not exact and text.startswith("-"):
            with pytest.raises(TickError, match="negative zero"):
                tick.parse(value)
        elif exact.denominator == 1:
            assert tick.parse(value) == exact
        else:
            with pytest.raises(TickError, match="multiple"):
                tick.parse(value)


@given(st.sampled_from(TICKS), st.integers(-(2**80), 2**80))
@settings(deadline=None, max_examples=300)
def test_a_whole_number_is_read_exactly_or_refused(tick: Tick, number: int) -> None:
    exact = Fraction(number) / Fraction(tick.size)
    if exact.denominator == 1 and INT64_MIN <= exact <= INT64_MAX:
        assert tick.parse(number) == exact
    else:
        with pytest.raises(TickError, match=r"multiple|too large|too small"):
            tick.parse(number)


@given(st.text(max_size=60) | st.text(alphabet="0123456789.-+eE_ \n٤５", max_size=45))
@settings(deadline=None, max_examples=1000)
def test_any_text_is_a_number_of_ticks_or_a_tick_error(text: str) -> None:
    try:
        ticks = VOLUME.parse(text)
    except TickError:
        return
    assert set(text) <= set("-.0123456789")
    assert Fraction(text) == Fraction(ticks, 1000)


@given(st.decimals(allow_nan=True, allow_infinity=True))
@settings(deadline=None, max_examples=500)
def test_any_decimal_is_a_number_of_ticks_or_a_tick_error(value: Decimal) -> None:
    try:
        ticks = VOLUME.parse(value)
    except TickError:
        return
    assert Fraction(value) == Fraction(ticks, 1000)


@given(st.sampled_from(TICKS), st.sampled_from(TICKS), INT64, INT64)
@settings(deadline=None, max_examples=300)
def test_an_amount_is_the_exact_product(price_tick: Tick, volume_tick: Tick, price: int, volume: int) -> None:
    shown = amount(price, volume, price_tick, volume_tick)
    assert Fraction(shown) == price * Fraction(price_tick.size) * volume * Fraction(volume_tick.size)
    assert "e" not in shown.lower()


def test_an_amount_shows_the_decimals_of_both_ticks() -> None:
    assert amount(425, 3000, PRICE, VOLUME) == "12.75000"
    assert amount(-5, 1, PRICE, VOLUME) == "-0.00005"


@pytest.mark.parametrize("size", ["0", "-0.01", "NaN", "Infinity", "0.0000000001", "1000000001", "1E-400", "1E+400"])
def test_a_tick_size_that_cannot_be_used_is_refused(size: str) -> None:
    with pytest.raises(TickError, match="must be a decimal number above 0"):
        Tick(Decimal(size))


def test_ticks_are_values() -> None:
    assert Tick(Decimal("0.01")) == PRICE
    assert hash(Tick(Decimal("0.01"))) == hash(PRICE)
    assert Tick(Decimal("0.1")) != Tick(Decimal("0.10"))
    assert repr(PRICE) == "Tick(size=Decimal('0.01'), decimals=2)"


def test_what_was_parsed_before_gives_way_to_nothing_that_is_only_equal_to_it() -> None:
    tick = Tick(Decimal("1"))
    assert (tick.ticks_of["1"], tick.ticks_of[1], tick.ticks_of[Decimal(1)]) == (1, 1, 1)
    for _ in range(2):
        with pytest.raises(TickError):
            tick.ticks_of[True]
        with pytest.raises(TypeError):
            tick.ticks_of[1.0]
        with pytest.raises(TickError):
            tick.ticks_of["1.5"]


def test_what_is_remembered_has_a_bound() -> None:
    tick = Tick(Decimal("0.01"))
    for ticks in range(20_000):
        text = tick.text_of[ticks]
        assert tick.ticks_of[text] == ticks
        assert text == tick.format(ticks)
    assert len(tick.text_of) < 20_000
    assert len(tick.ticks_of) < 20_000
