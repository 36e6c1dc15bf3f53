"""``asynchat_fast.testing``: channels in memory, whose time passes when the test says so, and on pairs of sockets."""

import contextlib
import gc
import socket
import ssl
import sys
import threading
import weakref

import pytest

import asynchat_fast
from asynchat_fast import async_chat, asyncore, call_later, simple_producer
from asynchat_fast.http import http_request_handler
from asynchat_fast.testing import MemoryTransport, channel_pair, run_until

pytest_plugins = ["pytester"]

LINE = b"\r\n"


class Lines(async_chat):
    """Echoes lines; one that has the name of a method calls it."""

    collect_incoming_data = async_chat._collect_incoming_data

    def __init__(self, sock=None, *args):
        super().__init__(sock)
        self.args = args
        self.lines = []
        self.set_terminator(LINE)

    def found_terminator(self):
        line = self._get_data()
        self.lines.append(line)
        method = getattr(self, "on_" + line.decode(), None)
        if method is None:
            self.push(line + LINE)
        else:
            method()

    def on_bye(self):
        self.push(b"bye" + LINE)
        self.close_when_done()

    def on_boom(self):
        raise ValueError("boom")

    def on_fail(self):
        pytest.fail("as the test says")

    def on_exit(self):
        raise asyncore.ExitNow("out")


@pytest.fixture
def lines():
    return MemoryTransport(Lines)


# Input and output


@pytest.mark.parametrize("cut", [1, 3, 100])
def test_lines_are_echoed_however_they_arrive(lines, cut):
    stream = b"one\r\ntwo\r\nth"
    for at in range(0, len(stream), cut):
        lines.receive(stream[at : at + cut])
    assert lines.sent == b"one\r\ntwo\r\n"
    lines.receive(bytearray(b"ree\r\n"))
    assert lines.channel.lines == [b"one", b"two", b"three"]


def test_what_was_sent_can_be_taken_bit_by_bit(lines):
    assert lines.take_sent() == b""
    lines.receive(b"one\r\n")
    assert lines.take_sent() == b"one\r\n"
    lines.receive(b"two\r\n")
    assert lines.take_sent() == b"two\r\n"
    assert lines.take_sent() == b""
    assert lines.sent == b"one\r\ntwo\r\n"


def test_the_channel_is_made_as_by_chat_server(lines):
    channel = MemoryTransport(Lines, "an argument", 2).channel
    assert channel.args == ("an argument", 2)
    assert channel.connected
    assert channel.addr == channel.socket.getpeername()
    channel.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    assert channel.socket.family == socket.AF_INET
    assert channel not in asyncore.socket_map.values()


def test_a_channel_that_cannot_be_made_is_told():
    class Broken(Lines):
        def __init__(self, sock):
            raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        MemoryTransport(Broken)


def test_a_dispatcher_of_asyncores_own_will_do():
    class Upper(asyncore.dispatcher):
        data = b""

        def writable(self):
            return bool(self.data)

        def handle_read(self):
            self.data += self.recv(2).upper()

        def handle_write(self):
            self.data = self.data[self.send(self.data[:1]) :]

    before = dict(asyncore.socket_map)
    upper = MemoryTransport(Upper)
    upper.receive(b"hello")
    assert upper.sent == b"HELLO"
    assert asyncore.socket_map == before
    upper.eof()
    assert upper.closed


def test_what_was_pushed_at_once_and_by_producers_leaves_in_its_order(lines):
    lines.channel.push(b"a" * 100_000)
    assert lines.sent == b"a" * 65536  # by one send(), as ever
    lines.channel.push_with_producer(simple_producer(b"b" * 5000))
    lines.channel.push(b"c")
    lines.advance(0)
    assert lines.sent == b"a" * 100_000 + b"b" * 5000 + b"c"


def test_a_producer_without_end_goes_on_as_fast_as_it_is_taken(lines):
    class Endless:
        def more(self):
            return b"x" * 65536

    lines.channel.push_with_producer(Endless())
    lines.advance(0)
    size = len(lines.take_sent())
    assert 1 << 23 < size < 1 << 26
    lines.advance(0)
    assert len(lines.take_sent()) == size
    assert len(lines.sent) == 2 * size


def test_paused_reading_leaves_what_arrives_for_later(lines):
    lines.channel.pause_reading()
    lines.receive(b"one\r\n")
    lines.eof()
    assert (lines.sent, lines.closed) == (b"", False)
    lines.channel.resume_reading()
    assert lines.sent == b""
    lines.advance(0)
    assert (lines.sent, lines.closed) == (b"one\r\n", True)


def test_a_channel_that_resumes_itself_later_gets_what_has_arrived():
    class Slow(Lines):
        def found_terminator(self):
            self.pause_reading()
            self._ac_call_later(1, self.resume_reading)
            super().found_terminator()

        def handle_read(self):
            self.ac_in_buffer_size = 5
            super().handle_read()

    slow = MemoryTransport(Slow)
    slow.receive(b"one\r\ntwo\r\n")
    assert slow.sent == b"one\r\n"
    slow.advance(1)
    assert slow.sent == b"one\r\ntwo\r\n"


def test_another_thread_may_push(lines):
    thread = threading.Thread(target=lines.channel.push, args=[b"x" * 100_000])
    thread.start()
    thread.join()
    lines.advance(0)
    assert len(lines.sent) == 100_000


def test_what_is_no_bytes_is_refused(lines):
    for wrong in ("text", 5, None, [1]):
        with pytest.raises(TypeError):
            lines.receive(wrong)
    assert lines.channel.ac_in_buffer == b""


# The end


def test_close_when_done_closes_after_what_was_pushed(lines):
    lines.receive(b"bye\r\nnever")
    assert (lines.sent, lines.closed) == (b"bye\r\n", True)
    assert not lines.channel.connected
    with pytest.raises(BrokenPipeError, match="the channel has closed"):
        lines.receive(b"more")
    lines.eof()


def test_eof_calls_handle_close_once():
    class Stays(Lines):
        calls = 0

        def handle_close(self):
            self.calls += 1

    stays = MemoryTransport(Stays)
    stays.receive(b"one\r\nrest")
    stays.eof()
    stays.eof()
    stays.advance(10)
    assert (stays.channel.calls, stays.closed, stays.channel.ac_in_buffer) == (1, False, b"")
    with pytest.raises(BrokenPipeError, match="eof"):
        stays.receive(b"more")
    stays.channel.push(b"still here")
    assert stays.sent == b"one\r\nstill here"


def test_an_end_of_the_output_alone_is_seen_too(lines):
    lines.channel.socket.shutdown(socket.SHUT_WR)
    assert lines.closed
    lines.receive(b"bye\r\n")
    assert lines.channel.lines == [b"bye"]
    assert lines.sent == b""


def test_handle_overlong_payload_is_called():
    class Limited(Lines):
        max_payload = 10

        def handle_overlong_payload(self):
            self.push(b"too long\r\n")
            del self.incoming[:]

    limited = MemoryTransport(Limited)
    limited.receive(b"x" * 11)
    assert limited.sent == b"too long\r\n"
    limited.receive(b"x\r\nnext\r\n")
    assert limited.sent == b"too long\r\nnext\r\n"
    Limited.handle_overlong_payload = async_chat.handle_overlong_payload
    closes = MemoryTransport(Limited)
    closes.receive(b"x" * 11)
    assert closes.closed


def test_nothing_is_left_of_a_transport():
    gone = weakref.ref(MemoryTransport(Lines).channel)
    gc.collect()
    assert gone() is None


# Exceptions


@pytest.mark.parametrize("sends", [lambda lines: lines.receive(b"boom\r\n"), lambda lines: lines.eof()])
def test_what_a_callback_raises_comes_out(sends):
    class Breaks(Lines):
        def handle_close(self):
            raise ValueError("boom")

    breaks = MemoryTransport(Breaks)
    with pytest.raises(ValueError, match="boom"):
        sends(breaks)


def test_what_a_timer_raises_comes_out_and_those_after_it_are_not_lost(lines):
    made = []
    lines.channel._ac_call_later(1, lines.channel.on_boom)
    lines.channel._ac_call_later(1, made.append, 1)
    with pytest.raises(ValueError, match="boom"):
        lines.advance(5)
    lines.advance(0)
    assert made == [1]


class Catches(Lines):
    def handle_error(self):
        self.caught = sys.exc_info()[1]


@pytest.mark.parametrize("channel_class", [Lines, Catches])
def test_an_outcome_of_pytest_comes_out_whatever_the_class_does(channel_class):
    with pytest.raises(pytest.fail.Exception, match="as the test says"):
        MemoryTransport(channel_class).receive(b"fail\r\n")
    with pytest.raises(asyncore.ExitNow):
        MemoryTransport(channel_class).receive(b"exit\r\n")


def test_a_handle_error_of_the_class_is_called():
    catches = MemoryTransport(Catches)
    catches.receive(b"boom\r\ngoes on\r\n")
    assert str(catches.channel.caught) == "boom"
    catches.receive(b"and on\r\n")
    assert catches.sent == b"goes on\r\nand on\r\n"


def test_a_handle_error_of_the_object_is_called(lines):
    caught = []
    lines.channel.handle_error = lambda: caught.append(sys.exc_info()[0])
    lines.receive(b"boom\r\n")
    assert caught == [ValueError]


# Time


def test_time_passes_as_told_and_timers_run_in_their_order(lines):
    made = []

    def note(what):
        made.append(what)

    for seconds in (3, 1, 2.5):
        lines.channel._ac_call_later(seconds, note, seconds)
    lines.channel._ac_call_later(1, lines.channel._ac_call_later, 1, note, "set by a timer")
    cancelled = lines.channel._ac_call_later(1, note, "never")
    cancelled.cancel()
    lines.advance(0.999)
    assert made == []
    lines.advance(0.001)
    assert made == [1]
    lines.advance(10)
    assert made == [1, "set by a timer", 2.5, 3]


def test_many_short_times_make_a_long_one(lines):
    made = []
    lines.channel._ac_call_later(1, made.append, 1)
    for _ in range(9):
        lines.advance(0.1)
    assert not made
    lines.advance(0.1)
    assert made


def test_a_timer_that_sets_itself_anew_for_at_once_does_not_stop_the_clock(lines):
    calls = []

    def again():
        calls.append(None)
        lines.channel._ac_call_later(0, again)

    again()
    lines.advance(0)
    assert len(calls) == 2
    lines.advance(1)
    assert 100 < len(calls) < 2000


def test_a_timer_of_the_channels_map_is_one_of_the_transports(lines):
    call_later(3600, lines.channel.push, b"an hour\r\n", map=lines.channel._map)
    lines.advance(3600)
    assert lines.sent == b"an hour\r\n"


@pytest.mark.parametrize("wrong", [-1, float("nan")])
def test_time_passes_forward_only(lines, wrong):
    with pytest.raises(ValueError, match="seconds"):
        lines.advance(wrong)


def test_an_idle_channel_times_out():
    class Idle(Lines):
        idle_timeout = 60

        def handle_timeout(self):
            self.push(b"goodbye\r\n")
            self.close_when_done()

    idle = MemoryTransport(Idle)
    idle.advance(40)
    idle.receive(b"here\r\n")
    idle.advance(59)
    assert (idle.take_sent(), idle.closed) == (b"here\r\n", False)
    idle.advance(20)
    assert (idle.take_sent(), idle.closed) == (b"goodbye\r\n", True)


# HTTP


class Handler(http_request_handler):
    head_timeout, keep_alive_timeout, linger_timeout = 10, 20, 2

    def do_GET(self):
        self.respond(200, f"{self.sessions} {self.addr[0]} {self.path}\n")

    def do_POST(self):
        if self.body == b"fail":
            pytest.fail("as the test says")
        assert self.body == b"good"
        self.respond(200, iter([self.body] * 3))


@pytest.fixture
def http(memory_transport):
    return memory_transport(Handler, ("192.0.2.1", 5), "sessions")


def test_requests_get_their_responses(http):
    for byte in b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n":
        http.receive(bytes([byte]))
    assert http.sent.endswith(b"\r\n\r\nsessions 192.0.2.1 /one\n")
    http.take_sent()
    http.receive(b"GET /two HTTP/1.1\r\nHost: a\r\n\r\nGET /three HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    first, _, second = http.take_sent().partition(b"/two\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert second.endswith(b"/three\n")
    assert http.closed
    assert http.channel.connected  # it lingers, in order that the client can read the response
    http.advance(3)
    assert not http.channel.connected


def test_a_body_from_an_iterator_is_sent_whole(http):
    http.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\ngood")
    assert http.sent.endswith(b"\r\n\r\n4\r\ngood\r\n4\r\ngood\r\n4\r\ngood\r\n0\r\n\r\n")


def test_an_exception_in_a_handlers_method_is_500_and_an_outcome_of_pytest_comes_out(http, memory_transport):
    http.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nbad")
    assert http.sent.startswith(b"HTTP/1.1 500 ")
    assert http.closed
    with pytest.raises(pytest.fail.Exception):
        memory_transport(Handler).receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nfail")


def test_the_deadlines_of_http_go_by_the_clock_of_the_transport(http, memory_transport):
    http.receive(b"GET / HTT")
    http.advance(9.9)
    assert http.sent == b""
    http.advance(3)
    assert http.sent.startswith(b"HTTP/1.1 408 ")
    idle = memory_transport(Handler)
    idle.advance(19.9)
    assert not idle.closed
    idle.advance(5)
    assert (idle.sent, idle.closed) == (b"", True)


def test_eof_after_a_request_closes_after_the_response(http):
    http.receive(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n")
    http.eof()
    assert http.sent.endswith(b"/one\n")
    assert not http.channel.connected


# TLS


class Secure(Lines):
    """A server that goes on in TLS when it is asked to."""

    context = None
    handshake_timeout = 10

    def on_starttls(self):
        self.push(b"go\r\n")
        self.start_tls(self.context, handshake_timeout=self.handshake_timeout)

    def handle_tls(self):
        self.push(b"now in secret\r\n")


def test_a_channel_goes_on_in_tls(server_context, client_context):
    secure = MemoryTransport(type("Secure", (Secure,), {"context": server_context}))
    secure.receive(b"starttls\r\n")
    assert secure.take_sent() == b"go\r\n"
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")

    def shuttle():
        secure.receive(outgoing.read())
        incoming.write(secure.take_sent())

    for _ in range(3):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        shuttle()
    assert client.read() == b"now in secret\r\n"
    client.write(b"hello\r\nbye\r\n")
    shuttle()
    assert client.read() + client.read() == b"hello\r\nbye\r\n"
    assert client.read() == b""
    secure.eof()
    assert secure.closed
    assert b"hello" not in secure.sent


def test_a_callback_over_tls_that_raises_is_treated_as_in_the_plain(server_context, client_context):
    secure = MemoryTransport(type("Secure", (Secure,), {"context": server_context}))
    secure.receive(b"starttls\r\n")
    secure.take_sent()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    for _ in range(3):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        secure.receive(outgoing.read())
        incoming.write(secure.take_sent())
    client.write(b"boom\r\n")
    with pytest.raises(ValueError, match="boom"):
        secure.receive(outgoing.read())


def test_a_handshake_has_its_deadline_in_the_time_of_the_transport(server_context):
    secure = MemoryTransport(type("Secure", (Secure,), {"context": server_context}))
    secure.receive(b"starttls\r\n")
    secure.advance(9.9)
    assert not secure.closed
    secure.advance(0.2)
    assert secure.closed


# Sockets


def test_two_channels_converse_over_sockets(socket_channels):
    ours, theirs = socket_channels(Lines, Lines)
    theirs.push(b"one\r\n")
    ours.found_terminator = lambda: ours.lines.append(ours._get_data())
    theirs.found_terminator = lambda: theirs.lines.append(theirs._get_data())
    run_until(lambda: ours.lines)
    ours.push(b"two\r\n")
    run_until(lambda: theirs.lines)
    assert (ours.lines, theirs.lines) == ([b"one"], [b"two"])
    ours.close()
    run_until(lambda: not theirs.connected)


def test_a_pair_in_a_map_of_its_own(map):
    class Mapped(Lines):
        def __init__(self, sock, map):
            async_chat.__init__(self, sock, map)
            self.lines = []
            self.set_terminator(LINE)

    pair = channel_pair(Mapped, Mapped, map)
    assert set(map.values()) == set(pair)
    pair[0].push(b"one\r\n")
    run_until(lambda: pair[0].lines[3:], map=map)
    assert pair[1].lines[:2] == [b"one", b"one"]


def test_a_pair_of_which_one_cannot_be_made_leaves_nothing():
    sockets = []

    class Broken(Lines):
        def __init__(self, sock):
            super().__init__(sock)
            sockets.append(sock)
            raise LookupError("no such thing")

    before = dict(asyncore.socket_map)
    with pytest.raises(LookupError):
        channel_pair(Lines, Broken)
    assert asyncore.socket_map == before
    assert sockets[0].fileno() == -1


def test_a_condition_that_does_not_become_true_is_an_error(map):
    with pytest.raises(TimeoutError, match=r"not become true in 0\.05 seconds"):
        run_until(lambda: False, 0.05, map)
    run_until(lambda: True, 0, map)


def test_a_condition_that_another_thread_makes_true_is_noticed(map):
    done = threading.Event()
    thread = threading.Timer(0.05, done.set)
    thread.start()
    run_until(done.is_set, map=map)
    channel_pair(lambda sock, map: async_chat(sock, map), lambda sock, map: async_chat(sock, map), map)
    done.clear()
    thread = threading.Timer(0.05, done.set)
    thread.start()
    run_until(done.is_set, map=map)


# The plugin

CONFTEST = """
from asynchat_fast.testing import run_until

pytest_plugins = ["asynchat_fast.testing"]
"""

TESTS = """
import pytest
from asynchat_fast import async_chat, asyncore
from asynchat_fast.testing import run_until

class Echo(async_chat):
    def __init__(self, sock):
        super().__init__(sock)
        self.set_terminator(None)
    def collect_incoming_data(self, data):
        if data == b"skip":
            pytest.skip("not here")
        self.push(data)

kept = []

def test_in_memory(memory_transport):
    kept.append(memory_transport(Echo))
    kept[0].receive(b"hello")
    assert kept[0].take_sent() == b"hello"
    kept[0].receive(b"skip")

def test_closed_after_the_test():
    assert kept[0].closed
    assert kept[0].sent == b"hello again"  # fails, and is shown

def test_on_sockets(socket_channels):
    a, b = socket_channels(Echo, Echo)
    kept[:] = [a, b]
    b.collect_incoming_data = kept.append
    a.push(b"hello")
    run_until(lambda: kept[2:])

def test_closed_after_the_test_on_sockets():
    assert not (kept[0].connected or kept[1].connected or asyncore.socket_map)
"""


def test_the_fixtures_are_there_as_a_plugin(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(asynchat_fast.__path__[0] + "/.."))
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", "-rs", "--timeout=60")
    result.assert_outcomes(passed=2, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*not here*"])


def test_the_rest_does_without_pytest(run_python):
    code = """
import sys
sys.modules["pytest"] = None
from asynchat_fast import async_chat, testing
print(testing.MemoryTransport(async_chat).closed, hasattr(testing, "memory_transport"))
"""
    process = run_python("-c", code)
    assert process.stdout.split() == ["False", "False"], process.stderr
