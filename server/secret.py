"""The signing secret: from the environment, or generated once beside embedded services.

What lives here: where it comes from. What must not: a default, or any use of it.
"""

import os
import secrets
import stat
from pathlib import Path

from server.config import MIN_SECRET_BYTES, Config, ConfigError

_FILE = "secret_key"


def signing_secret(config: Config, *, is_embedded: bool) -> str:
    """The secret. With embedded services and none in the environment it is made once, into the data directory, for
    its owner's eyes only. Raises ConfigError where there is none."""
    if config.auth.secret_key:
        return config.auth.secret_key
    if not is_embedded:
        raise ConfigError(
            "SECRET_KEY must be set when DATABASE_URL is: every server of the exchange signs tokens with the same "
            "secret. Make one with: openssl rand -hex 32"
        )
    file = config.server.data_dir / _FILE
    try:
        return (None if file.exists() else _make(file)) or _read(file)
    except OSError as fault:
        raise ConfigError(f"the signing secret {file} cannot be used: {fault.strerror}") from None


def _make(file: Path) -> str | None:
    """A new secret in a new file, or None when the file exists."""
    secret = secrets.token_hex(32)
    draft = file.with_name(f"{_FILE}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secret)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            # A link, not a rename: whoever comes second must not replace the first one's secret.
            os.link(draft, file)
        except FileExistsError:
            return None
    finally:
        draft.unlink()
    return secret


def _read(file: Path) -> str:
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        raise ConfigError(f"{file} is open to others (mode {mode:04o}); run: chmod 600 {file}")
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        secret = ""
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise ConfigError(f"{file} holds no usable secret; remove it, and a new one is made: tokens become invalid")
    return secret
