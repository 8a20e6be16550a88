"""What storage can refuse: one exception a rule. Statuses and bodies are made of them in handlers/errors.py alone."""

from datetime import date


class StorageError(Exception):
    """Base of all refusals of this package."""


class Unavailable(StorageError):
    """PostgreSQL or Redis did not answer in time; the same request may succeed later. `service` names which."""

    def __init__(self, service: str) -> None:
        super().__init__(f"{service} is unavailable")
        self.service = service


class DatabaseUnavailable(Unavailable):
    def __init__(self) -> None:
        super().__init__("the database")


class RedisUnavailable(Unavailable):
    def __init__(self) -> None:
        super().__init__("Redis")


class AlreadyRegistered(StorageError):
    """A unique value of a new account is taken. `what` names the taken values: connection, phone, email, gst."""

    def __init__(self, what: tuple[str, ...]) -> None:
        super().__init__(", ".join(what))
        self.what = what


class AccountGone(StorageError):
    """The account that a valid token named no longer exists."""


class BookError(StorageError):
    """A change of the book that was refused; nothing of it was done."""


class GateClosed(BookError):
    """The delivery day takes no bid, change or withdrawal any more."""

    def __init__(self, delivery_day: date) -> None:
        super().__init__(f"The gate for {delivery_day.isoformat()} is closed")
        self.delivery_day = delivery_day


class BidNotFound(BookError):
    """No such bid, or another account's."""


class BidNotOpen(BookError):
    """The bid was withdrawn already."""


class TooManyOpenBids(BookError):
    """The account would hold more open bids of one delivery day than it may."""

    def __init__(self, limit: int, held: int) -> None:
        super().__init__(f"An account may hold {limit} open bids for a delivery day; {held} are open already")


class LevelFull(BookError):
    """A level's total volume would pass 2^53 - 1 ticks, the largest number that every browser can check."""

    def __init__(self, slot: int, price_ticks: int) -> None:
        super().__init__(f"slot {slot} at {price_ticks} ticks")
        self.slot = slot
        self.price_ticks = price_ticks


class KeyReused(BookError):
    """The idempotency key was used before with another body."""


class TooManyCorrections(StorageError):
    """A reading was corrected so often that it takes no other value; nothing of the report was recorded."""

    def __init__(self, slots: list[int], limit: int) -> None:
        super().__init__(f"{limit} values were reported for slots {slots}")
        self.slots = slots
        self.limit = limit
