"""Logs: one line an event, as text for a person or JSON for a machine, and nothing secret in it.

What lives here: how lines are made and what is struck out of them. What must not: what is worth a line.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from server.config import LogSettings

_SECRET_KEYS = re.compile(r"password|otp|token|secret|authorization|credential|cookie", re.IGNORECASE)
# What looks like a secret wherever it stands: a JWT, a bcrypt hash, the password of a URL.
_SECRET_TEXTS = re.compile(
    r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*|\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_STRUCK = "[redacted]"


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Strike secrets out of an event: by the name of their field, and by their look in every text."""
    for key, value in event.items():
        if _SECRET_KEYS.search(key):
            event[key] = _STRUCK
        elif isinstance(value, str):
            event[key] = _SECRET_TEXTS.sub(_STRUCK, value)
    return event


def set_up_logs(settings: LogSettings) -> None:
    """Send this process's log to standard error, the libraries' lines included."""
    as_text = settings.format == "text" or (settings.format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    # Both renderers escape line breaks in values (the console's within repr), so one event stays one line; a trace
    # is the exception on a console, and a person is there to read it.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if as_text
        else structlog.processors.JSONRenderer(sort_keys=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    # Their lines at this level are about every request, or name hosts and numbers.
    for name in ("aiohttp.access", "twilio.http_client", "twilio.async_http_client", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
