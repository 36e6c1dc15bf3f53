"""Preferences of a client, from Accept-Encoding and Accept."""

import pytest

from asynchat_fast.http.negotiation import preferred_coding, wants_html

ALL = ("zstd", "br", "gzip")


@pytest.mark.parametrize(
    ("value", "available", "coding"),
    [
        (None, ALL, None),
        ("", ALL, None),
        ("gzip", ALL, "gzip"),
        ("gzip, deflate, br, zstd", ALL, "zstd"),
        ("gzip, deflate, br", ALL, "br"),
        ("gzip, deflate, br, zstd", ("gzip",), "gzip"),
        ("gzip, br", (), None),
        ("deflate", ALL, None),
        ("GZIP", ALL, "gzip"),
        ("x-gzip", ALL, "gzip"),
        ("gzip;q=0", ALL, None),
        ("gzip;q=0.000, br;q=0.001", ALL, "br"),
        ("gzip;q=1.0, br;q=0.5", ALL, "gzip"),
        ("gzip ; q=0.3 , br;Q=0.4", ALL, "br"),
        ("*", ALL, "zstd"),
        ("*;q=0.5, gzip", ALL, "gzip"),
        ("*, zstd;q=0", ALL, "br"),
        ("*;q=0", ALL, None),
        ("identity", ALL, None),
        ("identity;q=0, gzip", ALL, "gzip"),
        ("identity;q=0.5, gzip;q=0.4", ALL, None),
        ("identity;q=0.5, gzip;q=0.5", ALL, "gzip"),
        ("gzip;q=2", ALL, None),
        ("gzip;q=-1", ALL, None),
        ("gzip;q=0.1234", ALL, None),
        ("gzip;q=", ALL, None),
        ("gzip;q=nan, br", ALL, "br"),
        ("gzip br", ALL, None),
        (",, gzip ,", ALL, "gzip"),
        ("gzip" * 10_000, ALL, None),
    ],
)
def test_codings(value, available, coding):
    assert preferred_coding(value, available) == coding


@pytest.mark.parametrize(
    ("value", "wants"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("text/html", True),
        ("TEXT/HTML", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", True),
        ("text/html;level=1;q=0.4", True),
        ("text/html;q=0, */*", False),
        ("application/xhtml+xml", True),
        ("application/json", False),
        ("application/json, text/plain, */*", False),
        ("image/avif,image/webp,*/*;q=0.8", False),
    ],
)
def test_clients_that_ask_for_a_page(value, wants):
    assert wants_html(value) is wants
