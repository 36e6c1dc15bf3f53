"""What a request makes its answer depend on: the validators that it names, and the range that it wants.

Functions of *index*, the dict of lower-case names to a value, or to a list where a name was repeated.
Sources: RFC 9110, sections 8.8, 13 and 14.
"""

import re
import time
from calendar import timegm
from email.utils import formatdate
from functools import lru_cache

__all__ = ["format_date", "parse_date", "status_for", "wanted_range"]

Index = dict[str, str | list[str]]

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = "([0-9]{2}):([0-9]{2}):([0-9]{2})"
_MONTH = f"({'|'.join(_MONTHS)})"
_match_date = re.compile(f"{_DAY}, ([0-9]{{2}}) {_MONTH} ([0-9]{{4}}) {_CLOCK} GMT").fullmatch
_match_old_date = re.compile(
    f"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, ([0-9]{{2}})-{_MONTH}-([0-9]{{2}}) {_CLOCK} GMT"
).fullmatch
_match_c_date = re.compile(f"{_DAY} {_MONTH} ([0-9]{{2}}| [0-9]) {_CLOCK} ([0-9]{{4}})").fullmatch

_find_tags = re.compile('(?:W/)?"[!\x23-\x7e\x80-\xff]*"').findall
_match_range = re.compile("bytes=[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*", re.IGNORECASE).fullmatch
_MOST_DIGITS = 18  # of a position; a longer number is beyond the end of any file

format_date = lru_cache(maxsize=1024)(lambda seconds: formatdate(seconds, usegmt=True))
"""Return the HTTP-date (str) of *seconds* since the epoch (int)."""


def parse_date(text: str) -> int | None:
    """Return the seconds since the epoch of an HTTP-date in any of its forms (RFC 9110, section 5.6.7), or None."""
    if found := _match_date(text):
        day, month, year, *clock = found.groups()
    elif found := _match_old_date(text):
        day, month, short, *clock = found.groups()
        this_year = time.gmtime().tm_year
        full = this_year - this_year % 100 + int(short)
        year = str(full - 100 if full > this_year + 50 else full)
    elif found := _match_c_date(text):
        month, day, *clock, year = found.groups()
    else:
        return None
    hour, minute, second = map(int, clock)
    if not (1 <= int(day) <= 31 and hour < 24 and minute < 60 and second <= 60):
        return None
    return timegm((int(year), _MONTHS.index(month) + 1, int(day), hour, minute, second))


def _value(index: Index, name: str) -> str | None:
    value = index.get(name)
    return ", ".join(value) if isinstance(value, list) else value


def _names(value: str, etag: str, weakly: bool) -> bool:
    """Tell whether *value*, of If-Match or If-None-Match, names *etag*, which is strong."""
    if value.strip(" \t") == "*":
        return True
    return any(etag == (tag.removeprefix("W/") if weakly else tag) for tag in _find_tags(value))


def status_for(index: Index, etag: str, modified: int) -> int:
    """Return the status of the answer to a GET or HEAD for what has *etag* and was *modified* (seconds): 200, 304, 412.

    Source: RFC 9110, section 13.2.2, for the order.
    """
    if (wanted := _value(index, "if-match")) is not None:
        if not _names(wanted, etag, False):
            return 412
    elif (text := _value(index, "if-unmodified-since")) is not None:
        date = parse_date(text)
        if date is not None and modified > date:
            return 412
    if (known := _value(index, "if-none-match")) is not None:
        return 304 if _names(known, etag, True) else 200
    if (text := _value(index, "if-modified-since")) is not None:
        date = parse_date(text)
        # One to come is not from us: nothing that we send was modified after it was sent.
        if date is not None and modified <= date <= time.time():
            return 304
    return 200


def wanted_range(index: Index, size: int, etag: str, modified: int) -> tuple[int, int] | None:
    """Return offset and count of the part that a GET wants of *size* octets, None for all of them.

    A count of 0 means that there is no such part.  All is given, too, for what is malformed, for several
    ranges, which a server may do, and if it is no longer what If-Range says that the client has a part of.
    """
    found = _match_range(_value(index, "range") or "")
    if found is None or not _is_current(index, etag, modified):
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        count = _position(suffix)
        if count and not size:
            return None
        return max(size - count, 0), min(count, size)
    start = _position(first)
    end = _position(last) + 1 if last else max(size, start + 1)
    return (start, max(min(end, size) - start, 0)) if end > start else None


def _position(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _is_current(index: Index, etag: str, modified: int) -> bool:
    condition = _value(index, "if-range")
    if condition is None:
        return True
    # A date that was the present when it was sent does not tell apart what was written twice within its second.
    return condition == etag or (parse_date(condition) == modified and modified < int(time.time()))
