"""A parent of workers for tests: run_workers() with its callbacks written out, one JSON line each.

    python worker_parent.py CONTROL_DIR COUNT HOST PORT DRAIN_S

While the file `trouble` is in the control directory, every tick reports a service that was restarted.
"""

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from server.workers import WorkerPlan, run_workers


def main() -> int:
    """Run the workers; the exit code is theirs."""
    control, count, host, port, drain_s = sys.argv[1:]
    plan = WorkerPlan(
        count=int(count),
        host=host,
        port=int(port),
        command=(sys.executable, "-S", str(Path(__file__).with_name("worker_stub.py")), control, host or "127.0.0.1"),
        environ={**os.environ, "KEPT": "yes"},
        drain_s=float(drain_s),
    )

    def tick() -> list[str]:
        tell("tick", time.monotonic())
        return ["PostgreSQL is ready again."] if Path(control, "trouble").exists() else []

    return run_workers(
        plan, on_tick=tick, on_ready=lambda ready: tell("ready", ready), say=lambda sentence: tell("said", sentence)
    )


def tell(kind: str, what: object) -> None:
    """One line for the test."""
    sys.stdout.write(json.dumps([kind, what]) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
