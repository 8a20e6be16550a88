"""A process that hosts embedded servers, for tests that kill it or need it to be another user.

    python embedded_host.py DATA_DIR [--uid N] [--packages DIR]

Prints one JSON line with the endpoints, or with the refusal; then a line for each sentence of check(). Ends when its
standard input does.
"""

import argparse
import json
import os
import select
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from server.embedded import EmbeddedError, EmbeddedServices


def main() -> None:
    """Host the servers until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--uid", type=int)
    parser.add_argument("--packages", type=Path)
    arguments = parser.parse_args()
    if arguments.packages is not None:
        sys.path.insert(0, str(arguments.packages))
    if arguments.uid is not None:
        # Only now, with everything imported: this user may be unable to reach the interpreter itself.
        os.setgroups([])
        os.setresgid(arguments.uid, arguments.uid, arguments.uid)
        os.setresuid(arguments.uid, arguments.uid, arguments.uid)
    services = EmbeddedServices(arguments.data_dir, postgres=True, redis=True)
    try:
        endpoints = services.start()
    except EmbeddedError as refusal:
        _tell({"refusal": str(refusal)})
        return
    _tell({"database_url": endpoints.database_url, "redis_url": endpoints.redis_url})
    while not select.select([sys.stdin], [], [], 0.05)[0]:
        for sentence in services.check():
            _tell({"said": sentence})
    services.stop()


def _tell(message: dict[str, str | None]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
