"""Settings: frozen dataclasses filled from config.toml, `.env`, the environment and flags.

What lives here: the shape, the defaults, the sources' order and the checks of every setting. What must not: opening
anything that a setting names, or a secret's default.
"""

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from dotenv import dotenv_values

from market.calendar import parse_gate_closure

PROJECT_DIR = Path(__file__).resolve().parent.parent
MIN_SECRET_BYTES = 32


class ConfigError(Exception):
    """A setting that cannot be used; the text names the key and what it takes."""


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
    table = _read_toml(file)
    dotenv = {k: v for k, v in dotenv_values(file.parent / ".env").items() if v is not None}
    env = {**dotenv, **(os.environ if environ is None else environ)}
    flags = flags or {}
    sections = {f.name: f.type for f in fields(Config)}
    for section in table:
        if section not in sections:
            raise ConfigError(f"{file}: unknown section [{section}]; known are {', '.join(sections)}")
    built = {name: _build_section(name, kind, table.get(name, {}), env, flags, file) for name, kind in sections.items()}
    config = Config(**built)
    _check_together(config)
    return config


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file} does not exist; name another with --config") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{file} cannot be read: {fault}") from None
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"{file} is not valid TOML: {fault}") from None


def _build_section(
    section: str, kind: Any, table: Any, env: Mapping[str, str], flags: Mapping[str, object], file: Path
) -> Any:
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: [{section}] must be a table")
    known = {f.name: f for f in fields(kind)}
    for key in table:
        if key not in known:
            raise ConfigError(f"{file}: unknown key {section}.{key}; known are {', '.join(known)}")
        if known[key].metadata.get("secret"):
            name = known[key].metadata["env"][0]
            raise ConfigError(f"{file}: {section}.{key} is a secret; set {name} in the environment instead")
    values: dict[str, Any] = {}
    for key, spec in known.items():
        names = (f"SHAKTI_{section}_{key}".upper(), *spec.metadata.get("env", ()))
        from_env = next(((n, env[n]) for n in names if env.get(n, "") != ""), None)
        if flags.get(f"{section}.{key}") is not None:
            source, raw = f"--{key.replace('_', '-')}", flags[f"{section}.{key}"]
        elif from_env is not None:
            source, raw = from_env
        elif key in table:
            source, raw = f"{section}.{key}", table[key]
        else:
            continue
        values[key] = _convert(source, raw, spec.type, spec.metadata)
    return kind(**values)


def _convert(source: str, raw: object, kind: Any, bounds: Mapping[str, Any]) -> Any:
    """One value from TOML or text to its setting's type; ConfigError names the source."""
    if get_origin(kind) is Literal:
        if raw not in get_args(kind):
            raise ConfigError(f"{source} must be one of {', '.join(get_args(kind))}, not {raw!r}")
        return raw
    if kind is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        value = raw if isinstance(raw, bool) else words.get(str(raw).lower())
        if value is None:
            raise ConfigError(f"{source} must be true or false, not {raw!r}")
        return value
    if kind in (int, float):
        return _convert_number(source, raw, kind, bounds)
    if kind is Decimal:
        try:
            number = Decimal(str(raw))
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite():
            raise ConfigError(f"{source} must be a decimal number, not {raw!r}")
        return number
    if get_origin(kind) is tuple:
        items = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise ConfigError(f"{source} must be a list of texts, not {raw!r}")
        return tuple(item.strip() for item in items if item.strip())
    if not isinstance(raw, str | Path):
        raise ConfigError(f"{source} must be a text, not {raw!r}")
    return kind(raw)


def _convert_number(source: str, raw: object, kind: Any, bounds: Mapping[str, Any]) -> Any:
    whole = "a whole number" if kind is int else "a number"
    low, high = bounds.get("low", float("-inf")), bounds.get("high", float("inf"))
    try:
        if isinstance(raw, bool) or not isinstance(raw, str | int | float):
            raise ValueError
        if kind is int and isinstance(raw, float):
            raise ValueError
        value = kind(raw)
    except ValueError:
        raise ConfigError(f"{source} must be {whole}, not {raw!r}") from None
    if not low <= value <= high:
        raise ConfigError(f"{source} must be {whole} from {low:g} to {high:g}, not {value:g}")
    return value


def _check_together(config: Config) -> None:
    """Rules that need more than one key, or knowledge of what a text means."""
    market = config.market
    try:
        parse_gate_closure(market.gate_closure)
    except ValueError as fault:
        raise ConfigError(f"market.gate_closure {fault}") from None
    for key in ("price_tick", "volume_tick", "max_volume"):
        if getattr(market, key) <= 0:
            raise ConfigError(f"market.{key} must be greater than 0")
    if market.floor > market.cap:
        raise ConfigError("market.floor must not be above market.cap")
    for key, tick in (("floor", "price_tick"), ("cap", "price_tick"), ("max_volume", "volume_tick")):
        if getattr(market, key) % getattr(market, tick):
            raise ConfigError(f"market.{key} must be a multiple of market.{tick}")
    for network in config.server.trusted_proxies:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise ConfigError(f"server.trusted_proxies: {network!r} is not a network like 10.0.0.0/8") from None
    for origin in config.server.cors_origins:
        if not origin.startswith(("http://", "https://")) or origin.endswith("/"):
            raise ConfigError(f"server.cors_origins: {origin!r} is not an origin like https://app.example.in")
    for key in ("frontend_url", "public_url"):
        url = getattr(config.server, key)
        if url and not url.startswith(("http://", "https://")):
            raise ConfigError(f"server.{key} must start with http:// or https://")
    secret = config.auth.secret_key
    if secret and len(secret.encode()) < MIN_SECRET_BYTES:
        raise ConfigError(
            f"SECRET_KEY must have at least {MIN_SECRET_BYTES} bytes; make one with: openssl rand -hex 32"
        )
    sms = config.sms
    if any((sms.account_sid, sms.auth_token, sms.from_number)) and not sms.is_configured:
        raise ConfigError(
            "SMS needs all of TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_PHONE_NUMBER, or none of them"
        )
