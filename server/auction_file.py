"""To come."""


def clear_file(file: str, price_rule: str, *, price_tick: str, volume_tick: str) -> int:
    """To come."""
    raise NotImplementedError
