"""PROXY headers as bytes: which are accepted, what they say, and how early the others are refused."""

import contextlib
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchat_fast.proxy_protocol import ClientTLS, Header, ProxyProtocolError, crc32c, parse

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
CRC32C, NOOP, UNIQUE_ID, SSL, SSL_VERSION, SSL_CN, SSL_CIPHER = 3, 4, 5, 0x20, 0x21, 0x22, 0x23


def v2(command=0x21, family=0x11, block=b"", length=None):
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(block) if length is None else length) + block


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def with_crc(before=b"", after=b"", wrong=0):
    header = v2(block=IPV4 + before + tlv(CRC32C, bytes(4)) + after)
    at = 16 + len(IPV4) + len(before) + 3
    return header[:at] + struct.pack("!I", crc32c(header) ^ wrong) + header[at + 4 :]


IPV4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 51000, 443)
IPV6 = bytes.fromhex("20010db8000000000000000000000007") + bytes(15) + b"\1" + struct.pack("!HH", 1, 2)
UNIX = b"/run/a".ljust(108, b"\0") + b"\0abstract".ljust(108, b"\0")
LONG = b":".join([b"ffff"] * 8)

SOURCE_4, DESTINATION_4 = ("192.0.2.7", 51000), ("198.51.100.1", 443)
SOURCE_6, DESTINATION_6 = ("2001:db8::7", 1, 0, 0), ("::1", 2, 0, 0)
OF_LONG = (LONG.decode(), 65535, 0, 0)

GOOD = {
    "v1 IPv4": (b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n", SOURCE_4, DESTINATION_4),
    "v1 IPv4, longest": (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        ("255.255.255.255", 65535),
        ("255.255.255.255", 65535),
    ),
    "v1 IPv6": (b"PROXY TCP6 2001:DB8::7 ::1 1 2\r\n", SOURCE_6, DESTINATION_6),
    "v1 IPv6, longest": (b"PROXY TCP6 %b %b 65535 65535\r\n" % (LONG, LONG), OF_LONG, OF_LONG),
    "v1 IPv6 of IPv4": (
        b"PROXY TCP6 ::ffff:192.0.2.7 1:2:3:4:5:6:7:: 0 0\r\n",
        ("::ffff:192.0.2.7", 0, 0, 0),
        ("1:2:3:4:5:6:7:0", 0, 0, 0),
    ),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", None, None),
    "v1 unknown, longest": (b"PROXY UNKNOWN %b %b 65535 65535\r\n" % (LONG, LONG), None, None),
    "v1 unknown, anything": (b"PROXY UNKNOWN \xff\0 TCP4  x\r\n", None, None),
    "v2 IPv4": (v2(block=IPV4), SOURCE_4, DESTINATION_4),
    "v2 IPv4, UDP": (v2(family=0x12, block=IPV4), SOURCE_4, DESTINATION_4),
    "v2 IPv6": (v2(family=0x21, block=IPV6), SOURCE_6, DESTINATION_6),
    "v2 unix": (v2(family=0x31, block=UNIX), b"/run/a", b"\0abstract"),
    "v2 unix without a name": (v2(family=0x31, block=bytes(216)), b"", b""),
    "v2 local": (v2(0x20, 0), None, None),
    "v2 local, with addresses": (v2(0x20, 0x11, IPV4), None, None),
    "v2 local, with anything": (v2(0x20, 0xFF, b"\3\0\4wrong"), None, None),
    "v2 without a family": (v2(family=0x00, block=b"anything"), None, None),
    "v2 without a protocol": (v2(family=0x10, block=b"x"), None, None),
    "v2 checksum": (with_crc(), SOURCE_4, DESTINATION_4),
    "v2 checksum amid others": (with_crc(tlv(NOOP, b""), tlv(UNIQUE_ID, b"x" * 128)), SOURCE_4, DESTINATION_4),
    "v2 longest": (v2(block=IPV4 + tlv(NOOP, bytes(4096 - 16 - 12 - 3))), SOURCE_4, DESTINATION_4),
}

# What may become a header, and the next bytes with which it cannot.
BAD = [
    (b"", b"GET / HTTP/1.1\r\n"),
    (b"", b"\x16\x03\x01"),
    (b"", b"proxy TCP4 "),
    (b"PROXY", b"\t"),
    (b"PROXY ", b" "),
    (b"PROXY ", b"\r"),
    (b"PROXY ", b"U "),
    (b"PROXY TCP", b"5"),
    (b"PROXY ", b"UDP4"),
    (b"PROXY UNKNOWN", b"X"),
    (b"PROXY UNKNOWN", b"\n"),
    (b"PROXY UNKNOWN", b"\rx"),
    (b"PROXY UNKNOWN a", b"\nb\r\n"),
    (b"PROXY UNKNOWN " + b"x" * 92, b"x"),
    (b"PROXY UNKNOWN " + b"x" * 92, b"\r"),
    (b"PROXY TCP4", b"\r"),
    (b"PROXY TCP4 ", b" "),
    (b"PROXY TCP4 0", b"1"),
    (b"PROXY TCP4 25", b"6"),
    (b"PROXY TCP4 1.2.3", b" "),
    (b"PROXY TCP4 1.2.3.4", b"."),
    (b"PROXY TCP4 ", b"::1"),
    (b"PROXY TCP4 ", b"+"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4", b"\r"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 0", b"1"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 6553", b"6"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 ", b"-"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 ", b"\xb2"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1", b"_"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 ", b"\r"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2", b" "),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2", b"\n"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r", b"G"),
    (b"PROXY TCP6 1:2:3:4:5:6:7:8", b":"),
    (b"PROXY TCP6 ::1:", b":"),
    (b"PROXY TCP6 fff", b"g"),
    (b"PROXY TCP6 ffff", b"f"),
    (b"PROXY TCP6 fe80::1", b"%lo"),
    (b"PROXY TCP6 1", b"."),
    (b"\r\n\r\n", b"\r\n"),
    (SIGNATURE, b"\x11"),
    (SIGNATURE, b"\x22"),
    (SIGNATURE + b"\x21", b"\x41"),
    (SIGNATURE + b"\x21", b"\x13"),
    (v2(block=IPV4)[:15], b"\x0b"),
    (v2(family=0x21, block=IPV6)[:15], b"\x23"),
    (v2(family=0x31, block=UNIX)[:15], b"\xd7"),
    (v2(length=4081)[:15], b"\xf1"),
    (SIGNATURE + b"\x20\0", b"\xff\xff"),
    (v2(length=14)[:15], b"\x0e"),
    (v2(block=IPV4, length=16) + b"\x04\0", b"\x02"),
    (v2(block=IPV4 + tlv(NOOP, b"ab"), length=20) + b"\x04\0", b"\1"),
    (with_crc(wrong=1)[:-1], with_crc(wrong=1)[-1:]),
    (with_crc(after=tlv(UNIQUE_ID, b"zz"))[:-1], b"!"),
    (v2(block=IPV4 + tlv(CRC32C, b"abc"))[:-1], b"c"),
    (v2(block=IPV4 + tlv(SSL, b"\1\0\0\0"))[:-1], b"\0"),
    (v2(block=IPV4 + tlv(SSL, b"\1\0\0\0\0\x21\0"))[:-1], b"\0"),
    (v2(block=IPV4 + tlv(SSL, b"\1\0\0\0\0\x21\0\2x"))[:-1], b"x"),
]


@pytest.mark.parametrize(("data", "source", "destination"), GOOD.values(), ids=GOOD)
def test_headers(data, source, destination):
    header = parse(data + b"PROXY TCP4 of the client's")
    assert (header.size, header.source, header.destination) == (len(data), source, destination)
    assert header.version == (2 if data.startswith(b"\r") else 1)
    assert header.local == (data[12:13] == b"\x20")
    assert parse(data) == header


@pytest.mark.parametrize("data", [data for data, *_ in GOOD.values()], ids=GOOD)
def test_a_header_is_awaited_to_its_end(data):
    assert [size for size in range(len(data)) if parse(data[:size]) is not None] == []


@pytest.mark.parametrize(("begun", "wrong"), BAD)
def test_what_cannot_become_a_header_is_refused_at_once(begun, wrong):
    assert parse(begun) is None
    for more in (b"", b"\r\n", b"\0" * 5000):
        with pytest.raises(ProxyProtocolError):
            parse(begun + wrong + more)


def test_a_port_is_a_number_in_its_shortest_form_up_to_65535():
    texts = {f"{first}{rest}" for first in map(chr, range(256)) for rest in ("", "0", "1", "1 ", "65535", "65536")}
    ports = set()
    for text in texts | {"00", "65535", "99999"}:
        with contextlib.suppress(ProxyProtocolError):
            header = parse(f"PROXY TCP4 1.2.3.4 1.2.3.4 {text} 1\r\n".encode("latin-1"))
            assert str(header.source[1]) == text
            ports.add(text)
    assert ports == {str(port) for port in range(65536)} & (texts | {"65535"})


def test_the_longest_header_of_version_2_may_be_chosen():
    data = v2(block=IPV4)
    assert parse(data, len(data)).size == len(data)
    with pytest.raises(ProxyProtocolError, match="28 bytes, which is more than 27"):
        parse(data[:16], len(data) - 1)


def test_tlvs():
    header = parse(v2(block=IPV4 + tlv(0xEA, b"\1vpce-0") + tlv(NOOP, b"") + tlv(0xEA, b"second")))
    assert header.tlvs == ((0xEA, b"\1vpce-0"), (NOOP, b""), (0xEA, b"second"))
    assert (header.tlv(0xEA), header.tlv(NOOP), header.tlv(1)) == (b"\1vpce-0", b"", None)


@pytest.mark.parametrize(
    ("client", "verify", "verified"),
    [
        (0x07, 0, True),
        (0x03, 0, True),
        (0x05, 0, True),
        (0x01, 0, False),  # without a certificate there is none that could be wrong
        (0x01, 1, False),
        (0x03, 1, False),
        (0x07, 1 << 24, False),
    ],
)
def test_a_client_is_verified_by_its_certificate_only(client, verify, verified):
    subs = tlv(SSL_VERSION, b"TLSv1.3") + tlv(SSL_CN, "Zoë".encode()) + tlv(SSL_CIPHER, b"TLS_AES_128_GCM_SHA256")
    header = parse(v2(block=IPV4 + tlv(SSL, struct.pack("!BI", client, verify) + subs)))
    assert header.tls == ClientTLS(verified, "TLSv1.3", "Zoë", "TLS_AES_128_GCM_SHA256")


def test_a_client_without_tls_has_none():
    assert parse(v2(block=IPV4)).tls is None
    assert parse(v2(block=IPV4 + tlv(SSL, b"\0\0\0\0\1"))).tls is None  # as HAProxy says of clients in the plain


def test_the_checksum_is_that_of_the_standard():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4


@st.composite
def resembling_headers(draw):
    data = bytearray(draw(st.sampled_from([data for data, *_ in GOOD.values()])))
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.integers(0, len(data)))
    return bytes(data[: draw(st.sampled_from([cut, len(data)]))]) + draw(st.binary(max_size=20))


def outcome(data):
    try:
        return parse(data)
    except ProxyProtocolError as error:
        return error


@given(resembling_headers())
def test_what_was_decided_holds_whatever_follows(data):
    result = None
    for size in range(max(len(data) - 300, 0), len(data) + 1):
        before, result = result, outcome(data[:size])
        if isinstance(before, Header):
            assert result == before
        elif before is not None:
            assert isinstance(result, ProxyProtocolError)
        if isinstance(result, Header):
            assert result.size <= size
        elif result is not None:  # a line of a log
            assert str(result).isascii()
            assert len(str(result)) < 600
