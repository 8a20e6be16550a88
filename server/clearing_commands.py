"""To come."""

from datetime import date
from pathlib import Path

from server.ground import Flags


def clear(config_file: Path | None, flags: Flags, delivery_day: date, *, is_dry_run: bool) -> int:
    """To come."""
    raise NotImplementedError
