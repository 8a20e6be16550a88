"""A line of the table: what was measured, beside whom, against which goal.

What lives here: figures, goals, verdicts, and the table as text and as Markdown. What must not: measuring.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_HEAD = ("part", "what", "ours", "peer", "peer's", "unit", "ours / peer's", "goal", "")
_IS_NUMBER = (False, False, True, False, True, False, True, True, False)


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on the ratio ours / peer's, or on our own figure where the line has no peer."""

    bound: float
    is_at_least: bool

    def __str__(self) -> str:
        return f"{'>=' if self.is_at_least else '<='} {self.bound:g}"

    def is_met_by(self, value: float) -> bool:
        """Whether a ratio or figure is on the right side; the bound itself is."""
        return value >= self.bound if self.is_at_least else value <= self.bound


def at_least(bound: float) -> Goal:
    """More is better."""
    return Goal(bound, is_at_least=True)


def at_most(bound: float) -> Goal:
    """Less is better."""
    return Goal(bound, is_at_least=False)


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison. A figure that is None was not measured, and `note` says why: no line is left out silently.

    `ours` and `theirs` are medians over rounds, both in `unit`. Without a peer, `goal` bounds our own figure.
    """

    part: str
    what: str
    unit: str
    ours: float | None
    peer: str = ""
    theirs: float | None = None
    goal: Goal | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours divided by the peer's."""
        if self.ours is None or self.theirs is None or self.theirs == 0:
            return None
        return self.ours / self.theirs

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None without a goal or without the figures."""
        value = self.ratio if self.peer else self.ours
        return None if self.goal is None or value is None else self.goal.is_met_by(value)

    @property
    def verdict(self) -> str:
        """A word for the table's last column."""
        if self.is_met is not None:
            return "met" if self.is_met else "MISSED"
        if self.ours is None or (self.peer and self.theirs is None):
            return "not measured"
        return ""


def as_text(lines: Sequence[Line]) -> str:
    """The table for a terminal, its notes below it."""
    rows, notes = _rows(lines)
    widths = [max(len(row[column]) for row in (_HEAD, *rows)) for column in range(len(_HEAD))]
    shown = [
        "  ".join(
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, _IS_NUMBER, strict=True)
        ).rstrip()
        for row in (_HEAD, tuple("-" * width for width in widths), *rows)
    ]
    return "\n".join([*shown, *([""] if notes else []), *notes, ""])


def as_markdown(lines: Sequence[Line]) -> str:
    """The table for a page, its notes below it."""
    rows, notes = _rows(lines)
    rule = tuple("--:" if is_number else "---" for is_number in _IS_NUMBER)
    table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (_HEAD, rule, *rows)]
    return "\n".join([*table, *(part for note in notes for part in ("", note)), ""])


def format_figure(value: float | None) -> str:
    """A figure with about three digits that mean something."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _rows(lines: Sequence[Line]) -> tuple[list[tuple[str, ...]], list[str]]:
    """The cells of the table and its numbered notes; lines with the same note share its number."""
    numbers: dict[str, int] = {}
    rows: list[tuple[str, ...]] = []
    for line in lines:
        mark = f" [{numbers.setdefault(line.note, len(numbers) + 1)}]" if line.note else ""
        ratio = "-" if line.ratio is None else f"{line.ratio:.2f}"
        rows.append(
            (
                line.part,
                line.what + mark,
                format_figure(line.ours),
                line.peer,
                format_figure(line.theirs) if line.peer else "",
                line.unit,
                ratio if line.peer else "",
                str(line.goal or ""),
                line.verdict,
            )
        )
    return rows, [f"[{number}] {note}" for note, number in numbers.items()]
