"""The bench's command line: runs parts, prints one table, writes it as Markdown where it is asked to.

What lives here: options in, table out. What must not: any measurement.
"""

import argparse
import asyncio
import importlib
import inspect
import platform
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench.lines import Line, as_markdown, as_text
from bench.options import Options
from bench.rounds import NotMeasured, say

# In the order of the table; each is a package with NAME and run(options).
PARTS = ("placing", "feed", "signins", "auction")


def main() -> int:
    """0 when every part ran to its end, whatever it showed; 1 when one could not."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure the server beside its peers.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=None, help="interleaved rounds (default: 3; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="short measurements: a look, not evidence")
    parser.add_argument("--install", action="store_true", help="apt-get install the peers' programs that are missing")
    parser.add_argument("--output", type=Path, help="write the table to this file too, as Markdown")
    given = parser.parse_args()
    unknown = [name for name in given.parts if name not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; there are: {', '.join(PARTS)}")
    rounds = given.rounds if given.rounds is not None else 1 if given.quick else 3
    if rounds < 1:
        parser.error("--rounds must be at least 1")
    options = Options(rounds=rounds, is_quick=given.quick, installs=given.install)
    if given.quick or rounds < 3:
        say("A quick look: figures of fewer than 3 full rounds are no evidence.")
    began = time.monotonic()
    lines: list[Line] = []
    failed: list[str] = []
    for name in given.parts or PARTS:
        say(f"{name}:")
        try:
            lines += _run(name, options)
        except NotMeasured as fault:
            failed.append(name)
            lines.append(Line(name, "everything", "", None, note=str(fault)))
    about = _about(options, time.monotonic() - began)
    sys.stdout.write(f"{about}\n\n{as_text(lines)}")
    if given.output is not None:
        given.output.write_text(f"{about}\n\n{as_markdown(lines)}", encoding="utf-8")
    return 1 if failed else 0


def _run(name: str, options: Options) -> list[Line]:
    try:
        part = importlib.import_module(f"bench.{name}")
    except ModuleNotFoundError as fault:
        raise NotMeasured(f"the part {name} cannot be loaded: {fault}") from fault

    async def work() -> list[Line]:
        found = part.run(options)
        measured: list[Line] = await found if inspect.isawaitable(found) else found
        return measured

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())


def _about(options: Options, took_s: float) -> str:
    """What a reader has to know of the machine and the run."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_gib = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {options.cores} cores ({model}), {memory_gib:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}. Medians of {options.rounds} interleaved "
        f"rounds{' (quick: no evidence)' if options.is_quick else ''}; the run took {took_s:.0f} s."
    )


if __name__ == "__main__":
    # Told to end, it ends what it started, as with Ctrl+C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
