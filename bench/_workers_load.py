"""Clients that check each response: _workers_load.py PORT SECONDS CLIENTS fresh|kept [PAUSE]

Prints as JSON how many responses were right, and how many requests were lost, or refused a connection.
"""

import json
import socket
import sys
import threading
import time
from collections import Counter

from _workers_servers import HOST


def ask(sock, path):
    """Return whether the connection goes on; OSError, ValueError or EOFError if the response is none."""
    sock.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = head.lower().split(b"\r\n")
    (length,) = [int(field.partition(b":")[2]) for field in fields if field.startswith(b"content-length:")]
    while len(body) < length:
        body += received(sock)
    if not head.startswith(b"HTTP/1.1 200") or body.split()[1] != path:
        raise ValueError(data)
    return b"connection: close" not in fields


def received(sock):
    data = sock.recv(65536)
    if not data:
        raise EOFError
    return data


def run_client(number, port, end, fresh, pause, counts):
    sock, count = None, 0
    while time.monotonic() < end:
        count += 1
        try:
            if sock is None:
                sock = socket.create_connection((HOST, port), 5)
            goes_on = ask(sock, b"/%d/%d" % (number, count)) and not fresh
            counts["right"] += 1
        except (OSError, ValueError, EOFError) as error:
            goes_on = False
            counts["refused" if isinstance(error, ConnectionRefusedError) else "lost"] += 1
            time.sleep(0.01)
        if not goes_on and sock is not None:
            sock.close()
            sock = None
        if pause:
            time.sleep(pause)
    if sock is not None:
        sock.close()


def main():
    port, seconds, clients = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    fresh, pause = sys.argv[4] == "fresh", float(sys.argv[5]) if len(sys.argv) > 5 else 0
    counts = [Counter(right=0, lost=0, refused=0) for _ in range(clients)]
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=run_client, args=(number, port, end, fresh, pause, counts[number]))
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({key: sum(each[key] for each in counts) for key in counts[0]}))


if __name__ == "__main__":
    main()
