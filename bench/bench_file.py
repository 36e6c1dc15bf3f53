"""What it costs to send a file, by asynchat_fast's file_producer and its peers, in one run.

    python bench/bench_file.py [--quick] [--size MIB] [--json FILE]

Each peer serves from a process of its own: each client gets the file (1 GiB) over loopback TCP,
and the client drops what it receives.  The figures are the server's CPU time for the file, system
calls included, and the bytes a second, the best of several rounds in turns, and how many times
as much CPU that is as the floor: os.sendfile() in a loop on a blocking socket.

"by reads" is the same file_producer where os.sendfile() is not to be used; asynchat has nothing but
a producer that reads as much at once as asynchat sends.
"""

import asyncio
import os
import socket
import sys
import tempfile
import time
from functools import partial
from threading import Thread

import _common
from _common import figure
from _servers import PythonServer

FLOOR, BY_READS, ASYNCIO = "os.sendfile loop", "asynchat_fast by reads", "asyncio sendfile"
MIB = 1 << 20
RECEIVED_AT_ONCE = 4 * MIB


def serve_bare(listener, path):
    listener.setblocking(True)
    while True:
        connection, _ = listener.accept()
        with connection, open(path, "rb") as file:
            offset, size = 0, os.fstat(file.fileno()).st_size
            while offset < size:
                offset += os.sendfile(connection.fileno(), file.fileno(), offset, size - offset)


def serve_asynchat_fast(listener, path, by_reads=False):
    import asynchat_fast

    class Sender(asynchat_fast.async_chat):
        def __init__(self, sock):
            super().__init__(sock)
            self.push_with_producer(asynchat_fast.file_producer(open(path, "rb")))  # noqa: SIM115
            self.close_when_done()

    class Reader(Sender):
        def send(self, data):  # which is not to be passed by
            return super().send(data)

    asynchat_fast.chat_server(listener, Reader if by_reads else Sender)
    asynchat_fast.loop()


class ReadingProducer:
    """What programs have for a file on asynchat."""

    def __init__(self, file):
        self.file = file

    def more(self):
        return self.file.read(65536)


def serve_stdlib(listener, path):
    asynchat = _common.load_asynchat(_common.STDLIB)
    asyncore = asynchat.asyncore

    class Server(asyncore.dispatcher):
        def handle_accepted(self, sock, address):
            channel = asynchat.async_chat(sock)
            channel.push_with_producer(ReadingProducer(open(path, "rb")))  # noqa: SIM115
            channel.close_when_done()

    Server(listener).accepting = True
    asyncore.loop(use_poll=True)


async def send_by_asyncio(path, reader, writer):
    with open(path, "rb") as file:
        await asyncio.get_running_loop().sendfile(writer.transport, file)
    writer.close()


async def serve_asyncio(listener, path):
    server = await asyncio.start_server(partial(send_by_asyncio, path), sock=listener)
    await server.serve_forever()


def serve_by_asyncio(listener, path):
    asyncio.run(serve_asyncio(listener, path))


PEERS = {
    FLOOR: serve_bare,
    _common.FAST: serve_asynchat_fast,
    BY_READS: partial(serve_asynchat_fast, by_reads=True),
    _common.STDLIB: serve_stdlib,
    ASYNCIO: serve_by_asyncio,
}


def serve(peer, path, pipe):
    """Serve *path* as *peer*, the work of a process; answer whatever comes by *pipe* with the CPU time so far."""

    def tell_time():
        while True:
            pipe.recv()
            pipe.send(time.process_time())

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    pipe.send(listener.getsockname())
    Thread(target=tell_time, daemon=True).start()
    PEERS[peer](listener, path)


def receive(address, size, buffer):
    """Receive what the server at *address* sends; exit unless that is *size* bytes."""
    received = 0
    with socket.create_connection(address, timeout=60) as connection:
        while count := connection.recv_into(buffer):
            received += count
    if received != size:
        sys.exit(f"error: {received:,} bytes have come of {size:,}")


def best_of_rounds(servers, rounds, size):
    """Send to one client by each of *servers* in turns; return the least CPU and elapsed seconds of each."""
    best, buffer = {}, bytearray(RECEIVED_AT_ONCE)
    for turn in range(rounds):
        for peer, server in servers.items():
            _common.progress(f"round {turn + 1} of {rounds}: {peer} ...")
            cpu, start = server.cpu_seconds(), time.perf_counter()
            receive(server.address, size, buffer)
            elapsed = time.perf_counter() - start
            measured = server.cpu_seconds() - cpu, elapsed
            best[peer] = tuple(map(min, best.get(peer, measured), measured))
    _common.progress()
    return best


def print_table(best, size):
    floor, _ = best[FLOOR]
    print(f"\n{f'a file of {size // MIB:,} MiB':<28}{'CPU ms':>10}{'times the floor':>18}{'MiB/s':>10}")
    for peer, (cpu, elapsed) in best.items():
        print(f"  {peer:<26}{figure(1e3 * cpu):>10}{f'{cpu / floor:.2f}':>18}{figure(size / MIB / elapsed):>10}")


def choose_peers():
    if not hasattr(os, "sendfile"):
        sys.exit("error: this system has no os.sendfile(), which is what it is all about")
    return [peer for peer in PEERS if peer != _common.STDLIB or _common.STDLIB in _common.asynchat_peers()]


def main():
    parser = _common.arguments(__doc__)
    parser.add_argument("--size", type=int, metavar="MIB", help="the size of the file (1024)")
    options = _common.parse(parser)
    rounds, size = (2, 16 * MIB) if options.quick else (7, 1024 * MIB)
    size = options.size * MIB if options.size else size
    _common.print_header(f"best of {rounds} rounds, one client")
    servers = {}
    with tempfile.NamedTemporaryFile() as file:
        block = os.urandom(MIB)
        for _ in range(size // MIB):
            file.write(block)
        file.flush()
        try:
            for peer in choose_peers():
                servers[peer] = PythonServer(serve, peer, file.name)
            best = best_of_rounds(servers, rounds, size)
        finally:
            for server in servers.values():
                server.stop()
    print_table(best, size)
    if options.json:
        rows = [
            {"peer": peer, "bytes": size, "cpu_ms": 1e3 * cpu, "bytes_per_second": size / elapsed}
            for peer, (cpu, elapsed) in best.items()
        ]
        _common.write_json(options.json, "file", rows)


if __name__ == "__main__":
    main()
