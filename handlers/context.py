"""What handlers may ask the application and the request for: typed keys, nothing else.

What lives here: the keys, and the frozen settings behind them. What must not: making any of them (server/lifespan.py).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network

from aiohttp import web

from auth.otp import OtpDigests
from auth.passwords import Passwords
from auth.tokens import Tokens
from feed.service import Feed
from handlers.messaging import MailGateway, SmsGateway
from handlers.schemas.bid_array import BidLimits
from market.calendar import Calendar
from market.clearing import PriceRule
from storage.codes import Codes, OtpRules
from storage.database import Database
from storage.sessions import Session, Sessions
from storage.writer import BookWriter


@dataclass(frozen=True, slots=True)
class HttpRules:
    """What requests may be: sizes in bytes, times in seconds, whose X-Forwarded-For is believed, which origins may
    call from a browser."""

    max_body_bytes: int
    body_timeout_s: float
    request_timeout_s: float
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    cors_origins: frozenset[str]
    log_access: bool


@dataclass(frozen=True, slots=True)
class MarketRules:
    """The rules of the market that handlers apply; ticks and limits are in `bids`."""

    bids: BidLimits
    calendar: Calendar
    days_ahead: int
    price_rule: PriceRule
    is_book_public: bool


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """Lifetimes, limits (counts in their windows) and the country of numbers without a country code."""

    token_lifetime: timedelta
    email_link_lifetime: timedelta
    default_region: str
    otp: OtpRules
    otp_per_number: int
    otp_per_number_day: int
    otp_per_address: int
    email_links_per_account: int
    signin_failures: int
    signin_failures_address: int
    partner_requests_per_address: int
    # Where e-mail links lead, without the path.
    link_base: str


HTTP = web.AppKey("http", HttpRules)
MARKET = web.AppKey("market", MarketRules)
IDENTITY = web.AppKey("identity", IdentityRules)
# Set once this process is to leave: every answer from then on closes its connection.
LEAVING = web.AppKey("leaving", asyncio.Event)
# Tells the time, aware; tests put another in its place.
CLOCK: web.AppKey[Callable[[], datetime]] = web.AppKey("clock")

DATABASE = web.AppKey("database", Database)
CODES = web.AppKey("codes", Codes)
SESSIONS = web.AppKey("sessions", Sessions)
WRITER = web.AppKey("writer", BookWriter)
TOKENS = web.AppKey("tokens", Tokens)
PASSWORDS = web.AppKey("passwords", Passwords)
OTP_DIGESTS = web.AppKey("otp_digests", OtpDigests)
SMS = web.AppKey("sms", SmsGateway)
MAIL = web.AppKey("mail", MailGateway)
# Whether messages go to the development outbox and it may be listed.
HAS_OUTBOX = web.AppKey("has_outbox", bool)
FEED = web.AppKey("feed", Feed)

REQUEST_ID = web.RequestKey("request_id", str)
CLIENT_ADDRESS = web.RequestKey("client_address", str)
SESSION = web.RequestKey("session", Session)
