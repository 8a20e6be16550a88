"""SMS through Twilio. Importing this module imports the twilio package, which takes 0.7 s: nothing imports it
at the top of a module, `gateways.open_gateways` does so when Twilio is configured.

What Twilio answers becomes a GatewayError here; when an SMS is sent, and in which words, is decided
elsewhere.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSSLError,
    ConnectionTimeoutError,
    encode_basic_auth,
)
from twilio.base.exceptions import (  # type: ignore[import-untyped]  # twilio ships no py.typed
    TwilioRestException,
    TwilioServiceException,
)
from twilio.http.async_http_client import (  # type: ignore[import-untyped]  # twilio ships no py.typed
    AsyncTwilioHttpClient,
)
from twilio.rest import Client  # type: ignore[import-untyped]  # twilio ships no py.typed
from twilio.rest.api import Api  # type: ignore[import-untyped]  # twilio ships no py.typed

from handlers.messaging import GatewayError
from server.addresses import is_loopback
from server.gateways import TwilioSettings

# Pauses before the second and the third try, where it is certain that nothing was sent.
_PAUSES_S = (0.2, 0.5)
_REASON_LENGTH = 160
_HOST_OR_ADDRESS = re.compile(r"(?:https?://)?(?:(?:[\w-]+\.)+[a-z]{2,}|\d{1,3}(?:\.\d{1,3}){3})(?:[:/]\S*)?", re.I)
_SID = re.compile(r"\b[A-Z]{2}[0-9a-f]{32}\b")


class _NothingSentError(GatewayError):
    """Failed before Twilio can have taken the SMS: the only failure after which it may be posted again."""


class _TooManyRequestsError(Exception):
    def __init__(self, retry_after_s: float | None) -> None:
        super().__init__("Twilio answered 429 Too Many Requests")
        self.retry_after_s = retry_after_s


class _Transport:
    """The package's HTTP client with what it lacks.

    The Retry-After of a 429, which its errors do not carry; silence, as it logs the account and keeps the
    last request (an OTP and the token) "for tests"; and a way of signing in that aiohttp 4 will still know.
    """

    is_async = True

    def __init__(self) -> None:
        # No max_retries: it would post an SMS again after a 5xx. aiohttp repeats no POST by itself.
        self._client = AsyncTwilioHttpClient(logger=logging.Logger("twilio", logging.CRITICAL))

    async def request(
        self, method: str, url: str, *, headers: dict[str, str], auth: tuple[str, str], **rest: Any
    ) -> Any:
        headers = {**headers, "Authorization": encode_basic_auth(*auth)}
        try:
            response = await self._client.request(method, url, headers=headers, **rest)
        finally:
            self._client._test_only_last_request = None
            self._client._test_only_last_response = None
        if response.status_code == 429:
            raise _TooManyRequestsError(_seconds(response.headers.get("Retry-After")))
        return response

    async def close(self) -> None:
        await self._client.close()


class TwilioSms:
    """An SmsGateway over Twilio's Messages resource. Built inside the running loop, for that loop alone.

    An SMS is posted a second and third time only when the connection was never made or Twilio answered 429
    with a Retry-After that fits into the time limit. After anything else nobody can tell whether Twilio took
    it.
    """

    def __init__(
        self, settings: TwilioSettings, *, pause: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        """ValueError if `base_url` would carry the token in clear to another machine."""
        base_url = None if settings.base_url is None else _confidential(settings.base_url)
        self._settings = settings
        self._pause = pause
        self._transport = _Transport()
        # With an address of our own, TWILIO_EDGE and TWILIO_REGION must not rewrite it (an empty mapping
        # would make the package read os.environ after all).
        environment = None if base_url is None else {"": ""}
        client = Client(settings.account_sid, settings.auth_token, http_client=self._transport, environment=environment)
        api = Api(client)
        if base_url is not None:
            api.base_url = base_url
        self._messages = api.account.messages
        is_service = re.fullmatch("MG[0-9a-f]{32}", settings.from_number) is not None
        self._sender = {"messaging_service_sid" if is_service else "from_": settings.from_number}

    async def send(self, to: str, body: str) -> None:
        """Posts the SMS to Twilio, which queues it; GatewayError if it does not, or does not say so in
        time."""
        try:
            async with asyncio.timeout(self._settings.timeout_s) as limit:
                await self._send_before(limit, to, body)
        except TimeoutError as error:
            raise GatewayError(
                "The SMS service did not answer in time; the SMS may still arrive", is_temporary=True
            ) from error

    async def close(self) -> None:
        """Closes the connections to Twilio."""
        await self._transport.close()

    async def _send_before(self, limit: asyncio.Timeout, to: str, body: str) -> None:
        for pause_s in _PAUSES_S:
            try:
                return await self._post(to, body)
            except _NothingSentError as error:
                if error.retry_after_s is not None:
                    pause_s = max(pause_s, error.retry_after_s)
                if not _fits(pause_s, limit):
                    raise
            await self._pause(pause_s)
        return await self._post(to, body)

    async def _post(self, to: str, body: str) -> None:
        try:
            message = await self._messages.create_async(to=to, body=body, **self._sender)
        except _TooManyRequestsError as error:
            kind = GatewayError if error.retry_after_s is None else _NothingSentError
            raise kind(
                "The SMS service is busy; try again later",
                is_temporary=True,
                retry_after_s=error.retry_after_s,
            ) from error
        except ClientSSLError as error:
            raise GatewayError(
                "The connection to the SMS service could not be made secure; the SMS was not sent", is_temporary=False
            ) from error
        except (ClientConnectorError, ConnectionTimeoutError) as error:
            raise _NothingSentError("The SMS service cannot be reached; try again later", is_temporary=True) from error
        except ClientError as error:
            raise GatewayError(
                "The connection to the SMS service broke; the SMS may still arrive", is_temporary=True
            ) from error
        except TwilioRestException as error:
            raise self._refusal(error.status, error.code, error.msg) from error
        except TwilioServiceException as error:
            raise self._refusal(error.status, error.code, error.detail or error.title) from error
        except ValueError as error:
            raise GatewayError(
                "The SMS service gave an answer that cannot be read; the SMS may still arrive",
                is_temporary=True,
            ) from error
        if message.status in ("failed", "undelivered", "canceled"):
            raise self._refusal(400, message.error_code, message.error_message or f"it is {message.status}")

    def _refusal(self, status: int, code: object, text: str) -> GatewayError:
        if status >= 500:
            return GatewayError(
                f"The SMS service has a fault of its own (HTTP {status}); the SMS may still arrive",
                is_temporary=True,
            )
        if status == 401:
            return GatewayError("The SMS service does not accept this server's credentials", is_temporary=False)
        return GatewayError(f"Twilio refused the SMS: {self._presentable(text)} (error {code})", is_temporary=False)

    def _presentable(self, text: str) -> str:
        """Twilio's message, short, without the account, hosts and identifiers that it may quote."""
        text = text.removeprefix("Unable to create record: ")
        hidden = [self._settings.account_sid, self._settings.auth_token]
        if self._settings.base_url is not None:
            hidden.append(urlsplit(self._settings.base_url).hostname or "")
        for secret in filter(None, hidden):
            text = text.replace(secret, "...")
        text = _HOST_OR_ADDRESS.sub("...", _SID.sub("...", text))
        text = " ".join(text.split())
        return text if len(text) <= _REASON_LENGTH else text[: _REASON_LENGTH - 3] + "..."


def _fits(pause_s: float, limit: asyncio.Timeout) -> bool:
    ends_at = limit.when()
    return ends_at is None or asyncio.get_running_loop().time() + pause_s < ends_at


def _seconds(retry_after: str | None) -> float | None:
    """A Retry-After header (RFC 9110, 10.2.3) in seconds, never negative; None if missing or meaningless."""
    if retry_after is None:
        return None
    try:
        if retry_after.strip().isdecimal():
            return float(retry_after)
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # TypeError: a date without a zone
        return None


def _confidential(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme == "https" and parts.hostname:
        return base_url
    if parts.scheme == "http" and parts.hostname and is_loopback(parts.hostname):
        return base_url
    raise ValueError(
        "The base URL of the SMS service must begin with https:// (or http:// to this machine itself): "
        "the account's token travels with every SMS"
    )
