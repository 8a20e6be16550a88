"""The mail that carries a verification link.

What lives here: its texts. What must not: making the link's token, or sending. Nothing that a registration brought
stands in the mail: whoever registers with a stranger's address cannot have us say things to that stranger.
"""

from datetime import timedelta

import aiohttp_jinja2
from aiohttp import web

from handlers.context import IDENTITY
from handlers.messaging import Mail

_SUBJECT = "Verify your e-mail address for Shakti"


async def verification_mail(app: web.Application, to: str, token: str) -> Mail:
    """The mail with the link for `token`, as text and as HTML."""
    rules = app[IDENTITY]
    templates = aiohttp_jinja2.get_env(app)
    # A token is base64url and dots: nothing in it needs to be quoted in a URL.
    shown = {
        "link": f"{rules.link_base}/verify-email?token={token}",
        "lifetime": _in_words(rules.email_link_lifetime),
    }
    text = await templates.get_template("mail/verify_email.txt").render_async(shown)
    html = await templates.get_template("mail/verify_email.html").render_async(shown)
    return Mail(to=to, subject=_SUBJECT, text=text, html=html)


def _in_words(lifetime: timedelta) -> str:
    """A lifetime as a person says it: "1 hour", "90 minutes"."""
    minutes = max(1, round(lifetime.total_seconds() / 60))
    hours, rest = divmod(minutes, 60)
    count, unit = (hours, "hour") if hours and not rest else (minutes, "minute")
    return f"{count} {unit}{'' if count == 1 else 's'}"
