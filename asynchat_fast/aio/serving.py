"""Channels on asyncio's transports: servers, clients, and a protocol factory for other code that makes transports."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from ..arguments import check_class
from .link import Link
from .securing import connecting, serving
from .transport_map import TransportMap

__all__ = ["chat_protocol", "connect", "start_server"]

_BACKLOG = 1024  # connections that may wait to be accepted


def chat_protocol(channel_class: Callable[..., Any], *args: Any) -> Callable[[], asyncio.Protocol]:
    """Return a protocol factory, for ``loop.create_server()`` and the like, whose protocols carry channels.

    *channel_class* is called with a socket-like object that stands for the transport, and with *args*.
    TypeError if it cannot be called.  Source: the asyncio documentation, "Transports and Protocols".
    """
    check_class(channel_class)
    maps: list[TransportMap] = []  # one at most: the map of the loop that has used the factory last

    def make_protocol() -> Link:
        loop = asyncio.get_running_loop()
        if not maps or maps[0].loop is not loop:
            maps[:] = [TransportMap(loop)]
        return Link((lambda sock: channel_class(sock, *args)) if args else channel_class, maps[0])

    return make_protocol


async def start_server(
    channel_class: Callable[..., Any], host: str | None, port: int, *args: Any, tls: ssl.SSLContext | None = None
) -> asyncio.Server:
    """Listen at *host* and *port*, and make a channel of each connection, on asyncio's transports.

    *channel_class* is called with a socket-like object and *args*; with *tls* (the server's ``ssl.SSLContext``), after
    the handshake.  *host* is None or "" for all addresses.  Return an asyncio.Server, whose ``close()`` ends the
    listening, not the connections.  OSError if the address cannot be listened at.
    """
    make = channel_class if tls is None else serving(channel_class, args, tls)
    factory = chat_protocol(make, *(args if tls is None else ()))
    return await asyncio.get_running_loop().create_server(factory, host, port, backlog=_BACKLOG)


async def connect(
    channel_class: Callable[..., Any],
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
) -> Any:
    """Connect to *host* and *port*, and return a channel of the connection, on an asyncio transport.

    *channel_class* is called with a socket-like object, and makes the channel; with *tls* (the client's
    ``ssl.SSLContext``), after the handshake, in which the certificate must be that of *server_hostname* (str),
    None for *host*.  OSError, such as ssl.SSLError, if connecting or the handshake fails; exceptions of
    *channel_class* are raised.
    """
    check_class(channel_class)
    loop = asyncio.get_running_loop()
    map, made = TransportMap(loop), loop.create_future()

    def make(sock: Any) -> Any:
        channel = channel_class(sock)
        if not made.done():
            made.set_result(channel)
        return channel

    begin: Callable[[Any], Any] = make
    if tls is not None:
        begin = connecting(make, made, tls, server_hostname or host)
    elif server_hostname is not None:
        raise ValueError("server_hostname is for TLS: pass tls=")
    link = Link(begin, map, expects=True)
    try:
        await loop.create_connection(lambda: link, host, port)
        if link.failure is not None:
            raise link.failure
        return await made
    except asyncio.CancelledError:
        link.abandon()
        raise
