"""What a channel costs around the framing: its passes, its system calls, its memory, and large input, in one run.

    python bench/bench_channel.py [--quick] [--json FILE]

- A request and its response over a socket pair, system calls of both ends included, one a read and 16 a read.  The
  floor is one recv(), the program's callbacks, and one send() for all.
- An idle channel in a pass of asyncore.loop(), without the system call, before and after asynchat_fast.loop() has run.
- The memory of an idle channel, as tracemalloc counts it; the socket is not counted.
- 512 MiB in over loopback TCP, with the terminator None and with a number.  The floor is a loop of recv().

Figures are CPU time, the best of rounds in which the peers take turns, and how many times faster than the standard
library's asynchat that is.
"""

import asyncio
import gc
import os
import socket
import time
import tracemalloc
from functools import partial
from multiprocessing import get_context

import _common
from _table import FLOOR, Table

from asynchat_fast.benchmark_cases import CRLF, KIB, EchoProgram, idle_class, idle_trial, with_own_code

LINE = b"x" * 62 + CRLF
READ = 64 * KIB
FEW, IDLE = 10, 150  # connections whose memory is measured; macOS lets a process have 256 files open
PROTOCOL, STREAMS = "asyncio protocol", "asyncio streams"


class BareEcho:
    """The floor: the program's callbacks, and two system calls."""

    def __init__(self, sock, map):
        self.sock = sock

    def set_terminator(self, terminator):
        self.terminator = terminator

    def push(self, data):
        self.written.append(data)

    def handle_read(self):
        self.written = []
        for payload in self.sock.recv(READ).split(self.terminator)[:-1]:
            self.collect_incoming_data(payload)
            self.found_terminator()
        self.sock.send(b"".join(self.written))


def pair_trial(base, at_once, requests):
    """Return *requests* requests and their responses, *at_once* of them a read, over a socket pair."""
    near, far = socket.socketpair()
    near.setblocking(False)
    channel = type("Echo", (with_own_code(EchoProgram), base), {})(near, {})
    channel.incoming = []
    channel.set_terminator(CRLF)
    message = LINE * at_once
    size = at_once * (len(LINE) - len(CRLF))

    def run():
        for _ in range(requests // at_once):
            far.send(message)
            channel.handle_read()
            received = 0
            while received < size:
                received += len(far.recv(READ))

    return lambda: run


def measure_pairs(table, names, quick):
    requests = 800 if quick else 8000
    for at_once in 1, 16:
        bases = {name: _common.load_asynchat(name).async_chat for name in names}
        bases[FLOOR] = type("BareEcho", (with_own_code(BareEcho),), {})
        trials = {name: pair_trial(base, at_once, requests) for name, base in bases.items()}
        table.measure(f"over a socket pair, {at_once} a read", "request", requests, trials)


def run_our_loop(asynchat, cls):
    """Run the loop of *asynchat* over a channel of class *cls*."""
    near, far = socket.socketpair()
    with near, far:
        channels = asynchat.SocketMap()
        channel = cls(near, channels)
        channel.set_terminator(CRLF)
        asynchat.call_later(0.01, channel.close, map=channels)
        asynchat.loop(map=channels)


def measure_idle(table, names, quick):
    count = 100 if quick else 1000
    for when in "", ", after asynchat_fast.loop()":
        trials = {}
        for name in names:
            asynchat = _common.load_asynchat(name)
            cls = idle_class(asynchat.async_chat)
            if when and name != _common.STDLIB:
                run_our_loop(asynchat, cls)
            trials[name] = idle_trial(cls, asynchat.asyncore, count)
        table.measure(f"idle, a pass{when}", "channel", count, trials)


def idle_channels(asynchat, sockets):
    channels = {}
    cls = idle_class(asynchat.async_chat)
    for sock in sockets:
        cls(sock, channels).set_terminator(CRLF)
    return channels


async def idle_protocols(sockets):
    loop = asyncio.get_running_loop()
    return [await loop.create_connection(asyncio.Protocol, sock=sock) for sock in sockets]


async def idle_streams(sockets):
    kept = []
    for sock in sockets:
        reader, writer = await asyncio.open_connection(sock=sock)
        kept.append((writer, asyncio.create_task(reader.readline())))
    await asyncio.sleep(0)
    return kept


def measure_memory(name, pipe):
    """Tell by *pipe* how many bytes an idle connection of peer *name* takes, the work of a process."""
    loop = asyncio.new_event_loop()
    one, _other = socket.socketpair()
    kept = []

    def connect(count):
        sockets = [socket.socket(fileno=os.dup(one.fileno())) for _ in range(count)]
        for sock in sockets:
            sock.setblocking(False)
        gc.collect()
        tracemalloc.start()
        if name in (PROTOCOL, STREAMS):
            made = loop.run_until_complete((idle_protocols if name == PROTOCOL else idle_streams)(sockets))
        else:
            made = idle_channels(_common.load_asynchat(name), sockets)
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        kept.append((sockets, made))
        return size

    connect(FEW)  # what is imported or filled once is not counted
    few = connect(FEW)
    pipe.send((connect(FEW + IDLE) - few) / IDLE)
    os._exit(0)


def in_process(work, *arguments):
    """Return what *work* tells by a pipe, from a process of its own."""
    spawn = get_context("spawn")
    near, far = spawn.Pipe()
    process = spawn.Process(target=work, args=(*arguments, far))
    process.start()
    far.close()
    try:
        return near.recv()
    finally:
        process.join()


def send_all(address, size):
    data = bytes(1 << 20)
    with socket.create_connection(address) as sock:
        while size:
            size -= sock.send(data[: min(size, len(data))])


def receive_bare(sock):
    received = 0
    while data := sock.recv(READ):
        received += len(data)
    return received


def receive_by(asynchat, terminator, sock):
    class Receiver(asynchat.async_chat):
        received, done = 0, False

        def collect_incoming_data(self, data):
            self.received += len(data)

        def found_terminator(self):
            self.set_terminator(terminator)

        def handle_close(self):
            self.done = True

    channel = Receiver(sock, {})
    sock.setblocking(True)
    channel.set_terminator(terminator)
    while not channel.done:
        channel.handle_read()
    return channel.received


def receive_seconds(receive, size):
    """Return the CPU seconds of *receive*, which is given a socket that *size* bytes come in by."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = get_context("spawn").Process(target=send_all, args=(listener.getsockname(), size))
        sender.start()
        sock, _ = listener.accept()
    with sock:
        start = time.process_time()
        received = receive(sock)
        seconds = time.process_time() - start
    sender.join()
    assert received == size, f"{received} of {size} bytes came in"
    return seconds


def measure_large_input(table, names, quick):
    size, rounds = (16 << 20, 1) if quick else (512 << 20, 5)
    for label, terminator in ("terminator None", None), ("terminator 1,048,576", 1 << 20):
        receivers = {name: partial(receive_by, _common.load_asynchat(name), terminator) for name in names}
        receivers[FLOOR] = receive_bare
        seconds = {name: [] for name in receivers}
        for turn in range(rounds):
            _common.progress(f"{size >> 20} MiB in, {label}: round {turn + 1} of {rounds} ...")
            for name, receive in receivers.items():
                seconds[name].append(receive_seconds(receive, size))
        _common.progress()
        nanoseconds = {name: sorted(1e9 * each / (size / KIB) for each in spent) for name, spent in seconds.items()}
        table.add(f"{size >> 20} MiB in, {label}", "KiB", nanoseconds)


def main():
    options = _common.parse(_common.arguments(__doc__))
    names = _common.asynchat_peers()
    table = Table([*names, FLOOR], options.quick)
    _common.print_header(f"best of up to {table.rounds} rounds; 2x: twice as fast as {_common.STDLIB}")
    measure_pairs(table, names, options.quick)
    measure_idle(table, names, options.quick)
    measure_large_input(table, names, options.quick)
    print("\nbytes of an idle connection")
    for name in [*names, PROTOCOL, STREAMS]:
        size = in_process(measure_memory, name)
        table.rows.append({"peer": name, "bytes": size})
        print(f"  {name:<28}{_common.figure(size):>15}")
    if options.json:
        _common.write_json(options.json, "channel", table.rows)


if __name__ == "__main__":
    main()
