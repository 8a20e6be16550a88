"""Settings: frozen dataclasses filled from config.toml, `.env`, the environment and flags.

What lives here: the shape, the defaults and the checks of every setting. What must not: how a value is found and read
(config_sources.py), opening anything that a setting names, or a secret's default.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from market.calendar import parse_gate_closure
from market.ticks import Tick, TickError
from server.config_sources import ConfigError as ConfigError
from server.config_sources import read_dotenv, read_values

PROJECT_DIR = Path(__file__).resolve().parent.parent
MIN_SECRET_BYTES = 32


def _bounded(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


def _named(default: Any, *names: str, **bounds: float) -> Any:
    return field(default=default, metadata={"env": names, **bounds})


def _secret(*names: str) -> Any:
    """A secret has no default, no key in config.toml and no place in a repr."""
    return field(default="", repr=False, metadata={"env": names, "secret": True})


@dataclass(frozen=True, slots=True)
class ServerSettings:
    host: str = "127.0.0.1"
    port: int = _bounded(8080, 0, 65535)
    workers: int = _bounded(1, 1, 64)
    data_dir: Path = Path("data")
    frontend_url: str = _named("", "FRONTEND_URL")
    public_url: str = ""
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    max_body_bytes: int = _bounded(1_048_576, 1024, 1 << 30)
    body_timeout_s: float = _bounded(10.0, 0.05, 3600)
    request_timeout_s: float = _bounded(15.0, 0.05, 3600)
    drain_s: float = _bounded(8.0, 0.0, 3600)


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    url: str = field(default="", repr=False, metadata={"env": ("DATABASE_URL",)})
    pool_size: int = _bounded(10, 2, 1000)
    timeout_s: float = _bounded(4.0, 0.1, 600)


@dataclass(frozen=True, slots=True)
class RedisSettings:
    url: str = field(default="", repr=False, metadata={"env": ("REDIS_URL",)})
    timeout_s: float = _bounded(1.0, 0.05, 60)


@dataclass(frozen=True, slots=True)
class AuthSettings:
    token_hours: float = _bounded(12.0, 0.001, 24 * 366)
    email_link_hours: float = _bounded(1.0, 0.0001, 24 * 30)
    bcrypt_cost: int = _bounded(12, 4, 16)
    default_region: str = "IN"
    secret_key: str = _secret("SECRET_KEY")


@dataclass(frozen=True, slots=True)
class LimitSettings:
    otp_lifetime_s: int = _bounded(300, 1, 86_400)
    otp_tries: int = _bounded(5, 1, 100)
    otp_per_number: int = _bounded(5, 1, 10**9)
    otp_per_number_day: int = _bounded(15, 1, 10**9)
    otp_per_address: int = _bounded(100, 1, 10**9)
    otp_failures_day: int = _bounded(5000, 1, 10**9)
    email_links_per_account: int = _bounded(5, 1, 10**9)
    signin_failures: int = _bounded(10, 1, 10**9)
    signin_failures_address: int = _bounded(200, 1, 10**9)
    partner_requests_per_address: int = _bounded(1000, 1, 10**9)


@dataclass(frozen=True, slots=True)
class MarketSettings:
    gate_closure: str = "24:00"
    days_ahead: int = _bounded(7, 1, 366)
    price_tick: Decimal = Decimal("0.01")
    volume_tick: Decimal = Decimal("0.001")
    floor: Decimal = Decimal("0")
    cap: Decimal = Decimal("10000")
    max_volume: Decimal = Decimal("1000000")
    max_bids_per_request: int = _bounded(1000, 1, 100_000)
    max_open_bids: int = _bounded(10_000, 1, 10**9)
    public_book: bool = False
    price_rule: Literal["midpoint", "seller", "buyer"] = "midpoint"

    @property
    def gate_offset(self) -> timedelta:
        """Gate closure as the time since the start of the day before delivery."""
        return parse_gate_closure(self.gate_closure)


@dataclass(frozen=True, slots=True)
class FeedSettings:
    ping_s: float = _bounded(25.0, 0.1, 3600)
    pong_timeout_s: float = _bounded(10.0, 0.1, 3600)
    auth_timeout_s: float = _bounded(10.0, 0.1, 3600)
    max_message_bytes: int = _bounded(4096, 256, 1 << 20)
    messages_per_s: float = _bounded(5.0, 0.1, 10**6)
    message_burst: int = _bounded(20, 1, 10**6)
    max_subscriptions: int = _bounded(64, 1, 10_000)
    connections_per_account: int = _bounded(20, 1, 10**7)
    connections_per_address: int = _bounded(1000, 1, 10**7)
    max_unsent_bytes: int = _bounded(65_536, 1024, 1 << 26)
    send_buffer_bytes: int = _bounded(16_384, 2048, 1 << 26)
    slow_close_s: float = _bounded(15.0, 0.1, 3600)
    expiry_warning_s: float = _bounded(60.0, 0.0, 3600)
    expiry_grace_s: float = _bounded(25.0, 0.0, 3600)
    expiry_close_s: float = _bounded(60.0, 0.0, 3600)


@dataclass(frozen=True, slots=True)
class SmsSettings:
    account_sid: str = _named("", "TWILIO_ACCOUNT_SID")
    auth_token: str = _secret("TWILIO_AUTH_TOKEN")
    from_number: str = _named("", "TWILIO_PHONE_NUMBER")
    base_url: str = _named("", "TWILIO_BASE_URL")
    timeout_s: float = _bounded(8.0, 0.05, 60)

    @property
    def is_configured(self) -> bool:
        return bool(self.account_sid and self.auth_token and self.from_number)


@dataclass(frozen=True, slots=True)
class MailSettings:
    host: str = _named("", "SMTP_HOST")
    port: int = _named(587, "SMTP_PORT", low=1, high=65535)
    username: str = _named("", "SMTP_USERNAME", "SMTP_USER")
    password: str = _secret("SMTP_PASSWORD")
    sender: str = _named("Shakti <no-reply@localhost>", "SMTP_FROM")
    security: Literal["starttls", "tls", "none"] = _named("starttls", "SMTP_SECURITY")
    ca_file: str = ""
    timeout_s: float = _bounded(10.0, 0.05, 60)

    @property
    def is_configured(self) -> bool:
        return bool(self.host)


@dataclass(frozen=True, slots=True)
class LogSettings:
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"
    access: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting of one server, checked. Durations in seconds where a name ends in `_s`, prices in INR/kWh,
    volumes in kWh."""

    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    market: MarketSettings = MarketSettings()
    feed: FeedSettings = FeedSettings()
    sms: SmsSettings = SmsSettings()
    mail: MailSettings = MailSettings()
    log: LogSettings = LogSettings()


def load_config(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Config:
    """Read the settings.

    `path` is the TOML file (default: config.toml beside run.py); a `.env` beside it is read too. `flags` maps
    `"section.key"` to a value given on the command line. Raises ConfigError naming the first bad key.
    """
    file = path or PROJECT_DIR / "config.toml"
    # The nearer one first: whatever name it uses, the environment wins over the file.
    layers = (os.environ if environ is None else environ, read_dotenv(file.parent / ".env"))
    sections: dict[str, Any] = {f.name: f.type for f in fields(Config)}
    values = read_values(file, sections, layers, flags or {})
    config = Config(**{name: kind(**values[name]) for name, kind in sections.items()})
    _check_together(config)
    return config


def _check_together(config: Config) -> None:
    """Rules that need more than one key, or knowledge of what a text means."""
    _check_market(config.market)
    _check_urls(config)
    for network in config.server.trusted_proxies:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise ConfigError(f"server.trusted_proxies: {network!r} is not a network like 10.0.0.0/8") from None
    for origin in config.server.cors_origins:
        if not origin.startswith(("http://", "https://")) or origin.endswith("/"):
            raise ConfigError(f"server.cors_origins: {origin!r} is not an origin like https://app.example.in")
    secret = config.auth.secret_key
    if secret and len(secret.encode()) < MIN_SECRET_BYTES:
        raise ConfigError(
            f"SECRET_KEY must have at least {MIN_SECRET_BYTES} bytes; make one with: openssl rand -hex 32"
        )
    if re.fullmatch("[A-Z]{2}", config.auth.default_region) is None:
        raise ConfigError(f"auth.default_region must be a country code like IN, not {config.auth.default_region!r}")
    if not config.server.host:
        raise ConfigError("server.host must not be empty; 0.0.0.0 stands for every address of this machine")
    _check_gateways(config.sms, config.mail)


def _check_gateways(sms: SmsSettings, mail: MailSettings) -> None:
    """Half a gateway must not pass for none: messages would go to the development outbox."""
    twilio = {
        "TWILIO_ACCOUNT_SID": sms.account_sid,
        "TWILIO_AUTH_TOKEN": sms.auth_token,
        "TWILIO_PHONE_NUMBER": sms.from_number,
    }
    missing = [name for name, value in twilio.items() if not value]
    if 0 < len(missing) < len(twilio):
        raise ConfigError(f"SMS needs all of {', '.join(twilio)}, or none of them; {' and '.join(missing)} not set")
    if (mail.username or mail.password) and not mail.host:
        raise ConfigError("SMTP_USERNAME and SMTP_PASSWORD are of no use without SMTP_HOST; set it, or none of them")
    if bool(mail.username) != bool(mail.password):
        raise ConfigError("e-mail needs both SMTP_USERNAME and SMTP_PASSWORD, or neither")


def _check_market(market: MarketSettings) -> None:
    try:
        parse_gate_closure(market.gate_closure)
    except ValueError as fault:
        raise ConfigError(f"market.gate_closure {fault}") from None
    ticks = {}
    for key in ("price_tick", "volume_tick"):
        try:
            ticks[key] = Tick(getattr(market, key))
        except TickError as fault:
            raise ConfigError(f"market.{key} {fault}") from None
    for key, tick in (("floor", "price_tick"), ("cap", "price_tick"), ("max_volume", "volume_tick")):
        try:
            ticks[tick].parse(getattr(market, key))
        except TickError as fault:
            raise ConfigError(f"market.{key} {fault} (market.{tick})") from None
    if market.max_volume <= 0:
        raise ConfigError("market.max_volume must be greater than 0")
    if market.floor > market.cap:
        raise ConfigError("market.floor must not be above market.cap")


def _check_urls(config: Config) -> None:
    """None of the texts shows a URL that may hold a password."""
    for key in ("frontend_url", "public_url"):
        url = getattr(config.server, key)
        if url and not url.startswith(("http://", "https://")):
            raise ConfigError(f"server.{key} must start with http:// or https://, not {url!r}")
    if config.database.url and not config.database.url.startswith(("postgresql://", "postgres://")):
        raise ConfigError("DATABASE_URL must look like postgresql://user:password@host:5432/name")
    if config.redis.url and not config.redis.url.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigError(
            "REDIS_URL must look like redis://host:6379/0, rediss://host:6379/0 or unix:///path/to/socket"
        )
