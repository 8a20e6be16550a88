"""Which e-mail addresses are the same one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.emails import email_key


@pytest.mark.parametrize(
    "form", ["john@example.com", "John@Example.COM", "JOHN@EXAMPLE.COM", "john@xn--bcher-kva.example"], ids=str
)
def test_a_key_is_its_own_key(form: str) -> None:
    assert email_key(email_key(form)) == email_key(form)


def test_case_does_not_tell_addresses_apart() -> None:
    assert email_key("John.Doe@Example.COM") == email_key("john.doe@example.com") == "john.doe@example.com"


def test_an_international_domain_has_one_key() -> None:
    keys = {email_key(f"a@{domain}") for domain in ("bücher.example", "BÜCHER.example", "xn--bcher-kva.example")}
    assert keys == {"a@xn--bcher-kva.example"}


def test_dots_and_tags_tell_addresses_apart() -> None:
    assert len({email_key(text) for text in ("a.b@example.com", "ab@example.com", "ab+x@example.com")}) == 3


@given(st.text(max_size=300))
def test_any_text_has_a_key(text: str) -> None:
    assert isinstance(email_key(text), str)
