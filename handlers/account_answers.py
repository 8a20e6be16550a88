"""What several endpoints of energy accounts answer alike: documented examples, and the answer that signs in.

What lives here: those answers. What must not: an endpoint.
"""

from aiohttp import web

from auth.tokens import Purpose
from handlers.endpoint import Answer
from handlers.requests import issue_token, json_response
from storage.accounts import Credentials

INVALID = Answer("A field is missing or wrong", {"message": "Validation failed", "errors": ["PhoneNo is required"]})
NO_TOKEN = Answer("No valid token", {"message": "Invalid token"})
TOO_MANY = Answer("Too many tries", {"message": "Too many requests; try again in 900 seconds"})
# The token is the documents' own placeholder.
SIGNED = {"token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...", "accountType": "prosumer"}


def signed_in(request: web.Request, message: str, found: Credentials, account_type: str) -> web.Response:
    """The answer that brings a fresh token."""
    token = issue_token(request.app, Purpose.ACCOUNT, found.account_id, found.token_generation)
    return json_response({"message": message, "token": token, "accountType": account_type})
