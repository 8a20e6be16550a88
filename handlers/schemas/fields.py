"""The kinds of value that requests are made of, each read strictly and documented for OpenAPI.

What lives here: marshmallow fields used by several schemas. What must not: a schema.
"""

import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from email_validator import EmailNotValidError, validate_email
from marshmallow import ValidationError, fields

from auth.passwords import MAX_BYTES, MIN_CHARACTERS, password_fault
from auth.phones import PhoneError, parse_phone
from handlers.schemas.base import READING

_MISSING = "is required"
_NUMBER = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?")
_DEGREE = r"(-?[0-9]{1,3}(?:\.[0-9]{1,12})?)\s*°?\s*([NSEWnsew]?)"
_GPS = re.compile(rf"\s*{_DEGREE}\s*,\s*{_DEGREE}\s*")
_GSTIN = re.compile(r"[0-9]{2}[A-Z]{5}[0-9]{4}[A-Z][0-9A-Z]Z[0-9A-Z]")


def _messages() -> dict[str, str | list[Any] | dict[Any, Any]]:
    return {"required": _MISSING, "null": _MISSING, "invalid": "must be a text"}


def _documented(arguments: dict[str, Any], **shape: Any) -> dict[str, Any]:
    """A field's arguments, with what OpenAPI shows of it added to its metadata."""
    return {**arguments, "metadata": {**shape, **arguments.get("metadata", {})}}


class Text(fields.String):
    """A line of text, without the white space around it; an empty one counts as left out."""

    def __init__(self, *, max_length: int = 200, **more: Any) -> None:
        more.setdefault("required", True)
        shape: dict[str, Any] = {"maxLength": max_length}
        if more["required"]:
            shape["minLength"] = 1
        super().__init__(error_messages=_messages(), **_documented(more, **shape))
        self.max_length = max_length

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> Any:
        if not isinstance(value, str):
            raise ValidationError(self.error_messages["invalid"])
        stripped = value.strip()
        if not stripped:
            if self.required:
                raise ValidationError(_MISSING)
            return None
        if len(stripped) > self.max_length:
            raise ValidationError(f"must not be longer than {self.max_length} characters")
        # A line break or a control character has no place in a name, and must not reach a mail or a log line.
        if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in stripped):
            raise ValidationError("must not contain line breaks or control characters")
        return self.read(stripped)

    def read(self, text: str) -> Any:
        """The value that the text stands for. Raises ValidationError with a clause."""
        return text


class Choice(Text):
    """One of a few words."""

    def __init__(self, *choices: str, **more: Any) -> None:
        super().__init__(**_documented(more, enum=list(choices)))
        self.choices = choices

    def read(self, text: str) -> str:
        """The word itself."""
        if text not in self.choices:
            raise ValidationError(f"must be {' or '.join(self.choices)}")
        return text


class Password(fields.String):
    """A new password, exactly as given. Only a new one is checked against the rules (auth/passwords.py)."""

    def __init__(self, *, is_new: bool = True, **more: Any) -> None:
        shape: dict[str, Any] = {"format": "password", "minLength": MIN_CHARACTERS if is_new else 1}
        if is_new:
            shape["description"] = f"{MIN_CHARACTERS} characters to {MAX_BYTES} bytes"
        super().__init__(required=True, error_messages=_messages(), **_documented(more, **shape))
        self.is_new = is_new

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError(self.error_messages["invalid"])
        if not value:
            raise ValidationError(_MISSING)
        if self.is_new and (fault := password_fault(value)):
            raise ValidationError(fault)
        return value


class PhoneText(str):
    """A phone number as it was given; `e164` is the number it means."""

    e164: str


class Phone(Text):
    """A phone number in any usual form."""

    def __init__(self, **more: Any) -> None:
        super().__init__(max_length=32, **more)

    def read(self, text: str) -> PhoneText:
        """The text, with the number it means."""
        try:
            e164 = parse_phone(text, READING.get().region)
        except PhoneError as fault:
            raise ValidationError(str(fault)) from None
        phone = PhoneText(text)
        phone.e164 = e164
        return phone


class Otp(Text):
    """An OTP as a user typed it. One that has not the shape of an OTP is wrong, not invalid."""

    def __init__(self, **more: Any) -> None:
        super().__init__(max_length=64, **more)


class Email(Text):
    """An e-mail address, checked by syntax."""

    def __init__(self, **more: Any) -> None:
        super().__init__(max_length=254, **_documented(more, format="email"))

    def read(self, text: str) -> str:
        """The address as given."""
        try:
            validate_email(text, check_deliverability=False, allow_smtputf8=False, test_environment=True)
        except EmailNotValidError:
            raise ValidationError("must be an e-mail address like name@example.com") from None
        return text


class Gstin(Text):
    """A GST identification number, checked by format; upper case."""

    def __init__(self, **more: Any) -> None:
        super().__init__(max_length=15, **more)

    def read(self, text: str) -> str:
        """The number in upper case."""
        upper = text.upper()
        if not text.isascii() or not _GSTIN.fullmatch(upper):
            raise ValidationError("must be a GSTIN like 27AAPFU0939F1ZV")
        return upper


class Pincode(Text):
    """An Indian postal code, as a text or a JSON number."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> Any:
        is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**12
        return super()._deserialize(str(value) if is_number else value, attr, data, **more)

    def read(self, text: str) -> str:
        """Six digits."""
        if not re.fullmatch(r"[0-9]{6}", text):
            raise ValidationError("must have 6 digits")
        return text


class Gps(Text):
    """A position: decimal degrees, latitude first."""

    def read(self, text: str) -> tuple[Decimal, Decimal]:
        """Latitude and longitude in degrees, south and west negative."""
        match = _GPS.fullmatch(text) if text.isascii() or "°" in text else None
        if match is None:
            raise ValidationError("must be a position in degrees like 12.9716,77.5946")
        latitude = _signed(match[1], match[2], "NS")
        longitude = _signed(match[3], match[4], "EW")
        if not -90 <= latitude <= 90 or not -180 <= longitude <= 180:
            raise ValidationError("must have a latitude from -90 to 90 and a longitude from -180 to 180")
        return latitude, longitude


def _signed(digits: str, letter: str, letters: str) -> Decimal:
    degrees = Decimal(digits)
    if not letter:
        return degrees
    if letter.upper() not in letters or degrees < 0:
        raise ValidationError("must be a position in degrees like 12.9716,77.5946")
    return -degrees if letter.upper() == letters[1] else degrees


class Number(fields.Field[Any]):
    """A number as a text or a JSON number, with or without its unit, within bounds that are allowed themselves but for
    an `above`."""

    def __init__(
        self,
        *,
        unit: str = "",
        low: int | None = None,
        high: int | None = None,
        above: int | None = None,
        is_whole: bool = False,
        **more: Any,
    ) -> None:
        more.setdefault("required", True)
        super().__init__(error_messages={"required": _MISSING, "null": _MISSING}, **more)
        self.unit, self.low, self.high, self.above, self.is_whole = unit, low, high, above, is_whole

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> Any:
        if isinstance(value, str) and not value.strip():
            if self.required:
                raise ValidationError(_MISSING)
            return None
        number = self._parse(value)
        if self.above is not None and number <= self.above:
            raise ValidationError(f"must be greater than {self.above}")
        high = self._high()
        if (self.low is not None and number < self.low) or (high is not None and number > high):
            span = f"from {self.low} to {high}" if self.low is not None else f"at most {high}"
            raise ValidationError(f"must be {span}")
        return int(number) if self.is_whole else number

    def _high(self) -> int | None:
        return self.high

    def _parse(self, value: Any) -> Decimal:
        kind = "a whole number" if self.is_whole else "a number"
        clause = f"must be {kind}" + (f" like 5 or 5 {self.unit}" if self.unit else "")
        if isinstance(value, str):
            text = value.strip()
            if self.unit and text.lower().endswith(self.unit.lower()):
                text = text[: -len(self.unit)].rstrip()
            if not _NUMBER.fullmatch(text):
                raise ValidationError(clause)
            number = Decimal(text)
        elif isinstance(value, int | Decimal) and not isinstance(value, bool):
            try:
                number = Decimal(value)
            except InvalidOperation:
                raise ValidationError(clause) from None
            if abs(number.adjusted()) > 12:
                raise ValidationError(clause)
        else:
            raise ValidationError(clause)
        if self.is_whole and number != number.to_integral_value():
            raise ValidationError(clause)
        return number


class Year(Number):
    """A year from 1950 to this one, in India."""

    def __init__(self, **more: Any) -> None:
        super().__init__(low=1950, is_whole=True, **more)

    def _high(self) -> int:
        return READING.get().year
