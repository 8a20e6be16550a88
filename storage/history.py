"""What tells this database's history from another's.

What lives here: one typed function for each query file. What must not: what is named after it (feed/day_book.py).
"""

from storage.database import Database


async def read_identity(database: Database) -> str:
    """A text that a restore, a failover that lost events, or another database would change."""
    row = await database.fetchrow("history/read_identity")
    if row is None:
        raise AssertionError("the query always returns a row")
    return str(row["identity"])
