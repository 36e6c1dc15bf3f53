"""Dates: all functions that parse or format one, for HTTP and for logs.

Sources: RFC 9110, section 5.6.7; RFC 3339 for JSON.
"""

import re
import time
from datetime import datetime, timezone
from functools import lru_cache

__all__ = ["clf_time", "format_date", "iso_time", "parse_date"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_DAY = f"(?:{'|'.join(_DAYS)})"
_LONG_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_CLOCK = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_match_date = re.compile(f"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_CLOCK} GMT").fullmatch
_match_rfc850 = re.compile(f"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} GMT").fullmatch
_match_asctime = re.compile(f"{_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_CLOCK} (?P<year>[0-9]{{4}})").fullmatch


@lru_cache(maxsize=1024)
def format_date(seconds: int) -> str:
    """Return the HTTP-date of *seconds* since the epoch."""
    at = time.gmtime(seconds)
    return (
        f"{_DAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04d} "
        f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT"
    )


def parse_date(text: str) -> int | None:
    """Return the seconds since the epoch of an HTTP-date in any of its three forms.

    None for any other text, and for impossible dates, such as the year 0 or 30 February.
    """
    found = _match_date(text) or _match_rfc850(text) or _match_asctime(text)
    if found is None:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        year = _full_year(year)
    second = int(found["second"])
    leap = second == 60  # the grammar allows leap seconds, datetime does not
    month = _MONTHS.index(found["month"]) + 1
    clock = (int(found["hour"]), int(found["minute"]), second - leap)
    try:
        return int(datetime(year, month, int(found["day"]), *clock, tzinfo=timezone.utc).timestamp()) + leap
    except ValueError:
        return None


def _full_year(short: int) -> int:
    """Return the latest year that ends in the two digits *short* and is at most 50 years ahead."""
    this_year = time.gmtime().tm_year
    year = this_year - this_year % 100 + short
    return year - 100 if year > this_year + 50 else year


def clf_time() -> str:
    """Return the present local time in the format of the Common Log Format (str)."""
    return _clf_time(int(time.time()))


@lru_cache(maxsize=2)
def _clf_time(seconds: int) -> str:
    at = time.localtime(seconds)
    return time.strftime(f"%d/{_MONTHS[at.tm_mon - 1]}/%Y:%H:%M:%S {_offset(at)}", at)


def iso_time() -> str:
    """Return the present local time in ISO format (str), to the millisecond, with its offset from UTC."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _offset(at: time.struct_time) -> str:
    minutes = at.tm_gmtoff // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"
