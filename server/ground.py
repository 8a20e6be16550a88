"""What every command of run.py stands on: settings, a database and perhaps a Redis, and how it ends.

What lives here: opening and closing them, exit codes, and speaking to a person. What must not: any command.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from server.config import PROJECT_DIR, Config, ConfigError, load_config
from server.database_faults import DATABASE_FAULTS, describe_fault
from server.embedded import EmbeddedError, EmbeddedServices
from server.listening_port import PortRefused
from server.logs import set_up_logs
from server.running_postgres import running_database_url
from storage.migrations import MigrationError, migrate

Flags = Mapping[str, object]


class CommandError(Exception):
    """The command cannot be done; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a command stands on: settings that name a database, and the embedded services that it keeps running."""

    config: Config
    services: EmbeddedServices
    embeds_database: bool
    embeds_redis: bool


def run(failure: str, work: Callable[[], int]) -> int:
    """The exit code of a command; faults that a person can mend become a sentence that begins with `failure`."""
    try:
        return work()
    except ConfigError as fault:
        complain(f"{failure}: {fault}")
        return os.EX_CONFIG
    except (CommandError, EmbeddedError, MigrationError, PortRefused) as fault:
        complain(f"{failure}: {fault}")
        return 1


def settings(config_file: Path | None, flags: Flags) -> Config:
    """The settings, with logs set up as they say. Raises ConfigError."""
    config = load_config(config_file, flags=flags)
    set_up_logs(config.log)
    # Meant relative to the project, wherever the command is called from; on the command line, relative to there.
    return replace(config, server=replace(config.server, data_dir=(PROJECT_DIR / config.server.data_dir).resolve()))


@contextlib.contextmanager
def stand_on(config: Config, *, redis: bool) -> Iterator[Ground]:
    """A database and, if asked for, a Redis, embedded where none is configured. Without Redis the database may be one
    that a running server embeds: only who serves has to have it alone. Raises EmbeddedError."""
    embeds_database = not config.database.url
    embeds_redis = redis and not config.redis.url
    running = running_database_url(config.server.data_dir) if embeds_database and not redis else None
    services = EmbeddedServices(
        config.server.data_dir, postgres=embeds_database and running is None, redis=embeds_redis
    )
    endpoints = services.start()
    try:
        config = replace(
            config,
            database=replace(config.database, url=running or endpoints.database_url or config.database.url),
            redis=replace(config.redis, url=endpoints.redis_url or config.redis.url),
        )
        yield Ground(config, services, embeds_database, embeds_redis)
    finally:
        services.stop()


def bring_up_to_date(ground: Ground) -> list[str]:
    """Apply the migrations that the database lacks; their names. Raises CommandError, MigrationError."""
    try:
        return asyncio.run(migrate(ground.config.database.url))
    except DATABASE_FAULTS as fault:
        raise CommandError(describe_fault(fault, ground.config, is_embedded=ground.embeds_database)) from fault


def say(text: str) -> None:
    """Tell the person who gave the command."""
    try:
        print(text, flush=True)  # noqa: T201 - said to the person who gave the command
    except BrokenPipeError:
        # Who listened has gone; that is no reason for a server to end, and Python must not try once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """Tell the person what went wrong."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - said to the person who gave the command
