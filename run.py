"""Shakti's command line: parses, calls, no logic.

run.py [serve]                 run the server (the default)
run.py migrate                 apply migrations and say what was done
run.py operator create NAME    make an operator and print a password once
"""

import argparse
import sys
from pathlib import Path

_FLAGS = {"host": "server.host", "port": "server.port", "data_dir": "server.data_dir", "workers": "server.workers"}
# What shells say of a command that Ctrl+C ended.
_EXIT_INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Run the command that the arguments name; returns the exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        # Here and not above: help and slips of the pen are answered at once, and Ctrl+C is none of Python's business.
        from server import commands

        flags = {key: getattr(parsed, name, None) for name, key in _FLAGS.items()}
        match parsed.command:
            case "migrate":
                return commands.migrate_database(parsed.config, flags)
            case "operator":
                return commands.create_operator(parsed.config, flags, parsed.name)
            case "worker":
                return commands.worker(parsed.config, flags)
            case _:
                return commands.serve(parsed.config, flags)
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--config", type=Path, help="settings file (default: config.toml beside run.py)")
    common.add_argument(
        "--data-dir", type=_from_here, help="where embedded services keep their data (default: data beside run.py)"
    )
    serving = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    serving.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    serving.add_argument("--port", help="port to listen on, 0 for a free one (default: 8080)")
    serving.add_argument("--workers", help="processes that share the port (default: 1)")

    parser = argparse.ArgumentParser(
        prog="run.py", description="Shakti, a day-ahead energy exchange.", parents=[common, serving]
    )
    parser.set_defaults(config=None, command="serve")
    subparsers = parser.add_subparsers(dest="command", metavar="command")
    subparsers.add_parser("serve", parents=[common, serving], help="run the server (the default)")
    subparsers.add_parser("migrate", parents=[common], help="apply migrations and say what was done")
    operator = subparsers.add_parser("operator", help="operators' accounts").add_subparsers(
        dest="action", metavar="action", required=True
    )
    create = operator.add_parser("create", parents=[common], help="make an operator and print a password once")
    create.add_argument("name", help="what the operator signs in with")
    # Without help: started by serve, never by hand.
    subparsers.add_parser("worker", parents=[common])
    return parser


def _from_here(path: str) -> Path:
    return Path(path).absolute()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
