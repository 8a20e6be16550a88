"""Requests of logistics partners: registration, login, verification of numbers and e-mails.

What lives here: their schemas, the frozen dataclasses that they are read into, and partners in JSON. What must not: a
field of another family, or what any request does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from auth.tokens import Purpose
from handlers.errors import InvalidUserType
from handlers.schemas.answers import AnswerSchema
from handlers.schemas.base import RequestSchema
from handlers.schemas.fields import Choice, Email, Gstin, Otp, Password, Phone, PhoneText, Text
from storage.partners import Created, NewPartner, Partner, PartnerCredentials, PartnerKind

PURPOSES = {PartnerKind.SHIPPER: Purpose.SHIPPER, PartnerKind.TRANSPORTER: Purpose.TRANSPORTER}


@dataclass(frozen=True, slots=True)
class Registration:
    owner_name: str
    owner_contact_number: PhoneText
    email: str
    phone_number: PhoneText
    password: str = field(repr=False)
    company_name: str
    company_address: str
    gst_number: str


class RegistrationSchema(RequestSchema[Registration]):
    target = Registration
    owner_name = Text(data_key="ownerName", metadata={"label": "Owner name", "example": "John Doe"})
    owner_contact_number = Phone(
        data_key="ownerContactNumber", metadata={"label": "Owner contact number", "example": "9876543210"}
    )
    email = Email(metadata={"label": "Email", "example": "john@example.com"})
    phone_number = Phone(data_key="phoneNumber", metadata={"label": "Phone number", "example": "9876543211"})
    password = Password(metadata={"label": "Password", "example": "securepassword"})
    company_name = Text(data_key="companyName", metadata={"label": "Company name", "example": "ABC Logistics"})
    company_address = Text(
        data_key="companyAddress", max_length=500, metadata={"label": "Company address", "example": "123 Main St"}
    )
    gst_number = Gstin(data_key="gstNumber", metadata={"label": "GST number", "example": "27AAPFU0939F1ZV"})


@dataclass(frozen=True, slots=True)
class Login:
    password: str = field(repr=False)
    email: str | None = None
    mobile_number: str | None = None


class LoginSchema(RequestSchema[Login]):
    """What is no e-mail and no number is an unknown one, not an invalid one: it says nothing about any account."""

    target = Login
    email = Text(
        required=False, max_length=254, metadata={"label": "Email", "format": "email", "example": "john@example.com"}
    )
    mobile_number = Text(
        required=False,
        data_key="mobileNumber",
        max_length=32,
        metadata={
            "label": "Mobile number",
            "example": "9876543210",
            "description": "The owner contact number or the phone number; needed without an email, which goes first",
        },
    )
    password = Password(is_new=False, metadata={"label": "Password", "example": "securepassword"})

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def ask_for_one(self, data: Any, original: Mapping[str, Any], **more: Any) -> None:  # noqa: ARG002 - marshmallow's
        """One of the two must be there; one that is there and wrong has its own fault."""
        if not any(_is_given(original.get(name)) for name in ("email", "mobileNumber")):
            raise ValidationError("Email or mobile number is required")


@dataclass(frozen=True, slots=True)
class MobileNumber:
    mobile_number: PhoneText


class SendPartnerOtpSchema(RequestSchema[MobileNumber]):
    target = MobileNumber
    mobile_number = Phone(data_key="mobileNumber", metadata={"label": "Mobile number", "example": "1234567890"})


@dataclass(frozen=True, slots=True)
class OtpCheck:
    mobile_number: PhoneText
    otp: str = field(repr=False)


class VerifyPartnerOtpSchema(RequestSchema[OtpCheck]):
    target = OtpCheck
    mobile_number = Phone(data_key="mobileNumber", metadata={"label": "Mobile number", "example": "+911234567890"})
    otp = Otp(metadata={"label": "OTP", "example": "123456"})


@dataclass(frozen=True, slots=True)
class PartnerEmailAsked:
    gst_number: str
    user_type: str
    email: str

    @property
    def kind(self) -> PartnerKind:
        return PartnerKind(self.user_type)


class PartnerEmailSchema(RequestSchema[PartnerEmailAsked]):
    """Whose e-mail is asked about. Raises InvalidUserType for a userType that is not one of the two, whatever else is
    at fault: its answer has no room for other faults."""

    target = PartnerEmailAsked
    gst_number = Gstin(data_key="gstNumber", metadata={"label": "GST number", "example": "27ABCDE1234F1Z5"})
    user_type = Choice(*PartnerKind, data_key="userType", metadata={"label": "User type", "example": "shipper"})
    email = Email(metadata={"label": "Email", "example": "user@gmail.com"})

    def prepare(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """The document, once its userType is known or left out."""
        given = document.get("userType")
        if _is_given(given) and not (isinstance(given, str) and given.strip() in tuple(PartnerKind)):
            raise InvalidUserType
        return super().prepare(document)


@dataclass(frozen=True, slots=True)
class EmailLink:
    token: str = field(repr=False)


class EmailLinkSchema(RequestSchema[EmailLink]):
    """Documents a link's query; the handler takes the token as it comes, so that every bad one is answered alike."""

    target = EmailLink
    token = Text(max_length=2048, metadata={"example": "eyJhbGciOiJIUzI1NiIsInR..."})


class EmailStatusSchema(AnswerSchema):
    """Documents how far the verification of an e-mail is."""

    status = fields.String(
        required=True, metadata={"enum": ["verified", "token_sent_not_verified", "not_verified_no_token"]}
    )


def show_registered(partner: NewPartner, created: Created) -> dict[str, Any]:
    """A new partner in JSON."""
    return {
        "id": created.partner_id,
        "ownerName": partner.owner_name,
        "ownerContactNumber": partner.owner_contact_number,
        "email": partner.email,
        "phoneNumber": partner.phone_number,
        "companyName": partner.company_name,
        "companyAddress": partner.company_address,
        "gstNumber": partner.gst_number,
        "createdAt": show_time(created.created_at),
        "updatedAt": show_time(created.updated_at),
    }


def show_partner(partner: Partner) -> dict[str, Any]:
    """A partner in JSON, as its holder sees it."""
    return {
        "id": partner.partner_id,
        "ownerName": partner.owner_name,
        "ownerContactNumber": partner.owner_contact_number,
        "email": partner.email,
        "phoneNumber": partner.phone_number,
        "companyName": partner.company_name,
        "companyAddress": partner.company_address,
        "gstNumber": partner.gst_number,
        "emailVerified": partner.is_email_verified,
        "phoneVerified": partner.is_phone_verified,
        "ownerContactVerified": partner.is_owner_contact_verified,
        "createdAt": show_time(partner.created_at),
        "updatedAt": show_time(partner.updated_at),
    }


def show_login(found: PartnerCredentials) -> dict[str, Any]:
    """Who logged in, in JSON; the mobile number is the owner's contact number."""
    return {
        "id": found.partner_id,
        "companyName": found.company_name,
        "email": found.email,
        "mobileNumber": found.owner_contact_number,
    }


def show_time(moment: datetime) -> str:
    """An aware UTC time in ISO 8601 with milliseconds and `Z`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_given(value: object) -> bool:
    """Whether a field was filled in: null and blank texts are fields left out."""
    return value is not None and not (isinstance(value, str) and not value.strip())
