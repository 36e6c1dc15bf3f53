"""chat_client: connecting, the loss of a connection, what is sent over the next, and the end; on all loops."""

import asyncio
import contextlib
import errno
import gc
import logging
import os
import random
import socket
import ssl
import struct
import sys
import threading
import time
import weakref
from types import SimpleNamespace

import pytest

import asynchat_fast
from asynchat_fast import aio, async_chat, asyncore, chat_client, client_attempt, file_producer, simple_producer
from asynchat_fast.client import _Pauses
from asynchat_fast.client_attempt import _interleaved
from asynchat_fast.client_queue import WholeQueue, drop_begun
from asynchat_fast.conversation import Conversation
from asynchat_fast.tls_carrier import Carrier

PATIENCE = 20  # seconds, for what takes milliseconds unless it hangs
SOON = (0.01, 0.02)  # seconds between attempts
BIG = bytes(range(256)) * (1 << 16)  # 16 MiB: more than the sockets of both sides hold

posix = pytest.mark.skipif(os.name == "nt", reason="Windows answers for a full backlog")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux is silent to those beyond a full backlog")
unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets")


class Loop:
    """A loop, and a map of its own that it serves."""

    def __init__(self, run, use_poll, map):
        self.map = map
        self._run = run
        self._use_poll = use_poll

    def run_pass(self, timeout=0.02):
        self._run(timeout, self._use_poll, self.map, 1)

    def until(self, condition, timeout=0.02):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "the condition has not become true"
            self.run_pass(timeout)

    def close(self):
        asyncore.close_all(self.map, ignore_all=True)


class EmbeddedLoop(Loop):
    """One that runs within asyncio's."""

    def __init__(self, map):
        super().__init__(None, False, map)
        self.loop = asyncio.SelectorEventLoop()
        self.embedded = aio.embedded(map)
        self.loop.run_until_complete(self.embedded.__aenter__())

    def run_pass(self, timeout=0.02):
        self.loop.run_until_complete(asyncio.sleep(min(timeout, 0.001)))

    def close(self):
        self.loop.run_until_complete(self.embedded.__aexit__())
        self.loop.close()
        super().close()


LOOPS = {
    "loop": lambda: Loop(asynchat_fast.loop, False, asynchat_fast.SocketMap()),
    "loop as poll": lambda: Loop(asynchat_fast.loop, True, asynchat_fast.SocketMap()),
    "asyncore": lambda: Loop(asyncore.loop, False, {}),
    "asyncore by poll": lambda: Loop(asyncore.loop, True, asynchat_fast.SocketMap()),
    "embedded": lambda: EmbeddedLoop(asynchat_fast.SocketMap()),
}


@pytest.fixture(params=LOOPS)
def loop(request):
    made = LOOPS[request.param]()
    yield made
    made.close()


@pytest.fixture
def our_loop():
    made = LOOPS["loop"]()
    yield made
    made.close()


class Lines(async_chat):
    """Notes what it is told."""

    ac_logger = logging.getLogger("lines")
    client = None

    def __init__(self, *args):
        super().__init__()
        self.args = args
        self.told = []
        self.lines = []
        self.errors = []
        self.set_terminator(b"\n")

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        line = self._get_data()
        self.lines.append(line)
        if line == b"raise":
            raise ValueError(line)

    def handle_connect(self):
        self.told.append("connect")

    def handle_tls(self):
        self.told.append("tls")

    def handle_close(self):
        self.told.append("close")
        super().handle_close()

    def handle_error(self):
        self.told.append("error")
        super().handle_error()

    def handle_connect_failed(self, error):
        self.told.append("failed")
        self.errors.append(error)


class Peer:
    """A server that does what a test says: it listens, but accepts when it is told to."""

    def __init__(self, loop, host="127.0.0.1", listens=True):
        self.loop = loop
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # of those accepted, too
        self.sock.bind((host, 0))
        self.address = self.sock.getsockname()
        self.sock.settimeout(PATIENCE)
        self.open = []
        if listens:
            self.sock.listen()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for sock in (self.sock, *self.open):
            sock.close()

    def accept(self):
        """Return the next connection, once the client has begun it."""
        self.sock.setblocking(False)
        while True:
            with contextlib.suppress(BlockingIOError):
                sock, _ = self.sock.accept()
                break
            self.loop.run_pass()
        sock.setblocking(False)
        self.open.append(sock)
        return sock

    def received(self, sock, count):
        """Return *count* bytes that come from the client, once they have."""
        got = b""

        def receive():
            nonlocal got
            with contextlib.suppress(BlockingIOError):
                data = sock.recv(min(count - len(got), 1 << 16))
                assert data, f"the client has closed after {got[:100]!r}"
                got += data
            return len(got) == count

        self.loop.until(receive, 0)
        return got

    def ended(self, sock):
        """Return what still comes before the client closes."""
        got = bytearray()

        def receive():
            with contextlib.suppress(BlockingIOError):
                data = sock.recv(1 << 16)
                got.extend(data)
                return not data

        self.loop.until(receive, 0)
        return bytes(got)


@pytest.fixture
def peer(loop):
    with Peer(loop) as peer:
        yield peer


@pytest.fixture
def our_peer(our_loop):
    with Peer(our_loop) as peer:
        yield peer


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def client_of(peer, channel_class=Lines, *args, **options):
    options = {"retry": SOON, "map": peer.loop.map} | options
    client = chat_client(peer.address, channel_class, *args, **options)
    client.channel.client = client
    return client


def connected(client, peer):
    """Return the peer's end of the connection of *client*, once that stands."""
    sock = peer.accept()
    peer.loop.until(lambda: client.state == "connected" and client.channel.connected)
    return sock


def lose(client, peer, sock):
    """Close *sock*, the peer's end of the connection, and wait until the client has noticed."""
    losses = client.channel.told.count("close")
    sock.close()
    peer.loop.until(lambda: client.channel.told.count("close") > losses)


def is_bare(channel):
    """Tell whether *channel* is as if there had never been a client."""
    return not {"close", "close_when_done", "handle_close", "handle_error"} & set(vars(channel))


class TestComingBack:
    def test_the_channel_is_the_same_at_each_connection(self, loop, peer):
        client = client_of(peer, Lines, 1, 2)
        channel = client.channel
        assert client.state == "connecting"
        assert channel.args == (1, 2)
        for number in range(1, 4):
            sock = connected(client, peer)
            channel.push(b"ping")
            assert peer.received(sock, 4) == b"ping"
            sock.send(b"pong\n")
            loop.until(lambda number=number: len(channel.lines) == number)
            sock.close()
            loop.until(lambda number=number: channel.told.count("close") == number)
        connected(client, peer)
        assert client.channel is channel
        assert channel.told == ["connect", "close"] * 3 + ["connect"]

    def test_the_pass_that_finds_the_loss_waits_for_no_timeout(self, loop, peer):
        """The pauses are as long as they are to be, whatever the timeout of the loop."""
        client = client_of(peer)
        for number in range(1, 4):
            sock = peer.accept()
            sock.close()
            loop.until(lambda number=number: client.channel.told.count("close") == number, timeout=30)
        loop.until(lambda: client.state == "connected", timeout=30)

    def test_a_loop_takes_over_from_another(self):
        """asyncore's has no timers, and a SocketMap stays registered after loop()."""
        loop = LOOPS["loop"]()
        with Peer(loop) as peer, contextlib.closing(loop):
            client = client_of(peer)
            sock = connected(client, peer)
            loop._run = asyncore.loop
            lose(client, peer, sock)
            sock = connected(client, peer)
            loop._run = asynchat_fast.loop
            lose(client, peer, sock)
            connected(client, peer)

    def test_no_limit_is_infinite_seconds(self, loop, monkeypatch):
        failures = []
        monkeypatch.setattr(threading, "excepthook", failures.append)
        with Peer(loop, listens=False) as peer:
            client = client_of(peer, retry=(1e-3, float("inf")), connect_timeout=float("inf"))
            loop.until(lambda: len(client.channel.errors) >= 2 and client.state == "waiting")
            client.stop()
        assert not failures

    def test_without_threads_for_it_asyncores_loop_is_late_and_goes_on(self, monkeypatch):
        def start(timer):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Timer, "start", start)
        loop = LOOPS["asyncore"]()
        with Peer(loop) as peer, contextlib.closing(loop):
            client = client_of(peer)
            lose(client, peer, connected(client, peer))
            connected(client, peer)

    def test_a_reset_is_a_loss(self, loop, peer):
        client = client_of(peer)
        reset(connected(client, peer))
        loop.until(lambda: "close" in client.channel.told)
        connected(client, peer)
        assert client.channel.told in (["connect", "close", "connect"], ["connect", "error", "close", "connect"])

    def test_input_begins_anew(self, loop, peer):
        client = client_of(peer)
        sock = connected(client, peer)
        client.channel.set_terminator(b"\r\n.\r\n")
        sock.send(b"half\r\n.")
        loop.until(lambda: client.channel.ac_in_buffer)
        lose(client, peer, sock)
        assert client.channel.ac_in_buffer == b""
        assert client.channel.incoming == []
        assert client.channel.terminator == b"\r\n.\r\n"
        connected(client, peer).send(b"\r\nwhole\r\n.\r\n")
        loop.until(lambda: client.channel.lines)
        assert client.channel.lines == [b"\r\nwhole"]

    def test_an_overlong_payload_is_not_looked_for_in_the_next_connection(self, our_loop, our_peer):
        class Bounded(Lines):
            max_payload = 10

            def handle_overlong_payload(self):
                self.told.append("overlong")

        client = client_of(our_peer, Bounded)
        sock = connected(client, our_peer)
        sock.send(b"x" * 100)
        our_loop.until(lambda: "overlong" in client.channel.told)
        lose(client, our_peer, sock)
        connected(client, our_peer).send(b"whole\n")
        our_loop.until(lambda: client.channel.lines)
        assert client.channel.lines == [b"whole"]

    def test_a_handshake_in_the_conversation_that_fails_is_a_loss(self, loop, client_context):
        class Starts(Lines):
            def found_terminator(self):
                super().found_terminator()
                self.start_tls(client_context, server_side=False, server_hostname="localhost")

        with Peer(loop) as peer:
            client = client_of(peer, Starts)
            for last_words in (b"", b"no TLS here\n"):
                sock = peer.accept()
                loop.until(lambda: client.state == "connected")
                client.channel.told.clear()
                sock.send(b"go\n")
                peer.received(sock, 5)  # of the ClientHello
                sock.send(last_words)
                sock.close()
                loop.until(lambda: "close" in client.channel.told)
                assert client.channel.told[:2] == ["error", "close"]
                assert client.state != "stopped"
            client.stop()

    def test_refused_until_somebody_listens(self, loop):
        with Peer(loop, listens=False) as peer:
            client = client_of(peer)
            loop.until(lambda: len(client.channel.errors) >= 3)
            assert all(type(error) is ConnectionRefusedError for error in client.channel.errors)
            assert f"cannot connect to 127.0.0.1:{peer.address[1]}: " in str(client.channel.errors[0])
            assert set(client.channel.told) == {"failed"}
            client.channel.push(b"queued")
            peer.sock.listen()
            assert peer.received(connected(client, peer), 6) == b"queued"
            assert set(client.channel.told) == {"failed", "connect"}

    def test_a_connection_to_itself_is_none(self, our_loop, monkeypatch):
        """The system makes one where the port that it gives to a client is the one that the client connects to."""

        class SamePort(socket.socket):
            def connect_ex(self, address):
                self.bind(address)
                return super().connect_ex(address)

        with Peer(our_loop, listens=False) as peer:
            address = peer.address
        with monkeypatch.context() as patch:
            patch.setattr(client_attempt.socket, "socket", SamePort)
            client = chat_client(address, Lines, retry=SOON, map=our_loop.map)
            our_loop.until(lambda: client.channel.told)
            assert client.channel.told == ["failed"]
            assert type(client.channel.errors[0]) is ConnectionRefusedError
            client.stop()

    def test_what_failed_is_logged_unless_that_is_overridden(self, our_loop, caplog):
        class Quiet(async_chat):
            ac_logger = logging.getLogger("quiet")

        with Peer(our_loop, listens=False) as peer:
            client_of(peer, Quiet)
            our_loop.until(lambda: caplog.records)
        assert caplog.records[0].levelname == "ERROR"
        assert "cannot connect to 127.0.0.1:" in caplog.text
        assert "Traceback" not in caplog.text

    def test_after_retry_none_the_first_failure_and_the_first_loss_are_the_end(self, loop, peer):
        client = client_of(peer, retry=None)
        connected(client, peer).close()
        loop.until(lambda: client.state == "stopped")
        assert client.channel.told == ["connect", "close"]
        assert not loop.map
        with Peer(loop, listens=False) as silent:
            client = client_of(silent, retry=None)
            loop.until(lambda: client.state == "stopped")
        assert client.channel.told == ["failed"]
        assert not loop.map

    def test_no_descriptor_and_no_thread_is_left_behind(self, our_loop, our_peer):
        client = client_of(our_peer)

        def lose_one():
            sock = connected(client, our_peer)
            lose(client, our_peer, sock)
            our_peer.open.remove(sock)

        lose_one()
        before = threading.active_count(), len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc") else 0
        for _ in range(20):
            lose_one()
        after = threading.active_count(), len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc") else 0
        assert after[0] <= before[0] + 1  # a lookup may be under way
        assert after[1] <= before[1] + 2

    def test_a_client_that_is_over_is_collected(self, our_loop, our_peer):
        client = client_of(our_peer)
        connected(client, our_peer)
        client.stop()
        gone = weakref.ref(client), weakref.ref(client.channel)
        del client
        deadline = time.monotonic() + PATIENCE
        while any(each() is not None for each in gone):  # the thread of the look-up may still be on its way out
            assert time.monotonic() < deadline
            gc.collect()


class TestLosses:
    """What is a loss, and is retried; and what the channel is told."""

    def check_it_comes_back(self, client, peer, *told):
        connected(client, peer)
        assert client.channel.told == ["connect", *told, "connect"]

    def test_an_exception_in_a_callback(self, loop, peer):
        client = client_of(peer)
        connected(client, peer).send(b"raise\nnext\n")
        self.check_it_comes_back(client, peer, "error", "close")
        assert client.channel.lines == [b"raise"]

    def test_an_exception_in_handle_connect(self, loop, peer):
        class Fails(Lines):
            def handle_connect(self):
                super().handle_connect()
                if self.told == ["connect"]:
                    raise ValueError

        client = client_of(peer, Fails)
        peer.accept()
        self.check_it_comes_back(client, peer, "error", "close")

    def test_an_exception_that_handle_error_makes_nothing_of(self, loop, peer):
        class Carefree(Lines):
            def handle_error(self):
                self.told.append("error")

        client = client_of(peer, Carefree)
        sock = connected(client, peer)
        sock.send(b"raise\n")
        self.check_it_comes_back(client, peer, "error", "close")
        assert peer.ended(sock) == b""

    @pytest.mark.parametrize("where", ["handle_close", "handle_error"])
    def test_close_where_asynchat_calls_it(self, loop, peer, where):
        class Closes(Lines):
            def handle_close(self):
                self.told.append("close")
                if where == "handle_close":
                    self.close()

            def handle_error(self):
                self.told.append("error")
                if where == "handle_error":
                    self.close()

        client = client_of(peer, Closes)
        connected(client, peer).send(b"raise\n")
        self.check_it_comes_back(client, peer, "error", "close")

    def test_an_exception_in_handle_close(self, loop, peer):
        class Fails(Lines):
            def handle_close(self):
                self.told.append("close")
                raise IndexError

        client = client_of(peer, Fails)
        sock = connected(client, peer)
        sock.close()
        self.check_it_comes_back(client, peer, "close", "error")

    def test_an_idle_connection(self, our_loop, our_peer):
        class Idle(Lines):
            idle_timeout = 0.05

        client = client_of(our_peer, Idle)
        connected(client, our_peer)
        self.check_it_comes_back(client, our_peer, "close")

    def test_a_lost_connection_that_a_push_finds(self, loop, peer):
        client = client_of(peer)
        reset(connected(client, peer))
        for _ in range(3):
            client.channel.push(b"x" * 10)
        self.check_it_comes_back(client, peer, *client.channel.told[1:])
        assert client.channel.told.count("close") == 1

    def test_handle_connect_failed_may_raise(self, our_loop, caplog):
        class Fails(Lines):
            def handle_connect_failed(self, error):
                super().handle_connect_failed(error)
                raise ValueError

        with Peer(our_loop, listens=False) as peer:
            client = client_of(peer, Fails)
            our_loop.until(lambda: client.channel.told.count("failed") == 2)
            assert client.channel.told[:4] == ["failed", "error", "failed", "error"]
        assert "ValueError" in caplog.text

    @pytest.mark.parametrize("when", ["first", "last"])
    def test_an_exception_in_close(self, our_loop, our_peer, when):
        class Fails(Lines):
            def close(self):
                if when == "last":
                    super().close()
                raise IndexError

        client = client_of(our_peer, Fails)
        for _ in range(2):
            sock = connected(client, our_peer)
            sock.close()
            our_loop.until(lambda: client.state != "connected")
        connected(client, our_peer)
        with pytest.raises(IndexError):
            client.stop()
        assert client.state == "stopped"
        assert not our_loop.map

    @pytest.mark.parametrize("incoming", [b"", None, ()])
    def test_the_name_incoming_may_be_the_programs_own(self, our_loop, our_peer, incoming):
        class Own(Lines):
            def __init__(self):
                super().__init__()
                self.incoming = incoming

        client = client_of(our_peer, Own)
        connected(client, our_peer).close()
        self.check_it_comes_back(client, our_peer, "close")

    def test_a_loss_that_two_threads_find(self, our_loop, our_peer):
        class Closes(Lines):
            def handle_error(self):
                self.told.append("error")
                self.close()

            def handle_close(self):
                super().handle_close()
                thread = threading.Thread(target=self.handle_error)
                thread.start()
                thread.join(PATIENCE)

        client = client_of(our_peer, Closes)
        connected(client, our_peer).close()
        self.check_it_comes_back(client, our_peer, "close", "error")

    @pytest.mark.parametrize("closes", [False, True])
    def test_methods_that_the_program_replaces_on_the_object_of_a_client(self, our_loop, our_peer, closes):
        class Patched(Lines):
            def handle_connect(self):
                super().handle_connect()
                self.handle_error = lambda: self.told.append("own error")

        def handle_close():
            client.channel.told.append("own close")
            if closes:
                client.channel.close()

        client = client_of(our_peer, Patched)
        client.channel.handle_close = handle_close
        connected(client, our_peer).close()
        our_loop.until(lambda: "own close" in client.channel.told)
        sock = connected(client, our_peer)
        sock.send(b"raise\n")
        connected(client, our_peer)
        assert client.channel.told == ["connect", "own close", "connect", "own error", "own close", "connect"]
        client.stop()
        assert client.channel.handle_close is handle_close

    def test_methods_that_the_program_replaces_are_called(self, our_loop, our_peer):
        class Patched(Lines):
            def __init__(self):
                super().__init__()
                self.handle_error = lambda: self.told.append("own error")

        client = client_of(our_peer, Patched)
        sock = connected(client, our_peer)
        Patched.handle_close = lambda self: self.told.append("late close")
        sock.send(b"raise\n")
        self.check_it_comes_back(client, our_peer, "own error", "late close")
        client.stop()
        assert is_bare(client.channel) is False
        client.channel.handle_error()
        assert client.channel.told[-1] == "own error"


class TestEnds:
    """What ends a client, after which nothing of it is in the map."""

    def check_it_is_over(self, client, loop):
        assert client.state == "stopped"
        assert not loop.map
        assert is_bare(client.channel)
        assert not client.channel.connected
        client.stop()

    @pytest.mark.parametrize("how", ["stop", "close", "close_all"])
    @pytest.mark.parametrize("state", ["connecting", "connected", "waiting"])
    def test_in_each_state(self, loop, state, how):
        with Peer(loop, listens=state == "connected") as peer:
            client = client_of(peer, retry=(100, 100) if state == "waiting" else SOON)
            if state == "connected":
                sock = connected(client, peer)
            loop.until(lambda: client.state == state)
            told = list(client.channel.told)
            {
                "stop": client.stop,
                "close": client.channel.close,
                "close_all": lambda: asyncore.close_all(loop.map),
            }[how]()
            self.check_it_is_over(client, loop)
            if state == "connected":
                assert peer.ended(sock) == b""
            assert client.channel.told == told
            threads = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
            for thread in threads:
                thread.join(PATIENCE)
                assert not thread.is_alive()

    @pytest.mark.parametrize("how", ["stop", "close"])
    @pytest.mark.parametrize("where", ["handle_connect", "found_terminator", "handle_connect_failed", "handle_close"])
    def test_in_a_callback(self, loop, where, how):
        def end(self, *args):
            self.told.append(where)
            self.client.stop() if how == "stop" else self.close()

        ends = type("Ends", (Lines,), {where: end})
        with Peer(loop, listens=where != "handle_connect_failed") as peer:
            client = client_of(peer, ends)
            if where != "handle_connect_failed":
                sock = peer.accept()
                if where == "handle_close":
                    sock.close()
                elif where == "found_terminator":
                    sock.send(b"end\n")
            loop.until(lambda: where in client.channel.told)
            if (where, how) == ("handle_close", "close"):
                connected(client, peer)  # which is a part of the loss
                client.stop()
            self.check_it_is_over(client, loop)
            assert client.channel.told.count(where) == 1

    def test_close_when_done(self, loop, peer):
        client = client_of(peer)
        sock = connected(client, peer)
        client.channel.push(BIG[: 1 << 20])
        client.channel.close_when_done()
        assert peer.ended(sock) == BIG[: 1 << 20]
        loop.until(lambda: client.state == "stopped")
        self.check_it_is_over(client, loop)
        assert client.channel.told == ["connect", "close"]

    def test_close_when_done_before_there_is_a_connection(self, loop, peer):
        client = client_of(peer)
        client.channel.push(b"bye")
        client.channel.close_when_done()
        assert peer.ended(peer.accept()) == b"bye"
        loop.until(lambda: client.state == "stopped")
        self.check_it_is_over(client, loop)

    def test_close_when_done_while_nothing_waits_for_a_connection(self, loop):
        class Gives(Lines):
            def handle_connect_failed(self, error):
                super().handle_connect_failed(error)
                self.close_when_done()

        with Peer(loop, listens=False) as peer:
            client = client_of(peer, Gives)
            loop.until(lambda: client.state == "stopped")
            self.check_it_is_over(client, loop)
            assert client.channel.told == ["failed"]
            assert list(client.channel.producer_fifo) == []

    def test_close_when_done_and_a_loss_before(self, loop, peer):
        client = client_of(peer)
        sock = connected(client, peer)
        client.channel.push(BIG)
        client.channel.push(b"whole")
        client.channel.close_when_done()
        peer.received(sock, 100)
        lose(client, peer, sock)
        assert None not in client.channel.producer_fifo
        assert peer.ended(peer.accept()) == b"whole"
        loop.until(lambda: client.state == "stopped")
        self.check_it_is_over(client, loop)

    def test_close_when_done_and_a_loss_after_which_nothing_is_left(self, loop, peer):
        client = client_of(peer)
        sock = connected(client, peer)
        client.channel.push(BIG)
        client.channel.close_when_done()
        peer.received(sock, 100)
        sock.close()
        loop.until(lambda: client.state == "stopped")
        self.check_it_is_over(client, loop)
        assert list(client.channel.producer_fifo) == []

    def test_close_when_done_by_another_thread_while_the_channel_is_told_of_a_loss(self, our_loop, our_peer):
        class Ends(Lines):
            def handle_close(self):
                super().handle_close()
                thread = threading.Thread(target=self.close_when_done)
                thread.start()
                thread.join(PATIENCE)

        client = client_of(our_peer, Ends)
        lose(client, our_peer, connected(client, our_peer))
        our_loop.until(lambda: client.state == "stopped")
        self.check_it_is_over(client, our_loop)

    def test_what_is_left_stays_in_the_queue(self, our_loop, our_peer):
        client = client_of(our_peer)
        client.channel.push(b"kept")
        client.stop()
        assert list(client.channel.producer_fifo) == [b"kept"]

    def test_the_channel_may_be_used_without_the_client(self, our_loop, our_peer):
        client = client_of(our_peer)
        connected(client, our_peer)
        client.stop()
        channel = client.channel
        channel.create_socket()
        channel.connect(our_peer.address)
        channel.push(b"again")
        assert our_peer.received(our_peer.accept(), 5) == b"again"
        channel.close()
        assert not our_loop.map


class TestWhatIsSent:
    """A push or a producer leaves over one connection, or not at all."""

    def lose(self, client, peer, sock):
        peer.received(sock, 100)
        lose(client, peer, sock)

    def check_the_next_gets(self, client, peer, expected):
        sock = connected(client, peer)
        client.channel.push(b"END")
        assert peer.received(sock, len(expected) + 3) == expected + b"END"

    def test_pushes_while_away_are_sent_in_their_order(self, loop, peer):
        client = client_of(peer)
        client.channel.push(b"one ")
        lose(client, peer, connected(client, peer))
        client.channel.push(bytearray(b"two "))
        client.channel.push_with_producer(simple_producer(b"three ", 2))
        client.channel.push(memoryview(b"four "))
        self.check_the_next_gets(client, peer, b"two three four ")

    def test_a_push_of_which_part_was_sent_is_dropped_with_all_its_pieces(self, loop, peer):
        client = client_of(peer)
        sock = connected(client, peer)
        client.channel.push(BIG)
        client.channel.push(b"whole ")
        client.channel.producer_fifo.append(None)
        client.channel.push(BIG[:200_000])
        self.lose(client, peer, sock)
        self.check_the_next_gets(client, peer, b"whole " + BIG[:200_000])

    def test_a_producer_of_which_part_was_sent_is_dropped(self, loop, peer, tmp_path):
        (tmp_path / "file").write_bytes(BIG)

        def file():
            return file_producer(open(tmp_path / "file", "rb"))

        class Nested:
            def __init__(self):
                self.parts = [simple_producer(BIG[:100], 7), b"tail", file()]

            def more(self):
                return self.parts.pop(0) if self.parts else b""

        for producer in (simple_producer(BIG, 4096), file(), Nested()):
            client = client_of(peer)
            sock = connected(client, peer)
            client.channel.push_with_producer(producer)
            client.channel.push(b"whole ")
            client.channel.push_with_producer(simple_producer(b"produced ", 4))
            self.lose(client, peer, sock)
            self.check_the_next_gets(client, peer, b"whole produced ")
            client.stop()

    def test_a_queue_that_the_program_has_put_there(self, our_loop, our_peer):
        client = client_of(our_peer)
        sock = connected(client, our_peer)
        client.channel.producer_fifo = type(client.channel.producer_fifo)([b"x" * 1000])
        client.channel.push(BIG)
        client.channel.push(b"whole ")
        self.lose(client, our_peer, sock)
        self.check_the_next_gets(client, our_peer, b"whole ")

    def test_threads_that_push(self, our_loop, our_peer):
        """Each push arrives whole, or not at all, however often the connection is lost."""
        client = client_of(our_peer)
        is_enough = threading.Event()  # what a loss takes with it may be all that was pushed before

        def push(letter):
            while not is_enough.wait(0.001):
                client.channel.push(letter * 999 + b"\n")

        threads = [threading.Thread(target=push, args=(letter,)) for letter in (b"a", b"b")]
        sock = connected(client, our_peer)
        for thread in threads:
            thread.start()
        streams = []
        for size in (5_000, 50_001, 123_456):
            streams.append(our_peer.received(sock, size))
            lose(client, our_peer, sock)
            sock = connected(client, our_peer)
        is_enough.set()
        for thread in threads:
            thread.join()
        client.channel.close_when_done()
        streams.append(our_peer.ended(sock))
        for stream in streams:
            lines = stream.split(b"\n")[:-1]
            assert all(line in (b"a" * 999, b"b" * 999) for line in lines)
        assert client.channel.told.count("connect") == 4

    @pytest.mark.parametrize("joins", [False, True])
    def test_whatever_was_sent_the_rest_begins_with_a_whole_thing(self, joins):
        """By a model: a thing is sent again if and only if none of its bytes were sent."""
        for seed in range(120):
            self.check_by_the_model(random.Random(seed), joins)

    def check_by_the_model(self, rng, joins):
        class Talk(Conversation):
            ac_out_buffer_size = rng.choice([4, 16, 65536])
            connected = True
            room = 0

            def send(self, data):
                count = min(self.room, len(data), rng.choice([1, 5, 100]))
                self.room -= count
                self.sent = getattr(self, "sent", 0) + count
                if not count:
                    raise BlockingIOError
                return count

        talk = Talk()
        talk._ac_output = queue = WholeQueue()
        queue.joins = joins
        things = []
        for _ in range(rng.randrange(1, 40)):
            data = bytes(rng.randrange(256) for _ in range(rng.choice([1, 3, 10, 40])))
            talk.room += rng.choice([0, 0, 5, 50])
            kind = rng.randrange(4)
            if kind == 0:
                talk.push_with_producer(simple_producer(data, rng.choice([1, 4, 100])))
            elif kind == 1:
                parts = [data[:2], simple_producer(data[2:], 3)]
                talk.push_with_producer(SimpleNamespace(more=lambda parts=parts: parts.pop(0) if parts else b""))
            else:
                talk.push(data)
            things.append(data)
            if rng.random() < 0.5:
                talk.initiate_send()
        sent = getattr(talk, "sent", 0)
        begins, at = [], 0
        for data in things:
            begins.append(at)
            at += len(data)
        expected = b"".join(data for data, begin in zip(things, begins, strict=True) if begin >= sent)
        drop_begun(queue)
        got = bytearray()
        talk.send = lambda data: got.extend(data) or len(data)
        while queue:
            talk.initiate_send()
        assert bytes(got) == expected


class TestTLS:
    def serve(self, peer, context):
        """Return the peer's end of a connection on TLS, once the handshake is complete."""
        sock = peer.accept()
        face = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        peer.open.append(face)

        def shake():
            try:
                face.do_handshake()
            except ssl.SSLWantReadError:
                return False
            return True

        peer.loop.until(shake)
        return face

    def client(self, peer, context, **options):
        peer.address = ("localhost", peer.address[1])
        return client_of(peer, tls=context, **options)

    @pytest.fixture(autouse=True)
    def only_ipv4(self, monkeypatch):
        resolve = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, **options: resolve("127.0.0.1", port, **options))

    def receive(self, peer, face, count):
        got = bytearray()

        def receive():
            with contextlib.suppress(ssl.SSLWantReadError):
                got.extend(face.recv(count))
            return len(got) == count

        peer.loop.until(receive)
        return bytes(got)

    def test_it_comes_back_on_tls(self, loop, peer, server_context, client_context):
        client = self.client(peer, client_context)
        client.channel.push(b"before ")
        for number in range(1, 3):
            face = self.serve(peer, server_context)
            loop.until(lambda: client.state == "connected")
            client.channel.push(b"during")
            assert self.receive(peer, face, 13 if number == 1 else 6) == (
                b"before during" if number == 1 else b"during"
            )
            face.send(b"line\n")
            loop.until(lambda number=number: len(client.channel.lines) == number)
            lose(client, peer, face)
        assert client.channel.told[:6] == ["connect", "tls", "close"] * 2
        client.stop()
        assert not loop.map

    def test_a_thread_that_finds_a_loss_at_the_end_of_the_handshake(
        self, our_loop, our_peer, server_context, client_context, monkeypatch
    ):
        join = Carrier.join

        def lose(carrier, channel):
            join(carrier, channel)
            monkeypatch.undo()
            thread = threading.Thread(target=channel.handle_close)
            thread.start()
            thread.join(PATIENCE)

        client = self.client(our_peer, client_context)
        monkeypatch.setattr(Carrier, "join", lose)
        self.serve(our_peer, server_context)
        our_loop.until(lambda: client.channel.told == ["connect", "close", "connect"])
        client.stop()
        assert not our_loop.map

    def test_nothing_leaves_before_the_handshake_nor_is_it_connected(self, loop, peer, client_context):
        class Eager(Lines):
            def handle_connect(self):
                super().handle_connect()
                self.push(b"secret")
                self.socket.getpeername()

        peer.address = ("localhost", peer.address[1])
        client = client_of(peer, Eager, tls=client_context)
        client.channel.push(b"secret")
        sock = peer.accept()
        loop.until(lambda: "connect" in client.channel.told)
        hello = peer.received(sock, 200)
        assert hello[0] == 0x16  # a record of the handshake
        assert b"secret" not in hello
        assert client.state == "connecting"
        client.stop()
        assert not loop.map

    def test_a_handshake_that_hangs_is_within_the_time_to_connect(self, loop, peer, client_context):
        client = self.client(peer, client_context, connect_timeout=0.2)
        sock = peer.accept()
        loop.until(lambda: "connect failed" in " ".join(client.channel.told))  # on a busy machine not the first
        assert {type(error) for error in client.channel.errors} == {TimeoutError}
        assert set(client.channel.told) == {"connect", "failed"}
        peer.ended(sock)
        peer.accept()

    @pytest.mark.parametrize("how", ["close", "reset", "garbage"])
    def test_a_handshake_that_fails_is_an_attempt_that_failed(self, loop, peer, client_context, how):
        client = self.client(peer, client_context)
        sock = peer.accept()
        peer.received(sock, 100)
        if how == "garbage":
            sock.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        else:
            (reset if how == "reset" else socket.socket.close)(sock)
        loop.until(lambda: client.channel.errors)
        sock.close()
        assert isinstance(client.channel.errors[0], ssl.SSLError if how == "garbage" else OSError)
        assert client.channel.told[:2] == ["connect", "failed"]
        peer.accept()

    def test_a_certificate_of_another(self, loop, peer, server_context, client_context):
        peer.address = ("example.org", peer.address[1])
        client = client_of(peer, tls=client_context)
        sock = peer.accept()
        face = server_context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        peer.open.append(face)

        def shake():
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLError, ConnectionError):
                face.do_handshake()
            return client.channel.errors

        loop.until(shake)
        assert type(client.channel.errors[0]) is ssl.SSLCertVerificationError
        assert client.channel.told[:2] == ["connect", "failed"]
        assert client.state in ("waiting", "connecting")

    @pytest.mark.parametrize("where", ["handle_connect", "handle_tls"])
    def test_an_exception_before_or_after_the_handshake_is_a_loss(
        self, loop, peer, server_context, client_context, where
    ):
        def fail(self):
            self.told.append(where)
            if self.told.count(where) == 1:
                raise ValueError

        peer.address = ("localhost", peer.address[1])
        client = client_of(peer, type("Fails", (Lines,), {where: fail}), tls=client_context)
        if where == "handle_connect":
            peer.accept()
        else:
            self.serve(peer, server_context)
        loop.until(lambda: "close" in client.channel.told)
        end = client.channel.told.index("close") + 1
        assert client.channel.told[end - 3 : end] == [where, "error", "close"]
        self.serve(peer, server_context)
        loop.until(lambda: client.state == "connected")

    def test_a_stop_amid_what_the_peer_does_not_take(self, loop, peer, server_context, client_context):
        client = self.client(peer, client_context)
        self.serve(peer, server_context)
        loop.until(lambda: client.state == "connected")
        client.channel.push(BIG)
        client.stop()
        assert not loop.map


@contextlib.contextmanager
def silent(loop):
    """Give an address on which connecting takes for ever: its backlog is full."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for _ in range(4):
            each = stack.enter_context(socket.socket())
            each.setblocking(False)
            each.connect_ex(sock.getsockname())
        yield sock.getsockname()


class TestAddresses:
    """The look-up of a name, and the race of its addresses."""

    @pytest.fixture
    def resolve(self, monkeypatch):
        """A function that sets what the look-up of "there" finds: addresses, or a function to call."""
        found = []

        def getaddrinfo(host, port, **options):
            assert (host, port) == ("there", 80)
            result = found[-1]
            if callable(result):
                result = result()
            return [
                (socket.AF_INET6 if ":" in each[0] else socket.AF_INET, socket.SOCK_STREAM, 6, "", each)
                for each in result
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return lambda *addresses: found.append(addresses[0] if callable(addresses[0]) else addresses)

    def client(self, loop, **options):
        client = chat_client(("there", 80), Lines, **({"retry": SOON, "map": loop.map} | options))
        client.channel.client = client
        return client

    @linux
    def test_an_address_that_leads_nowhere_costs_little(self, loop, peer, resolve):
        with silent(loop) as nowhere:
            resolve(nowhere, peer.address)
            begun = time.monotonic()
            client = self.client(loop)
            loop.until(lambda: client.state == "connected", timeout=30)
            assert time.monotonic() - begun > 0.2
            assert client.channel.addr == peer.address
            assert len(loop.map) == 1

    @linux
    def test_the_time_to_connect_is_that_of_all_addresses(self, loop, resolve):
        with silent(loop) as nowhere, silent(loop) as nor_there:
            resolve(nowhere, nor_there)
            begun = time.monotonic()
            client = self.client(loop, connect_timeout=0.4)
            loop.until(lambda: client.channel.errors, timeout=30)
            assert 0.3 < time.monotonic() - begun < 10
            assert str(client.channel.errors[0]).endswith(
                "cannot connect to there:80: there is no connection after 0.4 seconds"
            )
            assert client.channel.told[0] == "failed"

    def test_one_that_fails_makes_room_for_the_next_at_once(self, loop, peer, resolve):
        with Peer(loop, listens=False) as refusing:
            resolve(refusing.address, ("127.0.0.1", 1 << 17), peer.address)
            client = self.client(loop, connect_timeout=None)
            connected(client, peer)
            assert client.channel.told == ["connect"]

    def test_all_that_fail_are_one_attempt(self, loop, resolve):
        with Peer(loop, listens=False) as one, Peer(loop, listens=False) as other:
            resolve(one.address, other.address)
            client = self.client(loop, retry=None)
            loop.until(lambda: client.state == "stopped")
        assert client.channel.told == ["failed"]
        assert type(client.channel.errors[0]) is ConnectionRefusedError

    def test_ipv6(self, loop, resolve):
        try:
            peer = Peer(loop, "::1")
        except OSError:
            pytest.skip("this system has no IPv6")
        with peer, Peer(loop, listens=False) as refusing:
            resolve(refusing.address, peer.address)
            connected(self.client(loop), peer)

    def test_families_take_turns(self):
        def info(family, name):
            return family, socket.SOCK_STREAM, 6, "", (name, 80)

        four, six = socket.AF_INET, socket.AF_INET6
        infos = [info(six, "a"), info(six, "b"), info(six, "c"), info(four, "d"), info(four, "e")]
        assert "".join(each[4][0] for each in _interleaved(infos)) == "adbec"

    def test_a_name_that_nobody_knows(self, loop, resolve):
        def fail():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        resolve(fail)
        client = self.client(loop)
        loop.until(lambda: len(client.channel.errors) >= 2)
        assert type(client.channel.errors[0]) is socket.gaierror
        assert client.channel.errors[0].errno == socket.EAI_NONAME
        assert "cannot connect to there:80: Name or service not known" in str(client.channel.errors[0])

    def test_a_name_that_is_none(self, our_loop):
        client = chat_client(("x" * 100 + ".org", 80), Lines, retry=None, map=our_loop.map)
        our_loop.until(lambda: client.state == "stopped")
        assert isinstance(client.channel.errors[0], OSError)

    def test_a_look_up_that_hangs_is_asked_but_once(self, loop, peer, resolve):
        go_on, asked = threading.Event(), []

        def hang():
            asked.append(1)
            go_on.wait(PATIENCE)
            return [peer.address]

        resolve(hang)
        client = self.client(loop, connect_timeout=0.05)
        loop.until(lambda: len(client.channel.errors) >= 3)
        assert type(client.channel.errors[0]) is TimeoutError
        assert asked == [1]
        go_on.set()
        connected(client, peer)

    def test_a_look_up_that_ends_after_the_client(self, our_loop, our_peer, resolve):
        go_on, found = threading.Event(), threading.Event()

        def hang():
            go_on.wait(PATIENCE)
            found.set()
            return [our_peer.address]

        resolve(hang)
        client = self.client(our_loop)
        our_loop.run_pass()
        client.stop()
        assert not our_loop.map
        go_on.set()
        assert found.wait(PATIENCE)

    def test_a_look_up_that_hangs_does_not_keep_the_program_alive(self, run_python):
        process = run_python(
            "-W", "ignore", "-c",
            "import socket, threading, asynchat_fast\n"
            "socket.getaddrinfo = lambda *args, **options: threading.Event().wait()\n"
            "client = asynchat_fast.chat_client(('there', 80), asynchat_fast.async_chat)\n"
            "asynchat_fast.loop(0, count=3)\n"
            "print(client.state)\n",
        )  # fmt: skip
        assert (process.returncode, process.stdout, process.stderr) == (0, "connecting\n", "")

    def test_no_descriptors_are_left(self, our_loop, monkeypatch):
        def fail(*args):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        with Peer(our_loop) as peer:
            client = client_of(peer)
            with monkeypatch.context() as patch:
                patch.setattr(client_attempt, "socket", SimpleNamespace(**(vars(socket) | {"socket": fail})))
                our_loop.until(lambda: client.channel.errors)
            assert client.channel.errors[0].errno == errno.EMFILE
            connected(client, peer)

    @unix
    def test_a_unix_socket(self, loop, tmp_path):
        path = tmp_path / "socket"
        client = chat_client(path, Lines, retry=SOON, map=loop.map)
        loop.until(lambda: client.channel.errors)
        assert type(client.channel.errors[0]) is FileNotFoundError
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
            sock.listen()
            loop.until(lambda: client.state == "connected")
            assert client.channel.addr == str(path)
            client.stop()

    @unix
    @linux
    def test_a_unix_socket_with_a_full_backlog(self, our_loop, tmp_path):
        path = str(tmp_path / "socket")
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.bind(path)
            sock.listen(0)
            first = stack.enter_context(socket.socket(socket.AF_UNIX))
            first.connect(path)
            client = chat_client(path, Lines, retry=SOON, map=our_loop.map)
            our_loop.until(lambda: client.channel.errors)
            assert client.channel.told[0] == "failed"
            sock.accept()[0].close()
            our_loop.until(lambda: client.state == "connected")
            client.stop()


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "options", "error"),
        [
            (("localhost:80", Lines), {}, ValueError),
            ((8007, Lines), {}, TypeError),
            ((("localhost", 80), 5), {}, TypeError),
            ((("localhost", 80), lambda: 5), {}, TypeError),
            ((("localhost", 80), Lines), {"retry": 5}, TypeError),
            ((("localhost", 80), Lines), {"retry": (5, 1)}, ValueError),
            ((("localhost", 80), Lines), {"retry": (0, 1)}, ValueError),
            ((("localhost", 80), Lines), {"retry": (1, "2")}, TypeError),
            ((("localhost", 80), Lines), {"connect_timeout": 0}, ValueError),
            ((("localhost", 80), Lines), {"connect_timeout": "5"}, TypeError),
            ((("localhost", 80), Lines), {"tls": True}, TypeError),
            ((("localhost", 80), Lines), {"tls": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)}, ValueError),
            ((("localhost", 70_000), Lines), {}, ValueError),
            ((("localhost", 80.5), Lines), {}, TypeError),
            (((80, "localhost"), Lines), {}, TypeError),
        ],
    )
    def test_what_cannot_work_is_said_at_once(self, arguments, options, error):
        channels = {}
        with pytest.raises(error):
            chat_client(*arguments, map=channels, **options)
        assert channels == {}

    def test_a_map_that_is_none(self):
        with pytest.raises(TypeError, match="map"):
            chat_client(("localhost", 80), Lines, map=5)

    def test_tls_of_a_unix_socket_takes_a_context_without_names(self, tmp_path):
        with pytest.raises(ValueError, match="server_hostname"):
            chat_client(tmp_path, Lines, tls=ssl.create_default_context(), map={})

    def test_a_channel_that_connects_by_itself(self):
        channels = {}

        class Connects(async_chat):
            def __init__(self):
                super().__init__(map=channels)
                self.create_socket()

        with pytest.raises(ValueError, match="connects by itself"):
            chat_client(("localhost", 80), Connects)
        assert channels == {}

    def test_the_channel_of_another_client(self):
        channels = {}
        channel = async_chat(map=channels)
        first = chat_client(("127.0.0.1", 9), lambda: channel, map=channels)
        with pytest.raises(ValueError, match="another chat_client"):
            chat_client(("127.0.0.1", 9), lambda: channel, map=channels)
        first.stop()
        chat_client(("127.0.0.1", 9), lambda: channel, map=channels).stop()
        assert channels == {}

    def test_pauses(self):
        pauses = _Pauses((1, 60))
        longest = [max(_Pauses((1, 60)).take() for _ in range(200))]
        assert 1.5 < longest[0] <= 2
        for _ in range(10):
            assert 1 <= pauses.take() <= 60
        assert max(pauses.take() for _ in range(200)) > 30
        pauses.note_connection(59)
        assert max(pauses.take() for _ in range(50)) > 2
        pauses.note_connection(61)
        assert 1 <= pauses.take() <= 2
        assert _Pauses((3, 3)).take() == 3
