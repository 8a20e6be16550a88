"""Settings: what config.toml promises is true, nearer sources win, what is wrong is named with what it takes."""

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from server.config import PROJECT_DIR, Config, ConfigError, load_config

SECRET = "0123456789abcdef0123456789abcdef"
FILE = PROJECT_DIR / "config.toml"
TWILIO = {"TWILIO_ACCOUNT_SID": "AC1", "TWILIO_AUTH_TOKEN": "a-twilio-token", "TWILIO_PHONE_NUMBER": "+15005550006"}


def load(
    directory: Path,
    toml: str = "",
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    dotenv: str | None = None,
) -> Config:
    (directory / "config.toml").write_text(toml)
    if dotenv is not None:
        (directory / ".env").write_text(dotenv)
    return load_config(directory / "config.toml", environ or {}, flags)


def refusal(directory: Path, toml: str = "", environ: Mapping[str, str] | None = None, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(directory, toml, environ, **more)
    return str(caught.value)


def as_toml(value: object) -> object:
    """A default as config.toml writes it."""
    match value:
        case tuple():
            return list(value)
        case Path() | Decimal():
            return str(value)
    return value


def test_every_setting_stands_in_the_file_with_its_default() -> None:
    table = tomllib.loads(FILE.read_text())
    expected = {
        section.name: {
            field.name: as_toml(getattr(getattr(Config(), section.name), field.name))
            for field in dataclasses.fields(getattr(Config(), section.name))
            if not field.metadata.get("secret")
        }
        for section in dataclasses.fields(Config)
    }
    assert table == expected
    assert load_config(FILE, {}) == Config()


def test_every_variable_of_a_usual_name_stands_in_the_file() -> None:
    text = FILE.read_text()
    for section in dataclasses.fields(Config):
        for field in dataclasses.fields(getattr(Config(), section.name)):
            for name in field.metadata.get("env", ()):
                # The stand-in of tests has a SHAKTI_ name too; nobody expects this one.
                assert name in text or name == "TWILIO_BASE_URL", f"{name} is not in config.toml"


def test_nearer_sources_win(tmp_path: Path) -> None:
    toml, dotenv = "[server]\nport = 1001\n", "SHAKTI_SERVER_PORT=1002\n"
    environ, flags = {"SHAKTI_SERVER_PORT": "1003"}, {"server.port": "1004"}
    assert load(tmp_path).server.port == 8080
    assert load(tmp_path, toml).server.port == 1001
    assert load(tmp_path, toml, dotenv=dotenv).server.port == 1002
    assert load(tmp_path, toml, environ, dotenv=dotenv).server.port == 1003
    assert load(tmp_path, toml, environ, flags, dotenv=dotenv).server.port == 1004
    assert load(tmp_path, toml, environ, {"server.port": None}, dotenv=dotenv).server.port == 1003


def test_the_environment_wins_over_the_dotenv_file_by_whichever_name(tmp_path: Path) -> None:
    dotenv = "SHAKTI_DATABASE_URL=postgresql://from-dotenv/x\nREDIS_URL=redis://from-dotenv\n"
    config = load(
        tmp_path,
        environ={"DATABASE_URL": "postgresql://from-environment/x", "SHAKTI_REDIS_URL": "redis://from-environment"},
        dotenv=dotenv,
    )
    assert (config.database.url, config.redis.url) == ("postgresql://from-environment/x", "redis://from-environment")


def test_an_empty_variable_means_not_set(tmp_path: Path) -> None:
    dotenv = "DATABASE_URL=postgresql://from-dotenv/x\n"
    config = load(tmp_path, "[market]\ncap = 5\n", {"DATABASE_URL": "", "SHAKTI_MARKET_CAP": ""}, dotenv=dotenv)
    assert config.database.url == ""
    assert config.market.cap == 5
    with_both = {"SHAKTI_DATABASE_URL": "", "DATABASE_URL": "postgresql://h/x"}
    assert load(tmp_path, environ=with_both, dotenv=dotenv).database.url == "postgresql://h/x"


def test_the_usual_names_of_variables_work(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        environ={
            **TWILIO,
            "DATABASE_URL": "postgres://u:p@h:5/d",
            "REDIS_URL": "rediss://h:6/0",
            "SECRET_KEY": SECRET,
            "FRONTEND_URL": "https://app.example.in",
            "SMTP_HOST": "mail.example.in",
            "SMTP_PORT": "2525",
            "SMTP_USER": "shakti",
            "SMTP_PASSWORD": "a-mail-password",
            "SMTP_FROM": "Shakti <no-reply@example.in>",
            "SMTP_SECURITY": "tls",
        },
    )
    assert (config.database.url, config.redis.url) == ("postgres://u:p@h:5/d", "rediss://h:6/0")
    assert (config.auth.secret_key, config.server.frontend_url) == (SECRET, "https://app.example.in")
    sms, mail = config.sms, config.mail
    assert (sms.account_sid, sms.auth_token, sms.from_number) == ("AC1", "a-twilio-token", "+15005550006")
    assert (mail.host, mail.port, mail.username, mail.password) == (
        "mail.example.in",
        2525,
        "shakti",
        "a-mail-password",
    )
    assert (mail.sender, mail.security) == ("Shakti <no-reply@example.in>", "tls")
    assert sms.is_configured
    assert mail.is_configured


def test_values_of_every_kind_are_read_from_text_as_from_toml(tmp_path: Path) -> None:
    toml = """
        [server]
        cors_origins = ["https://a.example", "https://b.example"]
        trusted_proxies = ["10.0.0.0/8", "::1"]
        data_dir = "elsewhere"
        drain_s = 3
        [market]
        cap = 12.5
        floor = "-1.25"
        gate_closure = "10:30"
        public_book = true
    """
    environ = {
        "SHAKTI_SERVER_CORS_ORIGINS": "https://a.example, https://b.example",
        "SHAKTI_SERVER_TRUSTED_PROXIES": "10.0.0.0/8,::1",
        "SHAKTI_SERVER_DATA_DIR": "elsewhere",
        "SHAKTI_SERVER_DRAIN_S": "3",
        "SHAKTI_MARKET_CAP": "12.5",
        "SHAKTI_MARKET_FLOOR": "-1.25",
        "SHAKTI_MARKET_GATE_CLOSURE": "10:30",
        "SHAKTI_MARKET_PUBLIC_BOOK": "Yes",
    }
    config = load(tmp_path, toml)
    assert config == load(tmp_path, environ=environ)
    assert config.server.cors_origins == ("https://a.example", "https://b.example")
    assert (config.market.cap, config.market.floor) == (Decimal("12.5"), Decimal("-1.25"))
    assert config.market.gate_offset == timedelta(hours=10, minutes=30)
    assert config.market.public_book is True
    assert load(tmp_path, environ={"SHAKTI_MARKET_PUBLIC_BOOK": "0"}).market.public_book is False


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[sever]\nport = 1", ["[sever]", "known are server, database"]),
        ("[server]\nprt = 1", ["server.prt", "known are host, port"]),
        ("server = 5", ["[server] must be a table"]),
        ("port = 1", ["[port]"]),
        ("[server]\nport = 1\nport = 2", ["config.toml is not valid TOML"]),
        ("[server]\nport = = 1", ["config.toml is not valid TOML", "line 2"]),
        ("[server]\nport = 'eighty'", ["server.port must be a whole number, not 'eighty'"]),
        ("[server]\nport = 80.5", ["server.port must be a whole number, not 80.5"]),
        ("[server]\nport = true", ["server.port must be a whole number, not True"]),
        ("[server]\nport = [80]", ["server.port must be a whole number, not [80]"]),
        ("[server]\nport = 65536", ["server.port must be a whole number from 0 to 65535, not 65536"]),
        ("[server]\nport = -1", ["from 0 to 65535, not -1"]),
        ("[server]\nworkers = 0", ["server.workers must be a whole number from 1 to 64, not 0"]),
        ("[server]\nmax_body_bytes = 9999999999", ["from 1024 to 1073741824, not 9999999999"]),
        ("[server]\ndrain_s = nan", ["server.drain_s must be a number from 0 to 3600, not nan"]),
        ("[server]\ndrain_s = inf", ["not inf"]),
        ("[server]\nhost = 5", ["server.host must be a text, not 5"]),
        ("[server]\nhost = ''", ["server.host must not be empty"]),
        ("[server]\ncors_origins = 'https://a.example/'", ["server.cors_origins", "https://app.example.in"]),
        ("[server]\ncors_origins = [1]", ["server.cors_origins must be a list of texts"]),
        ("[server]\ntrusted_proxies = ['10.0.0.0/40']", ["server.trusted_proxies", "'10.0.0.0/40'", "10.0.0.0/8"]),
        ("[server]\nfrontend_url = 'app.example.in'", ["server.frontend_url", "http:// or https://"]),
        ("[auth]\nbcrypt_cost = 3", ["auth.bcrypt_cost must be a whole number from 4 to 16, not 3"]),
        ("[auth]\ndefault_region = 'India'", ["auth.default_region", "like IN", "'India'"]),
        ("[market]\npublic_book = 'perhaps'", ["market.public_book must be true or false, not 'perhaps'"]),
        ("[market]\nprice_rule = 'fair'", ["market.price_rule must be one of midpoint, seller, buyer, not 'fair'"]),
        ("[market]\ngate_closure = '25:00'", ["market.gate_closure", '"10:30"']),
        ("[market]\ngate_closure = '24:01'", ["market.gate_closure"]),
        ("[market]\ngate_closure = '00:00'", ["market.gate_closure"]),
        ("[market]\ngate_closure = 'noon'", ["market.gate_closure"]),
        ("[market]\ngate_closure = 10:30:00", ["market.gate_closure must be a text"]),
        ("[market]\ncap = 'a lot'", ["market.cap must be a decimal number, not 'a lot'"]),
        ("[market]\ncap = nan", ["market.cap must be a decimal number"]),
        ("[market]\ncap = true", ["market.cap must be a decimal number"]),
        ("[market]\nprice_tick = 0", ["market.price_tick must be a decimal number above 0"]),
        ("[market]\nprice_tick = -0.01", ["market.price_tick must be a decimal number above 0"]),
        ("[market]\nvolume_tick = '0.00000000001'", ["market.volume_tick", "decimals"]),
        ("[market]\nfloor = 10\ncap = 5", ["market.floor must not be above market.cap"]),
        ("[market]\ncap = 10.005", ["market.cap must be a multiple of 0.01 (market.price_tick)"]),
        ("[market]\nfloor = -0.001", ["market.floor must be a multiple of 0.01 (market.price_tick)"]),
        ("[market]\nmax_volume = 0.0005", ["market.max_volume must be a multiple of 0.001 (market.volume_tick)"]),
        ("[market]\nmax_volume = 0", ["market.max_volume must be greater than 0"]),
        ("[market]\ncap = '1e30'", ["market.cap is too large"]),
        ("[market]\ncap = '1e999999999'", ["market.cap is too large"]),
        ("[log]\nlevel = 'INFO'", ["log.level must be one of debug, info, warning, error, not 'INFO'"]),
        ("[database]\nurl = 'mysql://u:pa55@h/x'", ["DATABASE_URL", "postgresql://user:password@host:5432/name"]),
        ("[redis]\nurl = 'localhost:6379'", ["REDIS_URL", "redis://host:6379/0"]),
        ("[mail]\nport = 0", ["mail.port must be a whole number from 1 to 65535"]),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_what_it_takes(tmp_path: Path, toml: str, words: list[str]) -> None:
    text = refusal(tmp_path, toml)
    for word in words:
        assert word in text, text
    assert "pa55" not in text


@pytest.mark.parametrize(
    ("toml", "variable"),
    [
        ("[auth]\nsecret_key = 'x'", "SECRET_KEY"),
        ("[sms]\nauth_token = 'x'", "TWILIO_AUTH_TOKEN"),
        ("[mail]\npassword = 'x'", "SMTP_PASSWORD"),
    ],
)
def test_a_secret_in_the_file_is_refused_with_its_variable(tmp_path: Path, toml: str, variable: str) -> None:
    text = refusal(tmp_path, toml)
    assert f"is a secret; set {variable} in the environment instead" in text
    assert str(tmp_path / "config.toml") in text


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"SHAKTI_SERVER_PORT": "eighty"}, ["SHAKTI_SERVER_PORT must be a whole number, not 'eighty'"]),
        ({"SMTP_PORT": "0"}, ["SMTP_PORT must be a whole number from 1 to 65535"]),
        ({"SMTP_SECURITY": "ssl"}, ["SMTP_SECURITY must be one of starttls, tls, none"]),
        ({"SHAKTI_MARKET_CAPP": "5"}, ["SHAKTI_MARKET_CAPP sets nothing", "CAP,"]),
        ({"SECRET_KEY": "too-short"}, ["SECRET_KEY must have at least 32 bytes", "openssl rand -hex 32"]),
        ({"SECRET_KEY": SECRET[:-1]}, ["SECRET_KEY must have at least 32 bytes"]),
        ({"TWILIO_ACCOUNT_SID": "AC1"}, ["TWILIO_AUTH_TOKEN and TWILIO_PHONE_NUMBER not set"]),
        ({"TWILIO_AUTH_TOKEN": "a-twilio-token"}, ["TWILIO_ACCOUNT_SID and TWILIO_PHONE_NUMBER not set"]),
        ({**TWILIO, "TWILIO_PHONE_NUMBER": ""}, ["TWILIO_PHONE_NUMBER not set"]),
        ({"SMTP_USER": "shakti", "SMTP_PASSWORD": "a-mail-password"}, ["SMTP_HOST"]),
        ({"SMTP_PASSWORD": "a-mail-password"}, ["SMTP_HOST"]),
        ({"SMTP_HOST": "h", "SMTP_USER": "shakti"}, ["both SMTP_USERNAME and SMTP_PASSWORD"]),
        ({"SMTP_HOST": "h", "SMTP_PASSWORD": "a-mail-password"}, ["both SMTP_USERNAME and SMTP_PASSWORD"]),
        ({"DATABASE_URL": "u:pa55@h/x"}, ["DATABASE_URL must look like postgresql://"]),
        ({"REDIS_URL": "http://:pa55@h"}, ["REDIS_URL must look like redis://"]),
    ],
)
def test_what_is_wrong_in_the_environment_is_named_and_no_secret_shown(
    tmp_path: Path, environ: dict[str, str], words: list[str]
) -> None:
    text = refusal(tmp_path, environ=environ)
    for word in words:
        assert word in text, text
    for secret in ("too-short", SECRET[:-1], "a-twilio-token", "a-mail-password", "pa55"):
        assert secret not in text


def test_a_misspelt_variable_of_the_dotenv_file_is_named_too(tmp_path: Path) -> None:
    assert "SHAKTI_LOG_LEVVEL sets nothing" in refusal(tmp_path, dotenv="SHAKTI_LOG_LEVVEL=debug\n")


def test_variables_that_are_none_of_ours_are_left_alone(tmp_path: Path) -> None:
    foreign = {"SHAKTI_WORKER_PORT": "80", "SHAKTIMAN": "1", "PORT": "99", "HOST": "x", "LOG_LEVEL": "x"}
    assert load(tmp_path, environ=foreign) == Config()


def test_a_flag_is_named_as_it_is_written(tmp_path: Path) -> None:
    assert refusal(tmp_path, flags={"server.port": "x"}).startswith("--port must be a whole number")
    assert refusal(tmp_path, flags={"server.data_dir": 5}).startswith("--data-dir must be a text")


def test_a_file_that_is_missing_or_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml does not exist; name another with --config"):
        load_config(tmp_path / "nowhere.toml", {})
    with pytest.raises(ConfigError, match=r"cannot be read: .*directory"):
        load_config(tmp_path, {})
    (tmp_path / "config.toml").write_bytes(b"[server]\nhost = '\xff'\n")
    with pytest.raises(ConfigError, match=r"config\.toml cannot be read: .*utf-8"):
        load_config(tmp_path / "config.toml", {})
    (tmp_path / ".env").write_bytes(b"SECRET_KEY=\xff\n")
    assert re.search(r"\.env cannot be read: .*utf-8", refusal(tmp_path))


def test_no_secret_is_in_a_repr(tmp_path: Path) -> None:
    secrets = {
        "SECRET_KEY": SECRET,
        "DATABASE_URL": "postgresql://u:database-password@h/x",
        "REDIS_URL": "redis://:redis-password@h",
        "SMTP_HOST": "h",
        "SMTP_USER": "shakti",
        "SMTP_PASSWORD": "mail-password",
        **TWILIO,
    }
    shown = repr(load(tmp_path, environ=secrets))
    assert "shakti" in shown
    for secret in (SECRET, "database-password", "redis-password", "mail-password", TWILIO["TWILIO_AUTH_TOKEN"]):
        assert secret not in shown
