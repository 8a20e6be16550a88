"""Logs: one line an event, as text for a person or JSON for a machine, and nothing secret in it.

What lives here: how lines are made and what is struck out of them. What must not: what is worth a line.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from server.config import LogSettings

_SECRET_KEYS = re.compile(r"password|otp|token|secret|authorization|credential|cookie", re.IGNORECASE)
# What looks like a secret wherever it stands: a JWT, a bcrypt hash, an Authorization header, user and password of a
# URL (to the last @, for people forget to escape the first), password=... in a URL's query or a form.
_SECRET_TEXTS = re.compile(
    r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}"
    r"|\b(?:[Bb]earer|[Bb]asic) +[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=://)[^\s\"'/?#@:]*:[^\s\"']*(?=@)"
    r"|(?i:(?<=password=)|(?<=secret=)|(?<=token=)|(?<=otp=))[^\s\"'&]+"
)
# Everything that moves a terminal's cursor, starts a line or turns the direction of writing.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_STRUCK = "[redacted]"
_OF_STRUCTLOG = frozenset({"_record", "_from_structlog"})
Event = MutableMapping[str, Any]


def redact(_logger: object, _method: str, event: Event) -> Event:
    """Strike secrets out of an event: by the name of their field, and by their look in every text, however deep.

    What is not plain data becomes the text that the renderers would show.
    """
    for key, value in event.items():
        if key not in _OF_STRUCTLOG:
            event[key] = _STRUCK if _SECRET_KEYS.search(key) else _clean(value)
    return event


def keep_to_one_line(_logger: object, _method: str, event: Event) -> Event:
    """Escape what could forge a line or command a terminal. Of an exception's trace every line is indented."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = _trace(value) if key == "exception" else _escape(value)
    return event


def set_up_logs(settings: LogSettings) -> None:
    """Send this process's log to standard error: our own lines from the level of the settings on, other libraries'
    from `warning` on, for theirs below it quote requests, hosts and numbers."""
    as_text = settings.format == "text" or (settings.format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    # JSON escapes line breaks by itself.
    rendering: list[structlog.typing.Processor] = (
        [keep_to_one_line, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if as_text
        else [structlog.processors.JSONRenderer(sort_keys=False)]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("shakti").setLevel(level)
    logging.captureWarnings(True)


def _clean(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _SECRET_TEXTS.sub(_STRUCK, value)
        case Mapping():
            return {
                _clean_key(key): _STRUCK if _SECRET_KEYS.search(str(key)) else _clean(item)
                for key, item in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_clean(item) for item in value]
        case _:
            return _SECRET_TEXTS.sub(_STRUCK, repr(value))


def _clean_key(key: object) -> str:
    return _SECRET_TEXTS.sub(_STRUCK, str(key))


def _escape(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _trace(text: str) -> str:
    return "\n".join(f"    {_escape(line)}" for line in text.split("\n"))
