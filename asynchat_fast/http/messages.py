"""The messages of ``asynchat-fast-http``: where it serves, or why it cannot."""

import argparse
import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from ..addresses import name_of
from .command_line import PROGRAM, Address

__all__ = ["announce", "fail", "in_words", "say"]

_FIRST_FREE_PORT = 1024  # ports below it are for root, on most systems


def say(message: str) -> None:
    """Print *message* on stderr."""
    with contextlib.suppress(OSError):  # a full disk must not prevent a graceful end
        print(f"{PROGRAM}: {message}", file=sys.stderr)


def fail(message: str) -> NoReturn:
    """Print *message* on stderr, and exit with status 2."""
    say(message)
    sys.exit(2)


def in_words(error: Exception, address: Address) -> str:
    """Return the message (str): why the server cannot listen at *address*, and what to do."""
    code = getattr(error, "errno", None)
    usual = str(getattr(error, "strerror", None) or error)
    if isinstance(address, Path):
        if code != errno.EADDRINUSE or not address.exists():  # it may have a {worker} in it
            return usual
        return f"cannot listen at {address}: " + ("it is in use" if address.is_socket() else "it is a file, no socket")
    host, port = address
    where = f"cannot listen at {name_of(address)}" if host else "cannot listen"
    if code == errno.EADDRINUSE:
        return f"{where}: port {port} is in use; try --port 0"
    if code in (errno.EACCES, errno.EPERM) and port < _FIRST_FREE_PORT:
        return f"{where}: port {port} needs root; try {8443 if port == 443 else 8080}"
    if code == errno.EADDRNOTAVAIL:
        return f"{where}: this machine has no such address"
    if isinstance(error, socket.gaierror):
        return f"{where}: there is no host of this name"
    return usual


def announce(options: argparse.Namespace, addresses: Iterable[Any]) -> None:
    """Print which directory is served, and at which addresses."""
    directory = _printable(options.directory)
    scheme = "https" if options.tls_cert or options.tls_self_signed else "http"
    for address in dict.fromkeys(addresses):
        if isinstance(address, tuple):
            _announce_port(directory, scheme, *address[:2])
        else:
            _show(f"Serving {directory} at the unix socket {_printable(os.fsdecode(address))} ...")


def _announce_port(directory: str, scheme: str, host: str, port: int) -> None:
    """Print the addresses: first one that can be clicked in a terminal."""
    everywhere = host in ("::", "0.0.0.0")  # noqa: S104 - compared, not listened at
    _show(f"Serving {directory} at {scheme}://{name_of(('localhost' if everywhere else host, port))}/ ...")
    if everywhere:
        for each in _own_addresses(host == "::"):
            _show(f"        and at {scheme}://{name_of((each, port))}/")


def _own_addresses(v6: bool) -> list[str]:
    """Return the addresses that this machine uses to reach other networks; with *v6* (bool) of IPv6, too."""
    # Connecting a datagram socket sends nothing: the system only chooses a route, and so the socket's own address.  The
    # other addresses here are reserved for documentation.
    found = []
    for family, other in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))[: 1 + v6]:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((other, 9))
            found.append(str(probe.getsockname()[0]))
    return found


def _printable(text: str) -> str:
    """Return *text*, with characters escaped that standard output cannot encode."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"  # there may be no standard output
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _show(line: str) -> None:
    try:
        print(line, flush=True)
    except OSError:  # a full disk, or a pipe that is closed, must not prevent serving
        sys.stdout = None  # else the interpreter would try again at its end, and print a traceback
