"""What a head means, by RFC 9110 and 9112: whom it asks for what, how its body is framed, and what comes after it.

Functions of what the head parser gives: *index* is its dict of lower-case names to a value, or to
a list where a name was repeated.  What must not be served is an HTTPError.
"""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

from .errors import HTTPError

__all__ = ["CHUNKED", "body_length", "expects_continue", "is_persistent", "parse_target", "tokens", "wants_upgrade"]

Index = dict[str, str | list[str]]

CHUNKED = -1
"""What ``body_length()`` returns for a body in chunks."""

_MOST_DIGITS = 18  # of a length: what fits into 64 bits, whatever the digits

_is_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_match_authority = re.compile(
    r"(?: \[ (?: (?P<v6> [0-9A-Fa-f:.]+ ) | v[0-9A-Fa-f]+\.[\w.~!$&'()*+,;=:-]+ ) \]"
    r"  | (?: [\w.~!$&'()*+,;=-] | %[0-9A-Fa-f]{2} )+ )"
    r"(?: : (?P<port> [0-9]* ) )?",
    re.ASCII | re.VERBOSE,
).fullmatch
_match_absolute = re.compile(r"https?://(?P<authority>[^/?#]*)(?P<path>.*)", re.IGNORECASE).fullmatch


@lru_cache(maxsize=256)
def _is_authority(text: str) -> bool:
    """Tell whether *text* is a host, and maybe a port: RFC 3986, section 3.2.2, but not empty (RFC 9110, 4.2.1)."""
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
    """Return path and host that are asked for; the path is "*" or the authority for targets of these forms.

    A host in the target becomes that of the *index*.
    Source: RFC 9112, section 3.2.
    """
    host = index.get("host")
    if type(host) is str and target[0] == "/" and method != "CONNECT" and _is_authority(host):
        return target, host  # as nearly all are
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
    index["host"] = match["authority"]  # which prevails (RFC 9112, section 3.2.2)
    return (path if path[0] in "/*" else "/" + path), match["authority"]


def tokens(value: str | list[str]) -> list[str]:
    """Return the members of a list of tokens, in lower case (RFC 9110, section 5.6.1)."""
    joined = value if isinstance(value, str) else ",".join(value)
    members = (member.strip(" \t").lower() for member in joined.split(","))
    return [member for member in members if member]


def is_persistent(index: Index, minor: int) -> bool:
    """Tell whether the client wants the connection to stay (RFC 9112, section 9.3)."""
    value = index.get("connection")
    if value is None:
        return minor > 0
    options = tokens(value)
    return "close" not in options and (minor > 0 or "keep-alive" in options)


def body_length(index: Index, minor: int) -> int:
    """Return how many octets the body has, or CHUNKED (RFC 9112, section 6.3)."""
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
    # Never int() on what was received alone, which takes signs, underscores and digits of all scripts.
    if type(length) is not str or not (length.isascii() and length.isdigit()):
        raise HTTPError(400, "Content-Length is not one number")
    if len(length) > _MOST_DIGITS:
        raise HTTPError(400, "Content-Length has too many digits")
    return int(length)


def _check_coding(coding: str | list[str]) -> None:
    if type(coding) is str and coding.lower() == "chunked":
        return
    joined = coding if isinstance(coding, str) else ",".join(coding)
    codings = [each.strip(" \t").lower() for each in joined.split(",")]
    if not all(map(_is_token, codings)):
        raise HTTPError(400, "Transfer-Encoding is not a list of codings")
    if "chunked" in codings[:-1]:
        raise HTTPError(400, "the body is not chunked last, and once")
    raise HTTPError(501, "there is no transfer coding here but chunked")


def expects_continue(index: Index, minor: int) -> bool:
    """Tell whether the client waits for a 100 before it sends the body (RFC 9110, section 10.1.1)."""
    value = index.get("expect")
    if value is None or minor == 0:
        return False
    if tokens(value) != ["100-continue"]:
        raise HTTPError(417, "nothing can be expected here but 100-continue")
    return True


def wants_upgrade(index: Index, minor: int) -> bool:
    """Tell whether the client offers other protocols (RFC 9110, section 7.8)."""
    return "upgrade" in index and minor > 0 and "upgrade" in tokens(index.get("connection", ""))
