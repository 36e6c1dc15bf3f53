#!/usr/bin/env bash
# STOMP 1.2 lets any number of line ends stand between frames, and heart-beats are line ends.  A client of stomp.py
# 9.0.0 that reads two of them together with the frame behind them drops that frame without a word; it takes the frame
# after one line end, after two in reads of their own, and directly behind another frame.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check stomp.py==9.0.0 docopt-ng==0.9.0 websocket-client==1.9.2
"$work/venv/bin/python" - <<'PYTHON'
import queue
import socket
import sys
import threading
from importlib.metadata import version

import stomp

CONNECTED = b"CONNECTED\nversion:1.2\n\n\0"


def message(number):
    return b"MESSAGE\nsubscription:1\ndestination:/q\nmessage-id:%d\n\nbody\0" % number


class Listener(stomp.ConnectionListener):
    def __init__(self):
        self.connected = threading.Event()
        self.received = []
        self.disconnected = threading.Event()

    def on_connected(self, frame):
        self.connected.set()

    def on_message(self, frame):
        self.received.append(frame.headers["message-id"])

    def on_disconnected(self):
        self.disconnected.set()


def received_of(data):
    """Return the ids of the messages that a client sees in *data*, which comes by one send() once it is connected."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = stomp.Connection12([listening.getsockname()], heartbeats=(0, 0), reconnect_attempts_max=1)
        listener = Listener()
        client.set_listener("", listener)
        threading.Thread(target=client.connect, daemon=True).start()
        connection = listening.accept()[0]
        with connection:
            connection.recv(4096)
            connection.sendall(CONNECTED)
            assert listener.connected.wait(10)
            connection.sendall(data)
        assert listener.disconnected.wait(10)
        return listener.received


print("stomp.py", version("stomp.py"))
seen = {}
for name, data in {
    "a frame": message(1),
    "one line end, a frame": b"\n" + message(1),
    "two line ends, a frame": b"\n\n" + message(1),
    "two line ends, a frame, a frame": b"\n\n" + message(1) + message(2),
    "a frame, two line ends, a frame": message(1) + b"\n\n" + message(2),
}.items():
    seen[name] = received_of(data)
    print(f"{name}: messages {' '.join(seen[name]) or 'none'}")
expected = [["1"], ["1"], [], ["2"], ["1", "2"]]
sys.exit(0 if list(seen.values()) == expected else "it behaves differently now")
PYTHON
