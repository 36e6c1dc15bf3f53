"""``loop()``: every situation on every poller that this system has, on a SocketMap and on a plain dict."""

import contextlib
import errno
import gc
import importlib.util
import inspect
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from asynchat_fast import SocketMap, async_chat, asyncore, call_later, loop, simple_producer
from asynchat_fast.eventloop.pollers import pollers

PATIENCE = 10  # seconds; a wait takes milliseconds unless something hangs
A_WHILE = 0.02  # seconds that a loop with nothing to do has to wait

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and descriptors")
needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to count descriptors")


# A plain dict does not report removals, so that only pollers whose registrations go by number serve it.
BY_NUMBER = [name for name in ("poll", "select") if name in pollers]
WAYS = [(SocketMap, [name]) for name in pollers] + [(dict, [name]) for name in BY_NUMBER] + [(dict, list(pollers))]


@pytest.fixture(params=list(pollers))
def poller(request, monkeypatch):
    """The name of the only poller that there is, for the test."""
    leave_only(monkeypatch, [request.param])
    return request.param


def leave_only(monkeypatch, names):
    monkeypatch.setattr(
        sys.modules["asynchat_fast.eventloop.reactor"], "pollers", {name: pollers[name] for name in names}
    )


@pytest.fixture
def socket_map(poller):
    """A SocketMap, on each poller; its channels are closed after the test."""
    yield from an_empty(SocketMap)


@pytest.fixture(params=WAYS, ids=lambda way: "-".join([way[0].__name__, *way[1]]))
def map(request, monkeypatch):
    """An asyncore map of each kind, on each poller that serves it; its channels are closed after the test."""
    map_class, names = request.param
    leave_only(monkeypatch, names)
    yield from an_empty(map_class)


def an_empty(map_class):
    channels = map_class()
    yield channels
    asyncore.close_all(channels, ignore_all=True)
    loop(map=channels)  # which is empty now: the loop closes its poller


class Noting:
    """Notes the events of a dispatcher in ``events``; a test's mistake is not logged but raised."""

    def __init__(self, *args, **kwargs):
        self.events = []
        super().__init__(*args, **kwargs)

    def handle_connect(self):
        self.events.append("connect")

    def handle_expt(self):
        self.events.append("expt")

    def handle_close(self):
        self.events.append("close")
        self.close()

    def handle_error(self):
        raise


class Chat(Noting, async_chat):
    """A channel for lines, that calls ``on_line()`` for each."""

    def __init__(self, sock, map, on_line=lambda line: None):
        super().__init__(sock, map)
        self.set_terminator(b"\n")
        self.on_line = on_line

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        line = self._get_data()
        self.events.append(line)
        self.on_line(line)


class Foreign(Noting, asyncore.dispatcher):
    """A dispatcher that knows nothing of asynchat_fast, and receives as much as ``wants`` says."""

    def __init__(self, *args, **kwargs):
        self.wants = sys.maxsize
        self.waiting = b""  # to be sent
        super().__init__(*args, **kwargs)

    def readable(self):
        return self.wants > 0

    def writable(self):
        return bool(self.waiting) or not self.connected

    def handle_read(self):
        data = self.recv(min(self.wants, 65536))
        self.wants -= len(data)
        if data:
            self.events.append(data)

    def handle_write(self):
        self.waiting = self.waiting[self.send(self.waiting) :]


class Acceptor(Noting, asyncore.dispatcher):
    """Accepts on a port of its own, and makes a ``channel_class`` of each connection."""

    def __init__(self, map, channel_class=Chat):
        super().__init__(map=map)
        self.channel_class = channel_class
        self.accepted = []
        self.create_socket()
        self.bind(("127.0.0.1", 0))
        self.listen(8)
        self.address = self.socket.getsockname()

    def handle_accepted(self, sock, address):
        self.accepted.append(self.channel_class(sock, self._map))


@pytest.fixture
def connect_into():
    """A function that makes a channel in a map, and returns it and the socket of its peer."""
    with contextlib.ExitStack() as peers:

        def make(map, channel_class=Chat, *args):
            ours, theirs = socket.socketpair()
            theirs.settimeout(PATIENCE)
            peers.enter_context(theirs)
            return channel_class(ours, map, *args), theirs

        yield make


@pytest.fixture
def connect(map, connect_into):
    """A function that makes a channel in the map of the test, and returns it and the socket of its peer."""
    return partial(connect_into, map)


@pytest.fixture
def run_on(map, run_python):
    """A function that runs a script, whose ``new_map()`` is as *map* of the test, on the same poller."""
    prologue = f"""
import asynchat_fast.eventloop.pollers as module
for name in module.pollers.keys() - {set(pollers)}:
    del module.pollers[name]
from {type(map).__module__} import {type(map).__name__} as new_map
"""
    return lambda script: run_python("-c", prologue + script)


@pytest.fixture
def one_pass(map):
    """A function that makes one pass, which waits for nothing."""
    return lambda: loop(timeout=0, map=map, count=1)


@pytest.fixture
def slow_round(map):
    """A function that makes passes until all channels of the map have been asked, whatever has happened.

    A timer is code of the program, after which all are; then the loop waits its whole timeout.
    """

    def run():
        call_later(0, lambda: None, map=map)
        loop(timeout=0, map=map, count=1)
        loop(timeout=2 * A_WHILE, map=map, count=1)

    return run


@pytest.fixture
def serve_until(map):
    """A function that makes passes until a condition holds; an event is to end each of them."""

    def run(condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "the condition has not become true"
            assert map, "the loop has ended before the condition became true"
            loop(timeout=PATIENCE, map=map, count=1)

    return run


def waits(map):
    """Tell whether passes come to wait, soon, rather than go round and round."""
    for _ in range(10):
        start = time.monotonic()
        loop(timeout=A_WHILE, map=map, count=1)
        if time.monotonic() - start > 0.8 * A_WHILE:
            return True
    return False


def fill(channel):
    """Send to the peer of *channel* all that fits on the way, and return it."""
    sent = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += b"x" * channel.socket.send(b"x" * 65536)
    return sent


def receive(sock, size):
    """Receive *size* bytes, or as many as come before the end."""
    received = bytearray()
    while len(received) < size and (data := sock.recv(size - len(received))):
        received += data
    return bytes(received)


class TestArguments:
    def test_are_those_of_asyncore(self):
        ours, theirs = (
            [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]
            for function in (loop, asyncore.loop)
        )
        assert ours == theirs

    def test_map_without_channels_is_not_served(self, map):
        assert loop(map=map) is None

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_count_is_of_passes(self, map, connect, count):
        class Eager(Foreign):
            def writable(self):
                return True

            def handle_write(self):
                self.events.append("write")

        channel, _ = connect(Eager)
        assert loop(map=map, count=count) is None
        assert channel.events == ["write"] * count

    def test_count_below_zero_is_no_pass(self, map, connect):
        channel, peer = connect()
        peer.sendall(b"line\n")
        loop(timeout=0, map=map, count=-1)
        assert channel.events == []

    def test_ends_when_the_map_is_empty(self, map, connect):
        first, peer = connect(Chat, lambda line: first.close())
        _, other_peer = connect()
        peer.sendall(b"line\n")
        other_peer.close()
        loop(map=map)
        assert not map

    def test_count_ends_with_the_map(self, map, connect):
        _, peer = connect()
        peer.close()
        loop(map=map, count=1000)
        assert not map

    @pytest.mark.parametrize("use_poll", [False, True])
    def test_all_by_position(self, map, connect, use_poll):
        channel, peer = connect()
        peer.sendall(b"line\n")
        loop(0, use_poll, map, 1)
        assert channel.events == [b"line"]

    def test_map_is_the_one_of_asyncore_unless_given(self, poller):
        assert type(asyncore.socket_map) is SocketMap
        assert not asyncore.socket_map
        ours, theirs = socket.socketpair()
        channel = Chat(ours, None)
        with theirs:
            theirs.sendall(b"line\n")
        loop()
        assert channel.events == [b"line", "close"]

    def test_timeout_is_the_seconds_of_a_pass(self, map, connect):
        connect()
        start = time.monotonic()
        loop(timeout=A_WHILE, map=map, count=2)
        assert 2 * A_WHILE * 0.8 < time.monotonic() - start < PATIENCE

    def test_timeout_zero_waits_for_nothing(self, map, connect):
        connect()
        start = time.monotonic()
        loop(timeout=0, map=map, count=50)
        assert time.monotonic() - start < PATIENCE

    def test_timeout_none_waits_for_an_event(self, map, connect):
        channel, peer = connect()
        peer.sendall(b"line\n")
        loop(timeout=None, map=map, count=1)
        assert channel.events == [b"line"]


class TestKindsOfDispatchers:
    def test_acceptor_and_its_channels(self, map, serve_until):
        acceptor = Acceptor(map)
        with socket.create_connection(acceptor.address, PATIENCE) as client:
            client.sendall(b"line\n")
            serve_until(lambda: acceptor.accepted and acceptor.accepted[0].events)
            (channel,) = acceptor.accepted
            assert channel.events == [b"line"]
            channel.push(b"reply\n")
            assert receive(client, 6) == b"reply\n"

    def test_acceptor_is_not_asked_to_write(self, map):
        Acceptor(map)
        assert waits(map)

    @pytest.mark.parametrize("channel_class", [Chat, Foreign])
    def test_outgoing_connection(self, map, serve_until, channel_class):
        acceptor = Acceptor(map)
        channel = channel_class(None, map)
        channel.create_socket()
        channel.connect(acceptor.address)
        serve_until(lambda: acceptor.accepted and channel.events)
        assert channel.events == ["connect"]
        assert channel.connected

    def test_data_pushed_before_the_connection_are_sent_after_it(self, map, serve_until):
        acceptor = Acceptor(map)
        channel = Chat(None, map)
        channel.create_socket()
        channel.push(b"line\n")
        channel.close_when_done()
        channel.connect(acceptor.address)
        serve_until(lambda: acceptor.accepted and "close" in acceptor.accepted[0].events)
        assert acceptor.accepted[0].events == [b"line", "close"]

    @pytest.mark.parametrize("channel_class", [Chat, Foreign])
    def test_refused_connection_is_an_error(self, map, serve_until, channel_class):
        class Refused(channel_class):
            def handle_error(self):
                self.events.append(sys.exc_info()[1].errno)
                self.close()

        with socket.create_server(("127.0.0.1", 0)) as nobody:
            address = nobody.getsockname()
        channel = Refused(None, map)
        channel.create_socket()
        try:
            channel.connect(address)
        except ConnectionRefusedError as error:  # some systems know at once
            pytest.skip(f"connect() itself says so here: {error}")
        serve_until(lambda: not map)
        assert channel.events == [errno.ECONNREFUSED]

    @posix_only
    def test_pipe(self, map, serve_until):
        class Reader(Noting, asyncore.file_dispatcher):
            handle_read = Foreign.handle_read
            writable = bool
            wants = sys.maxsize

        near, far = os.pipe()
        with open(near, "rb", 0) as file:
            reader = Reader(file, map)
        with open(far, "wb", 0) as file:
            file.write(b"pieces")
            serve_until(lambda: reader.events)
            assert waits(map)
        serve_until(lambda: not map)
        assert reader.events == [b"pieces", "close"]

    @posix_only
    def test_regular_file(self, map, tmp_path):
        class Reader(Noting, asyncore.file_dispatcher):
            handle_read = Foreign.handle_read
            writable = bool
            wants = sys.maxsize

        path = tmp_path / "file"
        path.write_bytes(b"x" * 100_000)
        with path.open("rb", 0) as file:
            reader = Reader(file, map)
        loop(map=map)
        assert reader.events == [b"x" * 65536, b"x" * 34464, "close"]

    @posix_only
    def test_regular_file_that_is_not_read_makes_no_haste(self, map, connect, tmp_path):
        class Reader(Noting, asyncore.file_dispatcher):
            readable = writable = bool

        with (tmp_path / "file").open("wb") as file:
            Reader(file, map)
        assert waits(map)

    def test_dispatcher_with_send(self, map, serve_until):
        class Sender(Noting, asyncore.dispatcher_with_send):
            pass

        ours, theirs = socket.socketpair()
        with theirs, ThreadPoolExecutor(1) as peer:
            theirs.settimeout(PATIENCE)
            channel = Sender(ours, map)
            channel.send(b"x" * 3_000_000)
            received = peer.submit(receive, theirs, 3_000_000)
            serve_until(lambda: not channel.out_buffer)
            assert received.result() == b"x" * 3_000_000
            assert waits(map)

    def test_an_object_that_is_no_dispatcher(self, map):
        class Bare:
            accepting = False
            read = 0

            def __init__(self, sock):
                self.socket = sock

            def readable(self):
                return True

            def writable(self):
                return False

            def handle_read_event(self):
                self.read += 1
                self.socket.recv(100)

        ours, theirs = socket.socketpair()
        with ours, theirs:
            bare = map[ours.fileno()] = Bare(ours)
            theirs.sendall(b"pieces")
            loop(timeout=PATIENCE, map=map, count=1)
            del map[ours.fileno()]
        assert bare.read == 1

    def test_foreign_dispatcher_beside_channels(self, connect, one_pass):
        pairs = [connect(channel_class) for channel_class in (Chat, Foreign, Chat, Foreign)]
        for _, peer in pairs:
            peer.sendall(b"line\n")
        one_pass()
        assert [channel.events for channel, _ in pairs] == [[b"line"], [b"line\n"]] * 2


class TestSeveralMaps:
    def test_each_loop_serves_its_own(self, map, connect_into, connect):
        other = type(map)()
        first, peer = connect()
        second, other_peer = connect_into(other)
        try:
            for sock in (peer, other_peer):
                sock.sendall(b"line\n")
            loop(timeout=PATIENCE, map=map, count=1)
            assert (first.events, second.events) == ([b"line"], [])
            loop(timeout=PATIENCE, map=other, count=1)
            assert (first.events, second.events) == ([b"line"], [b"line"])
        finally:
            asyncore.close_all(other)

    def test_channel_that_goes_to_another_map(self, map, connect):
        other = type(map)()
        channel, peer = connect()
        loop(timeout=0, map=map, count=1)
        channel.del_channel()
        channel._map = other
        channel.set_socket(channel.socket, other)
        channel.connected = True
        try:
            peer.sendall(b"line\n")
            loop(timeout=0, map=map, count=1)
            assert channel.events == []
            loop(timeout=PATIENCE, map=other, count=1)
            assert channel.events == [b"line"]
        finally:
            asyncore.close_all(other)

    def test_loop_of_another_map_in_a_callback(self, map, connect_into, connect):
        other = type(map)()
        inner, inner_peer = connect_into(other)
        outer, outer_peer = connect(Chat, lambda line: loop(timeout=PATIENCE, map=other, count=1))
        try:
            inner_peer.sendall(b"inner\n")
            outer_peer.sendall(b"outer\n")
            loop(timeout=PATIENCE, map=map, count=1)
            assert (outer.events, inner.events) == ([b"outer"], [b"inner"])
        finally:
            asyncore.close_all(other)


class TestNestedLoops:
    def test_one_pass_in_a_callback(self, map, connect, one_pass):
        def ask_the_other(line):
            if line == b"ask":
                other.push(b"question\n")
                assert receive(other_peer, 9) == b"question\n"
                other_peer.sendall(b"reply\n")
                loop(timeout=PATIENCE, map=map, count=1)
                assert other.events == [b"reply"]

        channel, peer = connect(Chat, ask_the_other)
        other, other_peer = connect()
        peer.sendall(b"ask\n")
        one_pass()
        assert channel.events == [b"ask"]
        peer.sendall(b"again\n")
        one_pass()
        assert channel.events == [b"ask", b"again"]

    def test_an_event_in_hand_is_not_dispatched_to_a_later_channel(self, map, connect, one_pass):
        """The nested pass registers a channel on a descriptor that the outer one has an event in hand for."""
        opened = []

        def reopen(line):
            if opened:
                return
            victim = next(channel for channel in channels if channel.events == [])
            descriptor = victim.socket.fileno()
            victim.close()
            opened.append(connect(Foreign)[0])
            if opened[0].socket.fileno() != descriptor:
                pytest.skip("this system does not give the same descriptor again")
            loop(timeout=0, map=map, count=1)

        pairs = [connect(Chat, reopen) for _ in range(2)]
        channels = [channel for channel, _ in pairs]
        for _, peer in pairs:
            peer.sendall(b"line\n")
        one_pass()
        assert opened[0].events == []
        assert waits(map)


class TestChangesInCallbacks:
    def test_channel_that_is_added_is_served(self, map, connect, serve_until):
        added = []
        _, peer = connect(Chat, lambda line: added.append(connect()))
        peer.sendall(b"line\n")
        serve_until(lambda: added)
        (channel, other_peer) = added[0]
        other_peer.sendall(b"line\n")
        serve_until(lambda: channel.events)

    def test_channel_that_is_closed_hears_nothing_more(self, map, connect, one_pass):
        channel, peer = connect(Foreign)
        channel.handle_read = channel.close
        peer.sendall(b"line\n")
        one_pass()
        peer.close()
        loop(timeout=0, map=map, count=3)
        assert channel.events == []
        assert not map

    @pytest.mark.parametrize("channel_class", [Chat, Foreign])
    def test_channel_that_another_takes_the_place_of(self, map, connect, one_pass, channel_class):
        """Some programs start TLS by another object over the same socket."""
        first, peer = connect()
        one_pass()
        second = channel_class(first.socket, map)
        peer.sendall(b"line\n")
        one_pass()
        assert first.events == []
        assert len(second.events) == 1
        assert len(map) == 1

    @pytest.mark.parametrize("channel_class", [Chat, Foreign])
    def test_descriptor_that_another_channel_gets(self, map, connect, serve_until, channel_class):
        successors = []

        def reopen(line):
            descriptor = first.socket.fileno()
            first.close()
            successors.append(connect(channel_class))
            if successors[0][0].socket.fileno() != descriptor:
                pytest.skip("this system does not give the same descriptor again")

        first, first_peer = connect(Chat, reopen)
        first_peer.sendall(b"line\n")
        serve_until(lambda: successors)
        ((second, second_peer),) = successors
        assert waits(map)
        second_peer.sendall(b"line\n")
        serve_until(lambda: second.events)
        assert first.events == [b"line"]

    @pytest.mark.parametrize("channel_class", [Chat, Foreign])
    def test_channel_that_is_closed_with_an_event_in_hand(self, map, connect, one_pass, channel_class):
        class Murderer(channel_class):
            def handle_read(self):
                super().handle_read()
                for channel in set(map.values()) - {self}:
                    channel.close()

        pairs = [connect(Murderer) for _ in range(4)]
        for _, peer in pairs:
            peer.sendall(b"line\n")
        one_pass()
        assert sorted(len(channel.events) for channel, _ in pairs) == [0, 0, 0, 1]

    def test_event_in_hand_is_not_for_the_new_owner_of_the_descriptor(self, map, connect, one_pass):
        opened = []

        class Replacing(Chat):
            def handle_read(self):
                super().handle_read()
                if not opened:
                    victim = next(channel for channel, _ in pairs if channel is not self)
                    descriptor = victim.socket.fileno()
                    victim.close()
                    opened.append(connect(Foreign)[0])
                    if opened[0].socket.fileno() != descriptor:
                        pytest.skip("this system does not give the same descriptor again")

        pairs = [connect(Replacing) for _ in range(2)]
        for _, peer in pairs:
            peer.sendall(b"line\n")
        loop(timeout=0, map=map, count=3)
        assert opened[0].events == []
        assert opened[0] in map.values()

    def test_channel_closed_in_its_own_readable(self, map, connect, one_pass):
        channel, _ = connect(Foreign)
        channel.readable = channel.close
        one_pass()
        assert not map

    def test_all_closed_at_once(self, map, connect):
        _, peer = connect(Chat, lambda line: asyncore.close_all(map))
        for _ in range(5):
            connect()
        peer.sendall(b"line\n")
        loop(map=map)
        assert not map


class TestWhatOneChannelDoesToAnother:
    """A chat room: the other has no event of its own, and has to be served all the same."""

    @pytest.fixture
    def act(self, connect, serve_until):
        """A function: act in the callback of one channel, on another whose interest the loop has asked for already."""

        def run(action):
            done = []
            channel, peer = connect(Chat, lambda line: done.append(action()))
            peer.sendall(b"line\n")
            serve_until(lambda: done)
            return channel

        return run

    def test_pushes_more_than_fits(self, map, connect, one_pass, serve_until, act):
        other, peer = connect()
        one_pass()
        with ThreadPoolExecutor(1) as reading:
            act(lambda: other.push(b"x" * 3_000_000))
            received = reading.submit(receive, peer, 3_000_000)
            serve_until(lambda: not len(other.producer_fifo))
            assert received.result() == b"x" * 3_000_000
        assert waits(map)

    def test_pushes_to_one_whose_peer_does_not_receive(self, map, connect, one_pass, serve_until, act):
        other, peer = connect()
        sent = fill(other)
        one_pass()
        act(lambda: other.push(b"line\n"))
        assert waits(map)
        assert receive(peer, len(sent)) == sent
        serve_until(lambda: not other.producer_fifo)
        assert receive(peer, 5) == b"line\n"
        assert waits(map)

    def test_appends_to_its_queue(self, connect, one_pass, act):
        other, peer = connect()
        one_pass()
        act(lambda: other.producer_fifo.append(b"line\n"))
        one_pass()
        assert receive(peer, 5) == b"line\n"

    def test_appends_to_its_queue_known_by_another_name(self, connect, one_pass, act):
        other, peer = connect()
        queue = other.producer_fifo
        one_pass()
        act(lambda: queue.append(b"line\n"))
        one_pass()
        peer.settimeout(A_WHILE)
        assert receive(peer, 5) == b"line\n"

    def test_replaces_its_queue(self, connect, one_pass, act):
        other, peer = connect()
        one_pass()
        act(lambda: setattr(other, "producer_fifo", deque([b"line\n"])))
        one_pass()
        assert receive(peer, 5) == b"line\n"

    def test_closes_it_when_done(self, connect, one_pass, act):
        other, peer = connect()
        one_pass()
        act(other.close_when_done)
        one_pass()
        assert other.events == ["close"]
        assert receive(peer, 1) == b""

    def test_discards_data_it_would_send(self, map, connect, one_pass, act):
        other, peer = connect()
        sent = fill(other)
        other.push(b"line\n")
        one_pass()
        act(other.discard_buffers)
        one_pass()
        assert receive(peer, len(sent)) == sent
        assert waits(map)

    def test_writes_to_a_foreign_dispatcher(self, connect, one_pass, act):
        other, peer = connect(Foreign)
        one_pass()
        act(lambda: setattr(other, "waiting", b"line\n"))
        one_pass()
        assert receive(peer, 5) == b"line\n"


class TestReadableAndWritable:
    """The loop follows readable() and writable() from the next pass on."""

    class Gated(Chat):
        open = True

        def readable(self):
            return self.open and super().readable()

    def test_overridden_on_the_class(self, connect, one_pass):
        channel, peer = connect(self.Gated)
        channel.open = False
        peer.sendall(b"line\n")
        one_pass()
        assert channel.events == []
        channel.open = True
        one_pass()
        assert channel.events == [b"line"]

    def test_overridden_on_the_class_writable_alone(self, connect, one_pass):
        class Patient(Chat):
            may_send = False

            def writable(self):
                return self.may_send and super().writable()

        channel, peer = connect(Patient)
        channel.producer_fifo.append(b"line\n")
        one_pass()
        assert len(channel.producer_fifo) == 1
        channel.may_send = True
        one_pass()
        assert receive(peer, 5) == b"line\n"

    def test_overridden_is_asked_once_a_pass(self, map, connect):
        """As on asyncore, and however often the slow round and an unused socket end the wait."""

        class Asked(Chat):
            asks = 0

            def readable(self):
                self.asks += 1
                return super().readable()

        channels = [connect(Asked)[0] for _ in range(70)]
        unused = Foreign(map=map)
        unused.create_socket()
        loop(timeout=0.3, map=map, count=1)
        most = 2 if isinstance(map, SocketMap) else 20  # the slow round asks each once more
        assert max(channel.asks for channel in channels) <= most

    def test_that_is_not_readable_makes_no_haste(self, map, connect):
        channel, peer = connect(self.Gated)
        channel.open = False
        peer.sendall(b"line\n")
        assert waits(map)

    def test_set_on_the_object_before_it_is_in_the_map(self, map, one_pass):
        ours, theirs = socket.socketpair()
        with theirs:
            channel = Chat(None, map)
            channel.readable = lambda: False
            channel.set_socket(ours)
            channel.connected = True
            theirs.sendall(b"line\n")
            one_pass()
            assert channel.events == []

    def test_set_on_the_object_before_any_loop(self, run_on):
        """readable() is set before any loop(), and the first loop() serves another map than the channel's."""
        ran = run_on(SET_BEFORE_ANY_LOOP)
        assert (ran.stdout, ran.stderr) == ("[]\n", "")

    def test_set_on_the_object_later(self, connect, one_pass, slow_round, serve_until):
        channel, peer = connect()
        one_pass()
        channel.readable = lambda: False
        slow_round()
        peer.sendall(b"line\n")
        one_pass()
        assert channel.events == []
        channel.readable = lambda: True
        serve_until(lambda: channel.events)

    def test_set_on_the_object_by_another_channel(self, connect, one_pass, slow_round, serve_until):
        channel, peer = connect()
        other, other_peer = connect(Chat, lambda line: setattr(channel, "readable", lambda: False))
        one_pass()
        other_peer.sendall(b"stop\n")
        serve_until(lambda: other.events)
        slow_round()
        peer.sendall(b"line\n")
        one_pass()
        assert channel.events == []

    def test_set_on_the_object_in_its_own_event_holds_at_once(self, connect, one_pass):
        channel, peer = connect(Chat, lambda line: setattr(channel, "readable", lambda: False))
        one_pass()
        for _ in range(2):
            peer.sendall(b"line\n")
            one_pass()
        assert channel.events == [b"line"]

    def test_another_class_set_on_the_object(self, connect, one_pass, slow_round):
        """The loop asks in each pass once it has noticed that the new class overrides readable()."""
        channel, peer = connect()
        one_pass()
        channel.__class__ = self.Gated
        slow_round()
        channel.open = False
        peer.sendall(b"line\n")
        one_pass()
        assert channel.events == []
        channel.open = True
        one_pass()
        assert channel.events == [b"line"]

    def test_deleted_from_the_object(self, connect, serve_until, slow_round):
        channel, peer = connect()
        channel.readable = lambda: False
        peer.sendall(b"line\n")
        slow_round()
        assert channel.events == []
        del channel.readable
        serve_until(lambda: channel.events)

    def test_writable_set_on_the_object(self, connect, one_pass, slow_round):
        channel, peer = connect()
        one_pass()
        channel.writable = lambda: False
        slow_round()
        channel.producer_fifo.append(b"line\n")
        one_pass()
        assert len(channel.producer_fifo) == 1
        del channel.writable
        one_pass()
        assert receive(peer, 5) == b"line\n"

    @pytest.mark.parametrize("of", ["class", "base", "async_chat"])
    def test_patched_on_a_class_later(self, connect, one_pass, monkeypatch, of):
        class Base(Chat):
            pass

        class Derived(Base):
            pass

        channel, peer = connect(Derived)
        one_pass()
        patched = {"class": Derived, "base": Base, "async_chat": async_chat}[of]
        with monkeypatch.context() as patch:
            patch.setattr(patched, "readable", lambda self: False)
            peer.sendall(b"line\n")
            one_pass()
            assert channel.events == []
        one_pass()
        assert channel.events == [b"line"]

    def test_patched_on_async_chat_before_any_loop(self, run_on):
        ran = run_on(PATCHED_BEFORE_ANY_LOOP)
        assert (ran.stdout, ran.stderr) == ("[]\n[b'line']\n", "")

    def test_called_as_functions_of_the_class(self, connect, one_pass):
        channel, _ = connect()
        one_pass()
        assert async_chat.readable(channel) is True
        assert async_chat.writable(channel) is False

    def test_reading_pauses_above_the_high_water(self, map, connect, one_pass, serve_until):
        channel, peer = connect()
        one_pass()
        sent = fill(channel)
        channel.output_high_water = 10
        channel.push(b"y" * 11)
        peer.sendall(b"line\n")
        assert waits(map)
        assert channel.events == []
        assert receive(peer, len(sent)) == sent
        serve_until(lambda: channel.events)
        assert receive(peer, 11) == b"y" * 11


SET_BEFORE_ANY_LOOP = """
import socket
from asynchat_fast import async_chat, loop
first, second = new_map(), new_map()
pairs = [socket.socketpair() for _ in range(2)]
others = [async_chat(pair[0], map) for pair, map in zip(pairs, (first, second))]
seen = []
others[1].readable = lambda: False
others[1].handle_read = lambda: seen.append("read")
loop(timeout=0, map=first, count=1)
pairs[1][1].sendall(b"line")
loop(timeout=0, map=second, count=2)
print(seen)
"""

PATCHED_BEFORE_ANY_LOOP = """
import socket
from asynchat_fast import async_chat, loop
is_open = []
async_chat.readable = lambda self: bool(is_open)
ours, theirs = socket.socketpair()
map = new_map()
channel = async_chat(ours, map)
seen = []
channel.handle_read = lambda: seen.append(channel.recv(100))
theirs.sendall(b"line")
loop(timeout=0, map=map, count=2)
print(seen)
is_open.append(True)
loop(timeout=0, map=map, count=1)
print(seen)
"""


class TestEvents:
    def test_data_out_of_band(self, map, serve_until):
        if "kqueue" in pollers:
            pytest.skip("kqueue tells nothing of urgent data")
        acceptor = Acceptor(map)
        with socket.create_connection(acceptor.address, PATIENCE) as client:
            serve_until(lambda: acceptor.accepted)
            client.send(b"!", socket.MSG_OOB)
            serve_until(lambda: acceptor.accepted[0].events)
        assert set(acceptor.accepted[0].events) == {"expt"}

    @pytest.mark.parametrize("where", ["handle_read", "handle_write"])
    def test_an_error_of_a_channel_goes_to_its_handle_error(self, connect, one_pass, where):
        class Failing(Foreign):
            def fail(self):
                raise ValueError("a mistake")

            def handle_error(self):
                self.events.append(repr(sys.exc_info()[1]))
                self.handle_close()

        setattr(Failing, where, Failing.fail)
        channel, peer = connect(Failing)
        peer.sendall(b"line\n")
        channel.waiting = b"line\n"
        channel.wants *= where == "handle_read"
        one_pass()
        assert channel.events == ["ValueError('a mistake')", "close"]

    @pytest.mark.parametrize("number", [errno.ECONNRESET, errno.EPIPE, errno.EIO])
    @pytest.mark.parametrize("use_poll", [False, True])
    def test_error_that_a_handler_raises(self, map, connect, number, use_poll):
        """asyncore's poll2() takes some errors for the end of the connection, its poll() none."""

        class Failing(Foreign):
            def handle_read(self):
                raise OSError(number, "failed")

            def handle_error(self):
                self.events.append("error")
                self.handle_close()

        channel, peer = connect(Failing)
        peer.sendall(b"line\n")
        loop(0, use_poll, map, 1)
        closes = use_poll and number != errno.EIO and hasattr(select, "poll")
        assert channel.events == (["close"] if closes else ["error", "close"])

    @pytest.mark.parametrize("ending", [asyncore.ExitNow, KeyboardInterrupt, SystemExit])
    def test_an_error_that_ends_the_loop_can_be_followed_by_another_loop(self, map, connect, ending):
        def end(line):
            if line == b"end":
                raise ending

        pairs = [connect(Chat, end) for _ in range(3)]
        for _, peer in pairs:
            peer.sendall(b"end\nline\n")
        for _ in pairs:
            with pytest.raises(ending):
                loop(timeout=PATIENCE, map=map)
        for channel, peer in pairs:
            peer.close()
            assert channel.events == [b"end"]
        loop(timeout=PATIENCE, map=map)
        assert [set(channel.events) for channel, _ in pairs] == [{b"end", b"line", "close"}] * 3

    @pytest.mark.parametrize("where", ["readable", "handle_close"])
    def test_an_error_that_ends_the_loop_elsewhere_forgets_no_channel(self, map, connect, where):
        class Ending(Foreign):
            def end(self):
                delattr(Ending, where)
                raise asyncore.ExitNow

        pairs = [connect() for _ in range(5)]
        ending, ending_peer = connect(Ending)
        pairs += [connect() for _ in range(5)]
        setattr(Ending, where, Ending.end)
        ending_peer.close()
        with pytest.raises(asyncore.ExitNow):
            loop(timeout=PATIENCE, map=map)
        for _, peer in pairs:
            peer.close()
        loop(timeout=PATIENCE, map=map)
        assert [channel.events for channel, _ in pairs] == [["close"]] * 10
        assert ending.events == ["close"]

    @pytest.mark.parametrize("family", ["unix", "tcp"])
    @pytest.mark.parametrize("paused", [False, True])
    def test_no_data_before_the_end_are_lost(self, map, serve_until, one_pass, family, paused):
        class Small(TestReadableAndWritable.Gated):
            ac_in_buffer_size = 1000
            open = not paused

        lines = b"".join(b"%d\n" % number for number in range(10_000))
        if family == "unix":
            ours, theirs = socket.socketpair()
            channel = Small(ours, map)
        else:
            acceptor = Acceptor(map, Small)
            theirs = socket.create_connection(acceptor.address, PATIENCE)
            serve_until(lambda: acceptor.accepted)
            (channel,) = acceptor.accepted
        with theirs:
            theirs.sendall(lines)
        for _ in range(3):
            one_pass()
        if paused:
            assert channel.events == []
            channel.open = True
        serve_until(lambda: channel.events[-1:] == ["close"])
        assert b"".join(line + b"\n" for line in channel.events[:-1]) == lines

    def test_peer_that_goes_while_only_writing_is_wanted(self, connect, serve_until):
        class Deaf(Chat):
            def readable(self):
                return False

        channel, peer = connect(Deaf)
        fill(channel)
        channel.push(b"line\n")
        peer.close()
        serve_until(lambda: channel.events)
        assert channel.events == ["close"]

    def test_half_closed_peer_gets_its_reply(self, connect, serve_until):
        channel, peer = connect(Chat, lambda line: channel.push(line + b" to you, too\n"))
        peer.sendall(b"hello\n")
        peer.shutdown(socket.SHUT_WR)
        serve_until(lambda: "close" in channel.events)
        assert receive(peer, 100) == b"hello to you, too\n"

    def test_half_closed_peer_whose_channel_is_not_readable(self, map, connect):
        class Deaf(Chat):
            def readable(self):
                return False

        channel, peer = connect(Deaf)
        peer.shutdown(socket.SHUT_WR)
        assert waits(map)
        channel.push(b"line\n")
        assert receive(peer, 5) == b"line\n"
        assert waits(map)

    def test_closed_peer_whose_channel_wants_nothing(self, map, connect):
        class Deaf(Foreign):
            def readable(self):
                return False

        channel, peer = connect(Deaf)
        peer.close()
        assert waits(map)
        assert channel.events == []


class TestOneLoop:
    """State that persists from one pass to the next of the same call, also with a plain dict."""

    @pytest.fixture
    def play(self, map):
        """A function that runs the steps of a test, a generator, between the passes of one loop().

        ``yield`` gives them the seconds that the pass has taken.
        """

        class Stage:
            accepting = False

            def __init__(self, steps):
                self.steps = steps
                self.since = None

            def readable(self):
                now = time.monotonic()
                try:
                    self.steps.send(None if self.since is None else now - self.since)
                except StopIteration:
                    del map[-1]
                    raise asyncore.ExitNow from None
                self.since = now
                return False

            def writable(self):
                return False

        def run(steps):
            map[-1] = Stage(steps)
            with pytest.raises(asyncore.ExitNow):
                loop(timeout=A_WHILE, map=map)

        return run

    @staticmethod
    def until(condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "the condition has not become true"
            yield

    @staticmethod
    def quiet():
        """Pass until a pass waits for its timeout."""
        for _ in range(10):
            if (yield) > 0.8 * A_WHILE:
                return
        pytest.fail("passes do not wait")

    @pytest.mark.parametrize("channel_class", [Chat, Foreign])
    @pytest.mark.parametrize("by", ["close", "socket.close"])
    def test_channel_that_connects_anew_on_the_same_descriptor(self, connect, play, channel_class, by):
        """A client that connects again after a failure: the same object, the same number, another socket."""

        def steps():
            channel, _ = connect(channel_class)
            yield from self.quiet()
            descriptor = channel.socket.fileno()
            channel.close() if by == "close" else channel.socket.close()
            ours, theirs = socket.socketpair()
            with theirs:
                if ours.fileno() != descriptor:
                    pytest.skip("this system does not give the same descriptor again")
                ours.setblocking(False)
                channel.set_socket(ours)
                channel.connected = True
                yield from self.quiet()
                theirs.sendall(b"line\n")
                yield from self.until(lambda: channel.events)

        play(steps())

    @posix_only
    def test_closed_channel_whose_socket_another_holds(self, connect, play):
        """A process that was started meanwhile, or a duplicate: the system keeps the socket open."""

        def steps():
            channel, peer = connect()
            other, other_peer = connect()
            yield from self.quiet()
            with channel.socket.dup():
                channel.close()
                peer.sendall(b"line\n")
                yield from self.quiet()
                other_peer.sendall(b"line\n")
                yield from self.until(lambda: other.events)
            assert channel.events == []

        play(steps())

    def test_descriptor_goes_from_one_channel_to_another(self, connect, play):
        def steps():
            for channel_class in (Chat, Foreign) * 3:
                channel, peer = connect(channel_class)
                yield from self.quiet()
                peer.sendall(b"line\n")
                yield from self.until(lambda channel=channel: channel.events)
                channel.close()
                peer.close()

        play(steps())


class TestDescriptorsClosedBehindTheChannel:
    @pytest.mark.parametrize("channel_class", [Chat, Foreign])
    def test_before_they_are_waited_for(self, map, connect, serve_until, one_pass, channel_class):
        other, peer = connect()
        one_pass()
        channel, _ = connect(channel_class)
        channel.socket.close()
        serve_until(lambda: channel.events)
        assert channel.events == ["close"]
        assert waits(map)
        peer.sendall(b"line\n")
        serve_until(lambda: other.events)

    @pytest.mark.parametrize("count", [1, 3])
    def test_before_the_first_loop(self, map, connect, one_pass, count):
        """The loop opens descriptors of its own, which must not get the numbers that are still in the map."""
        channels = [connect()[0] for _ in range(count)]
        for channel in channels:
            channel.socket.close()
        one_pass()
        assert [channel.events for channel in channels] == [["close"]] * count
        assert not map

    @pytest.mark.parametrize("channel_class", [Chat, Foreign])
    def test_while_waited_for(self, map, connect, serve_until, one_pass, channel_class):
        channel, _ = connect(channel_class)
        other, peer = connect()
        one_pass()
        channel.socket.close()
        assert waits(map)
        peer.sendall(b"line\n")
        serve_until(lambda: other.events)
        assert channel.events in (["close"], [])

    def test_push_finds_out(self, map, connect, one_pass):
        channel, _ = connect()
        connect()
        one_pass()
        channel.socket.close()
        with contextlib.suppress(OSError):
            channel.push(b"line\n")
        one_pass()
        assert channel.events == ["close"]
        assert waits(map)

    def test_while_more_is_waited_for(self, map, connect, one_pass, serve_until):
        channel, _ = connect(Foreign)
        connect()
        one_pass()
        channel.socket.close()
        channel.waiting = b"line\n"
        serve_until(lambda: channel.events)
        assert channel.events == ["close"]
        assert waits(map)

    def test_all_of_them(self, map, connect, one_pass):
        channels = [connect()[0] for _ in range(3)]
        one_pass()
        for channel in channels:
            channel.socket.close()
        assert waits(map) or not map

    def test_descriptor_that_a_channel_gets(self, map, connect, one_pass, serve_until):
        channel, _ = connect()
        one_pass()
        descriptor = channel.socket.fileno()
        channel.socket.close()
        other, peer = connect()
        if other.socket.fileno() != descriptor:
            pytest.skip("this system does not give the same descriptor again")
        assert map[descriptor] is other
        peer.sendall(b"line\n")
        serve_until(lambda: other.events)
        assert channel.events == []


@posix_only
class TestExhaustion:
    def test_acceptor_backs_off_and_survives(self, run_on):
        ran = run_on(EXHAUSTED)
        assert ran.stderr == ""
        said, *rest = ran.stdout.splitlines()
        assert "Too many open files" in said
        assert rest == ["passes while exhausted: few", "accepted later: True"]


EXHAUSTED = """
import os, resource, socket, time
from asynchat_fast import asyncore, loop
from asynchat_fast.eventloop import exhaustion

exhaustion.PAUSE = 0.4  # so as not to take long

class Acceptor(asyncore.dispatcher):
    accepted = tries = 0

    def handle_accept(self):
        self.tries += 1
        super().handle_accept()

    def handle_accepted(self, sock, address):
        self.accepted += 1
        sock.close()

map = new_map()
acceptor = Acceptor(map=map)
acceptor.create_socket()
acceptor.bind(("127.0.0.1", 0))
acceptor.listen(5)
loop(timeout=0, map=map, count=1)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
client = socket.socket()
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
if type(map) is dict:  # a loop of such a map needs descriptors itself
    for _ in range(4):
        os.close(held.pop())
client.connect(acceptor.socket.getsockname())
if type(map) is dict:
    original = acceptor.accept
    def accept():
        spare = []
        try:
            while True:
                spare.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        try:
            return original()
        finally:
            for descriptor in spare:
                os.close(descriptor)
    acceptor.accept = accept
deadline = time.monotonic() + 0.3
while time.monotonic() < deadline:
    loop(timeout=0.05, map=map, count=1)
print("passes while exhausted:", "few" if acceptor.tries < 3 else acceptor.tries)
for descriptor in held:
    os.close(descriptor)
acceptor.__dict__.pop("accept", None)
deadline = time.monotonic() + 10
while not acceptor.accepted and time.monotonic() < deadline:
    loop(timeout=10, map=map, count=1)
print("accepted later:", acceptor.accepted == 1)
"""


class TestOtherThreads:
    @pytest.fixture
    def served(self, socket_map, connect_into):
        """A channel and its peer, served by a loop in a thread, whose timeout is far beyond a test's patience."""
        channel, peer = connect_into(socket_map)
        connect_into(socket_map)  # keeps the map from being empty
        thread = threading.Thread(target=loop, kwargs={"timeout": 100 * PATIENCE, "map": socket_map}, daemon=True)
        thread.start()
        yield channel, peer
        for each in list(socket_map.values()):
            each.close()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "closing the last channel has not ended the loop"

    def test_push_with_the_way_blocked(self, served):
        channel, peer = served
        sent = fill(channel)
        channel.push(b"line\n")
        assert receive(peer, len(sent) + 5) == sent + b"line\n"

    def test_push_with_producer_that_needs_many_sends(self, served):
        channel, peer = served
        for _ in range(20):
            channel.push_with_producer(simple_producer(b"line\n" * 20, 5))
            assert receive(peer, 100) == b"line\n" * 20

    def test_close_when_done(self, served):
        channel, peer = served
        channel.close_when_done()
        assert receive(peer, 1) == b""

    def test_channels_are_added_and_closed(self, served, socket_map, connect_into):
        for _ in range(20):
            arrived = threading.Event()
            channel, peer = connect_into(socket_map, Chat, lambda line, arrived=arrived: arrived.set())
            peer.sendall(b"line\n")
            assert arrived.wait(PATIENCE)
            channel.close()

    def test_readable_is_rebound(self, served, socket_map):
        channel, peer = served
        arrived = threading.Event()
        channel.on_line = lambda line: arrived.set()
        for readable in (False, True):
            channel.readable = lambda readable=readable: readable
            socket_map.touch(channel._fileno)
        peer.sendall(b"line\n")
        assert arrived.wait(PATIENCE)

    def test_many_at_once(self, served, socket_map, connect_into):
        def chat(number):
            for _ in range(30):
                channel, peer = connect_into(socket_map)
                channel.push_with_producer(simple_producer(b"line\n" * 2, 5))
                received = receive(peer, 10)
                channel.close()
                peer.close()
                if received != b"line\n" * 2:
                    return received
            return None

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(chat, range(4))) == [None] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
class TestFork:
    def test_child_that_closes_inherited_descriptors(self, map, connect, one_pass, serve_until):
        pairs = [connect() for _ in range(3)]
        one_pass()
        child = os.fork()
        if not child:
            try:
                asyncore.close_all(map)
                loop(map=map)
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        for channel, peer in pairs:
            peer.sendall(b"line\n")
            serve_until(lambda channel=channel: channel.events)
        assert waits(map)

    def test_child_in_a_callback_serves_and_the_parent_goes_on(self, map, connect, serve_until):
        """The way of a server that forks for each connection."""
        children = []

        def fork(line):
            if line != b"fork":
                return
            child = os.fork()
            if child:
                children.append(child)
                channel.close()
                return
            try:
                idle.close()
                channel.push(b"from the child\n")
                loop(timeout=PATIENCE, map=map, count=1)
                assert channel.events == [b"fork", b"line"]
                channel.push(b"heard\n")
            finally:
                os._exit(0)

        idle, idle_peer = connect()
        channel, peer = connect(Chat, fork)
        peer.sendall(b"fork\n")
        serve_until(lambda: children)
        assert receive(peer, 15) == b"from the child\n"
        peer.sendall(b"line\n")
        assert receive(peer, 6) == b"heard\n"
        os.waitpid(children[0], 0)
        assert waits(map)
        idle_peer.sendall(b"line\n")
        serve_until(lambda: idle.events)


@needs_proc
class TestResources:
    @pytest.fixture
    def descriptors(self):
        gc.collect()
        return lambda: sorted(os.listdir("/proc/self/fd"))

    def test_loop_that_ended_keeps_no_descriptors(self, map, descriptors):
        before = descriptors()
        for _ in range(3):
            ours, theirs = socket.socketpair()
            channel = Chat(ours, map)
            theirs.sendall(b"line\n")
            theirs.close()
            loop(map=map)
            assert channel.events == [b"line", "close"]
        assert descriptors() == before

    def test_loop_that_raised_keeps_no_descriptors(self, map, descriptors):
        def end(line):
            raise asyncore.ExitNow

        before = descriptors()
        ours, theirs = socket.socketpair()
        with theirs:
            channel = Chat(ours, map, end)
            theirs.sendall(b"line\n")
            with pytest.raises(asyncore.ExitNow):
                loop(map=map)
            channel.close()
        assert descriptors() == before

    def test_loop_that_is_left_keeps_no_descriptors_once_the_channels_are_closed(self, map, descriptors):
        before = descriptors()
        channels = [Chat(ours, map) for ours, _ in [socket.socketpair(), socket.socketpair()]]
        loop(timeout=0, map=map, count=1)
        for channel in channels:
            channel.close()
        assert descriptors() == before
        ours, theirs = socket.socketpair()
        channel = Chat(ours, map)
        theirs.sendall(b"line\n")
        theirs.close()
        loop(map=map)
        assert channel.events == [b"line", "close"]
        assert descriptors() == before

    def test_map_that_is_let_go_keeps_no_descriptors(self, poller, descriptors):
        before = descriptors()
        for map_class in (SocketMap, dict):
            map = map_class()
            ours, theirs = socket.socketpair()
            with theirs:
                channel = Chat(ours, map)
                loop(timeout=0, map=map, count=1)
                channel.close()
            del channel, map
        gc.collect()
        assert descriptors() == before

    def test_maps_are_not_kept_alive(self, poller):
        class Witness:
            pass

        ours, theirs = socket.socketpair()
        with theirs:
            map = {}
            channel = Chat(ours, map)
            loop(timeout=0, map=map, count=1)
            channel.close()
            map["witness"] = Witness()
        del map, channel
        gc.collect()
        assert not [each for each in gc.get_objects() if type(each) is Witness]


@posix_only
class TestManyConnections:
    def test_descriptors_that_select_cannot_serve(self, run_on):
        if [*pollers] == ["select"]:
            pytest.skip("select() itself ends at descriptor 1,024")
        ran = run_on(MANY)
        if ran.stdout.startswith("too few"):
            pytest.skip(f"RLIMIT_NOFILE is too low: {ran.stdout}")
        assert (ran.stdout, ran.stderr) == ("all served, none else called\n", "")


MANY = """
import resource, socket
from asynchat_fast import async_chat, loop
_, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
limit = 5_100 if limit == resource.RLIM_INFINITY else min(limit, 5_100)
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
size = (limit - 100) // 2
if size < 1500:
    raise SystemExit(f"too few descriptors: {limit}")

class Chat(async_chat):
    calls = 0

    def collect_incoming_data(self, data):
        Chat.calls += 1

    def found_terminator(self):
        self.push(b"+PONG\\r\\n")

map = new_map()
pairs = [socket.socketpair() for _ in range(size)]
for ours, _ in pairs:
    Chat(ours, map).set_terminator(b"\\r\\n")
active = [pairs[number][1] for number in (0, 700, size - 1)]
for _ in range(3):
    for peer in active:
        peer.sendall(b"PING\\r\\n")
    for peer in active:
        peer.setblocking(False)
        while True:
            try:
                reply = peer.recv(100)
                break
            except BlockingIOError:
                loop(timeout=10, map=map, count=1)
        assert reply == b"+PONG\\r\\n", reply
        peer.setblocking(True)
assert Chat.calls == 9, Chat.calls
print("all served, none else called")
"""


SUITES = """
import json, sys, unittest, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import asyncore
if sys.argv[1:]:
    from asynchat_fast import loop
    from asynchat_fast.eventloop.pollers import pollers
    for name in pollers.keys() - set(sys.argv[1:]):
        del pollers[name]
    asyncore.loop = loop

class Passed(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed = []

    def addSuccess(self, test):
        self.passed.append(test.id())

result = Passed()
unittest.defaultTestLoader.loadTestsFromNames(["test.test_asyncore", "test.test_asynchat"]).run(result)
failed = {test.id(): trace for test, trace in result.errors + result.failures}
print(json.dumps({"passed": result.passed, "failed": failed}))
"""


@pytest.fixture(scope="module")
def suites(tmp_path_factory):
    """The tests of the interpreter's suites that passed and that failed, by poller; by None on asyncore's loop."""
    try:
        shipped = importlib.util.find_spec("test.test_asyncore")
    except ModuleNotFoundError:
        shipped = None
    if not shipped:
        pytest.skip("this Python ships no suites of asyncore and asynchat")
    path = str(Path(sys.modules["asynchat_fast"].__file__).parents[1])
    processes = {
        poller: subprocess.Popen(
            [sys.executable, "-c", SUITES, *filter(None, [poller])],
            cwd=tmp_path_factory.mktemp("suites"),
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for poller in [None, *pollers]
    }
    return {poller: json.loads(process.communicate(timeout=60)[0]) for poller, process in processes.items()}


@pytest.mark.parametrize("name", list(pollers))
def test_interpreters_suites_pass_as_on_asyncore(suites, name):
    """The suites test the interpreter's own asyncore and asynchat; only the loop is ours."""
    expected = set(suites[None]["passed"])
    assert len(expected) > 100
    lost = expected - set(suites[name]["passed"])
    assert not lost, "\n".join([*sorted(lost), *suites[name]["failed"].values()])
