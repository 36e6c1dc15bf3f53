"""Echo lines over loopback TCP, by asynchat_fast and its peers, in one run.

    python bench/bench_echo.py [--quick] [--connections N] [--json FILE]

Each peer serves from a process of its own, and the same client asks them in turns: on every
connection one line at a time, and 16 at once.  The figures are the server's CPU time for
a request (system calls included) and the requests a second, the best of several rounds, and
how many times better than the standard library's asynchat that is.

The asynchats run on asyncore.loop(use_poll=True), "coalesced" with ``coalesce_pushes = True``.
asyncio serves twice: as a stream, by readuntil(), and as a protocol that splits what it gets.
All write a reply as soon as its request is read, with TCP_NODELAY set.  CPU time is the
figure to compare: the requests a second are also as many as the client can make of them.
The C library's malloc() is told to keep the memory it has.
"""

import asyncio
import multiprocessing
import os
import selectors
import socket
import sys
import time
from collections import defaultdict
from threading import Thread

import _common
from _common import figure

LINE = b"x" * 62 + b"\r\n"
PIPELINED = 16
COALESCED = "coalesced"

# For the processes of the servers: else glibc gives the memory of asyncio's large reads back each time, which
# doubles what a request costs in two page faults, or does not, by luck with the layout of the heap.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "67108864"}


def send_at_once(sock):
    """Do not have a reply wait until the one before it is acknowledged."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def serve_asynchat(listener, asynchat, coalesce=False):
    asyncore = asynchat.asyncore

    class Echo(asynchat.async_chat):
        coalesce_pushes = coalesce

        def collect_incoming_data(self, data):
            self.incoming.append(data)

        def found_terminator(self):
            line = b"".join(self.incoming)
            self.incoming.clear()
            self.push(line + b"\r\n")

    class Server(asyncore.dispatcher):
        def handle_accepted(self, sock, address):
            send_at_once(sock)
            Echo(sock).set_terminator(b"\r\n")

    server = Server(listener)
    server.accepting = True
    asyncore.loop(use_poll=True)


def serve_twisted(listener):
    from twisted.internet import protocol, reactor
    from twisted.protocols.basic import LineReceiver

    class Echo(LineReceiver):
        def connectionMade(self):
            self.transport.setTcpNoDelay(True)

        def lineReceived(self, line):
            self.sendLine(line)

    reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, protocol.Factory.forProtocol(Echo))
    reactor.run()


async def serve_streams(listener):
    async def echo(reader, writer):
        send_at_once(writer.get_extra_info("socket"))
        while True:
            writer.write(await reader.readuntil(b"\r\n"))
            await writer.drain()

    server = await asyncio.start_server(echo, sock=listener)
    await server.serve_forever()


async def serve_protocol(listener):
    class Echo(asyncio.Protocol):
        rest = b""

        def connection_made(self, transport):
            self.transport = transport
            send_at_once(transport.get_extra_info("socket"))

        def data_received(self, data):
            *lines, self.rest = (self.rest + data).split(b"\r\n")
            for line in lines:
                self.transport.write(line + b"\r\n")

    server = await asyncio.get_running_loop().create_server(Echo, sock=listener)
    await server.serve_forever()


def serve_peer(peer, listener):
    if peer == COALESCED:
        serve_asynchat(listener, _common.load_asynchat(_common.FAST), coalesce=True)
    elif peer == "LineReceiver":
        serve_twisted(listener)
    elif peer == "asyncio streams":
        asyncio.run(serve_streams(listener))
    elif peer == "asyncio protocol":
        asyncio.run(serve_protocol(listener))
    else:
        serve_asynchat(listener, _common.load_asynchat(peer))


def peers():
    names = _common.asynchat_peers()
    names.insert(1, COALESCED)
    return names + ["LineReceiver"] * _common.has_twisted() + ["asyncio streams", "asyncio protocol"]


def serve(peer, pipe):
    """Serve as *peer*, the work of a process; answer whatever comes by *pipe* with the CPU time used so far."""

    def tell_time():
        while True:
            pipe.recv()
            pipe.send(time.process_time())

    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    listener.setblocking(False)
    pipe.send(listener.getsockname()[1])
    Thread(target=tell_time, daemon=True).start()
    serve_peer(peer, listener)


class Server:
    """A peer's process, and the connections to it."""

    def __init__(self, peer, connections):
        spawn = multiprocessing.get_context("spawn")  # not a copy of all that was imported here
        self.pipe, far_end = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(peer, far_end), daemon=True)
        self.process.start()
        far_end.close()  # so that recv() fails if the process does
        address = "127.0.0.1", self.pipe.recv()
        self.connections = [socket.create_connection(address, timeout=10) for _ in range(connections)]
        for connection in self.connections:
            send_at_once(connection)
            self.verify(peer, connection)
            connection.settimeout(None)

    def cpu_seconds(self):
        self.pipe.send(None)
        return self.pipe.recv()

    def verify(self, peer, connection):
        """Exit unless lines of many lengths come back as they were."""
        lines = b"".join(b"%d\r\n" % 3**power for power in range(100))
        connection.sendall(lines)
        with connection.makefile("rb") as echo:
            if echo.read(len(lines)) != lines:
                sys.exit(f"error: {peer} does not echo what it is sent")

    def stop(self):
        self.process.terminate()
        self.process.join()
        for connection in self.connections:
            connection.close()


def ask(connections, request, times):
    """Send *request* on each of *connections* again and again, whenever it has come back, *times* in all."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ, [len(request), times])
            connection.sendall(request)
        while selector.get_map():
            for key, _ in selector.select():
                connection, state = key.fileobj, key.data
                state[0] -= len(connection.recv(65536)) or sys.exit("error: a server has closed a connection")
                if not state[0]:
                    state[:] = len(request), state[1] - 1
                    if state[1]:
                        connection.sendall(request)
                    else:
                        selector.unregister(connection)


def measure(server, depth, requests):
    """Return the server's CPU seconds and the elapsed seconds of a request, *depth* of them sent at once."""
    times = requests // depth // len(server.connections)
    cpu, start = server.cpu_seconds(), time.perf_counter()
    ask(server.connections, LINE * depth, times)
    elapsed = time.perf_counter() - start
    count = times * depth * len(server.connections)
    return (server.cpu_seconds() - cpu) / count, elapsed / count


def measure_rounds(servers, rounds, requests):
    """Measure *servers* in turns; return the CPU and elapsed seconds of each round, by peer and depth."""
    measured = defaultdict(list)
    for turn in range(rounds):
        _common.progress(f"round {turn + 1} of {rounds} ...")
        for depth in 1, PIPELINED:
            for peer, server in servers.items():
                measured[peer, depth].append(measure(server, depth, requests * min(depth, 4)))
    _common.progress()
    return measured


def print_table(best, depth, title):
    stdlib = best.get((_common.STDLIB, depth), (None, None))
    print(f"\n{title:<24}{'CPU us/request':>16}{'':>7}{'requests/s':>14}")
    for (peer, of_depth), (cpu, elapsed) in best.items():
        if of_depth == depth:
            times = [_common.times_faster(other, own) for other, own in zip(stdlib, (cpu, elapsed), strict=True)]
            print(f"  {peer:<22}{figure(1e6 * cpu):>16}{times[0]:>7}{figure(1 / elapsed):>14}{times[1]:>7}".rstrip())


def main():
    parser = _common.arguments(__doc__)
    parser.add_argument("--connections", type=int, default=16, metavar="N", help="connections to a server (16)")
    options = _common.parse(parser)
    os.environ.update(KEEP_MEMORY)
    rounds, requests = (3, 1600) if options.quick else (30, 2400)
    _common.print_header(f"best of {rounds} rounds, {options.connections} connections, lines of {len(LINE)} bytes")
    servers = {}
    try:
        for peer in peers():
            servers[peer] = Server(peer, options.connections)
        measured = measure_rounds(servers, rounds, requests)
    finally:
        for server in servers.values():
            server.stop()
    best = _common.best_of(measured)
    print_table(best, 1, "one line at a time")
    print_table(best, PIPELINED, f"{PIPELINED} lines at once")
    if options.json:
        rows = [
            {"peer": peer, "at_once": depth, **_common.request_figures(each)}
            for (peer, depth), each in measured.items()
        ]
        _common.write_json(options.json, "echo", rows)


if __name__ == "__main__":
    main()
