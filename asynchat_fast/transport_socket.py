"""A socket to its channel, a transport behind it that is none: one of asyncio's, or one in memory."""

import errno
import socket
import struct
import sys
from typing import Any, Protocol

__all__ = ["Link", "TransportSocket", "adopt"]

_NO_SOCKET = "this transport is not over a socket"


class Link(Protocol):
    """What carries the bytes of a TransportSocket."""

    fd: int
    is_closed: bool
    map: Any  # that the channel is to join
    resets: bool  # closing drops what was not sent

    def get_extra_info(self, name: str) -> Any:
        """Return what is known as *name*, None for nothing; see ``asyncio.BaseTransport.get_extra_info()``."""

    def take(self, size: int) -> bytes:
        """Return at most *size* bytes of what has arrived, ``b""`` at the end; BlockingIOError if nothing has."""

    def give(self, data: bytes) -> int:
        """Send *data*, and return how much of it was taken; BlockingIOError if nothing can be."""

    def end_output(self) -> bool:
        """Send no more; tell whether that can be done without closing."""

    def close(self) -> None:
        """Close, once what was given has been sent."""


class TransportSocket:
    """A transport as a socket that does not block; it has what channels call of a socket."""

    # The names are all here, and there is no __getattr__(), which would slow down each access to one of them.
    __slots__ = ("__weakref__", "_link")

    def __init__(self, link: Link) -> None:
        self._link = link

    def _extra(self, name: str) -> Any:
        return self._link.get_extra_info(name)

    def _socket(self) -> Any:
        sock = self._extra("socket")
        if sock is None:
            raise OSError(errno.ENOTSOCK, _NO_SOCKET)
        return sock

    @property
    def _ac_map(self) -> Any:
        """The map that a channel on this is to join."""
        return self._link.map

    def _ac_end_output(self) -> bool:
        """Tell the peer that nothing more will be sent; tell whether that can be done without closing."""
        return self._link.end_output()

    def fileno(self) -> int:
        """Return the descriptor, -1 when it is closed."""
        return -1 if self._link.is_closed else self._link.fd

    def setblocking(self, flag: bool) -> None:
        """Do nothing: no transport blocks."""

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return at most *size* bytes of what has arrived, ``b""`` at the end of it; BlockingIOError if nothing has."""
        return self._link.take(size)

    def send(self, data: Any, flags: int = 0) -> int:
        """Hand *data* (bytes-like) to the transport; BlockingIOError while it holds too much that was not sent."""
        # uvloop, and asyncio from Python 3.13 on, send what a bytearray holds later.
        return self._link.give(data if type(data) is bytes else bytes(data))

    def shutdown(self, how: int) -> None:
        """Send no more, by SHUT_WR or SHUT_RDWR; OSError if this transport, as those of TLS, has no such end."""
        if how != socket.SHUT_RD and not self._link.end_output():
            raise OSError(errno.ENOTSUP, "this transport cannot end its output without being closed")

    def close(self) -> None:
        """Close; what was sent still leaves, if the peer takes it."""
        self._link.close()

    def getpeername(self) -> Any:
        """Return the address of the peer, None for a pipe."""
        return self._extra("peername")

    def getsockname(self) -> Any:
        """Return the address here, None for a pipe."""
        return self._extra("sockname")

    def getsockopt(self, *args: Any) -> Any:
        """Return an option of the socket, see ``socket.socket.getsockopt()``; OSError without a socket."""
        return self._socket().getsockopt(*args)

    def setsockopt(self, *args: Any) -> None:
        """Set an option of the socket, see ``socket.socket.setsockopt()``; OSError without a socket."""
        if args[:2] == (socket.SOL_SOCKET, socket.SO_LINGER):
            is_on, seconds = struct.unpack("hh" if sys.platform == "win32" else "ii", args[2])
            self._link.resets = bool(is_on and not seconds)
        self._socket().setsockopt(*args)

    @property
    def family(self) -> Any:
        """The address family (int); OSError without a socket."""
        return self._socket().family

    @property
    def type(self) -> Any:
        """The kind of socket (int); OSError without a socket."""
        return self._socket().type

    # Over TLS; None in the plain

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


def adopt(channel: Any, sock: TransportSocket) -> None:
    """Have *channel* converse over *sock*, in its map, of whatever class it is: async_chat alone does so by itself."""
    channel.del_channel()
    channel._map = sock._ac_map
    channel.set_socket(sock, sock._ac_map)
