"""Phone numbers that somebody has proved to hold.

What lives here: recording them. What must not: sending or checking the OTP that proves it.
"""

from storage.database import Database


async def verify(database: Database, phone: str) -> None:
    """Record a number (E.164) as verified, durably; saying it twice changes nothing but the time."""
    await database.fetch("phones/verify", phone)
