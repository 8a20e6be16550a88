"""What the server says once it is ready: where it is reached, what it stands on, where messages go.

What lives here: the words. What must not: printing them, or deciding any of it.
"""

from server.addresses import is_loopback, own_url
from server.config import Config


def greeting(config: Config, port: int, *, embeds_database: bool, embeds_redis: bool) -> str:
    """Several lines for the person at the console; `port` is the one that is listened on. No secret is in it."""
    url = own_url(config.server.host, port)
    embedded = f"embedded, in {config.server.data_dir}"
    is_listed = not config.sms.is_configured and not config.mail.is_configured and is_loopback(config.server.host)
    outbox = f"development outbox: {url}/dev/outbox" if is_listed else "development outbox, on this console only"
    return "\n".join(
        (
            "",
            f"Shakti is ready at {url}",
            f"  API page    {url}/docs",
            f"  PostgreSQL  {embedded if embeds_database else 'the server that DATABASE_URL names'}",
            f"  Redis       {embedded if embeds_redis else 'the server that REDIS_URL names'}",
            f"  SMS         {'Twilio' if config.sms.is_configured else outbox}",
            f"  e-mail      {config.mail.host if config.mail.is_configured else outbox}",
            "Stop it with Ctrl+C.",
        )
    )
