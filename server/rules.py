"""From settings to the rules that handlers apply: texts to ticks, hours to durations, networks to objects.

What lives here: the translation. What must not: reading settings (config.py), or applying any rule.
"""

from dataclasses import asdict
from datetime import timedelta
from ipaddress import ip_network

from feed.rules import FeedRules
from handlers.context import HttpRules, IdentityRules, MarketRules
from handlers.schemas.bid_array import BidLimits
from market.calendar import Calendar
from market.clearing import PriceRule
from market.ticks import Tick, TickError
from server.addresses import own_url
from server.config import Config, ConfigError
from storage.codes import OtpRules


def http_rules(config: Config) -> HttpRules:
    """What requests may be."""
    server = config.server
    return HttpRules(
        max_body_bytes=server.max_body_bytes,
        body_timeout_s=server.body_timeout_s,
        request_timeout_s=server.request_timeout_s,
        trusted_proxies=tuple(ip_network(network, strict=False) for network in server.trusted_proxies),
        cors_origins=frozenset(server.cors_origins),
        log_access=config.log.access,
    )


def market_rules(config: Config) -> MarketRules:
    """The market's rules in ticks. Raises ConfigError for a size that ticks cannot have."""
    market = config.market
    try:
        price_tick, volume_tick = Tick(market.price_tick), Tick(market.volume_tick)
        limits = BidLimits(
            price_tick=price_tick,
            volume_tick=volume_tick,
            floor_ticks=price_tick.parse(market.floor),
            cap_ticks=price_tick.parse(market.cap),
            max_volume_ticks=volume_tick.parse(market.max_volume),
            max_bids=market.max_bids_per_request,
        )
    except TickError as fault:
        raise ConfigError(f"[market]: a tick, the floor, the cap or max_volume {fault}") from None
    return MarketRules(
        bids=limits,
        calendar=Calendar(market.gate_offset),
        days_ahead=market.days_ahead,
        price_rule=PriceRule(market.price_rule),
        is_book_public=market.public_book,
    )


def feed_rules(config: Config, market: MarketRules) -> FeedRules:
    """The limits of the feed, and what it shares with the market."""
    return FeedRules(
        calendar=market.calendar,
        price_rule=market.price_rule,
        price_tick=market.bids.price_tick,
        volume_tick=market.bids.volume_tick,
        days_ahead=market.days_ahead,
        is_book_public=market.is_book_public,
        **asdict(config.feed),
    )


def identity_rules(config: Config) -> IdentityRules:
    """Lifetimes and limits of identities."""
    auth, limits, server = config.auth, config.limits, config.server
    return IdentityRules(
        token_lifetime=timedelta(hours=auth.token_hours),
        email_link_lifetime=timedelta(hours=auth.email_link_hours),
        default_region=auth.default_region,
        otp=OtpRules(
            lifetime_s=limits.otp_lifetime_s,
            tries=limits.otp_tries,
            failures_per_number_day=limits.otp_tries * limits.otp_per_number_day,
            failures_day=limits.otp_failures_day,
        ),
        otp_per_number=limits.otp_per_number,
        otp_per_number_day=limits.otp_per_number_day,
        otp_per_address=limits.otp_per_address,
        email_links_per_account=limits.email_links_per_account,
        signin_failures=limits.signin_failures,
        signin_failures_address=limits.signin_failures_address,
        partner_requests_per_address=limits.partner_requests_per_address,
        link_base=(server.frontend_url or server.public_url or own_url(server.host, server.port)).rstrip("/"),
    )
