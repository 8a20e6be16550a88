"""To come."""

from datetime import date
from pathlib import Path

from server.ground import Flags


def audit(config_file: Path | None, flags: Flags, delivery_day: date) -> int:
    """To come."""
    raise NotImplementedError
