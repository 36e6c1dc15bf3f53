"""The access log: a line for each response, in the formats that log analysers know."""

import contextlib
import json
import logging
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from .dates import clf_time, iso_time

__all__ = ["FORMATS", "log_writer", "report_failure"]

_access = logging.getLogger("asynchat_fast.http.access")

_MOST_LOGGED = 8192  # characters of a field: as many as a request line may have

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), ord('"'), ord("\\"))}

# The logs whose failure was reported, so that each is reported once.
_failed: deque[Any] = deque(maxlen=16)


def log_writer(log: Any) -> Callable[[str], object] | None:
    """Return a function that writes a line (str) to *log* and never raises; None if *log* takes no lines.

    *log* is as for ``http_request_handler``; TypeError for anything else.
    """
    if log is None:
        if not _access.isEnabledFor(logging.INFO):
            return None
        log = _access
    write = _unguarded(log)

    def write_line(line: str) -> None:
        try:
            write(line)
        except Exception as error:  # a disk that is full must not cost a response
            report_failure(log, error)

    return write_line


def _unguarded(log: Any) -> Callable[[str], object]:
    if isinstance(log, (logging.Logger, logging.LoggerAdapter)):
        return lambda line: log.info("%s", line)
    writer: Callable[[str], object]
    if callable(log):
        writer = log
        return writer
    if hasattr(log, "log"):
        writer = log.log
        return writer
    if hasattr(log, "write"):
        return lambda line: log.write(f"{line}\n")
    raise TypeError(f"{log!r} cannot be logged to: it is no function and no logger, and has neither log() nor write()")


def report_failure(log: Any, error: Exception) -> None:
    """Print on stderr that *error* was raised by *log*, a log or a method that writes to one; once for each *log*."""
    if any(log is each for each in _failed):
        return
    _failed.append(log)
    with contextlib.suppress(Exception):  # stderr may be the log that fails, or None
        kind = type(error).__name__
        print(f"asynchat_fast: the access log cannot be written ({kind}: {error}); serving goes on", file=sys.stderr)


def _escaped(text: str) -> str:
    """Return *text* with control characters, quotation marks and backslashes escaped: they could forge a log line."""
    return text.translate(_ESCAPES)


def _field(handler: Any, name: str) -> str:
    """Return the value of the field *name*, cut to the length that is logged; it may be as long as a head."""
    value: str = handler.headers.get(name, "")
    return value[:_MOST_LOGGED]


def common(handler: Any, status: int | str, size: int | str) -> str:
    """Return a line in the Common Log Format."""
    request = _escaped(handler.requestline) or "-"
    return f'{_escaped(handler.address_string())} - - [{clf_time()}] "{request}" {status} {size or "-"}'


def combined(handler: Any, status: int | str, size: int | str) -> str:
    """Return a line in the Combined Log Format."""
    referer, agent = (_escaped(_field(handler, name)) or "-" for name in ("referer", "user-agent"))
    return f'{common(handler, status, size)} "{referer}" "{agent}"'


def as_json(handler: Any, status: int | str, size: int | str) -> str:
    """Return a line that is a JSON object."""
    method, target, protocol = [*handler.requestline.split(" ", 2), "", "", ""][:3]
    fields = {
        "time": iso_time(),
        "client": handler.address_string(),
        "method": method,
        "target": target,
        "protocol": protocol,
        "status": status,
        "bytes": size,
        "referer": _field(handler, "referer"),
        "user_agent": _field(handler, "user-agent"),
    }
    return json.dumps(fields)


_GREEN, _CYAN, _YELLOW, _RED, _DIM, _OFF = (f"\x1b[{code}m" for code in (32, 36, 33, 31, 2, 0))
_COLOURS = {"2": _GREEN, "3": _CYAN, "4": _YELLOW, "5": _RED}


def coloured(handler: Any, status: int | str, size: int | str) -> str:
    """Return a line in the Common Log Format for a terminal: green, cyan, yellow or red by the status."""
    request = _escaped(handler.requestline) or "-"
    colour = _COLOURS.get(str(status)[:1], "")
    client = f"{_escaped(handler.address_string())} - - [{clf_time()}]"
    return f'{_DIM}{client}{_OFF} "{request}" {colour}{status}{_OFF} {size or "-"}'


FORMATS = {"common": common, "combined": combined, "json": as_json, "coloured": coloured}
"""The formats by name: functions of the handler, the status and the size of the body, which return a line (str)."""
