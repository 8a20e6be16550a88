"""Where settings come from: a TOML file, layers of variables, flags; and how their texts become values.

What lives here: reading, precedence, conversion by a field's type and bounds. What must not: any setting's name,
default or meaning (config.py).
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from dotenv import dotenv_values

Layers = Sequence[Mapping[str, str]]


class ConfigError(Exception):
    """A setting that cannot be used; the text names the key and what it takes."""


def read_values(
    file: Path, sections: Mapping[str, Any], layers: Layers, flags: Mapping[str, object]
) -> dict[str, dict[str, Any]]:
    """The values given for each section, by key; what nobody gives is left out.

    `sections` maps names to dataclasses, whose fields' types say what a value must be, and whose metadata say `low`,
    `high`, `env` (further names of the variable) and `secret`. `layers` of variables, the nearest first, win over the
    TOML file; `flags`, by "section.key", win over both. Raises ConfigError naming the first bad key.
    """
    table = _read_toml(file)
    for section in table:
        if section not in sections:
            raise ConfigError(f"{file}: unknown section [{section}]; known are {', '.join(sections)}")
    _refuse_unknown_variables(sections, layers)
    return {
        name: _read_section(name, kind, table.get(name, {}), layers, flags, file) for name, kind in sections.items()
    }


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file} does not exist; name another with --config") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{file} cannot be read: {fault}") from None
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"{file} is not valid TOML: {fault}") from None


def read_dotenv(file: Path) -> Mapping[str, str]:
    """The variables of a `.env` file; none when there is no file. Raises ConfigError."""
    try:
        return {name: value for name, value in dotenv_values(file).items() if value is not None}
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{file} cannot be read: {fault}") from None


def _refuse_unknown_variables(sections: Mapping[str, Any], layers: Layers) -> None:
    """A misspelt variable must not pass for a setting that was made."""
    for name in (name for layer in layers for name in layer):
        for section, kind in sections.items():
            prefix = f"SHAKTI_{section}_".upper()
            keys = [f.name.upper() for f in fields(kind)]
            if name.startswith(prefix) and name.removeprefix(prefix) not in keys:
                raise ConfigError(f"{name} sets nothing; {prefix}... is known for {', '.join(keys)}")


def _from_environment(names: Sequence[str], layers: Layers) -> tuple[str, str] | None:
    """Name and value from the first layer that has one of the names. An empty value there means: not set."""
    for layer in layers:
        present = [(name, layer[name]) for name in names if name in layer]
        if present:
            return next((found for found in present if found[1] != ""), None)
    return None


def _read_section(
    section: str,
    kind: Any,
    table: Any,
    layers: Layers,
    flags: Mapping[str, object],
    file: Path,
) -> dict[str, Any]:
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
        from_env = _from_environment(names, layers)
        if flags.get(f"{section}.{key}") is not None:
            source, raw = f"--{key.replace('_', '-')}", flags[f"{section}.{key}"]
        elif from_env is not None:
            source, raw = from_env
        elif key in table:
            source, raw = f"{section}.{key}", table[key]
        else:
            continue
        values[key] = _convert(source, raw, spec.type, spec.metadata)
    return values


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
        raise ConfigError(f"{source} must be {whole} from {_shown(low)} to {_shown(high)}, not {_shown(value)}")
    return value


def _shown(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.12g}"
