"""async_chat as programs use it: over sockets, in asyncore's loop, beside other bases, borrowed by other classes."""

import asyncio
import copy
import errno
import gc
import io
import os
import pickle
import re
import socket
import ssl
import struct
import sys
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from http.server import BaseHTTPRequestHandler

import pytest

from asynchat_fast import async_chat, asyncore, simple_producer

pytestmark = pytest.mark.usefixtures("both_buffers")


class Lines(async_chat):
    """Keeps the lines it receives."""

    def __init__(self, sock=None, map=None):
        async_chat.__init__(self, sock, map)
        self.set_terminator(b"\r\n")
        self.lines = []
        self.logged = []

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        self.lines.append(self._get_data())

    def log_info(self, message, type="info"):
        self.logged.append((type, message))


class Echo(Lines):
    """Sends them back, and closes after "quit"."""

    def found_terminator(self):
        super().found_terminator()
        self.push(self.lines[-1] + b"\r\n")
        if self.lines[-1] == b"quit":
            self.close_when_done()


def read_all(sock):
    return b"".join(iter(lambda: sock.recv(65536), b""))


# Reading once


def test_handle_read_receives_exactly_once_as_much_as_the_size_says(channel_class):
    class Sized(channel_class):
        asked = ()

        def recv(self, size):
            self.asked = (*self.asked, size)
            return b"1\r\n2\r\n"

    chat = Sized()
    chat.set_terminator(b"\r\n")
    chat.handle_read()
    assert chat.asked == (65536,)
    chat.ac_in_buffer_size = 17
    chat.handle_read()
    Sized.ac_in_buffer_size = 4096
    del chat.ac_in_buffer_size
    chat.recv = lambda size: bytes([size % 256])
    chat.handle_read()
    assert chat.asked == (65536, 17)
    assert chat.payloads == [b"1", b"2"] * 2
    assert chat.incoming == [b"\0"]


@pytest.mark.parametrize("error", [BlockingIOError(), ssl.SSLWantReadError(), ssl.SSLWantWriteError()])
def test_a_read_that_would_block_is_nothing(channel_class, error):
    chat = channel_class()
    chat.set_terminator(b"\r\n")
    chat.arrive(b"one\r")
    chat.arrive(error)
    assert (chat.errors, chat.connected, chat.ac_in_buffer) == ([], True, b"\r")
    chat.arrive(b"\n")
    assert chat.payloads == [b"one"]


@pytest.mark.parametrize("error", [OSError("broken"), TimeoutError("late"), ssl.SSLError("bad record")])
def test_a_read_that_fails_goes_to_handle_error_with_the_exception_active(channel_class, error):
    chat = channel_class()
    chat.set_terminator(b"\r\n")
    chat.ac_in_buffer = b"waits\r\n"
    chat.arrive(error)
    assert chat.errors == [error]
    assert (chat.trace, chat.ac_in_buffer) == ([], b"waits\r\n")


@pytest.mark.parametrize("error", [LookupError("not an OSError"), KeyboardInterrupt("stop")])
def test_a_read_that_fails_otherwise_propagates(channel_class, error):
    chat = channel_class()
    with pytest.raises(type(error)):
        chat.arrive(error)
    assert chat.errors == []


def test_an_os_error_of_a_callback_is_not_one_of_reading(channel_class):
    class Failing(channel_class):
        def found_terminator(self):
            raise BlockingIOError("from the callback")

    chat = Failing()
    chat.set_terminator(b"\r\n")
    with pytest.raises(BlockingIOError, match="from the callback"):
        chat.arrive(b"one\r\n")
    assert chat.errors == []


def test_receiving_within_an_attribute_named_receive_is_the_programs(channel_class):
    class Named(channel_class):
        receive = send_held_back = deliver = buffer = None

    chat = Named()
    chat.set_terminator(b"\r\n")
    chat.arrive(b"one\r\n")
    assert chat.payloads == [b"one"]


def test_at_the_end_the_rest_of_the_input_is_still_processed(pair, map):
    class Last(Lines):
        def handle_close(self):
            self.set_terminator(None)
            super().handle_close()

    ours, theirs = pair
    channel = Last(ours, map)
    theirs.sendall(b"one\r\ntwo\r")
    channel.handle_read()
    assert (channel.lines, channel.incoming, channel.ac_in_buffer) == ([b"one"], [b"two"], b"\r")
    theirs.close()
    channel.handle_read()
    assert channel.incoming == [b"two", b"\r"]
    assert not channel.connected
    assert map == {}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows resets connections in other cases")
def test_a_reset_connection_is_closed(map, loop_until):
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    channel = Lines(ours, map)
    theirs.sendall(b"one\r\n")
    loop_until(lambda: channel.lines)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    loop_until(lambda: not map)
    assert not channel.connected
    assert [kind for kind, _ in channel.logged] == []


# Sockets and maps


@pytest.mark.parametrize("how", ["position", "sock", "conn"])
def test_a_channel_takes_a_socket_and_joins_a_map(pair, map, how):
    sock, _ = pair
    sock.setblocking(True)
    channel = async_chat(sock, map) if how == "position" else async_chat(**{how: sock, "map": map})
    assert channel.socket is sock
    assert channel.connected
    assert map == {sock.fileno(): channel}
    assert not sock.getblocking()


def test_a_channel_joins_the_map_of_asyncore_otherwise(pair):
    ours, _ = pair
    channel = async_chat(ours)
    assert asyncore.socket_map.pop(ours.fileno()) is channel


def test_a_channel_needs_no_socket(map):
    channel = async_chat(map=map)
    assert channel.socket is None
    assert not channel.connected
    assert channel.readable()
    assert channel.writable()
    assert map == {}
    channel.close()


def test_an_overridden_add_channel_sees_the_buffers(pair, map):
    seen = []

    class Early(Lines):
        def add_channel(self, map=None):
            seen.append((self.ac_in_buffer, self.incoming, self.producer_fifo))
            super().add_channel(map)

    Early(pair[0], map)
    assert seen == [(b"", [], deque())]


def test_a_conversation(pair, map, loop_until):
    ours, theirs = pair
    channel = Echo(ours, map)
    theirs.sendall(b"hello\r\nhow are")
    loop_until(lambda: channel.incoming)
    theirs.sendall(b" you\r\n\r\nquit\r\n")
    loop_until(lambda: not map)
    assert channel.lines == [b"hello", b"how are you", b"", b"quit"]
    assert read_all(theirs) == b"hello\r\nhow are you\r\n\r\nquit\r\n"


def test_a_channel_that_connects(map, loop_until):
    class Client(Lines):
        def handle_connect(self):
            self.push(b"hello\r\n")

    class Server(asyncore.dispatcher):
        def handle_accepted(self, sock, addr):
            self.channel = Echo(sock, map)
            self.close()

    server = Server(map=map)
    server.create_socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    client = Client(map=map)
    client.create_socket()
    client.connect(server.socket.getsockname())
    loop_until(lambda: client.lines)
    assert client.lines == server.channel.lines == [b"hello"]
    client.push(b"quit\r\n")
    loop_until(lambda: not map)
    assert client.lines == [b"hello", b"quit"]


def test_more_than_the_socket_takes_at_once(pair, map, loop_until):
    ours, theirs = pair
    data = bytes(range(256)) * 12_000
    channel = Lines(ours, map)
    channel.push(data)
    channel.push_with_producer(simple_producer(data, 10_000))
    channel.push(memoryview(data).cast("I"))
    channel.close_when_done()
    assert channel.writable()
    theirs.setblocking(False)
    received = bytearray()

    def all_has_come():
        try:
            while piece := theirs.recv(1 << 20):
                received.extend(piece)
        except BlockingIOError:
            return False
        return True

    loop_until(all_has_come)
    assert received == data * 3
    assert map == {}


def test_threads_that_push_while_the_loop_sends(pair, map, loop_until):
    ours, theirs = pair
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    channel = Lines(ours, map)
    channel.ac_out_buffer_size = 100
    threads, pushes = 4, 200
    received = []
    reader = threading.Thread(target=lambda: received.append(read_all(theirs)))

    def push_all(name):
        for number in range(pushes):
            channel.push(b"<%d %d %b>" % (name, number, b"." * (number * 7 % 350)))

    workers = [threading.Thread(target=push_all, args=[name]) for name in range(threads)]
    for thread in (reader, *workers):
        thread.start()
    loop_until(lambda: not any(worker.is_alive() for worker in workers))
    channel.close_when_done()
    loop_until(lambda: not map)
    reader.join(20)
    messages = re.findall(rb"<(\d) (\d+) (\.*)>", received[0])
    assert b"".join(b"<%b %b %b>" % message for message in messages) == received[0]
    for name in range(threads):
        numbers = [int(number) for thread, number, _ in messages if int(thread) == name]
        assert numbers == list(range(pushes))
    assert all(len(dots) == int(number) * 7 % 350 for _, number, dots in messages)


# Errors and closing


def test_an_error_of_a_callback_closes_by_the_default_handle_error(pair, map, loop_until):
    class Failing(Lines):
        def found_terminator(self):
            raise LookupError("the reason")

    channel = Failing(pair[0], map)
    pair[1].sendall(b"one\r\n")
    loop_until(lambda: not map)
    [(kind, line)] = channel.logged
    assert kind == "error"
    assert "the reason" in line
    assert not channel.connected


def test_an_error_when_sending_goes_to_handle_error_and_closes(pair, map):
    class Broken(Lines):
        def send(self, data):
            raise OSError(errno.EIO, "the reason")

    channel = Broken(pair[0], map)
    channel.push(b"pieces")
    assert [kind for kind, _ in channel.logged] == ["error"]
    assert "the reason" in channel.logged[0][1]
    assert map == {}
    assert list(channel.producer_fifo) == [b"pieces"]


@pytest.mark.parametrize("error", [ssl.SSLWantReadError(), ssl.SSLWantWriteError()])
def test_a_handshake_that_goes_on_does_not_close(pair, map, error):
    """A would-block error of a TLS socket is neither an error of the channel nor the end."""

    class Wanting(Lines):
        wants = (error, error)

        def recv(self, size):
            if self.wants:
                error, *self.wants = self.wants
                raise error
            return super().recv(size)

        def send(self, data):
            if self.wants:
                error, *self.wants = self.wants
                raise error
            return super().send(data)

    channel = Wanting(pair[0], map)
    pair[1].sendall(b"one\r\n")
    channel.handle_read()
    channel.push(b"two\r\n")
    assert channel.connected
    channel.handle_read()
    channel.handle_write()
    assert channel.lines == [b"one"]
    assert pair[1].recv(100) == b"two\r\n"
    assert channel.logged == []


def test_data_pushed_after_close_are_kept_and_sent_once_the_channel_is_connected_anew(pair, map):
    """asynchat keeps it, too: clients queue data while they are disconnected."""
    channel = Lines(pair[0], map)
    channel.close()
    channel.push(b"bytes, ")
    channel.push_with_producer(simple_producer(b"a producer"))
    channel.close_when_done()
    assert len(channel.producer_fifo) == 3
    assert channel.logged == []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        channel.set_socket(ours, map)
        channel.connected = True
        while channel.connected:
            asyncore.loop(timeout=20, map=map, count=1)
        assert theirs.recv(99) == b"bytes, a producer"


def test_data_pushed_after_close_can_be_discarded(pair, map):
    channel = Lines(pair[0], map)
    channel.close()
    channel.push(b"bytes")
    channel.discard_buffers()
    assert list(channel.producer_fifo) == []


def test_a_closed_channel_may_get_another_socket(pair, map):
    channel = Lines(pair[0], map)
    channel.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        channel.set_socket(ours)
        channel.push(b"waits for the connection")
        assert len(channel.producer_fifo) == 1
        channel.connected = True
        channel.handle_write()
        assert theirs.recv(100) == b"waits for the connection"
        assert channel.logged == []


def test_close_when_done_before_the_connection_closes_after_it(map, loop_until):
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = Lines(map=map)
        channel.push(b"the first ")
        channel.create_socket()
        channel.push(b"and the last")
        channel.close_when_done()
        channel.connect(server.getsockname())
        loop_until(lambda: not map)
        theirs, _ = server.accept()
        with theirs:
            assert read_all(theirs) == b"the first and the last"
    assert not channel.producer_fifo


def test_close_in_a_callback_does_not_stop_the_delivery(pair, map):
    class Closing(Lines):
        def found_terminator(self):
            super().found_terminator()
            self.close()

    channel = Closing(pair[0], map)
    pair[1].sendall(b"one\r\ntwo\r\nthree")
    channel.handle_read()
    assert (channel.lines, channel.incoming) == ([b"one", b"two"], [b"three"])


class TestCoalescing:
    class Replying(Lines):
        coalesce_pushes = True

        def found_terminator(self):
            super().found_terminator()
            self.push(b"<" + self.lines[-1] + b">")
            if self.lines[-1] == b"close":
                self.close()

    def test_sends_once_for_all_that_was_read(self, pair, map):
        sends = []

        class Counting(self.Replying):
            def send(self, data):
                sends.append(bytes(data))
                return super().send(data)

        channel = Counting(pair[0], map)
        pair[1].sendall(b"1\r\n2\r\n3\r\n")
        channel.handle_read()
        assert sends == [b"<1><2><3>"]
        assert pair[1].recv(100) == b"<1><2><3>"

    @pytest.mark.parametrize("size", [65536, 9, 7, 3])
    def test_sends_held_back_data_before_closing(self, pair, map, size):
        """As much is sent as without ``coalesce_pushes``."""
        received = []
        for coalesce in (True, False):
            ours, theirs = socket.socketpair()
            channel = self.Replying(ours, map)
            channel.coalesce_pushes = coalesce
            channel.ac_out_buffer_size = size
            theirs.sendall(b"1\r\n2\r\nclose\r\n3\r\n")
            channel.handle_read()
            assert channel.lines == [b"1", b"2", b"close", b"3"]
            with theirs:
                received.append(read_all(theirs))
        assert received[0].startswith(received[1])
        if size > 7:
            assert received[0] == b"<1><2><close>"

    def test_closes_though_the_peer_has_gone(self, pair, map):
        channel = self.Replying(pair[0], map)
        pair[1].sendall(b"1\r\nclose\r\n2\r\n")
        pair[1].close()
        channel.handle_read()
        assert channel.lines == [b"1", b"close", b"2"]
        assert map == {}
        assert not channel.connected


# A mutable class


def test_attributes_assigned_on_the_class_hold_for_all_channels(channel_class, monkeypatch):
    chat = channel_class()
    asked = []
    chat.recv = lambda size: asked.append(size) or b""
    chat.set_terminator(None)
    monkeypatch.setattr(async_chat, "ac_in_buffer_size", 1234)
    monkeypatch.setattr(async_chat, "ac_out_buffer_size", 3)
    chat.handle_read()
    chat.push(b"pieces")
    assert asked == [1234]
    assert chat.sent == [b"pie"]


def test_methods_may_be_patched_on_the_class(pair, map, monkeypatch):
    calls = []
    init, push = async_chat.__init__, async_chat.push

    def patched_init(self, *args, **kwargs):
        calls.append("__init__")
        init(self, *args, **kwargs)

    def patched_push(self, data):
        calls.append(data)
        push(self, data.upper())

    monkeypatch.setattr(async_chat, "__init__", patched_init)
    monkeypatch.setattr(async_chat, "push", patched_push)
    Lines(pair[0], map).push(b"pieces")
    assert calls == ["__init__", b"pieces"]
    assert pair[1].recv(100) == b"PIECES"


@pytest.mark.parametrize(
    "hook", ["recv", "send", "initiate_send", "handle_close", "handle_error", "found_terminator", "push", "handle_read"]
)
def test_hooks_are_looked_up_on_the_instance_each_time(pair, map, hook):
    channel = Echo(pair[0], map)
    calls = []
    original = getattr(channel, hook)

    def rebound(*args):
        calls.append(args)
        return original(*args)

    def converse():
        pair[1].sendall(b"line\r\n")
        channel.handle_read()
        assert pair[1].recv(100) == b"line\r\n"

    converse()
    setattr(channel, hook, rebound)
    converse()
    channel.log_info = lambda *args: None
    if hook == "handle_close":
        channel.close_when_done()
        channel.initiate_send()
    elif hook == "handle_error":
        channel.recv = lambda size: os.read(-1, size)
        channel.handle_read()
    assert len(calls) == 1
    delattr(channel, hook)
    assert len(calls) == 1


# Other bases


def converse(channel, sock):
    sock.sendall(b"one\r\ntwo\r\n")
    channel.handle_read()
    assert channel.lines == [b"one", b"two"]
    channel.push(b"reply")
    assert sock.recv(100) == b"reply"
    assert not channel.producer_fifo


class Demanding:
    def __init__(self, needed):
        raise AssertionError("async_chat is not cooperative: programs call the __init__ of each base")


@pytest.mark.parametrize("other", [threading.Thread, ABC, asyncio.Protocol, BaseHTTPRequestHandler, Demanding])
@pytest.mark.parametrize("place", ["first", "last"])
def test_other_bases_before_and_after(pair, map, other, place):
    bases = (other, Lines) if place == "first" else (Lines, other)
    kind = type(other)("Both", bases, {"__init__": Lines.__init__})
    converse(kind(pair[0], map), pair[1])


def test_object_as_the_last_base(pair, map):
    both = type("Both", (Lines, object), {})
    converse(both(pair[0], map), pair[1])


@pytest.mark.parametrize("order", [(Echo, threading.Thread), (threading.Thread, Echo)], ids=["last", "first"])
def test_a_channel_that_is_a_thread(pair, order):
    class Server(*order):
        def __init__(self, sock):
            threading.Thread.__init__(self)
            self.channels = {}
            Echo.__init__(self, sock, self.channels)

        def run(self):
            asyncore.loop(timeout=1, map=self.channels)

    server = Server(pair[0])
    server.start()
    pair[1].sendall(b"one\r\nquit\r\n")
    assert read_all(pair[1]) == b"one\r\nquit\r\n"
    server.join(20)
    assert not server.is_alive()


def test_an_abstract_channel(pair, map):
    class Abstract(Lines, ABC):
        @abstractmethod
        def found_terminator(self):
            """To be defined."""

    class Concrete(Abstract):
        found_terminator = Lines.found_terminator

    with pytest.raises(TypeError, match="found_terminator"):
        Abstract(pair[0], map)
    converse(Concrete(pair[0], map), pair[1])


@pytest.mark.parametrize("order", [(Lines, BaseHTTPRequestHandler), (BaseHTTPRequestHandler, Lines)])
def test_a_channel_that_is_an_http_request_handler(pair, map, order):
    class Handler(*order):
        def __init__(self, sock):
            Lines.__init__(self, sock, map)
            self.client_address = ("test", 0)
            self.set_terminator(b"\r\n\r\n")

        def found_terminator(self):
            self.rfile = io.BytesIO(self._get_data() + b"\r\n\r\n")
            self.wfile = io.BytesIO()
            self.raw_requestline = self.rfile.readline()
            if self.parse_request():
                self.send_response(200)
                self.end_headers()
                self.wfile.write(self.path.encode() + self.headers["Host"].encode())
            self.push(self.wfile.getvalue())
            self.close_when_done()

        def log_message(self, *args):
            pass

    pair[1].sendall(b"GET /path HTTP/1.0\r\nHost: example\r\n\r\n")
    channel = Handler(pair[0])
    channel.handle_read()
    channel.handle_write()
    response = read_all(pair[1])
    assert response.startswith(b"HTTP/1.0 200 OK\r\n")
    assert response.endswith(b"\r\n\r\n/pathexample")


@pytest.mark.skipif(not hasattr(asyncore, "file_dispatcher"), reason="asyncore has no file_dispatcher on this platform")
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_channel_on_a_file(map, loop_until, place):
    order = (asyncore.file_dispatcher, Lines) if place == "first" else (Lines, asyncore.file_dispatcher)

    class Pipe(*order):
        def __init__(self, descriptor):
            Lines.__init__(self, map=map)
            asyncore.file_dispatcher.__init__(self, descriptor, map)

    reading, writing = os.pipe()
    reader, writer = Pipe(reading), Pipe(writing)
    os.close(reading)
    os.close(writing)
    writer.push(b"one\r\ntw")
    writer.push(b"o\r\n")
    writer.close_when_done()
    loop_until(lambda: not map)
    assert reader.lines == [b"one", b"two"]


@pytest.mark.skipif(os.name != "posix", reason="pipes are served on POSIX only")
def test_a_channel_on_a_descriptor_without_a_socket(map, loop_until):
    """Channels on serial ports and pipes put a descriptor into the map, and never have a socket."""

    class Port(async_chat):
        collect_incoming_data = async_chat._collect_incoming_data

        def __init__(self, descriptor):
            self.ac_in_buffer, self.incoming, self.producer_fifo = b"", [], deque()
            self._map, self._fileno = map, descriptor
            self.connected = True
            self.lines = []
            self.set_terminator(b";")
            self.add_channel()

        def recv(self, size):
            return os.read(self._fileno, size)

        def found_terminator(self):
            self.lines.append(self._get_data())

        def handle_close(self):
            self.del_channel()

    reading, writing = os.pipe()
    port = Port(reading)
    os.write(writing, b"one;two;")
    loop_until(lambda: len(port.lines) == 2)
    port.handle_close()
    os.close(reading)
    os.close(writing)
    assert port.lines == [b"one", b"two"]
    assert not map


def test_a_channel_used_as_a_plain_dispatcher(pair, map, loop_until):
    """A subclass that overrides everything calls dispatcher.__init__() alone, and has no buffers."""

    class Doubling(async_chat):
        def __init__(self, sock):
            asyncore.dispatcher.__init__(self, sock, map)

        def writable(self):
            return False

        def handle_read(self):
            data = self.recv(100)
            if data:
                self.send(data * 2)

        def handle_error(self):
            raise

    Doubling(pair[0])
    pair[1].sendall(b"ab")
    pair[1].shutdown(socket.SHUT_WR)
    loop_until(lambda: not map)
    assert read_all(pair[1]) == b"abab"


def test_a_mixin_before_it_decides_how_to_receive_and_send(pair, map, loop_until):
    """The TLS mixins of FTP and SMTP servers override recv() and send() like this."""

    class Ciphering(asyncore.dispatcher):
        def recv(self, size):
            return bytes(byte ^ 1 for byte in super().recv(size))

        def send(self, data):
            return super().send(bytes(byte ^ 1 for byte in data))

    class Ciphered(Ciphering, Echo):
        pass

    channel = Ciphered(pair[0], map)
    pair[1].sendall(bytes(byte ^ 1 for byte in b"secret\r\nquit\r\n"))
    loop_until(lambda: not map)
    assert channel.lines == [b"secret", b"quit"]
    assert bytes(byte ^ 1 for byte in read_all(pair[1])) == b"secret\r\nquit\r\n"


def test_the_socket_need_not_be_one(map):
    """A channel uses only recv() and send(), and recv() once a read, as it may have side effects."""

    class Wrapper:
        chunks = (b"one\r\ntw", b"o\r\n", b"")
        closed = False

        def __init__(self):
            self.calls = []

        def recv(self, size):
            self.calls.append(size)
            chunk, *self.chunks = self.chunks
            return chunk

        def send(self, data):
            self.calls.append(bytes(data))
            return len(data)

        def close(self):
            self.closed = True

    channel = Lines(map=map)
    channel.socket = wrapper = Wrapper()
    channel.connected = True
    channel.handle_read()
    channel.push(b"reply")
    channel.handle_read()
    assert channel.lines == [b"one", b"two"]
    assert wrapper.calls == [65536, b"reply", 65536]
    channel.handle_read()
    assert wrapper.closed


# Methods borrowed


def test_methods_as_class_attributes_and_aliases_of_a_subclass(pair, map):
    class Aliasing(async_chat):
        collect_incoming_data = async_chat._collect_incoming_data
        get_data = async_chat._get_data
        write = async_chat.push
        delimiter = async_chat.get_terminator
        set_delimiter = async_chat.set_terminator

        def found_terminator(self):
            self.write(self.get_data() + async_chat.get_terminator(self) + self.delimiter())

        def handle_read(self):
            async_chat.handle_read(self)

    channel = Aliasing(pair[0], map)
    channel.set_delimiter(b";")
    pair[1].sendall(b"one;")
    channel.handle_read()
    assert pair[1].recv(100) == b"one;;"


class Borrower:
    """A class that borrows methods of async_chat without being one."""

    collect_incoming_data = _collect_incoming_data = async_chat._collect_incoming_data
    _get_data = async_chat._get_data
    get_terminator = async_chat.get_terminator
    set_terminator = async_chat.set_terminator
    use_encoding = 0

    def __init__(self):
        self.incoming = []


def test_methods_borrowed_by_another_class(pair):
    class Receiver(Borrower):
        recv = async_chat.recv
        closed = False

        def handle_close(self):
            self.closed = True

    receiver = Receiver()
    receiver.set_terminator(b"\r\n")
    assert receiver.terminator == receiver.get_terminator() == b"\r\n"
    receiver.terminator = 7
    assert receiver.get_terminator() == 7
    with pytest.raises(ValueError, match="-1"):
        receiver.set_terminator(-1)
    receiver.collect_incoming_data(b"one")
    receiver.collect_incoming_data(b"two")
    assert receiver._get_data() == b"onetwo"
    assert receiver.incoming == []
    receiver.socket = pair[0]
    pair[1].sendall(b"pieces")
    assert receiver.recv(100) == b"pieces"
    pair[1].close()
    assert receiver.recv(100) == b""
    assert receiver.closed


def test_a_borrowed_get_terminator_may_be_rebound():
    borrower = Borrower()
    borrower.set_terminator(b";")
    borrower.get_terminator = lambda: b"!"
    assert borrower.get_terminator() == b"!"
    del borrower.get_terminator
    assert borrower.get_terminator() == b";"


class Reader(Borrower):
    """Reads as async_chat does, and keeps all in attributes of its own."""

    handle_read = async_chat.handle_read
    ac_in_buffer_size = 4096

    def __init__(self, terminator):
        super().__init__()
        self.ac_in_buffer = b""
        self.set_terminator(terminator)
        self.payloads = []
        self.errors = []

    def recv(self, size):
        assert size == self.ac_in_buffer_size
        if isinstance(self.arriving, Exception):
            raise self.arriving
        return self.arriving

    def arrive(self, data):
        self.arriving = data
        self.handle_read()

    def found_terminator(self):
        self.payloads.append(self._get_data())

    def handle_error(self):
        self.errors.append(sys.exc_info()[1])


class TestBorrowedHandleRead:
    @pytest.mark.parametrize(
        ("terminator", "payloads", "rest", "kept", "left"),
        [
            (b"\r\n", [b"one", b"", b"two"], b"thr", b"\r", b"\r\n"),
            (8, [b"one\r\n\r\nt"], b"wo\r\nthr\r", b"", 0),
            (100, [], b"one\r\n\r\ntwo\r\nthr\r", b"", 84),
            (None, [], b"one\r\n\r\ntwo\r\nthr\r", b"", None),
        ],
    )
    def test_delivers(self, cut, terminator, payloads, rest, kept, left):
        for chunks in cut(b"one\r\n\r\ntwo\r\nthr\r"):
            reader = Reader(terminator)
            for chunk in chunks:
                reader.arrive(chunk)
            assert reader.payloads == payloads
            assert b"".join(reader.incoming) == rest
            assert reader.ac_in_buffer == kept
            assert reader.terminator == left

    def test_lets_callbacks_act(self):
        class Acting(Reader):
            seen = ()

            def collect_incoming_data(self, data):
                self.seen = (*self.seen, self.ac_in_buffer)
                super().collect_incoming_data(data)

            def found_terminator(self):
                super().found_terminator()
                self.seen = (*self.seen, self.ac_in_buffer)
                if self.payloads == [b"one"]:
                    self.set_terminator(2)
                elif self.payloads[-1] == b"\r\n":
                    self.get_terminator = lambda: b";"
                elif self.payloads[-1] == b"three":
                    self.ac_in_buffer = b"rewritten;rest"

        reader = Acting(b"\r\n")
        reader.arrive(b"one\r\n\r\nthree;dropped;dropped")
        assert reader.payloads == [b"one", b"\r\n", b"three", b"rewritten"]
        assert reader.incoming == [b"rest"]
        assert reader.seen[:3] == (
            b"one\r\n\r\nthree;dropped;dropped",
            b"\r\nthree;dropped;dropped",
            b"\r\nthree;dropped;dropped",
        )
        assert reader.seen[5:] == (b"dropped;dropped", b"rewritten;rest", b"rest", b"rest")

    def test_may_be_called_again_when_a_terminator_is_found(self):
        class Again(Reader):
            def found_terminator(self):
                super().found_terminator()
                if self.payloads == [b"again"]:
                    self.arrive(b"o\r\nthree\r")

        reader = Again(b"\r\n")
        reader.arrive(b"again\r\none\r\ntw")
        assert reader.payloads == [b"again", b"one", b"two"]
        assert (reader.incoming, reader.ac_in_buffer) == ([b"three"], b"\r")

    def test_loses_nothing_to_an_error_of_a_callback(self):
        class Failing(Reader):
            fails = True

            def collect_incoming_data(self, data):
                if self.fails:
                    raise LookupError("not now")
                super().collect_incoming_data(data)

        reader = Failing(b"\r\n")
        for chunk in (b"one\r\n", b"two"):
            with pytest.raises(LookupError):
                reader.arrive(chunk)
        assert reader.ac_in_buffer == b"one\r\ntwo"
        reader.fails = False
        reader.arrive(b"\r\n")
        assert reader.payloads == [b"one", b"two"]

    def test_treats_errors_of_reading_alike(self):
        reader = Reader(b"\r\n")
        broken = OSError("broken")
        reader.arrive(BlockingIOError())
        reader.arrive(broken)
        assert reader.errors == [broken]
        with pytest.raises(LookupError):
            reader.arrive(LookupError("not an OSError"))

    def test_encodes_text_if_use_encoding_is_set(self):
        reader = Reader(b"\r\n")
        reader.use_encoding = 1
        reader.encoding = "latin-1"
        reader.arrive("één\r\n")
        assert reader.payloads == ["één".encode("latin-1")]


# Objects


def test_a_channel_takes_any_attribute(pair, map):
    channel = Lines(pair[0], map)
    channel.buffer = channel.data = channel._input = channel.limit = channel.lock = 1
    channel.input = channel._buffer = channel.asks = channel.collecting = channel.receiving = 2
    converse(channel, pair[1])
    assert vars(channel)["input"] == 2


def test_a_channel_can_be_weakly_referenced_and_collected(pair, map):
    channel = Lines(pair[0], map)
    channel.itself = channel
    channel.found_terminator = channel.found_terminator
    gone = weakref.ref(channel)
    map.clear()
    del channel
    gc.collect()
    gc.collect()
    assert gone() is None


def test_a_shallow_copy_converses_over_the_same_socket(pair, map):
    channel = Lines(pair[0], map)
    pair[1].sendall(b"one\r\ntwo\r")
    channel.handle_read()
    twin = copy.copy(channel)
    assert (twin.socket, twin.lines, twin.ac_in_buffer) == (channel.socket, channel.lines, b"\r")
    pair[1].sendall(b"\nthree\r\n")
    twin.handle_read()
    assert channel.lines == [b"one", b"two", b"three"]
    assert channel.ac_in_buffer == b"\r"
    twin.push(b"reply")
    assert pair[1].recv(100) == b"reply"


def test_data_that_wait_to_be_sent_can_be_pickled(pair, map):
    channel = Lines(map=map)
    channel.push(b"pieces")
    channel.push_with_producer(simple_producer(b"more pieces", 4))
    other = Lines(pair[0], map)
    other.producer_fifo = pickle.loads(pickle.dumps(channel.producer_fifo))
    while other.producer_fifo:
        other.initiate_send()
    assert pair[1].recv(100) == b"piecesmore pieces"
