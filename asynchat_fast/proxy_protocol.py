"""The PROXY protocol, versions 1 and 2: the first bytes from a proxy name the client for which it has connected.

Source: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6, inet_ntoa, inet_ntop, inet_pton
from typing import Any

__all__ = ["ClientTLS", "Header", "ProxyProtocolError", "crc32c", "parse"]

_V1_BEGINNING = b"PROXY "
_V1_LONGEST = 107  # bytes, with CRLF
_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED = 16  # bytes that each header of version 2 begins with
_ADDRESSES = {1: struct.Struct("!4s4sHH"), 2: struct.Struct("!16s16sHH"), 3: struct.Struct("!108s108s")}  # by family

_CRC32C, _SSL, _SSL_VERSION, _SSL_CN, _SSL_CIPHER = 0x03, 0x20, 0x21, 0x22, 0x23  # types of TLVs
# Flags in the TLV _SSL; 2: the client has shown a certificate on this connection, 4: earlier in its TLS session.
_ON_TLS, _WITH_CERTIFICATE = 1, 2 | 4


class ProxyProtocolError(ValueError):
    """The received data is no PROXY header, and cannot become one: the connection must be closed."""


@dataclass(slots=True)
class ClientTLS:
    """The TLS connection between a client and a proxy, as the proxy describes it.

    *verified* (bool): the client has shown a certificate, and the proxy has verified it.  *version*, *cipher*, and
    *cn*, the common name in the certificate, are str, or None where the proxy does not say.
    """

    verified: bool
    version: str | None = None
    cn: str | None = None
    cipher: str | None = None


@dataclass(slots=True)
class Header:
    """A PROXY header of *size* bytes, in *version* 1 or 2.

    *source* is the address of the client, *destination* the one to which it has connected: ``(host, port)`` for IPv4,
    ``(host, port, 0, 0)`` for IPv6, the name (bytes) of a unix socket.  Both are None if the connection's own addresses
    hold, as the proxy has connected for itself (*local*, bool) or does not know them.  *tlvs* are pairs of a type (int)
    and a value (bytes).  *tls* is the client's TLS (ClientTLS), None for a client without TLS.
    *peer* is the address of the proxy, if a ``chat_server`` has received the header.
    """

    version: int
    size: int
    local: bool = False
    source: Any = None
    destination: Any = None
    tlvs: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)
    tls: ClientTLS | None = None
    peer: Any = None

    def tlv(self, kind: int) -> bytes | None:
        """Return the value of the first TLV of the type *kind*, None if there is none."""
        return next((value for each, value in self.tlvs if each == kind), None)


def parse(data: bytes, longest: int = 4096) -> Header | None:
    """Return the Header that *data* (bytes) begins with, None while it is incomplete.

    *longest* is the most bytes that a header of version 2 may have.  ProxyProtocolError as soon as *data* cannot
    become a header, whatever follows.
    """
    if data[:12] == _V2_SIGNATURE[: len(data)] and data:
        return _parse_v2(data, longest)
    if data[:6] == _V1_BEGINNING[: len(data)]:
        return _parse_v1(data)
    raise ProxyProtocolError(f"no PROXY header begins with {data[:16]!r}")


# Version 1: a line


def _parse_v1(data: bytes) -> Header | None:
    line, end, _ = data[:_V1_LONGEST].decode("latin-1").partition("\r\n")
    if not end and len(data) >= _V1_LONGEST:
        raise ProxyProtocolError(f"a PROXY line of more than {_V1_LONGEST} bytes")
    text = line if end else line.removesuffix("\r")
    if "\r" in text or "\n" in text:
        raise ProxyProtocolError("the PROXY line has a CR or LF that is not of its end")
    kind, *fields = text[len(_V1_BEGINNING) :].split(" ")
    values: list[Any] = []
    if kind != "UNKNOWN":  # after UNKNOWN, the rest of the line must be ignored
        values = _read_v1(kind, fields, bool(end) or text != line)
    if not end:
        return None
    size = len(text) + 2
    if not values:
        return Header(1, size)
    source, destination, source_port, destination_port = values
    tail = (0, 0) if kind == "TCP6" else ()
    return Header(1, size, False, (source, source_port, *tail), (destination, destination_port, *tail))


def _ipv4(text: str) -> str:
    if inet_ntoa(inet_pton(AF_INET, text)) != text:  # some systems accept leading zeros
        raise ValueError("not in the canonical form")
    return text


def _ipv6(text: str) -> str:
    if "%" in text:
        raise ValueError("a zone has no meaning elsewhere")
    return inet_ntop(AF_INET6, IPv6Address(text).packed)


def _port(text: str) -> int:
    port = int(text)
    if str(port) != text or not 0 <= port <= 65535:
        raise ValueError("no port")
    return port


_FIELDS: dict[str, tuple[Callable[[str], Any], ...]] = {
    "TCP4": (_ipv4, _ipv4, _port, _port),
    "TCP6": (_ipv6, _ipv6, _port, _port),
}

# Whatever text can become an address or a port, one of these added to it makes it a whole one.
_ENDS = ("", "0", ":", "::", ".0", "0.0", ".0.0", "0.0.0", ".0.0.0", "0.0.0.0")  # noqa: S104


def _read_v1(kind: str, fields: list[str], is_whole: bool) -> list[Any]:
    """Return the addresses and ports in *fields*, those read so far unless *is_whole*; ProxyProtocolError if wrong."""
    readers = _FIELDS.get(kind)
    if readers is None and (is_whole or fields or not any(name.startswith(kind) for name in (*_FIELDS, "UNKNOWN"))):
        raise ProxyProtocolError(f"a PROXY line for {kind!a}, which is none of TCP4, TCP6 and UNKNOWN")
    if readers is None:
        return []
    if len(fields) > len(readers) or (is_whole and len(fields) < len(readers)):
        raise ProxyProtocolError(f"a PROXY line with {len(fields)} fields after {kind}, where 4 are due")
    values = [_read_field(text, read, ("",)) for text, read in zip(fields[:-1], readers, strict=False)]
    if fields:
        values.append(_read_field(fields[-1], readers[len(values)], ("",) if is_whole else _ENDS))
    return values


def _read_field(text: str, read: Callable[[str], Any], ends: tuple[str, ...]) -> Any:
    for end in ends:
        try:
            return read(text + end)
        except (ValueError, OSError):
            pass
    raise ProxyProtocolError(f"a PROXY line with {text!a} as {read.__name__.strip('_')}")


# Version 2: fixed bytes, addresses, and TLVs


def _parse_v2(data: bytes, longest: int) -> Header | None:
    is_local = data[12:13] == b"\x20"
    if data[12:13] not in (b"\x20", b"\x21", b""):
        raise ProxyProtocolError(f"a PROXY header with {data[12]:#04x} for its version and command")
    if is_local or len(data) < 14:
        family = protocol = 0  # both must be ignored if the connection is local
    else:
        family, protocol = data[13] >> 4, data[13] & 15
    if family > 3 or protocol > 2:
        raise ProxyProtocolError(f"a PROXY header with {data[13]:#04x} for its family and protocol")
    if len(data) < _V2_FIXED:
        return None
    size = _V2_FIXED + int.from_bytes(data[14:16], "big")
    if size > longest:
        raise ProxyProtocolError(f"a PROXY header of {size} bytes, which is more than {longest}")
    if not family or not protocol:  # no addresses, and then it is not defined where TLVs begin
        return Header(2, size, is_local) if len(data) >= size else None
    addresses = _ADDRESSES[family]
    after = _V2_FIXED + addresses.size
    if size < after:
        raise ProxyProtocolError(f"a PROXY header of {size} bytes, too few for addresses of family {family}")
    tlvs = list(_tlvs(data, after, size))
    if len(data) < size:
        return None
    _check_crc(data[:size], tlvs)
    source, destination = _read_addresses(family, addresses.unpack_from(data, _V2_FIXED))
    pairs = tuple((kind, data[start:end]) for kind, start, end in tlvs)
    return Header(2, size, False, source, destination, pairs, _read_tls(dict(reversed(pairs)).get(_SSL)))


def _read_addresses(family: int, fields: tuple[Any, ...]) -> tuple[Any, Any]:
    if family == 3:
        return fields[0].rstrip(b"\0"), fields[1].rstrip(b"\0")
    source, destination, source_port, destination_port = fields
    if family == 1:
        return (inet_ntoa(source), source_port), (inet_ntoa(destination), destination_port)
    hosts = inet_ntop(AF_INET6, source), inet_ntop(AF_INET6, destination)
    return (hosts[0], source_port, 0, 0), (hosts[1], destination_port, 0, 0)


def _tlvs(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield type, beginning and end of the value of each TLV between *at* and *end* in *data*, as far as they came."""
    while at < end:
        if len(data) < at + 3 <= end:
            return
        start = at + 3
        stop = start + int.from_bytes(data[at + 1 : start], "big")
        if stop > end:
            raise ProxyProtocolError("a PROXY header with a TLV that is cut short")
        yield data[at], start, stop
        at = stop


def _check_crc(header: bytes, tlvs: list[tuple[int, int, int]]) -> None:
    for kind, start, end in tlvs:
        if kind == _CRC32C:
            zeroed = header[:start] + bytes(end - start) + header[end:]
            if end - start != 4 or crc32c(zeroed) != int.from_bytes(header[start:end], "big"):
                raise ProxyProtocolError("a PROXY header with a wrong checksum")


def _read_tls(value: bytes | None) -> ClientTLS | None:
    if value is None:
        return None
    if len(value) < 5:
        raise ProxyProtocolError("a PROXY header with a TLV of TLS that is cut short")
    texts = {kind: value[start:end].decode(errors="replace") for kind, start, end in _tlvs(value, 5, len(value))}
    if not value[0] & _ON_TLS:
        return None
    verified = bool(value[0] & _WITH_CERTIFICATE) and not any(value[1:5])
    return ClientTLS(verified, texts.get(_SSL_VERSION), texts.get(_SSL_CN), texts.get(_SSL_CIPHER))


def _shifted(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_TABLE = tuple(_shifted(value) for value in range(256))


def crc32c(data: bytes) -> int:
    """Return the CRC32C of *data* (RFC 4960, appendix B)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
