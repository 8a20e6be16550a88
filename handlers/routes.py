"""The whole URL table, each route with its name.

What lives here: method, path, handler, name. What must not: anything that happens on a request.
"""

from dataclasses import dataclass

from aiohttp import web

from handlers import (
    account,
    bids,
    compatibility,
    credentials,
    documentation,
    email,
    energy,
    health,
    live,
    market,
    operators,
    otp,
    outbox,
    pages,
    partners,
    readings,
    results,
)
from handlers.endpoint import Handler


@dataclass(frozen=True, slots=True)
class Route:
    """One URL. Paths may have variables, `{id}`."""

    method: str
    path: str
    handler: Handler
    name: str


ROUTES: tuple[Route, ...] = (
    Route("POST", "/sendotp", energy.send, "send_otp"),
    Route("POST", "/signup", energy.sign_up, "sign_up"),
    Route("POST", "/signin", energy.sign_in, "sign_in"),
    Route("POST", "/setup", energy.set_up, "set_up"),
    Route("POST", "/token/refresh", credentials.refresh, "refresh_token"),
    Route("POST", "/signout", credentials.sign_out, "sign_out"),
    Route("POST", "/changepassword", credentials.change_password, "change_password"),
    Route("POST", "/resetpassword", credentials.reset_password, "reset_password"),
    Route("GET", "/me", account.me, "me"),
    Route("POST", "/placebid/dayahead", bids.place, "place_bids"),
    Route("GET", "/bids/dayahead", bids.list_own, "list_bids"),
    Route("PATCH", "/bids/dayahead/{id}", bids.amend, "amend_bid"),
    Route("DELETE", "/bids/dayahead/{id}", bids.withdraw, "withdraw_bid"),
    Route("GET", "/book/dayahead", market.get_book, "get_book"),
    Route("GET", "/results/dayahead", results.get_results, "get_results"),
    Route("GET", "/trades/dayahead", results.list_own, "list_trades"),
    Route("POST", "/readings", readings.record, "record_readings"),
    Route("GET", "/readings", readings.list_own, "list_readings"),
    Route("GET", "/ws", live.connect, "live"),
    Route("GET", "/setupstatus", compatibility.setup_status, "setup_status"),
    Route("GET", "/userData", compatibility.user_data, "user_data"),
    Route("GET", "/getTransactions", compatibility.transactions, "get_transactions"),
    Route("POST", "/api/shipper/register", partners.register_shipper, "register_shipper"),
    Route("POST", "/api/shipper/login", partners.log_in_shipper, "log_in_shipper"),
    Route("GET", "/api/shipper/me", partners.get_shipper, "get_shipper"),
    Route("POST", "/api/transporters/register", partners.register_transporter, "register_transporter"),
    Route("POST", "/api/transporters/login", partners.log_in_transporter, "log_in_transporter"),
    Route("GET", "/api/transporters/me", partners.get_transporter, "get_transporter"),
    Route("POST", "/api/validate/send-otp", otp.send, "send_partner_otp"),
    Route("POST", "/api/validate/verify-otp", otp.verify, "verify_partner_otp"),
    Route("POST", "/api/email/check-email-status", email.check_status, "check_email_status"),
    Route("POST", "/api/email/send-email-link", email.send_link, "send_email_link"),
    Route("GET", "/api/email/verify-email-link", email.verify_link, "verify_email_link"),
    Route("GET", "/", pages.home, "home"),
    Route("GET", "/verify-email", pages.verify_email, "verify_email_page"),
    Route("GET", "/dev/outbox", outbox.list_messages, "list_outbox"),
    Route("POST", "/operator/signin", operators.sign_in, "operator_sign_in"),
    Route("GET", "/healthz", health.healthz, "healthz"),
    Route("GET", "/readyz", health.readyz, "readyz"),
    Route("GET", "/openapi.json", documentation.get_document, "openapi"),
    Route("GET", "/asyncapi.json", documentation.get_feed_document, "asyncapi"),
    Route("GET", "/docs", documentation.show_page, "docs"),
    Route("GET", "/docs/feed.md", documentation.show_feed_guide, "feed_guide"),
)


def add_routes(app: web.Application) -> None:
    """Give the application every route of the table, and the documentation of all of them."""
    for route in ROUTES:
        app.router.add_route(route.method, route.path, route.handler, name=route.name)
    documentation.publish(app, ROUTES)
