"""Query files: one statement each, explained, named by their path, and accepted by PostgreSQL as they stand."""

from pathlib import Path

import asyncpg
import pytest

from storage.sql import QUERIES, Queries, QueryFileError


def test_names_are_paths(tmp_path: Path) -> None:
    (tmp_path / "bids").mkdir()
    (tmp_path / "bids" / "list.sql").write_text("-- Lists.\nSELECT 1;\n")
    assert dict(Queries(tmp_path)) == {"bids/list": "SELECT 1;"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT 1;", "must begin with a comment"),
        ("-- Two.\nSELECT 1;\nSELECT 2;", "exactly one statement"),
        ("-- None.\n", "exactly one statement"),
        ("-- Open.\nSELECT 1", "exactly one statement"),
    ],
)
def test_a_file_that_breaks_the_rules_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "bad.sql").write_text(text)
    with pytest.raises(QueryFileError, match=complaint):
        Queries(tmp_path)


@pytest.mark.parametrize("name", [name for name in QUERIES if name != "migrations/create_ledger"])
async def test_postgresql_accepts_every_statement(name: str, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    if name.startswith("clearing/"):
        # What the transaction that clears a day makes for itself, and the next statements read.
        made = ("clearing/make_given", "clearing/gather_given")
        for earlier in made[: made.index(name) if name in made else None]:
            await connection.execute(QUERIES[earlier].replace("ON COMMIT DROP", ""))
    await connection.prepare(QUERIES[name])


def test_every_query_file_is_used() -> None:
    root = Path(__file__).resolve().parents[2]
    code = "\n".join(
        file.read_text() for room in ("server", "handlers", "feed", "storage") for file in (root / room).rglob("*.py")
    )
    assert [name for name in QUERIES if f'"{name}"' not in code] == []
