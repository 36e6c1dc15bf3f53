"""The options of ``asynchat-fast-http``, and the functions that check their values."""

import argparse
import os
import re
import sys
from pathlib import Path
from typing import NoReturn

from .._version import __version__
from .access_log import FORMATS
from .document_root import POLICIES
from .files import file_handler
from .response_head import field_line

__all__ = ["DEFAULT_PORT", "PROGRAM", "Address", "parser"]

PROGRAM = "asynchat-fast-http"
DEFAULT_PORT = 8000

Address = tuple[str, int] | Path

# The server itself adds these fields to responses; a response with two of one would be malformed.
_OWN_FIELDS = ("connection", "content-encoding", "content-length", "content-range", "date", "transfer-encoding")

_EPILOG = """\
examples:
  asynchat-fast-http                          this directory, at http://localhost:8000/
  asynchat-fast-http 8080 -d public           another port and directory
  asynchat-fast-http 127.0.0.1:8080           for this machine only
  asynchat-fast-http /run/files.sock          at a unix socket, for a proxy
  asynchat-fast-http --spa -d dist            a single-page application
  asynchat-fast-http --tls-self-signed        over HTTPS, for testing
  asynchat-fast-http --auth me:password.txt   with a password
  asynchat-fast-http --workers 4              by several processes; SIGHUP replaces them
  asynchat-fast-http --header "Cache-Control: no-store" --header "Access-Control-Allow-Origin: *"
"""


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = _Parser(
        prog=PROGRAM,
        description="Serve the files of a directory over HTTP.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "address",
        nargs="?",
        type=_where,
        metavar="ADDRESS",
        help=f"where to listen: PORT, ADDRESS:PORT, or the path of a unix socket (default: {DEFAULT_PORT})",
    )
    parser.add_argument(
        "-p", "--port", type=_port, metavar="N", help="the port, whatever ADDRESS says; 0 means any free port"
    )
    parser.add_argument("-b", "--bind", metavar="ADDR", help="the address to listen at (default: all)")
    _add_tls_options(parser)
    _add_site_options(parser)
    _add_log_options(parser)
    _add_process_options(parser)
    parser.add_argument("--version", action="version", version=f"asynchat_fast {__version__}")
    return parser


def _add_tls_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--tls-cert", metavar="FILE", help="serve HTTPS with the certificate chain in FILE")
    add("--tls-key", metavar="FILE", help="the key of the certificate (default: in the same file)")
    add("--tls-self-signed", action="store_true", help="serve HTTPS with a certificate made at the start, for testing")


def _add_site_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-d", "--directory", metavar="DIR", default=os.curdir, help="the directory to serve (default: the current one)")
    add(
        "--symlinks",
        choices=POLICIES,
        default=file_handler.symlinks,
        help="which symbolic links to follow: those within the directory, all, or none (default: %(default)s)",
    )
    add("--hidden", action="store_true", help="serve and list names that begin with a dot, too")
    add("--no-listing", action="store_true", help="do not list folders that have no index.html")
    add("--spa", action="store_true", help="send index.html to browsers for pages that do not exist")
    add("--error-page", metavar="FILE", help="the page to send with status 404")
    add(
        "--header",
        metavar="NAME:VALUE",
        type=_header,
        action="append",
        default=[],
        help="a field to add to each response; may be given several times",
    )
    add(
        "--auth",
        metavar="USER:FILE",
        type=_credentials,
        help="require USER and, as the password, the first line of FILE",
    )


def _add_log_options(parser: argparse.ArgumentParser) -> None:
    coloured = _is_colour_wanted()
    parser.add_argument(
        "--log-format",
        choices=sorted(FORMATS),
        default="coloured" if coloured else "common",
        help="the format of the access log on stderr (default: coloured on a terminal, else common)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="write no access log")


def _add_process_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--workers",
        type=_count,
        default=1,
        metavar="N",
        help="serve by N processes, which a parent restarts, and replaces at SIGHUP (default: 1, without a parent)",
    )
    add(
        "--pid-file",
        metavar="FILE",
        help="write the number of the process that takes signals to FILE, and remove FILE at the end",
    )
    add(
        "--grace",
        type=_seconds,
        default=10.0,
        metavar="S",
        help="seconds for responses to be completed after SIGTERM or Ctrl-C (default: %(default)g)",
    )


def _is_colour_wanted() -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or os.name == "nt":
        return False
    return sys.stderr is not None and sys.stderr.isatty()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) < 65536 and len(text) < 6):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, which is a number up to 65535")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) > 0 and len(text) < 6):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, which is at least 1")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]+)?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return float(text)


def _where(text: str) -> Address | int:
    """Return the address in *text*: a pair of host and port, a Path, or the port only (int)."""
    if os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text!r} is a directory; serve it by --directory {text}")
    if "/" in text or os.sep in text:
        return Path(text)
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]*)):([^:]*)", text)
    if found:
        return (found[1] or found[2], _port(found[3]))
    if text.isascii() and text.lstrip("+-").isdigit():
        return _port(text)
    raise argparse.ArgumentTypeError(
        f"{text!r} is none of PORT, ADDRESS:PORT, [IPv6 ADDRESS]:PORT, and the path of a unix socket with a / in it"
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    value = value.strip(" \t")
    try:
        field_line(name, value)
    except ValueError:  # which includes values beyond Latin-1
        colon = ""
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:VALUE, as in 'Cache-Control: no-store'")
    if name.lower() in _OWN_FIELDS:
        raise argparse.ArgumentTypeError(f"{name} is made by the server itself")
    return name, value


def _credentials(text: str) -> tuple[str, str]:
    """Return the user and the password for *text*, "USER:FILE"; the password is the first line of FILE."""
    user, colon, path = text.partition(":")
    if not (user and colon and path):
        raise argparse.ArgumentTypeError("this is not USER:FILE, with the password in the first line of FILE")
    try:
        with open(path, encoding="utf-8-sig") as file:  # Windows' editors begin files with a byte order mark
            password = file.readline().rstrip("\r\n")
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise argparse.ArgumentTypeError(f"the password cannot be read from {path!r}: {why}") from None
    if not password:
        raise argparse.ArgumentTypeError(f"the first line of {path!r}, which is to be the password, is empty")
    return user, password
