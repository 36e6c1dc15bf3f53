"""The acceptor that every server needs: it listens, and makes a channel of each connection."""

import contextlib
import logging
import os
import socket
import stat
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from .eventloop import call_later
from .eventloop.exhaustion import EXHAUSTED, PAUSE, Pause
from .eventloop.timers import Timer
from .logged import logged_dispatcher

if TYPE_CHECKING:
    import ssl

__all__ = ["chat_server", "inherited_sockets"]

Address: TypeAlias = "tuple[str, int] | tuple[str, int, int, int] | str | bytes"
"""What a socket listens at: of IPv4, of IPv6, or the path of a unix socket."""

_BATCH = 64  # connections accepted at once, so that the others have their turn


class chat_server(logged_dispatcher):
    """Listen at *address*, and make a *channel_class* of each connection.

    *address* is ``(host, port)``, with host ``""`` for all and an IPv4 or IPv6 address or a name
    otherwise; the path of a unix socket (os.PathLike, or str or bytes with a slash), whose file goes
    with the server; or a socket that listens already, such as ``inherited_sockets()`` gives.
    *channel_class* is called with the socket of the connection, and with *map* if that is given
    (the asyncore map, a dict); ``handle_accepted()`` may be overridden for more.

    *backlog* is how many connections the system keeps waiting, *reuse_port* whether several
    processes may listen at the same port, *nodelay* whether small pushes leave at once (TCP_NODELAY),
    and *max_connections* how many may be open; more are left waiting, not refused.
    With *tls* (``ssl.SSLContext``) each connection begins with a handshake of *handshake_timeout* seconds at most
    (number, None for no limit), after which ``handle_accepted()`` is called.
    OSError if *address* cannot be had, ``addr`` what it became.
    """

    ac_logger: logging.Logger | None = logging.getLogger("asynchat_fast")
    """Where ``log_info()`` and errors go (logging.Logger); None for asyncore's way, to the standard output."""

    addr: Address
    _map: dict[int, Any]

    def __init__(
        self,
        address: Any,
        channel_class: Callable[..., Any],
        *,
        map: dict[int, Any] | None = None,
        backlog: int = 1024,
        reuse_port: bool = False,
        nodelay: bool = True,
        max_connections: int | None = None,
        tls: "ssl.SSLContext | None" = None,
        handshake_timeout: float | None = 10,
    ) -> None:
        super().__init__(map=map)
        _check_class(channel_class, address)
        if max_connections is not None and max_connections < 1:
            raise ValueError(f"with max_connections of {max_connections}, nobody could connect")
        self.__accept_tls = None if tls is None else _tls_accepter(tls, handshake_timeout)
        self.channel_class = channel_class
        self.nodelay = nodelay
        self.max_connections = max_connections
        self.path: str | bytes | None = None
        self._channel_options: dict[str, Any] = {} if map is None else {"map": map}
        self.__open: weakref.WeakSet[Any] = weakref.WeakSet()  # what a closed channel holds is not to be kept
        self.__pause = Pause()
        self.__waking: Timer | None = None  # at the end of the pause
        self.addr = self.__listen(address, backlog, reuse_port).getsockname()

    def __listen(self, address: Any, backlog: int, reuse_port: bool) -> socket.socket:
        handed_in = isinstance(address, socket.socket)
        address = address if handed_in else _checked(address)
        with _naming(address.getsockname() if handed_in else address):
            sock: socket.socket = address if handed_in else self.__bind(address, reuse_port)
            self.set_socket(sock)
            try:
                sock.setblocking(False)
                self.listen(backlog)
            except BaseException:
                chat_server.close(self)  # not an overridden one: a subclass has not been made yet
                raise
        return sock

    def __bind(self, address: Any, reuse_port: bool) -> socket.socket:
        if isinstance(address, (str, bytes)):
            self.path = address
            return _bound(socket.AF_UNIX, self.path, False)
        host, port = address[:2]
        infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        if not host and socket.has_dualstack_ipv6():
            return socket.create_server(
                ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, reuse_port=reuse_port
            )
        family, _, _, _, where = infos[0]
        return _bound(family, (where[0], port, *where[2:]), reuse_port)  # some systems cut a port to 16 bits

    def readable(self) -> bool:
        """Tell whether to accept: not while ``max_connections`` are open, nor soon after descriptors ran out."""
        return not self.__pause.seconds_left() and not self.__is_full()

    def writable(self) -> bool:
        """Tell that there is nothing to send."""
        return False

    def __is_full(self) -> bool:
        if self.max_connections is None or len(self.__open) < self.max_connections:
            return False
        self.__open = weakref.WeakSet(each for each in self.__open if each.connected or each.connecting)
        return len(self.__open) >= self.max_connections

    def handle_accept(self) -> None:
        """Accept what waits, but no more than a batch."""
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
                    self.__waking = call_later(PAUSE, self.readable, map=self._map)  # the loop is to wake, and ask
                    return
                continue  # a connection that ended while it waited
            self.__pause.end()
            if self.__accept_tls is None:
                self.handle_accepted(sock, addr)
            else:
                self.__open.add(self.__accept_tls(self, sock, addr))

    def make_channel(self, sock: socket.socket, addr: Any) -> Any:
        """Return the channel of a connection *sock* from *addr*, for classes that are called with other arguments."""
        return self.channel_class(sock, **self._channel_options)

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        """Make the channel of a connection *sock* from *addr*; what goes wrong closes that connection only."""
        fd = sock.fileno()
        try:
            if self.nodelay and sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            channel = self.make_channel(sock, addr)
            if self.max_connections is not None:
                self.__open.add(channel)
        except Exception as error:
            self.__log_failure(f"{self!r} closes the connection from {addr}: {type(error).__name__}: {error}")
            if fd in self._map:
                with contextlib.suppress(Exception):  # it is half made
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

    def handle_close(self) -> None:
        """Stop listening."""
        self.close()

    def close(self) -> None:
        """Stop listening; connections stay.  The file of a unix socket is removed."""
        if self.path is not None:  # before somebody else can listen there
            with contextlib.suppress(OSError, ValueError):  # ValueError: a name that is not of a file
                os.unlink(self.path)
            self.path = None
        self.__stop_waking()
        super().close()


def _tls_accepter(context: Any, handshake_timeout: float | None) -> Callable[..., Any]:
    """Return what begins a handshake, given a server, a socket and the address of the peer."""
    from .tls_start import accepter  # imports ssl, which a program without TLS need not wait for

    return accepter(context, handshake_timeout)


def _check_class(channel_class: object, address: Any) -> None:
    if callable(channel_class):
        return
    if isinstance(address, str) and isinstance(channel_class, int):
        raise TypeError(f"address must be a pair of host and port: write {(address, channel_class)!r}")
    raise TypeError(f"channel_class must be a class or a function that makes a channel, not {channel_class!r}")


def _checked(address: Any) -> Any:
    """Return *address*, a path as str or bytes; TypeError or ValueError that says how to write what was meant."""
    if isinstance(address, os.PathLike):
        return os.fspath(address)
    if isinstance(address, (str, bytes)):
        name = os.fsdecode(address)
        if "/" in name or os.sep in name or name.startswith("\0"):  # "\0": a unix socket without a file, on Linux
            return address
        host, _, port = name.rpartition(":")
        meant = (host, int(port)) if port.isdecimal() and port.isascii() else (name, 8000)
        path = "./" + (name or "name")
        raise ValueError(f"{address!r} is no address: write {meant!r}, or {path!r} for a unix socket")
    if isinstance(address, int):
        raise TypeError(f"address must be a pair of host and port, not {address!r}: write ('', {address!r})")
    if not isinstance(address, (tuple, list)) or len(address) < 2:
        raise TypeError(f"address must be a pair of host and port, a path or a socket, not {address!r}")
    return address


def _name_of(address: Any) -> str:
    """Return how to write *address* for people."""
    if not isinstance(address, (tuple, list)):
        return os.fsdecode(address)
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host or '*'}:{port}"


@contextlib.contextmanager
def _naming(address: Any) -> Iterator[None]:
    """Have an OSError say which *address* it is that cannot be had."""
    try:
        yield
    except OSError as error:
        message = f"cannot listen at {_name_of(address)}: {error.strerror or error}"
        if error.errno is None:  # found wrong before the system was asked
            raise OSError(message) from None
        raise type(error)(error.errno, message) from None


def _bound(family: int, address: Any, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == getattr(socket, "AF_UNIX", None):
            _remove_dead(address)
        elif os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        if reuse_port:
            if not hasattr(socket, "SO_REUSEPORT"):
                raise ValueError("this system has no SO_REUSEPORT")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, True)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_dead(path: str | bytes) -> None:
    """Remove the file of a unix socket that nobody listens at any more."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: a name that is not of a file
        if stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.setblocking(False)  # one that has no room for more connections listens, too
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)


def inherited_sockets() -> list[socket.socket]:
    """Return the listening sockets that the service manager has opened for this process, none if it has not.

    Source: sd_listen_fds(3), for LISTEN_PID and LISTEN_FDS.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    sockets = [socket.socket(fileno=fd) for fd in range(3, 3 + count)]
    for sock in sockets:
        sock.set_inheritable(False)
    return sockets
