"""How aiohttp runs our application: with connections of ours, and a straight way for placements.

What lives here: putting these together. What must not: what any of them does.
"""

from aiohttp import web

from server.connections import Connection
from server.straight_way import StraightWay


class Server(web.Server):
    """Makes our connections."""

    def __call__(self) -> Connection:
        """The protocol of a client's connection."""
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application; takes what web.AppRunner takes."""

    async def _make_server(self) -> web.Server:
        theirs = await super()._make_server()
        handle = StraightWay(self.app, theirs.request_handler)
        return Server(handle, request_factory=theirs.request_factory, **self._kwargs)
