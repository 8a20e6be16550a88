"""The commands of run.py: what each does, in a few steps that other modules make.

What lives here: serve, worker, migrate, operator create, and what they say to a person. What must not: parsing of the
command line (run.py).
"""

import asyncio
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import asyncpg

from server.addresses import is_loopback, own_url
from server.config import PROJECT_DIR, Config, ConfigError, load_config
from server.embedded import EmbeddedError, EmbeddedServices
from server.logs import set_up_logs
from server.secret import signing_secret
from server.workers import WorkerPlan, run_workers
from storage.errors import AlreadyRegistered, DatabaseUnavailable
from storage.migrations import MigrationError, migrate

Flags = Mapping[str, object]


def serve(config_file: Path | None, flags: Flags) -> int:
    """Start what the server needs, bring the database up to date, and run workers until told to stop."""

    def work(config: Config, services: EmbeddedServices) -> int:
        _report_migrations(asyncio.run(migrate(config.database.url)), quiet_when_none=True)
        plan = WorkerPlan(
            count=config.server.workers,
            host=config.server.host,
            port=config.server.port,
            command=(sys.executable, str(PROJECT_DIR / "run.py"), "worker", *_config_flag(config_file)),
            environ={**os.environ, **_inherited(config, flags)},
            drain_s=config.server.drain_s + 2,
        )
        return run_workers(
            plan,
            on_tick=services.check,
            on_ready=lambda port: _greet(config, port),
            say=_say,
        )

    return _with_services(config_file, flags, work)


def worker(config_file: Path | None, flags: Flags) -> int:
    """One worker, as `serve` starts it: everything it needs is in its environment."""
    # Here and not above: the parent process need not load the whole application to watch over it.
    from server.worker import run_worker

    try:
        config = load_config(config_file, flags=flags)
        set_up_logs(config.log)
        return run_worker(config, int(os.environ["SHAKTI_WORKER_PORT"]))
    except ConfigError as fault:
        _complain(f"Shakti cannot start: {fault}")
        return os.EX_CONFIG


def migrate_database(config_file: Path | None, flags: Flags) -> int:
    """Apply the migrations that the database lacks, and say which."""

    def work(config: Config, _services: EmbeddedServices) -> int:
        _report_migrations(asyncio.run(migrate(config.database.url)), quiet_when_none=False)
        return 0

    return _with_services(config_file, flags, work, needs_redis=False)


def create_operator(config_file: Path | None, flags: Flags, name: str) -> int:
    """Make an operator and print the password, once."""
    from auth.passwords import Passwords
    from storage import operators
    from storage.database import Database

    password = secrets.token_urlsafe(18)

    async def create(config: Config) -> None:
        await migrate(config.database.url)
        hashing = Passwords(config.auth.bcrypt_cost, threads=1)
        database = await Database.open(config.database.url, pool_size=2, timeout_s=config.database.timeout_s)
        try:
            await operators.create(database, name, await hashing.hash(password))
        finally:
            await database.close()
            hashing.close()

    def work(config: Config, _services: EmbeddedServices) -> int:
        try:
            asyncio.run(create(config))
        except AlreadyRegistered:
            _complain(f"There is an operator {name!r} already; choose another name.")
            return 1
        _say(f"Operator {name!r} can sign in at POST /operator/signin.\nPassword (shown only now): {password}")
        return 0

    return _with_services(config_file, flags, work, needs_redis=False)


def _with_services(
    config_file: Path | None,
    flags: Flags,
    work: Callable[[Config, EmbeddedServices], int],
    *,
    needs_redis: bool = True,
) -> int:
    """Do some work with a database and a Redis at hand, embedded where none is configured; faults become sentences."""
    services: EmbeddedServices | None = None
    try:
        config = load_config(config_file, flags=flags)
        set_up_logs(config.log)
        config = _with_absolute_data_dir(config)
        embeds_database = not config.database.url
        services = EmbeddedServices(
            config.server.data_dir, postgres=embeds_database, redis=needs_redis and not config.redis.url
        )
        endpoints = services.start()
        config = replace(
            config,
            database=replace(config.database, url=endpoints.database_url or config.database.url),
            redis=replace(config.redis, url=endpoints.redis_url or config.redis.url),
        )
        secret = signing_secret(config, is_embedded=embeds_database)
        config = replace(config, auth=replace(config.auth, secret_key=secret))
        return work(config, services)
    except ConfigError as fault:
        _complain(f"Shakti cannot start: {fault}")
        return os.EX_CONFIG
    except (EmbeddedError, MigrationError) as fault:
        _complain(f"Shakti cannot start: {fault}")
        return 1
    except (DatabaseUnavailable, OSError, TimeoutError, asyncpg.PostgresError) as fault:
        _complain(f"Shakti cannot reach the database: {str(fault) or type(fault).__name__}. Is DATABASE_URL right?")
        return 1
    finally:
        if services is not None:
            services.stop()


def _with_absolute_data_dir(config: Config) -> Config:
    """The data directory is meant relative to the project, wherever the command is called from."""
    return replace(config, server=replace(config.server, data_dir=(PROJECT_DIR / config.server.data_dir).resolve()))


def _config_flag(config_file: Path | None) -> tuple[str, ...]:
    return () if config_file is None else ("--config", str(config_file.resolve()))


def _inherited(config: Config, flags: Flags) -> dict[str, str]:
    """What workers must know that no file tells them: the flags, and what was started or made here."""
    given = {f"SHAKTI_{key.replace('.', '_')}".upper(): str(value) for key, value in flags.items() if value is not None}
    return {
        **given,
        "SHAKTI_SERVER_DATA_DIR": str(config.server.data_dir),
        "SHAKTI_DATABASE_URL": config.database.url,
        "SHAKTI_REDIS_URL": config.redis.url,
        "SHAKTI_AUTH_SECRET_KEY": config.auth.secret_key,
    }


def _greet(config: Config, port: int) -> None:
    url = own_url(config.server.host, port)
    embedded = "/sock" in config.database.url or "host=" in config.database.url
    where = f"embedded, in {config.server.data_dir}" if embedded else "the server that DATABASE_URL names"
    redis = f"embedded, in {config.server.data_dir}" if config.redis.url.startswith("unix:") else "REDIS_URL"
    has_outbox = not config.sms.is_configured and not config.mail.is_configured
    lines = [
        "",
        f"Shakti is ready at {url}",
        f"  API page    {url}/docs",
        f"  PostgreSQL  {where}",
        f"  Redis       {redis}",
        f"  SMS         {'Twilio' if config.sms.is_configured else 'development outbox'}",
        f"  e-mail      {config.mail.host if config.mail.is_configured else 'development outbox'}",
    ]
    if has_outbox and is_loopback(config.server.host):
        lines.append(f"  outbox      {url}/dev/outbox")
    lines.append("Stop it with Ctrl+C.")
    _say("\n".join(lines))


def _report_migrations(applied: list[str], *, quiet_when_none: bool) -> None:
    if applied:
        _say(f"Migrations applied: {', '.join(applied)}")
    elif not quiet_when_none:
        _say("The database is up to date; no migration was needed.")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - said to the person who gave the command


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - said to the person who gave the command
