"""Shakti's command line: parses, calls, no logic.

run.py [serve]                 run the server (the default)
run.py migrate                 apply migrations and say what was done
run.py operator create NAME    make an operator and print a password once
run.py clear --date DAY        run the auction of a delivery day whose gate is over, or show it with --dry-run
run.py audit --date DAY        work a cleared day out again from its event log, and compare
run.py auction FILE            clear the books of a file, without server or database
"""

import argparse
import sys
from datetime import date
from pathlib import Path

_FLAGS = {"host": "server.host", "port": "server.port", "data_dir": "server.data_dir", "workers": "server.workers"}
# What shells say of a command that Ctrl+C ended.
_EXIT_INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Run the command that the arguments name; returns the exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        # Here and not above: help and slips of the pen are answered at once, Ctrl+C is none of Python's business, and
        # no command waits for what it does not need.
        flags = {key: getattr(parsed, name, None) for name, key in _FLAGS.items()}
        match parsed.command:
            case "auction":
                from server import auction_file

                return auction_file.clear_file(
                    parsed.file, parsed.price_rule, price_tick=parsed.price_tick, volume_tick=parsed.volume_tick
                )
            case "clear":
                from server import clearing_commands

                return clearing_commands.clear(parsed.config, flags, parsed.date, is_dry_run=parsed.is_dry_run)
            case "audit":
                from server import audit_command

                return audit_command.audit(parsed.config, flags, parsed.date)
        from server import commands

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
    clear = subparsers.add_parser("clear", parents=[common], help="run the auction of a delivery day by hand")
    clear.add_argument("--date", type=_day, required=True, metavar="DAY", help="the delivery day, like 2026-11-23")
    clear.add_argument(
        "--dry-run", action="store_true", dest="is_dry_run", help="show what the day would clear, and write nothing"
    )
    audit = subparsers.add_parser(
        "audit", parents=[common], help="work a cleared day out again from its event log, and compare"
    )
    audit.add_argument("--date", type=_day, required=True, metavar="DAY", help="the delivery day, like 2026-11-23")
    auction = subparsers.add_parser("auction", help="clear the books of a file, without server or database")
    auction.add_argument("file", metavar="FILE", help="one auction a line, in JSON; - reads standard input")
    auction.add_argument(
        "--price-rule",
        choices=("midpoint", "seller", "buyer"),
        default="midpoint",
        help="the price inside the clearing interval: its middle (the default), its low end or its high end",
    )
    auction.add_argument("--price-tick", default="0.01", help="prices are multiples of it (default: 0.01)")
    auction.add_argument("--volume-tick", default="0.001", help="volumes are multiples of it (default: 0.001)")
    # Without help: started by serve, never by hand.
    subparsers.add_parser("worker", parents=[common])
    return parser


def _day(text: str) -> date:
    try:
        # fromisoformat also reads 20261123 and week dates.
        if len(text) != 10:
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day like 2026-11-23") from None


def _from_here(path: str) -> Path:
    return Path(path).absolute()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
