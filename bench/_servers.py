"""The same line server, "PING" -> "+PONG", by asynchat_fast and its peers, each in a process of its own.

Redis clients speak so, too, in their inline form: redis-benchmark drives all of them, and
redis-server is what the same costs in C.  All reply to a line as soon as they have it, with
TCP_NODELAY set.
"""

import asyncio
import importlib.util
import logging
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import time
from functools import partial
from threading import Thread

import _common

PING, PONG = b"PING\r\n", b"+PONG\r\n"
COALESCED, ON_ASYNCORE = "asynchat_fast coalesced", "asynchat_fast on asyncore"
REDIS = "redis-server"
BACKLOG = 1024


def send_at_once(sock):
    """Do not have a reply wait until the one before it is acknowledged."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def pong_class(base):
    """Return a channel class for the server, of *base*, an async_chat."""

    class Pong(base):
        def __init__(self, sock, map=None):
            super().__init__(sock, map)
            self.set_terminator(b"\r\n")

        def collect_incoming_data(self, data):
            self.incoming.append(data)

        def found_terminator(self):
            self.incoming.clear()
            self.push(PONG)

    return Pong


def accept_all(acceptor, channel_class):
    """Accept what waits, in one go: asyncore.loop() would ask thousands of channels between two."""
    while True:
        try:
            sock, _ = acceptor.socket.accept()
        except BlockingIOError:
            return
        send_at_once(sock)
        channel_class(sock)


def serve_asynchat_fast(listener, coalesce=False):
    import asynchat_fast

    channel_class = pong_class(asynchat_fast.async_chat)
    channel_class.coalesce_pushes = coalesce
    asynchat_fast.chat_server(listener, channel_class)
    asynchat_fast.loop()


def serve_on_asyncore(listener, peer):
    asynchat = _common.load_asynchat(peer)
    channel_class = pong_class(asynchat.async_chat)

    class Acceptor(asynchat.asyncore.dispatcher):
        def handle_accept(self):
            accept_all(self, channel_class)

    Acceptor(listener).accepting = True
    asynchat.asyncore.loop(use_poll=True)


def serve_pyftpdlib(listener):
    from pyftpdlib import ioloop

    channel_class = pong_class(ioloop.AsyncChat)

    class Acceptor(ioloop.Acceptor):
        def handle_accept(self):
            accept_all(self, channel_class)

    Acceptor(listener).accepting = True
    ioloop.IOLoop.instance().loop()


class PongProtocol(asyncio.Protocol):
    rest = b""

    def connection_made(self, transport):
        self.transport = transport
        send_at_once(transport.get_extra_info("socket"))

    def data_received(self, data):
        *lines, self.rest = (self.rest + data).split(b"\r\n")
        for _ in lines:
            self.transport.write(PONG)


async def serve_protocol(listener):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(PongProtocol, sock=listener, backlog=BACKLOG)
    await server.serve_forever()


async def pong_stream(reader, writer):
    send_at_once(writer.get_extra_info("socket"))
    try:
        while True:
            await reader.readuntil(b"\r\n")
            writer.write(PONG)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve_streams(listener):
    server = await asyncio.start_server(pong_stream, sock=listener, backlog=BACKLOG)
    await server.serve_forever()


def serve_asyncio(listener, serve):
    asyncio.run(serve(listener))


def serve_uvloop(listener, serve):
    import uvloop

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(serve(listener))


def serve_twisted(listener):
    from twisted.internet import protocol, reactor
    from twisted.protocols.basic import LineReceiver

    class Pong(LineReceiver):
        def connectionMade(self):
            self.transport.setTcpNoDelay(True)

        def lineReceived(self, line):
            self.transport.write(PONG)

    reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, protocol.Factory.forProtocol(Pong))
    reactor.run()


def serve_tornado(listener):
    from tornado.iostream import StreamClosedError
    from tornado.tcpserver import TCPServer

    class Server(TCPServer):
        async def handle_stream(self, stream, address):
            stream.set_nodelay(True)
            try:
                while True:
                    await stream.read_until(b"\r\n")
                    await stream.write(PONG)
            except StreamClosedError:
                pass

    async def main():
        Server().add_socket(listener)
        await asyncio.Event().wait()

    asyncio.run(main())


PEERS = {  # name -> (what serves a listener, the package that it takes)
    _common.FAST: (serve_asynchat_fast, None),
    COALESCED: (partial(serve_asynchat_fast, coalesce=True), None),
    ON_ASYNCORE: (partial(serve_on_asyncore, peer=_common.FAST), None),
    _common.STDLIB: (partial(serve_on_asyncore, peer=_common.STDLIB), "asynchat"),
    "pyftpdlib": (serve_pyftpdlib, "pyftpdlib"),
    "asyncio protocol": (partial(serve_asyncio, serve=serve_protocol), None),
    "asyncio streams": (partial(serve_asyncio, serve=serve_streams), None),
    "uvloop protocol": (partial(serve_uvloop, serve=serve_protocol), "uvloop"),
    "uvloop streams": (partial(serve_uvloop, serve=serve_streams), "uvloop"),
    "Twisted LineReceiver": (serve_twisted, "twisted"),
    "tornado": (serve_tornado, "tornado"),
}


def available():
    """Return the names of the peers that are here, and of those that are not."""
    present, missing = [], []
    for name, (_, needed) in PEERS.items():
        (present if needed is None or importlib.util.find_spec(needed) else missing).append(name)
    (present if shutil.which(REDIS) else missing).append(REDIS)
    return present, missing


def serve(name, pipe):
    """Serve in this process by peer *name*: tell the address through *pipe*, and the CPU time whenever asked."""

    def tell_time():
        while True:
            pipe.recv()
            pipe.send(time.process_time())

    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    listener.setblocking(False)
    pipe.send(listener.getsockname())
    Thread(target=tell_time, daemon=True).start()
    logging.disable()  # a client that has what it wants closes without waiting for the rest
    PEERS[name][0](listener)


class PythonServer:
    """A peer that is a Python program: *serve* in a process of its own.

    It is called with *args* and a pipe, through which it tells its address, and the CPU time whenever it is asked.
    """

    def __init__(self, serve, *args):
        spawn = multiprocessing.get_context("spawn")  # not a copy of all that was imported here
        self.pipe, far_end = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(*args, far_end), daemon=True)
        self.process.start()
        far_end.close()  # so that recv() fails if the process does
        self.pid = self.process.pid
        self.address = self.pipe.recv()

    def cpu_seconds(self):
        self.pipe.send(None)
        return self.pipe.recv()

    def stop(self):
        self.process.terminate()
        self.process.join()


class RedisServer:
    """The peer in C, in one thread and without a disk."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = free.getsockname()
        options = {"port": self.address[1], "bind": "127.0.0.1", "save": "", "maxclients": 20000, "loglevel": "warning"}
        command = [REDIS, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.pid = self.process.pid

    def cpu_seconds(self):
        with socket.create_connection(self.address) as asking:
            asking.sendall(b"INFO cpu\r\n")
            info = asking.recv(65536).decode()
        fields = dict(line.split(":") for line in info.splitlines() if ":" in line)
        return float(fields["used_cpu_user"]) + float(fields["used_cpu_sys"])

    def stop(self):
        self.process.terminate()
        self.process.wait()


def start(name, serve=serve):
    """Start peer *name*, by *serve* in a process of its own, and return it once it answers."""
    server = RedisServer() if name == REDIS else PythonServer(serve, name)
    deadline = time.monotonic() + 10
    while True:
        try:
            with socket.create_connection(server.address, timeout=10) as asking:
                asking.sendall(PING * 3)
                with asking.makefile("rb") as response:
                    if response.read(3 * len(PONG)) != PONG * 3:
                        sys.exit(f"error: {name} does not answer {PING!r} with {PONG!r}")
            return server
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise


def resident(pid):
    """Return the resident bytes of process *pid*, None where that cannot be told."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        pass
    try:
        return 1024 * int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(pid)]))
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
