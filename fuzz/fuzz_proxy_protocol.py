"""Fuzz the parser of PROXY headers: what it has decided of a beginning holds, whatever follows."""

import struct
import sys

import atheris

with atheris.instrument_imports(include=["asynchat_fast.proxy_protocol"]):  # nothing of it is compiled
    from asynchat_fast.proxy_protocol import Header, ProxyProtocolError, crc32c, parse

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PIECES = (
    *(b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b" ", b"\r\n", b"\r", b"\n", b"192.0.2.7", b"::1", b"65535", b"0"),
    *(SIGNATURE, b"\x20", b"\x21", b"\x11", b"\x21\x21", b"\x31", b"\0\x0c", b"\x03\0\4", b"\x20\0\5", b"\4\0\0"),
)


def any_header(data):
    """Return bytes that resemble a header, more or less, and may have a right checksum."""
    header = b""
    for _ in range(data.ConsumeIntInRange(0, 20)):
        if data.ConsumeBool():
            header += data.PickValueInList(list(PIECES))
        else:
            header += data.ConsumeBytes(data.ConsumeIntInRange(0, 16))
    if data.ConsumeBool():
        block = data.ConsumeBytes(12).ljust(12, b"\0") + header[:200] + b"\3\0\4" + bytes(4)
        header = SIGNATURE + b"\x21\x11" + struct.pack("!H", len(block)) + block
        header = header[:-4] + struct.pack("!I", crc32c(header))
    return header


def outcome(data, longest):
    try:
        return parse(data, longest)
    except ProxyProtocolError as error:
        return str(error)


def test_one_input(raw):
    data = atheris.FuzzedDataProvider(raw)
    longest = data.PickValueInList([16, 30, 4096])
    header = any_header(data)
    decided = None
    for size in range(len(header) + 1):
        result = outcome(header[:size], longest)
        if isinstance(decided, Header):
            assert result == decided, (header, size)
        elif decided is not None:
            assert isinstance(result, str), (header, size)
        if isinstance(result, Header):
            assert result.size <= size, (header, size)
        decided = result


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
