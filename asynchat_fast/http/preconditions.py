"""Preconditions: fields of a request that compare the client's version of a file with the present one.

These are functions of *headers*, the fields of the request: a mapping whose names ignore case.
Source: RFC 9110, sections 8.8 and 13.
"""

import re
import time
from collections.abc import Mapping

from .dates import parse_date

__all__ = ["range_applies", "status_for"]

_find_tags = re.compile('(?:W/)?"[!\x23-\x7e\x80-\xff]*"').findall


def status_for(headers: Mapping[str, str], etag: str, modified: int) -> int:
    """Return the status, 200, 304 or 412, for a GET or HEAD of a file with the strong *etag* (str).

    *modified* is its time of modification, in seconds since the epoch (int).  The fields are evaluated in the order of
    RFC 9110, section 13.2.2.  A malformed date is ignored.
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
        # A date in the future cannot be a Last-Modified of ours, and says nothing about the client's version.
        if date is not None and modified <= date <= time.time():
            return 304
    return 200


def _names(value: str, etag: str, *, weakly: bool) -> bool:
    """Return whether *value*, of If-Match or If-None-Match, has *etag* in it."""
    if value.strip(" \t") == "*":
        return True
    return any(etag == (tag.removeprefix("W/") if weakly else tag) for tag in _find_tags(value))


def range_applies(headers: Mapping[str, str], etag: str, modified: int) -> bool:
    """Return whether If-Range, if there is one, allows to send a part; *etag* and *modified* as in ``status_for()``."""
    condition = headers.get("if-range")
    if condition is None or condition == etag:
        return True
    # A file that was modified within the present second may be modified again in it, which the date could not show.
    return parse_date(condition) == modified and modified < int(time.time())
