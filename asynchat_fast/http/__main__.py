"""Serve the files of a directory, as ``python -m http.server`` does."""

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

from .. import __version__, asyncore, loop
from .access_log import FORMATS
from .files import file_handler
from .server import http_server
from .trees import POLICIES

__all__ = ["main"]

_PROGRAM = "asynchat-fast-http"
_GRACE = 10  # seconds that clients have for what they asked for, when the server is told to end


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what *arguments* say (strs), None for those of the command line."""
    options = _parser().parse_args(arguments)
    if not os.path.isdir(options.directory):
        _fail(f"{options.directory!r} is not a directory")
    try:
        server = http_server((options.bind, options.port), _handler_class(options), log=_log(options))
    except (OSError, UnicodeError) as error:  # UnicodeError: what cannot be the name of a host
        _fail(str(getattr(error, "strerror", None) or error))
    host, port = server.addr[:2]
    where = f"[{host}]" if ":" in host else host
    try:
        if threading.current_thread() is threading.main_thread():  # no other may deal with signals
            _Wakening(server)
        directory = _printable(os.path.abspath(options.directory))
        print(f"Serving {directory} at http://{where}:{port}/ ...", flush=True)
        loop()
    except KeyboardInterrupt:
        print(f"{_PROGRAM}: interrupted", file=sys.stderr)
    finally:
        asyncore.close_all(ignore_all=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_PROGRAM, description="Serve the files of a directory over HTTP.")
    parser.add_argument("port", nargs="?", type=_port, default=8000, help="where to listen (default: 8000; 0: any)")
    parser.add_argument("-b", "--bind", metavar="ADDR", default="", help="address to listen at (default: all)")
    parser.add_argument(
        "-d", "--directory", metavar="DIR", default=os.curdir, help="what to serve (default: the current directory)"
    )
    parser.add_argument(
        "--symlinks",
        choices=POLICIES,
        default=file_handler.symlinks,
        help="follow symbolic links that stay within the directory, or all, or refuse them (default: %(default)s)",
    )
    parser.add_argument(
        "--log-format", choices=sorted(FORMATS), default="common", help="of the access log (default: %(default)s)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="write no access log")
    parser.add_argument("--version", action="version", version=f"asynchat_fast {__version__}")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) < 65536 and len(text) < 6):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, which is a number up to 65535")
    return int(text)


def _handler_class(options: argparse.Namespace) -> type[file_handler]:
    class handler(file_handler):
        directory = os.path.abspath(options.directory)
        symlinks = options.symlinks
        log_format = options.log_format

    return handler


def _log(options: argparse.Namespace) -> Any:
    return None if options.quiet else sys.stderr


class _Wakening(asyncore.dispatcher):
    """Shut *server* down when SIGTERM comes, from within the loop, as a signal may come amid anything."""

    def __init__(self, server: http_server) -> None:
        self.server = server
        ours, self.signalled = socket.socketpair()
        super().__init__(ours)
        self.signalled.setblocking(False)
        self.wakeup_before = signal.set_wakeup_fd(self.signalled.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda number, frame: None)

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        if signal.SIGTERM in self.recv(64):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # who says it twice means it
            self.close()
            self.server.shut_down(_GRACE)
            print(f"{_PROGRAM}: terminated", file=sys.stderr)

    def close(self) -> None:
        signal.set_wakeup_fd(self.wakeup_before)
        self.signalled.close()
        super().close()


def _printable(text: str) -> str:
    """Return *text* with what standard output cannot encode escaped."""
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _fail(message: str) -> NoReturn:
    print(f"{_PROGRAM}: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
