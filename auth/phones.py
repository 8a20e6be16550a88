"""Phone numbers: every usual way of writing one is the same number.

What lives here: reading a number into E.164. What must not: whether it is verified, or whose it is.
"""

import re

import phonenumbers

# ASCII digits only: the library would also read full-width and Arabic ones, letters and extensions.
_USUAL = re.compile(r"\+?[0-9(][0-9 ().\-]{2,30}")


class PhoneError(ValueError):
    """The text is no possible phone number; the message is a clause that follows the field's name."""


def parse_phone(text: str, region: str) -> str:
    """The number in E.164. `region` is the country (ISO 3166, "IN") of numbers written without a country code.

    A *possible* number is asked for, not an assigned one: 1234567890 passes in India.
    """
    stripped = text.strip(" ")
    if not _USUAL.fullmatch(stripped):
        raise PhoneError("must be a phone number like 9876543210 or +919876543210")
    try:
        number = phonenumbers.parse(stripped, region)
    except phonenumbers.NumberParseException:
        raise PhoneError("must be a phone number like 9876543210 or +919876543210") from None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise PhoneError("is not a possible phone number: it has too few or too many digits")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
