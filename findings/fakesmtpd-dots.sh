#!/usr/bin/env bash
# A client puts a dot before each line of a message that begins with one, and the server takes it away (RFC 5321, 4.5.2).
# FakeSMTPd 2026.7.0 stores the lines as they were sent, so that a message which a program sends through it does not
# come out as it was.
set -euo pipefail

work=$(mktemp -d)
trap 'kill "${server-}" 2>/dev/null || true; rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check FakeSMTPd==2026.7.0
port=$("$work/venv/bin/python" -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
"$work/venv/bin/fakesmtpd" --bind 127.0.0.1 --port "$port" --output-filename "$work/mbox" 2>"$work/log" &
server=$!
"$work/venv/bin/python" - "$port" "$work/mbox" <<'PYTHON'
import contextlib
import smtplib
import sys
import time
from importlib.metadata import version
from pathlib import Path

port, mbox = int(sys.argv[1]), Path(sys.argv[2])
deadline = time.monotonic() + 20
while True:
    with contextlib.suppress(ConnectionRefusedError), smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.sendmail("ann@example.org", "bob@example.org", "one\r\n.\r\n.hidden\r\ntwo\r\n")
        break
    assert time.monotonic() < deadline, "the server does not listen"
    time.sleep(0.1)
while "two" not in mbox.read_text():
    assert time.monotonic() < deadline, "the message is not stored"
    time.sleep(0.1)

print("FakeSMTPd", version("FakeSMTPd"))
print(mbox.read_text(), end="")
lines = mbox.read_text().splitlines()
begin = lines.index("one")
sys.exit(0 if lines[begin : begin + 4] == ["one", "..", "..hidden", "two"] else "it behaves differently now")
PYTHON
