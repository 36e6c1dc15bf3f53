"""Addresses: check them, show them in messages, and make sockets that are bound to them."""

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from typing import Any

from .arguments import check_count

__all__ = ["bound_socket", "checked", "has_file", "inherited_sockets", "name_of", "naming", "remove_dead"]

_LAST_PORT = 65535


def checked(address: Any) -> Any:
    """Return *address*, or a path object as str or bytes; TypeError or ValueError say how to write a wrong one."""
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
    _check_pair(*address[:2])
    return address


def _check_pair(host: Any, port: Any) -> None:
    if not isinstance(host, (str, bytes, type(None))):
        raise TypeError(f"the host of an address must be a str, not {host!r}")
    if isinstance(port, int):
        if not 0 <= port <= _LAST_PORT:
            raise ValueError(f"the port of an address is from 0 to {_LAST_PORT}, not {port}")
    elif not isinstance(port, (str, bytes)):  # the name of a service
        raise TypeError(f"the port of an address must be an int, not {port!r}")


def name_of(address: Any) -> str:
    """Return *address*, of ours or of a peer, as text for messages (str), such as "[::1]:8000" or "/run/my.sock"."""
    if isinstance(address, (tuple, list)):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host or '*'}:{port}"
    name = os.fsdecode(address) if isinstance(address, bytes) else str(address or "")
    # "\0" begins the name of a unix socket without a file; tools such as ss(8) show it as "@".
    return name.replace("\0", "@") or "an unnamed socket"  # as the clients of unix sockets nearly always are


@contextlib.contextmanager
def naming(address: Any) -> Iterator[None]:
    """In a ``with`` block, add *address* to the message of an OSError."""
    try:
        yield
    except OSError as error:
        message = f"cannot listen at {name_of(address)}: {error.strerror or error}"
        if error.errno is None:  # raised by Python, before the system was called
            raise OSError(message) from None
        raise type(error)(error.errno, message) from None


def has_file(address: Any) -> bool:
    """Return whether *address* is the path of a unix socket with a file, which bind() makes."""
    return isinstance(address, (str, bytes)) and not os.fsdecode(address).startswith("\0")


def bound_socket(address: Any, reuse_port: bool = False, mode: int | None = None) -> socket.socket:
    """Return a socket that is bound to *address* (host and port, or a path), and does not listen yet.

    With *reuse_port* other sockets may be bound to the same port; *mode* is that of the file of a unix socket (int,
    such as 0o660), None for what the umask leaves.  OSError, without *address* in its message: see ``naming()``.
    """
    if mode is not None:
        check_count("mode", mode)
    if mode is not None and not has_file(address):
        raise ValueError(f"a mode of {mode:#o} is for the file of a unix socket, which {address!r} has not")
    if isinstance(address, (str, bytes)):
        sock = _bound(socket.AF_UNIX, address, False)
        try:
            if mode is not None:
                os.chmod(address, mode)  # in time: no process can connect before the socket listens
        except BaseException:
            sock.close()
            os.unlink(address)
            raise
        return sock
    host, port = address[:2]
    infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, where = infos[0]
    if not host and socket.has_dualstack_ipv6():
        everywhere = ("::", int(where[1]))  # the number of a port that was given by its name
        return socket.create_server(everywhere, family=socket.AF_INET6, dualstack_ipv6=True, reuse_port=reuse_port)
    return _bound(family, where, reuse_port)


def _bound(family: int, address: Any, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == getattr(socket, "AF_UNIX", None):
            remove_dead(address)
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


def remove_dead(path: str | bytes) -> None:
    """Remove the file of a unix socket at which no process listens any more."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: a name that is not of a file
        if stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.setblocking(False)  # a server with a full backlog is alive, but connect() would wait for it
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)


def inherited_sockets() -> list[socket.socket]:
    """Return the listening sockets (list) that the service manager has opened for this process, ``[]`` if none.

    Source: sd_listen_fds(3), for LISTEN_PID and LISTEN_FDS.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    sockets = [socket.socket(fileno=fd) for fd in range(3, 3 + count)]
    for sock in sockets:
        sock.set_inheritable(False)
    return sockets
