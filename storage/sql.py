"""The query files under sql/: read once, named by their path, checked for shape.

What lives here: the loader. What must not: SQL text, or knowledge of what any query means.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

SQL_DIR = Path(__file__).resolve().parent.parent / "sql"


class QueryFileError(Exception):
    """A query file that breaks the rules: one statement each, beginning with a comment that explains it."""


class Queries(Mapping[str, str]):
    """All statements of a directory: `queries["bids/list"]` is the text of `bids/list.sql`.

    An unknown name raises KeyError; a file without its leading comment, without a statement or with several raises
    QueryFileError when the directory is read, so a process with a broken file does not start.
    """

    def __init__(self, directory: Path = SQL_DIR / "queries") -> None:
        self._texts = {
            str(file.relative_to(directory).with_suffix("")): _checked(file)
            for file in sorted(directory.rglob("*.sql"))
        }

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def _checked(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    if not text.startswith("--"):
        raise QueryFileError(f"{file} must begin with a comment: purpose, parameters, columns")
    statement = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--")).strip()
    if not statement.endswith(";") or ";" in statement[:-1]:
        raise QueryFileError(f"{file} must hold exactly one statement, ended by a semicolon")
    # PostgreSQL keeps the text of every prepared statement: it need not keep our prose.
    return statement


QUERIES = Queries()
