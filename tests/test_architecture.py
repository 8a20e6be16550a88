"""The rooms' walls: who may import whom, where SQL may stand. Held over syntax trees."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
# A room may import itself and every room to its right.
DIRECTION = ("server", "handlers", "feed", "storage", "market", "auth")
ALLOWED = {
    "server": {"server", "handlers", "feed", "storage", "market", "auth"},
    "handlers": {"handlers", "feed", "storage", "market", "auth"},
    "feed": {"feed", "storage", "market", "auth"},
    "storage": {"storage", "market", "auth"},
    "market": {"market"},
    "auth": {"auth"},
}
FOREIGN = {
    "storage": {"aiohttp"},
    "market": {"aiohttp", "asyncpg", "redis", "asyncio"},
    "auth": {"aiohttp", "asyncpg", "redis"},
}
SQL = re.compile(
    r"\s*(SELECT|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|(CREATE|ALTER|DROP)\s+[A-Z]+|WITH\s+\w+\s+AS)\s"
)


def modules(room: str) -> Iterator[tuple[Path, ast.Module]]:
    for file in sorted((PROJECT / room).rglob("*.py")):
        yield file, ast.parse(file.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their module in full"
            yield (node.module or "").partition(".")[0]


def wrong_imports(room: str, tree: ast.Module) -> set[str]:
    ours = {name for name in imported(tree) if name in DIRECTION}
    return (ours - ALLOWED[room]) | (set(imported(tree)) & FOREIGN.get(room, set()))


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_run_one_way(room: str) -> None:
    for file, tree in modules(room):
        assert not wrong_imports(room, tree), f"{file} must not import {wrong_imports(room, tree)}"


def test_an_import_against_the_direction_is_found() -> None:
    assert wrong_imports("storage", ast.parse("def late():\n    from handlers import routes\n    import aiohttp")) == {
        "handlers",
        "aiohttp",
    }


@pytest.mark.parametrize("room", ALLOWED)
def test_sql_stands_in_sql_files_alone(room: str) -> None:
    for file, tree in modules(room):
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not SQL.match(node.value), f"{file}:{node.lineno} holds SQL"


@pytest.mark.parametrize("room", ALLOWED)
def test_every_module_says_what_lives_in_it(room: str) -> None:
    for file, tree in modules(room):
        if any(not isinstance(node, ast.Expr) for node in tree.body):
            assert ast.get_docstring(tree), f"{file} has no docstring"
