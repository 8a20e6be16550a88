import secrets

import pytest

from auth.otp import OtpDigests, OtpPurpose, is_otp, make_otp

PHONE = "+911234567890"


def test_an_otp_has_six_digits_that_are_not_guessable_from_each_other() -> None:
    made = [make_otp() for _ in range(2000)]
    assert all(len(otp) == 6 and otp.isascii() and otp.isdigit() for otp in made)
    assert len(set(made)) > 1900
    assert any(otp[0] == "0" for otp in made), "leading zeros are part of the million"


def test_otps_come_from_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def forty_two(below: int) -> int:
        asked.append(below)
        return 42

    monkeypatch.setattr(secrets, "randbelow", forty_two)
    assert make_otp() == "000042"
    assert asked == [1_000_000]


@pytest.mark.parametrize("text", ["000000", "123456", "999999"])
def test_six_ascii_digits_are_an_otp(text: str) -> None:
    assert is_otp(text)


@pytest.mark.parametrize(
    "text",
    ["", "12345", "1234567", "12345a", "123456\n", " 123456", "१२३४५६", "１２３４５６", "-12345", "1e5000", "²²²²²²"],
)
def test_nothing_else_is(text: str) -> None:
    assert not is_otp(text)


def test_a_digest_depends_on_purpose_number_otp_and_secret() -> None:
    digests = OtpDigests("a-secret-for-tests-only-0123456789abcdef")
    digest = digests.digest(OtpPurpose.SIGNUP, PHONE, "123456")
    assert digest == digests.digest(OtpPurpose.SIGNUP, PHONE, "123456")
    others = {
        digests.digest(OtpPurpose.RESET, PHONE, "123456"),
        digests.digest(OtpPurpose.PARTNER, PHONE, "123456"),
        digests.digest(OtpPurpose.SIGNUP, "+911234567891", "123456"),
        digests.digest(OtpPurpose.SIGNUP, PHONE, "123457"),
        OtpDigests("another-secret-of-good-length-0123456789").digest(OtpPurpose.SIGNUP, PHONE, "123456"),
    }
    assert len(others | {digest}) == 6


def test_a_digest_shows_neither_otp_nor_number() -> None:
    digest = OtpDigests("a-secret-for-tests-only-0123456789abcdef").digest(OtpPurpose.SIGNUP, PHONE, "123456")
    assert len(digest) >= 64
    assert "123456" not in digest.encode().hex()
    assert set(digest) <= set("0123456789abcdef")
