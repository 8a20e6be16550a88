"""The commands of run.py: what each does, in a few steps that other modules make.

What lives here: serve, worker, migrate, operator create, and what they say to a person. What must not: parsing of the
command line (run.py).
"""

import asyncio
import os
import secrets
import sys
from dataclasses import replace
from pathlib import Path

import asyncpg
import structlog

from server.config import PROJECT_DIR, Config, ConfigError
from server.database_faults import describe_fault
from server.early_signals import EarlySignals
from server.greeting import greeting
from server.ground import CommandError, Flags, Ground, bring_up_to_date, run, say, settings, stand_on
from server.listening_port import ListeningPort
from server.secret import signing_secret
from server.workers import WorkerPlan, run_workers, worker_sockets
from storage.errors import AlreadyRegistered, DatabaseUnavailable, RedisUnavailable

log = structlog.get_logger("shakti")


def serve(config_file: Path | None, flags: Flags) -> int:
    """Start what the server needs, bring the database up to date, and run workers until told to stop."""

    def work() -> int:
        early = EarlySignals()
        config = settings(config_file, flags)
        # Asked before anything is started; run_workers asks again, and holds it.
        ListeningPort(config.server.host, config.server.port).close()
        with stand_on(config, redis=True) as ground:
            early.obey()
            config = _with_secret(ground)
            if not ground.embeds_redis:
                asyncio.run(_look_for_redis(config))
            applied = bring_up_to_date(ground)
            if applied:
                say(f"Migrations applied: {', '.join(applied)}")
            plan = WorkerPlan(
                count=config.server.workers,
                host=config.server.host,
                port=config.server.port,
                command=(sys.executable, str(PROJECT_DIR / "run.py"), "worker", *_config_flag(config_file)),
                environ={**os.environ, **_inherited(config, flags)},
                drain_s=config.server.drain_s + 2,
            )
            early.obey()
            return run_workers(
                plan,
                on_tick=ground.services.check,
                on_ready=lambda port: say(_greeting(ground, port)),
                say=log.warning,
            )

    return run("Shakti cannot start", work)


def worker(config_file: Path | None, flags: Flags) -> int:
    """One worker, as `serve` starts it: everything it needs is in its environment."""
    # Here and not above: the parent process need not load the whole application to watch over it.
    from server.worker import run_worker
    from storage.database import UnsafeDatabase

    def work() -> int:
        if "SHAKTI_WORKER_PORT" not in os.environ:
            raise CommandError("the server starts its workers itself; run: run.py serve")
        config = settings(config_file, flags)
        try:
            run_worker(config, int(os.environ["SHAKTI_WORKER_PORT"]), worker_sockets())
        except UnsafeDatabase as fault:
            raise ConfigError(str(fault)) from fault
        except (DatabaseUnavailable, asyncpg.PostgresError) as fault:
            raise CommandError(describe_fault(fault.__cause__ or fault, config, is_embedded=False)) from fault
        return 0

    return run("Shakti cannot start", work)


def migrate_database(config_file: Path | None, flags: Flags) -> int:
    """Apply the migrations that the database lacks, and say which. Works beside a server that runs."""

    def work() -> int:
        with stand_on(settings(config_file, flags), redis=False) as ground:
            applied = bring_up_to_date(ground)
        say(
            f"Migrations applied: {', '.join(applied)}"
            if applied
            else "The database is up to date; no migration was needed."
        )
        return 0

    return run("Shakti cannot migrate", work)


def create_operator(config_file: Path | None, flags: Flags, name: str) -> int:
    """Make an operator and print the password, once. Works beside a server that runs."""
    from marshmallow import ValidationError

    from handlers.schemas.operators import OperatorSignInSchema

    password = secrets.token_urlsafe(18)

    def work() -> int:
        config = settings(config_file, flags)
        try:
            # A name that cannot sign in must not be made.
            accepted = OperatorSignInSchema().fields["name"].deserialize(name)
        except ValidationError as fault:
            raise CommandError(f"the name {' and '.join(map(str, fault.messages))}") from fault
        with stand_on(config, redis=False) as ground:
            bring_up_to_date(ground)
            asyncio.run(_create_operator(ground, accepted, password))
        say(f"Operator {accepted!r} can sign in at POST /operator/signin.\nPassword (shown only now): {password}")
        return 0

    return run("No operator was made", work)


async def _create_operator(ground: Ground, name: str, password: str) -> None:
    from auth.passwords import Passwords
    from storage import operators
    from storage.database import Database, UnsafeDatabase

    config, is_embedded = ground.config, ground.embeds_database
    hashing = Passwords(config.auth.bcrypt_cost, threads=1)
    try:
        database = await Database.open(config.database.url, pool_size=2, timeout_s=config.database.timeout_s)
        try:
            await operators.create(database, name, await hashing.hash(password))
        finally:
            await database.close()
    except AlreadyRegistered:
        raise CommandError(f"there is an operator {name!r} already; choose another name") from None
    except UnsafeDatabase as fault:
        raise ConfigError(str(fault)) from fault
    except (DatabaseUnavailable, asyncpg.PostgresError) as fault:
        raise CommandError(describe_fault(fault.__cause__ or fault, config, is_embedded=is_embedded)) from fault
    finally:
        hashing.close()


def _with_secret(ground: Ground) -> Config:
    secret = signing_secret(ground.config, is_embedded=ground.embeds_database)
    return replace(ground.config, auth=replace(ground.config.auth, secret_key=secret))


async def _look_for_redis(config: Config) -> None:
    """A word about a Redis that does not answer. The server starts all the same: most of it does without."""
    # Here and not above: whoever embeds Redis need not load its client in this process.
    from storage.codes import Codes

    try:
        codes = Codes(config.redis.url, config.redis.timeout_s)
    except ValueError:
        raise ConfigError("REDIS_URL cannot be read; it must look like redis://user:password@host:6379/0") from None
    try:
        await codes.ping()
    except RedisUnavailable as fault:
        log.warning(
            "Redis cannot be used; until it can, nobody signs up or in. Is it running, and is REDIS_URL right?",
            reason=str(fault.__cause__) or type(fault.__cause__).__name__,
        )
    finally:
        await codes.close()


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


def _greeting(ground: Ground, port: int) -> str:
    return greeting(ground.config, port, embeds_database=ground.embeds_database, embeds_redis=ground.embeds_redis)
