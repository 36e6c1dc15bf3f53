"""A socket-like object for a channel over a transport that is not a socket: one of asyncio's, or one in memory."""

import enum
import errno
import socket
import struct
import sys
from typing import Any, Protocol

__all__ = ["RESET", "Input", "TransportSocket", "Wire", "adopt", "asks_for_reset"]

_LINGER = "hh" if sys.platform == "win32" else "ii"

RESET = struct.pack(_LINGER, 1, 0)
"""The value of SO_LINGER for which close() drops unsent bytes, and resets the connection (bytes)."""

_NO_SOCKET = "this transport is not over a socket"


class Input(enum.Enum):
    """The state of the input of a Wire."""

    OPEN = "the peer may send"
    ENDING = "the input has ended, and the channel is to be told"
    ENDED = "the input has ended, and the channel was told"


class Wire(Protocol):
    """The object that carries the bytes of a TransportSocket."""

    fd: int
    is_closed: bool
    map: Any  # the map that the channel must join
    resets: bool  # close() is to drop unsent bytes, and reset the connection

    def get_extra_info(self, name: str) -> Any:
        """Return the value of *name*, None if it is unknown; see ``asyncio.BaseTransport.get_extra_info()``."""

    def take(self, size: int) -> bytes:
        """Return at most *size* bytes of the data that has arrived, ``b""`` at its end; BlockingIOError if none has."""

    def give(self, data: bytes) -> int:
        """Send *data*, and return how many bytes of it were taken; BlockingIOError if none can be now."""

    def end_output(self) -> bool:
        """Shut down the output; return False if that cannot be done without closing."""

    def close(self) -> None:
        """Close, once the bytes that were given have been sent."""


def asks_for_reset(args: tuple[Any, ...]) -> bool | None:
    """Return whether *args* of ``setsockopt()`` have close() drop unsent bytes, and reset the connection.

    None if they are for another option than SO_LINGER.
    """
    if args[:2] != (socket.SOL_SOCKET, socket.SO_LINGER):
        return None
    is_on, seconds = struct.unpack(_LINGER, args[2])
    return bool(is_on and not seconds)


class TransportSocket:
    """A transport with the methods of a non-blocking socket that channels call."""

    # No __getattr__() that delegates to a socket: it would slow down each access to an attribute.
    __slots__ = ("__weakref__", "_wire")

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def _extra(self, name: str) -> Any:
        return self._wire.get_extra_info(name)

    def _socket(self) -> Any:
        sock = self._extra("socket")
        if sock is None:
            raise OSError(errno.ENOTSOCK, _NO_SOCKET)
        return sock

    @property
    def _ac_map(self) -> Any:
        """The map that a channel on this socket must join."""
        return self._wire.map

    def _ac_end_output(self) -> bool:
        """Shut down the output; return False if that cannot be done without closing."""
        return self._wire.end_output()

    def _ac_drop_output(self) -> None:
        """Have close() drop the bytes that the transport has not sent."""
        self._wire.resets = True

    def fileno(self) -> int:
        """Return the descriptor, -1 once it is closed."""
        return -1 if self._wire.is_closed else self._wire.fd

    def setblocking(self, flag: bool) -> None:
        """Do nothing: no transport blocks."""

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return at most *size* bytes of the data that has arrived, ``b""`` at its end; BlockingIOError if none has."""
        return self._wire.take(size)

    def send(self, data: Any, flags: int = 0) -> int:
        """Pass *data* (bytes-like) to the transport, and return its size; BlockingIOError while its buffer is full."""
        # A copy of a bytearray: uvloop, and asyncio from Python 3.13 on, read it later, when it may have changed.
        return self._wire.give(data if type(data) is bytes else bytes(data))

    def shutdown(self, how: int) -> None:
        """Shut down the output, for SHUT_WR or SHUT_RDWR; OSError if the transport cannot, as over asyncio's TLS."""
        if how != socket.SHUT_RD and not self._wire.end_output():
            raise OSError(errno.ENOTSUP, "this transport cannot end its output without being closed")

    def close(self) -> None:
        """Close; the transport still sends the bytes in its buffer, if the peer takes them."""
        self._wire.close()

    def getpeername(self) -> Any:
        """Return the address of the peer, None for a pipe."""
        return self._extra("peername")

    def getsockname(self) -> Any:
        """Return the local address, None for a pipe."""
        return self._extra("sockname")

    def getsockopt(self, *args: Any) -> Any:
        """Return an option of the socket, see ``socket.socket.getsockopt()``; OSError without a socket."""
        return self._socket().getsockopt(*args)

    def setsockopt(self, *args: Any) -> None:
        """Set an option of the socket, see ``socket.socket.setsockopt()``; OSError without a socket."""
        resets = asks_for_reset(args)
        if resets is not None:
            self._wire.resets = resets
        self._socket().setsockopt(*args)

    @property
    def family(self) -> Any:
        """The address family (int); OSError without a socket."""
        return self._socket().family

    @property
    def type(self) -> Any:
        """The kind of socket (int); OSError without a socket."""
        return self._socket().type

    # Over asyncio's TLS; None without

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the certificate of the peer, see ``ssl.SSLSocket.getpeercert()``."""
        tls = self._extra("ssl_object")
        return tls and tls.getpeercert(binary_form)

    def version(self) -> str | None:
        """Return the version of TLS (str)."""
        tls = self._extra("ssl_object")
        return tls and tls.version()  # type: ignore[no-any-return]

    def cipher(self) -> Any:
        """Return the cipher, see ``ssl.SSLSocket.cipher()``."""
        tls = self._extra("ssl_object")
        return tls and tls.cipher()

    def selected_alpn_protocol(self) -> str | None:
        """Return the protocol that was agreed upon (str)."""
        tls = self._extra("ssl_object")
        return tls and tls.selected_alpn_protocol()  # type: ignore[no-any-return]


def adopt(channel: Any, sock: Any) -> None:
    """Put *channel*, a dispatcher of any class, on *sock*, a TransportSocket or TLS on one, and into the map of that.

    Our async_chat does so by itself.
    """
    channel.del_channel()
    channel._map = sock._ac_map
    channel.set_socket(sock, sock._ac_map)
