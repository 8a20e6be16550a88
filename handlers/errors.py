"""Domain errors as answers: the only place that knows both what went wrong and its status and body.

What lives here: the exceptions that handlers raise, and the table from exceptions (ours and storage's) to answers. What
must not: logging, or deciding that something is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from auth.tokens import TokenError
from handlers.endpoint import Endpoint, Family
from handlers.messaging import GatewayError
from handlers.schemas.base import InvalidRequest
from handlers.schemas.bid_array import BidFaults
from storage import errors as storage_errors


class Refusal(Exception):
    """A request that is refused with a status and a sentence of its own. `headers` go with the answer."""

    status = 400
    message = "Bad request"
    # The whole body, where a published document shows one without a message.
    body: Mapping[str, Any] | None = None

    def __init__(self, message: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message or self.message)
        self.text = message or self.message
        self.headers = dict(headers or {})


class BodyTooLarge(Refusal):
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body must not be larger than {limit} bytes", {"Connection": "close"})


class BodyTooSlow(Refusal):
    status = 408

    def __init__(self) -> None:
        super().__init__("The body did not arrive in time; send the request again", {"Connection": "close"})


class UnsupportedBody(Refusal):
    status = 415


class TooManyRequests(Refusal):
    """A limit is reached; `wait_s` seconds later there is room again."""

    status = 429

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"Too many requests; try again in {wait_s} seconds", {"Retry-After": str(wait_s)})
        self.wait_s = wait_s


class InvalidToken(Refusal):
    status = 401
    message = "Invalid token"

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": "Bearer"})


class WrongKind(Refusal):
    """A valid token of the other kind of partner."""

    status = 403
    message = "This token belongs to another kind of account"


class BadHandshake(Refusal):
    message = "This is a websocket: connect with ws:// or wss:// and the protocol bidbook.v1"


class ForeignOrigin(Refusal):
    status = 403
    message = "Pages of this origin may not connect; it can be allowed in server.cors_origins"


class Leaving(Refusal):
    status = 503
    message = "This process is about to leave; connect again"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class InvalidCredentials(Refusal):
    status = 401
    message = "Invalid credentials"


class InvalidOtp(Refusal):
    status = 401
    message = "Invalid OTP"


class OtpExpired(Refusal):
    status = 400
    message = "OTP has expired"


class NotFound(Refusal):
    status = 404
    message = "Not found"


class Conflict(Refusal):
    status = 409


class InvalidUserType(Refusal):
    message = "Invalid userType"


class InvalidLink(Refusal):
    message = "Invalid or expired token"


class UserNotFound(Refusal):
    status = 404
    message = "User not found"


class StatusUnknown(UserNotFound):
    """There is no account whose e-mail status could be told."""

    body: Mapping[str, Any] | None = {"status": "user_not_found"}


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What the client gets. `is_fault`: it is ours, and belongs in the log."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    is_fault: bool = False


RETRY_AFTER_S = 2
_CONFLICTS: dict[type[Exception], int] = {
    storage_errors.GateClosed: 409,
    storage_errors.BidNotFound: 404,
    storage_errors.BidNotOpen: 409,
    storage_errors.KeyReused: 422,
}
_TEXTS: dict[type[Exception], str] = {
    storage_errors.BidNotFound: "No such bid of yours",
    storage_errors.BidNotOpen: "The bid is not open any more",
    storage_errors.KeyReused: "This Idempotency-Key was used before with another body; use a new key",
}


def is_outage(fault: Exception) -> bool:
    """Whether a service of others did not answer, or not in time: the same request may succeed later."""
    return isinstance(fault, storage_errors.Unavailable | TimeoutError | GatewayError)


def answer_to(fault: Exception, record: Endpoint | None) -> ErrorAnswer:
    """The answer to an exception raised by the endpoint that `record` describes (None: no endpoint of ours)."""
    family = record.family if record else Family.ENERGY
    if isinstance(fault, InvalidRequest | BidFaults):
        return ErrorAnswer(400, _body(family, "Validation failed", errors=fault.errors))
    if isinstance(fault, Refusal):
        return ErrorAnswer(fault.status, fault.body or _body(family, fault.text), fault.headers)
    if isinstance(fault, TokenError):
        return answer_to(InvalidToken(), record)
    for kind, status in _CONFLICTS.items():
        if isinstance(fault, kind):
            return ErrorAnswer(status, _body(family, _TEXTS.get(kind) or str(fault)))
    if isinstance(fault, web.HTTPException):
        return _of_aiohttp(fault, family)
    return _of_fault(fault, record, family)


def _of_aiohttp(fault: web.HTTPException, family: Family) -> ErrorAnswer:
    texts = {
        404: "Not found",
        405: "Method not allowed",
        413: "The body is too large",
        415: "Unsupported media type",
    }
    kept = {name: fault.headers[name] for name in ("Allow", "Retry-After") if name in fault.headers}
    text = texts.get(fault.status, fault.reason)
    if fault.status == 405:
        text += f"; use {' or '.join(kept['Allow'].split(','))}"
    return ErrorAnswer(fault.status, _body(family, text), kept)


def _of_fault(fault: Exception, record: Endpoint | None, family: Family) -> ErrorAnswer:
    """What is not the client's doing: a service that does not answer, or a fault of ours."""
    is_temporary = is_outage(fault)
    headers = {}
    if is_temporary:
        wait_s = fault.retry_after_s if isinstance(fault, GatewayError) and fault.retry_after_s else RETRY_AFTER_S
        headers["Retry-After"] = str(round(wait_s))
    if record is not None and record.failure is not None:
        body = dict(record.failure)
        if "error" in body:
            body["error"] = _short_reason(fault)
        return ErrorAnswer(500, body, headers, is_fault=True)
    if is_temporary:
        text = f"{_short_reason(fault)}; try again"
        return ErrorAnswer(503, _body(family, text), headers, is_fault=True)
    return ErrorAnswer(500, _body(family, "Internal server error"), is_fault=True)


def _short_reason(fault: Exception) -> str:
    """A few words on what failed, without a host, a statement or a secret."""
    if isinstance(fault, GatewayError):
        return fault.reason
    if isinstance(fault, storage_errors.Unavailable):
        return f"{fault.service[0].upper()}{fault.service[1:]} is unavailable"
    if isinstance(fault, TimeoutError):
        return "The request took too long"
    return "Internal server error"


def _body(family: Family, message: str, errors: list[str] | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {"success": False} if family is Family.PARTNER else {}
    body["message"] = message
    if errors is not None:
        body["errors"] = errors
    return body
