"""Serve the files of a directory, as ``python -m http.server`` does."""

import argparse
import contextlib
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from .. import asyncore, call_later, loop
from .._printing import printing
from ..workers.caught_signals import CaughtSignals
from .command_line import DEFAULT_PORT, PROGRAM, Address, parser
from .files import file_handler
from .server import http_server

__all__ = ["main"]

T = TypeVar("T")

_WORDS: dict[int, str] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_FIRST_FREE_PORT = 1024  # ports below it are for root, on most systems


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with *arguments* (list of str), None for those of the command line."""
    with printing(PROGRAM):
        options = parser().parse_args(arguments)
    options.directory = _directory(options.directory)
    handler_class = _handler_class(options)
    address = _address(options)
    tls = _tls_context(options)
    log = None if options.quiet else sys.stderr

    def serve(where: Any, tls: Any = tls) -> http_server:
        return http_server(where, handler_class, log=log, tls=tls)

    def serve_as_worker(sockets: list[socket.socket]) -> list[http_server]:
        context = _tls_context(options) if options.tls_cert else tls  # the files may have been renewed
        return [serve(sock, context) for sock in sockets]  # the service manager may have opened several

    if options.workers > 1:
        sys.exit(_serve_by_workers(serve_as_worker, address, options))
    with _pid_file(options.pid_file):
        _serve_alone(_listening(lambda: serve(address), address), options)


def _serve_alone(server: http_server, options: argparse.Namespace) -> None:
    try:
        if threading.current_thread() is threading.main_thread():  # no other thread may set signal handlers
            _Ending(server, options.grace)
        _announce(options, [server.addr])
        loop()
    except KeyboardInterrupt:
        _say("interrupted")
    finally:
        asyncore.close_all(ignore_all=True)


def _serve_by_workers(
    start: Callable[[list[socket.socket]], list[http_server]], address: Address, options: argparse.Namespace
) -> int:
    _need_posix("--workers")
    from ..workers.limits import Limits
    from ..workers.slots import Slots
    from ..workers.supervisor import supervise

    def open_slots() -> Slots:
        slots = _listening(lambda: Slots([address], options.workers), address)
        _announce(options, [sock.getsockname() for sockets in slots for sock in sockets])
        return slots

    def say_why(number: int) -> None:
        _say(_WORDS[number])

    return supervise(start, Limits(options.grace), open_slots, lambda: _pid_file(options.pid_file), say_why)


def _pid_file(path: str | None) -> contextlib.AbstractContextManager[Any]:
    """Return the PidFile at *path*; for None, a context that does nothing."""
    if path is None:
        return contextlib.nullcontext()
    _need_posix("--pid-file")
    from ..workers.pid_file import PidFile

    try:
        return PidFile(path)
    except OSError as error:
        _fail(f"cannot write {path}: {error.strerror}")


def _need_posix(option: str) -> None:
    if os.name != "posix":
        _fail(f"{option} takes fork() and signals, which this system has not")


def _directory(given: str) -> str:
    """Return the absolute path of the directory *given*; exit if there is none."""
    if not os.path.isdir(given):
        _fail(f"{given!r} is not a directory")
    try:
        return os.path.abspath(given)
    except FileNotFoundError:
        _fail("the current directory has been removed")


def _address(options: argparse.Namespace) -> Address:
    """Return the address to listen at, as ``http_server`` takes it."""
    given: Address | int | None = options.address
    if isinstance(given, Path):
        if options.bind is not None or options.port is not None:
            _fail("a unix socket has neither --bind nor --port")
        return given
    host, port = given if isinstance(given, tuple) else ("", DEFAULT_PORT if given is None else given)
    # The options prevail over ADDRESS, so that the advice "try --port 0" works at the end of any command.
    return (host if options.bind is None else options.bind, port if options.port is None else options.port)


def _tls_context(options: argparse.Namespace) -> Any:
    """Return the ``ssl.SSLContext`` that the options ask for, None for plain HTTP."""
    if not (options.tls_cert or options.tls_key or options.tls_self_signed):
        return None
    from . import tls_context  # imports ssl, which would delay plain HTTP

    try:
        if options.tls_self_signed:
            if options.tls_cert or options.tls_key:
                _fail("--tls-self-signed makes a certificate: it goes with neither --tls-cert nor --tls-key")
            return tls_context.self_signed()
        if not options.tls_cert:
            _fail("--tls-key is the key of a certificate: say --tls-cert, too")
        return tls_context.from_files(options.tls_cert, options.tls_key)
    except tls_context.NoContext as error:
        _fail(str(error))


def _handler_class(options: argparse.Namespace) -> type[file_handler]:
    class handler(file_handler):
        __module__, __qualname__ = file_handler.__module__, file_handler.__qualname__  # which its repr shows in the log
        directory = options.directory
        symlinks = options.symlinks
        hidden_files = options.hidden
        list_directories = not options.no_listing
        single_page = options.spa
        not_found_page = _error_page(options)
        extra_headers = tuple(options.header)
        credentials = options.auth
        log_format = options.log_format

    return handler


def _error_page(options: argparse.Namespace) -> str | None:
    """Return the path of ``--error-page``, which may be relative to the current or to the served directory."""
    if options.error_page is None:
        return None
    given: str = options.error_page
    for path in (given, os.path.join(options.directory, given)):
        if os.path.isfile(path):
            return os.path.abspath(path)
    _fail(f"the error page {options.error_page!r} is not a file")


# Listening


def _listening(listen: Callable[[], T], address: Address) -> T:
    """Call *listen*, and return its result; if *address* cannot be listened at, print why, and exit."""
    try:
        return listen()
    except (OSError, UnicodeError, ValueError) as error:  # UnicodeError: a text that cannot be the name of a host
        _fail(_in_words(error, address))
    except AttributeError:
        if hasattr(socket, "AF_UNIX"):
            raise
        _fail("this system has no unix sockets")


def _in_words(error: Exception, address: Address) -> str:
    """Return the message (str): why the server cannot listen at *address*, and what to do."""
    code = getattr(error, "errno", None)
    usual = str(getattr(error, "strerror", None) or error)
    if isinstance(address, Path):
        if code != errno.EADDRINUSE or not address.exists():  # it may have a {worker} in it
            return usual
        return f"cannot listen at {address}: " + ("it is in use" if address.is_socket() else "it is a file, no socket")
    host, port = address
    where = f"cannot listen at {_netloc(host, port)}" if host else "cannot listen"
    if code == errno.EADDRINUSE:
        return f"{where}: port {port} is in use; try --port 0"
    if code in (errno.EACCES, errno.EPERM) and port < _FIRST_FREE_PORT:
        return f"{where}: port {port} needs root; try {8443 if port == 443 else 8080}"
    if code == errno.EADDRNOTAVAIL:
        return f"{where}: this machine has no such address"
    if isinstance(error, socket.gaierror):
        return f"{where}: there is no host of this name"
    return usual


def _announce(options: argparse.Namespace, addresses: Iterable[Any]) -> None:
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
    _show(f"Serving {directory} at {scheme}://{_netloc('localhost' if everywhere else host, port)}/ ...")
    if everywhere:
        for each in _own_addresses(host == "::"):
            _show(f"        and at {scheme}://{_netloc(each, port)}/")


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


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# Ending


class _Ending(asyncore.dispatcher):
    """Shuts *server* down at a signal, as an event of the loop.

    A signal handler that does so might run just before the loop begins to wait, and would not end the wait.
    """

    def __init__(self, server: http_server, grace: float) -> None:
        self.server = server
        self.grace = grace
        self.signals = CaughtSignals(_WORDS)
        self.signals.__enter__()
        super().__init__(self.signals.socket)

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        for number in self.signals.take()[:1]:
            self.close()
            for each in _WORDS:
                signal.signal(each, lambda number, frame: sys.exit(1))  # a second one ends the process at once
            self.server.shut_down(self.grace)
            call_later(0, _say, _WORDS[number])  # after the pass in which the server stops listening, if none waits

    def close(self) -> None:
        self.signals.__exit__()
        super().close()


def _printable(text: str) -> str:
    """Return *text*, with characters escaped that standard output cannot encode."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"  # there may be no standard output
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _show(line: str) -> None:
    try:
        print(line, flush=True)
    except OSError:  # a full disk, or a pipe that is closed, must not prevent serving
        sys.stdout = None  # else the interpreter would try again at its end, and print a traceback


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # a full disk must not prevent a graceful end
        print(f"{PROGRAM}: {message}", file=sys.stderr)


def _fail(message: str) -> NoReturn:
    _say(message)
    sys.exit(2)


if __name__ == "__main__":
    main()
