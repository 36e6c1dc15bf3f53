"""Serve the files of a directory, as ``python -m http.server`` does."""

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from .. import asyncore, call_later, loop
from .._printing import printing
from ..workers.caught_signals import CaughtSignals
from .command_line import DEFAULT_PORT, PROGRAM, Address, parser
from .files import file_handler
from .messages import announce, fail, in_words, say
from .server import http_server

__all__ = ["main"]

T = TypeVar("T")

_WORDS: dict[int, str] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


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
        announce(options, [server.addr])
        loop()
    except KeyboardInterrupt:
        say("interrupted")
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
        announce(options, [sock.getsockname() for sockets in slots for sock in sockets])
        return slots

    def say_why(number: int) -> None:
        say(_WORDS[number])

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
        fail(f"cannot write {path}: {error.strerror}")


def _need_posix(option: str) -> None:
    if os.name != "posix":
        fail(f"{option} takes fork() and signals, which this system has not")


def _directory(given: str) -> str:
    """Return the absolute path of the directory *given*; exit if there is none."""
    if not os.path.isdir(given):
        fail(f"{given!r} is not a directory")
    try:
        return os.path.abspath(given)
    except FileNotFoundError:
        fail("the current directory has been removed")


def _address(options: argparse.Namespace) -> Address:
    """Return the address to listen at, as ``http_server`` takes it."""
    given: Address | int | None = options.address
    if isinstance(given, Path):
        if options.bind is not None or options.port is not None:
            fail("a unix socket has neither --bind nor --port")
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
                fail("--tls-self-signed makes a certificate: it goes with neither --tls-cert nor --tls-key")
            return tls_context.self_signed()
        if not options.tls_cert:
            fail("--tls-key is the key of a certificate: say --tls-cert, too")
        return tls_context.from_files(options.tls_cert, options.tls_key)
    except tls_context.NoContext as error:
        fail(str(error))


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
    fail(f"the error page {options.error_page!r} is not a file")


def _listening(listen: Callable[[], T], address: Address) -> T:
    """Call *listen*, and return its result; if *address* cannot be listened at, print why, and exit."""
    try:
        return listen()
    except (OSError, UnicodeError, ValueError) as error:  # UnicodeError: a text that cannot be the name of a host
        fail(in_words(error, address))
    except AttributeError:
        if hasattr(socket, "AF_UNIX"):
            raise
        fail("this system has no unix sockets")


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
            call_later(0, say, _WORDS[number])  # after the pass in which the server stops listening, if none waits

    def close(self) -> None:
        self.signals.__exit__()
        super().close()


if __name__ == "__main__":
    main()
