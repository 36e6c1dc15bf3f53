"""Ranges: the part of a file that a request asks for.  Source: RFC 9110, section 14."""

import re

__all__ = ["wanted_part"]

_match_range = re.compile("bytes=[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*", re.IGNORECASE).fullmatch
_MAX_DIGITS = 18  # of a position: a longer number is behind the end of any file


def wanted_part(value: str, size: int) -> tuple[int, int] | None:
    """Return offset and count of the bytes that *value*, of a Range field, asks for in a file of *size* bytes.

    None for the whole file, if *value* is malformed, or has several ranges, which a server may ignore.
    The count is 0 if the file has no such part.
    """
    found = _match_range(value)
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        count = min(_position(suffix), size)
        if not size and _position(suffix):
            return None  # any number of last bytes of an empty file is the whole file
        return size - count, count
    start = _position(first)
    if not last:
        return start, max(size - start, 0)
    end = _position(last)
    if end < start:
        return None
    return start, max(min(end + 1, size) - start, 0)


def _position(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS
