"""Logistics partners prove that a phone number is theirs, by OTP.

What lives here: the two endpoints under /api/validate. What must not: sending and checking OTPs (one_time.py).
"""

from aiohttp import web

from auth.otp import OtpPurpose
from handlers.context import CODES, DATABASE
from handlers.endpoint import Answer, Endpoint, Family, endpoint
from handlers.one_time import send_otp, use_otp
from handlers.requests import json_response, read_json
from handlers.schemas.partners import SendPartnerOtpSchema, VerifyPartnerOtpSchema
from storage import phones

_TAG = "Phone verification"
_TOO_MANY = Answer(
    "Too many for this number or from this address; Retry-After says when again",
    {"message": "Too many requests; try again in 900 seconds"},
)


@endpoint(
    Endpoint(
        summary="Send an OTP to a mobile number",
        tag=_TAG,
        family=Family.VALIDATION,
        failure={"message": "Failed to send OTP", "error": ""},
        request=SendPartnerOtpSchema,
        answers={
            200: Answer("The OTP is on its way", {"message": "OTP sent successfully"}),
            400: Answer(
                "The number is missing or none",
                {"message": "Validation failed", "errors": ["Mobile number is required"]},
            ),
            429: _TOO_MANY,
            500: Answer(
                "The OTP was not sent, and is not kept",
                {"message": "Failed to send OTP", "error": "Twilio error message or Redis error"},
            ),
        },
    )
)
async def send(request: web.Request) -> web.Response:
    """Send a number an OTP that verifies it."""
    asked = await read_json(request, SendPartnerOtpSchema)
    await send_otp(request, OtpPurpose.PARTNER, asked.mobile_number.e164)
    return json_response({"message": "OTP sent successfully"})


@endpoint(
    Endpoint(
        summary="Verify a mobile number by its OTP",
        tag=_TAG,
        family=Family.VALIDATION,
        failure={"message": "Error verifying OTP", "error": ""},
        request=VerifyPartnerOtpSchema,
        answers={
            200: Answer("The number is verified", {"message": "OTP verified successfully"}),
            400: Answer("There is no OTP alive for this number", {"message": "OTP has expired"}),
            401: Answer("Not the OTP that was sent", {"message": "Invalid OTP"}),
            500: Answer(
                "Nothing was verified; the OTP can be tried again",
                {"message": "Error verifying OTP", "error": "Redis error or internal server issue"},
            ),
        },
    )
)
async def verify(request: web.Request) -> web.Response:
    """Use up the OTP and record the number as verified."""
    asked = await read_json(request, VerifyPartnerOtpSchema)
    number = asked.mobile_number.e164
    otp = await use_otp(request, OtpPurpose.PARTNER, number, asked.otp)
    try:
        await phones.verify(request.app[DATABASE], number)
    except BaseException:
        # It proved what could not be written down: it may prove it once more.
        await request.app[CODES].put_back_otp(otp)
        raise
    return json_response({"message": "OTP verified successfully"})
