"""What the feed must know of the settings: limits, times and ticks.

What lives here: one frozen record. What must not: reading settings (server/config.py), or applying any of them.
"""

from dataclasses import dataclass

from market.calendar import Calendar
from market.clearing import PriceRule
from market.ticks import Tick


@dataclass(frozen=True, slots=True)
class FeedRules:
    """Times in seconds, sizes in bytes. Book channels exist from `days_back` days before today to `days_ahead` after
    it, in India; `is_book_public` opens them to who has not authenticated."""

    calendar: Calendar
    price_rule: PriceRule
    price_tick: Tick
    volume_tick: Tick
    days_ahead: int
    is_book_public: bool
    ping_s: float
    pong_timeout_s: float
    auth_timeout_s: float
    max_message_bytes: int
    messages_per_s: float
    message_burst: int
    max_subscriptions: int
    connections_per_account: int
    connections_per_address: int
    max_unsent_bytes: int
    send_buffer_bytes: int
    slow_close_s: float
    expiry_warning_s: float
    expiry_grace_s: float
    expiry_close_s: float
    days_back: int = 31
    # The most messages of its own that a resume replays to an account; feed protocol, rule 12.
    max_replay: int = 10_000

    @property
    def ticks(self) -> dict[str, str]:
        """The sizes of the ticks as messages state them."""
        return {"price": self.price_tick.format(1), "volume": self.volume_tick.format(1)}
