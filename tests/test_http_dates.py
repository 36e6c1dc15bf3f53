"""Dates as HTTP and logs write them."""

import re
import time
from datetime import datetime, timedelta
from email.utils import formatdate, parsedate_to_datetime

import pytest

from asynchat_fast.http.dates import clf_time, format_date, iso_time, parse_date


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        ("Sun Nov  6 08:49:37 1994", 784111777),
        ("Sun, 06 Nov 1994 08:49:60 GMT", 784111800),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:00:00 GMT", None),
        ("Sun, 32 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT ", None),
        ("Sun, ٠٦ Nov 1994 08:49:37 GMT", None),
        ("784111777", None),
        ("", None),
    ],
)
def test_dates(text, seconds):
    assert parse_date(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "Sat, 01 Jan 0000 00:00:00 GMT",
        "Sat Jan  1 00:00:00 0000",
        "Mon, 30 Feb 2015 00:00:00 GMT",
        "Sun, 29 Feb 2015 00:00:00 GMT",
        "Wednesday, 31-Jun-15 00:00:00 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun Nov  0 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
        "Sun, 06 Nov 94 08:49:37 GMT",
    ],
)
def test_dates_that_no_calendar_has_are_none(text):
    assert parse_date(text) is None


@pytest.mark.parametrize(
    ("text", "year"), [("Sat, 01 Jan 0001 00:00:00 GMT", 1), ("Fri, 31 Dec 9999 23:59:59 GMT", 9999)]
)
def test_the_first_and_the_last_year(text, year):
    assert datetime(1970, 1, 1).year + parse_date(text) // 31_556_952 in (year - 1, year, year + 1)


def test_two_digits_are_of_a_year_at_most_fifty_years_ahead():
    this_year = time.gmtime().tm_year
    for ahead in range(-49, 51):
        date = parse_date(f"Sunday, 01-Jul-{(this_year + ahead) % 100:02d} 00:00:00 GMT")
        assert time.gmtime(date).tm_year == this_year + ahead


@pytest.mark.parametrize("seconds", [0, 1, 784111777, 951782400, 1582934400, 4102444800, 253402300799])
def test_a_written_date_is_read(seconds):
    text = format_date(seconds)
    assert parse_date(text) == seconds
    assert text == formatdate(seconds, usegmt=True)
    assert parsedate_to_datetime(text).timestamp() == seconds


def test_the_time_of_a_log_line():
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}", clf_time())
    day, month, rest = clf_time().split("/")
    read = datetime.strptime(f"{day}/{month}/{rest}", "%d/%b/%Y:%H:%M:%S %z")
    assert abs(read.timestamp() - time.time()) < 20
    read = datetime.fromisoformat(iso_time())
    assert abs(read.timestamp() - time.time()) < 20
    assert isinstance(read.utcoffset(), timedelta)
