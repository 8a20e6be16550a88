"""Answers that are tables: in JSON, or as CSV for those who ask for it.

What lives here: which of the two an Accept header prefers, and the CSV itself (RFC 4180). What must not: what any table
says. Its cells are numbers, times and words of ours, never a text that somebody sent: a spreadsheet would take one that
begins with `=` for a formula.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from handlers.requests import json_response

JSON: Final = "application/json"
CSV: Final = "text/csv"

_RANGE: Final = re.compile(r"([^\s;/]+/[^\s;/]+)\s*(?:;(.*))?")
_QUALITY: Final = re.compile(r"\s*[Qq]\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*")
_QUOTED: Final = re.compile(r'"[^"]*"?')


def prefers_csv(request: web.Request) -> bool:
    """Whether the request would rather have CSV than JSON, by the quality values of its Accept header. Of two that it
    likes equally it gets the one that it names more exactly, then JSON; JSON too if it accepts neither."""
    ranges = _ranges(",".join(request.headers.getall("Accept", [])))
    rank = _rank(CSV, ranges)
    return rank[0] > 0 and rank > _rank(JSON, ranges)


def json_table(body: Mapping[str, Any]) -> web.Response:
    """The answer in JSON."""
    return _depending_on_accept(json_response(body))


def csv_table(name: str, text: str) -> web.Response:
    """The answer in CSV, to be kept as the file `name`.csv."""
    response = web.Response(text=text, content_type=CSV, charset="utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return _depending_on_accept(response)


def csv_header(columns: Sequence[str]) -> str:
    """The header line."""
    return _written([columns])


def csv_rows(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A line for each row: its columns as the JSON shows them, empty where that has a null."""
    return _written([row[column] for column in columns] for row in rows)


def _written(lines: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(lines)
    return text.getvalue()


def _depending_on_accept(response: web.Response) -> web.Response:
    response.headers.add("Vary", "Accept")
    return response


def _ranges(accept: str) -> list[tuple[str, float]]:
    """The media ranges of an Accept header: name and quality. What cannot be read is left out, and of the
    parameters only the quality counts. Without a header everything is accepted."""
    if not accept.strip():
        return [("*/*", 1.0)]
    found = []
    for part in _QUOTED.sub("", accept).split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            continue
        quality = _quality(match[2] or "")
        if quality is not None:
            found.append((match[1].lower(), quality))
    return found


def _quality(parameters: str) -> float | None:
    """The quality among the parameters of a media range, 1 without one. None if it is no number from 0 to 1."""
    for parameter in parameters.split(";"):
        if parameter.partition("=")[0].strip().lower() == "q":
            match = _QUALITY.fullmatch(parameter)
            return float(match[1]) if match else None
    return 1.0


def _rank(media_type: str, ranges: Iterable[tuple[str, float]]) -> tuple[float, int]:
    """How much a media type is liked, and how exactly it is named: the most exact range that it is in says so."""
    exactness_of = {media_type: 2, f"{media_type.partition('/')[0]}/*": 1, "*/*": 0}
    matching = [(exactness_of[name], quality) for name, quality in ranges if name in exactness_of]
    exactness, quality = max(matching, default=(0, 0.0))
    return quality, exactness
