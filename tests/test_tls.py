"""Channels on TLS: STARTTLS, TLS from the first byte, its end, and peers that do it wrong; on both loops."""

import contextlib
import gc
import logging
import select
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import asynchat_fast
from asynchat_fast import asyncore, tls_farewell
from asynchat_fast.tls_socket import TLSSocket

PATIENCE = 20  # seconds, for what takes milliseconds unless it hangs


class Loop:
    """A loop, and a map of its own that it serves."""

    def __init__(self, loop, use_poll, map):
        self.map = map
        self._loop = loop
        self._use_poll = use_poll

    def run_pass(self, timeout=0.02):
        self._loop(timeout, self._use_poll, self.map, 1)

    def until(self, condition, timeout=0.02):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "the condition has not become true"
            if self.map:
                self.run_pass(timeout)
            else:
                time.sleep(0.001)

    def beside(self, function, *args):
        """Serve while *function* runs in a thread; return what that returns."""
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(function, *args)
            self.until(future.done)
            return future.result()


LOOPS = {
    "loop": (asynchat_fast.loop, False, asynchat_fast.SocketMap),
    "loop as poll": (asynchat_fast.loop, True, asynchat_fast.SocketMap),
    "asyncore": (asyncore.loop, False, dict),
    "asyncore by poll": (asyncore.loop, True, dict),
}


@pytest.fixture(params=LOOPS)
def loop(request):
    yield from _make_loop(request.param)


@pytest.fixture
def our_loop():
    yield from _make_loop("loop")


def _make_loop(name):
    run, use_poll, map_class = LOOPS[name]
    served = Loop(run, use_poll, map_class())
    yield served
    asyncore.close_all(served.map, ignore_all=True)


class Lines(asynchat_fast.async_chat):
    """Returns each line with an exclamation mark, and knows some commands."""

    made = ()  # a list that each is put on
    ac_logger = logging.getLogger("lines")

    def __init__(self, sock=None, map=None):
        super().__init__(sock, map)
        self.set_terminator(b"\r\n")
        self.lines = []
        self.ends = []
        self.errors = []
        self.made and self.made[0].append(self)

    collect_incoming_data = asynchat_fast.async_chat._collect_incoming_data

    def found_terminator(self):
        line = self._get_data()
        self.lines.append(line)
        self.act(line)

    def act(self, line):
        self.push(line + b"!\r\n")

    def handle_close(self):
        self.ends.append(getattr(self.socket, "truncated", None))
        self.close()


@pytest.fixture
def channels():
    return []


@pytest.fixture
def serve(server_context, channels):
    """A function that serves a channel class on TLS in a loop, and returns the server."""

    def serve(loop, channel_class=Lines, **options):
        class Made(channel_class):
            made = (channels,)

        options.setdefault("tls", server_context)
        return asynchat_fast.chat_server(("127.0.0.1", 0), Made, map=loop.map, **options)

    return serve


@pytest.fixture
def connect(client_context):
    """A function that returns a blocking TLS connection of the ssl module to an address."""
    with contextlib.ExitStack() as opened:

        def connect(address, context=client_context, **options):
            sock = opened.enter_context(socket.create_connection(address, PATIENCE))
            options.setdefault("server_hostname", "localhost")
            return opened.enter_context(context.wrap_socket(sock, suppress_ragged_eofs=False, **options))

        yield connect


def read_line(sock):
    line = b""
    while not line.endswith(b"\r\n"):
        more = sock.recv(1)
        assert more, line
        line += more
    return line[:-2]


def read_to_end(sock):
    parts = []
    while data := sock.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


def tls_lines(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


class RawPeer:
    """A peer on TLS over two BIOs, that can say what it wants to on the socket."""

    def __init__(self, sock, context, **options):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, **options)

    def do(self, function, *args):
        while True:
            try:
                result = function(*args)
            except ssl.SSLWantReadError:
                self.flush()
                data = self.sock.recv(1 << 16)
                self.incoming.write(data) if data else self.incoming.write_eof()
            else:
                self.flush()
                return result

    def flush(self):
        if self.outgoing.pending:
            self.sock.sendall(self.outgoing.read())

    def handshake(self):
        self.do(self.object.do_handshake)
        return self

    def say_end(self):
        with contextlib.suppress(ssl.SSLWantReadError):
            self.object.unwrap()
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


class RawClient(RawPeer):
    def __init__(self, address, context):
        super().__init__(socket.create_connection(address, PATIENCE), context, server_hostname="localhost")


# What goes well


class TestConversation:
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_lines(self, loop, serve, connect, client_context, version):
        server = serve(loop)
        client_context.maximum_version = version

        def client():
            sock = connect(server.addr)
            sock.sendall(b"one\r\ntwo\r\n")
            return sock.version(), read_line(sock), read_line(sock)

        assert loop.beside(client) == (version.name.replace("_", "."), b"one!", b"two!")

    def test_an_ssl_object_of_the_program_is_called(self, our_loop, serve, connect, server_context):
        calls = []

        class Noting(ssl.SSLObject):
            def read(self, *args):
                calls.append("read")
                return super().read(*args)

            def write(self, data):
                calls.append("write")
                return super().write(data)

        server_context.sslobject_class = Noting
        server = serve(our_loop)

        def client():
            sock = connect(server.addr)
            sock.sendall(b"one\r\n")
            return read_line(sock)

        assert our_loop.beside(client) == b"one!"
        assert {"read", "write"} == set(calls)

    def test_many_lines_at_once_and_one_by_one(self, loop, serve, connect):
        server = serve(loop)

        def client():
            sock = connect(server.addr)
            sock.sendall(b"".join(b"%d\r\n" % number for number in range(5000)))
            at_once = [read_line(sock) for _ in range(500)]
            for _ in range(100):
                sock.sendall(b"x\r\n")
            return at_once

        assert loop.beside(client) == [b"%d!" % number for number in range(500)]

    def test_a_greeting_and_a_large_response_for_a_slow_reader(self, loop, serve, connect):
        class Greets(Lines):
            def __init__(self, *args, **options):
                super().__init__(*args, **options)
                self.push(b"hello\r\n")

            def act(self, line):
                self.push(bytes(range(256)) * 8000)
                self.push_with_producer(asynchat_fast.simple_producer(bytes(range(256)) * 8000, 5000))
                self.close_when_done()

        server = serve(loop, Greets)

        def client():
            sock = connect(server.addr)
            greeting = read_line(sock)
            sock.sendall(b"go\r\n")
            time.sleep(0.05)
            return greeting, read_to_end(sock)

        assert loop.beside(client) == (b"hello", bytes(range(256)) * 16000)

    def test_a_file_for_a_slow_reader(self, loop, serve, connect, tmp_path):
        path = tmp_path / "large"
        content = bytes(range(251)) * 12_000
        path.write_bytes(content)

        class Sends(Lines):
            def act(self, line):
                self.push(b"file:")
                self.push_with_producer(asynchat_fast.file_producer(path.open("rb"), offset=1))
                self.push(b"end")
                self.close_when_done()

        server = serve(loop, Sends)

        def client():
            sock = connect(server.addr)
            sock.sendall(b"go\r\n")
            time.sleep(0.05)
            return read_to_end(sock)

        assert loop.beside(client) == b"file:" + content[1:] + b"end"

    def test_a_file_that_becomes_shorter_ends_the_connection(self, loop, serve, connect, tmp_path, caplog, channels):
        path = tmp_path / "large"
        path.write_bytes(bytes(8_000_000))

        class Sends(Lines):
            def act(self, line):
                self.push_with_producer(asynchat_fast.file_producer(path.open("rb")))

        server = serve(loop, Sends)
        sock = loop.beside(connect, server.addr)
        sock.sendall(b"go\r\n")
        loop.until(lambda: channels and channels[0].lines)
        path.write_bytes(b"")
        assert len(loop.beside(read_to_end, sock)) < 8_000_000
        assert [record for record in tls_lines(caplog) if "changed while it was sent" in record]

    @pytest.mark.parametrize("name", ["handle_read_event", "handle_read", "recv", "send"])
    def test_overridden_methods_are_called(self, loop, serve, connect, channels, name):
        calls = []

        class Counting(Lines):
            pass

        def method(self, *args):
            calls.append(name)
            return getattr(super(Counting, self), name)(*args)

        setattr(Counting, name, method)
        server = serve(loop, Counting)

        def client():
            sock = connect(server.addr)
            sock.sendall(b"one\r\n")
            return read_line(sock)

        assert loop.beside(client) == b"one!"
        assert calls

    def test_what_a_callback_that_raises_has_not_taken_is_delivered_again(self, loop, serve, connect, channels):
        class Raises(Lines):
            def collect_incoming_data(self, data):
                if not self.errors:
                    raise ValueError
                super().collect_incoming_data(data)

            def handle_error(self):
                self.errors.append(1)

        server = serve(loop, Raises)

        def client():
            sock = connect(server.addr)
            sock.sendall(b"one\r\n")
            loop_saw.wait(PATIENCE)
            sock.sendall(b"two\r\n")
            return read_line(sock), read_line(sock)

        loop_saw = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            lines = pool.submit(client)
            loop.until(lambda: channels and channels[0].errors)
            loop_saw.set()
            loop.until(lines.done)
        assert lines.result() == (b"one!", b"two!")

    @pytest.mark.parametrize("command", ["k", "K"])  # in the second the client asks for new keys of the server, too
    def test_keys_that_are_updated(self, loop, serve, command):
        dialogue = (b"one", b"one!"), (command.encode(), b"KEYUPDATE"), (b"two", b"two!")
        self.talk_by_openssl(loop, serve(loop), "-tls1_3", dialogue)

    def test_a_refusal_to_renegotiate_reaches_the_peer(self, loop, serve, server_context):
        """It is said while nothing else is."""
        server_context.options |= ssl.OP_NO_RENEGOTIATION
        dialogue = (b"one", b"one!"), (b"R", b"no renegotiation")
        self.talk_by_openssl(loop, serve(loop), "-tls1_2", dialogue)

    def talk_by_openssl(self, loop, server, version, dialogue):
        address = "{}:{}".format(*server.addr)
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", address, "-crlf", version],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

        def talk():
            for line, response in dialogue:
                client.stdin.write(line + b"\n")
                client.stdin.flush()
                while response not in (said := client.stdout.readline()):
                    assert said, "openssl has ended"

        with client:
            try:
                loop.beside(talk)
            finally:
                client.kill()

    @pytest.mark.parametrize("size", [1, 100, 4096])
    def test_records_longer_than_the_reads(self, loop, serve, connect, channels, size):
        """What is left of a record sits where no poller sees it."""

        class SmallReads(Lines):
            ac_in_buffer_size = size

        server = serve(loop, SmallReads)

        def client():
            sock = connect(server.addr)
            sock.sendall(b"z" * 16000 + b"\r\n")
            return read_line(sock)

        assert loop.beside(client) == b"z" * 16000 + b"!"

    def test_reading_that_pauses_amid_a_record(self, loop, serve, connect, channels):
        class Pauses(Lines):
            ac_in_buffer_size = 10

            def act(self, line):
                self.pause_reading()

        server = serve(loop, Pauses)
        sock = loop.beside(connect, server.addr)
        sock.sendall(b"12345678\r\n" * 100)
        loop.until(lambda: channels and channels[0].lines)
        (channel,) = channels
        for _ in range(5):
            loop.run_pass(0.001)
        assert len(channel.lines) == 1
        for count in range(2, 101):
            channel.resume_reading()
            loop.until(lambda count=count: len(channel.lines) >= count)
        assert channel.lines == [b"12345678"] * 100

    def test_pausing_holds_the_sender_back(self, our_loop, serve, connect, channels):
        server = serve(our_loop)
        sock = our_loop.beside(connect, server.addr)
        our_loop.until(lambda: channels)
        channels[0].pause_reading()
        sock.settimeout(0.2)
        line, sent = b"x" * 998 + b"\r\n", 0
        with contextlib.suppress(TimeoutError), ThreadPoolExecutor(1) as pool:
            future = pool.submit(sock.sendall, line * 20_000)
            our_loop.until(future.done)
            future.result()
            sent = 1
        assert not sent, "20 MB were taken from a client although reading is paused"
        assert not channels[0].lines

    def test_discarded_output_leaves_the_connection_intact(self, loop, serve, connect, channels):
        """OpenSSL would want the bytes again that it has not sent."""
        server = serve(loop)
        sock = loop.beside(connect, server.addr)
        loop.until(lambda: channels)
        (channel,) = channels
        for _ in range(200):
            channel.push(b"a" * 60_000)
        assert channel.producer_fifo
        channel.discard_buffers()
        channel.push(b"b\r\n")
        channel.close_when_done()
        got = loop.beside(read_to_end, sock)
        assert got.endswith(b"ab\r\n")
        assert set(got[:-3]) == set(b"a")

    @pytest.mark.parametrize("name", ["readable", "writable"])
    def test_overridden_interest_is_honoured(self, loop, serve, connect, channels, name):
        class Held(Lines):
            held = True

            def act(self, line):
                self.producer_fifo.append(line + b"!\r\n")

        def interest(self):
            return not self.held and getattr(Lines, name)(self)

        setattr(Held, name, interest)
        server = serve(loop, Held)
        sock = loop.beside(connect, server.addr)
        sock.sendall(b"a\r\n")
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            loop.beside(sock.recv, 1)
        assert bool(channels[0].lines) == (name == "writable")
        sock.settimeout(PATIENCE)
        channels[0].held = False
        assert loop.beside(read_line, sock) == b"a!"

    def test_pushes_of_several_threads_while_lines_come(self, loop, serve, connect, channels):
        """Records that leave in another order than they were made end the connection."""
        server = serve(loop)
        sock = loop.beside(connect, server.addr)
        loop.until(lambda: channels)
        (channel,) = channels

        def push_all(name):
            for number in range(400):
                channel.push(b"%s %d %s\r\n" % (name, number, b"x" * (number % 50 * 100)))

        def client():
            names = [b"a", b"b", b"c"]
            threads = [threading.Thread(target=push_all, args=(name,)) for name in names]
            for thread in threads:
                thread.start()
            seen = {name: [] for name in [*names, b"echo"]}
            reader = sock.makefile("rb")
            for number in range(400):
                sock.sendall(b"echo %d \r\n" % number)
                for _ in range(4):
                    name, value, _ = reader.readline().split(b" ", 2)
                    seen[name].append(int(value))
            for thread in threads:
                thread.join()
            return seen

        seen = loop.beside(client)
        assert all(numbers == list(range(400)) for numbers in seen.values()), seen

    def test_a_dispatcher_that_is_no_channel(self, loop, server_context, connect):
        class Echo(asyncore.dispatcher_with_send):
            def handle_read(self):
                if data := self.recv(1000):
                    self.send(data)

        server = asynchat_fast.chat_server(("127.0.0.1", 0), Echo, map=loop.map, tls=server_context)

        def client():
            sock = connect(server.addr)
            sock.sendall(b"abc" * 2000)
            got = b""
            while len(got) < 6000:
                got += sock.recv(10000)
            return got

        assert loop.beside(client) == b"abc" * 2000

    def test_parts_of_a_record_are_not_told_to_a_dispatcher(self, our_loop, server_context, client_context):
        """It would take the BlockingIOError of its recv() for the end."""
        errors = []

        class Echo(asyncore.dispatcher_with_send):
            def handle_read(self):
                self.send(self.recv(1000))

            def handle_error(self):
                errors.append(1)
                self.close()

        server = asynchat_fast.chat_server(("127.0.0.1", 0), Echo, map=our_loop.map, tls=server_context)

        def client():
            with RawClient(server.addr, client_context) as raw:
                raw.handshake()
                raw.object.write(b"abc")
                for byte in raw.outgoing.read():
                    raw.sock.sendall(bytes([byte]))
                    time.sleep(0.002)
                return raw.do(raw.object.read, 100)

        assert our_loop.beside(client) == b"abc"
        assert not errors

    def test_a_channel_that_leaves_an_event_unheeded(self, loop, serve, connect, channels):
        class Lazy(Lines):
            told = 0

            def handle_read(self):
                self.told += 1
                if self.told > 2:
                    super().handle_read()

        server = serve(loop, Lazy)
        sock = loop.beside(connect, server.addr)
        sock.sendall(b"a\r\n")
        assert loop.beside(read_line, sock) == b"a!"

    @pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no unix sockets")
    def test_a_unix_socket(self, our_loop, server_context, client_context, tmp_path):
        path = tmp_path / "socket"
        asynchat_fast.chat_server(path, Lines, map=our_loop.map, tls=server_context)

        def client():
            with socket.socket(socket.AF_UNIX) as plain:
                plain.settimeout(PATIENCE)
                plain.connect(str(path))
                with client_context.wrap_socket(plain, server_hostname="localhost") as sock:
                    sock.sendall(b"a\r\n")
                    return read_line(sock)

        assert our_loop.beside(client) == b"a!"


def test_the_certificates_of_the_documentation(our_loop, serve, connect, tmp_path):
    """They pass the checks that a client makes by default from Python 3.13 on."""
    page = Path(__file__).parents[1] / "docs" / "tls.md"
    if shutil.which("openssl") is None or shutil.which("sh") is None or not page.exists():
        pytest.skip("there is no openssl, no shell, or no documentation")
    block = page.read_text(encoding="utf-8").partition("## Certificates for testing")[2]
    commands = block.partition("```sh\n")[2].partition("```")[0]
    assert "openssl x509 -req" in commands
    subprocess.run(["sh", "-euc", commands], cwd=tmp_path, check=True, capture_output=True, timeout=PATIENCE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    server = serve(our_loop, tls=context)
    strict = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    strict.verify_flags |= ssl.VERIFY_X509_STRICT | getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)

    def client(name):
        sock = connect(server.addr, strict, server_hostname=name)
        sock.sendall(b"one\r\n")
        return read_line(sock)

    assert [our_loop.beside(client, name) for name in ("localhost", "127.0.0.1")] == [b"one!"] * 2


def test_what_the_socket_tells(our_loop, serve, connect, channels, certificates, server_context, client_context):
    names = []
    server_context.load_verify_locations(certificates.ca)
    server_context.verify_mode = ssl.CERT_REQUIRED
    server_context.set_alpn_protocols(["b", "a"])
    server_context.sni_callback = lambda _, name, context: names.append(name)
    client_context.load_cert_chain(certificates.server, certificates.key)
    client_context.set_alpn_protocols(["a", "c"])
    server = serve(our_loop)
    sock = our_loop.beside(connect, server.addr)
    our_loop.until(lambda: channels)
    ours = channels[0].socket
    assert ours.version() == sock.version() == "TLSv1.3"
    assert ours.cipher() == sock.cipher()
    assert ours.selected_alpn_protocol() == "a"
    assert ours.getpeercert()["subject"] == ((("commonName", "localhost"),),)
    assert ours.getpeercert(True) == ssl.PEM_cert_to_DER_cert(Path(certificates.server).read_text())
    assert ours.getpeername() == sock.getsockname()
    assert ours.getsockname() == server.addr
    assert ours.fileno() == channels[0]._fileno
    assert ours.family == socket.AF_INET
    assert ours.truncated is False
    assert names == ["localhost"]
    assert "TLSv1.3" in repr(ours)


# STARTTLS


class StartsTLS(Lines):
    """A server's side of STARTTLS."""

    context = None
    before = b"go\r\n"

    def act(self, line):
        if line == b"STARTTLS":
            self.push(self.before)
            self.start_tls(self.context)
        else:
            super().act(line)

    def handle_tls(self):
        self.lines.append("TLS")


@pytest.fixture
def serve_starttls(serve, server_context):
    def serve_starttls(loop, **attributes):
        cls = type("StartsHere", (StartsTLS,), {"context": server_context, **attributes})
        return serve(loop, cls, tls=None)

    return serve_starttls


class TestStartTLS:
    @pytest.mark.parametrize("coalesces", [False, True])
    def test_what_was_pushed_before_leaves_in_the_plain(
        self, loop, serve_starttls, client_context, channels, coalesces
    ):
        server = serve_starttls(loop, coalesce_pushes=coalesces, before=b"x" * 9_000_000 + b"go\r\n")

        def client():
            with socket.create_connection(server.addr, PATIENCE) as plain:
                plain.sendall(b"a\r\nSTARTTLS\r\n")
                first = read_line(plain)
                got = b""
                while not got.endswith(b"go\r\n"):
                    got += plain.recv(min(9_000_004 - len(got), 1 << 20))
                with client_context.wrap_socket(plain, server_hostname="localhost") as sock:
                    sock.sendall(b"b\r\n")
                    return first, len(got), read_line(sock)

        assert loop.beside(client) == (b"a!", 9_000_004, b"b!")
        assert channels[0].lines == [b"a", b"STARTTLS", "TLS", b"b"]

    def test_injected_commands_are_refused(self, loop, serve_starttls, channels, caplog):
        server = serve_starttls(loop)

        def client():
            with socket.create_connection(server.addr, PATIENCE) as plain:
                plain.sendall(b"STARTTLS\r\nevil\r\n")
                with contextlib.suppress(ConnectionResetError):
                    return read_line(plain), b"evil" in read_to_end(plain)

        assert loop.beside(client) in ((b"go", False), None)
        loop.until(lambda: channels[0].ends)
        assert channels[0].lines == [b"STARTTLS"]
        (line,) = tls_lines(caplog)
        assert line.startswith("no TLS with 127.0.0.1:")
        assert "SSL:" in line

    def test_a_callback_that_collects_may_begin_it(self, loop, serve_starttls, client_context, channels):
        def collect(self, data):
            self.incoming.append(data)
            if data == b"STARTTLS":
                self.push(b"go\r\n")
                self.start_tls(self.context)

        server = serve_starttls(loop, collect_incoming_data=collect, act=Lines.act)

        def client():
            with socket.create_connection(server.addr, PATIENCE) as plain:
                plain.sendall(b"STARTTLS")
                assert read_line(plain) == b"go"
                with client_context.wrap_socket(plain, server_hostname="localhost") as sock:
                    sock.sendall(b"\r\nb\r\n")
                    return read_line(sock), read_line(sock)

        assert loop.beside(client) == (b"STARTTLS!", b"b!")
        assert channels[0].lines == ["TLS", b"STARTTLS", b"b"]

    def test_an_early_client_hello(self, loop, serve_starttls, client_context, channels):
        server = serve_starttls(loop)

        def client():
            with RawClient(server.addr, client_context) as raw:
                with contextlib.suppress(ssl.SSLWantReadError):
                    raw.object.do_handshake()
                raw.sock.sendall(b"STARTTLS\r\n" + raw.outgoing.read())
                assert read_line(raw.sock) == b"go"
                raw.handshake()
                raw.do(raw.object.write, b"a\r\n")
                return raw.do(raw.object.read, 100)

        assert loop.beside(client) == b"a!\r\n"

    def test_a_producer_that_waits_is_an_error_and_stays(self, our_loop, pair, server_context):
        ours, theirs = pair
        channel = Lines(ours, our_loop.map)
        theirs.settimeout(PATIENCE)
        channel.push_with_producer(asynchat_fast.simple_producer(b"x" * 5_000_000))
        assert channel.producer_fifo
        with pytest.raises(RuntimeError, match="producer"):
            channel.start_tls(server_context)
        channel.close_when_done()
        assert len(our_loop.beside(read_to_end, theirs)) == 5_000_000

    def test_wrong_uses(self, our_loop, pair, server_context, client_context):
        ours, _ = pair
        with pytest.raises(RuntimeError, match="create_socket"):
            Lines(None, our_loop.map).start_tls(server_context)
        channel = Lines(ours, our_loop.map)
        with pytest.raises(TypeError, match="SSLContext"):
            channel.start_tls("certificate.pem")
        with pytest.raises(ValueError, match="hostname"):
            channel.start_tls(client_context, server_side=False)
        with pytest.raises(TypeError, match="server_hostname"):
            channel.start_tls(client_context, server_side=False, server_hostname=5)
        with pytest.raises(ValueError, match="a server takes"):
            channel.start_tls(client_context)
        channel.ac_in_buffer = b"unread"
        for error, wrong in [(TypeError, "10"), (ValueError, -1), (ValueError, 0), (ValueError, float("nan"))]:
            with pytest.raises(error, match="handshake_timeout"):
                channel.start_tls(server_context, handshake_timeout=wrong)
            with pytest.raises(error, match="handshake_timeout"):
                asynchat_fast.chat_server(
                    ("127.0.0.1", 0), Lines, map=our_loop.map, tls=server_context, handshake_timeout=wrong
                )
        assert channel.socket is ours
        assert channel.ac_in_buffer == b"unread"
        assert list(our_loop.map.values()) == [channel]
        channel.ac_in_buffer = b""
        channel.start_tls(server_context)
        with pytest.raises(RuntimeError, match="already"):
            channel.start_tls(server_context)
        with pytest.raises(TypeError, match="SSLContext"):
            asynchat_fast.chat_server(("127.0.0.1", 0), Lines, map=our_loop.map, tls="certificate.pem")
        with pytest.raises(ValueError, match="a server takes"):
            asynchat_fast.chat_server(("127.0.0.1", 0), Lines, map=our_loop.map, tls=client_context)

    def test_of_a_client(self, loop, serve_starttls, client_context, channels):
        class Client(StartsTLS):
            def act(self, line):
                if line == b"go":
                    self.start_tls(client_context, server_side=False, server_hostname="localhost")

            def handle_tls(self):
                super().handle_tls()
                self.push(b"a\r\n")

        server = serve_starttls(loop)
        client = Client(None, loop.map)
        client.create_socket()
        client.connect(server.addr)
        client.push(b"STARTTLS\r\n")
        loop.until(lambda: b"a!" in client.lines)
        assert client.lines == [b"go", "TLS", b"a!"]
        assert channels[0].lines == [b"STARTTLS", "TLS", b"a"]


# Clients


class ClientOnTLS(Lines):
    def __init__(self, loop, address, context, name="localhost", **options):
        super().__init__(None, loop.map)
        self.create_socket()
        self.push(b"before\r\n")
        self.start_tls(context, server_side=False, server_hostname=name, **options)
        self.connect(address)
        self.push(b"after\r\n")

    def act(self, line):
        pass

    def handle_connect(self):
        self.lines.append("connected")
        self.push(b"connected\r\n")

    def handle_tls(self):
        self.lines.append("TLS")


class KeepsErrors(ClientOnTLS):
    def handle_error(self):
        import sys

        self.errors.append(sys.exc_info()[1])
        self.close()


class TestClient:
    def test_nothing_leaves_before_the_handshake(self, loop, serve, client_context, channels):
        server = serve(loop)
        client = ClientOnTLS(loop, server.addr, client_context)
        loop.until(lambda: len(client.lines) == 5)
        assert client.lines == ["connected", "TLS", b"before!", b"after!", b"connected!"]
        assert client.socket.getpeercert()["subject"] == ((("commonName", "localhost"),),)
        channels[0].close()
        loop.until(lambda: client.ends)
        assert client.ends == [False]

    def test_a_name_that_is_not_in_the_certificate(self, loop, serve, client_context, caplog):
        server = serve(loop)
        client = KeepsErrors(loop, server.addr, client_context, "example.org")
        loop.until(lambda: client.errors and tls_lines(caplog))
        (error,) = client.errors
        assert isinstance(error, ssl.SSLCertVerificationError)
        assert "example.org" in str(error)
        loop.until(lambda: len(loop.map) == 1)
        (line,) = tls_lines(caplog)  # the server's, for the client's alert
        assert "alert" in line

    def test_by_default_a_failure_is_a_line_in_the_log(self, loop, serve, client_context, caplog):
        server = serve(loop)
        client = ClientOnTLS(loop, server.addr, client_context, "example.org")
        loop.until(lambda: client.ends and len(tls_lines(caplog)) == 2)
        (record,) = [record for record in caplog.records if record.name == "lines"]
        assert "CERTIFICATE_VERIFY_FAILED" in record.getMessage()
        assert not record.exc_info

    def test_a_peer_that_is_silent(self, loop, client_context):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            client = KeepsErrors(loop, silent.getsockname(), client_context, handshake_timeout=0.1)
            loop.until(lambda: client.errors)
        assert isinstance(client.errors[0], TimeoutError)
        assert not loop.map

    def test_a_peer_that_goes(self, loop, client_context):
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = KeepsErrors(loop, server.getsockname(), client_context)
            peer, _ = loop.beside(server.accept)
            peer.close()
            loop.until(lambda: client.errors)
        assert isinstance(client.errors[0], OSError)
        assert not loop.map

    def test_no_server_at_all(self, loop, client_context):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            client = ClientOnTLS(loop, unused.getsockname(), client_context)
            loop.until(lambda: not loop.map)
        assert client.lines == []

    def test_a_certificate_that_is_refused_after_the_clients_handshake(
        self, loop, serve, client_context, server_context, caplog
    ):
        server_context.verify_mode = ssl.CERT_REQUIRED
        server = serve(loop)
        client = KeepsErrors(loop, server.addr, client_context)
        loop.until(lambda: client.errors and tls_lines(caplog))
        assert isinstance(client.errors[0], ssl.SSLError)
        (line,) = tls_lines(caplog)
        assert "did not return a certificate" in line.replace("_", " ").lower()


@pytest.mark.skipif(not hasattr(select, "poll"), reason="select() does not tell of a reset")
class TestReasonOfALoss:
    """A peer that refuses sends an alert and goes: that nothing can be sent may be noticed before it is read."""

    class Waits(KeepsErrors):
        """Says nothing of itself."""

        def push(self, data):
            pass

        say = asynchat_fast.async_chat.push

    @pytest.fixture
    def refused(self, loop, client_context, server_context):
        """A function that returns a client which was refused and reset, after it has said *first*."""

        def refused(first=b""):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                if first:  # so much that a part of it waits
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client = self.Waits(loop, listener.getsockname(), client_context)
                server = RawPeer(loop.beside(listener.accept)[0], server_context, server_side=True)
                with server:
                    loop.beside(server.handshake)
                    loop.until(lambda: "TLS" in client.lines)
                    if first:
                        client.say(first)
                    with contextlib.suppress(ssl.SSLError):
                        server.incoming.write(b"\x17\x03\x03\x00\x20" + bytes(32))  # nobody can have encrypted this
                        server.object.read()
                    server.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or a reset drops the alert
                    server.flush()
                    server.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            poll = select.poll()
            poll.register(client.socket.fileno(), 0)
            assert poll.poll(PATIENCE * 1000)
            return client

        return refused

    def test_it_is_what_a_push_meets(self, refused):
        client = refused()
        client.say(b"too late\r\n")
        (error,) = client.errors
        assert "bad record mac" in str(error).replace("_", " ").lower()
        assert client.ends == []

    def test_it_is_what_the_rest_of_a_push_meets(self, refused):
        client = refused(bytes(10_000_000))
        client.socket._ac_place.handle_write_event()
        (error,) = client.errors
        assert "bad record mac" in str(error).replace("_", " ").lower()
        assert client.ends == []


# Peers that do it wrong


def say_http(address, context):
    with socket.create_connection(address, PATIENCE) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            read_to_end(sock)


def say_garbage(address, context):
    with socket.create_connection(address, PATIENCE) as sock:
        sock.sendall(bytes(range(256)) * 100)
        with contextlib.suppress(ConnectionResetError):
            read_to_end(sock)


def vanish(address, context):
    socket.create_connection(address, PATIENCE).close()


def vanish_later(address, context):
    with RawClient(address, context) as raw:
        with contextlib.suppress(ssl.SSLWantReadError):
            raw.object.do_handshake()
        raw.flush()
        raw.sock.recv(1)


def trust_nobody(address, context):
    with contextlib.suppress(ssl.SSLError), socket.create_connection(address, PATIENCE) as sock:
        ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")


class TestWrongPeers:
    @pytest.mark.parametrize("misbehave", [say_http, say_garbage, vanish, vanish_later, trust_nobody])
    def test_each_is_one_line_in_the_log(self, loop, serve, connect, client_context, caplog, channels, misbehave):
        server = serve(loop)
        loop.beside(misbehave, server.addr, client_context)
        loop.until(lambda: tls_lines(caplog))
        loop.until(lambda: len(loop.map) == 1)
        (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert record.getMessage().startswith("no TLS with 127.0.0.1:")
        assert not record.exc_info
        assert not channels
        sock = loop.beside(connect, server.addr)
        sock.sendall(b"a\r\n")
        assert loop.beside(read_line, sock) == b"a!"

    def test_silent_clients_hold_up_nobody_cost_nothing_and_are_dropped(self, loop, serve, connect, caplog):
        server = serve(loop, handshake_timeout=0.4)
        silent = [socket.create_connection(server.addr, PATIENCE) for _ in range(20)]
        sock = loop.beside(connect, server.addr)
        sock.sendall(b"a\r\n")
        assert loop.beside(read_line, sock) == b"a!"
        sock.close()
        begin = time.process_time()
        loop.until(lambda: len(loop.map) == 1, timeout=0.1)
        assert time.process_time() - begin < 0.2
        for each in silent:
            assert each.recv(1) == b""
            each.close()
        lines = tls_lines(caplog)
        assert len(lines) == 20
        assert all("too long" in line for line in lines)

    def test_one_that_begins_and_falls_silent(self, our_loop, serve, client_context, caplog):
        server = serve(our_loop, handshake_timeout=0.1)
        with RawClient(server.addr, client_context) as raw:
            with contextlib.suppress(ssl.SSLWantReadError):
                raw.object.do_handshake()
            raw.sock.sendall(raw.outgoing.read()[:50])
            our_loop.until(lambda: tls_lines(caplog), timeout=5)
            assert raw.sock.recv(1) == b""

    def test_a_storm_of_handshakes_holds_up_no_established_channel(
        self, loop, serve, connect, client_context, channels
    ):
        server = serve(loop)
        established = loop.beside(connect, server.addr)
        loop.until(lambda: channels)
        with contextlib.ExitStack() as opened:
            clients = [opened.enter_context(RawClient(server.addr, client_context)) for _ in range(60)]
            loop.until(lambda: len(loop.map) == 62)
            for client in clients:
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.object.do_handshake()
                client.flush()
            established.sendall(b"one\r\n")
            loop.run_pass()
            begun = sum(bool(select.select([client.sock], [], [], 0)[0]) for client in clients)
            assert begun <= 32
            assert loop.beside(read_line, established) == b"one!"
            loop.beside(lambda: [client.handshake() for client in clients])
            loop.until(lambda: len(channels) == 61)

    def test_handshakes_count_as_connections(self, our_loop, serve, connect):
        server = serve(our_loop, max_connections=2)
        silent = [socket.create_connection(server.addr, PATIENCE) for _ in range(2)]
        our_loop.until(lambda: len(our_loop.map) == 3)
        with ThreadPoolExecutor(1) as pool:
            third = pool.submit(connect, server.addr)
            for _ in range(10):
                our_loop.run_pass(0.01)
            assert len(our_loop.map) == 3
            assert not third.done()
            silent.pop().close()
            our_loop.until(third.done)
            third.result().sendall(b"a\r\n")
            assert our_loop.beside(read_line, third.result()) == b"a!"
        silent.pop().close()

    def test_garbage_after_the_handshake(self, loop, serve, client_context, channels, caplog):
        server = serve(loop)

        def client():
            with RawClient(server.addr, client_context) as raw:
                raw.handshake()
                raw.do(raw.object.write, b"a\r\n")
                raw.sock.sendall(bytes(range(256)) * 4)
                with contextlib.suppress(ConnectionResetError):
                    read_to_end(raw.sock)

        loop.beside(client)
        loop.until(lambda: channels[0].ends)
        assert channels[0].lines == [b"a"]
        (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert "SSL" in record.getMessage()
        assert not record.exc_info
        assert len(loop.map) == 1

    def test_a_handler_that_raises_is_the_channels_matter(self, loop, serve, connect, channels, caplog):
        class Fails(Lines):
            def act(self, line):
                raise LookupError(line)

        server = serve(loop, Fails)
        sock = loop.beside(connect, server.addr)
        sock.sendall(b"a\r\n")
        assert loop.beside(sock.recv, 1) == b""
        assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [LookupError]

    def test_a_channel_that_cannot_be_made(self, loop, serve, connect, caplog):
        class Fails(Lines):
            def __init__(self, *args, **options):
                super().__init__(*args, **options)
                raise LookupError

        server = serve(loop, Fails)

        def client():
            return connect(server.addr).recv(1)

        assert loop.beside(client) == b""
        assert len(loop.map) == 1


# The end


class Answers(Lines):
    """Goes on answering when the peer has said that it will send no more."""

    def handle_close(self):
        self.ends.append(self.socket.truncated)
        self.push(b"late\r\n")
        self.close_when_done()
        self.handle_close = self.close


class TestEnd:
    def test_a_peer_that_says_so(self, loop, serve, client_context, channels):
        server = serve(loop, Answers)

        def client():
            with RawClient(server.addr, client_context) as raw:
                raw.handshake()
                raw.object.write(b"rest")
                raw.say_end()
                return raw.do(raw.object.read, 100)

        assert loop.beside(client) == b"late\r\n"
        assert channels[0].ends == [False]

    def test_a_peer_that_does_not_is_truncation(self, loop, serve, client_context, channels):
        server = serve(loop, Answers)

        def client():
            with RawClient(server.addr, client_context) as raw:
                raw.handshake()
                raw.do(raw.object.write, b"half a l")
                raw.sock.shutdown(socket.SHUT_WR)
                return raw.do(raw.object.read, 100)

        assert loop.beside(client) == b"late\r\n"
        assert channels[0].ends == [True]

    def test_a_peer_that_resets(self, loop, serve, client_context, channels):
        server = serve(loop)

        def client():
            with RawClient(server.addr, client_context) as raw:
                raw.handshake()
                raw.do(raw.object.write, b"a\r\n")
                raw.do(raw.object.read, 100)
                raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        loop.beside(client)
        loop.until(lambda: channels[0].ends)
        assert channels[0].ends[0] is True
        assert len(loop.map) == 1

    def test_a_reset_has_no_clean_end(self, loop, serve, client_context):
        class Resets(Lines):
            def act(self, line):
                self.push(b"half\r\n")
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                self.close()

        server = serve(loop, Resets)

        def client():
            with RawClient(server.addr, client_context) as raw:
                raw.handshake()
                raw.do(raw.object.write, b"a\r\n")
                received = b""
                try:
                    while data := raw.do(raw.object.read, 100):
                        received += data
                except OSError as error:
                    return received, type(error)

        received, error = loop.beside(client)
        assert received in (b"", b"half\r\n")
        assert error is ConnectionResetError
        assert len(loop.map) == 1

    def test_close_says_so(self, loop, serve, connect, channels):
        class Closes(Lines):
            def act(self, line):
                self.push(b"x" * 30_000)
                self.close()

        server = serve(loop, Closes)

        def client():
            sock = connect(server.addr)
            sock.sendall(b"a\r\n")
            return read_to_end(sock)  # raises if the end is not said

        assert loop.beside(client) == b"x" * 30_000
        assert len(loop.map) == 1

    def test_what_close_leaves_behind_goes_to_a_slow_reader(self, loop, serve, client_context, channels):
        class Closes(Lines):
            ac_out_buffer_size = 20_000_000

            def act(self, line):
                self.push(b"x" * 9_000_000)
                self.close()

        server = serve(loop, Closes)

        def client():
            with RawClient(server.addr, client_context) as raw:
                raw.handshake()
                raw.do(raw.object.write, b"a\r\n")
                time.sleep(0.1)
                got = 0
                while data := raw.do(raw.object.read, 16384):
                    got += len(data)
                return got

        assert loop.beside(client) == 9_000_000
        loop.until(lambda: len(loop.map) == 1)

    def test_a_peer_that_takes_no_more_is_left(self, loop, serve, connect, channels, monkeypatch):
        monkeypatch.setattr(tls_farewell, "_PATIENCE", 0.1)

        class SendsAll(Lines):
            ac_out_buffer_size = 20_000_000

        server = serve(loop, SendsAll)
        sock = loop.beside(connect, server.addr)
        loop.until(lambda: channels)
        channels[0].push(b"x" * 18_000_000)
        channels[0].close()
        assert len(loop.map) == 2
        loop.until(lambda: len(loop.map) == 1, timeout=0.05)
        sock.close()

    def test_a_peer_that_only_sends_fills_no_memory(self, our_loop, serve, client_context, channels):
        class Closes(Lines):
            ac_out_buffer_size = 20_000_000

            def act(self, line):
                self.push(b"x" * 9_000_000)
                self.close()

        server = serve(our_loop, Closes)

        def client():
            with RawClient(server.addr, client_context) as raw:
                raw.handshake()
                raw.object.write(b"a\r\n")
                for _ in range(300):
                    raw.object.write(b"x" * 16384)
                    raw.sock.sendall(raw.outgoing.read())
                (farewell,) = (place for place in our_loop.map.values() if place is not server)
                return len(farewell.face._ac_engine.plaintext)

        assert our_loop.beside(client) == 0

    def test_nothing_is_left(self, our_loop, serve, connect, channels):
        server = serve(our_loop)

        def client():
            for _ in range(10):
                with connect(server.addr) as sock:
                    sock.sendall(b"a\r\n")
                    read_line(sock)

        our_loop.beside(client)
        our_loop.until(lambda: len(our_loop.map) == 1)
        faces = weakref.WeakSet(channel.socket for channel in channels)
        assert len(faces) == 10
        assert {type(face) for face in faces} == {TLSSocket}
        channels.clear()
        gc.collect()
        assert not faces

    def test_nothing_is_left_of_a_handshake_that_is_closed(self, loop, serve, caplog):
        server = serve(loop, handshake_timeout=3600)
        with socket.create_connection(server.addr, PATIENCE) as sock:
            loop.until(lambda: len(loop.map) == 2)
            (handshake,) = [weakref.ref(each) for each in loop.map.values() if each is not server]
            asyncore.close_all(loop.map)
            assert sock.recv(1) == b""
        gc.collect()
        assert handshake() is None
        assert not tls_lines(caplog)

    def test_closing_all(self, loop, serve, connect, channels):
        server = serve(loop)
        sock = loop.beside(connect, server.addr)
        silent = socket.create_connection(server.addr, PATIENCE)
        loop.until(lambda: len(loop.map) == 3 and channels)
        asyncore.close_all(loop.map)
        assert not loop.map
        assert not channels[0].connected
        assert sock.recv(1) == silent.recv(1) == b""
        silent.close()

    def test_an_idle_channel_times_out(self, our_loop, serve, connect, channels):
        class Idle(Lines):
            idle_timeout = 0.1

        server = serve(our_loop, Idle)

        def client():
            return connect(server.addr).recv(1)

        assert our_loop.beside(client) == b""
