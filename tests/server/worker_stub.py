"""A worker for tests: answers each connection with its index and its process id.

    python worker_stub.py CONTROL_DIR HOST

The file `mode` in the control directory says how it behaves: serve; stubborn (deaf to SIGTERM); or a number, with
which it exits at its start. The files `started` and `left` collect the process ids of those that did, `port` is the
port it was given.
"""

import os
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from server.worker_process import announce_ready


def main() -> None:
    """Behave as told."""
    control, host = Path(sys.argv[1]), sys.argv[2]
    index, port = os.environ["SHAKTI_WORKER_INDEX"], int(os.environ["SHAKTI_WORKER_PORT"])
    mode = (control / "mode").read_text()
    with (control / "started").open("a") as started:
        started.write(f"{os.getpid()}\n")
    (control / "port").write_text(str(port))
    if mode.isdigit():
        sys.exit(int(mode))

    def leave(*_: object) -> None:
        with (control / "left").open("a") as left:
            left.write(f"{os.getpid()}\n")
        sys.exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "stubborn" else leave)
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(64)
        announce_ready()
        while True:
            client, _ = listener.accept()
            with client:
                client.sendall(f"{index} {os.getpid()}".encode())


if __name__ == "__main__":
    main()
