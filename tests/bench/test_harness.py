"""The bench's arithmetic and its table: medians, ratios, verdicts, notes. Nothing here is timed."""

import asyncio
import os
import signal
import struct

import pytest

from bench.http_load import KEY_PLACE, Request
from bench.lines import Line, as_markdown, as_text, at_least, at_most, format_figure
from bench.placing.offers import bids_of
from bench.processes import cpu_s, tree
from bench.rounds import Figures, NotMeasured, interleave
from bench.tools import run


def line(ours: float | None = 3.0, theirs: float | None = 2.0, *, peer: str = "peer", **more: object) -> Line:
    return Line("part", "what", "us", ours, peer, theirs, **more)  # type: ignore[arg-type] # **more is a test's business


def test_a_ratio_is_ours_by_the_peers() -> None:
    assert line(3.0, 2.0).ratio == 1.5
    assert line(None, 2.0).ratio is None
    assert line(3.0, None).ratio is None
    assert line(3.0, 0.0).ratio is None


@pytest.mark.parametrize(
    ("goal", "ours", "verdict"),
    [
        (at_least(1.5), 3.0, "met"),
        (at_least(1.5), 2.99, "MISSED"),
        (at_most(1.5), 3.0, "met"),
        (at_most(1.5), 3.01, "MISSED"),
        (None, 3.0, ""),
        (at_least(1.5), None, "not measured"),
        (None, None, "not measured"),
    ],
    ids=str,
)
def test_with_a_peer_the_goal_bounds_the_ratio(goal: object, ours: float | None, verdict: str) -> None:
    assert line(ours, 2.0, goal=goal).verdict == verdict


@pytest.mark.parametrize(("ours", "verdict"), [(16.0, "met"), (16.1, "MISSED"), (None, "not measured")])
def test_without_a_peer_the_goal_bounds_our_own_figure(ours: float | None, verdict: str) -> None:
    assert line(ours, None, peer="", goal=at_most(16)).verdict == verdict


def test_a_peer_that_was_not_measured_is_said_so() -> None:
    assert line(3.0, None, goal=at_least(1.5)).verdict == "not measured"
    assert line(3.0, None).verdict == "not measured"
    assert line(3.0, None, peer="").verdict == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0.00"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (65432.1, "65,432")],
    ids=str,
)
def test_a_figure_is_shown_with_the_digits_that_mean_something(value: float | None, text: str) -> None:
    assert format_figure(value) == text


def test_lines_with_the_same_note_share_its_number() -> None:
    lines = [line(note="no nginx"), line(), line(None, note="no gcc"), line(note="no nginx")]
    text = as_text(lines)
    assert [row.partition("what")[2][:4] for row in text.splitlines()[2:6]] == [" [1]", "    ", " [2]", " [1]"]
    assert text.splitlines()[6:] == ["", "[1] no nginx", "[2] no gcc"]


def test_the_markdown_table_has_all_cells_of_a_line() -> None:
    shown = as_markdown([line(3.0, 2.0, goal=at_least(1.5), note="why")]).splitlines()
    assert shown[2] == "| part | what [1] | 3.00 | peer | 2.00 | us | 1.50 | >= 1.5 | met |"
    assert {row.count("|") for row in shown[:3]} == {10}
    assert shown[3:] == ["", "[1] why"]


async def test_rounds_are_interleaved_and_medians_are_of_each_contenders_own() -> None:
    order: list[str] = []
    values = {"a": iter([5.0, 1.0, 2.0]), "b": iter([40.0, 10.0, 30.0])}

    async def measure(name: str) -> Figures:
        order.append(name)
        return {"per_s": next(values[name])}

    measured = await interleave({"a": lambda: measure("a"), "b": lambda: measure("b")}, 3)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert (measured.median("a", "per_s"), measured.median("b", "per_s")) == (2.0, 30.0)
    assert measured.median("a", "other") is None
    assert measured.reason("a", "b") == ""


async def test_a_contender_that_fails_in_a_later_round_has_no_median_and_is_not_tried_again() -> None:
    tries = 0

    async def fails_second() -> Figures:
        nonlocal tries
        tries += 1
        if tries == 2:
            raise NotMeasured("it broke")
        return {"per_s": 1.0}

    async def works() -> Figures:
        return {"per_s": 2.0}

    measured = await interleave({"a": fails_second, "b": works}, 4)
    assert tries == 2
    assert measured.median("a", "per_s") is None
    assert measured.median("b", "per_s") == 2.0
    assert measured.reason("b", "a", "a") == "it broke"


def test_a_request_is_written_with_its_length_and_the_place_of_its_key() -> None:
    encoded = Request("POST", "/x", {"A": "b"}, b'{"arr":[]}', has_key=True).encoded()
    length, key = struct.unpack_from("=Ii", encoded)
    text = encoded[8:]
    assert len(text) == length
    assert text[key : key + len(KEY_PLACE)] == KEY_PLACE.encode()
    assert text.startswith(b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\nA: b\r\n")
    assert text.endswith(b'\r\n\r\n{"arr":[]}')
    assert struct.unpack_from("=Ii", Request("GET", "/x", {}).encoded())[1] == -1


def test_every_contender_is_sent_the_same_bids() -> None:
    ours, theirs = bids_of(["t1", "t2"], 96), bids_of(["t3", "t4"], 96)
    assert [request.body for request in ours] == [request.body for request in theirs]
    assert len({request.body for request in ours}) == len(ours)
    assert [request.headers["Authorization"] for request in ours[:3]] == ["Bearer t1", "Bearer t2", "Bearer t1"]


async def test_a_tree_of_processes_has_the_children_and_their_cpu() -> None:
    busy = "import os, time\nwhile sum(os.times()[:2]) < 0.2: pass\nprint(flush=True)\ntime.sleep(60)"
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", f'python3 -c "{busy}"; true', stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert shell.stdout is not None
    try:
        await shell.stdout.readline()
        members = tree(shell.pid)
        assert members[0] == shell.pid
        assert len(members) == 2
        assert cpu_s(shell.pid) >= 0.15
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        await shell.wait()


def test_a_command_that_fails_says_what_it_said() -> None:
    with pytest.raises(NotMeasured, match="failed: no such thing"):
        run(["sh", "-c", "echo no such thing >&2; exit 3"])
