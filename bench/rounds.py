"""Interleaved rounds: A B C, A B C, A B C, so that a slow minute of the machine hits all contenders alike.

What lives here: the order, and medians over rounds. What must not: what is measured.
"""

import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

Figures = Mapping[str, float]
Measure = Callable[[], Awaitable[Figures]]


class NotMeasured(Exception):
    """A contender cannot be measured here; the text says why and, where something can be done, what."""


@dataclass(slots=True)
class Measured:
    """What each contender showed in each round, and why some showed nothing."""

    rounds: dict[str, list[Figures]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def median(self, contender: str, figure: str) -> float | None:
        """The median of a figure over the contender's rounds, or None where it was not measured."""
        values = [figures[figure] for figures in self.rounds.get(contender, []) if figure in figures]
        return statistics.median(values) if values else None

    def reason(self, *contenders: str) -> str:
        """Why something of these was not measured; empty where all was."""
        return " ".join(dict.fromkeys(self.reasons[name] for name in contenders if name in self.reasons))


async def interleave(contenders: Mapping[str, Measure], rounds: int) -> Measured:
    """Measure all contenders `rounds` times, in turn. One that raises NotMeasured is left out of what follows, and
    what it showed before is dropped with it: a median of fewer rounds than the others' is none."""
    measured = Measured()
    for number in range(1, rounds + 1):
        for name, measure in contenders.items():
            if name in measured.reasons:
                continue
            try:
                figures = await measure()
            except NotMeasured as fault:
                measured.reasons[name] = str(fault)
                measured.rounds.pop(name, None)
                say(f"  {name}: not measured: {fault}")
                continue
            measured.rounds.setdefault(name, []).append(figures)
            shown = ", ".join(f"{figure} {value:,.4g}" for figure, value in figures.items())
            say(f"  round {number} of {rounds}, {name}: {shown}")
    return measured


def say(text: str) -> None:
    """Tell the person who waits how far things are; standard output is the table's alone."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
