"""The line server of _servers.py within asyncio and uvloop: embedded, on transports, and as a raw Protocol.

"at once" has what belongs to one read leave in one write: with ``coalesce_pushes``, or by the Protocol's own code.
"""

import asyncio
import importlib.util
from functools import partial

import _common
import _servers

__all__ = ["PEERS", "available", "start"]


class PongAtOnce(_servers.PongProtocol):
    def connection_made(self, transport):
        super().connection_made(transport)
        self.replies = []

    def data_received(self, data):
        *lines, self.rest = (self.rest + data).split(b"\r\n")
        for line in lines:
            self.line_received(line)
        self.transport.write(b"".join(self.replies))
        self.replies.clear()

    def line_received(self, line):
        self.replies.append(_servers.PONG)


def channel_class(coalesce):
    import asynchat_fast

    chosen = _servers.pong_class(asynchat_fast.async_chat)
    chosen.coalesce_pushes = coalesce
    return chosen


async def serve_protocol(listener, factory):
    server = await asyncio.get_running_loop().create_server(factory, sock=listener, backlog=_servers.BACKLOG)
    await server.serve_forever()


async def serve_transports(listener, coalesce):
    from asynchat_fast import aio

    await serve_protocol(listener, aio.chat_protocol(channel_class(coalesce)))


async def serve_embedded(listener, coalesce):
    from asynchat_fast import aio, chat_server

    chat_server(listener, channel_class(coalesce))
    async with aio.embedded() as served:
        await served.ended


WAYS = {
    "embedded": partial(serve_embedded, coalesce=False),
    "embedded, at once": partial(serve_embedded, coalesce=True),
    "transports": partial(serve_transports, coalesce=False),
    "transports, at once": partial(serve_transports, coalesce=True),
    "protocol": partial(serve_protocol, factory=_servers.PongProtocol),
    "protocol, at once": partial(serve_protocol, factory=PongAtOnce),
}
LOOPS = {"asyncio": (_servers.serve_asyncio, None), "uvloop": (_servers.serve_uvloop, "uvloop")}
PEERS = {name: _servers.PEERS[name] for name in (_common.FAST, _servers.COALESCED)} | {
    f"{loop} {way}": (partial(run, serve=serve), needed)
    for loop, (run, needed) in LOOPS.items()
    for way, serve in WAYS.items()
}


def available():
    """Return the names of the peers that are here, and of those that are not."""
    present, missing = [], []
    for name, (_, needed) in PEERS.items():
        (present if needed is None or importlib.util.find_spec(needed) else missing).append(name)
    return present, missing


def serve(name, pipe):
    """Serve in this process by peer *name*, see ``_servers.serve()``."""
    _servers.PEERS.update(PEERS)
    _servers.serve(name, pipe)


def start(name):
    """Start peer *name*, and return it once it answers."""
    return _servers.start(name, serve)
