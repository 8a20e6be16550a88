"""`run.py auction FILE`: what it prints of good files, and what it says of bad ones."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.auction_file import clear_file
from tests.drills.server import PROJECT, environment

GOOD = '{"id": "good", "buys": [["5", "1"]], "sells": [["4", "1"]]}'
Clear = Callable[..., tuple[int, str, str]]


@pytest.fixture
def clear(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Clear:
    """Clears a file of lines: exit code, standard output, standard error."""

    def run(
        *lines: str | bytes, rule: str = "midpoint", price_tick: str = "0.01", volume_tick: str = "0.001"
    ) -> tuple[int, str, str]:
        file = tmp_path / "books.jsonl"
        file.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
        code = clear_file(str(file), rule, price_tick=price_tick, volume_tick=volume_tick)
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


def run_command(
    *arguments: str | Path, given: bytes | None = b"", **options: Any
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, PROJECT / "run.py", "auction", *arguments],
        input=given,
        stderr=subprocess.PIPE,
        env=environment(),
        timeout=40,
        check=False,
        **({"stdout": subprocess.PIPE} | options),
    )


def test_every_line_is_answered_in_its_place(clear: Clear) -> None:
    code, out, err = clear(
        '{"id": "a", "buys": [["5.00", "1"], ["4.5", "2.000"], ["1", "9"]], "sells": [["4", "2"]]}',
        '{"id": "b", "buys": [["3", "1"]], "sells": [["4", "2"], ["5", "2"]]}',
        '{"id": "c", "buys": [], "sells": []}',
        '{"id": 4, "buys": [["-1", "0.001"]], "sells": [["-2.05", "0.002"]]}',
    )
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"id": "a", "price": "4.50", "low": "4.50", "high": "4.50", "volume": "2.000"}
        | {"buys": ["1.000", "1.000", "0.000"], "sells": ["2.000"]},
        {"id": "b", "price": None, "low": None, "high": None, "volume": "0.000"}
        | {"buys": ["0.000"], "sells": ["0.000", "0.000"]},
        {"id": "c", "price": None, "low": None, "high": None, "volume": "0.000", "buys": [], "sells": []},
        {"id": 4, "price": "-2.05", "low": "-2.05", "high": "-2.05", "volume": "0.001"}
        | {"buys": ["0.001"], "sells": ["0.001"]},
    ]
    assert list(json.loads(out.splitlines()[0])) == ["id", "price", "low", "high", "volume", "buys", "sells"]


@pytest.mark.parametrize(("rule", "price"), [("midpoint", "4.62"), ("seller", "4.00"), ("buyer", "5.25")])
def test_the_price_rule_picks_the_price_in_the_interval(clear: Clear, rule: str, price: str) -> None:
    code, out, _ = clear('{"id": "a", "buys": [["5.25", "1"]], "sells": [["4", "1"]]}', rule=rule)
    answer = json.loads(out)
    assert (code, answer["price"], answer["low"], answer["high"]) == (0, price, "4.00", "5.25")


def test_ticks_say_what_a_price_and_a_volume_may_be_and_how_they_are_written(clear: Clear) -> None:
    line = '{"id": "a", "buys": [["15", "2.5"]], "sells": [["10", "3.0"]]}'
    code, out, _ = clear(line, price_tick="5", volume_tick="0.50")
    assert code == 0
    assert json.loads(out) == {"id": "a", "price": "10", "low": "10", "high": "10", "volume": "2.50"} | {
        "buys": ["2.50"],
        "sells": ["2.50"],
    }
    code, out, err = clear(line, price_tick="0.01", volume_tick="1")
    assert (code, out) == (2, "")
    assert err.startswith('line 1: "buys", bid 1: the volume must be a multiple of 1\n')


def test_numbers_are_read_exactly_whether_quoted_or_not(clear: Clear) -> None:
    # As floats both prices would be the same, and the volume would be off.
    code, out, err = clear(
        '{"id": "a", "buys": [[9007199254740993, 0.3]], '
        '"sells": [["9007199254740992", 1e-1], [9.007199254740992E15, 0.2]]}',
        rule="buyer",
        price_tick="1",
        volume_tick="0.1",
    )
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert (answer["price"], answer["low"], answer["volume"]) == ("9007199254740993", "9007199254740992", "0.3")


def test_who_stands_earlier_in_the_array_was_placed_earlier(clear: Clear) -> None:
    _, out, _ = clear('{"id": "a", "buys": [[5, 1], [5, 1], [5, 1]], "sells": [[5, 2]]}', volume_tick="1")
    assert json.loads(out)["buys"] == ["1", "1", "0"]


def test_other_fields_blank_lines_windows_line_ends_and_a_byte_order_mark_do_no_harm(clear: Clear) -> None:
    extra = GOOD.replace("{", '{"note": {"buys": NUMBER}, ', 1).replace("NUMBER", "1.5e3")
    code, out, err = clear(b"\xef\xbb\xbf" + GOOD.encode() + b"\r", "", "  \t", extra + "\r", GOOD, "")
    assert (code, err) == (0, "")
    assert [json.loads(line)["volume"] for line in out.splitlines()] == ["1.000"] * 3


def test_a_file_without_auctions_has_no_results(clear: Clear) -> None:
    assert clear() == (0, "", "")
    assert clear("", "  ") == (0, "", "")


def bid(price: str, volume: str = "1") -> str:
    return f'{{"id": "x", "buys": [], "sells": [["4", "1"], [{price}, {volume}]]}}'


SHAPE = 'must be an object like {"id": "...", "buys": [["price", "volume"], ...], "sells": [...]}'
PAIR = '"sells", bid 2 must be a pair ["price", "volume"]'
IN_BID = '"sells", bid 2: the '


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"id": "\xff"}', "is not UTF-8, at byte 9 of the line"),
        ("{", "is not JSON: Expecting property name enclosed in double quotes, at character "),
        ('{"id": "x", "buys": [] "sells": []}', "is not JSON: Expecting ',' delimiter, at character 24 of the line"),
        (GOOD + GOOD, "is not JSON: Extra data, at character 60 of the line"),
        ("5", SHAPE),
        ("[]", SHAPE),
        ("null", SHAPE),
        ('{"buys": [], "sells": []}', '"id" is missing'),
        ('{"id": "x", "sells": []}', '"buys" is missing'),
        ('{"id": "x", "buys": []}', '"sells" is missing'),
        ('{"id": null, "buys": [], "sells": []}', '"id" must be a text or a whole number'),
        ('{"id": true, "buys": [], "sells": []}', '"id" must be a text or a whole number'),
        ('{"id": 1.5, "buys": [], "sells": []}', '"id" must be a text or a whole number'),
        (f'{{"id": {"7" * 5000}, "buys": [], "sells": []}}', '"id" must be a text or a whole number'),
        ('{"id": "x", "buys": [], "sells": [], "id": "y"}', '"id" stands there more than once'),
        ('{"id": "x", "buys": [], "sells": [], "buys": []}', '"buys" stands there more than once'),
        ('{"id": "x", "buys": {}, "sells": []}', '"buys" must be a list of ["price", "volume"] pairs'),
        ('{"id": "x", "buys": [], "sells": null}', '"sells" must be a list of ["price", "volume"] pairs'),
        ('{"id": "x", "buys": [], "sells": [[4, 1], [4]]}', PAIR),
        ('{"id": "x", "buys": [], "sells": [[4, 1], [4, 1, 1]]}', PAIR),
        ('{"id": "x", "buys": [], "sells": [[4, 1], "45"]}', PAIR),
        ('{"id": "x", "buys": [], "sells": [[4, 1], {"price": 4, "volume": 1}]}', PAIR),
        (bid('"4.005"'), IN_BID + "price must be a multiple of 0.01"),
        (bid("4.005"), IN_BID + "price must be a multiple of 0.01"),
        (bid('"four"'), IN_BID + "price must be a decimal number like 4.25"),
        (bid('"NaN"'), IN_BID + "price must be a decimal number like 4.25"),
        (bid('"4,5"'), IN_BID + "price must be a decimal number like 4.25"),
        (bid("null"), IN_BID + "price must be a decimal number like 4.25"),
        (bid("true"), IN_BID + "price must be a decimal number like 4.25"),
        (bid('["4"]'), IN_BID + "price must be a decimal number like 4.25"),
        (bid("1e300"), IN_BID + "price is too large"),
        (bid("-1e300"), IN_BID + "price is too small"),
        (bid("7" * 5000), IN_BID + "price is too large"),
        (bid("-0.0"), IN_BID + "price must not be a negative zero"),
        (bid("4", "0"), IN_BID + "volume must be above 0"),
        (bid("4", '"0.000"'), IN_BID + "volume must be above 0"),
        (bid("4", "-1"), IN_BID + "volume must be above 0"),
        (bid("4", "0.0005"), IN_BID + "volume must be a multiple of 0.001"),
        (bid("4", '"1e3"'), IN_BID + "volume must be a decimal number like 4.25"),
        (bid("4", "99999999999999999"), IN_BID + "volume is too large"),
        (bid("NaN"), "is not JSON: NaN is no number"),
        (bid("4", "-Infinity"), "is not JSON: -Infinity is no number"),
        (bid("1e9999999999999999999999"), "holds a number with an exponent that is out of all range"),
        ('{"id": "x", "buys": ' + "[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_bad_line_is_told_in_words_and_nothing_is_printed(clear: Clear, line: str | bytes, words: str) -> None:
    code, out, err = clear(GOOD, line, GOOD)
    assert (code, out) == (2, "")
    first, last = err.splitlines()
    assert first.startswith(f"line 2: {words}"), first
    assert len(first) < 140
    assert last == "No auction was cleared: 1 line is bad"


def test_all_bad_lines_are_told_up_to_twenty(clear: Clear) -> None:
    _, out, err = clear(*["5"] * 20)
    assert out == ""
    assert [line.partition(":")[0] for line in err.splitlines()] == [
        *(f"line {number}" for number in range(1, 21)),
        "No auction was cleared",
    ]
    code, out, err = clear("", GOOD, *["5"] * 23, GOOD, bid("0.001"))
    assert (code, out) == (2, "")
    assert [line.partition(":")[0] for line in err.splitlines()] == [
        *(f"line {number}" for number in range(3, 23)),
        "and 4 more bad lines, not shown",
        "No auction was cleared",
    ]
    assert err.endswith("24 lines are bad\n")


@pytest.mark.parametrize(
    ("tick", "words"),
    [
        ("penny", "must be a decimal number like 0.01, not 'penny'"),
        ("", "must be a decimal number like 0.01, not ''"),
        ("1_0", "must be a decimal number like 0.01, not '1_0'"),
        (" 1", "must be a decimal number like 0.01, not ' 1'"),
        ("٠.٠١", "must be a decimal number like 0.01"),
        ("0", "must be a decimal number above 0"),
        ("-0.01", "must be a decimal number like 0.01, not '-0.01'"),
        ("NaN", "must be a decimal number like 0.01, not 'NaN'"),
        ("1e-10", "must be a decimal number like 0.01, not '1e-10'"),
    ],
)
def test_a_bad_tick_is_refused(clear: Clear, tick: str, words: str) -> None:
    code, out, err = clear(GOOD, price_tick=tick)
    assert (code, out) == (2, "")
    assert err.startswith(f"No auction was cleared: --price-tick {words}")
    assert clear(GOOD, volume_tick=tick)[2].startswith(f"No auction was cleared: --volume-tick {words}")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for file, words in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        done = run_command(file)
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr.decode() == f"No auction was cleared: {file} cannot be read: {words}\n"


def test_a_dash_is_standard_input() -> None:
    done = run_command("-", "--price-rule", "buyer", given=GOOD.encode())
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["price"] == "5.00"
    bad = run_command("-", given=b"5")
    assert (bad.returncode, bad.stdout) == (2, b"")
    assert bad.stderr.decode() == f"line 1: {SHAPE}\nNo auction was cleared: 1 line is bad\n"


@pytest.mark.parametrize(
    ("closed", "code", "words"),
    [("<&-", 2, "standard input cannot be read: it is closed"), (">&-", 1, "standard output is closed")],
)
def test_closed_standard_files_are_named(closed: str, code: int, words: str) -> None:
    command = [sys.executable, str(PROJECT / "run.py"), "auction", "-"]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
        stdin=None if closed == "<&-" else subprocess.DEVNULL,
        capture_output=True,
        env=environment(),
        timeout=40,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, b"")
    assert words in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_results_that_need_the_disk_come_out_whole(tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    side = json.dumps([["5", "1"]] * 500)
    count = 1000  # over 10 MB of results
    file.write_text("".join(f'{{"id": {number}, "buys": {side}, "sells": {side}}}\n' for number in range(count)))
    done = run_command(file)
    assert (done.returncode, done.stderr) == (0, b"")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == list(range(count))
    assert {answer["volume"] for answer in answers} == {"500.000"}


def test_nobody_has_to_hear_all_results() -> None:
    """Standard output is a pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run_command("-", given=GOOD.encode(), stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_results_that_find_no_room_are_told() -> None:
    with open("/dev/full", "wb") as full:
        done = run_command("-", given=GOOD.encode(), stdout=full)
    assert (done.returncode, done.stderr) == (1, b"The results cannot be written: No space left on device\n")


def test_a_disk_without_room_for_results_is_told(clear: Clear, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("server.auction_file.tempfile.SpooledTemporaryFile", lambda _: Full())
    assert clear(GOOD) == (1, "", "The results cannot be kept: No space left on device\n")


def test_the_module_needs_no_server_and_no_database() -> None:
    script = (
        "import sys, server.auction_file; "
        "print(sorted({'aiohttp', 'asyncpg', 'redis', 'asyncio', 'structlog'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "[]\n"
