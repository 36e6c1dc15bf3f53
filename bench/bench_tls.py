"""Answer lines and HTTP over TLS, by asynchat_fast and its peers, in one run.

    python bench/bench_tls.py [--quick] [--only PEER ...] [--connections N] [--json FILE]

Each peer serves in a process of its own, with the same certificate (P-256) and TLS 1.3, and the same client asks
them in turns: on every connection one line at a time, 16 at once, and one GET at a time.  The figures are the server's
CPU microseconds for a request and for a full handshake, the KiB that an idle connection takes, and the CPU milliseconds
for sending a file, by the GB.  redis-server and nginx, where they are installed, show what the same costs in C.
"""

import os
import selectors
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _common
import _tls_servers
from _common import figure
from _tls_servers import FILE, PING, PONG

PIPELINED = 16
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
TITLES = {"one": "one", "at once": "16", "get": "GET", "handshake": "handshake", "idle": "KiB idle", "file": "ms/GB"}
UNITS = {"idle": 1 / 1024, "file": 1e3}  # what a figure is shown in; the others in microseconds


def make_certificate(folder):
    """Make a certificate for localhost in *folder*, and return its path and that of its key."""
    certificate, key = folder / "server.crt", folder / "server.key"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", *kind, *names, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


# The client


def connect(address, count):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connections = []
    for _ in range(count):
        sock = socket.create_connection(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections.append(context.wrap_socket(sock, server_hostname="localhost"))
    return connections


def ask(connections, request, response_size, times):
    """Send *request* on each of *connections* again and again, whenever it is answered, *times* in all."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ, [response_size, times])
            connection.send(request)
        while selector.get_map():
            for key, _ in selector.select():
                connection, state = key.fileobj, key.data
                try:
                    while state[0]:
                        state[0] -= len(connection.recv(65536)) or sys.exit("error: a server has closed a connection")
                except ssl.SSLWantReadError:
                    continue
                state[:] = response_size, state[1] - 1
                if state[1]:
                    connection.send(request)
                else:
                    selector.unregister(connection)


def size_of_response(connection):
    """Return the bytes of what is answered to a GET."""
    connection.sendall(GET)
    response = b""
    while not response.endswith(b"\r\n\r\nok"):
        response += connection.recv(65536) or sys.exit(f"error: a server answers {response!r} to a GET")
    return len(response)


def memory_of(server):
    try:
        return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:  # not on this system
        return None


class Measured:
    """A server, the connections to it, and its figures by name, the best of all rounds."""

    def __init__(self, peer, paths, path, count, idle_count):
        self.server = server = _tls_servers.start(peer, paths, path)
        self.best = {}
        self.file_size = path.stat().st_size
        self.lines = connect(server.address, count) if server.address else []
        self.count, self.idle_count = count, idle_count
        if self.lines:
            ask(self.lines, PING, len(PONG), 20)
        memory = memory_of(server)  # before others have used and freed some
        idle = connect(server.address or server.web_address, idle_count)
        time.sleep(0.2)
        if memory is not None:
            self.best["idle"] = (memory_of(server) - memory) / idle_count
        for each in idle:
            each.close()

    def note(self, name, per, function, *args):
        before = self.server.cpu_seconds()
        function(*args)
        cpu = (self.server.cpu_seconds() - before) / per
        self.best[name] = min(cpu, self.best.get(name, cpu))

    def run_round(self, requests):
        if self.lines:
            for name, depth in (("one", 1), ("at once", PIPELINED)):
                times = requests // len(self.lines)
                per = times * depth * len(self.lines)
                self.note(name, per, ask, self.lines, PING * depth, len(PONG) * depth, times)
        if self.server.web_address:
            self.run_gets(requests // self.count)
        if self.server.sends_files:
            self.note("file", self.file_size / 1e9, ask, self.lines[:1], FILE, self.file_size, 1)
        self.note("handshake", self.idle_count, self.shake_hands)

    def run_gets(self, times):
        connections = connect(self.server.web_address, self.count)  # anew, as servers close those that wait for long
        size = size_of_response(connections[0])
        ask(connections, GET, size, 20)
        self.note("get", times * self.count, ask, connections, GET, size, times)
        for each in connections:
            each.close()

    def shake_hands(self):
        for each in connect(self.server.address or self.server.web_address, self.idle_count):
            each.close()

    def stop(self):
        for each in self.lines:
            each.close()
        self.server.stop()


def measure(peers, folder, connections, quick):
    """Return the figures of *peers* by name, from rounds in turns."""
    rounds, requests, file_size, idle = (1, 1000, 1 << 24, 20) if quick else (5, 20_000, 1 << 28, 400)
    paths = make_certificate(folder)
    path = folder / "large"
    path.write_bytes(os.urandom(1 << 20) * (file_size >> 20))
    servers = {}
    try:
        for peer in peers:
            servers[peer] = Measured(peer, paths, path, connections, idle)
        for number in range(rounds):
            for peer, server in servers.items():
                _common.progress(f"round {number + 1} of {rounds}: {peer}")
                server.run_round(requests)
    finally:
        _common.progress()
        for server in servers.values():
            server.stop()
    return {peer: server.best for peer, server in servers.items()}


def main():
    parser = _common.arguments(__doc__)
    parser.add_argument("--only", nargs="+", metavar="PEER", help="only these peers, by the names in the table")
    parser.add_argument("--connections", type=int, default=50, metavar="N", help="connections to a server (50)")
    options = _common.parse(parser)
    os.environ.update({"MALLOC_TRIM_THRESHOLD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "67108864"})
    _common.print_header(f"rounds in turns, {options.connections} connections, TLS 1.3")
    present, missing = _tls_servers.peers()
    if missing:
        print(f"skipped, because not installed: {', '.join(missing)}")
    peers = [peer for peer in present if not options.only or peer in options.only]
    with tempfile.TemporaryDirectory() as folder:
        best = measure(peers, Path(folder), options.connections, options.quick)
    print(f"\n{'':<28}" + "".join(f"{title:>10}" for title in TITLES.values()))
    for peer, figures in best.items():
        cells = [figure(figures[name] * UNITS.get(name, 1e6)) if name in figures else "-" for name in TITLES]
        print(f"{peer:<28}" + "".join(f"{cell:>10}" for cell in cells))
    if options.json:
        _common.write_json(options.json, "tls", [{"peer": peer, **figures} for peer, figures in best.items()])


if __name__ == "__main__":
    main()
