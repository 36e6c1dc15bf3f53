"""The acceptor that every server needs: it listens, and makes a channel of each connection."""

import contextlib
import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from .addresses import bound_socket, checked, name_of, naming
from .arguments import check_class, check_count, check_map
from .eventloop import call_later
from .eventloop.exhaustion import EXHAUSTED, PAUSE, Pause
from .eventloop.maps import touch
from .eventloop.timers import Timer
from .graceful_end import GracefulEnd
from .logged import logged_dispatcher
from .transport import reporting

if TYPE_CHECKING:
    import ssl

__all__ = ["chat_server"]

Address: TypeAlias = "tuple[str, int] | tuple[str, int, int, int] | str | bytes"
"""The address of a listening socket: of IPv4, of IPv6, or the path of a unix socket."""

_BATCH = 64  # connections accepted in one call, so that other channels have their turn


class chat_server(logged_dispatcher):
    """Listen at *address*, and make a channel for each connection.

    *address* is ``(host, port)``, with host ``""`` for all addresses, an IPv4 or IPv6 address, or a name;
    the path of a unix socket (os.PathLike, or str or bytes with a slash), whose file is removed when the
    server closes; or a socket that is bound already, such as one of ``inherited_sockets()``.
    *channel_class* is called with the socket of the connection, and with ``map=`` if *map* (an asyncore
    map, a dict) is given; override ``make_channel()`` for other arguments.

    *backlog* is how many connections may wait to be accepted, *reuse_port* whether several processes may listen at the
    same port, *mode* the permissions of the file of a unix socket (int, such as 0o660; None for what the umask leaves),
    *nodelay* whether small pushes are sent at once (TCP_NODELAY), and *max_connections* how many connections may be
    open (int, None for no limit); further ones wait, and are not refused.
    With *tls* (``ssl.SSLContext``) each connection begins with a handshake of *handshake_timeout* seconds at most
    (number, None for no limit), after which ``handle_accepted()`` is called.
    With *proxy_protocol* each connection comes from a proxy, and begins, before TLS, with a PROXY header, which has
    the address of the client; it must be complete within *header_timeout* seconds (number, at least 3).  *trusted* are
    the networks of the proxies (list of str, such as "10.0.0.0/8"); None is this machine.
    OSError if *address* cannot be listened at; ValueError or TypeError, which say how to write it, for a wrong one.
    """

    ac_logger: logging.Logger | None = logging.getLogger("asynchat_fast")
    """The logger for messages and errors (logging.Logger); None prints them as asyncore does."""

    addr: Address
    _fileno: int | None
    _map: dict[int, Any]

    def __init__(
        self,
        address: Any,
        channel_class: Callable[..., Any],
        *,
        map: dict[int, Any] | None = None,
        backlog: int = 1024,
        reuse_port: bool = False,
        mode: int | None = None,
        nodelay: bool = True,
        max_connections: int | None = None,
        tls: "ssl.SSLContext | None" = None,
        handshake_timeout: float | None = 10,
        proxy_protocol: bool = False,
        trusted: Any = None,
        header_timeout: float = 5,
    ) -> None:
        _check(channel_class, address, map, backlog, max_connections)
        super().__init__(map=map)
        if trusted is not None and not proxy_protocol:
            raise ValueError("trusted says which proxies to trust: pass proxy_protocol=True, too")
        self.__read_header = _header_reader(trusted, header_timeout) if proxy_protocol else None
        self.__accept_tls = None if tls is None else _tls_accepter(tls, handshake_timeout)
        self.channel_class = channel_class  #: As given; may be assigned.
        self.nodelay = nodelay  #: As given; may be assigned.
        self.max_connections = max_connections  #: As given; may be assigned.
        self.path: str | bytes | None = None  #: The path of a unix socket, None for other addresses.
        self._channel_options: dict[str, Any] = {} if map is None else {"map": map}
        self._ac_end = GracefulEnd(self)
        self.__open = self._ac_end.connections
        self.__pause = Pause()
        self.__waking: Timer | None = None  # wakes the loop at the end of the pause
        #: The address at which it listens, as ``getsockname()`` returns it.
        self.addr = self.__listen(address, backlog, reuse_port, mode).getsockname()

    def __listen(self, address: Any, backlog: int, reuse_port: bool, mode: int | None) -> socket.socket:
        handed_in = isinstance(address, socket.socket)
        if handed_in and mode is not None:
            raise ValueError("a mode is for a file that is made here, and not for a socket that is bound already")
        address = address if handed_in else checked(address)
        with naming(address.getsockname() if handed_in else address):
            sock: socket.socket = address if handed_in else bound_socket(address, reuse_port, mode)
            if isinstance(address, (str, bytes)):
                self.path = address
            self.set_socket(sock)
            try:
                sock.setblocking(False)
                self.listen(backlog)
            except BaseException:
                chat_server.close(self)  # not an override: the __init__() of the subclass has not run to its end
                raise
        return sock

    @reporting
    def readable(self) -> bool:
        """Return whether to accept: not while ``max_connections`` are open, nor just after descriptors ran out."""
        if self.__pause.seconds_left():
            return False
        if not self.__is_full():
            return True
        map: Any = self._map
        if hasattr(type(map), "watch") and self._fileno not in map.watched:
            map.watch(self._fileno)  # from now on: a connection that ends does not tell its server
        return False

    @reporting
    def writable(self) -> bool:
        """Return False: an acceptor sends nothing."""
        return False

    def __is_full(self) -> bool:
        return self.max_connections is not None and self.__open.are_as_many_as(self.max_connections)

    def handle_accept(self) -> None:
        """Accept connections that wait, at most 64; the loop calls this."""
        for _ in range(_BATCH):
            if self.socket is None or not self.accepting or self.__is_full():
                return
            try:
                sock, addr = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self.__pause.begin_for(self, error)
                    self.__stop_waking()
                    self.__waking = call_later(PAUSE, touch, self._map, self._fileno, map=self._map)
                    return
                continue  # the connection has ended while it waited
            self.__pause.end()
            if self.__read_header is None:
                self.__begin(sock, addr)
            elif (reader := self.__read_header(self, sock, addr, self.__begin)) is not None:
                self.__open.add(reader)

    def __begin(self, sock: socket.socket, addr: Any) -> None:
        if self.__accept_tls is None:
            self.handle_accepted(sock, addr)
        else:
            self.__open.add(self.__accept_tls(self, sock, addr))

    def make_channel(self, sock: socket.socket, addr: Any) -> Any:
        """Return a channel for a connection *sock* from *addr*; override it to call the class with other arguments."""
        return self.channel_class(sock, **self._channel_options)

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        """Make the channel of a connection *sock* from *addr*; an exception closes that connection, with a log line."""
        fd = sock.fileno()
        try:
            if self.nodelay and sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            self.__open.add(self.make_channel(sock, addr))
        except Exception as error:
            self.__log_failure(f"{self!r} closes the connection from {name_of(addr)}: {type(error).__name__}: {error}")
            if fd in self._map:
                with contextlib.suppress(Exception):  # its __init__() has not run to the end
                    self._map[fd].close()
                self._map.pop(fd, None)
            sock.close()

    def __log_failure(self, message: str) -> None:
        if self.ac_logger is None:
            self.log_info(message, "error")
        else:
            self.ac_logger.exception("%s", message)

    def __stop_waking(self) -> None:
        if self.__waking is not None:
            self.__waking.cancel()

    def shut_down(self, timeout: float | None = None, *, drain: float = 0.0) -> None:
        """End gracefully: accept waiting connections, stop listening, and call ``handle_shut_down()`` of each channel.

        For *drain* seconds (number) the server goes on as before, so that proxies notice; then it accepts the
        connections that wait, and stops listening.  Connections that have not ended *timeout* seconds (number, None for
        no limit) after the drain are closed, with a line in the log.  This method returns at once; any thread, and a
        signal handler, may call it.  The loop does the rest, from its next pass on, and ends when its map is empty.
        asyncore's loop, and that of a plain dict, are not woken for it.  A second call ends the drain, and the timeout
        counts from then on.  ValueError for a negative number.
        """
        self._ac_end.begin(timeout, drain)

    def handle_close(self) -> None:
        """Stop listening."""
        self.close()

    def _ac_end_listening(self) -> None:
        """Close after accepting once more, with as little as possible in between: what comes there is reset."""
        try:
            self.del_channel()
            self.__remove_file()
            self.handle_accept()
        finally:
            self.close()

    def close(self) -> None:
        """Stop listening; connections stay.  The file of a unix socket is removed."""
        self.__remove_file()
        self.__stop_waking()
        super().close()
        self._ac_end.stop_listening()

    def __remove_file(self) -> None:
        """Remove the file of a unix socket; call it before the socket closes: later, it may be another server's."""
        if self.path is not None:
            with contextlib.suppress(OSError, ValueError):  # ValueError: a name that is not of a file
                os.unlink(self.path)
            self.path = None


def _tls_accepter(context: Any, handshake_timeout: float | None) -> Callable[..., Any]:
    """Return a function that starts TLS on an accepted connection; see ``tls_start.accepter()``."""
    from .tls_start import accepter  # imports ssl, which would delay programs without TLS

    return accepter(context, handshake_timeout)


def _header_reader(trusted: Any, timeout: float) -> Callable[..., Any]:
    """Return a function that reads the PROXY header of a connection; see ``proxy_accept.accepter()``."""
    from .proxy_accept import accepter  # imports ipaddress, likewise

    return accepter(trusted, timeout)


def _check(channel_class: object, address: Any, map: Any, backlog: Any, max_connections: Any) -> None:
    if isinstance(address, str) and isinstance(channel_class, int):
        raise TypeError(f"address must be a pair of host and port: write {(address, channel_class)!r}")
    check_class(channel_class)
    if map is not None:
        check_map(map)
    check_count("backlog", backlog)
    if max_connections is not None:
        check_count("max_connections", max_connections, least=1)
