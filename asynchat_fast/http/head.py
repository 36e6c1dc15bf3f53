"""The head parser: PlainHeadParser, a strict regular expression for each line, or the compiled one where it exists.

PlainHeadParser is the specification of ``_head.pyx``.  Both parse the head of a request by RFC 9112, sections 2
to 5, and RFC 9110, section 5.  All functions take bytes, and raise HTTPError: 400 for a malformed line, 414 for a
request line of more than *max_line* bytes, 431 for more than *max_fields* field lines, 501 for a method of more than
64 bytes, 505 for another major version than 1.  If there are several faults, the first in the data counts.
"""

import re
from functools import reduce
from typing import TypeAlias

from .._compiled import is_wanted, report_missing
from .errors import HTTPError
from .fields import Index
from .syntax import TOKEN

__all__ = ["COMPILED", "PlainHeadParser", "check_beginning", "parse_fields", "parse_head"]

_Fields: TypeAlias = list[tuple[str, str]]
_Head: TypeAlias = tuple[str, str, int, _Fields, Index]

_MAX_METHOD = 64  # bytes

_TCHAR = TOKEN.removesuffix("+").encode()
_TARGET = rb"[\x21\x22\x24-\x7e]"  # visible, without "#": a fragment is no part of a target (RFC 9112, section 3.2)
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*"

# request-line = method SP request-target SP HTTP-version; field-line = field-name ":" OWS field-value OWS
_METHOD = _TCHAR + rb"{1,%d}" % _MAX_METHOD
_request_line = re.compile(rb"(%b) (%b+) HTTP/([0-9])\.([0-9])(\r\n|\r?\Z)" % (_METHOD, _TARGET)).match
_field_line = re.compile(rb"(%b+):(%b)(\r\n|\Z)" % (_TCHAR, _VALUE)).match

# The atoms of a request line, of which _line_beginning is made: it matches each beginning of a line, and nothing else.
_ATOMS = (_METHOD, b" ", _TARGET + b"+", b" ", b"H", b"T", b"T", b"P", b"/", b"[0-9]", rb"\.", b"[0-9]")
_line_beginning = re.compile(reduce(lambda rest, atom: b"(?:%b%b)?" % (atom, rest), reversed(_ATOMS), b""))
_long_method = re.compile(rb"%b{%d}" % (_TCHAR, _MAX_METHOD + 1)).match

# The rest of a field line from its beginning, from within its name, or from within its value on; group 1 is its end.
_VALUE_ON = rb"%b(?:(\r\n)|\r?\Z)" % _VALUE
_NAME_ON = rb"%b*(?:\Z|:%b)" % (_TCHAR, _VALUE_ON)
_from_value = re.compile(_VALUE_ON).match
_from_name = re.compile(_NAME_ON).match
_from_line = re.compile(rb"\r?\Z|%b%b" % (_TCHAR, _NAME_ON)).match  # a CR may begin the end of the head


class PlainHeadParser:
    """The functions of the head parser in plain Python."""

    @staticmethod
    def parse_head(data: bytes, max_fields: int = 100, max_line: int = 8192) -> _Head:
        """Return method, target, minor version, fields and their index.

        *data* is a head from the request line on, without the CRLF CRLF at its end.  The fields, in the order sent, are
        pairs of the name as it was sent, and the value without blanks around it, decoded as Latin-1.
        The index has, by lower-case name, the value, or the list of values where a name was sent several times.
        The target and the values are not checked further: that is for the caller.
        """
        line = _match_request_line(data, max_line)
        assert line is not None  # noqa: S101 - for mypy: without begun=True, it raises instead
        fields, index = _parse_lines(data, line.end(), max_fields) if line[5] else ([], {})
        return line[1].decode("ascii"), line[2].decode("ascii"), int(line[4]), fields, index

    @staticmethod
    def parse_fields(data: bytes, max_fields: int = 100) -> tuple[_Fields, Index]:
        """Return fields and their index, as ``parse_head()`` does.

        *data* are field lines only, as in trailers, without the CRLF CRLF at their end; it may be empty.
        """
        return _parse_lines(data, 0, max_fields) if data else ([], {})

    @staticmethod
    def check_beginning(data: bytes, checked: int = 0, max_fields: int = 100, max_line: int = 8192) -> int:
        """Raise HTTPError if ``parse_head()`` will, whatever follows, for a head that begins with *data*.

        Return the offset up to which nothing is wrong (int).  Pass it as *checked* in the next call, with the same
        bytes and those that have come after them: then all calls together look once at each byte of the fields, and
        each call once at the request line.  A CR at the end of *data* is accepted where a line, or the head, may end.
        """
        if not 0 <= checked <= len(data):
            raise ValueError(f"{len(data)} bytes cannot have been checked up to {checked}")
        if not checked:
            begun = _match_request_line(data, max_line, begun=True)
            if begun is None or begun[5] != b"\r\n":
                return 0
            checked = begun.end()
        start = data.rfind(b"\n", 0, checked) + 1
        match = _from_line if checked == start else _from_value if data.find(b":", start, checked) >= 0 else _from_name
        while True:
            one_more = match is _from_line and data[checked : checked + 2] not in (b"", b"\r")
            if one_more and data.count(b"\n", 0, checked) > max_fields:
                raise HTTPError(431, "too many fields")
            line = match(data, checked)
            if line is None:
                raise HTTPError(400, "malformed field line")
            if not line[1]:
                return len(data.removesuffix(b"\r"))
            checked, match = line.end(), _from_line


def _match_request_line(data: bytes, max_line: int, begun: bool = False) -> re.Match[bytes] | None:
    """Return the match of the request line; with *begun*, None if *data* is the beginning of a possible one."""
    line = _request_line(data)
    if line and line.end(4) <= max_line and (begun or line[5] != b"\r"):
        if line[3] != b"1" and (line[5] == b"\r\n" or not begun):
            raise HTTPError(505, "HTTP version not supported")
        return line
    if begun and (data == b"\r" or (len(data) <= max_line and _line_beginning.fullmatch(data))):
        return None
    if _long_method(data):
        raise HTTPError(501, "method too long")
    beginning = _line_beginning.match(data, 0, max_line)
    if beginning and beginning.end() == max_line < len(data):
        raise HTTPError(414, "request line too long")
    raise HTTPError(400, "malformed request line")


def _parse_lines(data: bytes, at: int, max_fields: int) -> tuple[_Fields, Index]:
    fields: _Fields = []
    index: Index = {}
    more = True
    while more:
        if len(fields) >= max_fields:
            raise HTTPError(431, "too many fields")
        line = _field_line(data, at)
        if line is None:
            raise HTTPError(400, "malformed field line")
        name, value = line[1].decode("ascii"), line[2].strip(b" \t").decode("latin-1")
        fields.append((name, value))
        key = name.lower()
        earlier = index.get(key)
        if earlier is None:
            index[key] = value
        elif isinstance(earlier, list):
            earlier.append(value)
        else:
            index[key] = [earlier, value]
        at, more = line.end(), bool(line[3])
    return fields, index


COMPILED = False
"""Whether heads are parsed by the compiled module (bool)."""

parse_head = PlainHeadParser.parse_head
parse_fields = PlainHeadParser.parse_fields
check_beginning = PlainHeadParser.check_beginning

if is_wanted():
    try:
        from ._head import check_beginning, parse_fields, parse_head

        COMPILED = True
    except ModuleNotFoundError as missing:
        report_missing(missing, f"{__package__}._head")
