"""Both head parsers: each refuses the heads that RFC 9112 has a server refuse, at the byte that makes them wrong."""

import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import asynchat_fast
from asynchat_fast.http import head as chosen
from asynchat_fast.http.errors import HTTPError

TOKEN = bytes(byte for byte in range(33, 127) if byte not in b'"(),/:;<=>?@[\\]{}')
VISIBLE = bytes(byte for byte in range(33, 127) if byte != ord("#"))  # a fragment is no part of a target
CONTROLS = [bytes([byte]) for byte in (*range(32), 127) if byte not in b"\t\r\n"]
VALUE = b"\t" + bytes(range(32, 127)) + bytes(range(128, 256))

NAMES = [
    "Host",
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
    "User-Agent",
    "Accept",
    "Accept-Encoding",
    "Cookie",
    "Expect",
    "Upgrade",
    "TE",
    "If-None-Match",
    "Range",
    "sec-ch-ua",
    "Sec-WebSocket-Key",
    "Upgrade-Insecure-Requests",
    "X-Forwarded-For",
    "DNT",
    "Via",
    "Get",
    "X-Unknown",
    "x",
    "y-y",
    "X_1",
    "Hos",
    "Hostt",
    "Content-Lengthy",
    "Content-Lengt",
]


def parser(name):
    """Return the head parser *name*, whichever of them the package has chosen."""
    if name == "plain":
        return chosen.PlainHeadParser
    return pytest.importorskip("asynchat_fast.http._head", reason="the compiled module has not been built")


@pytest.fixture(params=["compiled", "plain"])
def head(request):
    """Each of the two head parsers."""
    return parser(request.param)


def outcome(function, *args):
    """Return the result of *function*, or the status and the reason of the HTTPError it raises."""
    try:
        return function(*args)
    except HTTPError as error:
        return error.status, str(error)


def parsed(*fields, method="GET", target="/", minor=1):
    """Return the expected result of ``parse_head()``."""
    index = {}
    for name, value in fields:
        index.setdefault(name.lower(), []).append(value)
    return (
        method,
        target,
        minor,
        list(fields),
        {name: values if values[1:] else values[0] for name, values in index.items()},
    )


def byte_by_byte(head, data, *limits):
    """Feed *data* to ``check_beginning()``; return its error and how many bytes it took, or None."""
    checked = 0
    for size in range(len(data) + 1):
        checked = outcome(head.check_beginning, data[:size], checked, *limits)
        if isinstance(checked, tuple):
            return checked, size
        assert 0 <= checked <= size
    return None


# Heads to accept

GOOD = {
    "the least": (b"GET / HTTP/1.1", parsed()),
    "1.0": (b"GET / HTTP/1.0", parsed(minor=0)),
    "1.9": (b"GET / HTTP/1.9", parsed(minor=9)),
    "one field": (b"GET / HTTP/1.1\r\nHost: a", parsed(("Host", "a"))),
    "another method": (b"PROPFIND / HTTP/1.1", parsed(method="PROPFIND")),
    "methods have case": (b"get / HTTP/1.1", parsed(method="get")),
    "a method of one byte": (b"! / HTTP/1.1", parsed(method="!")),
    "a method of all bytes": (TOKEN[:64] + b" / HTTP/1.1", parsed(method=TOKEN[:64].decode())),
    "and of the others": (TOKEN[64:] + b" / HTTP/1.1", parsed(method=TOKEN[64:].decode())),
    "a target of all bytes": (b"GET " + VISIBLE + b" HTTP/1.1", parsed(target=VISIBLE.decode())),
    "asterisk-form": (b"OPTIONS * HTTP/1.1", parsed(method="OPTIONS", target="*")),
    "authority-form": (b"CONNECT a:1 HTTP/1.1", parsed(method="CONNECT", target="a:1")),
    "absolute-form": (b"GET http://a/b HTTP/1.1", parsed(target="http://a/b")),
    "a name of all bytes": (b"GET / HTTP/1.1\r\n" + TOKEN + b":1", parsed((TOKEN.decode(), "1"))),
    "a value of all bytes": (b"GET / HTTP/1.1\r\na:." + VALUE, parsed(("a", "." + VALUE.decode("latin-1")))),
    "no value": (b"GET / HTTP/1.1\r\na:\r\nb: \t \r\nc:", parsed(("a", ""), ("b", ""), ("c", ""))),
    "blanks around a value": (b"GET / HTTP/1.1\r\na:\t \tb \t", parsed(("a", "b"))),
    "blanks in a value": (b"GET / HTTP/1.1\r\na:b \t c", parsed(("a", "b \t c"))),
    "no-break spaces are no blanks": (b"GET / HTTP/1.1\r\na: \xa0b\xa0 ", parsed(("a", "\xa0b\xa0"))),
    "colons in a value": (b"GET / HTTP/1.1\r\na:::", parsed(("a", "::"))),
    "repeated": (b"GET / HTTP/1.1\r\nA:1\r\nb:2\r\na:3", parsed(("A", "1"), ("b", "2"), ("a", "3"))),
    "repeated, alike": (b"GET / HTTP/1.1\r\na:1\r\na:1\r\nA:1", parsed(("a", "1"), ("a", "1"), ("A", "1"))),
    "repeated, nothing": (b"GET / HTTP/1.1\r\na:\r\nb:\r\na:", parsed(("a", ""), ("b", ""), ("a", ""))),
    "a name like a method": (b"GET / HTTP/1.1\r\nGET:1\r\nget:2", parsed(("GET", "1"), ("get", "2"))),
    "a method like a name": (b"Host / HTTP/1.1\r\nHost:a", parsed(("Host", "a"), method="Host")),
    "long": (b"GET / HTTP/1.1\r\na:." + 300 * VALUE + b".", parsed(("a", f".{300 * VALUE.decode('latin-1')}."))),
}
each_good_head = pytest.mark.parametrize(("data", "expected"), GOOD.values(), ids=GOOD)


@each_good_head
def test_a_good_head_is_taken_apart(head, data, expected):
    assert head.parse_head(data) == expected


@pytest.mark.parametrize("name", NAMES)
def test_names_are_given_as_sent_and_found_in_lower_case(head, name):
    for sent in (name, name.lower(), name.upper(), name.title(), name.swapcase()):
        data = f"{name}: 1\r\n{sent}: 2\r\nother: 3".encode()
        fields, index = head.parse_fields(data)
        assert fields == [(name, "1"), (sent, "2"), ("other", "3")]
        assert index == {name.lower(): ["1", "2"], "other": "3"}


def test_a_known_name_is_found_whatever_it_is_like(head):
    for name in NAMES:
        for other in (name[:-1], name[1:], name + "x", name.replace("-", "_"), name[:1] + name):
            if other.strip("-"):
                assert head.parse_fields(f"{other}:1".encode()) == ([(other, "1")], {other.lower(): "1"})


def test_trailers_may_be_none(head):
    assert head.parse_fields(b"") == ([], {})


@each_good_head
def test_no_beginning_of_a_good_head_is_refused(head, data, expected):
    data += b"\r\n\r"
    first_field = data.index(b"\n") + 1
    for size in range(len(data) + 1) if len(data) < 2048 else (*range(600), len(data)):
        seen = data[:size]
        checked = len(seen.removesuffix(b"\r")) if size >= first_field else 0
        assert head.check_beginning(seen) == checked
        assert head.check_beginning(seen, checked) == checked


@pytest.mark.parametrize("data", [b"", b"\r"])
def test_nothing_or_half_an_empty_line_may_begin_a_head(head, data):
    assert head.check_beginning(data) == 0


# Heads to refuse: the beginning, the bytes that make it wrong, the rest, the status

BAD = {}


def bad(name, before, wrong, after=b"", status=400):
    assert name not in BAD
    BAD[name] = before, wrong, after, status


def not_in(allowed):
    """Return all bytes but *allowed* and CR, which is wrong only if no LF follows."""
    return [bytes([byte]) for byte in range(256) if byte not in allowed + b"\r"]


for wrong in [byte for byte in not_in(TOKEN) if byte[0] < 128 or byte[0] % 16 == 0]:
    if wrong != b" ":
        bad(f"{wrong} in a method", b"G", wrong, b"T / HTTP/1.1\r\nHost: a")
    if wrong != b":":
        bad(f"{wrong} in a name", b"GET / HTTP/1.1\r\nHost: a\r\na", wrong, b"b: c\r\nd: e")
for wrong in [byte for byte in not_in(VISIBLE) if byte[0] < 128 or byte[0] % 16 == 15]:
    if wrong != b" ":
        bad(f"{wrong} in a target", b"GET /a", wrong, b"b HTTP/1.1\r\nHost: a")
for wrong in [b"\n", *CONTROLS]:
    bad(f"{wrong} in a value", b"GET / HTTP/1.1\r\nHost: a\r\na: b", wrong, b"c\r\nd: e")
for wrong in (b"\0", b"\x08", b"\n", b"\x1f", b"\x7f", b"\rx", b"\r\r"):
    bad(f"{wrong} where a value begins", b"GET / HTTP/1.1\r\na:", wrong, b"bcd")
    bad(f"{wrong} where a value ends", b"GET / HTTP/1.1\r\na:bcdefghijklmnopqrstuvwxyz", wrong)
    for size in range(6, 10):
        bad(f"{wrong} after {size} bytes", b"GET / HTTP/1.1\r\na:" + b"\t" * size, wrong, b"0123456789")

LINE = b"GET / HTTP/1.1"
for name, before, wrong, after in (
    ("a bare LF before", b"", b"\n", LINE),
    ("an empty line before", b"\r", b"\n", LINE),
    ("a bare CR before", b"\r", b"G", LINE),
    ("a space before", b"", b" ", LINE),
    ("a tab before", b"", b"\t", LINE),
    ("two spaces before the target", b"GET ", b" ", b"/ HTTP/1.1"),
    ("two spaces after the target", b"GET / ", b" ", b"HTTP/1.1"),
    ("a tab before the target", b"GET", b"\t", b"/ HTTP/1.1"),
    ("a tab after the target", b"GET /", b"\t", b"HTTP/1.1"),
    ("a space at the end", LINE, b" ", b"\r\nHost: a"),
    ("a tab at the end", LINE, b"\t", b"\r\nHost: a"),
    ("a third word", b"GET / ", b"b", b" HTTP/1.1"),
    ("a fourth word", LINE, b" ", b"HTTP/1.1"),
    ("no method", b"", b"/", b" HTTP/1.1"),
    ("no target", b"GET ", b"\r", b"\n"),
    ("no target but a version", b"GET HTTP/1.1", b"\r", b"\n"),
    ("no version", b"GET /", b"\r", b"\n"),
    ("no version but a space", b"GET / ", b"\r", b"\n"),
    ("a method alone", b"GET", b"\r", b"\n"),
    ("a method and fields", b"GET", b"\r", b"\nHost: a"),
    ("no version, LF", b"GET /", b"\n", b""),
    ("half a version", b"GET / HTTP", b"\r", b"\n"),
    ("no minor version", b"GET / HTTP/1.", b"\r", b"\n"),
    ("no minor version nor dot", b"GET / HTTP/1", b"\r", b"\n"),
    ("no major version", b"GET / HTTP/", b".", b"1"),
    ("lower case", b"GET / ", b"h", b"ttp/1.1"),
    ("mixed case", b"GET / H", b"t", b"tp/1.1"),
    ("another protocol", b"GET / ", b"S", b"IP/2.0"),
    ("more than HTTP", b"GET / HTTP", b"S", b"/1.1"),
    ("a sign", b"GET / HTTP/", b"+", b"1.1"),
    ("a sign in the minor version", b"GET / HTTP/1.", b"-", b"1"),
    ("a comma for the dot", b"GET / HTTP/1", b",", b"1"),
    ("two digits", b"GET / HTTP/1.1", b"0", b""),
    ("two digits of the major version", b"GET / HTTP/1", b"1", b".1"),
    ("a leading zero", b"GET / HTTP/0", b"1", b".1"),
    ("a letter for a digit", b"GET / HTTP/1.", b"x", b""),
    ("a letter for the other digit", b"GET / HTTP/", b"x", b".1"),
    ("a space in the version", b"GET / HTTP/", b" ", b"1.1"),
    ("a space for the slash", b"GET / HTTP", b" ", b"1.1"),
    ("an Arabic digit", b"GET / HTTP/1.", b"\xd9", b"\xa1"),
    ("a bare LF after the line", LINE, b"\n", b"Host: a"),
    ("a bare LF after another version's line", b"GET / HTTP/2.0", b"\n", b"Host: a"),
    ("a bare CR after the line", LINE + b"\r", b"H", b"ost: a"),
    ("two CRs after the line", LINE + b"\r", b"\r", b"\nHost: a"),
    ("a bare CR at the end", LINE, b"\r\r", b""),
    ("a bare LF after a field", LINE + b"\r\nHost: a", b"\n", b"b: c"),
    ("a bare LF at the end", LINE + b"\r\nHost: a", b"\n", b""),
    ("LF CR", LINE + b"\r\nHost: a", b"\n", b"\rb: c"),
    ("a bare CR after a field", LINE + b"\r\nHost: a\r", b"b", b": c"),
    ("two CRs after a field", LINE + b"\r\nHost: a\r", b"\r", b"\nb: c"),
    ("a bare CR in a name", LINE + b"\r\nHo", b"\r", b"st: a"),
    ("a name and CR", LINE + b"\r\nHost", b"\r", b""),
    ("a bare CR where a field begins", LINE + b"\r\n\r", b"a", b": b"),
    ("no colon", LINE + b"\r\nHost", b"\r", b"\na: b"),
    ("no colon at last", LINE + b"\r\na: b\r\nHost", b"\r", b"\n"),
    ("no colon, but a value", LINE + b"\r\nHost", b" ", b"a"),
    ("no name", LINE + b"\r\n", b":", b" a"),
    ("no name at last", LINE + b"\r\na: b\r\n", b":", b""),
    ("a space before the colon", LINE + b"\r\nHost", b" ", b": a"),
    ("a tab before the colon", LINE + b"\r\nHost", b"\t", b": a"),
    ("spaces before the colon", LINE + b"\r\nHost", b" ", b"  : a"),
    ("a space before the first name", LINE + b"\r\n", b" ", b"Host: a"),
    ("a tab before the first name", LINE + b"\r\n", b"\t", b"Host: a"),
    ("a folded line", LINE + b"\r\na: b\r\n", b" ", b"c\r\nHost: a"),
    ("a line folded by a tab", LINE + b"\r\na: b\r\n", b"\t", b"c"),
    ("a folded line of blanks", LINE + b"\r\na: b\r\n", b" ", b"\r\nc: d"),
    ("a folded line at last", LINE + b"\r\na: b\r\n", b" ", b""),
    ("a space in a name", LINE + b"\r\nContent", b" ", b"Length: 1"),
    ("obs-text in a name", LINE + b"\r\nHos", b"\xe9", b": a"),
    ("an empty line amid", LINE + b"\r\n\r", b"\n", b"a: b"),
    ("the start of TLS", b"", b"\x16", b"\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ("a line of another protocol", b"QUIT", b"\r", b"\n"),
    ("a greeting", b"EHLO example.com", b"\r", b"\n"),
    ("a response", b"HTTP", b"/", b"1.1 200 OK"),
):
    bad(name, before, wrong, after)

bad("HTTP/2's preface", b"PRI * HTTP/2.0\r", b"\n", b"\r\nSM", 505)
for version in (b"0.9", b"0.0", b"2.0", b"2.1", b"3.0", b"9.9"):
    bad(f"version {version}", b"GET / HTTP/%b\r" % version, b"\n", b"Host: a", 505)
bad("a long method", b"M" * 64, b"M", b" / HTTP/1.1", 501)
bad("a very long method", b"M" * 64, b"M", b"M" * 9000 + b" / HTTP/1.1", 501)
bad("a wrong one after a long method", b"M" * 64, b"M", b"(", 501)
bad("a wrong byte after a long method", b"M" * 64, b"(", b" / HTTP/1.1", 400)
bad("a long target", b"GET /" + b"a" * 8187, b"a", b" HTTP/1.1", 414)
bad("a very long target", b"GET /" + b"a" * 8187, b"a", b"a" * 50_000 + b" HTTP/1.1", 414)
bad("a wrong byte after a long target", b"GET /" + b"a" * 8187, b"a", b"\0", 414)
bad("a wrong byte late in a target", b"GET /" + b"a" * 8186, b"\0", b" HTTP/1.1", 400)
bad("a long line", b"GET /" + b"a" * 8179 + b" HTTP/1.", b"1", b"\r\nHost: a", 414)
bad("half a version at the limit", b"GET /" + b"a" * 8179 + b" HTTP/1.", b"\r", b"\nHost: a", 414)
bad("a long line of another version", b"GET /" + b"a" * 8179 + b" HTTP/2.", b"0", b"\r\nHost: a", 414)
bad("many fields", LINE + b"\r\na:" * 100 + b"\r\n", b"a", b":", 431)
bad("many fields, the last one wrong", LINE + b"\r\na:" * 100 + b"\r\n", b" ", b"", 431)
bad("many fields and a bare CR", LINE + b"\r\na:" * 100 + b"\r\n\r", b"a", b":", 431)
bad("a wrong field before too many", LINE + b"\r\na:" * 99 + b"\r\nb", b" ", b":\r\na:" * 9, 400)

each_bad_head = pytest.mark.parametrize(("before", "wrong", "after", "status"), BAD.values(), ids=BAD)


def test_there_are_many_ways_to_be_wrong():
    heads = {before + wrong + after for before, wrong, after, _ in BAD.values()}
    assert len(heads) > 300


@each_bad_head
def test_a_bad_head_is_refused(head, before, wrong, after, status):
    with pytest.raises(HTTPError) as refusal:
        head.parse_head(before + wrong + after)
    assert refusal.value.status == status
    assert refusal.value.headers == ()
    assert str(refusal.value) == refusal.value.reason != ""


@each_bad_head
def test_a_beginning_that_cannot_become_right_is_refused_at_once(head, before, wrong, after, status):
    """A wrong head is refused however it arrives, and with the same error as the whole head."""
    data = before + wrong + after
    refusal = outcome(head.parse_head, data)
    assert refusal[0] == status
    for size in range(len(data) + 1) if len(data) < 600 else (*range(0, len(data), 503), len(before)):
        found = outcome(head.check_beginning, data[:size])
        if size >= len(before + wrong):
            assert found == refusal
        else:
            assert isinstance(found, int)
    if len(data) < 10_000:
        assert byte_by_byte(head, data) == (refusal, len(before + wrong))


def test_a_bad_trailer_is_refused(head):
    for wrong in (
        b" a:b",
        b"a",
        b"a :b",
        b":b",
        b"a:\0",
        b"a:b\r\n",
        b"a:b\r\n c",
        b"\r\n",
        b"\r",
        b"a:b\n",
        b"a:b\r\nb",
    ):
        assert outcome(head.parse_fields, wrong) == (400, "malformed field line")


# Limits


def test_the_caller_sets_the_limits(head):
    data = b"GET /abc HTTP/1.1\r\na:1\r\nb:2"
    expected = head.parse_head(data)
    assert head.parse_head(data, 2, 17) == head.parse_head(data, max_line=17, max_fields=2) == expected
    assert head.check_beginning(data, 0, 2, 17) == len(data)
    assert outcome(head.parse_head, data, 1) == outcome(head.check_beginning, data, 0, 1) == (431, "too many fields")
    assert outcome(head.parse_head, data, 0)[0] == 431
    assert outcome(head.parse_head, data, 2, 16) == outcome(head.check_beginning, data, 0, 2, 16)
    assert outcome(head.parse_head, data, 2, 16) == (414, "request line too long")
    assert head.parse_head(b"GET / HTTP/1.1", 0) == parsed()
    assert head.parse_fields(b"a:1\r\na:2", 2) == ([("a", "1"), ("a", "2")], {"a": ["1", "2"]})
    assert outcome(head.parse_fields, b"a:1\r\na:2", 1) == (431, "too many fields")


def test_a_head_that_reaches_a_limit_is_within_it(head):
    line = b"GET /" + b"a" * 8178 + b" HTTP/1.1"
    assert len(line) == 8192
    data = line + b"\r\na:" * 100
    assert len(head.parse_head(data)[3]) == 100
    assert byte_by_byte(head, data + b"\r\n\r") is None


# The beginning of a head is looked at once


@pytest.mark.parametrize("beginning", [b"a", b"a: "], ids=["name", "value"])
def test_checked_bytes_are_not_looked_at_again(head, beginning):
    """Looking at a dripping line again and again would cost the square of its length."""
    data = LINE + b"\r\n" + beginning + b"b" * 1000
    checked = head.check_beginning(data)
    assert checked == len(data)
    spoilt = data[:-1000] + b"\0" * 1000
    assert outcome(head.check_beginning, spoilt)[0] == 400
    assert head.check_beginning(spoilt + b"c", checked) == checked + 1


@pytest.mark.parametrize("line", [b"a: b", b"a:", b"a:b\r\nc: d"])
def test_a_cr_is_looked_at_again_with_the_next_byte(head, line):
    data = LINE + b"\r\n" + line
    checked = head.check_beginning(data + b"\r")
    assert checked == len(data)
    assert head.check_beginning(data + b"\r\n", checked) == len(data) + 2
    assert outcome(head.check_beginning, data + b"\rx", checked) == (400, "malformed field line")


def test_bytes_that_were_not_there_cannot_have_been_checked(head):
    for checked in (-1, 5):
        with pytest.raises(ValueError, match=f"4 bytes cannot have been checked up to {checked}"):
            head.check_beginning(b"GET ", checked)


# Any bytes at all

TOKENS = st.text(TOKEN.decode(), min_size=1, max_size=12)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
TARGETS = st.text(VISIBLE.decode(), max_size=20).map("/".__add__)
FIELDS = st.tuples(
    st.sampled_from(NAMES) | TOKENS,
    st.text(st.sampled_from(VALUE.decode("latin-1")), max_size=20),
    st.sampled_from(["", " ", "\t", " \t "]),
    st.sampled_from(["", " ", "\t", "\t  "]),
)


def written(method, target, minor, fields):
    lines = [f"{method} {target} HTTP/1.{minor}", *(f"{name}:{a}{value}{b}" for name, value, a, b in fields)]
    return "\r\n".join(lines).encode("latin-1")


HEADS = st.builds(written, METHODS | TOKENS, TARGETS | TOKENS, st.integers(0, 9), st.lists(FIELDS, max_size=5))
PIECES = [
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b"\0",
    b"\x7f",
    b"\xff",
    b":",
    b"a",
    b"1",
    b"2",
    b"HTTP/",
    b"a:b\r\n",
    b"",
]
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2), st.sampled_from(PIECES)), max_size=3)


def changed(data, changes):
    """Replace *count* bytes by a piece, at each of some places."""
    for place, count, piece in changes:
        at = int(place * len(data))
        data = data[:at] + piece + data[at + count :]
    return data


ANY_HEADS = st.builds(changed, HEADS, CHANGES) | st.binary(max_size=40)
LIMITS = st.just((100, 8192)) | st.tuples(st.integers(0, 4), st.integers(0, 30))


@given(ANY_HEADS, LIMITS, st.floats(0, 1))
@example(b"GET / HTTP/1.1\r", (100, 14), 1.0)
@example(b"GET / HTTP/1.\r\n", (100, 13), 1.0)
@example(b"GE(T / HTTP/1.1", (100, 1), 0.5)
def test_both_do_the_same(data, limits, place):
    """The plain parser is the specification of the compiled one."""
    compiled = pytest.importorskip("asynchat_fast.http._head", reason="the compiled module has not been built")
    plain = chosen.PlainHeadParser
    assert outcome(compiled.parse_head, data, *limits) == outcome(plain.parse_head, data, *limits)
    _, _, lines = data.partition(b"\r\n")
    assert outcome(compiled.parse_fields, lines, limits[0]) == outcome(plain.parse_fields, lines, limits[0])
    beginning = data[: int(place * len(data))]
    checked = outcome(compiled.check_beginning, beginning, 0, *limits)
    assert checked == outcome(plain.check_beginning, beginning, 0, *limits)
    if isinstance(checked, int):
        for start in (0, checked):
            found = outcome(compiled.check_beginning, data, start, *limits)
            assert found == outcome(plain.check_beginning, data, start, *limits)


@given(data=st.data())
@pytest.mark.parametrize("name", ["compiled", "plain"])
def test_how_a_head_arrives_does_not_matter(name, data):
    """A head is refused early, byte by byte or at once, if and only if the whole head would be."""
    head = parser(name)
    beginning, limits = data.draw(ANY_HEADS), data.draw(LIMITS)
    assume(b"\r\n\r\n" not in beginning)
    refused = byte_by_byte(head, beginning, *limits)
    at_once = outcome(head.check_beginning, beginning, 0, *limits)
    if refused:
        assert outcome(head.parse_head, beginning, *limits) == refused[0] == at_once
    else:
        assert isinstance(at_once, int)


# Endings that complete any beginning of a head: the rest of a request line or of a field line.
REST = b"G / HTTP/1.1"
ENDINGS = [b"", b":", b"a:", b"\na:", *(REST[at:] for at in range(len(REST)))]


@given(data=st.data())
@pytest.mark.parametrize("name", ["compiled", "plain"])
def test_a_beginning_that_is_not_refused_can_still_become_right(name, data):
    head = parser(name)
    beginning = data.draw(ANY_HEADS)
    assume(b"\r\n\r\n" not in beginning)
    found = outcome(head.check_beginning, beginning)
    if isinstance(found, int) and beginning != b"\r":
        ended = beginning.removesuffix(b"\r\n\r")
        outcomes = [outcome(head.parse_head, ended + ending) for ending in ENDINGS]
        # That a version is another one shows at the end of its line.
        assert any(len(result) == 5 or result[0] == 505 for result in outcomes)


# Other parsers


def read_by_h11(h11, data):
    """Return a head as h11 parses it, in the form of ``parse_head()``, None if it refuses it."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data + b"\r\n\r\n")
    try:
        request = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(request, h11.Request):
        return None
    fields = [(name.decode(), value.decode("latin-1")) for name, value in request.headers.raw_items()]
    return request.method.decode(), request.target.decode(), request.http_version.decode(), fields


def read_by_httptools(httptools, data):
    """Return a head as httptools parses it, in the form of ``parse_head()``, None if it refuses it."""

    class Protocol:
        def __init__(self):
            self.target, self.fields, self.complete = b"", [], False

        def on_url(self, part):
            self.target += part

        def on_header(self, name, value):
            self.fields.append((name.decode("latin-1"), value.decode("latin-1")))

        def on_headers_complete(self):
            self.complete = True

    protocol = Protocol()
    parser = httptools.HttpRequestParser(protocol)
    try:
        parser.feed_data(data + b"\r\n\r\n")
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return None
    if not protocol.complete:
        return None
    return parser.get_method().decode(), protocol.target.decode("latin-1"), parser.get_http_version(), protocol.fields


ORACLES = {"h11": read_by_h11, "httptools": read_by_httptools}


def ask_oracle(name, data):
    module = pytest.importorskip(name, reason=f"{name} is not installed to compare with")
    return ORACLES[name](module, data)


def read_by_us(data):
    """Return a head as each of our parsers parses it, in the oracles' form."""
    results = [outcome(parse, data) for parse in {chosen.parse_head, chosen.PlainHeadParser.parse_head}]
    return [result if len(result) == 2 else (*result[:2], f"1.{result[2]}", result[3]) for result in results]


def stripped(result):
    """Return *result* without the blanks that httptools leaves after a value."""
    return (*result[:3], [(name, value.strip(" \t")) for name, value in result[3]])


FRAMING = {"content-length", "transfer-encoding"}  # a head parser neither judges nor tidies their values
OTHER_FIELDS = FIELDS.filter(lambda field: field[0].lower() not in FRAMING)


@pytest.mark.parametrize("name", ORACLES)
@given(method=METHODS, target=TARGETS, minor=st.integers(0, 1), fields=st.lists(OTHER_FIELDS, max_size=5))
def test_heads_that_other_parsers_accept_are_parsed_alike(name, method, target, minor, fields):
    data = written(method, target, minor, [("Host", "a", "", ""), *fields])
    theirs = ask_oracle(name, data)
    assume(theirs)  # the oracles judge the meaning of other fields, too
    for ours in read_by_us(data):
        assert stripped(ours) == stripped(theirs)


@given(ANY_HEADS, st.booleans())
def test_h11_accepts_all_heads_that_we_accept(data, with_host):
    """Our parsers pass no byte that h11's grammar refuses."""
    line, end, lines = data.partition(b"\r\n")
    if with_host:
        data = line + b"\r\nHost: a" + end + lines
    for ours in read_by_us(data):
        if len(ours) == 2:
            continue
        names = [name.lower() for name, _ in ours[3]]
        if names.count("host") == 1 and not FRAMING.intersection(names):
            assert stripped(ask_oracle("h11", data)) == stripped(ours)


# Which parser runs


TELL = """
from asynchat_fast.http import head
functions = [head.parse_head, head.parse_fields, head.check_beginning]
print(head.COMPILED, *{function.__module__ for function in functions})
"""

# An editable install leads back to the modules compiled in its tree.
BY_PATH = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
sys.meta_path[:] = [BuiltinImporter, FrozenImporter, PathFinder]
"""


def test_compiled_says_which_one_runs(run_python):
    assert chosen.parse_head is parser("compiled" if chosen.COMPILED else "plain").parse_head
    assert chosen.COMPILED is asynchat_fast.COMPILED
    process = run_python("-W", "error", "-c", TELL, ASYNCHAT_FAST_NO_EXTENSIONS="1")
    assert (process.stdout.split(), process.stderr) == (["False", "asynchat_fast.http.head"], "")


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="the compiled module is for CPython")
def test_a_missing_compiled_module_is_worth_a_warning(run_python, tmp_path):
    away = shutil.ignore_patterns("_head.*.so", "_head.*.pyd", "__pycache__")
    shutil.copytree(Path(asynchat_fast.__file__).parent, tmp_path / "uncompiled" / "asynchat_fast", ignore=away)
    process = run_python("-W", "always", "-c", BY_PATH + TELL, path=tmp_path / "uncompiled")
    assert process.stdout.split() == ["False", "asynchat_fast.http.head"], process.stderr
    assert "RuntimeWarning: asynchat_fast runs without its compiled module asynchat_fast.http._head" in process.stderr
