"""E-mail addresses: which of them are the same one.

What lives here: the form in which they are compared. What must not: whether one is verified, or whose it is.
"""

from email_validator import EmailNotValidError, validate_email


def email_key(address: str) -> str:
    """The address as it is compared: lower case, an international domain in ASCII. What is no address is only made
    lower case, and so matches none that is."""
    try:
        valid = validate_email(address, check_deliverability=False, allow_smtputf8=False, test_environment=True)
    except EmailNotValidError:
        return address.lower()
    return (valid.ascii_email or address).lower()
