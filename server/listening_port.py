"""The address that the workers of one server share.

What lives here: making sure it is free, holding it while workers come and go, sockets for them to listen on. What must
not: listening, which the workers do.
"""

import errno
import os
import socket
from types import TracebackType
from typing import Self

_ANY_PORT_ATTEMPTS = 16
# The rest, with IPv6, is flow and scope.
_Address = tuple[socket.AddressFamily, str, tuple[int, ...]]


class PortRefused(Exception):
    """The server cannot listen where it was told to; the text is a sentence that says why and what to do."""


class ListeningPort:
    """A port held on every address of `host`, so that nobody else takes it and all workers mean the same one.

    The sockets that hold it do not listen, so they take no connection away from the workers, whose sockets may bind
    the same port because all of them set SO_REUSEPORT. `port` 0 takes a free one. An empty host means every address.
    Raises PortRefused.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._holders: list[socket.socket] = []
        self._held: list[_Address] = []
        self.port = port
        addresses = self._resolve()
        for attempt in range(_ANY_PORT_ATTEMPTS):
            try:
                self._hold(addresses)
            except OSError as fault:
                self.close()
                is_last = attempt == _ANY_PORT_ATTEMPTS - 1
                # The number that is free on one address may be taken on the next: try another.
                if port == 0 and fault.errno == errno.EADDRINUSE and not is_last:
                    self.port = 0
                    continue
                raise PortRefused(self._explain(fault)) from fault
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the port."""
        self._held.clear()
        while self._holders:
            self._holders.pop().close()

    def open(self) -> list[socket.socket]:
        """Fresh sockets on the port, one for each address, for one worker to listen on. Raises OSError."""
        opened: list[socket.socket] = []
        try:
            for address in self._held:
                opened.append(_shared(address, self.port))
                # Its connections inherit it, and those that linger after the end must not keep the next server out.
                # Only now: the holders go without, for else any program that asks for the same might bind the port.
                opened[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        except OSError:
            for candidate in opened:
                candidate.close()
            raise
        return opened

    def _resolve(self) -> list[_Address]:
        try:
            found = socket.getaddrinfo(self._host or None, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as fault:
            reason = fault.strerror if isinstance(fault, OSError) else "it is not a host name"
            raise PortRefused(
                f"The host {self._host!r} is not known here ({reason}). Set server.host to an address of this machine."
            ) from fault
        return list(
            dict.fromkeys((family, str(address[0]), tuple(map(int, address[2:]))) for family, _, _, _, address in found)
        )

    def _hold(self, addresses: list[_Address]) -> None:
        absent: OSError | None = None
        for address in addresses:
            try:
                # Without SO_REUSEPORT another program's socket is in the way, with it another one of ours would not be.
                with _bound(address, self.port, socket.SO_REUSEADDR):
                    pass
                holder = _shared(address, self.port)
            except OSError as fault:
                if fault.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                # A name may stand for an IPv6 address on a machine that has IPv6 switched off.
                absent = fault
                continue
            self._holders.append(holder)
            self._held.append(address)
            self.port = holder.getsockname()[1]
        if not self._holders:
            raise absent or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    def _explain(self, fault: OSError) -> str:
        where = f"{self._host or '*'}:{self.port}"
        if fault.errno == errno.EADDRINUSE:
            return f"{where} is in use by another program. Stop that one, or choose another port with server.port."
        if fault.errno in (errno.EACCES, errno.EPERM):
            return f"{where} is not open to this user: ports below 1024 need rights. Choose another with server.port."
        if fault.errno == errno.EADDRNOTAVAIL:
            return f"{self._host!r} is no address of this machine. Set server.host to one that is."
        return f"{where} cannot be listened on: {os.strerror(fault.errno or 0)}. Choose another with server.port."


def _shared(address: _Address, port: int) -> socket.socket:
    try:
        return _bound(address, port, socket.SO_REUSEPORT)
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            raise
        # Connections that another program left behind linger here, and let in only who asks for both.
        held = _bound(address, port, socket.SO_REUSEPORT, socket.SO_REUSEADDR)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        return held


def _bound(address: _Address, port: int, *options: int) -> socket.socket:
    family, host, rest = address
    candidate = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            candidate.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:
            # As asyncio does: an empty host means one socket for each family.
            candidate.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        candidate.bind((host, port, *rest))
    except BaseException:
        candidate.close()
        raise
    return candidate
