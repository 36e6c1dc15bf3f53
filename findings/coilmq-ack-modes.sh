#!/usr/bin/env bash
# Each subscription of a STOMP client has its own mode of acknowledgement, and in the modes client and client-individual
# a message counts as not processed if the connection ends before it is acknowledged (STOMP 1.1 and 1.2, "SUBSCRIBE ack
# Header").  The broker CoilMQ 1.1.0 keeps one mode for all subscriptions of a connection, that of the last SUBSCRIBE,
# and takes client-individual for auto: it forgets such a message as soon as it has sent it.
set -euo pipefail

work=$(mktemp -d)
trap 'kill "${server-}" 2>/dev/null || true; rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check coilmq==1.1.0 click==8.5.1 pid==3.0.4 python-daemon==3.1.2
port=$("$work/venv/bin/python" -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
"$work/venv/bin/coilmq" --host 127.0.0.1 --port "$port" >"$work/log" 2>&1 &
server=$!
"$work/venv/bin/python" - "$port" <<'PYTHON'
import contextlib
import socket
import sys
import time
from importlib.metadata import version

port = int(sys.argv[1])


class Client:
    """A connection that speaks STOMP 1.1 to the broker."""

    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.reader = self.socket.makefile("rb")
        self.send("CONNECT", "accept-version:1.1", "host:localhost")
        assert self.frame().startswith("CONNECTED\n")

    def send(self, command, *headers, body=""):
        self.socket.sendall("\n".join((command, *headers, "", body)).encode() + b"\0")

    def frame(self):
        frame = bytearray()
        while (octet := self.reader.read(1)) != b"\0":
            assert octet, "the broker has ended the connection"
            frame += octet
        return frame.decode()

    def complete(self, command, *headers, body=""):
        """Send a frame, and return the frames that come before the broker has said that it is done with it."""
        self.send(command, *headers, "receipt:1", body=body)
        return list(iter(self.frame, "RECEIPT\nreceipt-id:1\ncontent-length:0\n\n"))

    def end(self):
        """End the connection, with no DISCONNECT, and wait for the broker to do so."""
        self.socket.shutdown(socket.SHUT_WR)
        assert not self.reader.read()
        self.socket.close()


def again(**modes):
    """Return whether a message that was sent to a first client, which has not acknowledged it, is sent to a second one.

    *modes* has the queues to which the first client subscribes, in this order; the message is for the first of them.
    """
    first, second, producer = Client(), Client(), Client()
    queue = next(iter(modes))
    for name, mode in modes.items():
        assert not first.complete("SUBSCRIBE", f"id:{name}", f"destination:/queue/{name}", f"ack:{mode}")
    assert not producer.complete("SEND", f"destination:/queue/{queue}", body="work")
    assert first.frame().endswith("\n\nwork")
    first.end()
    messages = second.complete("SUBSCRIBE", "id:1", f"destination:/queue/{queue}", "ack:client")
    assert len(messages) < 2
    second.end()
    producer.end()
    return bool(messages)


deadline = time.monotonic() + 20
while True:
    with contextlib.suppress(ConnectionRefusedError):
        Client().end()
        break
    assert time.monotonic() < deadline, "the broker does not listen"
    time.sleep(0.1)

print("CoilMQ", version("coilmq"))
seen = {}
for name, modes in {
    "client": {"a": "client"},
    "client, then client for another queue": {"b": "client", "c": "client"},
    "client, then auto for another queue": {"d": "client", "e": "auto"},
    "client-individual": {"f": "client-individual"},
}.items():
    seen[name] = again(**modes)
    print(f"{name}: the message is {'sent again' if seen[name] else 'lost'}")
sys.exit(0 if list(seen.values()) == [True, True, False, False] else "it behaves differently now")
PYTHON
