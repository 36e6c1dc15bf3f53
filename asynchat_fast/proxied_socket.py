"""The socket of a connection that has come through a proxy."""

import socket
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from .proxy_protocol import Header

__all__ = ["HeaderOfSocket", "ProxiedSocket", "proxied"]


class ProxiedSocket(socket.socket):
    """A socket whose ``getpeername()`` returns the client that a PROXY header names, not the proxy."""

    __slots__ = ("_ac_proxy",)

    _ac_proxy: "Header | None"  # None until the header has been read

    def getpeername(self) -> Any:
        """Return the address of the client; the peer's if the proxy has named none."""
        header = self._ac_proxy
        if header is None:
            return super().getpeername()
        # The system would not know the peer of a health check, which often has gone by now.
        return header.peer if header.source is None else header.source

    def dup(self) -> "ProxiedSocket":
        """Return another socket for the same connection."""
        other = super().dup()
        other._ac_proxy = self._ac_proxy
        return other


def proxied(sock: socket.socket) -> ProxiedSocket:
    """Return a non-blocking ProxiedSocket that takes over the descriptor of *sock*."""
    own = ProxiedSocket(sock.family, sock.type, sock.proto, sock.detach())
    own.setblocking(False)
    own._ac_proxy = None
    return own


class HeaderOfSocket:
    """An attribute of channels: the Header of the channel's socket, until the program assigns something else to it."""

    @overload
    def __get__(self, channel: None, owner: type) -> "HeaderOfSocket": ...

    @overload
    def __get__(self, channel: Any, owner: type) -> "Header | None": ...

    def __get__(self, channel: Any, owner: type) -> "HeaderOfSocket | Header | None":
        # No __set__(), so that a program's channel may have an attribute of this name.
        return self if channel is None else channel._ac_of_socket("_ac_proxy")
