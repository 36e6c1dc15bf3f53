"""Fixtures for all tests: both InputBuffers, ways to cut a stream, HTTP byte by byte."""

import asyncio
import contextlib
import importlib
import importlib.util
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections import deque
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from hypothesis import settings

import asynchat_fast
from asynchat_fast import conversation
from asynchat_fast.conversation import Conversation
from asynchat_fast.testing import MemoryTransport

pytest_plugins = ["asynchat_fast.testing"]

settings.register_profile("short", max_examples=200, deadline=None)
settings.register_profile("long", max_examples=20_000, deadline=None)
settings.load_profile("short")
# Without bytecode each of the hundreds of processes that tests start would compile the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PATIENCE = 20  # seconds; a wait takes milliseconds unless something hangs


def build_of(which, *modules):
    """Return the classes and functions of *modules*, names in asynchat_fast: the "plain" ones, or the "compiled"."""
    if which == "plain":
        found = {
            name[5:].lstrip("_"): value
            for module in modules
            for name, value in vars(importlib.import_module(f"asynchat_fast.{module}")).items()
            if name.lower().startswith("plain")
        }
    else:
        try:
            compiled = [importlib.import_module(f"asynchat_fast._{module}") for module in modules]
        except ModuleNotFoundError:
            pytest.skip("the compiled modules have not been built for this Python")
        found = {name: value for module in compiled for name, value in vars(module).items()}
    return SimpleNamespace(**found)


@pytest.fixture(params=["compiled", "plain"])
def framing(request):
    """The module of buffers: the compiled classes, and those in plain Python."""
    return build_of(request.param, "framing", "events")


@pytest.fixture(params=["compiled", "plain"])
def output_queue(request):
    """The OutputQueue: the compiled one, and the one in plain Python."""
    return build_of(request.param, "output_queue")


@pytest.fixture(params=["compiled", "plain"])
def both_buffers(request):
    """Make every channel that the test creates hold the buffers of one build, whichever the package has chosen."""
    build = build_of(request.param, "framing", "events", "output_queue")
    with (
        patch.object(conversation, "EventBuffer", build.EventBuffer),
        patch.object(conversation, "OutputQueue", build.OutputQueue),
    ):
        yield


class Recorder:
    """A program's callbacks, and its end of a transport that takes all it is given at once."""

    def __init__(self):
        self.trace = []  # the callbacks in their order
        self.collected = []  # the very objects that collect_incoming_data() got
        self.payloads = []
        self.sent = []
        self.errors = []
        self.logged = []

    @property
    def bytes_sent(self):
        return b"".join(self.sent)

    def collect_incoming_data(self, data):
        self.trace.append(bytes(data))
        self.collected.append(data)
        self.incoming.append(data)

    def found_terminator(self):
        self.trace.append("found")
        self.payloads.append(self._get_data())

    def send(self, data):
        self.sent.append(memoryview(data).cast("B").tobytes())  # TypeError for what a socket would not take
        return len(self.sent[-1])

    def handle_close(self):
        self.trace.append("closed")
        self.connected = False

    def handle_error(self):
        self.errors.append(sys.exc_info()[1])

    def log_info(self, message, type="info"):
        self.logged.append((type, message))


class Talk(Recorder, Conversation):
    """A conversation with nothing below it."""

    def __init__(self):
        Recorder.__init__(self)
        Conversation.__init__(self)
        self.connected = True

    arrive = Conversation._ac_receive


class Channel(Recorder, asynchat_fast.async_chat):
    """An async_chat whose recv() returns, or raises, the items that arrive() queues."""

    def __init__(self):
        Recorder.__init__(self)
        asynchat_fast.async_chat.__init__(self, map={})
        self.connected = True
        self.arriving = deque()

    def recv(self, size):
        data = self.arriving.popleft()
        if isinstance(data, BaseException):
            raise data
        return data

    def arrive(self, data):
        self.arriving.append(data)
        self.handle_read()


@pytest.fixture(params=[Talk, Channel], ids=["conversation", "async_chat"])
def chat_class(request, both_buffers):
    """Each way to chat on each InputBuffer: ``arrive(data)`` delivers; ``Recorder`` keeps the results."""
    return request.param


@pytest.fixture
def channel_class(both_buffers):
    """``async_chat`` alone, on each InputBuffer."""
    return Channel


def whole(stream):
    yield [stream]


def in_two(stream):
    for at in range(1, len(stream)):
        yield [stream[:at], stream[at:]]


def byte_by_byte(stream):
    yield [stream[at : at + 1] for at in range(len(stream))]


@pytest.fixture(params=[whole, in_two, byte_by_byte], ids=["whole", "in two", "byte by byte"])
def cut(request):
    """A way to cut a stream: a function that yields lists of chunks."""
    return request.param


@pytest.fixture(scope="session")
def reference():
    """The asynchat to be compared with, not left in ``sys.modules``, where tests of ``install()`` look."""
    spec = PathFinder.find_spec("asynchat")
    if spec is None:
        pytest.skip("neither the standard library's asynchat nor pyasynchat is here to compare with")
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def pair():
    """Two connected sockets; the first is not blocking, as a channel's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(PATIENCE)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def map():
    """An asyncore map of the test's own, whose channels are closed after it."""
    channels = {}
    yield channels
    asynchat_fast.asyncore.close_all(channels, ignore_all=True)


@pytest.fixture
def loop_until(map):
    """A function that runs asyncore's loop on *map* until a condition holds."""

    def run(condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "the condition has not become true"
            asynchat_fast.asyncore.loop(timeout=0.01, map=map, count=1)

    return run


@pytest.fixture
def run_python(tmp_path):
    """A function that runs an interpreter away from the source tree, with the package under test."""

    def run(*args, path=Path(asynchat_fast.__file__).parents[1], **environment):
        kept = {name: value for name, value in os.environ.items() if name != "ASYNCHAT_FAST_NO_EXTENSIONS"}
        return subprocess.run(
            [sys.executable, *args],
            env=kept | {"PYTHONPATH": str(path)} | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
        )

    return run


# TLS

_EXTENSIONS = """
subjectAltName=DNS:localhost,IP:127.0.0.1
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
basicConstraints=critical,CA:FALSE
"""


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """The paths of a ``ca`` and of a ``server`` certificate with its ``key``, made by openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make certificates")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True, timeout=PATIENCE)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.pem", "-addext",
            "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    openssl("req", "-new", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (folder / "extensions").write_text(_EXTENSIONS)
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-extfile", "extensions", "-out", "server.crt")  # fmt: skip
    return SimpleNamespace(ca=str(folder / "ca.pem"), server=str(folder / "server.crt"), key=str(folder / "server.key"))


@pytest.fixture
def server_context(certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.key)
    return context


@pytest.fixture
def client_context(certificates):
    return ssl.create_default_context(cafile=certificates.ca)


class OverTLS:
    """A client's socket *sock*, on TLS: with as much of a socket that does not block as Wire needs."""

    def __init__(self, sock, context, run_pass):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.unsent = b""
        self.close, self.fileno, self.setsockopt = sock.close, sock.fileno, sock.setsockopt
        self.settimeout = self.setblocking = lambda value: None
        while True:
            try:
                self.object.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                run_pass(0.01)
                self.fill()

    def flush(self):
        self.unsent += self.outgoing.read()
        with contextlib.suppress(BlockingIOError):  # the end of the connection is the caller's matter
            self.unsent = self.unsent[self.sock.send(self.unsent) :] if self.unsent else b""
        return not self.unsent

    def fill(self):
        with contextlib.suppress(BlockingIOError):
            data = self.sock.recv(1 << 16)
            self.incoming.write(data) if data else self.incoming.write_eof()
            return True

    def send(self, data):
        if not self.flush():
            raise BlockingIOError
        sent = self.object.write(data)
        self.flush()
        return sent

    def sendall(self, data):
        assert self.send(data) == len(data)

    def recv(self, size):
        while True:
            try:
                return self.object.read(size)
            except ssl.SSLWantReadError:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.flush()  # what has come can be read all the same
                if not self.fill():
                    raise BlockingIOError from None
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def shutdown(self, how):
        with contextlib.suppress(ssl.SSLWantReadError):
            self.object.unwrap()
        while not self.flush():
            pass
        self.sock.shutdown(how)


# HTTP, byte by byte: a client that shares its thread with the server's loop, so that the test decides when data arrive

GOOD = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) [\t\x20-\x7e\x80-\xff]*")
_VALUE = rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(" + _VALUE + rb")[ \t]*")
_ONCE = {b"content-length", b"content-type", b"date", b"transfer-encoding", b"server", b"location", b"etag"}


class Response:
    """A response: status (int), fields (pairs, names in lower case), body, trailers, and the head's ``framing``."""

    def __init__(self, head):
        line, *lines = head.split(b"\r\n")
        matched = _STATUS_LINE.fullmatch(line)
        assert matched, f"not a status line: {line!r}"
        self.head = head
        self.status = int(matched[1])
        self.fields = _read_fields(lines)
        names = [name for name, _ in self.fields]
        assert not [name for name in _ONCE if names.count(name) > 1], f"told twice: {head!r}"
        self.body = b""
        self.trailers = []
        self.framing = None

    def __repr__(self):
        return f"<{self.head!r} {self.framing} {self.body[:200]!r}>"

    def get_all(self, name):
        return [value for each, value in self.fields if each == name.lower().encode()]

    def get(self, name):
        return b", ".join(self.get_all(name)) if self.get_all(name) else None

    @property
    def connection(self):
        return {each.strip().lower() for each in (self.get("connection") or b"").split(b",")} - {b""}

    @property
    def closes(self):
        return b"close" in self.connection

    def check_date(self):
        (date,) = self.get_all("date")
        assert abs(datetime.now(timezone.utc) - _date_of(date)) < timedelta(minutes=1)


@lru_cache
def _date_of(data):
    date = datetime.strptime(data.decode(), "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=timezone.utc)
    assert format_datetime(date, usegmt=True).encode() == data
    return date


def _read_fields(lines):
    matched = [_FIELD.fullmatch(line) for line in lines]
    assert all(matched), f"not fields: {lines!r}"
    return [(each[1].lower(), each[2]) for each in matched]


class Wire:
    """A connection to *address*; *run_pass* is called with seconds to have the server do something meanwhile."""

    def __init__(self, address, run_pass, receive_buffer=None, tls=None):
        self.run_pass = run_pass
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.sock.setblocking(False)
        if tls is not None:
            self.sock = OverTLS(self.sock, tls, run_pass)
        self.buffer = bytearray()
        self.has_ended = False
        self.settle()

    def close(self):
        self.sock.close()

    def settle(self):
        """Let the server handle all that has arrived: a pass for the acceptor, one to read, one to respond."""
        for _ in range(3):
            self.run_pass(0)

    def send(self, *chunks, settle=True):
        """Send *chunks* (bytes), each of which arrives by itself if they *settle*; stop if the server has closed."""
        for chunk in chunks:
            rest = memoryview(chunk)
            deadline = time.monotonic() + PATIENCE
            while rest:
                try:
                    rest = rest[self.sock.send(rest) :]
                except BlockingIOError:
                    assert time.monotonic() < deadline, "the server does not read"
                    self.receive_some()
                    self.run_pass(0.01)
                except (BrokenPipeError, ConnectionResetError):
                    return
            if settle:
                self.settle()

    def shut(self):
        """Send no more, and go on receiving."""
        self.sock.shutdown(socket.SHUT_WR)
        self.settle()

    def receive_some(self):
        """Receive all that has arrived, the end included; tell whether there was something."""
        try:
            data = self.sock.recv(1 << 16)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        self.buffer += data
        self.has_ended = self.has_ended or not data
        return True

    def receive_until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert not self.has_ended, f"the connection has ended after {bytes(self.buffer)!r}"
            assert time.monotonic() < deadline, f"nothing comes after {bytes(self.buffer[:1000])!r}"
            if not self.receive_some():
                self.run_pass(0.02)

    def _take(self, count):
        self.receive_until(lambda: len(self.buffer) >= count)
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def take_line(self, terminator=b"\r\n"):
        self.receive_until(lambda: terminator in self.buffer)
        return self._take(self.buffer.index(terminator) + len(terminator))[: -len(terminator)]

    def response(self, method="GET", version=b"1.1"):
        """Return the Response that comes next, to a request by *method* in HTTP *version*, read most strictly."""
        response = Response(self.take_line(b"\r\n\r\n"))
        length, coding = response.get("content-length"), response.get("transfer-encoding")
        assert length is None or re.fullmatch(rb"0|[1-9][0-9]*", length), response
        assert coding in (None, b"chunked"), response
        assert coding is None or (length is None and version == b"1.1"), response
        response.framing = length if coding is None else coding
        if response.status < 200:
            assert response.framing is None, response
            return response
        response.check_date()
        if response.status == 204:
            assert response.framing is None, response
        elif method == "HEAD" or response.status == 304:
            pass
        elif coding:
            response.body = self._take_chunks(response)
        elif length:
            response.body = self._take(int(length))
        else:
            assert response.closes or version == b"1.0", f"how long is it? {response}"
            assert b"keep-alive" not in response.connection, response
            response.body = self._take_rest()
        return response

    def _take_chunks(self, response):
        chunks = [b""]
        while True:
            line = self.take_line()
            assert re.fullmatch(rb"[0-9A-Fa-f]+", line), f"not a chunk's size: {line!r}"
            size = int(line, 16)
            if size == 0:
                break
            chunks.append(self._take(size))
            assert self._take(2) == b"\r\n", "the chunk is longer than was said"
        response.trailers = _read_fields(iter(self.take_line, b""))
        return b"".join(chunks)

    def _take_rest(self):
        self.receive_until(lambda: self.has_ended)
        rest = bytes(self.buffer)
        self.buffer.clear()
        return rest

    def responses(self, *methods):
        return [self.response(method) for method in methods]

    def ended(self):
        """Assert that the server closes now, and sends nothing before."""
        self.receive_until(lambda: self.has_ended or self.buffer)
        assert not self.buffer, f"after all: {bytes(self.buffer)!r}"

    def anything_comes(self):
        """Wait for bytes, and tell whether there are before the end."""
        self.receive_until(lambda: self.has_ended or self.buffer)
        return bool(self.buffer)

    def nothing_comes(self):
        """Assert that the server has neither sent anything nor closed."""
        self.settle()
        self.receive_some()
        assert not self.buffer
        assert not self.has_ended

    def in_step(self):
        """Assert that the connection serves the next request."""
        self.send(GOOD)
        response = self.response()
        assert (response.status, b"/good" in response.body) == (200, True), response
        self.nothing_comes()


class OnLoop:
    """Serves HTTP in a map of its own, by asynchat_fast's loop."""

    def __init__(self):
        self.map = asynchat_fast.SocketMap()

    def run_pass(self, seconds):
        """Serve for some *seconds*, or until something has happened."""
        asynchat_fast.loop(seconds, map=self.map, count=1)

    def count(self):
        """Return a number that grows and falls with the connections."""
        return len(self.map)

    def serve(self, server, tls):
        """Serve *server*, which is in the map, and return its address."""
        return server.addr

    def close(self):
        asynchat_fast.asyncore.close_all(self.map, ignore_all=True)


class Embedded(OnLoop):
    """The same, embedded in a loop of asyncio's or uvloop's."""

    def __init__(self, new_loop):
        super().__init__()
        self.loop = new_loop()
        self.embedded = asynchat_fast.aio.embedded(self.map)
        self.served = self.loop.run_until_complete(self.embedded.__aenter__())

    def run_pass(self, seconds):
        self.loop.run_until_complete(asyncio.sleep(min(seconds, 0.002)))
        if self.served.ended.done():
            self.served.ended.result()

    def close(self):
        self.loop.run_until_complete(self.embedded.__aexit__(None, None, None))
        self.loop.close()
        super().close()


class OnTransports(OnLoop):
    """Serves HTTP on the transports of a loop of asyncio's or uvloop's."""

    def __init__(self, new_loop):
        super().__init__()
        self.loop = new_loop()
        self.handlers = []

    def run_pass(self, seconds):
        self.loop.run_until_complete(asyncio.sleep(min(seconds, 0.002)))

    def count(self):
        self.handlers = [handler for handler in self.handlers if handler.socket is not None and handler.connected]
        return len(self.handlers)

    def serve(self, server, tls):
        def make_handler(sock):
            self.handlers.append(server.make_channel(sock, sock.getpeername()))
            return self.handlers[-1]

        starting = asynchat_fast.aio.start_server(make_handler, "127.0.0.1", 0, tls=tls)
        return self.loop.run_until_complete(starting).sockets[0].getsockname()

    def close(self):
        for handler in self.handlers:
            handler.close()
        self.run_pass(0)
        self.loop.close()
        super().close()


@pytest.fixture
def http_carrier():
    """What serves HTTP: our loop, or what TEST_HTTP_ON in the environment names, such as "transports uvloop"."""
    kind, _, loop = os.environ.get("TEST_HTTP_ON", "loop").partition(" ")
    new_loop = asyncio.SelectorEventLoop if loop != "uvloop" else importlib.import_module("uvloop").new_event_loop
    carrier = OnLoop() if kind == "loop" else {"embedded": Embedded, "transports": OnTransports}[kind](new_loop)
    yield carrier
    carrier.close()


@pytest.fixture
def http_map(http_carrier):
    """The map that ``serve_http`` serves in."""
    return http_carrier.map


@pytest.fixture
def serve_http(http_carrier, caplog, request):
    """A function that serves a handler class, and returns one that connects a Wire to its ``server``.

    With TEST_HTTP_OVER_TLS in the environment, all that goes over TCP goes over TLS.
    """
    server_tls = client_tls = None
    if os.environ.get("TEST_HTTP_OVER_TLS"):
        certificates = request.getfixturevalue("certificates")
        server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_tls.load_cert_chain(certificates.server, certificates.key)
        client_tls = ssl.create_default_context(cafile=certificates.ca)
    http = pytest.importorskip("asynchat_fast.http")
    caplog.set_level("WARNING", "asynchat_fast.http.access")  # tens of thousands of lines
    with contextlib.ExitStack() as clients:

        def serve(handler_class, **options):
            server = http.http_server(("127.0.0.1", 0), handler_class, map=http_carrier.map, tls=server_tls, **options)
            address = http_carrier.serve(server, server_tls)

            def connect(**options):
                wire = Wire(address, http_carrier.run_pass, tls=client_tls, **options)
                clients.callback(wire.sock.close)
                return wire

            def shut_down(*args, **options):
                if isinstance(http_carrier, OnTransports):
                    pytest.skip("on transports it is an asyncio.Server that listens, and ends")
                server.shut_down(*args, **options)
                http_carrier.run_pass(0)  # it begins in the next pass where a loop is running, as it is when embedded

            connect.server, connect.shut_down = server, shut_down
            connect.in_memory = lambda: MemoryWire(server)
            return connect

        yield serve


class MemoryWire(Wire):
    """One in memory to a handler of *server*, which is quick, and to which only ``run_pass()`` takes time."""

    def __init__(self, server):
        self.transport = MemoryTransport(server.make_channel, ("127.0.0.1", 4711))
        self.run_pass = self.transport.advance
        self.buffer = bytearray()
        self.has_ended = False

    def send(self, *chunks):
        with contextlib.suppress(BrokenPipeError):
            for chunk in chunks:
                self.transport.receive(chunk)

    def shut(self):
        self.transport.eof()

    def receive_some(self):
        data, had_ended = self.transport.take_sent(), self.has_ended
        self.buffer += data
        self.has_ended = self.transport.closed
        return bool(data) or self.has_ended is not had_ended

    def close(self):
        self.transport.channel.close()


class Delivery:
    """Ways to send a stream: whole, with good requests around it, cut in two at each byte, and byte by byte.

    Cut streams go to handlers in memory, the others over TCP.  ``way`` is the way that was taken last.
    """

    def __init__(self, halves=True, bytewise=True):
        self.halves = halves
        self.bytewise = bytewise
        self.way = "not at all"

    def fewer(self, stream=b"", most=0):
        """Return a Delivery that cuts nothing in two, and a *stream* of more than *most* bytes not at all."""
        return Delivery(halves=False, bytewise=not most or len(stream) <= most)

    def uncut(self):
        """Return a Delivery that cuts nothing."""
        return Delivery(halves=False, bytewise=False)

    def ways(self, stream):
        """Yield the name of each way, good requests before and after, and the chunks of *stream*."""
        yield "whole", b"", b"", [stream]
        yield "behind a good request", GOOD, b"", [stream]
        yield "before a good request", b"", GOOD, [stream]
        if self.bytewise:
            yield "byte by byte", b"", b"", next(byte_by_byte(stream))
        if self.halves:
            for chunks in in_two(stream):
                yield f"cut at {len(chunks[0])}", b"", b"", chunks

    def wires(self, connect, stream):
        """Yield, for each way, a Wire that *stream* was sent on, and the good request after it."""
        for way, before, after, chunks in self.ways(stream):
            self.way = way
            wire = connect() if len(chunks) == 1 else connect.in_memory()
            wire.send(*chunks) if len(chunks) > 1 else wire.send(before + stream + after)
            if before:
                response = wire.response()
                assert (response.status, b"/good" in response.body) == (200, True), (self.way, response)
            yield wire, after
            wire.close()

    def refused(self, connect, stream, statuses, method="GET"):
        """Assert that *stream* gets one response, of one of *statuses*, and that nothing after it does."""
        for wire, _ in self.wires(connect, stream):
            response = wire.response(method)
            assert response.status in statuses, (self.way, response)
            assert response.closes, (self.way, response)
            assert len(response.body) < 2000, self.way
            wire.ended()

    def responses(self, connect, stream, *methods, version=b"1.1"):
        """Yield the responses to *stream*; the request after them gets one, too, or the connection ends."""
        for wire, after in self.wires(connect, stream):
            responses = [wire.response(method, version) for method in methods or ("GET",)]
            yield responses if methods[1:] else responses[0]
            last = responses[-1]
            if b"keep-alive" in last.connection if version == b"1.0" else not last.closes:
                if after:
                    wire.response()
                wire.in_step()
            else:
                wire.ended()


@pytest.fixture
def delivery():
    """All ways to send a request, see Delivery; if the test fails, the way that failed is printed."""
    delivery = Delivery()
    yield delivery
    print("the last way to send:", delivery.way)
