"""TLS on transports, by our own engine: the channel is made after the handshake."""

import asyncio
import contextlib
import logging
import ssl
import sys
from collections.abc import Callable
from typing import Any

from ..addresses import name_of
from ..arguments import check_class
from ..tls import Engine, check_context
from ..tls_handshake import Handshake
from ..tls_socket import TLSSocket
from ..tls_start import failure_of
from ..transport_socket import adopt

__all__ = ["connecting", "serving"]

_TIMEOUT = 10.0  # seconds for a handshake

_logger = logging.getLogger("asynchat_fast")


def serving(channel_class: Callable[..., Any], args: tuple[Any, ...], context: ssl.SSLContext) -> Callable[[Any], None]:
    """Return a function of a socket that runs a server's handshake on it, then calls *channel_class* with *args*."""
    check_class(channel_class)
    check_context(context, server_side=True)

    def begin(sock: Any) -> None:
        face = TLSSocket(sock, Engine(context, True))
        Handshake(face, sock._ac_map, _Accepted(channel_class, args, sock.getpeername()), _TIMEOUT).enter_map()

    return begin


def _make_carried(make: Callable[..., Any], face: TLSSocket, *args: Any) -> None:
    """Call *make* with *face* and *args*, and have the dispatcher that it returns carried by the transport."""
    carrier = face._ac_place
    channel = make(face, *args)
    if face._ac_place is carrier and carrier.channel is None:  # only our async_chat enters the map by itself
        adopt(channel, face)


class _Accepted:
    """Makes the channel of a client at *addr* after its handshake, or logs the failure."""

    def __init__(self, channel_class: Callable[..., Any], args: tuple[Any, ...], addr: Any) -> None:
        self._channel_class = channel_class
        self._args = args
        self._addr = addr

    def opened(self, face: TLSSocket) -> None:
        _make_carried(self._channel_class, face, *self._args)

    def failed(self, error: OSError) -> None:
        _logger.error("%s", failure_of(self._addr, error))

    def handle_error(self) -> None:
        _logger.exception("closing the connection from %s: uncaught exception", name_of(self._addr))


def connecting(
    make: Callable[[Any], Any], made: "asyncio.Future[Any]", context: ssl.SSLContext, server_hostname: str
) -> Callable[[Any], None]:
    """Return a function of a socket that runs a client's handshake on it, then calls *make* with the TLSSocket.

    If that fails, the exception is set in *made*.
    """

    engine = Engine(context, False, server_hostname)  # here, because it raises if the arguments cannot work

    def begin(sock: Any) -> None:
        face = TLSSocket(sock, engine)
        Handshake(face, sock._ac_map, _Connected(make, made), _TIMEOUT).enter_map()

    return begin


class _Connected:
    """Calls *make* after the handshake with a server; an exception of either is set in *made*."""

    def __init__(self, make: Callable[[Any], Any], made: "asyncio.Future[Any]") -> None:
        self._make = make
        self._made = made

    def opened(self, face: TLSSocket) -> None:
        try:
            _make_carried(self._make, face)
        except Exception as error:
            channel = face._ac_place.channel
            if channel is not None:
                with contextlib.suppress(Exception):  # its __init__() has not run to the end
                    channel.close()
            face.close()
            self.failed(error)

    def failed(self, error: BaseException) -> None:
        if not self._made.done():
            self._made.set_exception(error)
            self._made.exception()  # no complaint that it was never retrieved: connect() may have been cancelled

    def handle_error(self) -> None:
        error = sys.exc_info()[1]
        if error is not None:
            self.failed(error)
