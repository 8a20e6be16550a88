"""`run.py auction`: clears the books of a file, for research and audit.

What lives here: one JSON line in, one JSON line out, and what is wrong with a line in words. What must not: the auction
itself (`market.auction`), settings, database or server; none of them is needed here, nor imported.

No line of results is shown before all lines were read and found good, and no more than one line of the file is held in
memory: results wait in a temporary file.
"""

import json
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from typing import IO, Any, Final

import numpy as np

from market.auction import Auction, Offers, auction
from market.clearing import PriceRule
from market.ticks import MAX_TEXT, Tick, TickError

_OUTPUT_FAILED: Final = 1
_BAD_INPUT: Final = 2
_MOST_BAD_LINES_SHOWN: Final = 20
_IN_MEMORY_BYTES: Final = 1 << 22
_DECIMAL: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?").fullmatch


class _Refused(Exception):
    """What was given cannot be cleared; the text says why."""


def clear_file(file: str, price_rule: str, *, price_tick: str, volume_tick: str) -> int:
    """Clear the auctions of a file (`-`: standard input), one a line in JSON, and print one line each; the exit code.

    In: `{"id": ..., "buys": [["price", "volume"], ...], "sells": [...]}`, who was placed earlier first; other fields
    are ignored. Out, in the same order: `{"id", "price", "low", "high", "volume", "buys": ["filled", ...], "sells"}`.
    2 where the file, a line of it or a tick is bad: then standard error says what is, and nothing is printed.
    """
    try:
        ticks = _tick("--price-tick", price_tick), _tick("--volume-tick", volume_tick)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as results:
            _clear_lines(_lines(file), results, PriceRule(price_rule), *ticks)
            results.seek(0)
            return _show(results)
    except _Refused as fault:
        _complain(f"No auction was cleared: {fault}")
        return _BAD_INPUT
    except OSError as fault:
        _complain(f"The results cannot be kept: {fault.strerror or fault}")
        return _OUTPUT_FAILED


def _tick(name: str, text: str) -> Tick:
    if not _DECIMAL(text):
        raise _Refused(f"{name} must be a decimal number like 0.01, not {text!r}")
    try:
        return Tick(Decimal(text))
    except TickError as fault:
        raise _Refused(f"{name} {fault}") from None


def _lines(file: str) -> Iterator[bytes]:
    try:
        if file == "-" and sys.stdin is None:
            raise _Refused("standard input cannot be read: it is closed")
        if file == "-":
            yield from sys.stdin.buffer
        else:
            with open(file, "rb") as lines:
                yield from lines
    except OSError as fault:
        name = "standard input" if file == "-" else file
        raise _Refused(f"{name} cannot be read: {fault.strerror or fault}") from fault


def _clear_lines(
    lines: Iterator[bytes], results: IO[bytes], rule: PriceRule, price_tick: Tick, volume_tick: Tick
) -> None:
    """Write the results of all lines. Raises _Refused where one is bad, after all have been read."""
    bad = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            name, buys, sells = _book(line, price_tick, volume_tick)
        except _Refused as fault:
            bad += 1
            if bad <= _MOST_BAD_LINES_SHOWN:
                _complain(f"line {number}: {fault}")
            continue
        if not bad:
            results.write(_result(name, auction(buys, sells, rule), price_tick, volume_tick))
    if bad > _MOST_BAD_LINES_SHOWN:
        _complain(f"and {bad - _MOST_BAD_LINES_SHOWN} more bad lines, not shown")
    if bad:
        raise _Refused("1 line is bad" if bad == 1 else f"{bad} lines are bad")


def _book(line: bytes, price_tick: Tick, volume_tick: Tick) -> tuple[str | int, Offers, Offers]:
    """The id and both sides of one line. Raises _Refused."""
    book = _parsed(line)
    if not isinstance(book, dict):
        raise _Refused('must be an object like {"id": "...", "buys": [["price", "volume"], ...], "sells": [...]}')
    for field in ("id", "buys", "sells"):
        if field not in book:
            raise _Refused(f'"{field}" is missing')
    name = book["id"]
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise _Refused('"id" must be a text or a whole number')
    buys, sells = (_offers(side, book[side], price_tick, volume_tick) for side in ("buys", "sells"))
    return name, buys, sells


def _parsed(line: bytes) -> Any:
    try:
        # Some editors mark a file as UTF-8 at its very beginning.
        return _decode(line.decode("utf-8-sig"))
    except UnicodeDecodeError as fault:
        raise _Refused(f"is not UTF-8, at byte {fault.start + 1} of the line") from None
    except json.JSONDecodeError as fault:
        raise _Refused(f"is not JSON: {fault.msg}, at character {fault.pos + 1} of the line") from None
    except InvalidOperation:
        raise _Refused("holds a number with an exponent that is out of all range") from None
    except RecursionError:
        raise _Refused("is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise _Refused(f"{json.dumps(twice)} stands there more than once")
    return fields


def _whole(text: str) -> int | Decimal:
    # Python takes its time over integers of many digits, and refuses those of very many.
    return int(text) if len(text) <= MAX_TEXT else Decimal(text)


def _not_a_number(text: str) -> None:
    raise _Refused(f"is not JSON: {text} is no number")


_decode: Final[Callable[[str], Any]] = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Decimal, parse_int=_whole, parse_constant=_not_a_number
).decode


def _offers(side: str, bids: object, price_tick: Tick, volume_tick: Tick) -> Offers:
    """The bids of one side, in the order of their placement. Raises _Refused."""
    if not isinstance(bids, list):
        raise _Refused(f'"{side}" must be a list of ["price", "volume"] pairs')
    prices, volumes = [], []
    for number, bid in enumerate(bids, 1):
        if not isinstance(bid, list) or len(bid) != 2:
            raise _Refused(f'"{side}", bid {number} must be a pair ["price", "volume"]')
        what = "price"
        try:
            prices.append(_ticks(price_tick, bid[0]))
            what = "volume"
            volume = _ticks(volume_tick, bid[1])
        except TickError as fault:
            raise _Refused(f'"{side}", bid {number}: the {what} {fault}') from None
        if volume <= 0:
            raise _Refused(f'"{side}", bid {number}: the volume must be above 0')
        volumes.append(volume)
    return Offers(np.array(prices, np.int64), np.array(volumes, np.int64))


def _ticks(tick: Tick, value: object) -> int:
    # Texts repeat: the tick finds again what it has read before.
    return tick.ticks_of[value] if type(value) is str else tick.parse(value)


def _result(name: str | int, result: Auction, price_tick: Tick, volume_tick: Tick) -> bytes:
    clearing, volumes = result.clearing, volume_tick.text_of
    prices = (clearing.price, clearing.lo, clearing.hi) if clearing else ()
    price, low, high = map(price_tick.format, prices) if prices else (None, None, None)
    answer = {
        "id": name,
        "price": price,
        "low": low,
        "high": high,
        "volume": volume_tick.format(clearing.volume if clearing else 0),
        "buys": [volumes[filled] for filled in result.bought.tolist()],
        "sells": [volumes[filled] for filled in result.sold.tolist()],
    }
    return json.dumps(answer).encode() + b"\n"


def _show(results: IO[bytes]) -> int:
    if sys.stdout is None:
        _complain("The results cannot be written: standard output is closed")
        return _OUTPUT_FAILED
    try:
        shutil.copyfileobj(results, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Who listened has heard enough. Python must not try once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as fault:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _complain(f"The results cannot be written: {fault.strerror or fault}")
        return _OUTPUT_FAILED
    return 0


def _complain(text: str) -> None:
    # Some bad text may be in it that no terminal can show.
    print(text.encode(errors="backslashreplace").decode(), file=sys.stderr)  # noqa: T201 - said to the person at the console
