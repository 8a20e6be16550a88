"""The embedded PostgreSQL that another process of ours keeps running on a data directory.

What lives here: finding it, so that a command can work beside a server. What must not: starting or stopping any.
"""

import socket
from pathlib import Path

from server.embedded_errors import EmbeddedError
from server.embedded_postgres import SOCKET_NAME, EmbeddedPostgres
from server.service_user import choose_service_user

_TIMEOUT_S = 2.0


def running_database_url(data_dir: Path) -> str | None:
    """The URL of the PostgreSQL that runs on `data_dir`, or None where none does or it is not ours to use.

    A server that is just starting or ending is not found: starting our own then tells that the directory is in use.
    """
    try:
        # The servers know the directory by its real name, and `run` may be a link where that name is too long.
        run = data_dir.resolve() / "run"
        sockets = run.readlink() if run.is_symlink() else run
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_TIMEOUT_S)
            client.connect(str(sockets / SOCKET_NAME))
        return EmbeddedPostgres(data_dir, sockets, choose_service_user(data_dir)).url
    except (OSError, EmbeddedError):
        return None
