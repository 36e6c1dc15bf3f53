"""What a request makes its response depend on: the validators of the file that the client knows.

Functions of *headers*, the fields of the request, a mapping in whose names case does not matter.
Source: RFC 9110, sections 8.8 and 13.
"""

import re
import time
from collections.abc import Mapping

from .dates import parse_date

__all__ = ["range_applies", "status_for"]

_find_tags = re.compile('(?:W/)?"[!\x23-\x7e\x80-\xff]*"').findall


def status_for(headers: Mapping[str, str], etag: str, modified: int) -> int:
    """Return the status for a GET or HEAD of what has the strong *etag* and was *modified* (seconds): 200, 304 or 412.

    The order of the fields is that of RFC 9110, section 13.2.2.  A date that is none is ignored.
    """
    if (wanted := headers.get("if-match")) is not None:
        if not _names(wanted, etag, weakly=False):
            return 412
    elif (text := headers.get("if-unmodified-since")) is not None:
        date = parse_date(text)
        if date is not None and modified > date:
            return 412
    if (known := headers.get("if-none-match")) is not None:
        return 304 if _names(known, etag, weakly=True) else 200
    if (text := headers.get("if-modified-since")) is not None:
        date = parse_date(text)
        # A date to come is not ours: nothing that was sent was modified after it was sent.
        if date is not None and modified <= date <= time.time():
            return 304
    return 200


def _names(value: str, etag: str, *, weakly: bool) -> bool:
    """Tell whether *value*, of If-Match or If-None-Match, names *etag*."""
    if value.strip(" \t") == "*":
        return True
    return any(etag == (tag.removeprefix("W/") if weakly else tag) for tag in _find_tags(value))


def range_applies(headers: Mapping[str, str], etag: str, modified: int) -> bool:
    """Tell whether If-Range, if there is one, lets a part be sent of what has *etag* and was *modified* (seconds)."""
    condition = headers.get("if-range")
    if condition is None or condition == etag:
        return True
    # A date that is the present does not tell apart what is written twice within its second.
    return parse_date(condition) == modified and modified < int(time.time())
