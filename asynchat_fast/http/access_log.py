"""The access log: a line for each answer, in the formats that log analysers know."""

import logging
import time
from collections.abc import Callable
from typing import Any

__all__ = ["FORMATS", "log_writer"]

_access = logging.getLogger("asynchat_fast.http.access")

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), ord('"'), ord("\\"))}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def log_writer(log: Any) -> Callable[[str], object] | None:
    """Return the function that writes a line (str) to *log*, None if nobody wants any; see ``http_request_handler``."""
    if log is None:
        return _access.info if _access.isEnabledFor(logging.INFO) else None
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
        return lambda line: log.write(line + "\n")
    raise TypeError(f"{log!r} cannot be logged to: it is no function and no logger, and has neither log() nor write()")


def _escaped(text: str) -> str:
    """Return *text* without what could begin a new line, end a quotation, or move the cursor of a terminal."""
    return text.translate(_ESCAPES)


def _time() -> str:
    now = time.localtime()
    offset = now.tm_gmtoff // 60
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}{abs(offset) % 60:02d}"
    return time.strftime(f"%d/{_MONTHS[now.tm_mon - 1]}/%Y:%H:%M:%S {zone}", now)


def common(handler: Any, status: int | str, octets: int | str) -> str:
    """Return a line in the Common Log Format."""
    request = _escaped(handler.requestline) or "-"
    return f'{_escaped(handler.address_string())} - - [{_time()}] "{request}" {status} {octets or "-"}'


def combined(handler: Any, status: int | str, octets: int | str) -> str:
    """Return a line in the Combined Log Format."""
    referer, agent = (_escaped(handler.headers.get(name, "")) or "-" for name in ("referer", "user-agent"))
    return f'{common(handler, status, octets)} "{referer}" "{agent}"'


FORMATS = {"common": common, "combined": combined}
"""The formats by name: functions of the handler, the status and the octets of the body that return a line."""
