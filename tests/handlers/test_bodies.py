"""Bodies that nobody should send: each is refused clearly, none is a fault of the server."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.body import _survey
from tests.answers import Answer, assert_invalid, assert_refused, call
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, sign_up

OPEN = ("/sendotp", "/signup", "/signin", "/resetpassword", "/operator/signin")
CLOSED = ("/setup", "/placebid/dayahead", "/changepassword")


async def everywhere(client: Client, by: Household, data: bytes, headers: dict[str, str] | None = None) -> list[Answer]:
    """The answers of every endpoint that reads a body."""
    answers = [await call(client, "POST", path, data=data, headers=headers) for path in OPEN]
    answers += [await call(client, "POST", path, data=data, headers=headers, by=by) for path in CLOSED]
    placed = await call(client, "POST", "/placebid/dayahead", {"arr": [bid()]}, by=by)
    path = f"/bids/dayahead/{placed.body['bids'][0]['id']}"
    return [*answers, await call(client, "PATCH", path, data=data, headers=headers, by=by)]


async def raw(port: int | None, request: bytes, within: float = 5) -> bytes:
    """What the server answers to bytes as they are: one whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(within):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
            )
            return head + await reader.readexactly(length)
    finally:
        writer.transport.abort()


async def test_what_is_not_a_json_object_is_refused_everywhere(client: Client) -> None:
    household = await sign_up(client)
    for data in (
        b"",
        b" ",
        b"{",
        b"hello",
        b"PhoneNo=1234567890",
        b"[]",
        b'"text"',
        b"null",
        b"17",
        b"true",
        b'{"PhoneNo":"1234567890",}',
        b"{'PhoneNo':'1234567890'}",
        b'{"PhoneNo":"1234567890"}{"PhoneNo":"1234567890"}',
        b'{"PhoneNo":"1234567890"} tail',
        b'{"PhoneNo":"1234\n567890"}',
        b"\xff\xfe{\x00}\x00",
        b'{"PhoneNo":"\xff\xfe"}',
        b'{"PhoneNo":"\xed\xa0\x80"}',
        b"\x00" * 100,
    ):
        for answer in await everywhere(client, household, data):
            assert_invalid(answer)


async def test_numbers_that_json_does_not_know_are_refused_everywhere(client: Client) -> None:
    household = await sign_up(client)
    for number in (b"NaN", b"Infinity", b"-Infinity", b"01", b"0x1", b"1_000", b"+1", b"."):
        for answer in await everywhere(client, household, b'{"PhoneNo":' + number + b',"price":' + number + b"}"):
            assert_invalid(answer)


async def test_a_key_that_is_named_twice_is_refused_everywhere(client: Client) -> None:
    household = await sign_up(client)
    for data in (
        b'{"PhoneNo":"1234567890","PhoneNo":"1234567891"}',
        b'{"price":"1","price":"2"}',
        b'{"price":"1","pric\\u0065":"2"}',
        b'{"arr":[{"timeslot":"1","volume":"1","volume":"2","price":"1"}]}',
        b'{"unknown":{"a":1,"a":2}}',
        b'{"a":"\\":","b":1,"b":2}',
    ):
        for answer in await everywhere(client, household, data):
            assert_invalid(answer)


async def test_values_at_the_edge_of_json_are_refused_or_read_but_never_a_fault(client: Client) -> None:
    household = await sign_up(client)
    values = ("1e999", "-1e999", "-0", "-0.0", str(2**70), str(-(2**70)), "1e-400", "9" * 4000, "0." + "1" * 4000)
    texts = (
        '"\\u0000"',
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\\u202e\\u2066\\u200f"',
        '"\\ufeff"',
        '"' + "x" * 10_000 + '"',
    )
    fields = ("PhoneNo", "password", "connectionId", "otp", "username", "accountType", "price", "volume", "timeslot")
    more = (
        "solarCapacity",
        "city",
        "pincode",
        "gps",
        "solarBrand",
        "year",
        "load",
        "oldPassword",
        "newPassword",
        "name",
    )
    for value in (*values, *texts):
        body = "{" + ",".join(f'"{name}":{value}' for name in (*fields, *more)) + "}"
        for answer in await everywhere(client, household, body.encode()):
            assert answer.status in (400, 401), (value[:20], answer)
            assert answer.message


async def test_text_with_marks_of_direction_is_text(client: Client) -> None:
    household = await sign_up(client)
    form = {"city": "\u202eBengaluru\u200f", "solarBrand": "‏ब्रांड", "solarCapacity": "5", "pincode": "560001"}
    rest = {"gps": "12.9,77.5", "year": "2022", "load": "3"}
    answer = await call(client, "POST", "/setup", {**form, **rest}, by=household)
    assert answer.status in (200, 400), answer


async def test_depth_is_refused_not_a_fault(client: Client) -> None:
    household = await sign_up(client)
    for depth in (600, 1_100, 3_000, 100_000):
        for data in (
            b"[" * depth + b"]" * depth,
            b'{"arr":' * depth + b"1" + b"}" * depth,
            b'{"a":[' * depth,
            b"[" * depth,
        ):
            for path in ("/sendotp", "/placebid/dayahead"):
                assert_invalid(await call(client, "POST", path, data=data, by=household))
    nested = b'{"arr":[' + b'{"timeslot":' * 900 + b"1" + b"}" * 900 + b"]}"
    assert_invalid(await call(client, "POST", "/placebid/dayahead", data=nested, by=household))


async def test_unknown_fields_are_ignored_whatever_they_hold(client: Client) -> None:
    household = await sign_up(client)
    extra = {"extra": [{"deep": [1, None, {"x": "y"}]}], "csrf": "x" * 1000, "": "", "__proto__": {"side": "buy"}}
    for body in ({"arr": [{**bid(), **extra}], **extra},):
        assert (await call(client, "POST", "/placebid/dayahead", body, by=household)).status == 200
    assert (await call(client, "POST", "/sendotp", {"PhoneNo": "1234567890", **extra})).status == 200


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(make_client: MakeClient) -> None:
    client = await make_client(server={"max_body_bytes": 4096})
    household = await sign_up(client)
    for size, status in ((4096, 400), (4097, 413), (300_000, 413)):
        for answer in await everywhere(client, household, b'{"x":"' + b"x" * (size - 8) + b'"}'):
            assert answer.status == status, (size, answer)
            assert answer.message
    announced = await raw(client.port, b"POST /sendotp HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n{")
    assert announced.startswith(b"HTTP/1.1 413"), "100 MB are refused by their announcement"
    assert orjson.loads(announced.partition(b"\r\n\r\n")[2])["message"]


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_body_without_a_length_is_read_and_bounded_all_the_same(make_client: MakeClient) -> None:
    client = await make_client(server={"max_body_bytes": 4096})
    whole = await call(client, "POST", "/sendotp", data=chunks(b'{"Phone', b'No":"12345', b'67890"}'))
    assert (whole.status, whole.body) == (200, {"message": "OTP sent successfully"})
    endless = await call(client, "POST", "/sendotp", data=chunks(b'{"x":"', *[b"x" * 1000] * 5))
    assert_refused(endless, 413)


async def test_a_body_in_another_type_or_charset_is_refused(client: Client) -> None:
    household = await sign_up(client)
    good = b'{"PhoneNo":"1234567890"}'
    for wrong in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/json; charset=utf-7",
        "application/json; charset=nonsense",
        "nonsense",
        "/",
    ):
        for answer in await everywhere(client, household, good, {"Content-Type": wrong}):
            assert_refused(answer, 415)
    utf16 = '{"PhoneNo":"1234567890"}'.encode("utf-16")
    assert_invalid(await call(client, "POST", "/sendotp", data=utf16))
    for right in ("application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"):
        assert (await call(client, "POST", "/sendotp", data=good, headers={"Content-Type": right})).status == 200


async def test_a_compressed_body_is_refused_everywhere(client: Client) -> None:
    household = await sign_up(client)
    small = gzip.compress(b'{"PhoneNo":"1234567890"}')
    for answer in await everywhere(client, household, small, {"Content-Encoding": "gzip"}):
        assert_refused(answer, 415)


def compressed(coding: str, body: bytes) -> bytes:
    """A request with a body in that coding, as raw bytes."""
    fields = f"Host: x\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}"
    return f"POST /sendotp HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body


async def test_a_coding_that_the_parser_does_not_know_is_refused_as_any_other(worker_port: int) -> None:
    small = gzip.compress(b'{"PhoneNo":"1234567890"}')
    for coding in ("gzip", "deflate", "br", "zstd", "GZIP", "gzip, gzip", "identity", "nonsense"):
        for body in (small, b"no such coding", b'{"PhoneNo":"1234567890"}'):
            answer = await raw(worker_port, compressed(coding, body))
            assert answer.startswith(b"HTTP/1.1 415"), (coding, answer)
            assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["message"]


async def test_a_compressed_body_is_never_opened(worker_port: int) -> None:
    """Opening 200 MB takes this machine some 0.2 s; five of them, a second of everybody's time."""
    bomb = gzip.compress(b"1" * 200_000_000, compresslevel=1)
    began = time.process_time()
    for _ in range(5):
        assert (await raw(worker_port, compressed("gzip", bomb))).startswith(b"HTTP/1.1 415")
    assert (await raw(worker_port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert time.process_time() - began < 0.3


async def test_a_body_that_stays_half_is_given_up(make_client: MakeClient) -> None:
    client = await make_client(server={"body_timeout_s": 0.3})
    household = await sign_up(client)
    token = f"Authorization: Bearer {household.token}\r\n".encode()
    half = b'Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"PhoneNo":'
    open_chunk = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"
    requests = [f"POST {path} HTTP/1.1\r\nHost: x\r\n".encode() + token for path in (*OPEN, *CLOSED)]
    began = time.monotonic()
    answers = await asyncio.gather(
        *(raw(client.port, request + rest) for request in requests for rest in (half, open_chunk))
    )
    assert 0.25 < time.monotonic() - began < 3
    for answer in answers:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408"), answer
        assert b"application/json" in head
        assert orjson.loads(body)["message"]


async def test_a_half_body_delays_nobody_else(client: Client) -> None:
    """With the default of ten seconds: the others are answered while the half ones wait."""
    writers = []
    for _ in range(50):
        _, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"POST /sendotp HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
        writers.append(writer)
    async with asyncio.timeout(3):
        assert (await call(client, "POST", "/sendotp", {"PhoneNo": "1234567890"})).status == 200
    for writer in writers:
        writer.transport.abort()


async def test_what_is_left_of_a_refused_body_is_not_taken_for_a_request(make_client: MakeClient) -> None:
    client = await make_client(server={"max_body_bytes": 1024})
    hidden = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b" " * 5000 + hidden
    request = b"POST /sendotp HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(request)
    async with asyncio.timeout(5):
        try:
            answers = await reader.read()
        except ConnectionResetError:
            answers = b""
    writer.transport.abort()
    assert answers.count(b"HTTP/1.1 ") <= 1, answers
    assert b"HTTP/1.1 200" not in answers


async def test_every_field_of_the_wrong_type_is_named_with_all_others(client: Client) -> None:
    household = await sign_up(client)
    forms: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("/signup", ("PhoneNo", "password", "connectionId", "otp", "username", "accountType")),
        ("/signin", ("PhoneNo", "password", "connectionId", "accountType")),
        ("/setup", ("solarCapacity", "city", "pincode", "gps", "solarBrand", "year", "load")),
        ("/changepassword", ("oldPassword", "newPassword")),
        ("/resetpassword", ("PhoneNo", "otp", "accountType", "newPassword")),
    )
    values: tuple[Any, ...] = (None, True, {}, [], [[]], {"a": 1})
    for path, names in forms:
        for wrong in values:
            answer = await call(client, "POST", path, dict.fromkeys(names, wrong), by=household)
            assert_invalid(answer, *names)


def surveyed_with_care(document: Any) -> tuple[int, bool]:
    """What a survey must find, value by value."""
    if isinstance(document, dict):
        found = [surveyed_with_care(value) for value in document.values()]
        return len(document) + sum(keys for keys, _ in found), all(is_exact for _, is_exact in found)
    if isinstance(document, list):
        found = [surveyed_with_care(value) for value in document]
        return sum(keys for keys, _ in found), all(is_exact for _, is_exact in found)
    # A zero may have been a negative one. False is taken for one, which costs time and nothing else.
    return 0, not isinstance(document, float) and document != 0


KEYS = st.text(max_size=3)
PLAIN = st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False) | st.text(max_size=3)
TEXTS = st.dictionaries(KEYS, st.text(max_size=3), max_size=3)
VALUES = st.recursive(
    # Arrays of objects of texts, as that of bids is, and all that is nearly so.
    PLAIN | st.lists(TEXTS, max_size=3) | st.lists(st.dictionaries(KEYS, PLAIN, max_size=2), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(VALUES)
@settings(deadline=None, max_examples=500)
def test_a_survey_counts_every_key_and_finds_every_number_that_is_not_exact(document: Any) -> None:
    assert _survey(document) == surveyed_with_care(document)
