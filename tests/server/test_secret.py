"""The signing secret: made once, for its owner's eyes only, and the same for all who share a data directory."""

import stat
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from server import secret
from server.config import AuthSettings, Config, ConfigError, ServerSettings
from server.secret import signing_secret

_barrier: Barrier | None = None


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(server=ServerSettings(data_dir=tmp_path))


def test_it_is_made_once_for_its_owners_eyes_only(config: Config, tmp_path: Path) -> None:
    made = signing_secret(config, is_embedded=True)
    assert len(bytes.fromhex(made)) == 32
    [file] = tmp_path.iterdir()
    assert file.name == "secret_key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert signing_secret(config, is_embedded=True) == made


def test_two_data_directories_have_two_secrets(config: Config, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = replace(config, server=replace(config.server, data_dir=tmp_path / "other"))
    assert signing_secret(config, is_embedded=True) != signing_secret(other, is_embedded=True)


def test_the_environment_comes_first_and_leaves_no_file(config: Config, tmp_path: Path) -> None:
    given = replace(config, auth=AuthSettings(secret_key="g" * 32))
    assert signing_secret(given, is_embedded=True) == "g" * 32
    assert signing_secret(given, is_embedded=False) == "g" * 32
    assert not list(tmp_path.iterdir())


def test_with_a_database_of_ones_own_it_must_be_set(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SECRET_KEY must be set when DATABASE_URL is.*openssl rand -hex 32"):
        signing_secret(config, is_embedded=False)
    assert not list(tmp_path.iterdir())


def _meet(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _make_at_once(config: Config) -> str:
    assert _barrier is not None
    _barrier.wait()
    return signing_secret(config, is_embedded=True)


def test_processes_that_start_at_once_get_the_same(config: Config, tmp_path: Path) -> None:
    context, many = get_context("spawn"), 4
    with ProcessPoolExecutor(many, context, _meet, (context.Barrier(many, timeout=30),)) as pool:
        for turn in range(10):
            data_dir = tmp_path / str(turn)
            data_dir.mkdir()
            one = replace(config, server=replace(config.server, data_dir=data_dir))
            assert len(set(pool.map(_make_at_once, [one] * many))) == 1
            assert [file.name for file in data_dir.iterdir()] == ["secret_key"]


def test_whoever_comes_second_takes_the_firsts(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process makes its own between our look and our making."""
    first = "f" * 64
    make = secret._make

    def too_late(file: Path) -> str | None:
        file.touch(0o600)
        file.write_text(first)
        return make(file)

    monkeypatch.setattr(secret, "_make", too_late)
    assert signing_secret(config, is_embedded=True) == first
    assert [file.name for file in tmp_path.iterdir()] == ["secret_key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601])
def test_one_that_is_open_to_others_is_refused(config: Config, tmp_path: Path, mode: int) -> None:
    signing_secret(config, is_embedded=True)
    file = tmp_path / "secret_key"
    file.chmod(mode)
    with pytest.raises(ConfigError, match=rf"is open to others \(mode {mode:04o}\); run: chmod 600 {file}"):
        signing_secret(config, is_embedded=True)


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 40])
def test_a_file_without_a_usable_one_is_refused(config: Config, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret_key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=r"secret_key holds no usable secret; remove it"):
        signing_secret(config, is_embedded=True)


def test_a_place_that_cannot_hold_it_is_named(config: Config, tmp_path: Path) -> None:
    nowhere = replace(config, server=replace(config.server, data_dir=tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"nowhere/secret_key cannot be used: No such file or directory"):
        signing_secret(nowhere, is_embedded=True)
    (tmp_path / "secret_key").mkdir(mode=0o700)
    with pytest.raises(ConfigError, match=r"secret_key cannot be used: Is a directory"):
        signing_secret(config, is_embedded=True)
