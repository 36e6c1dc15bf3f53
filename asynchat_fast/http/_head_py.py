"""The head parser in plain Python: one strict regular expression a line.

The executable specification of ``_head.pyx``, and the parser wherever that is not compiled.
What the functions promise to their user is told once, in ``_head.pyi``.
"""

import re
from functools import reduce

from .errors import HTTPError

_MAX_METHOD = 64  # octets

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_VISIBLE = rb"[\x21-\x7e]"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*"

_METHOD = _TOKEN + rb"{1,%d}" % _MAX_METHOD
_request_line = re.compile(rb"(%b) (%b+) HTTP/([0-9])\.([0-9])(\r\n|\r?\Z)" % (_METHOD, _VISIBLE)).match
_field_line = re.compile(rb"(%b+):(%b)(\r\n|\Z)" % (_TOKEN, _VALUE)).match

# What comes of a request line atom by atom: any beginning of it matches, nothing else does.
_ATOMS = (_METHOD, b" ", _VISIBLE + b"+", b" ", b"H", b"T", b"T", b"P", b"/", b"[0-9]", rb"\.", b"[0-9]")
_line_beginning = re.compile(reduce(lambda rest, atom: b"(?:%b%b)?" % (atom, rest), reversed(_ATOMS), b""))
_long_method = re.compile(rb"%b{%d}" % (_TOKEN, _MAX_METHOD + 1)).match

# What comes of a field line, and what may come from within its value or its name on; group 1 is its end.
_VALUE_ON = rb"%b(?:(\r\n)|\r?\Z)" % _VALUE
_NAME_ON = rb"%b*(?:\Z|:%b)" % (_TOKEN, _VALUE_ON)
_from_value = re.compile(_VALUE_ON).match
_from_name = re.compile(_NAME_ON).match
_from_line = re.compile(rb"\r?\Z|%b%b" % (_TOKEN, _NAME_ON)).match  # a CR may begin the end of the head


def parse_head(octets, max_fields=100, max_line=8192):
    line = _match_request_line(octets, max_line)
    fields, index = _parse_lines(octets, line.end(), max_fields) if line[5] else ([], {})
    return line[1].decode("ascii"), line[2].decode("ascii"), int(line[4]), fields, index


def parse_fields(octets, max_fields=100):
    return _parse_lines(octets, 0, max_fields) if octets else ([], {})


def check_beginning(octets, checked=0, max_fields=100, max_line=8192):
    if not 0 <= checked <= len(octets):
        raise ValueError(f"{len(octets)} octets cannot have been checked up to {checked}")
    if not checked:
        line = _match_request_line(octets, max_line, begun=True)
        if line is None or line[5] != b"\r\n":
            return 0
        checked = line.end()
    start = octets.rfind(b"\n", 0, checked) + 1
    match = _from_line if checked == start else _from_value if octets.find(b":", start, checked) >= 0 else _from_name
    while True:
        one_more = match is _from_line and octets[checked : checked + 2] not in (b"", b"\r")
        if one_more and octets.count(b"\n", 0, checked) > max_fields:
            raise HTTPError(431, "too many fields")
        line = match(octets, checked)
        if line is None:
            raise HTTPError(400, "malformed field line")
        if not line[1]:
            return len(octets.removesuffix(b"\r"))
        checked, match = line.end(), _from_line


def _match_request_line(octets, max_line, begun=False):
    """Return the match of the request line; with *begun*, None where all there is may be the beginning of one."""
    line = _request_line(octets)
    if line and line.end(4) <= max_line and (begun or line[5] != b"\r"):
        if line[3] != b"1" and (line[5] == b"\r\n" or not begun):
            raise HTTPError(505, "HTTP version not supported")
        return line
    if begun and (octets == b"\r" or (len(octets) <= max_line and _line_beginning.fullmatch(octets))):
        return None
    if _long_method(octets):
        raise HTTPError(501, "method too long")
    if _line_beginning.match(octets, 0, max_line).end() == max_line < len(octets):
        raise HTTPError(414, "request line too long")
    raise HTTPError(400, "malformed request line")


def _parse_lines(octets, at, max_fields):
    fields, index, more = [], {}, True
    while more:
        if len(fields) >= max_fields:
            raise HTTPError(431, "too many fields")
        line = _field_line(octets, at)
        if line is None:
            raise HTTPError(400, "malformed field line")
        name, value = line[1].decode("ascii"), line[2].strip(b" \t").decode("latin-1")
        fields.append((name, value))
        key = name.lower()
        if key not in index:
            index[key] = value
        elif isinstance(index[key], list):
            index[key].append(value)
        else:
            index[key] = [index[key], value]
        at, more = line.end(), line[3]
    return fields, index
