#!/usr/bin/env bash
# A PROXY header of version 2 with the command LOCAL may have addresses, which a receiver is to leave alone (section 2.2
# of the specification).  proxy-protocol 0.11.3 takes their bytes for the TLVs that stand behind addresses: it tells of
# an ALPN that nobody has sent.  With the command PROXY it reads the same block right.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check proxy-protocol==0.11.3
"$work/venv/bin/python" - <<'PYTHON'
import socket
import struct
import sys
from importlib.metadata import version

from proxyprotocol.v2 import ProxyProtocolV2

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21


def header(command):
    """Return a header for TCP over IPv4, from 1.0.2.104, port 80, to 50.0.0.0, port 1: addresses, and no TLV."""
    block = socket.inet_aton("1.0.2.104") + socket.inet_aton("50.0.0.0") + struct.pack(">HH", 80, 1)
    return SIGNATURE + struct.pack(">BBH", command, 0x11, len(block)) + block


print("proxy-protocol", version("proxy-protocol"))
seen = {}
for name, command in ("PROXY", PROXY), ("LOCAL", LOCAL):
    result = ProxyProtocolV2().unpack(header(command))
    seen[name] = result.tlv.alpn
    print(f"{name}: {type(result).__name__}, ALPN {result.tlv.alpn!r}")
sys.exit(0 if seen == {"PROXY": None, "LOCAL": b"h2"} else "it behaves differently now")
PYTHON
