"""Hooks of programs in a channel: their attributes and methods, TLS sockets, borrowed methods, a log."""

import contextlib
import inspect
import io
import logging
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from array import array
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest

import asynchat_fast
from asynchat_fast import InputBuffer, SocketMap, async_chat, asyncore, call_later, file_producer, simple_producer

PATIENCE = 20  # seconds; a wait takes milliseconds unless something hangs


class Lines(async_chat):
    """A channel of lines, which keeps them, its errors and its log messages."""

    def __init__(self, sock=None, map=None):
        async_chat.__init__(self, sock, map)
        self.lines, self.errors, self.logged = [], [], []
        self.set_terminator(b"\n")

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        self.lines.append(self._get_data())

    def log_info(self, message, type="info"):
        self.logged.append((type, message))


@pytest.fixture(name="map")
def _map():
    """A map of the test's own, of a kind that both loops know, whose channels are closed after it."""
    channels = SocketMap()
    yield channels
    asyncore.close_all(channels, ignore_all=True)


@pytest.fixture(params=["asyncore.loop", "asynchat_fast.loop"])
def run_pass(request, map):
    """A function that runs one pass, which waits for so many seconds at most, of one loop or the other."""
    loop = asyncore.loop if request.param == "asyncore.loop" else asynchat_fast.loop
    return lambda seconds=0: loop(seconds, map=map, count=1)


@pytest.fixture
def run_until(run_pass):
    """A function that runs passes until a condition holds."""

    def run(condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "the condition has not become true"
            run_pass(0.01)

    return run


@pytest.fixture
def stands_still(run_pass):
    """A function that asserts that each pass waits for its whole time, after a few that may have something to do."""

    def check():
        for _ in range(5):
            run_pass()
        begin, cpu = time.monotonic(), time.process_time()
        for _ in range(4):
            run_pass(0.025)
        assert time.monotonic() - begin > 0.9 * 4 * 0.025
        assert time.process_time() - cpu < 0.1

    return check


def received(sock):
    """Return the data that have arrived, ``b""`` if there are none."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        return sock.recv(1 << 16)
    return b""


class TestAttributesOfTheProgram:
    """The package looks its names up on the class, so that it never calls a program's ``__getattr__()``."""

    def test_a_getattr_is_asked_for_nothing_of_ours(self, pair, map, run_until):
        ours, theirs = pair
        asked = []

        class Proxy(Lines):
            def __getattr__(self, name):
                asked.append(name)
                raise AttributeError(name)

        channel = Proxy(ours, map)
        theirs.sendall(b"hello\n")
        run_until(lambda: channel.lines)
        channel.push(b"one")
        channel.push_with_producer(simple_producer(b"two"))
        channel.close_when_done()
        run_until(lambda: not map)
        channel.discard_buffers()
        assert theirs.recv(99) == b"onetwo"
        assert [name for name in asked if not hasattr(asyncore.dispatcher, name)] == []

    def test_a_getattr_may_delegate_to_the_socket(self, pair, map, run_until):
        ours, theirs = pair

        class Delegating(Lines):
            def __getattr__(self, name):
                return getattr(self.socket, name)

        channel = Delegating(ours, map)
        theirs.sendall(b"hello\n")
        run_until(lambda: channel.lines == [b"hello"])
        channel.push(b"hello")
        assert theirs.recv(99) == b"hello"

    def test_a_getattr_may_be_a_remote_call(self, pair, map, run_pass):
        ours, theirs = pair

        class Remote(asyncore.dispatcher_with_send):
            def __getattr__(self, name):
                return lambda *args: self.send(name.encode())

        Remote(ours, map)
        for _ in range(3):
            run_pass()
        assert received(theirs) == b""

    @pytest.mark.parametrize(
        "name", ["_is_gone", "_send_held_back", "receive", "handle_timeout", "nodelay", "file", "loop"]
    )
    @pytest.mark.parametrize("value", [True, None])
    def test_may_have_any_name(self, pair, map, run_until, name, value):
        ours, theirs = pair
        channel = Lines(ours, map)
        setattr(channel, name, value)
        theirs.sendall(b"x\n")
        run_until(lambda: channel.lines == [b"x"])
        channel.push(b"y\n")
        channel.close_when_done()
        run_until(lambda: not map)
        channel.close()
        channel.push(b"z")
        assert theirs.recv(99) == b"y\n"
        assert getattr(channel, name) is value

    def test_names_of_ours_are_documented_or_cannot_be_met(self, reference):
        """No program gives an attribute of its own a name that begins with _ac_ or names a class of ours."""
        ours = set(dir(async_chat)) - set(dir(reference.async_chat))
        hidden = ("_ac_", *(f"_{cls.__name__}__" for cls in async_chat.__mro__))
        page = Path(__file__).parents[1] / "docs" / "reference.md"
        documented = set(re.findall(r"async_chat\.(\w+)", page.read_text(encoding="utf-8")))
        assert {
            name for name in ours if not name.startswith(hidden) and not name.startswith("__")
        } - documented == set()

    def test_names_on_an_object_are_asynchats_or_cannot_be_met(self, reference, pair, map):
        channel = async_chat(pair[0], map)
        asynchats = set(vars(reference.async_chat(pair[1], {})))
        hidden = ("_ac_", *(f"_{cls.__name__}__" for cls in async_chat.__mro__))
        assert [name for name in vars(channel) if name not in asynchats and not name.startswith(hidden)] == []

    @pytest.mark.parametrize("makes", [True, False], ids=["", "without __init__"])
    def test_buffers_may_be_attributes_of_the_class(self, pair, map, run_until, makes):
        ours, theirs = pair

        class StartTLS(Lines):
            ac_in_buffer = b""
            producer_fifo = None
            incoming = ()

            def __init__(self, sock, map):
                if makes:
                    Lines.__init__(self, sock, map)
                    return
                asyncore.dispatcher.__init__(self, sock, map)
                self.ac_in_buffer, self.incoming, self.producer_fifo = b"", [], deque()
                self.lines, self.terminator = [], b"\n"

            def found_terminator(self):
                Lines.found_terminator(self)
                self.ac_in_buffer = b""

        channel = StartTLS(ours, map)
        theirs.sendall(b"STARTTLS\nINJECTED\n")
        run_until(lambda: channel.lines)
        assert channel.lines == [b"STARTTLS"]
        channel.push(b"ready")
        assert theirs.recv(99) == b"ready"
        ours.close()
        channel.connected = False
        channel.push(b"kept")
        assert b"".join(channel.producer_fifo) == b"kept"

    @pytest.mark.parametrize("off", [0, False, None])
    def test_limits_may_be_off_by_any_false_value(self, pair, map, run_until, off):
        ours, theirs = pair

        class Unlimited(Lines):
            idle_timeout = max_payload = off

        channel = Unlimited(ours, map)
        theirs.sendall(b"hello" * 100)
        run_until(lambda: channel.incoming)
        channel.max_payload = off
        channel.set_terminator(b"\n")
        theirs.sendall(b"\n")
        run_until(lambda: channel.lines)
        assert channel.lines == [b"hello" * 100]
        assert channel.logged == []
        assert channel.connected


class TestPushingWhileAway:
    """Data pushed while there is no connection are kept, and sent once there is one."""

    PUSHED = b"one", bytearray(b"two"), b"3" * 10

    def push_all(self, channel):
        for data in self.PUSHED:
            channel.push(data)
        channel.push_with_producer(simple_producer(b"produced", 3))

    @pytest.mark.parametrize("by", ["set_socket", "add_channel"])
    def test_is_sent_to_the_byte_after_the_reconnect(self, map, run_until, by):
        peers = []

        class Client(Lines):
            ac_out_buffer_size = 4

            def create_socket(self):
                ours, theirs = socket.socketpair()
                peers.append(theirs)
                ours.setblocking(False)
                if by == "set_socket":
                    self.set_socket(ours, self._map)
                else:
                    self.socket, self._fileno = ours, ours.fileno()
                    self.add_channel()
                self.connected = True

        client = Client(None, map)
        for number in range(3):
            self.push_all(client)
            client.create_socket()
            expected = b"onetwo3333333333produced"
            got = b""

            def arrived(expected=expected):
                nonlocal got
                got += received(peers[-1])
                return len(got) >= len(expected) and not client.writable()

            run_until(arrived)
            assert got == expected, number
            client.close()
        client.push(b"last")
        assert b"".join(client.producer_fifo) == b"last"
        for peer in peers:
            peer.close()

    def test_calls_no_repr_and_says_nothing(self, pair, map):
        class Named(Lines):
            def __repr__(self):
                return f"<to {self.socket.getpeername()}>"

        channel = Named(pair[0], map)
        channel.close()
        self.push_all(channel)
        channel.close_when_done()
        assert channel.logged == []
        assert len(channel.producer_fifo) > len(self.PUSHED)

    def test_is_dropped_by_discard_buffers(self, pair, map):
        channel = Lines(pair[0], map)
        channel.close()
        self.push_all(channel)
        channel.discard_buffers()
        assert list(channel.producer_fifo) == []

    def test_closes_after_the_reconnect_where_it_was_told_to(self, pair, map, run_until):
        ours, theirs = pair
        channel = Lines(None, map)
        channel.push(b"bye")
        channel.close_when_done()
        channel.set_socket(ours, map)
        channel.connected = True
        run_until(lambda: not channel.connected)
        assert (theirs.recv(99), theirs.recv(99)) == (b"bye", b"")


# TLS


@pytest.fixture(scope="session")
def contexts(tmp_path_factory):
    """The contexts of a TLS server and of its client."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command here, which makes the certificate")
    where = tmp_path_factory.mktemp("tls")
    key, certificate = where / "key.pem", where / "certificate.pem"
    made = subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"openssl makes no certificate here: {made.stderr}")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))


class Mixin(asyncore.dispatcher):
    """A TLS mixin of a program, before the channel class: its send() and recv() count how often they are tried."""

    tries = 0

    def send(self, data):
        self.tries += 1
        return self.socket.send(data)

    def recv(self, size):
        self.tries += 1
        data = self.socket.recv(size)
        if not data:
            self.handle_close()
        return data


class TLSLines(Mixin, Lines):
    pass


@pytest.fixture(params=[Lines, TLSLines], ids=["", "mixin"])
def tls_class(request):
    return request.param


@pytest.fixture(params=["server", "client"])
def secured(request, contexts, pair):
    """Our end of a connection, to be a channel's, as TLS socket; and a function that makes theirs one, in a thread."""
    server, client = contexts
    ours, theirs = pair
    is_server = request.param == "server"

    def wrap(sock, as_server, handshake):
        context = server if as_server else client
        name = None if as_server else "localhost"
        return context.wrap_socket(sock, server_side=as_server, server_hostname=name, do_handshake_on_connect=handshake)

    open_still = []

    def connect_and(act):
        open_still.append(wrap(theirs, not is_server, True))
        return act(open_still[-1])

    with ThreadPoolExecutor(1) as pool:
        yield wrap(ours, is_server, False), theirs, lambda act: pool.submit(connect_and, act)
    for sock in open_still:
        sock.close()


def receive_exactly(sock, count):
    data = b""
    while len(data) < count:
        some = sock.recv(count - len(data))
        assert some, data
        data += some
    return data


class TestTLS:
    def test_a_silent_peer_costs_nothing_and_gets_waiting_data_after_its_handshake(
        self, secured, tls_class, map, stands_still, run_until
    ):
        ours, _, connect = secured
        channel = tls_class(ours, map)
        channel.push(b"220 ready\r\n")
        stands_still()
        assert channel.connected
        channel.push(b"more\r\n")
        stands_still()
        greeted = connect(lambda sock: receive_exactly(sock, 17))
        run_until(greeted.done)
        assert greeted.result() == b"220 ready\r\nmore\r\n"
        stands_still()
        assert channel.logged == []

    def test_a_silent_peer_that_is_to_be_closed_costs_nothing(self, secured, tls_class, map, stands_still, run_until):
        ours, theirs, _ = secured
        channel = tls_class(ours, map)
        channel.push(b"421 too many\r\n")
        channel.close_when_done()
        stands_still()
        theirs.close()
        run_until(lambda: not map)

    def test_a_silent_peer_is_tried_no_more(self, secured, map, run_pass):
        channel = TLSLines(secured[0], map)
        channel.push(b"220 ready\r\n")
        for _ in range(3):
            run_pass()
        tries = channel.tries
        for _ in range(5):
            run_pass(0.01)
            assert (channel.readable(), channel.writable()) == (True, False)
        assert channel.tries == tries

    def test_lines_go_both_ways(self, secured, tls_class, map, run_until, stands_still):
        ours, _, connect = secured

        class Echo(tls_class):
            def found_terminator(self):
                tls_class.found_terminator(self)
                self.push(self.lines[-1] + b"\n")

        channel = Echo(ours, map)
        channel.handle_read()  # which begins the handshake
        lines = b"".join(b"line %d\n" % number for number in range(500))

        def converse(sock):
            for _ in range(20):
                sock.sendall(lines)
                assert receive_exactly(sock, len(lines)) == lines
            return True

        ended = connect(converse)
        run_until(ended.done)
        assert ended.result()
        stands_still()

    @pytest.mark.parametrize("size", [100, 1000, 16384, 65536])
    @pytest.mark.parametrize("length", [10_000, 16_384, 100_000])
    def test_a_record_longer_than_the_input_size_is_delivered_whole(
        self, secured, tls_class, map, run_until, size, length
    ):
        ours, _, connect = secured
        channel = tls_class(ours, map)
        channel.ac_in_buffer_size = size
        channel.handle_read()  # which begins the handshake
        silent = threading.Event()

        def send_once(sock):
            sock.sendall(b"x" * (length - 1) + b"\n")
            silent.wait(PATIENCE)

        sent = connect(send_once)
        try:
            run_until(lambda: channel.lines)
        finally:
            silent.set()
        sent.result(PATIENCE)
        assert channel.lines == [b"x" * (length - 1)]

    def test_the_end_of_the_connection_closes(self, secured, tls_class, map, run_until):
        ours, _, connect = secured
        channel = tls_class(ours, map)
        channel.handle_read()  # which begins the handshake

        def send_and_close(sock):
            sock.sendall(b"one\nrest")
            with contextlib.suppress(OSError):
                sock.unwrap()
            sock.close()

        ended = connect(send_and_close)
        run_until(lambda: not map)
        ended.result(PATIENCE)
        assert (channel.lines, channel.incoming) == ([b"one"], [b"rest"])


class Wanting(Lines):
    """A channel whose recv() and send() raise the errors in ``wants`` before they do anything."""

    def __init__(self, *args):
        Lines.__init__(self, *args)
        self.wants = deque()

    def recv(self, size):
        if self.wants:
            raise self.wants.popleft()
        return Lines.recv(self, size)

    def send(self, data):
        if self.wants:
            raise self.wants.popleft()
        return Lines.send(self, data)


def fill(sock):
    """Send until the connection takes no more; return how much that was."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += sock.send(b"." * 65536)
    return sent


class TestWhatATransportWants:
    def test_reading_waits_for_writability_and_then_goes_on(self, pair, map, stands_still, run_until):
        ours, theirs = pair
        channel = Wanting(ours, map)
        filled = fill(ours)
        channel.wants.append(ssl.SSLWantWriteError())
        theirs.sendall(b"hello\n")
        stands_still()
        assert channel.lines == []
        assert (channel.readable(), channel.writable()) == (False, True)
        receive_exactly(theirs, filled)
        run_until(lambda: channel.lines == [b"hello"])
        assert (channel.readable(), channel.writable()) == (True, False)

    def test_sending_waits_for_something_received_and_then_goes_on_in_the_same_pass(
        self, pair, map, run_pass, stands_still
    ):
        ours, theirs = pair
        channel = Wanting(ours, map)
        channel.wants.append(ssl.SSLWantReadError())
        channel.push(b"reply\n")
        stands_still()
        assert received(theirs) == b""
        theirs.sendall(b"hello\n")
        run_pass(PATIENCE)
        assert channel.lines == [b"hello"]
        assert received(theirs) == b"reply\n"
        stands_still()

    @pytest.mark.parametrize("error", [ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError])
    @pytest.mark.parametrize("when", ["pushing", "sending", "reading"])
    def test_nothing_is_lost_or_closed_whatever_it_wants(self, pair, map, run_until, error, when):
        ours, theirs = pair
        channel = Wanting(ours, map)
        if when == "sending":
            channel.connected = False
            channel.push(b"one\n")
            channel.connected = True
        channel.wants.extend(error() for _ in range(3))
        if when == "pushing":
            for data in (b"one", b"\n"):
                channel.push(data)
        got = b""

        def is_done():
            nonlocal got
            with contextlib.suppress(BlockingIOError):
                theirs.setblocking(False)
                theirs.send(b"!\n")
            got += received(theirs)
            return len(channel.lines) > 5 and (when == "reading" or got)

        run_until(is_done)
        assert set(channel.lines) == {b"!"}
        assert got == (b"" if when == "reading" else b"one\n")
        assert channel.connected
        assert channel.logged == []


# Methods


METHODS = ["readable", "writable", "get_terminator"]


class TestMethodsThatStandForFunctions:
    @pytest.mark.parametrize("name", METHODS)
    def test_look_like_functions_before_and_after_the_loop_has_run(self, pair, map, run_pass, name):
        for _ in range(2):
            function = getattr(async_chat, name)
            assert inspect.isfunction(function)
            assert function.__name__ == name or name == "get_terminator"
            assert list(inspect.signature(function).parameters) in (["self"], ["channel"])
            assert function.__code__.co_argcount == 1
            assert function.__doc__
            channel = async_chat(pair[0], map)
            method = getattr(channel, name)
            assert inspect.ismethod(method)
            assert method.__self__ is channel
            assert method.__func__ is function
            run_pass()

    @pytest.mark.parametrize("name", METHODS)
    def test_have_the_names_and_the_arguments_that_asynchat_gives_them(self, name):
        function = getattr(async_chat, name)
        assert (function.__name__, list(inspect.signature(function).parameters)) == (name, ["self"])

    @pytest.mark.parametrize("name", METHODS)
    @pytest.mark.parametrize("to", ["super", "class", "method"])
    def test_may_be_rebound_by_their_callers(self, pair, map, run_until, name, to):
        ours, theirs = pair
        channel = Lines(ours, map)
        theirs.sendall(b"first\n")
        run_until(lambda: channel.lines == [b"first"])
        before, calls = getattr(channel, name), []

        def rebound():
            calls.append(name)
            if to == "super":
                return getattr(super(Lines, channel), name)()
            return getattr(async_chat, name)(channel) if to == "class" else before()

        setattr(channel, name, rebound)
        theirs.sendall(b"hello\n")
        run_until(lambda: channel.lines == [b"first", b"hello"])
        channel.push(b"reply")
        assert theirs.recv(99) == b"reply"
        assert calls
        delattr(channel, name)
        calls.clear()
        theirs.sendall(b"last\n")
        run_until(lambda: channel.lines[2:])
        assert calls == []

    @pytest.mark.parametrize("name", METHODS)
    def test_may_be_overridden_by_methods_that_call_super(self, pair, map, run_until, name):
        ours, theirs = pair
        calls = []

        class Overriding(Lines):
            def readable(self):
                calls.append("readable")
                return super().readable()

            def writable(self):
                calls.append("writable")
                return super().writable()

            def get_terminator(self):
                calls.append("get_terminator")
                return super().get_terminator()

        channel = Overriding(ours, map)
        theirs.sendall(b"hello\n")
        run_until(lambda: channel.lines == [b"hello"])
        assert name in calls

    @pytest.mark.parametrize(
        "name", [*METHODS, "push", "handle_read", "set_terminator", "initiate_send", "handle_close"]
    )
    def test_may_be_patched_with_autospec(self, pair, map, name):
        channel = Lines(pair[0], map)
        with mock.patch.object(async_chat, name, autospec=True) as patched:
            getattr(channel, name)(*([b"x"] if name in ("push", "set_terminator") else []))
            assert patched.call_args.args[0] is channel
        with mock.patch.object(channel, name, autospec=True) as patched:
            with pytest.raises(TypeError):
                getattr(channel, name)(1, 2, 3, 4)
            patched.assert_not_called()
        assert channel.get_terminator() == b"\n"
        assert (channel.readable(), channel.writable()) == (True, False)

    def test_the_class_and_an_object_are_specifications(self, pair, map):
        for double in (mock.create_autospec(async_chat)(), mock.create_autospec(Lines(pair[0], map))):
            double.push(b"data")
            double.push.assert_called_once_with(b"data")
            double.writable.return_value = False
            assert double.writable() is False
            with pytest.raises(TypeError):
                double.get_terminator(1)
            with pytest.raises(AttributeError):
                double.no_such_method  # noqa: B018

    def test_a_method_replaced_on_the_class_holds_at_once(self, pair, map, monkeypatch):
        channel = Lines(pair[0], map)
        for name in ("readable", "writable"):
            monkeypatch.setattr(async_chat, name, lambda self: "replaced")
            assert getattr(channel, name)() == "replaced"


class Borrowed:
    """No async_chat, but a class that has borrowed the sending methods, with only the attributes they need."""

    ac_out_buffer_size = 4
    push = async_chat.push
    push_with_producer = async_chat.push_with_producer
    close_when_done = async_chat.close_when_done
    initiate_send = async_chat.initiate_send
    writable = async_chat.writable
    readable = async_chat.readable
    handle_write = async_chat.handle_write

    def __init__(self):
        self.producer_fifo = deque()
        self.connected = True
        self.sent, self.trace, self.most = [], [], 100

    def send(self, data):
        self.sent.append(bytes(data[: self.most]))
        return len(self.sent[-1])

    def handle_close(self):
        self.trace.append("closed")
        self.connected = False

    def handle_error(self):
        self.trace.append("error")


class TestBorrowedSending:
    def test_sends_at_once(self):
        borrower = Borrowed()
        borrower.push(b"hello")
        borrower.push(bytearray(b"you"))
        while borrower.producer_fifo:
            borrower.handle_write()
        assert b"".join(borrower.sent) == b"helloyou"
        assert max(map(len, borrower.sent)) <= 4

    def test_keeps_the_rest_and_says_so(self):
        borrower = Borrowed()
        borrower.most = 1
        borrower.push(b"hello")
        assert b"".join(borrower.producer_fifo) == b"ello"
        assert borrower.readable()
        for left in (3, 2, 1, 0):
            assert borrower.writable()
            borrower.handle_write()
            assert sum(map(len, borrower.producer_fifo)) == left
        assert not borrower.writable()
        assert borrower.sent == [b"h", b"e", b"l", b"l", b"o"]

    def test_waits_for_the_connection(self):
        borrower = Borrowed()
        borrower.connected = False
        borrower.push(b"one")
        borrower.push_with_producer(simple_producer(b"twothree", 3))
        borrower.close_when_done()
        assert borrower.sent == []
        assert borrower.writable()
        borrower.connected = True
        while borrower.connected:
            borrower.handle_write()
        assert b"".join(borrower.sent) == b"onetwothree"
        assert borrower.trace == ["closed"]

    def test_gives_errors_to_the_object(self):
        borrower = Borrowed()
        with mock.patch.object(borrower, "send", side_effect=OSError):
            borrower.push(b"one")
        with mock.patch.object(borrower, "send", side_effect=ssl.SSLWantReadError):
            borrower.push(b"two")
        assert borrower.trace == ["error"]
        borrower.initiate_send()
        borrower.initiate_send()
        assert borrower.sent == [b"one", b"two"]

    @pytest.mark.parametrize("data", ["text", None, 5])
    def test_refuses_data_that_cannot_be_sent(self, data):
        borrower = Borrowed()
        with pytest.raises(TypeError):
            borrower.push(data)
        assert list(borrower.producer_fifo) == []


class Replying(Lines):
    coalesce_pushes = True

    def __init__(self, sock, map):
        Lines.__init__(self, sock, map)
        self.sends = []
        self.replies = []

    def send(self, data):
        self.sends.append(bytes(data))
        return Lines.send(self, data)

    def found_terminator(self):
        Lines.found_terminator(self)
        for reply in self.replies:
            if hasattr(reply, "more"):
                self.push_with_producer(reply)
            else:
                self.push(reply)


class TestCoalescing:
    @pytest.mark.parametrize("sizes", [[1, 1], [10, 4096], [4097, 10], [10, 5000, 20000], [30_000, 30_000, 5_536]])
    def test_pushes_of_any_size_leave_in_one_send(self, pair, map, run_until, sizes):
        ours, theirs = pair
        channel = Replying(ours, map)
        channel.replies = [b"." * size for size in sizes]
        theirs.sendall(b"go\n")
        run_until(lambda: channel.lines)
        assert channel.sends == [b"." * sum(sizes)]
        assert len(receive_exactly(theirs, sum(sizes))) == sum(sizes)

    @pytest.mark.parametrize("sizes", [[65536, 1], [1, 65536], [40_000, 40_000], [200_000], [1, 200_000, 1]])
    def test_more_than_the_output_size_leaves_in_as_few_as_can_be(self, pair, map, run_until, sizes):
        ours, theirs = pair
        channel = Replying(ours, map)
        channel.replies = [bytes([at]) * size for at, size in enumerate(sizes)]
        expected = b"".join(channel.replies)
        got = b""

        def is_done():
            nonlocal got
            got += received(theirs)
            return len(got) >= len(expected)

        theirs.sendall(b"go\n")
        run_until(is_done)
        assert got == expected
        assert max(len(data) for data in channel.sends) <= 65536

    @pytest.mark.parametrize("head", [[b"head"], [b"he", b"ad"], [b"head" * 2000]])
    @pytest.mark.parametrize("body", [b"body", b"body" * 5000, b""])
    def test_the_first_piece_of_a_producer_leaves_with_data_pushed_before(self, pair, map, run_until, head, body):
        ours, theirs = pair
        channel = Replying(ours, map)
        channel.replies = [*head, simple_producer(body, 4096)]
        theirs.sendall(b"go\n")
        run_until(lambda: channel.lines and not channel.producer_fifo)
        assert channel.sends[0] == b"".join(head) + body[:4096]
        assert receive_exactly(theirs, len(b"".join(head) + body)) == b"".join(head) + body

    @pytest.mark.parametrize(
        "count", [1_000, 10_000]
    )  # the second is not joined with its head, so that sendfile() serves it
    def test_a_file_that_follows_is_sent_whole(self, pair, map, run_until, tmp_path, count):
        ours, theirs = pair
        path = tmp_path / "file"
        path.write_bytes(b"0123456789" * count)
        channel = Replying(ours, map)
        channel.replies = [b"head\n", file_producer(path.open("rb")), b"tail\n"]
        expected = b"head\n" + path.read_bytes() + b"tail\n"
        theirs.sendall(b"go\n")
        got = b""

        def is_done():
            nonlocal got
            got += received(theirs)
            return len(got) >= len(expected)

        run_until(is_done)
        assert got == expected
        assert channel.sends[0] == expected[: 5 + 10 * count if count == 1_000 else 5]


# Errors


class Failing(Lines):
    """A channel whose handle_error() raises, as that of a program that does not survive errors."""

    def handle_error(self):
        raise


class TestErrorsOfHooks:
    """A hook that raises leaves the channel able to send, by one sender at a time."""

    @pytest.mark.parametrize("kind", [bytes, bytearray, simple_producer])
    @pytest.mark.parametrize("error", [ConnectionError, OSError, RuntimeError, KeyboardInterrupt])
    def test_an_error_of_send_that_handle_error_raises_lets_one_sender_in(self, pair, map, both_buffers, kind, error):
        channel, item = Failing(pair[0], map), kind(b"bytes")
        channel.push(b"once")
        with mock.patch.object(channel, "send", side_effect=error), pytest.raises(error):
            (channel.push_with_producer if hasattr(item, "more") else channel.push)(item)
        inside, most, sent = [], [], []

        def send(data):
            inside.append(1)
            most.append(len(inside))
            if len(sent) < 5:
                channel.push(b"%d" % len(sent))
            sent.append(bytes(data))
            inside.pop()
            return len(data)

        with mock.patch.object(channel, "send", send):
            while channel.writable():
                channel.initiate_send()
        assert set(most) == {1}
        assert b"".join(sent).startswith(b"bytes")
        assert sorted(b"".join(sent)[5:]) == sorted(b"01234")

    @pytest.mark.parametrize("item", [b"bytes", bytearray(b"bytes")], ids=["bytes", "bytearray"])
    @pytest.mark.parametrize("count", ["5", 1.5])
    def test_a_send_that_returns_no_count_is_an_error_that_can_be_survived(self, pair, map, both_buffers, item, count):
        channel = Lines(pair[0], map)
        channel.push(b"once")
        with mock.patch.object(channel, "send", return_value=count), pytest.raises(TypeError):
            channel.push(item)
        assert receive_exactly(pair[1], 4) == b"once"
        channel.initiate_send()
        assert received(pair[1]) == b"bytes"


class TestErrorsAtOnce:
    @pytest.mark.parametrize(
        "producer", ["x", None, 5, io.StringIO("x"), [b"x"]], ids=["str", "None", "int", "text file", "list"]
    )
    def test_an_object_that_is_no_producer_is_refused(self, pair, map, producer):
        channel = Lines(pair[0], map)
        with pytest.raises(TypeError, match=re.escape(type(producer).__name__)):
            channel.push_with_producer(producer)
        channel.push(b"next")
        assert received(pair[1]) == b"next"

    def test_a_text_file_is_refused(self, tmp_path):
        (tmp_path / "file").write_text("text")
        with (tmp_path / "file").open() as file, pytest.raises(TypeError):
            file_producer(file)
        with pytest.raises(TypeError):
            file_producer(io.StringIO("text"))

    @pytest.mark.parametrize("terminator", ["\r\n", 1.5, [1]], ids=lambda each: type(each).__name__)
    def test_an_invalid_terminator_is_refused_and_leaves_the_old_one(self, pair, map, terminator):
        channel = Lines(pair[0], map)
        with pytest.raises(TypeError, match="terminator must be bytes, int or None"):
            channel.set_terminator(terminator)
        assert channel.get_terminator() == b"\n"

    def test_a_text_as_terminator_is_told_of_use_encoding(self, pair, map):
        channel = Lines(pair[0], map)
        with pytest.raises(TypeError, match="use_encoding"):
            channel.set_terminator("\n")
        channel.use_encoding = 1
        channel.set_terminator("\r\n")
        assert channel.get_terminator() == b"\r\n"

    def test_a_terminator_that_was_not_set_is_told_of_set_terminator(self, pair, map):
        channel = async_chat(pair[0], map)
        for ask in (channel.get_terminator, lambda: channel.terminator):
            with pytest.raises(AttributeError, match=r"set_terminator\(\)"):
                ask()
        pair[1].sendall(b"x")
        with pytest.raises(AttributeError, match=r"set_terminator\(\)"):
            channel.handle_read()
        assert channel.ac_in_buffer == b"x"

    @pytest.mark.parametrize("where", ["object", "class"])
    def test_a_negative_limit(self, pair, map, where):
        channel = type("Limited", (Lines,), {})(pair[0], map)
        if where == "object":
            with pytest.raises(ValueError, match="max_payload"):
                channel.max_payload = -1
            channel.set_terminator(b";")
        else:
            type(channel).max_payload = -1
            with pytest.raises(ValueError, match="max_payload"):
                type(channel)(None, map)

    @pytest.mark.parametrize(("offset", "count"), [(-1, None), (0, -1), (-5, 3)])
    def test_a_part_of_a_file_that_cannot_be(self, tmp_path, offset, count):
        (tmp_path / "file").write_bytes(b"data")
        with (tmp_path / "file").open("rb") as file, pytest.raises(ValueError, match="-") as caught:
            file_producer(file, offset, count)
        assert "None" not in str(caught.value)

    @pytest.mark.parametrize("seconds", ["1", None])
    def test_a_time_that_is_no_number(self, seconds, map):
        with pytest.raises(TypeError, match="seconds"):
            call_later(seconds, int, map=map)

    def test_arguments_that_an_input_buffer_does_not_have(self):
        with pytest.raises(TypeError, match=r"InputBuffer|__init__"):
            InputBuffer(b"\n", None, False, 4)


class TestTheLog:
    @pytest.fixture
    def logger(self, caplog):
        logger = logging.getLogger("tests.hooks")
        caplog.set_level(logging.DEBUG, "tests.hooks")
        return logger

    def test_is_asyncores_unless_it_is_set(self, pair, map, capsys):
        assert async_chat.ac_logger is None
        channel = async_chat(pair[0], map)
        channel.log_info("told", "error")
        channel.log_info("not told", "warning")
        captured = capsys.readouterr()
        assert captured.out == "error: told\n"

    @pytest.mark.parametrize("level", ["info", "warning", "error"])
    def test_gets_all_that_is_said(self, pair, map, caplog, logger, level):
        channel = async_chat(pair[0], map)
        channel.ac_logger = logger
        channel.log_info("100 %s", level)
        channel.log("also this")
        assert [(each.levelname.lower(), each.getMessage()) for each in caplog.records] == [
            (level, "100 %s"),
            ("info", "also this"),
        ]

    def test_gets_a_failed_callback_with_its_traceback(self, pair, map, run_until, caplog, logger):
        class Failed(async_chat):
            ac_logger = logger

            def collect_incoming_data(self, data):
                raise LookupError("this one")

        channel = Failed(pair[0], map)
        channel.set_terminator(b"\n")
        pair[1].sendall(b"x\n")
        run_until(lambda: not map)
        (record,) = caplog.records
        assert record.levelname == "ERROR"
        assert record.exc_info[0] is LookupError
        assert "collect_incoming_data" in caplog.text
        assert "closing" in record.getMessage()
        assert not channel.connected

    def test_a_failed_callback_is_printed_and_closes_without_it(self, pair, map, run_until, capsys):
        class Failed(async_chat):
            def collect_incoming_data(self, data):
                raise LookupError("this one")

        Failed(pair[0], map).set_terminator(b"\n")
        pair[1].sendall(b"x\n")
        run_until(lambda: not map)
        assert "LookupError" in capsys.readouterr().out

    @pytest.mark.parametrize("named", [True, False], ids=["logger", "asyncore's"])
    def test_gets_why_a_channel_is_closed(self, pair, map, run_until, caplog, capsys, logger, named):
        class Limited(async_chat):
            ac_logger = logger if named else None
            max_payload = 3
            collect_incoming_data = async_chat._collect_incoming_data

        Limited(pair[0], map).set_terminator(b"\n")
        pair[1].sendall(b"12345")
        run_until(lambda: not map)
        out = capsys.readouterr().out
        told = caplog.text if named else out
        assert "more than 3 bytes" in told
        assert ("ERROR" if named else "error: ") in told
        assert bool(out) is not named


class TestWhatATLSSocketWaitsFor:
    """It ends with the event, whatever handlers of the program's see that."""

    def test_a_handshake_of_the_programs_lets_the_greeting_leave(self, pair, map, run_until):
        class Shaking(Wanting):
            def handle_read(self):
                if self.wants:
                    self.wants.clear()
                    self.socket.recv(2)  # do_handshake(), in short
                else:
                    Wanting.handle_read(self)

        ours, theirs = pair
        channel = Shaking(ours, map)
        channel.wants.append(ssl.SSLWantReadError(2, "the handshake"))
        channel.push(b"220\r\n")
        channel.wants.append(ssl.SSLWantReadError(2, "the handshake"))
        theirs.sendall(b"hs")
        run_until(lambda: not channel.producer_fifo)
        assert theirs.recv(99) == b"220\r\n"

    def test_a_send_that_succeeds_ends_it(self, pair, map, run_until):
        ours, theirs = pair
        channel = Wanting(ours, map)
        channel.wants.append(ssl.SSLWantReadError(2, "the handshake"))
        channel.push(b"x" * 3_000_000)
        with ThreadPoolExecutor(1) as reader:
            got = reader.submit(lambda: sum(iter(lambda: len(theirs.recv(1 << 16)), 0)))
            channel.initiate_send()
            run_until(lambda: not channel.writable())
            channel.close()
            assert got.result(PATIENCE) == 3_000_000

    def test_another_socket_does_not_wait(self, pair, map, run_until):
        ours, _ = pair
        channel = Wanting(ours, map)
        channel.wants.append(ssl.SSLWantReadError(2, "the handshake"))
        channel.push(b"kept\n")
        channel.close()
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            channel.set_socket(ours, map)
            channel.connected = True
            run_until(lambda: not channel.writable())
            assert theirs.recv(99) == b"kept\n"

    def test_an_overridden_handle_write_does_not_keep_it_deaf(self, pair, map, run_until):
        class Writing(Wanting):
            def handle_write(self):
                self.initiate_send()

        ours, theirs = pair
        channel = Writing(ours, map)
        channel.wants.append(ssl.SSLWantWriteError(3, "renegotiation"))
        theirs.sendall(b"line\n")
        run_until(lambda: channel.lines)
        assert channel.lines == [b"line"]


class TestOddPrograms:
    def test_the_attributes_may_be_set_after_the_dispatcher_is_made(self, pair, map, run_until):
        class Late(async_chat):
            def __init__(self, sock, map):
                asyncore.dispatcher.__init__(self, sock, map)
                self.ac_in_buffer, self.incoming, self.producer_fifo = b"", [], deque()
                self.set_terminator(b"\n")
                self.lines = []

            collect_incoming_data = async_chat._collect_incoming_data
            found_terminator = Lines.found_terminator

        ours, theirs = pair
        channel = Late(ours, map)
        theirs.sendall(b"one\n")
        run_until(lambda: channel.lines)
        channel.push(b"two\n")
        assert (channel.lines, theirs.recv(99)) == ([b"one"], b"two\n")

    def test_pending_is_asked_of_the_type_of_a_socket_alone(self):
        made_up = mock.MagicMock()
        made_up.recv.return_value = b"x" * 65536
        channel = Lines(made_up, {})
        channel.handle_read()
        assert made_up.recv.call_count == 1

    @pytest.mark.parametrize("queue", [[], deque()], ids=["list", "deque"])
    def test_a_queue_of_the_programs_need_not_be_a_deque(self, pair, map, queue):
        ours, theirs = pair
        channel = Lines(ours, map)
        channel.producer_fifo = queue
        for data in (b"abc", bytearray(b"defg"), memoryview(b"hi")):
            channel.push(data)
        channel.close_when_done()
        channel.initiate_send()
        assert theirs.recv(99) == b"abcdefghi"

    def test_arrays_are_sent_as_producers_are(self, pair, map):
        ours, theirs = pair
        channel = Lines(ours, map)
        channel.push_with_producer(array("H", [0x4141, 0x4242]))
        assert theirs.recv(99) == b"AABB"

    def test_a_socket_need_not_know_its_descriptor(self, pair, map, run_until):
        class Link:
            def recv(self, size):
                return pair[0].recv(size)

        channel = Lines(None, map)
        channel.socket, channel.connected, channel._fileno = Link(), True, pair[0].fileno()
        channel.add_channel()
        pair[1].sendall(b"one\ntwo\n")
        run_until(lambda: channel.lines == [b"one", b"two"])
        channel.del_channel()

    def test_a_method_named_idle_timeout_is_the_programs(self, pair, map):
        class Program(Lines):
            def idle_timeout(self):
                raise AssertionError

        assert Program(pair[0], map).connected
