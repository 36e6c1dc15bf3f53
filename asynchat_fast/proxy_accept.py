"""The start of a connection behind a proxy: read its PROXY header, and not a byte more."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from socket import MSG_PEEK, socket
from typing import Any, TypeAlias

from .addresses import name_of
from .arguments import check_seconds
from .deadline import Deadline
from .networks import Network, Networks, parse_host
from .proxied_socket import ProxiedSocket, proxied
from .proxy_protocol import ProxyProtocolError, parse
from .transport import reporting

__all__ = ["accepter"]

_LOOPBACK = ("127.0.0.0/8", "::1/128")
_LONGEST = 4096  # bytes of a header
_SHORTEST_TIMEOUT = 3  # seconds, by the specification: a lost TCP segment is sent again within them

Then: TypeAlias = Callable[[socket, Any], object]


def accepter(trusted: Iterable[Network] | None, timeout: float) -> Callable[[Any, socket, Any, Then], Any]:
    """Return a function that reads the PROXY header of an accepted connection.

    Its arguments are the server, the socket, the peer's address, and *then*, which is called with the socket and the
    client's address after the header.  It returns the dispatcher that waits for the rest of the header, None if there
    is nothing to wait for.  *trusted* are the networks of proxies, None for this machine; *timeout* is in seconds.
    ValueError for a wrong network, and for a *timeout* that is too short.
    """
    networks = Networks(_LOOPBACK if trusted is None else trusted)
    check_seconds("header_timeout", timeout)
    if timeout < _SHORTEST_TIMEOUT:
        raise ValueError(f"a header_timeout of {timeout} seconds is too short for a header that has to be sent twice")

    @lru_cache(256)
    def is_trusted(host: str) -> bool:
        return parse_host(host) in networks

    def accept(server: Any, sock: socket, peer: Any, then: Then) -> "_HeaderReader | None":
        # A peer at a unix socket is always trusted: the mode of the file decides which processes can connect.
        if isinstance(peer, tuple) and not is_trusted(peer[0]):
            server.log_info(f"closed the connection from {name_of(peer)}, which is no trusted proxy", "error")
            sock.close()
            return None
        reader = _HeaderReader(server, proxied(sock), peer, then)
        reader.handle_read_event()  # the header has nearly always arrived by now
        if reader.connected:
            reader.wait(timeout)
            return reader
        return None

    return accept


class _HeaderReader:
    """The dispatcher in the map of *server* for a connection from *peer* on *sock*, until its header has come.

    It receives the header only: the bytes after it, TLS or not, stay in the socket for *then*.
    """

    __slots__ = ("__weakref__", "_data", "_deadline", "_fd", "_server", "_then", "addr", "connected", "socket")

    accepting = connecting = False

    def __init__(self, server: Any, sock: ProxiedSocket, peer: Any, then: Then) -> None:
        self._server = server
        self.socket = sock
        self._fd = sock.fileno()
        self.addr = peer
        self._then = then
        self._data = b""  # the part of the header that was received
        self._deadline = Deadline(self._overdue)
        self.connected = True

    def _ac_status(self) -> dict[str, Any]:
        """Return this connection's part of ``status()``."""
        return {"state": "handshake"}

    def wait(self, timeout: float) -> None:
        """Enter the map, to receive the rest of the header, for *timeout* seconds at most."""
        self._server._map[self._fd] = self
        self._deadline.set(timeout, self._server._map)

    @reporting
    def readable(self) -> bool:
        """Return whether the header is still awaited."""
        self._deadline.look()  # asyncore's loop has no timers, but calls this in each pass
        return self.connected

    @reporting
    def writable(self) -> bool:
        """Return False: nothing is sent."""
        return False

    def handle_read_event(self) -> None:
        """Receive what has arrived of the header; once it is whole, call *then*."""
        sock = self.socket
        try:
            peeked = sock.recv(_LONGEST - len(self._data), MSG_PEEK)
            if not peeked:
                raise ProxyProtocolError("the connection ended within the PROXY header")
            begun = self._data
            self._data += peeked
            header = parse(self._data, _LONGEST)
            size = len(self._data) if header is None else header.size  # None: all that was peeked belongs to the header
            self._data = begun + sock.recv(size - len(begun))
        except BlockingIOError:
            return
        except (OSError, ProxyProtocolError) as error:
            self._refuse(error)
            return
        if header is not None and len(self._data) == header.size:
            self._leave()
            header.peer = self.addr
            sock._ac_proxy = header
            self._then(sock, self.addr if header.source is None else header.source)

    def _refuse(self, why: object) -> None:
        if self._data:  # a peer that sends nothing only checks that the server is there: no line in the log
            self._server.log_info(f"closed the connection from {name_of(self.addr)}: {why}", "error")
        self.close()

    def _overdue(self) -> None:
        self._refuse("its PROXY header has not come in time")

    def _leave(self) -> None:
        self.connected = False
        self._deadline.lift()
        if self._server._map.get(self._fd) is self:
            del self._server._map[self._fd]

    def close(self) -> None:
        """Close the connection, unless its header has been read."""
        if self.connected:
            self._leave()
            self.socket.close()

    def handle_close(self) -> None:
        """Close, as the peer has gone."""
        if self.connected:
            self._refuse("it ended within the PROXY header")

    def handle_error(self) -> None:
        """Close, and have the server handle the current exception."""
        self.close()
        self._server.handle_error()

    def handle_write_event(self) -> None:
        """Do nothing: nothing is sent."""

    def handle_expt_event(self) -> None:
        """Do nothing: urgent data is not part of a header."""
