from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.tokens import Purpose, TokenError, Tokens

SECRET = "a-secret-for-tests-only-0123456789abcdef"
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens(SECRET)


def altered(tokens: Tokens, *left_out: str, **changed: Any) -> str:
    """A token with our secret whose payload is not ours."""
    good, _ = tokens.issue(Purpose.ACCOUNT, 7, 1, HOUR)
    payload = {**jwt.decode(good, options={"verify_signature": False}), **changed}
    return jwt.encode({k: v for k, v in payload.items() if k not in left_out}, SECRET, algorithm="HS256")


def test_a_token_says_whose_it_is_until_when(tokens: Tokens) -> None:
    token, issued = tokens.issue(Purpose.ACCOUNT, 7, 3, HOUR)
    claims = tokens.verify(token, Purpose.ACCOUNT)
    assert (claims.subject, claims.generation, claims.purpose) == (7, 3, Purpose.ACCOUNT)
    assert claims.jti == issued.jti
    assert abs(claims.expires_at - datetime.now(UTC) - HOUR) < timedelta(seconds=5)


def test_no_two_tokens_have_one_id(tokens: Tokens) -> None:
    assert len({tokens.issue(Purpose.ACCOUNT, 7, 1, HOUR)[1].jti for _ in range(100)}) == 100


@pytest.mark.parametrize("made_for", list(Purpose))
@pytest.mark.parametrize("asked_for", list(Purpose))
def test_a_token_is_good_for_its_own_purpose_only(tokens: Tokens, made_for: Purpose, asked_for: Purpose) -> None:
    token, _ = tokens.issue(made_for, 7, 1, HOUR)
    if made_for is asked_for:
        assert tokens.verify(token, asked_for).purpose is made_for
    else:
        with pytest.raises(TokenError):
            tokens.verify(token, asked_for)


def test_a_token_may_be_asked_for_by_several_purposes(tokens: Tokens) -> None:
    token, _ = tokens.issue(Purpose.SHIPPER, 7, 1, HOUR)
    assert tokens.verify(token, Purpose.TRANSPORTER, Purpose.SHIPPER).purpose is Purpose.SHIPPER


def test_an_expired_token_is_refused(tokens: Tokens) -> None:
    token, _ = tokens.issue(Purpose.ACCOUNT, 7, 1, HOUR, now=datetime.now(UTC) - HOUR)
    with pytest.raises(TokenError):
        tokens.verify(token, Purpose.ACCOUNT)


def test_a_token_of_another_secret_is_refused(tokens: Tokens) -> None:
    token, _ = Tokens("another-secret-of-good-length-0123456789").issue(Purpose.ACCOUNT, 7, 1, HOUR)
    with pytest.raises(TokenError):
        tokens.verify(token, Purpose.ACCOUNT)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(Exception, match=r"(?i)key|secret|bytes"):
        Tokens("short").issue(Purpose.ACCOUNT, 7, 1, HOUR)


@pytest.mark.parametrize("claim", ["exp", "iat", "iss", "aud", "sub", "jti"])
def test_a_token_without_a_claim_is_refused(tokens: Tokens, claim: str) -> None:
    with pytest.raises(TokenError):
        tokens.verify(altered(tokens, claim), Purpose.ACCOUNT)


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": 1},
        {"exp": "soon"},
        {"exp": None},
        {"exp": [1]},
        {"exp": 1e300},
        {"exp": -(2**70)},
        {"nbf": 4_000_000_000},
        {"iat": 4_000_000_000},
        {"iat": "now"},
        {"iss": "somebody"},
        {"iss": ""},
        {"aud": "somebody"},
        {"aud": None},
        {"aud": []},
        {"aud": ["shakti:account", "shakti:operator"]},
        {"aud": {"shakti:account": 1}},
        {"sub": 7},
        {"sub": "seven"},
        {"sub": "7.0"},
        {"sub": ""},
        {"sub": None},
        {"jti": 5},
        {"jti": None},
        {"gen": None},
        {"gen": "x"},
        {"gen": []},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_claim_is_refused_with_the_one_error(tokens: Tokens, changed: dict[str, Any]) -> None:
    with pytest.raises(TokenError):
        tokens.verify(altered(tokens, **changed), Purpose.ACCOUNT)


def test_a_token_has_one_spelling(tokens: Tokens) -> None:
    """Caches and revocations that knew a token by its text must not meet it under another."""
    token, _ = tokens.issue(Purpose.ACCOUNT, 7, 1, HOUR)
    for other in (
        token + "=",
        token + "==",
        token + "\n",
        " " + token,
        token + " ",
        token + ".",
        token.replace(".", ".="),
    ):
        with pytest.raises(TokenError):
            tokens.verify(other, Purpose.ACCOUNT)


@given(
    st.text(max_size=300)
    | st.from_regex(r"[A-Za-z0-9_-]{1,80}\.[A-Za-z0-9_-]{1,80}\.[A-Za-z0-9_-]{1,80}", fullmatch=True)
)
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with pytest.raises(TokenError):
        Tokens(SECRET).verify(text, Purpose.ACCOUNT)
