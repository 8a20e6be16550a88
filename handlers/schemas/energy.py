"""Requests about energy accounts: OTP, sign-up, sign-in, passwords, set-up.

What lives here: their schemas and the frozen dataclasses that they are read into. What must not: a field of another
family, or what any request does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from auth.otp import OtpPurpose
from handlers.schemas.base import RequestSchema
from handlers.schemas.fields import Choice, Gps, Number, Otp, Password, Phone, PhoneText, Pincode, Text, Year
from storage.accounts import Setup

ACCOUNT_TYPES = ("prosumer", "consumer")


@dataclass(frozen=True, slots=True)
class SendOtp:
    phone: PhoneText
    purpose: str = OtpPurpose.SIGNUP


class SendOtpSchema(RequestSchema[SendOtp]):
    target = SendOtp
    phone = Phone(data_key="PhoneNo", metadata={"example": "1234567890"})
    purpose = Choice(
        OtpPurpose.SIGNUP,
        OtpPurpose.RESET,
        required=False,
        metadata={"description": "What the OTP is for; signup when left out"},
    )


@dataclass(frozen=True, slots=True)
class SignUp:
    phone: PhoneText
    password: str
    connection_id: str
    otp: str
    username: str
    account_type: str


class SignUpSchema(RequestSchema[SignUp]):
    target = SignUp
    phone = Phone(data_key="PhoneNo", metadata={"example": "1234567890"})
    password = Password(metadata={"example": "sunshine-and-rain"})
    connection_id = Text(data_key="connectionId", max_length=64, metadata={"example": "BLR-0042"})
    otp = Otp(metadata={"example": "123456"})
    username = Text(max_length=100, metadata={"example": "Asha"})
    account_type = Choice(*ACCOUNT_TYPES, data_key="accountType")


@dataclass(frozen=True, slots=True)
class SignInRequest:
    phone: PhoneText
    password: str
    connection_id: str
    account_type: str


class SignInSchema(RequestSchema[SignInRequest]):
    target = SignInRequest
    phone = Phone(data_key="PhoneNo", metadata={"example": "1234567890"})
    password = Password(is_new=False, metadata={"example": "sunshine-and-rain"})
    connection_id = Text(data_key="connectionId", max_length=64, metadata={"example": "BLR-0042"})
    account_type = Choice(*ACCOUNT_TYPES, data_key="accountType")


@dataclass(frozen=True, slots=True)
class ChangePassword:
    old_password: str
    new_password: str


class ChangePasswordSchema(RequestSchema[ChangePassword]):
    target = ChangePassword
    old_password = Password(is_new=False, data_key="oldPassword", metadata={"example": "sunshine-and-rain"})
    new_password = Password(data_key="newPassword", metadata={"example": "rain-and-sunshine"})


@dataclass(frozen=True, slots=True)
class ResetPassword:
    phone: PhoneText
    otp: str
    account_type: str
    new_password: str


class ResetPasswordSchema(RequestSchema[ResetPassword]):
    target = ResetPassword
    phone = Phone(data_key="PhoneNo", metadata={"example": "1234567890"})
    otp = Otp(metadata={"example": "123456"})
    account_type = Choice(*ACCOUNT_TYPES, data_key="accountType")
    new_password = Password(data_key="newPassword", metadata={"example": "rain-and-sunshine"})


def _kw(name: str, example: str, description: str = "", **more: Any) -> Number:
    metadata = {"example": example, **({"description": description} if description else {})}
    return Number(unit="kW", above=0, high=10_000_000, data_key=name, metadata=metadata, **more)


class SetupSchema(RequestSchema[Setup]):
    """The set-up of any household; what is not required here is not asked of a consumer."""

    target = Setup
    solar_capacity_kw = _kw("solarCapacity", "5", "Required of prosumers", required=False)
    solar_brand = Text(
        data_key="solarBrand",
        required=False,
        metadata={"example": "Tata Power Solar", "description": "Required of prosumers; `brand` is understood too"},
    )
    city = Text(metadata={"example": "Bengaluru"})
    pincode = Pincode(metadata={"example": "560001", "pattern": "^[0-9]{6}$"})
    gps = Gps(metadata={"example": "12.9716,77.5946"})
    year = Year(metadata={"example": "2022"})
    load_kw = _kw("load", "3.5", "`connectedLoad` is understood too")
    state = Text(required=False, metadata={"example": "Karnataka"})
    tilt_degrees = Number(unit="°", low=0, high=90, required=False, data_key="tilt", metadata={"example": "15"})
    azimuth_degrees = Number(
        unit="°", low=-360, high=360, required=False, data_key="azimuth", metadata={"example": "180"}
    )
    demand_kw = _kw("demand", "4", required=False)

    def prepare(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """As the fields expect it; `brand` and `connectedLoad` stand for `solarBrand` and `load`."""
        given = dict(super().prepare(document))
        for other, name in (("brand", "solarBrand"), ("connectedLoad", "load")):
            if _is_blank(given.get(name)) and other in given:
                given[name] = given[other]
        return given


class ProsumerSetupSchema(SetupSchema):
    """The set-up of a prosumer: with the solar panels."""

    solar_capacity_kw = _kw("solarCapacity", "5")
    solar_brand = Text(data_key="solarBrand", metadata={"example": "Tata Power Solar"})


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def shown(number: Decimal | None) -> str | None:
    """A number of a set-up as text, without an exponent."""
    return None if number is None else f"{number:f}"
