"""A worker for tests: answers each connection with its index and its process id.

    python worker_stub.py CONTROL_DIR HOST

The file `mode` in the control directory says how it behaves: serve; alone (on a socket that it binds itself);
stubborn (deaf to SIGTERM); or a number, with which it exits at its start. The files `started` and `left` collect the
process ids of those that did, `port` is the port it was given.
"""

import contextlib
import os
import select
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from server.worker_process import announce_ready, worker_sockets


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

    signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "stubborn" else lambda *_: None)
    told, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    listeners = [bound(host, port)] if mode == "alone" else worker_sockets()
    for listener in listeners:
        listener.setblocking(False)
        listener.listen(64)
    announce_ready()
    while True:
        readable = select.select([told, *(listener.fileno() for listener in listeners)], [], [])[0]
        if told in readable:
            break
        for listener in listeners:
            # Its successor may have been faster.
            with contextlib.suppress(BlockingIOError), listener.accept()[0] as client:
                client.sendall(f"{index} {os.getpid()}".encode())
    with (control / "left").open("a") as left:
        left.write(f"{os.getpid()}\n")


def bound(host: str, port: int) -> socket.socket:
    """A socket as asyncio makes it for reuse_port=True."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(address)
    return listener


if __name__ == "__main__":
    main()
