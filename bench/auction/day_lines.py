"""The lines of a whole day.

What lives here: which figures are shown beside which. What must not: measuring (day.py).
"""

from bench.auction.day import Day, DayGround
from bench.auction.filling import ACCOUNTS, BIDS
from bench.lines import Line, at_most
from bench.options import Options
from bench.rounds import Measured, interleave, say

NAME = "auction"
HAND, KEEPER = "run.py clear", "the server itself"
_WHAT = f"a day of {BIDS:,} bids"
_NOTES = {
    HAND: f"From the start of `run.py clear` to its end. {ACCOUNTS:,} accounts placed one bid for each of 96 slots.",
    KEEPER: "From the gate to the moment at which the results can be read.",
}
_BESIDE = (
    "GET /healthz 400 times a second and placements for the next day 40 times. "
    "Times count from when a request was due, if one before it was still unanswered then. "
)


async def run_day(options: Options) -> list[Line]:
    """Fill a database, clear copies of it in both ways in turn."""
    with DayGround() as ground:
        say(f"  {_WHAT}: filling the database")
        day = await Day.filled(ground, options)
        measured = await interleave({HAND: day.by_hand, KEEPER: day.by_keeper}, options.rounds)
    return [line for way in (HAND, KEEPER) for line in lines_of(measured, way)]


def lines_of(measured: Measured, way: str) -> list[Line]:
    """What one way to clear took, alone and of those beside it."""
    why = measured.reason(way)
    grown_mib = measured.median(way, "grown_mib")

    def line(what: str, unit: str, figure: str, note: str = "") -> Line:
        return Line(NAME, f"{what}, {_WHAT}, {way}", unit, measured.median(way, figure), note=why or note)

    def beside(what: str, figure: str) -> Line:
        ours, idle = (measured.median(way, f"{state}_{figure}") for state in ("busy", "idle"))
        most = measured.median(way, f"busy_{figure.partition('_')[0]}_max_us")
        note = why or f"{_BESIDE}The longest took {(most or 0) / 1000:,.0f} ms."
        return Line(NAME, f"{what} meanwhile, {way}", "us", ours, "idle", idle, note=note)

    return [
        Line(
            NAME,
            f"{_WHAT}, {way}",
            "s",
            measured.median(way, "total_s"),
            goal=at_most(60),
            note=why or _NOTES[way],
        ),
        *(line(f"of it to {part}", "s", f"{part}_s") for part in ("read", "clear", "write")),
        line(
            "peak memory",
            "MiB",
            "peak_mib",
            "Resident memory of the clearing process."
            if grown_mib is None
            else f"Resident memory of the worker, with the book; {grown_mib:,.0f} MiB more than before the gate.",
        ),
        beside("p99 of GET /healthz", "get_p99_us"),
        beside("p50 of GET /healthz", "get_p50_us"),
        beside("p99 of a placement", "place_p99_us"),
    ]
