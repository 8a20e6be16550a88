import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.phones import PhoneError, parse_phone


@pytest.mark.parametrize(
    "text",
    [
        "9876543210",
        "09876543210",
        "+919876543210",
        "91 98765 43210",
        "+91 98765 43210",
        "+91-98765-43210",
        "098765 43210",
        " 9876543210 ",
        "98765-43210",
    ],
)
def test_every_usual_form_is_one_number(text: str) -> None:
    assert parse_phone(text, "IN") == "+919876543210"


@pytest.mark.parametrize("text", ["1234567890", "+911234567890"])
def test_the_documents_own_number_is_possible(text: str) -> None:
    assert parse_phone(text, "IN") == "+911234567890"


def test_a_number_without_a_country_belongs_to_the_region() -> None:
    assert parse_phone("020 7946 0958", "GB") == "+442079460958"
    assert parse_phone("+442079460958", "IN") == "+442079460958"
    assert parse_phone("+1 415 555 2671", "IN") == "+14155552671"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "+",
        "12",
        "123456789012345678",
        "+91",
        "+999123456789",
        "phone",
        "1800FLOWERS",
        "98765x43210",
        "9876543210 ext 5",
        "९८७६५४३२१०",
        "９８７６５４３２１０",
        "9876543210\n",
        "9876543210\r\nTo: 1",
        "9876543210\x00",
        "tel:9876543210",
        "++919876543210",
        "9876543210;1=1",
        "-9876543210",
    ],
)
def test_what_cannot_be_dialled_is_refused_with_a_clause(text: str) -> None:
    with pytest.raises(PhoneError, match=r"^(must|is) "):
        parse_phone(text, "IN")


@given(st.text(max_size=40) | st.from_regex(r"[+0-9 ()-]{1,25}", fullmatch=True))
def test_whatever_is_read_is_e164_and_reads_as_itself(text: str) -> None:
    try:
        number = parse_phone(text, "IN")
    except PhoneError:
        return
    assert number[0] == "+"
    assert number[1:].isascii()
    assert number[1:].isdigit()
    assert len(number) <= 16
    assert parse_phone(number, "IN") == number
