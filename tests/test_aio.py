"""Channels in asyncio programs: their loop embedded, or on transports, on asyncio's loop and on uvloop."""

import asyncio
import contextlib
import gc
import http.client
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
import weakref
from typing import ClassVar

import pytest

import asynchat_fast
from asynchat_fast import SocketMap, aio, async_chat, asyncore, call_later, chat_server, tls_farewell
from asynchat_fast.http import http_request_handler, http_server
from asynchat_fast.producers import simple_producer

PATIENCE = 20  # seconds, for what takes milliseconds unless it hangs
BIG = bytes(range(256)) * (1 << 14)  # 4 MiB: more than sockets and transports hold


# On Windows winloop is uvloop, and no poller has a descriptor: only asyncio's SelectorEventLoop embeds a map there.
IS_WINDOWS = sys.platform == "win32"
UVLOOP = "winloop" if IS_WINDOWS else "uvloop"
LOOPS = ["asyncio", "uvloop", *["Proactor"] * IS_WINDOWS]


@pytest.fixture(params=LOOPS)
def run(request):
    """A function that runs a coroutine on a loop of its own, and returns what it returns."""
    new_loop = asyncio.SelectorEventLoop
    if request.param == "uvloop":
        new_loop = pytest.importorskip(UVLOOP, reason=f"{UVLOOP} is not installed").new_event_loop
    elif request.param == "Proactor":
        new_loop = asyncio.ProactorEventLoop
    if IS_WINDOWS and request.param != "asyncio" and not {"carrier", "on_transports"} & {*request.fixturenames}:
        pytest.skip("this loop embeds no map on Windows")

    def run(coroutine):
        loop = new_loop()
        try:
            return loop.run_until_complete(asyncio.wait_for(coroutine, PATIENCE))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    run.kind = request.param
    return run


class Lines(async_chat):
    """Echoes lines; ``made`` holds those that there are."""

    made: ClassVar = weakref.WeakSet()

    def __init__(self, sock, *args, map=None):
        super().__init__(sock, map)
        self.args = args
        self.closed = 0
        self.set_terminator(b"\n")
        Lines.made.add(self)

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        self.handle_line(self._get_data())

    def handle_line(self, line):
        self.push(line + b"\n")

    def handle_close(self):
        self.closed += 1
        self.truncated = getattr(self.socket, "truncated", None)
        super().handle_close()


@pytest.fixture(scope="session")
def contexts(tmp_path_factory):
    """A server's context, and one of a client that trusts it."""
    if not (certificate := make_certificate(tmp_path_factory.mktemp("tls"))):
        pytest.skip("there is no openssl to make a certificate with")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    return server, ssl.create_default_context(cafile=certificate)


def make_certificate(where):
    path = where / "localhost.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-addext", "keyUsage=digitalSignature,keyCertSign"]
    try:
        subprocess.run([*command, "-keyout", path, "-out", where / "cert"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    path.write_bytes(path.read_bytes() + (where / "cert").read_bytes())
    return path


class Carrier:
    """What serves a channel class in an asyncio program."""

    def __init__(self, kind, request):
        self.kind = kind
        self.is_embedded = kind == "embedded"
        self.tls = self.client_tls = None
        if kind == "TLS transports":
            self.tls, self.client_tls = request.getfixturevalue("contexts")

    @contextlib.asynccontextmanager
    async def serve(self, channel_class):
        """Serve *channel_class*, and give the port."""
        if self.is_embedded:
            map = SocketMap()
            is_http = issubclass(channel_class, http_request_handler)
            server = (http_server if is_http else chat_server)(("127.0.0.1", 0), channel_class, map=map)
            try:
                async with aio.embedded(map) as self.served:
                    yield server.addr[1]
            finally:
                asyncore.close_all(map, ignore_all=True)
            return
        server = await aio.start_server(channel_class, "127.0.0.1", 0, tls=self.tls)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    def connect(self, port):
        """Return the socket of a client, which blocks."""
        client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        return self.client_tls.wrap_socket(client, server_hostname="localhost") if self.client_tls else client

    async def open(self, port, **options):
        """Return asyncio's streams of a client."""
        return await asyncio.open_connection("127.0.0.1", port, ssl=self.client_tls, **options)


@pytest.fixture(params=["embedded", "transports", "TLS transports"])
def carrier(request, run):
    if IS_WINDOWS and run.kind != "asyncio" and request.param == "embedded":
        pytest.skip("this loop embeds no map on Windows")
    return Carrier(request.param, request)


@pytest.fixture(params=["transports", "TLS transports"])
def on_transports(request):
    return Carrier(request.param, request)


async def until(condition):
    """Wait until *condition* holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition has not become true"
        await asyncio.sleep(0.005)


def reset(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def close(writer):
    writer.close()
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 5)


# On all carriers


def test_lines_are_echoed(run, carrier):
    async def main():
        async with carrier.serve(Lines) as port:
            reader, writer = await carrier.open(port)
            writer.write(b"one\ntwo\nthr")
            assert await reader.readexactly(8) == b"one\ntwo\n"
            writer.write(b"ee\n")
            assert await reader.readexactly(6) == b"three\n"
            await close(writer)

    run(main())


def test_nothing_is_lost_towards_a_slow_reader(run, carrier):
    class Sender(Lines):
        def handle_line(self, line):
            self.push(BIG)
            self.push_with_producer(simple_producer(BIG, 10_000))
            self.close_when_done()

    def read_slowly(port):
        with carrier.connect(port) as client:
            client.sendall(b"go\n")
            time.sleep(0.1)
            return b"".join(iter(lambda: client.recv(50_000), b""))

    async def main():
        async with carrier.serve(Sender) as port:
            assert await asyncio.to_thread(read_slowly, port) == BIG + BIG

    run(main())


def test_a_peer_that_reads_nothing_holds_back_the_producer(run, carrier):
    class Endless:
        asked = 0

        def more(self):
            self.asked += 1
            return b"z" * 10_000

    class Sender(Lines):
        def handle_line(self, line):
            self.push_with_producer(producer)

    producer = Endless()

    async def main():
        async with carrier.serve(Sender) as port:
            client = await asyncio.to_thread(carrier.connect, port)
            with client:
                client.sendall(b"go\n")
                await until(lambda: producer.asked)
                asked = 0
                while asked < producer.asked < 10_000:
                    asked = producer.asked
                    await asyncio.sleep(0.1)
                assert asked < 2000  # 20 MB, of which sockets hold some
                if not carrier.tls:
                    await asyncio.to_thread(receive_exactly, client, (asked + 1000) * 10_000)

    run(main())


def receive_exactly(client, count):
    while count > 0:
        data = client.recv(1 << 20)
        assert data.strip(b"z") == b""
        assert data
        count -= len(data)


def test_a_channel_that_does_not_read_holds_back_its_peer(run, carrier):
    class Holding(Lines):
        def handle_line(self, line):
            if line == b"hold":
                self.pause_reading()

    async def main():
        async with carrier.serve(Holding) as port:
            Lines.made.clear()
            _, writer = await carrier.open(port)
            writer.write(b"hold\n")
            await asyncio.sleep(0.05)
            line = b"x" * 9999 + b"\n"
            sent = 0
            while sent < 64 << 20:
                writer.write(line * 100)
                try:
                    await asyncio.wait_for(writer.drain(), 0.3)
                except asyncio.TimeoutError:
                    break
                sent += len(line) * 100
            assert sent < 64 << 20
            (channel,) = Lines.made
            lines = []
            channel.handle_line = lines.append
            channel.resume_reading()
            await writer.drain()
            writer.write(b"last\n")
            await until(lambda: lines and lines[-1] == b"last")
            assert all(each == line[:-1] for each in lines[:-1])
            assert len(lines) - 1 >= sent // len(line)
            await close(writer)

    run(main())


def test_a_pause_from_outside_takes_effect_at_once(run, carrier):
    async def main():
        async with carrier.serve(Lines) as port:
            Lines.made.clear()
            reader, writer = await carrier.open(port)
            writer.write(b"a\n")
            await reader.readline()
            (channel,) = Lines.made
            lines = []
            channel.handle_line = lines.append
            for count in range(20):
                channel.pause_reading()
                writer.write(b"b\n" * 100)
                await asyncio.sleep(0.01)
                assert len(lines) == 100 * count
                channel.resume_reading()
                while len(lines) < 100 * count + 100:
                    await asyncio.sleep(0.001)
            await close(writer)

    run(main())


def test_too_much_to_send_pauses_reading(run, carrier):
    class Flooded(Lines):
        output_high_water = 100_000
        coalesce_pushes = True

        def handle_line(self, line):
            self.push(b"y" * 100_000)
            waiting.append(sum(map(len, self.producer_fifo)))

    waiting = []

    async def main():
        async with carrier.serve(Flooded) as port:
            reader, writer = await carrier.open(port, limit=1000)
            for _ in range(200):  # by single reads
                writer.write(b"go\n")
                await asyncio.sleep(0.001)
            assert len(waiting) < 150  # of 20 MB that nobody takes
            assert len(await reader.readexactly(200 * 100_000)) == 200 * 100_000
            await close(writer)

    run(main())


def test_an_overridden_readable_is_asked_again_within_a_second_or_so(run, carrier):
    class Stubborn(Lines):
        is_wanted = True

        def readable(self):
            return self.is_wanted

        def handle_line(self, line):
            super().handle_line(line)
            self.is_wanted = False

    async def main():
        async with carrier.serve(Stubborn) as port:
            Lines.made.clear()
            reader, writer = await carrier.open(port)
            writer.write(b"one\n")
            assert await reader.readline() == b"one\n"
            writer.write(b"two\n")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.1)
            (channel,) = Lines.made
            channel.is_wanted = True  # and nobody is told
            assert await asyncio.wait_for(reader.readline(), 3) == b"two\n"
            channel.close()
            await close(writer)

    run(main())


def test_the_peers_end_closes_once(run, carrier):
    async def main():
        async with carrier.serve(Lines) as port:
            Lines.made.clear()
            _, writer = await carrier.open(port)
            await until(lambda: Lines.made)
            (channel,) = Lines.made
            await close(writer)
            await until(lambda: channel.closed)
            await asyncio.sleep(0.05)
            assert channel.closed == 1
            assert not channel.connected

    run(main())


def test_a_reset_connection_closes_the_channel(run, carrier):
    async def main():
        async with carrier.serve(Lines) as port:
            Lines.made.clear()
            _, writer = await carrier.open(port)
            await until(lambda: Lines.made)
            (channel,) = Lines.made
            sock = writer.get_extra_info("socket")
            with socket.socket(fileno=os.dup(sock.fileno())) as twin:
                twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
            await until(lambda: not channel.connected)
            channel.push(b"into the void\n")
            assert channel.closed == 1
            assert channel.truncated is (True if carrier.tls else None)

    run(main())


def test_closing_sends_what_was_pushed(run, carrier):
    class Parting(Lines):
        def handle_line(self, line):
            self.push(b"bye\n")
            self.close()

    async def main():
        async with carrier.serve(Parting) as port:
            reader, writer = await carrier.open(port)
            writer.write(b"go\n")
            assert await reader.read() == b"bye\n"
            await close(writer)

    run(main())


def test_what_a_callback_raises_goes_to_handle_error(run, carrier):
    class Failing(Lines):
        def handle_line(self, line):
            raise ValueError(line)

        def handle_error(self):
            errors.append(sys.exc_info()[1])
            self.push(b"sorry\n")

    errors = []

    async def main():
        async with carrier.serve(Failing) as port:
            reader, writer = await carrier.open(port)
            writer.write(b"one\n")
            assert await reader.readline() == b"sorry\n"
            assert [error.args for error in errors] == [(b"one",)]
            await close(writer)

    run(main())


def test_what_comes_behind_a_read_that_has_raised_is_read(run, carrier):
    class Failing(Lines):
        ac_in_buffer_size = 4

        def recv(self, size):
            return super().recv(size)

        def handle_line(self, line):
            if line == b"bad":
                raise ValueError(line)
            super().handle_line(line)

        def handle_error(self):
            self.push(b"sorry\n")

    async def main():
        async with carrier.serve(Failing) as port:
            reader, writer = await carrier.open(port)
            writer.write(b"bad\none\nbad\ntwo\n")
            assert [await reader.readline() for _ in range(4)] == [b"sorry\n", b"one\n", b"sorry\n", b"two\n"]
            await close(writer)

    run(main())


def test_idle_connections_time_out(run, carrier):
    class Idle(Lines):
        idle_timeout = 0.2

        def handle_timeout(self):
            self.push(b"too late\n")
            self.close_when_done()

    async def main():
        async with carrier.serve(Idle) as port:
            reader, writer = await carrier.open(port)
            assert await asyncio.wait_for(reader.read(), 5) == b"too late\n"
            await close(writer)

    run(main())


def test_no_timer_is_lost(run, carrier):
    async def main():
        called = []
        async with carrier.serve(Lines) as port:
            Lines.made.clear()
            _, writer = await carrier.open(port)
            await until(lambda: Lines.made)
            (channel,) = Lines.made
            start = time.monotonic()
            seconds = [0.0013 * n for n in range(100)]
            for each in seconds:
                call_later(each, called.append, each, map=channel._map)
            call_later(0.05, called.append, None, map=channel._map).cancel()
            await until(lambda: len(called) == len(seconds))
            assert called == seconds
            assert time.monotonic() - start >= seconds[-1]
            worker = threading.Thread(target=call_later, args=(0.01, called.append, "thread"),
                                      kwargs={"map": channel._map})  # fmt: skip
            worker.start()
            await until(lambda: called[-1] == "thread")
            worker.join()
            await close(writer)

    run(main())


def test_other_threads_push_and_resume(run, carrier):
    class Quiet(Lines):
        def handle_line(self, line):
            self.pause_reading()
            threading.Thread(target=self.work, args=(line,)).start()

        def work(self, line):
            for _ in range(50):
                self.push(line * 1000)
            self.push(b"\n")
            self.resume_reading()

    async def main():
        async with carrier.serve(Quiet) as port:
            reader, writer = await carrier.open(port, limit=1 << 20)
            for line in (b"a\n", b"b\n"):
                writer.write(line)
                assert await reader.readline() == line[:1] * 50_000 + b"\n"
            await close(writer)

    run(main())


def test_nothing_is_left_of_closed_connections(run, carrier):
    async def main():
        async with carrier.serve(Lines) as port:
            Lines.made.clear()
            before = None
            for number in range(12):
                reader, writer = await carrier.open(port)
                writer.write(b"one\n")
                await reader.readline()
                await close(writer)
                del reader, writer
                await until(lambda: all(not each.connected for each in Lines.made))
                if number == 2:
                    await asyncio.sleep(0.05)
                    before = descriptors()
            await until(lambda: descriptors() <= before)
            await until(lambda: gc.collect() >= 0 and not Lines.made)

    run(main())


def descriptors():
    return len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0


# HTTP on all carriers


class Pages(http_request_handler):
    def do_GET(self):
        self.respond(200, f"sync {self.path}")

    def do_POST(self):
        self.respond(200, self.body)


class Tasks(http_request_handler):
    began: ClassVar = []
    ended: ClassVar = []

    async def do_GET(self):
        path = self.path
        Tasks.began.append(path)
        try:
            if path == "/raise":
                raise ValueError(path)
            if path == "/wait":
                await asyncio.sleep(3600)
            await asyncio.sleep(0.01)
            self.respond(200, path)
            await asyncio.sleep(0.01)
            assert self.path == path
        finally:
            Tasks.ended.append(path)


@pytest.fixture
def tasks():
    Tasks.began, Tasks.ended = [], []
    return Tasks


def fetch(carrier, port, requests):
    """Send *requests*, pairs of method and path or body, on one connection; return the bodies."""
    if carrier.client_tls:
        connection = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE, context=carrier.client_tls)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    bodies = []
    for method, what in requests:
        connection.request(method, what if method == "GET" else "/", body=what if method == "POST" else None)
        bodies.append(connection.getresponse().read())
    connection.close()
    return bodies


def test_http_is_served(run, carrier):
    async def main():
        async with carrier.serve(Pages) as port:
            requests = [("GET", "/1"), ("POST", BIG), ("GET", "/2"), ("POST", b"x")]
            bodies = await asyncio.to_thread(fetch, carrier, port, requests)
            assert bodies == [b"sync /1", BIG, b"sync /2", b"x"]

    run(main())


def test_requests_are_handled_by_tasks_one_at_a_time_and_in_order(run, carrier, tasks):
    async def main():
        async with carrier.serve(tasks) as port:
            reader, writer = await carrier.open(port)
            writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(5)))
            for n in range(5):
                await reader.readuntil(b"\r\n\r\n")
                assert await reader.readexactly(2) == b"/%d" % n
                assert tasks.began == [f"/{each}" for each in range(n + 1)]
            await until(lambda: len(tasks.ended) == 5)
            await close(writer)

    run(main())


def test_a_task_may_go_on_after_a_body_that_was_streamed(run, carrier, tasks):
    class Streaming(tasks):
        def respond(self, status, body):
            super().respond(status, iter([body[:1].encode(), body[1:].encode()]))

    async def main():
        async with carrier.serve(Streaming) as port:
            reader, writer = await carrier.open(port)
            writer.write(b"GET /0 HTTP/1.1\r\nHost: a\r\n\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b"0\r\n\r\n")
            await until(lambda: len(tasks.began) == 2)
            assert tasks.ended == ["/0"]
            await until(lambda: len(tasks.ended) == 2)
            await close(writer)

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 has brought eager tasks")
def test_eager_tasks_handle_requests(run, carrier, tasks):
    class Eager(tasks):
        async def do_GET(self):
            if self.path == "/now":
                self.respond(200, self.path)
            else:
                await super().do_GET()

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        async with carrier.serve(Eager) as port:
            reader, writer = await carrier.open(port)
            for path in (b"/now", b"/later", b"/now", b"/raise"):
                writer.write(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 500" if path == b"/raise" else b"HTTP/1.1 200")
                if path != b"/raise":
                    assert await reader.readexactly(len(path)) == path
            assert tasks.ended == ["/later", "/raise"]
            await close(writer)

    run(main())


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_task_may_be_cancelled_before_it_has_begun(run, carrier, tasks):
    class Closing(tasks):
        def handle_request(self):
            coroutine = super().handle_request()
            asyncio.get_running_loop().call_soon(self.close)
            return coroutine

    async def main():
        async with carrier.serve(Closing) as port:
            reader, writer = await carrier.open(port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await reader.read() == b""
            await close(writer)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "was never awaited"
            gc.collect()
        assert not tasks.began

    run(main())


def test_a_task_that_raises_is_a_500(run, carrier, tasks, caplog):
    async def main():
        async with carrier.serve(tasks) as port:
            reader, writer = await carrier.open(port)
            writer.write(b"GET /raise HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 500")
            await close(writer)

    run(main())
    assert "ValueError: /raise" in caplog.text


def test_a_task_that_is_cancelled_is_a_500_or_a_cut_response(run, carrier, tasks, caplog):
    class Cancelled(tasks):
        async def do_GET(self):
            if self.path == "/begun":
                self.write(b"begun")
            elif self.path == "/whole":
                self.respond(200, b"whole")
            raise asyncio.CancelledError

    async def ask(port, path):
        reader, writer = await carrier.open(port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        if path == "/whole":
            await reader.readuntil(b"whole")
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        received = await reader.read()
        await close(writer)
        return received

    async def main():
        async with carrier.serve(Cancelled) as port:
            assert (await ask(port, "/")).startswith(b"HTTP/1.1 500")
            assert (await ask(port, "/begun")).endswith(b"\r\n5\r\nbegun\r\n")
            assert (await ask(port, "/whole")).startswith(b"HTTP/1.1 500")

    run(main())
    assert caplog.text.count("was cancelled") == 3


def test_a_task_is_cancelled_when_the_connection_closes(run, carrier, tasks):
    class Closing(tasks):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            handlers.append(self)

    handlers = []

    async def main():
        async with carrier.serve(Closing) as port:
            _, writer = await carrier.open(port)
            writer.write(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: tasks.began == ["/wait"])
            handlers[0].close()
            await until(lambda: tasks.ended == ["/wait"])
            await close(writer)

    run(main())


def test_a_task_goes_on_for_a_client_that_sends_no_more(run, carrier, tasks):
    class Looking(tasks):
        head_timeout = 0.1  # a quarter of the shortest limit is the time between two looks
        released = asyncio.Event()

        async def do_GET(self):
            await self.released.wait()
            await super().do_GET()

    async def main():
        async with carrier.serve(Looking) as port:
            reader, writer = await carrier.open(port)
            if not writer.can_write_eof():
                pytest.skip("asyncio's TLS cannot end its sending alone")
            writer.write(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
            writer.write_eof()
            await asyncio.sleep(0.1)  # for some looks
            Looking.released.set()
            assert (await reader.read()).endswith(b"\r\n\r\n/late")
            await until(lambda: tasks.ended == ["/late"])
            await close(writer)

    run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may not show it")
def test_a_task_is_cancelled_when_the_client_resets_the_connection(run, carrier, tasks):
    class Looking(tasks):
        head_timeout = 0.1  # a quarter of the shortest limit is the time between two looks

    async def main():
        async with carrier.serve(Looking) as port:
            _, writer = await carrier.open(port)
            writer.write(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: tasks.began == ["/wait"])
            reset(writer)
            await until(lambda: tasks.ended == ["/wait"])

    run(main())


# On transports


def test_arguments_are_passed_on(run):
    async def main():
        server = await aio.start_server(Lines, "127.0.0.1", 0, "an", "argument")
        Lines.made.clear()
        client = await aio.connect(Lines, *server.sockets[0].getsockname())
        await until(lambda: len(Lines.made) == 2)
        assert {channel.args for channel in Lines.made} == {(), ("an", "argument")}
        assert client.args == ()
        assert client.socket.getpeername() == client.addr == server.sockets[0].getsockname()
        client.close()
        server.close()

    run(main())


def test_clients_connect(run, on_transports):
    class Client(Lines):
        def handle_line(self, line):
            lines.append(line)

    lines = []

    async def main():
        async with on_transports.serve(Lines) as port:
            client = await aio.connect(Client, "localhost" if on_transports.tls else "127.0.0.1", port,
                                       tls=on_transports.client_tls)  # fmt: skip
            assert isinstance(client, Client)
            assert (client.socket.version() is None) is (on_transports.tls is None)
            client.push(b"hello\n")
            await until(lambda: lines == [b"hello"])
            client.close()

    run(main())


def test_a_failed_handshake_is_one_line_and_costs_its_connection_only(run, contexts, caplog):
    async def main():
        server = await aio.start_server(Lines, "127.0.0.1", 0, tls=contexts[0])
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        await close(writer)
        reader, writer = await asyncio.open_connection(*address, ssl=contexts[1])
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        await close(writer)
        server.close()

    run(main())
    (record,) = [record for record in caplog.records if record.name == "asynchat_fast"]
    assert record.getMessage().startswith("no TLS with 127.0.0.1:")


def test_starttls_on_transports(run, contexts):
    class Server(Lines):
        def handle_line(self, line):
            self.push(line + b"\n")
            if line == b"STARTTLS":
                self.start_tls(contexts[0])

    class Client(Lines):
        def handle_line(self, line):
            lines.append((line, self.socket.version() is not None))
            if line == b"STARTTLS":
                self.start_tls(contexts[1], server_side=False, server_hostname="localhost")

        def handle_tls(self):
            self.push(b"secret\n")

    lines = []

    async def main():
        server = await aio.start_server(Server, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        client = await aio.connect(Client, *address)
        client.push(b"STARTTLS\n")
        await until(lambda: len(lines) == 2)
        assert lines == [(b"STARTTLS", False), (b"secret", True)]
        client.close()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"STARTTLS\ninjected\n")
        received = await reader.read()
        assert received.startswith(b"STARTTLS\n")
        assert b"injected" not in received
        await close(writer)
        server.close()

    run(main())


def test_a_client_is_told_why_it_cannot_connect(run, contexts):
    class Failing(Lines):
        def __init__(self, sock):
            raise ValueError("not today")

    async def main():
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionRefusedError):
                await aio.connect(Lines, *unused.getsockname())
        server = await aio.start_server(Lines, "127.0.0.1", 0, tls=contexts[0])
        address = server.sockets[0].getsockname()
        with pytest.raises(ssl.SSLCertVerificationError):
            await aio.connect(Lines, *address, tls=contexts[1], server_hostname="example.org")
        with pytest.raises(ValueError, match="not today"):
            await aio.connect(Failing, *address, tls=contexts[1])
        server.close()

    run(main())


def test_a_client_is_told_why_its_channel_cannot_be_made(run, contexts):
    class HalfMade(Lines):
        def __init__(self, sock):
            super().__init__(sock)
            raise ZeroDivisionError

    def exit_now(sock):
        raise asyncore.ExitNow

    async def main():
        for tls in (None, contexts[0]):
            server = await aio.start_server(Lines, "127.0.0.1", 0, tls=tls)
            address = server.sockets[0].getsockname()
            for make, error in ((HalfMade, ZeroDivisionError), (exit_now, asyncore.ExitNow)):
                Lines.made.clear()
                with pytest.raises(error):
                    await aio.connect(make, *address, tls=tls and contexts[1])
                await until(lambda: all(channel._fileno is None for channel in Lines.made))
            server.close()

    run(main())


def test_a_connection_may_be_cancelled_at_any_moment(run, contexts):
    failures = []

    async def cancel(steps, address, tls):
        task = asyncio.ensure_future(aio.connect(Lines, *address, tls=tls))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await task).close()

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
        for tls in (None, contexts[0]):
            server = await aio.start_server(Lines, "127.0.0.1", 0, tls=tls)
            address = server.sockets[0].getsockname()
            for steps in range(12):
                await cancel(steps, address, tls and contexts[1])
            await until(lambda: all(channel._fileno is None for channel in Lines.made))
            server.close()
        gc.collect()

    Lines.made.clear()
    run(main())
    assert not failures


def test_a_channel_that_cannot_be_made_costs_its_connection_only(run, caplog):
    class Failing(Lines):
        def __init__(self, sock):
            super().__init__(sock)
            if len(attempts) < 1:
                attempts.append(1)
                raise ValueError("not today")

    attempts = []

    async def main():
        server = await aio.start_server(Failing, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        await close(writer)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        await close(writer)
        server.close()

    run(main())
    assert "ValueError: not today" in caplog.text


def test_exit_now_is_reported_and_ends_nothing_else(run, on_transports):
    class Ending(Lines):
        def handle_line(self, line):
            if line == b"exit":
                raise asyncore.ExitNow("enough")
            super().handle_line(line)

    reported = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        async with on_transports.serve(Ending) as port:
            reader, writer = await on_transports.open(port)
            writer.write(b"exit\n")
            assert await reader.read() == b""
            assert [type(context["exception"]) for context in reported] == [asyncore.ExitNow]
            await close(writer)
            reader, writer = await on_transports.open(port)
            writer.write(b"one\n")
            assert await reader.readline() == b"one\n"
            await close(writer)

    run(main())


def test_a_half_closed_peer_gets_its_response(run):
    class Late(Lines):
        def handle_close(self):
            if self.closed:
                self.close()
                return
            self.closed = 1
            self._ac_call_later(0.05, self.push, b"late\n")
            self._ac_call_later(0.06, self.close_when_done)

    async def main():
        server = await aio.start_server(Late, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write_eof()
        assert await reader.read() == b"late\n"
        await close(writer)
        server.close()

    run(main())


def test_what_has_arrived_before_the_end_is_delivered(run, on_transports):
    class Pausing(Lines):
        def handle_line(self, line):
            lines.append(line)
            self.pause_reading()
            self._ac_call_later(0.001, self.resume_reading)

    lines = []

    async def main():
        Pausing.ac_in_buffer_size = 4
        Pausing.handle_read = lambda self: async_chat.handle_read(self)  # so that reads are of that size
        async with on_transports.serve(Pausing) as port:
            _, writer = await on_transports.open(port)
            writer.write(b"one\ntwo\nsix\nten\n")
            await close(writer)
            await until(lambda: len(lines) == 4)
            assert lines == [b"one", b"two", b"six", b"ten"]

    run(main())


def test_a_stalled_peer_is_gone_soon_after_closing(run, on_transports, monkeypatch):
    """After one of the two limits, and not after the sum of both."""
    if on_transports.tls:
        monkeypatch.setattr(tls_farewell, "_PATIENCE", 0.2)
    else:
        monkeypatch.setattr(sys.modules["asynchat_fast.aio.closing"], "_STALLED_AFTER", 0.2)

    class Stalled(Lines):
        idle_timeout = 0.2

        def handle_line(self, line):
            self.push(BIG * 4)

    async def main():
        async with on_transports.serve(Stalled) as port:
            Lines.made.clear()
            with await asyncio.to_thread(on_transports.connect, port) as client:
                client.send(b"go\n")
                await until(lambda: Lines.made)
                (channel,) = Lines.made
                transport = getattr(channel.socket, "_ac_socket", channel.socket)._wire.transport
                await until(lambda: not channel.connected)
                began = time.monotonic()
                await until(lambda: not transport.get_write_buffer_size())  # as it was aborted
                assert time.monotonic() - began < 4

    run(main())


def test_bytearrays_may_change_after_push(run):
    class Reusing(Lines):
        def handle_line(self, line):
            buffer = bytearray(BIG)
            self.push(buffer)
            for _ in range(100):
                self.initiate_send()
            view = memoryview(b"view\n")
            self.push(view)

    async def main():
        server = await aio.start_server(Reusing, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"go\n")
        assert await reader.readexactly(len(BIG)) == BIG
        assert await reader.readline() == b"view\n"
        await close(writer)
        server.close()

    run(main())


@pytest.mark.skipif(sys.platform == "win32", reason="asyncio has no pipes of this kind there")
def test_pipes_carry_channels(run):
    class Collecting(Lines):
        def handle_line(self, line):
            lines.append(line)

    lines = []

    async def main():
        ours, theirs = os.pipe()
        with open(ours, "rb", buffering=0) as reading:
            loop = asyncio.get_running_loop()
            Lines.made.clear()
            await loop.connect_read_pipe(aio.chat_protocol(Collecting), reading)
            os.write(theirs, b"one\ntwo\n")
            await until(lambda: lines == [b"one", b"two"])
            (channel,) = Lines.made
            os.close(theirs)
            await until(lambda: channel.closed)
            assert not channel.connected

    run(main())


@pytest.mark.skipif(sys.platform == "win32", reason="asyncio has no pipes of this kind there")
@pytest.mark.parametrize("high_water", [None, 1000])
def test_a_pipe_that_is_only_written_takes_all(run, high_water):
    class Writing(Lines):
        output_high_water = high_water

    async def main():
        theirs, ours = os.pipe()
        with open(theirs, "rb") as reading:
            loop = asyncio.get_running_loop()
            Lines.made.clear()
            await loop.connect_write_pipe(aio.chat_protocol(Writing), os.fdopen(ours, "wb"))
            (channel,) = Lines.made
            channel.push(BIG)
            channel.close_when_done()
            assert await asyncio.to_thread(reading.read) == BIG

    run(main())


@pytest.mark.skipif(sys.platform == "win32", reason="asyncio has no pipes of this kind there")
def test_a_pipe_that_is_only_read_may_be_closed(run):
    async def main():
        ours, theirs = os.pipe()
        with open(ours, "rb", buffering=0) as reading, open(theirs, "wb", buffering=0) as writing:
            Lines.made.clear()
            await asyncio.get_running_loop().connect_read_pipe(aio.chat_protocol(Lines), reading)
            (channel,) = Lines.made
            channel.close()
            await until(lambda: reading.closed)
            assert not channel.connected
            with pytest.raises(BrokenPipeError):
                writing.write(b"one\n")

    run(main())


def test_a_channel_may_close_long_after_its_connection_was_lost(run, on_transports):
    class Late(Lines):
        line = b""

        def handle_line(self, line):
            self.line = line

        def handle_close(self):
            self.closed += 1

    async def open_channel(port):
        Lines.made.clear()
        _, writer = await on_transports.open(port)
        writer.write(b"one\n")
        await until(lambda: any(channel.line for channel in Lines.made))
        return Lines.made.pop(), writer

    async def main():
        async with on_transports.serve(Late) as port:
            lost, writer = await open_channel(port)
            reset(writer)
            await until(lambda: lost.closed)
            await asyncio.sleep(0.01)  # in which the transport closes its descriptor
            channel, writer = await open_channel(port)  # most likely with the same descriptor
            lost.close()
            channel.pause_reading()
            await asyncio.sleep(0)
            writer.write(b"two\n")
            await asyncio.sleep(0.05)
            assert channel.line == b"one"
            channel.resume_reading()
            await until(lambda: channel.line == b"two")
            channel.close()
            await close(writer)

    run(main())


def test_dispatchers_that_are_no_channels_are_carried(run, on_transports):
    class Echo(asyncore.dispatcher_with_send):
        def handle_read(self):
            if data := self.recv(1000):
                self.send(data)

    class Client(asyncore.dispatcher):
        received = b""

        def writable(self):
            return False

        def handle_read(self):
            self.received += self.recv(1000)

    async def main():
        before = dict(asyncore.socket_map)
        async with on_transports.serve(Echo) as port:
            client = await aio.connect(Client, "localhost", port, tls=on_transports.client_tls)
            client.send(b"some words\n")
            await until(lambda: client.received == b"some words\n")
            assert asyncore.socket_map == before
            client.close()

    run(main())


def test_a_protocol_factory_serves_one_loop_after_the_other(run):
    factory = aio.chat_protocol(Lines)

    async def main():
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        await close(writer)
        server.close()

    run(main())
    run(main())


def test_start_server_wants_a_class():
    with pytest.raises(TypeError, match="channel_class"):
        aio.chat_protocol("Lines")


def test_arguments_that_cannot_work_are_said_before_anything_is_done(run, contexts):
    theirs, ours = contexts

    async def main():
        for make in (aio.start_server, aio.connect):
            for tls in (None, theirs if make is aio.start_server else ours):
                with pytest.raises(TypeError, match="channel_class"):
                    await make("Lines", "127.0.0.1", 0, tls=tls)
            with pytest.raises(TypeError, match="SSLContext"):
                await make(Lines, "127.0.0.1", 0, tls="certificate.pem")
            with pytest.raises(ValueError, match="takes a context"):
                await make(Lines, "127.0.0.1", 0, tls=ours if make is aio.start_server else theirs)
        with pytest.raises(TypeError, match="server_hostname"):
            await aio.connect(Lines, "127.0.0.1", 0, tls=ours, server_hostname=5)
        with pytest.raises(TypeError, match="map"):
            aio.embedded(5)

    run(main())


# Embedded


def test_exit_now_ends_the_serving(run):
    class Ending(Lines):
        def handle_line(self, line):
            raise asyncore.ExitNow("enough")

    async def main():
        map = SocketMap()
        server = chat_server(("127.0.0.1", 0), Ending, map=map)
        async with aio.embedded(map) as served:
            _, writer = await asyncio.open_connection(*server.addr)
            writer.write(b"exit\n")
            with pytest.raises(asyncore.ExitNow):
                await served.ended
            await close(writer)
        asyncore.close_all(map)

    run(main())


def test_exit_now_in_a_timer_or_a_task_ends_the_serving(run):
    class Ending(http_request_handler):
        async def do_GET(self):
            raise asyncore.ExitNow

    def end():
        raise asyncore.ExitNow

    async def main():
        map = SocketMap()
        async with aio.embedded(map) as served:
            call_later(0.01, end, map=map)
            with pytest.raises(asyncore.ExitNow):
                await served.ended
        server = http_server(("127.0.0.1", 0), Ending, map=map)
        async with aio.embedded(map) as served:
            _, writer = await asyncio.open_connection(*server.addr)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            with pytest.raises(asyncore.ExitNow):
                await served.ended
            await close(writer)
        asyncore.close_all(map)

    run(main())


def test_ended_is_done_once_the_block_is_left(run):
    async def main():
        async with aio.embedded(SocketMap()) as served:
            assert not served.ended.done()
        assert await served.ended is None

    run(main())


def test_a_map_is_embedded_once_at_a_time(run):
    async def main():
        map = SocketMap()
        async with aio.embedded(map):
            with pytest.raises(RuntimeError, match="already"):
                async with aio.embedded(map):
                    pass
            done = asyncio.get_running_loop().create_future()
            call_later(0, done.set_result, None, map=map)
            await done
        async with aio.embedded(map):
            pass

    run(main())


def test_several_maps_are_embedded(run):
    async def main():
        maps = [SocketMap(), SocketMap()]
        servers = [chat_server(("127.0.0.1", 0), Lines, map=map) for map in maps]
        async with aio.embedded(maps[0]):
            async with aio.embedded(maps[1]):
                for server in servers:
                    reader, writer = await asyncio.open_connection(*server.addr)
                    writer.write(b"one\n")
                    assert await reader.readline() == b"one\n"
                    await close(writer)
            reader, writer = await asyncio.open_connection(*servers[0].addr)
            writer.write(b"two\n")
            assert await reader.readline() == b"two\n"
            await close(writer)
        for map in maps:
            asyncore.close_all(map, ignore_all=True)

    run(main())


def test_what_is_embedded_goes_on_under_our_own_loop(run):
    map = SocketMap()
    server = chat_server(("127.0.0.1", 0), Lines, map=map)

    async def main():
        async with aio.embedded(map):
            reader, writer = await asyncio.open_connection(*server.addr)
            writer.write(b"one\n")
            assert await reader.readline() == b"one\n"
            await close(writer)

    with socket.socket() as client:
        client.connect(server.addr)
        client.settimeout(PATIENCE)
        run(main())
        client.send(b"two\n")
        deadline = time.monotonic() + PATIENCE
        while not select.select([client], [], [], 0)[0] and time.monotonic() < deadline:
            asynchat_fast.loop(0.05, map=map, count=1)
        assert client.recv(100) == b"two\n"
    run(main())
    asyncore.close_all(map, ignore_all=True)


def test_leaving_with_a_wake_up_pending_harms_nobody(run):
    """Its descriptors may be others' by the time the wake-up comes."""

    async def main():
        for _ in range(20):
            map = SocketMap()
            server = chat_server(("127.0.0.1", 0), Lines, map=map)
            worker = threading.Thread(target=lambda map=map: [map.wake() for _ in range(100)])
            async with aio.embedded(map):
                worker.start()
                map.wake()
                call_later(0.001, map.wake, map=map)
            server.close()
            other = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
            await asyncio.sleep(0.002)
            worker.join()
            map.wake()
            reader, writer = await asyncio.open_connection(*other.sockets[0].getsockname())
            assert await reader.read() == b""
            await close(writer)
            other.close()

    run(main())


def test_a_plain_dict_is_embedded_by_descriptors_or_refused(run):
    async def main():
        map = {}
        server = chat_server(("127.0.0.1", 0), Lines, map=map)
        try:
            if run.kind == "uvloop":
                with pytest.raises(RuntimeError, match="uvloop"):
                    async with aio.embedded(map):
                        pass
                return
            async with aio.embedded(map):
                for _ in range(3):
                    reader, writer = await asyncio.open_connection(*server.addr)
                    writer.write(b"one\n" * 1000)
                    for _ in range(1000):
                        assert await reader.readline() == b"one\n"
                    await close(writer)
                    await until(lambda: len(map) == 1)
                before = time.process_time()
                await asyncio.sleep(0.2)
                assert time.process_time() - before < 0.1
            assert len(map) == 1
        finally:
            asyncore.close_all(map, ignore_all=True)

    run(main())


def test_many_busy_channels_of_a_plain_dict_have_their_turn():
    async def main():
        map = {}
        server = chat_server(("127.0.0.1", 0), Lines, map=map)
        async with aio.embedded(map):
            streams = [await asyncio.open_connection(*server.addr) for _ in range(100)]
            for _, writer in streams:
                writer.write(b"one\n" * 10)
            for reader, writer in streams:
                assert await reader.readexactly(40) == b"one\n" * 10
                writer.close()
        asyncore.close_all(map, ignore_all=True)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_silence_costs_no_cpu(run, carrier):
    async def main():
        async with carrier.serve(Lines) as port:
            streams = [await carrier.open(port) for _ in range(20)]
            await asyncio.sleep(0.1)
            before = time.process_time()
            await asyncio.sleep(0.5)
            assert time.process_time() - before < 0.1
            for _, writer in streams:
                await close(writer)

    run(main())


class Ready(asyncore.dispatcher):
    """Always has something to read."""

    served: ClassVar = []
    takes = 0.0  # seconds

    def __init__(self, map):
        ours, self.theirs = socket.socketpair()
        super().__init__(ours, map)
        self.theirs.send(b"x")  # and nobody receives it

    def writable(self):
        return False

    def handle_read(self):
        self.served.append(self)
        time.sleep(self.takes)

    def close(self):
        super().close()
        self.theirs.close()


@pytest.fixture
def ready(monkeypatch):
    """A map of a hundred channels, all of which are always ready."""
    monkeypatch.setattr(Ready, "served", [])
    map = SocketMap()
    for _ in range(100):
        Ready(map)
    yield map
    asyncore.close_all(map)


def test_asyncio_has_its_turn_beside_a_flood(run, ready):
    """A pass serves 32 events, and nobody is served again before the others."""

    async def main():
        async with aio.embedded(ready):
            most = 0
            for _ in range(50):
                before = len(Ready.served)
                await asyncio.sleep(0)
                most = max(most, len(Ready.served) - before)
            assert 0 < most <= 64  # a pass for the events, and one for the time
            assert len(set(Ready.served[:96])) == 96
            for _ in range(20):
                await asyncio.sleep(0.001)

    run(main())


def test_passes_serve_fewer_if_that_takes_long(run, ready, monkeypatch):
    async def main():
        async with aio.embedded(ready):
            monkeypatch.setattr(Ready, "takes", 0.003)
            await until(lambda: len(Ready.served) > 100)
            turns, before = 0, len(Ready.served)
            while len(Ready.served) < before + 100:
                await asyncio.sleep(0)
                turns += 1
            assert turns >= 50  # at most a pass for the events, and one for the time, in each
            assert len(set(Ready.served[before:])) >= 99  # all have their turn
            monkeypatch.setattr(Ready, "takes", 0.0)
            before = len(Ready.served)
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(Ready.served) - before > 150

    run(main())
