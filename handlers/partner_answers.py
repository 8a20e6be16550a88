"""What partners' endpoints answer, as their documentation shows it.

What lives here: the published document's examples. What must not: an answer that is really given.
"""

from collections.abc import Mapping
from typing import Any

from handlers.endpoint import Answer
from storage.partners import PartnerKind

TAGS = {PartnerKind.SHIPPER: "Shippers", PartnerKind.TRANSPORTER: "Transporters"}
FAILURE = {"success": False, "message": "Internal server error"}
INVALID = Answer(
    "Fields are missing or wrong, or belong to another account; all faults at once",
    {
        "success": False,
        "message": "Validation failed",
        "errors": ["Password is required", "Email is already registered"],
    },
)
TOO_MANY = Answer(
    "Too many from this address or for this account; Retry-After says when again",
    {"success": False, "message": "Too many requests; try again in 900 seconds"},
)
NO_TOKEN = Answer("No valid token", {"success": False, "message": "Invalid token"})
FOREIGN = Answer(
    "A token of the other kind of partner",
    {"success": False, "message": "This token belongs to another kind of account"},
)
FAILED = Answer("A fault of ours, or a service that does not answer", FAILURE)
_SHIPPER = {
    "id": 1,
    "ownerName": "John Doe",
    "ownerContactNumber": "9876543210",
    "email": "john@example.com",
    "phoneNumber": "9876543211",
    "companyName": "ABC Logistics",
    "companyAddress": "123 Main St",
    "gstNumber": "27AAPFU0939F1ZV",
    "createdAt": "2025-07-13T10:30:45.123Z",
    "updatedAt": "2025-07-13T10:30:45.123Z",
}
EXAMPLES: Mapping[PartnerKind, Mapping[str, Any]] = {
    PartnerKind.SHIPPER: _SHIPPER,
    PartnerKind.TRANSPORTER: {
        "id": 1,
        "ownerName": "Alex Johnson",
        "ownerContactNumber": "9876543212",
        "email": "alex@transco.com",
        "phoneNumber": "9876543213",
        "companyName": "TransCo Logistics",
        "companyAddress": "456 Transport Hub",
        "gstNumber": "27AAPFU0939F1ZV",
        "createdAt": "2025-07-13T14:20:15.789Z",
        "updatedAt": "2025-07-13T14:20:15.789Z",
    },
}
INVALID_LOGIN = Answer(
    "A field is missing or wrong",
    {
        "success": False,
        "message": "Validation failed",
        "errors": ["Email or mobile number is required", "Password is required"],
    },
)
WRONG_CREDENTIALS = Answer("No such account, or another password", {"success": False, "message": "Invalid credentials"})
_TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..."  # noqa: S105 - the document's own placeholder


def login_example(kind: PartnerKind) -> dict[str, Any]:
    """The answer to a login."""
    example = EXAMPLES[kind]
    data = {
        "id": example["id"],
        "companyName": example["companyName"],
        "email": example["email"],
        "mobileNumber": example["ownerContactNumber"],
    }
    return {"success": True, "message": "Login successful", "token": _TOKEN, "data": data}


def me_example(kind: PartnerKind) -> dict[str, Any]:
    """The account as its holder sees it."""
    verified = {"emailVerified": True, "phoneVerified": True, "ownerContactVerified": False}
    return {"success": True, "data": {**EXAMPLES[kind], **verified}}
