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
from ..tls_handshake import Handshake, Occasion
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
        addr = sock.getpeername()
        occasion = Occasion(
            opened=lambda face: _make_carried(channel_class, face, *args),
            failed=lambda error: _logger.error("%s", failure_of(addr, error)),
            handle_error=lambda: _logger.exception("closing the connection from %s: uncaught exception", name_of(addr)),
        )
        Handshake(TLSSocket(sock, Engine(context, True)), sock._ac_map, occasion, _TIMEOUT).enter_map()

    return begin


def _make_carried(make: Callable[..., Any], face: TLSSocket, *args: Any) -> None:
    """Call *make* with *face* and *args*, and have the dispatcher that it returns carried by the transport."""
    carrier = face._ac_place
    channel = make(face, *args)
    if face._ac_place is carrier and carrier.channel is None:  # only our async_chat enters the map by itself
        adopt(channel, face)


def connecting(
    make: Callable[[Any], Any], made: "asyncio.Future[Any]", context: ssl.SSLContext, server_hostname: str
) -> Callable[[Any], None]:
    """Return a function of a socket that runs a client's handshake on it, then calls *make* with the TLSSocket.

    An exception of either is set in *made*.
    """

    engine = Engine(context, False, server_hostname)  # here, because it raises if the arguments cannot work

    def opened(face: TLSSocket) -> None:
        try:
            _make_carried(make, face)
        except Exception as error:
            channel = face._ac_place.channel
            if channel is not None:
                with contextlib.suppress(Exception):  # its __init__() has not run to the end
                    channel.close()
            face.close()
            failed(error)

    def failed(error: BaseException | None) -> None:
        if error is not None and not made.done():
            made.set_exception(error)
            made.exception()  # no complaint that it was never retrieved: connect() may have been cancelled

    def begin(sock: Any) -> None:
        occasion = Occasion(opened, failed, lambda: failed(sys.exc_info()[1]))
        Handshake(TLSSocket(sock, engine), sock._ac_map, occasion, _TIMEOUT).enter_map()

    return begin
