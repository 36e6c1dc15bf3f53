"""The lines of the head of a response.

The functions raise ValueError for text that must not be in a line, such as CR or LF, and TypeError for wrong types.
"""

import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, TypeAlias

from .dates import format_date
from .syntax import is_field_value, is_token

__all__ = ["Headers", "Value", "beginning", "date_line", "field_line", "pairs_of", "status_line"]

Value: TypeAlias = str | bytes | int
"""The types of the value of a field."""

Headers: TypeAlias = Mapping[str, Value] | Iterable[tuple[str, Value]]
"""Fields to be sent: pairs of name and value, or a mapping."""

_LONG = 256  # characters: a value of that length or more is not cached


@lru_cache(maxsize=256, typed=True)  # typed: 200.0 is equal to 200, but must raise
def status_line(status: int, reason: str | None) -> bytes:
    """Return the status line, with the usual reason if *reason* is None."""
    if not isinstance(status, int):
        raise TypeError(f"status is a number (int), not {status!r}")
    if not 100 <= status <= 599:
        raise ValueError(f"{status} is not the status of a response")
    if reason is None:
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = ""
    line = f"HTTP/1.1 {status:d} {reason}".encode("latin-1")
    if not is_field_value(line):
        raise ValueError(f"a reason must not have line ends in it, as {reason!r} has")
    return line + b"\r\n"


@lru_cache(maxsize=256, typed=True)  # typed: 200.0 is equal to 200, but must raise
def beginning(status: int, reason: str | None, content_type: str, server: str) -> bytes:
    """Return the lines of the status, Content-Type and Server, without empty ones; *status* is at least 200."""
    lines = [status_line(status, reason)]
    if status < 200:
        raise ValueError(f"{status} is not the status of a response that ends a request")
    if not isinstance(content_type, str):
        raise TypeError(f"content_type is a str, not {content_type!r}")
    if content_type:
        lines.append(field_line("Content-Type", content_type))
    if server:
        lines.append(field_line("Server", server))
    return b"".join(lines)


def pairs_of(headers: Any) -> Iterable[tuple[str, Value]]:
    """Return *headers* as pairs of name and value; TypeError if they are neither pairs nor a mapping."""
    if isinstance(headers, Mapping):
        return headers.items()
    if isinstance(headers, (str, bytes)) or not hasattr(headers, "__iter__"):
        raise TypeError(f"headers are a mapping, or pairs of name and value, not {headers!r}")
    pairs: Iterable[tuple[str, Value]] = headers
    return pairs


def field_line(name: str, value: Value) -> bytes:
    """Return the line of a field, of *name* (str) and *value* (str, bytes or number)."""
    if type(value) is str and len(value) < _LONG:
        return _short_field_line(name, value)
    return _make_field_line(name, value)


def _make_field_line(name: str, value: Value) -> bytes:
    if not isinstance(name, str):
        raise TypeError(f"the name of a field is a str, not {name!r}")
    if not isinstance(value, (str, bytes, int)):
        raise TypeError(f"the value of {name} is a str, bytes or a number, not {value!r}")
    if not is_token(name):
        raise ValueError(f"{name!r} is not the name of a field")
    data = value if isinstance(value, bytes) else str(value).encode("latin-1")
    if not is_field_value(data):
        raise ValueError(f"the value of {name} must not have CR, LF or NUL in it, as {value!r} has")
    return b"%b: %b\r\n" % (name.encode(), data)


_short_field_line = lru_cache(maxsize=512)(_make_field_line)  # most lines are the same in many responses

_date = (0, b"")  # the last Date line, after the second (since the epoch) for which it was made


def date_line() -> bytes:
    """Return the line of the Date field for the present time."""
    global _date
    now = int(time.time())
    second, line = _date
    if now != second:
        line = b"Date: %b\r\n" % format_date(now).encode()
        _date = now, line
    return line
