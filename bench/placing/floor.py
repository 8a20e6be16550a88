"""The floor under placing: PostgreSQL's own pgbench, one row-per-bid INSERT a transaction into the peers' table. It
verifies no token, validates nothing and keeps no idempotency key.

What lives here: running it. What must not: tuning it.
"""

import re
from pathlib import Path

import asyncpg

from bench.ground import Ground, postgres_program
from bench.options import Options
from bench.placing.contenders import peer_database
from bench.processes import Child, cpu_s
from bench.rounds import Figures, NotMeasured
from bench.tools import require

_DATABASE = "pgbench"
_HERE = Path(__file__).parent
_PATIENCE_S = 60.0


async def insert(options: Options, ground: Ground, connections: int, size: int) -> Figures:
    """Transactions of `size` bids. Raises NotMeasured."""
    # The one that came along speaks to its own server for certain; a machine without it may have Debian's.
    program = postgres_program("pgbench") or require(options, "pgbench", "postgresql-contrib")
    if not await _exists(ground):
        await peer_database(ground, _DATABASE)
    await ground.settle()
    script = _HERE / "peers" / f"insert_{size}.sql"
    await _run(ground, program, script, connections, options.warm_s)
    before = cpu_s(ground.postgres_pid)
    said = await _run(ground, program, script, connections, options.measure_s)
    spent = cpu_s(ground.postgres_pid) - before
    rate = re.search(r"^tps = ([0-9.]+)", said, re.MULTILINE)
    count = re.search(r"transactions actually processed: ([0-9]+)", said)
    failed = re.search(r"number of failed transactions: ([0-9]+)", said)
    if rate is None or count is None or not int(count[1]) or (failed and int(failed[1])):
        raise NotMeasured(f"pgbench: {said[-500:]}")
    return {"per_s": float(rate[1]), "postgres_us": spent * 1e6 / int(count[1])}


async def _run(ground: Ground, program: Path, script: Path, connections: int, seconds: float) -> str:
    log = ground.directory / "pgbench.log"
    log.unlink(missing_ok=True)
    flags = ("-n", "-M", "prepared", "-c", str(connections), "-j", "1", "-T", str(round(seconds)))
    child = Child([program, *flags, "-f", script], log=log, environ=ground.environment(_DATABASE))
    try:
        code = await child.wait(seconds + _PATIENCE_S)
    finally:
        child.stop()
    said = log.read_text(errors="replace")
    if code:
        raise NotMeasured(f"pgbench ended with exit code {code}: {said[-500:]}")
    return said


async def _exists(ground: Ground) -> bool:
    try:
        await (await asyncpg.connect(ground.url_of(_DATABASE))).close()
    except asyncpg.InvalidCatalogNameError:
        return False
    return True
