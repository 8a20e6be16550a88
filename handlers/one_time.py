"""One-time passwords over SMS: sending one, and having the right one used up.

What lives here: the steps that every endpoint with an OTP shares. What must not: the endpoints' own answers.
"""

from aiohttp import web

from auth.otp import OtpPurpose, is_otp, make_otp
from handlers.context import CLIENT_ADDRESS, CODES, IDENTITY, OTP_DIGESTS, SMS
from handlers.errors import InvalidOtp, OtpExpired
from handlers.requests import DAY_S, QUARTER_OF_AN_HOUR_S, take
from storage.codes import ConsumedOtp, Limit, OtpAnswer

_TEXTS = {
    OtpPurpose.SIGNUP: "to sign up with Shakti",
    OtpPurpose.RESET: "to reset your Shakti password",
    OtpPurpose.PARTNER: "to verify this number with Shakti",
}


async def send_otp(request: web.Request, purpose: OtpPurpose, phone: str) -> None:
    """Send a fresh OTP to a number (E.164), in place of an earlier one of this purpose.

    It is kept before it is sent, so that nobody waits for a code that cannot work, and forgotten when sending fails.
    Raises TooManyRequests, RedisUnavailable, GatewayError.
    """
    app = request.app
    rules = app[IDENTITY]
    await take(
        request,
        [
            Limit(f"otp-number:{phone}", rules.otp_per_number, QUARTER_OF_AN_HOUR_S),
            Limit(f"otp-number-day:{phone}", rules.otp_per_number_day, DAY_S),
            Limit(f"otp-address:{request[CLIENT_ADDRESS]}", rules.otp_per_address, QUARTER_OF_AN_HOUR_S),
        ],
    )
    otp = make_otp()
    digest = app[OTP_DIGESTS].digest(purpose, phone, otp)
    await app[CODES].keep_otp(purpose, phone, digest, rules.otp)
    minutes = max(1, rules.otp.lifetime_s // 60)
    try:
        await app[SMS].send(phone, f"{otp} is your code {_TEXTS[purpose]}. It is valid for {minutes} minutes.")
    except BaseException:
        await app[CODES].drop_otp(purpose, phone, digest)
        raise


async def use_otp(request: web.Request, purpose: OtpPurpose, phone: str, otp: str) -> ConsumedOtp:
    """Use up the right OTP of a number (E.164): of two that try it at once, one succeeds.

    Raises InvalidOtp for a wrong one, OtpExpired when there is none alive, RedisUnavailable.
    """
    app = request.app
    # A text that is no OTP is tried all the same, so that it counts as a wrong try.
    digest = app[OTP_DIGESTS].digest(purpose, phone, otp) if is_otp(otp) else "-"
    answer, consumed = await app[CODES].try_otp(purpose, phone, digest, app[IDENTITY].otp)
    if answer is OtpAnswer.NONE:
        raise OtpExpired
    if consumed is None:
        raise InvalidOtp
    return consumed
