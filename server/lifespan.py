"""What the application needs while it lives: one cleanup_ctx for each resource, opened in order, closed in reverse.

What lives here: opening and closing. What must not: using any of them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import structlog
from aiohttp import web

from auth.otp import OtpDigests
from auth.passwords import Passwords
from auth.tokens import Tokens
from feed.service import Feed
from handlers.context import (
    CLOCK,
    CODES,
    DATABASE,
    FEED,
    HAS_OUTBOX,
    LEAVING,
    MAIL,
    MARKET,
    OTP_DIGESTS,
    PASSWORDS,
    SESSIONS,
    SMS,
    TOKENS,
    WRITER,
)
from server.addresses import is_loopback
from server.config import Config, ConfigError, MailSettings, SmsSettings
from server.gate_keeper import GateKeeper
from server.gateways import SmtpSettings, TwilioSettings, open_gateways
from server.outbox import DevelopmentOutbox
from server.outbox_store import CodesOutboxStore
from server.rules import feed_rules
from storage.background import end_task
from storage.codes import Codes
from storage.database import Database
from storage.idempotency import forget_what_is_old
from storage.notifications import Notifications
from storage.sessions import Sessions
from storage.writer import BookWriter

log = structlog.get_logger("shakti")
Resource = Callable[[web.Application], AsyncIterator[None]]


def resources(config: Config, codes_clock: Callable[[], float]) -> tuple[Resource, ...]:
    """Every resource of one process, in the order in which they open."""
    notifications = Notifications(config.database.url)

    async def database(app: web.Application) -> AsyncIterator[None]:
        opened = await Database.open(
            config.database.url, pool_size=config.database.pool_size, timeout_s=config.database.timeout_s
        )
        app[DATABASE] = opened
        sweeper = asyncio.create_task(forget_what_is_old(opened), name="idempotency-sweeper")
        yield
        await end_task(sweeper)
        await opened.close()

    async def identity(app: web.Application) -> AsyncIterator[None]:
        secret = config.auth.secret_key
        app[TOKENS] = Tokens(secret)
        app[OTP_DIGESTS] = OtpDigests(secret)
        passwords = Passwords(config.auth.bcrypt_cost)
        app[PASSWORDS] = passwords
        app[SESSIONS] = Sessions(app[TOKENS], app[DATABASE], notifications)
        yield
        passwords.close()

    async def redis(app: web.Application) -> AsyncIterator[None]:
        codes = Codes(config.redis.url, config.redis.timeout_s, codes_clock)
        app[CODES] = codes
        yield
        await codes.close()

    async def gateways(app: web.Application) -> AsyncIterator[None]:
        outbox = DevelopmentOutbox(CodesOutboxStore(app[CODES]), _say)
        try:
            opened = await open_gateways(_twilio(config.sms), _smtp(config.mail), outbox)
        except ValueError as fault:
            raise ConfigError(f"[sms] or [mail]: {fault}") from None
        app[SMS] = opened.sms
        app[MAIL] = opened.mail
        app[HAS_OUTBOX] = opened.outbox is not None and is_loopback(config.server.host)
        yield
        await opened.close()

    async def writer(app: web.Application) -> AsyncIterator[None]:
        opened = BookWriter(app[DATABASE], app[MARKET].calendar, config.market.max_open_bids)
        app[WRITER] = opened
        opened.start()
        yield
        await opened.close()

    async def feed(app: web.Application) -> AsyncIterator[None]:
        opened = Feed(app[DATABASE], notifications, app[SESSIONS], feed_rules(config, app[MARKET]), app[CLOCK])
        app[FEED] = opened
        await opened.start()
        leaving = asyncio.create_task(_leave(opened, app[LEAVING]), name="feed-leaving")
        yield
        await end_task(leaving)
        await opened.close()

    async def listening(app: web.Application) -> AsyncIterator[None]:  # noqa: ARG001 - the shape of a resource
        # Last, when everybody has said what to listen to.
        await notifications.start()
        yield
        await notifications.close()

    async def gates(app: web.Application) -> AsyncIterator[None]:
        keeper = GateKeeper(app[DATABASE], app[MARKET].calendar, app[MARKET].price_rule, app[CLOCK])
        keeper.start()
        yield
        await keeper.close()

    return database, identity, redis, gateways, writer, feed, listening, gates


async def say_goodbye(app: web.Application) -> None:
    """Let the feed's subscribers go before the server waits for requests under way: a websocket is one."""
    if FEED in app:
        await app[FEED].leave()


async def _leave(feed: Feed, leaving: asyncio.Event) -> None:
    """Let subscribers go as soon as this process is to leave, not only when everything else is done."""
    await leaving.wait()
    await feed.leave()


def _say(text: str) -> None:
    # The development outbox speaks to a person at the console.
    # Where nobody reads it, the outbox's page still shows the message.
    with contextlib.suppress(OSError):
        print(f"\n{text}\n", flush=True)  # noqa: T201


def _twilio(sms: SmsSettings) -> TwilioSettings | None:
    if not sms.is_configured:
        return None
    return TwilioSettings(sms.account_sid, sms.auth_token, sms.from_number, sms.base_url or None, sms.timeout_s)


def _smtp(mail: MailSettings) -> SmtpSettings | None:
    if not mail.is_configured:
        return None
    return SmtpSettings(
        host=mail.host,
        port=mail.port,
        username=mail.username or None,
        password=mail.password or None,
        sender=mail.sender,
        security=mail.security,
        timeout_s=mail.timeout_s,
        ca_file=mail.ca_file or None,
    )
