"""Twilio's Messages resource on a loopback port, as the real service speaks it: basic authentication, forms
in, JSON out, its error codes. What arrived is recorded; how it answers is set by a test.

No SMS leaves the machine, and nothing here imports the server's code.
"""

import asyncio
import base64
import socket
import ssl
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from aiohttp import web

Mode = Literal[
    "ok",
    "invalid_number",
    "unverified_number",
    "unauthorized",
    "server_error",
    "slow",
    "too_many",
    "too_many_without_hint",
    "reset",
    "not_json",
    "problem_document",
    "failed_at_once",
    "indiscreet",
]


@dataclass(frozen=True, slots=True)
class Post:
    """One request for an SMS as it arrived. `is_authorized`: account and token were right."""

    path: str
    headers: dict[str, str]
    form: dict[str, str]
    is_authorized: bool


class TwilioStandIn:
    """`async with TwilioStandIn(...) as twilio`; point the client at `twilio.base_url`.

    `modes` are the answers to come, one a request, the last one for all that follow. "slow" answers when the
    test says so by `release.set()`. `retry_after` is the header of "too_many". With `tls` it speaks HTTPS.
    """

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        *modes: Mode,
        retry_after: str = "0",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.account_sid = account_sid
        self.auth_token = auth_token
        self.modes: list[Mode] = list(modes) or ["ok"]
        self.retry_after = retry_after
        self._tls = tls
        self.posts: list[Post] = []
        self.arrived = asyncio.Event()
        self.release = asyncio.Event()
        # Bound at once and listening only once started: until then the port refuses connections.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """Where the resource is, or will be once started."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def accepted(self) -> list[Post]:
        """The posts that came with the right credentials."""
        return [post for post in self.posts if post.is_authorized]

    async def start(self) -> None:
        """Begins to listen."""
        app = web.Application()
        app.router.add_post("/2010-04-01/Accounts/{account_sid}/Messages.json", self._create_message)
        self._runner = web.AppRunner(app, shutdown_timeout=1.0, access_log=None)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket, ssl_context=self._tls).start()

    async def stop(self) -> None:
        """Ends what is still slow and frees the port."""
        self.release.set()
        if self._runner is not None:
            await self._runner.cleanup()
        self._socket.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _create_message(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        credentials = base64.b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        is_authorized = (
            request.headers.get("Authorization") == f"Basic {credentials}"
            and request.match_info["account_sid"] == self.account_sid
        )
        self.posts.append(Post(request.path, dict(request.headers), form, is_authorized))
        self.arrived.set()
        mode = self.modes.pop(0) if len(self.modes) > 1 else self.modes[0]
        if not is_authorized or mode == "unauthorized":
            return _error(401, 20003, "Authenticate")
        return await self._answer(mode, request, form)

    async def _answer(self, mode: Mode, request: web.Request, form: dict[str, str]) -> web.StreamResponse:
        to = form.get("To", "")
        if mode == "slow":
            await self.release.wait()
        elif mode == "reset":
            return _reset(request)
        elif mode == "server_error":
            return _error(500, 20500, f"Internal error while handling account {self.account_sid}")
        elif mode == "indiscreet":
            return _error(400, 20001, f"{self.auth_token} is no token for {request.host}, " + "really, " * 50)
        elif mode == "too_many":
            return _error(429, 20429, "Too Many Requests", {"Retry-After": self.retry_after})
        elif mode == "too_many_without_hint":
            return _error(429, 20429, "Too Many Requests")
        elif mode == "not_json":
            return web.Response(status=201, text="<html>It works!</html>", content_type="text/html")
        elif mode == "problem_document":
            return web.json_response(
                {
                    "type": "https://www.twilio.com/docs/api/errors/21610",
                    "title": "Attempt to send to unsubscribed recipient",
                    "status": 400,
                    "code": 21610,
                    "detail": f"{to} has replied STOP to account {self.account_sid}",
                },
                status=400,
            )
        elif mode == "unverified_number":
            return _error(
                400,
                21608,
                f"The number {to} is unverified. Trial accounts cannot send messages to unverified numbers; "
                f"verify {to} at twilio.com/user/account/phone-numbers/verified, or purchase a Twilio number "
                "to send messages to unverified numbers",
            )
        if not (form.get("From") or form.get("MessagingServiceSid")):
            return _error(400, 21603, "A 'From' phone number is required.")
        if not form.get("Body"):
            return _error(400, 21602, "Message body is required.")
        if mode == "invalid_number" or not (to.startswith("+") and to[1:].isdecimal()):
            return _error(400, 21211, f"Invalid 'To' Phone Number: {to}")
        return web.json_response(self._message(form, has_failed=mode == "failed_at_once"), status=201)

    def _message(self, form: dict[str, str], *, has_failed: bool) -> dict[str, Any]:
        sid = f"SM{len(self.posts):032x}"
        return {
            "sid": sid,
            "account_sid": self.account_sid,
            "api_version": "2010-04-01",
            "body": form["Body"],
            "date_created": "Thu, 24 Aug 2023 05:01:45 +0000",
            "date_sent": None,
            "date_updated": "Thu, 24 Aug 2023 05:01:45 +0000",
            "direction": "outbound-api",
            "error_code": 30006 if has_failed else None,
            "error_message": "Landline or unreachable carrier" if has_failed else None,
            "from": form.get("From"),
            "messaging_service_sid": form.get("MessagingServiceSid"),
            "num_media": "0",
            "num_segments": "1",
            "price": None,
            "price_unit": None,
            "status": "failed" if has_failed else "queued",
            "subresource_uris": {"media": f"/2010-04-01/Accounts/{self.account_sid}/Messages/{sid}/Media.json"},
            "to": form["To"],
            "uri": f"/2010-04-01/Accounts/{self.account_sid}/Messages/{sid}.json",
        }


def _error(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return web.json_response(body, status=status, headers=headers)


def _reset(request: web.Request) -> web.Response:
    transport = request.transport
    assert transport is not None
    # Closing with a linger of zero seconds sends RST in place of FIN.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return web.Response()
