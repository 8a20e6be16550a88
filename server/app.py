"""The one assembler: settings in, a complete application out.

What lives here: putting together what other modules make. What must not: a rule, a route or a resource of its own.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import aiohttp_jinja2
from aiohttp import web
from jinja2 import FileSystemLoader

from handlers.context import CLOCK, HTTP, IDENTITY, LEAVING, MARKET
from handlers.routes import add_routes
from server.config import PROJECT_DIR, Config
from server.lifespan import resources, say_goodbye
from server.middlewares import MIDDLEWARES, TIME_LIMITS, set_headers
from server.rules import http_rules, identity_rules, market_rules
from server.time_limit import time_limits


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def create_app(config: Config, clock: Callable[[], datetime] = now) -> web.Application:
    """The application with everything that it needs once it starts. `config` must name a database, a Redis and a
    signing secret. Raises ConfigError."""
    app = web.Application(middlewares=MIDDLEWARES, client_max_size=config.server.max_body_bytes)
    app[HTTP] = http_rules(config)
    app[MARKET] = market_rules(config)
    app[IDENTITY] = identity_rules(config)
    app[CLOCK] = clock
    app[LEAVING] = asyncio.Event()
    app[TIME_LIMITS] = time_limits(config.server.request_timeout_s)
    app.cleanup_ctx.extend(resources(config, lambda: clock().timestamp()))
    app.on_shutdown.append(say_goodbye)
    app.on_response_prepare.append(set_headers)
    aiohttp_jinja2.setup(
        app, loader=FileSystemLoader(PROJECT_DIR / "web" / "templates"), autoescape=True, enable_async=True
    )
    app.router.add_static("/static", PROJECT_DIR / "web" / "static", name="static")
    add_routes(app)
    return app
