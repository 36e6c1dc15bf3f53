"""The lines of an answer's head; what cannot stand in one is a ValueError."""

import re
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

__all__ = ["beginning", "date_line", "field_line"]

_is_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_LONG = 256  # octets of a value that are too many to keep

_is_value = re.compile(rb"[^\0\r\n]*").fullmatch


@lru_cache(maxsize=256)
def beginning(status: int, reason: str | None, content_type: str, server: str) -> bytes:
    """Return the status line, with the usual reason if *reason* is None, and Content-Type and Server if not empty."""
    if reason is None:
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = ""
    line = f"HTTP/1.1 {status:d} {reason}".encode("latin-1")
    if not _is_value(line):
        raise ValueError(f"a reason must not have line ends in it, as {reason!r} has")
    lines = [line + b"\r\n"]
    if content_type:
        lines.append(field_line("Content-Type", content_type))
    if server:
        lines.append(field_line("Server", server))
    return b"".join(lines)


def field_line(name: str, value: str | bytes | int) -> bytes:
    """Return the line of a field, of *name* (str) and *value* (str, bytes or number)."""
    if type(value) is str and len(value) < _LONG:
        return _short_field_line(name, value)
    return _make_field_line(name, value)


def _make_field_line(name: str, value: str | bytes | int) -> bytes:
    if not _is_token(name):
        raise ValueError(f"{name!r} is not the name of a field")
    octets = value if isinstance(value, bytes) else str(value).encode("latin-1")
    if not _is_value(octets):
        raise ValueError(f"the value of {name} must not have CR, LF or NUL in it, as {value!r} has")
    return b"%b: %b\r\n" % (name.encode(), octets)


_short_field_line = lru_cache(maxsize=512)(_make_field_line)  # most are the same in many answers

_date = (0, b"")  # the second for which it was made, and the line


def date_line() -> bytes:
    """Return the Date field of now."""
    global _date
    now = int(time.time())
    second, line = _date
    if now != second:
        line = b"Date: %b\r\n" % formatdate(now, usegmt=True).encode()
        _date = now, line
    return line
