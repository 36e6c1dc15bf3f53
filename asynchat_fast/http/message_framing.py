"""Message framing by RFC 9112: the target, the length of the body, and whether another request may follow.

These are functions of *index*, a dict of the head parser: from a name in lower case to its value, or to a list of
values where a name was sent several times.  They raise HTTPError for a request that must be refused; no more is read
from its connection.
"""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

from .errors import HTTPError
from .fields import Index
from .syntax import BLANKS, QUOTED_STRING, TOKEN, members

__all__ = [
    "CHUNKED",
    "body_length",
    "check_chunk_line",
    "chunk_size",
    "expects_continue",
    "is_persistent",
    "parse_target",
    "wants_upgrade",
]

CHUNKED = -1
"""The result of ``body_length()`` for a body in chunks."""

_SHORT = 64  # characters of a value that may be cached
_MOST_DIGITS = 18  # digits of a length: any number of them fits into 64 bits

_match_authority = re.compile(
    r"(?: \[ (?: (?P<v6> [0-9A-Fa-f:.]+ ) | v[0-9A-Fa-f]+\.[\w.~!$&'()*+,;=:-]+ ) \]"
    r"  | (?: [\w.~!$&'()*+,;=-] | %[0-9A-Fa-f]{2} )+ )"
    r"(?: : (?P<port> [0-9]* ) )?",
    re.ASCII | re.VERBOSE,
).fullmatch
_match_absolute = re.compile(r"https?://(?P<authority>[^/?#]*)(?P<path>.*)", re.IGNORECASE).fullmatch


@lru_cache(maxsize=256)
def _is_authority(text: str) -> bool:
    """Return whether *text* is a host with or without a port (RFC 3986, section 3.2.2); not empty (RFC 9110, 4.2.1)."""
    match = _match_authority(text)
    if match is None or int((match["port"] or "0")[:6]) > 65535 or len(match["port"] or "") > 20:
        return False
    if match["v6"]:
        try:
            IPv6Address(match["v6"])
        except AddressValueError:
            return False
    return True


def _host(index: Index, minor: int) -> str:
    host = index.get("host")
    if host is None:
        if minor:
            raise HTTPError(400, "there is no Host field")
        return ""
    if type(host) is not str:
        raise HTTPError(400, "there are several Host fields")
    if not _is_authority(host):
        raise HTTPError(400, "the Host field is not a host")
    return host


def parse_target(method: str, target: str, index: Index, minor: int) -> tuple[str, str]:
    """Return the requested path and host.

    For targets of these forms, the path is "*" or the authority.  A host in the target replaces that in *index*.
    The head parser refuses fragments, which are not allowed in a target.  Source: RFC 9112, section 3.2.
    """
    host = index.get("host")
    if type(host) is str and target[0] == "/" and method != "CONNECT" and _is_authority(host):
        return target, host  # the usual case
    host = _host(index, minor)
    if method == "CONNECT":
        if not _is_authority(target) or not re.search(":[0-9]+$", target):
            raise HTTPError(400, "CONNECT takes a host and a port")
        return target, target
    if target[0] == "/":
        return target, host
    if target == "*" and method == "OPTIONS":
        return target, host
    match = _match_absolute(target)
    if match is None or not _is_authority(match["authority"]):
        raise HTTPError(400, "the target is neither a path nor the URI of one")
    path = match["path"] or ("*" if method == "OPTIONS" else "/")
    index["host"] = match["authority"]  # it prevails over the Host field (RFC 9112, section 3.2.2)
    return (path if path[0] in "/*" else "/" + path), match["authority"]


def is_persistent(index: Index, minor: int) -> bool:
    """Return whether the client wants the connection to persist (RFC 9112, section 9.3)."""
    value = index.get("connection")
    if value is None:
        return minor > 0
    options = _options(value) if type(value) is str and len(value) < _SHORT else members(value)
    return "close" not in options and (minor > 0 or "keep-alive" in options)


_options = lru_cache(maxsize=64)(members)  # nearly all clients that send Connection send the same value


def body_length(index: Index, minor: int) -> int:
    """Return how many bytes the body has, or CHUNKED (RFC 9112, section 6.3)."""
    length, coding = index.get("content-length"), index.get("transfer-encoding")
    if coding is not None:
        if length is not None:
            raise HTTPError(400, "there are both Content-Length and Transfer-Encoding")
        if minor == 0:
            raise HTTPError(400, "HTTP/1.0 has no Transfer-Encoding")
        _check_coding(coding)
        return CHUNKED
    if length is None:
        return 0
    # Digits are checked before int(), which accepts signs, underscores and digits of all scripts.
    if type(length) is not str or not (length.isascii() and length.isdigit()):
        raise HTTPError(400, "Content-Length is not one number")
    if len(length) > _MOST_DIGITS:
        raise HTTPError(400, "Content-Length has too many digits")
    return int(length)


# transfer-coding = token *( OWS ";" OWS transfer-parameter )
# transfer-parameter = token BWS "=" BWS ( token / quoted-string )
_CODING = f"({TOKEN})((?:{BLANKS};{BLANKS}{TOKEN}{BLANKS}={BLANKS}(?:{TOKEN}|{QUOTED_STRING}))*)"
_match_codings = re.compile(f"{BLANKS}{_CODING}(?:{BLANKS},{BLANKS}{_CODING})*{BLANKS}").fullmatch
_each_coding = re.compile(_CODING).finditer


def _check_coding(coding: str | list[str]) -> None:
    if type(coding) is str and coding.lower() == "chunked":
        return
    joined = coding if isinstance(coding, str) else ",".join(coding)
    if not _match_codings(joined):
        raise HTTPError(400, "Transfer-Encoding is not a list of codings")
    codings = [(each[1].lower(), each[2]) for each in _each_coding(joined)]
    if any(name == "chunked" and parameters for name, parameters in codings):
        raise HTTPError(400, "the coding chunked has no parameters")  # RFC 9112, section 7.1
    if "chunked" in (name for name, _ in codings[:-1]):
        raise HTTPError(400, "the body is not chunked last, and once")
    raise HTTPError(501, "there is no transfer coding here but chunked")


def expects_continue(index: Index, minor: int) -> bool:
    """Return whether the client waits for a 100 before it sends the body; HTTPError 417 for any other expectation.

    Source: RFC 9110, section 10.1.1.
    """
    value = index.get("expect")
    if value is None or minor == 0:
        return False
    expected = set(members(value))
    if expected - {"100-continue"}:
        raise HTTPError(417, "nothing can be expected here but 100-continue")
    return bool(expected)


def wants_upgrade(index: Index, minor: int) -> bool:
    """Return whether the client offers another protocol (RFC 9110, section 7.8)."""
    return "upgrade" in index and minor > 0 and "upgrade" in members(index.get("connection", ""))


# chunk-size = 1*HEXDIG; chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
# chunk-ext-name = token; chunk-ext-val = token / quoted-string
_SIZE = "[0-9A-Fa-f]{1,16}"  # no size has more than 16 digits: longer ones are malformed
_EXTENSION = f"{BLANKS};{BLANKS}{TOKEN}(?:{BLANKS}={BLANKS}(?:{TOKEN}|{QUOTED_STRING}))?"
_match_chunk_line = re.compile(f"({_SIZE})(?:{_EXTENSION})*".encode("latin-1")).fullmatch

# The possible beginnings of a chunk line: whole extensions, then any part of one more.
_QUOTED_PART = QUOTED_STRING.removesuffix('"') + r"(?:\\|\"?)"
_VALUE_PART = f"{BLANKS}(?:={BLANKS}(?:{TOKEN}|{_QUOTED_PART})?)?"
_EXTENSION_PART = f"{BLANKS}(?:;{BLANKS}(?:{TOKEN}(?:{_VALUE_PART})?)?)?"
_begins_chunk_line = re.compile(f"{_SIZE}(?:{_EXTENSION})*(?:{_EXTENSION_PART})?\\r?".encode("latin-1")).fullmatch


def chunk_size(line: bytes) -> tuple[int, int]:
    """Return the size in *line*, the first of a chunk, and the length of its extensions, both in bytes (int).

    Source: RFC 9112, section 7.1; extensions are checked and ignored.
    """
    match = _match_chunk_line(line)
    if match is None:
        raise HTTPError(400, "the size of a chunk is malformed")
    return int(match[1], 16), len(line) - match.end(1)


def check_chunk_line(beginning: bytes) -> None:
    """Raise HTTPError if *beginning* (bytes) cannot become the first line of a chunk."""
    if beginning not in (b"", b"\r") and not _begins_chunk_line(beginning):
        raise HTTPError(400, "the size of a chunk is malformed")
