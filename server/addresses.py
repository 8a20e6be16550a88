"""What a host that the server is bound to means to the people who reach it.

What lives here: loopback or not, and the URL to show. What must not: binding.
"""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether this host is this machine itself: a server bound to it is reached from nowhere else."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def own_url(host: str, port: int) -> str:
    """The address under which a browser on this machine reaches the server."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - compared, not bound
    if ":" in shown and not shown.startswith("["):
        shown = f"[{shown}]"
    return f"http://{shown}:{port}"
