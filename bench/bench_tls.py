"""Answer lines over TLS, by asynchat_fast and its peers, in one run.

    python bench/bench_tls.py [--quick] [--connections N] [--json FILE]

Each peer serves in a process of its own, with the same certificate (P-256) and TLS 1.3, and the same client asks
them in turns: on every connection one line at a time, and 16 at once.  The figures are the server's CPU
microseconds for a request and for a full handshake, the KiB that an idle connection takes, and the
CPU milliseconds for sending a file, by the GB.  redis-server, where it is installed, shows what the same costs in C.
"""

import asyncio
import importlib.util
import multiprocessing
import os
import selectors
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread

import _common
from _common import figure

PING, PONG, FILE = b"PING\r\n", b"+PONG\r\n", b"FILE\r\n"
PIPELINED = 16
IDLE = 400  # connections, for their memory
OURS, ON_ASYNCORE, REDIS = "asynchat_fast", "asynchat_fast on asyncore", "redis-server"
ASYNCIO, UVLOOP = "asyncio", "uvloop"


def make_certificate(folder):
    """Make a certificate for localhost in *folder*, and return its path and that of its key."""
    certificate, key = folder / "server.crt", folder / "server.key"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", *kind, *names, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def server_context(paths):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*paths)
    return context


def client_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


# Servers


def serve_asynchat_fast(listener, context, path, on_asyncore=False):
    import asynchat_fast
    from asynchat_fast.producers import file_producer

    class Pong(asynchat_fast.async_chat):
        coalesce_pushes = True

        def __init__(self, sock):
            super().__init__(sock)
            self.set_terminator(b"\r\n")

        def collect_incoming_data(self, data):
            self.incoming.append(data)

        def found_terminator(self):
            line = b"".join(self.incoming)
            self.incoming.clear()
            if line == b"PING":
                self.push(PONG)
            else:
                self.push_with_producer(file_producer(open(path, "rb")))  # noqa: SIM115 - closed when it is sent

    asynchat_fast.chat_server(listener, Pong, tls=context)
    if on_asyncore:
        asynchat_fast.asyncore.loop(use_poll=True)
    else:
        asynchat_fast.loop()


async def serve_asyncio(listener, context, path):
    class Pong(asyncio.Protocol):
        rest = b""

        def connection_made(self, transport):
            self.transport = transport
            self.may_write = asyncio.Event()
            self.may_write.set()
            self.pause_writing, self.resume_writing = self.may_write.clear, self.may_write.set

        def data_received(self, data):
            *lines, self.rest = (self.rest + data).split(b"\r\n")
            if lines == [b"FILE"]:
                self.task = asyncio.ensure_future(self.send_file())
            elif lines:
                self.transport.write(PONG * len(lines))

        async def send_file(self):
            with open(path, "rb") as file:
                while data := file.read(65536):
                    self.transport.write(data)
                    await self.may_write.wait()

    server = await asyncio.get_running_loop().create_server(Pong, sock=listener, ssl=context)
    await server.serve_forever()


def serve(peer, paths, path, pipe):
    """Serve as *peer*, the work of a process; tell by *pipe* the CPU seconds so far, and the bytes of memory."""

    def tell():
        while True:
            pipe.recv()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            pipe.send((time.process_time(), pages * os.sysconf("SC_PAGE_SIZE")))

    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    pipe.send(listener.getsockname()[1])
    Thread(target=tell, daemon=True).start()
    context = server_context(paths)
    if peer in (OURS, ON_ASYNCORE):
        serve_asynchat_fast(listener, context, path, peer == ON_ASYNCORE)
    elif peer == ASYNCIO:
        asyncio.run(serve_asyncio(listener, context, path))
    else:
        import uvloop

        uvloop.run(serve_asyncio(listener, context, path))


class Server:
    """A peer's process."""

    def __init__(self, peer, paths, path):
        spawn = multiprocessing.get_context("spawn")
        self.pipe, far_end = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(peer, paths, path, far_end), daemon=True)
        self.process.start()
        far_end.close()
        self.address = "127.0.0.1", self.pipe.recv()

    def usage(self):
        self.pipe.send(None)
        return self.pipe.recv()

    def stop(self):
        self.process.terminate()
        self.process.join()


class Redis:
    """redis-server with TLS."""

    def __init__(self, paths, folder):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = free.getsockname()
        options = {"tls-port": self.address[1], "port": 0, "tls-cert-file": paths[0], "tls-key-file": paths[1]}
        options |= {"tls-ca-cert-file": paths[0], "tls-auth-clients": "no", "save": "", "dir": folder}
        command = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen(["redis-server", *command], stdout=subprocess.DEVNULL)
        for _ in range(100):
            time.sleep(0.05)
            try:
                socket.create_connection(self.address).close()
            except OSError:
                continue
            return
        sys.exit("error: redis-server does not start with TLS")

    def usage(self):
        proc = Path(f"/proc/{self.process.pid}")
        ticks = sum(map(int, (proc / "stat").read_text().rpartition(")")[2].split()[11:13]))
        pages = int((proc / "statm").read_text().split()[1])
        return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self):
        self.process.terminate()
        self.process.wait()


# The client


def connect(server, count):
    context = client_context()
    connections = []
    for _ in range(count):
        sock = socket.create_connection(server.address)
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


def cpu_of(server, function, *args):
    before, _ = server.usage()
    function(*args)
    return server.usage()[0] - before


def measure(server, peer, connections, requests, file_size, rounds):
    """Return the figures of *server* by name, the best of several *rounds*."""
    opened = connect(server, connections)
    ask(opened, PING, len(PONG), 20)
    best = {}

    def note(name, value):
        best[name] = min(value, best.get(name, value))

    _, memory = server.usage()  # before others have used and freed some
    idle = connect(server, IDLE)
    time.sleep(0.2)
    best["idle"] = (server.usage()[1] - memory) / IDLE
    for each in idle:
        each.close()
    for _ in range(rounds):
        for name, depth in (("one", 1), ("at once", PIPELINED)):
            times = requests // connections
            cpu = cpu_of(server, ask, opened, PING * depth, len(PONG) * depth, times)
            note(name, cpu / times / depth / connections)
        if peer != REDIS:
            note("file", cpu_of(server, ask, opened[:1], FILE, file_size, 1) / file_size * 1e9)
        before, _ = server.usage()
        idle = connect(server, IDLE)
        for each in idle:
            each.close()
        note("handshake", (server.usage()[0] - before) / IDLE)
    for each in opened:
        each.close()
    return best


def peers():
    return [
        OURS,
        ON_ASYNCORE,
        ASYNCIO,
        *[UVLOOP] * bool(importlib.util.find_spec("uvloop")),
        *[REDIS] * bool(shutil.which(REDIS)),
    ]


def main():
    parser = _common.arguments(__doc__)
    parser.add_argument("--connections", type=int, default=50, metavar="N", help="connections to a server (50)")
    options = _common.parse(parser)
    os.environ.update({"MALLOC_TRIM_THRESHOLD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "67108864"})
    rounds, requests, file_size = (1, 2000, 1 << 26) if options.quick else (5, 20_000, 1 << 28)
    _common.print_header(f"best of {rounds} rounds, {options.connections} connections, TLS 1.3")
    print(f"\n{'':<28}{'one':>8}{'16':>8}{'handshake':>11}{'KiB idle':>10}{'ms/GB':>8}")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make_certificate(folder)
        path = folder / "large"
        path.write_bytes(os.urandom(1 << 20) * (file_size >> 20))
        for peer in peers():
            server = Redis(paths, folder) if peer == REDIS else Server(peer, paths, path)
            try:
                best = measure(server, peer, options.connections, requests, file_size, rounds)
            finally:
                server.stop()
            rows.append({"peer": peer, **best})
            row = [figure(1e6 * best[each]) for each in ("one", "at once", "handshake")]
            file = figure(1e3 * best["file"]) if "file" in best else "-"
            print(f"{peer:<28}{row[0]:>8}{row[1]:>8}{row[2]:>11}{best['idle'] / 1024:>10.1f}{file:>8}", flush=True)
    if options.json:
        _common.write_json(options.json, "tls", rows)


if __name__ == "__main__":
    main()
