"""idle_timeout and handle_timeout(): which channels are closed, which are not, and that nothing is left behind."""

import contextlib
import gc
import io
import socket
import sys
import time
import weakref

import pytest

from asynchat_fast import SocketMap, async_chat, asyncore, chat_server, file_producer, loop
from asynchat_fast.testing import MemoryTransport

PATIENCE = 20  # seconds; a wait takes much less unless something hangs
TIMEOUT = 0.1
MUCH = 10_000_000  # bytes: more than the system takes for a peer that does not read


@pytest.fixture(params=[SocketMap, dict])
def map(request):
    """An asyncore map of each kind."""
    channels = request.param()
    yield channels
    asyncore.close_all(channels, ignore_all=True)


class Chat(async_chat):
    """Keeps its log messages, and counts its timeouts."""

    timeouts = 0

    def __init__(self, sock=None, map=None):
        super().__init__(sock, map)
        self.logged = []
        self.set_terminator(b"\n")

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        self._get_data()

    def handle_timeout(self):
        self.timeouts += 1
        super().handle_timeout()

    def log_info(self, message, type="info"):
        self.logged.append(message)


class Impatient(Chat):
    idle_timeout = TIMEOUT


class Lasting(Impatient):
    def handle_timeout(self):
        self.timeouts += 1


@pytest.fixture
def run_until(map):
    """A function that runs loop() until a condition holds."""

    def run(condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "the condition has not become true"
            loop(0.01, map=map, count=1)

    return run


@pytest.fixture
def run_for_some_timeouts(map):
    """A function that runs loop() for much longer than the timeout, and calls another before each pass."""

    def run(before_each):
        deadline = time.monotonic() + 4 * TIMEOUT
        while time.monotonic() < deadline:
            before_each()
            loop(0.01, map=map, count=1)

    return run


def pass_some_timeouts(transport, before_each):
    """Have much more time pass than the timeout, with a call of *before_each* now and then."""
    for _ in range(40):
        before_each()
        transport.advance(TIMEOUT / 10)
    assert not transport.closed


def test_off_by_default():
    transport = MemoryTransport(Chat)
    assert async_chat.idle_timeout is None
    transport.advance(1_000_000)
    assert not transport.closed
    assert transport.channel.timeouts == 0


def test_a_silent_channel_is_closed(map, pair):
    began = time.monotonic()
    chat = Impatient(pair[0], map)
    loop(PATIENCE, map=map)  # the loop itself knows how long to wait
    assert TIMEOUT <= time.monotonic() - began < PATIENCE
    assert not map
    assert chat.timeouts == 1
    assert pair[1].recv(1) == b""
    (line,) = chat.logged
    assert line.startswith("closing ")
    assert f"idle for {TIMEOUT} seconds" in line


def test_a_channel_that_falls_silent_is_closed():
    transport = MemoryTransport(Impatient)
    pass_some_timeouts(transport, lambda: transport.receive(b"x"))
    transport.advance(0.9 * TIMEOUT)
    assert not transport.closed
    transport.advance(0.5 * TIMEOUT)
    assert transport.closed
    assert transport.channel.timeouts == 1


def test_receiving_is_progress():
    transport = MemoryTransport(Impatient)
    pass_some_timeouts(transport, lambda: transport.receive(b"one of the pieces of a line"))
    assert transport.channel.timeouts == 0


@pytest.mark.parametrize("views", [True, False])
def test_receiving_is_progress_whatever_it_is_received_as(views):
    transport = MemoryTransport(Impatient)
    chat = transport.channel
    chat.collect_views = views
    chat.set_terminator(1)
    chat.collect_incoming_data = lambda data: None
    chat.found_terminator = lambda: chat.set_terminator(1)
    pass_some_timeouts(transport, lambda: transport.receive(b"x"))


def test_sending_is_progress():
    transport = MemoryTransport(Impatient)
    pass_some_timeouts(transport, lambda: transport.channel.push(b"x"))
    assert transport.channel.timeouts == 0


def large_push(chat):
    chat.push(bytes(MUCH))


def large_file(chat):
    chat.push_with_producer(file_producer(io.BytesIO(bytes(MUCH))))


@pytest.fixture
def large_regular_file(tmp_path):
    with (tmp_path / "large").open("w+b") as file:
        file.truncate(MUCH)
        yield lambda chat: chat.push_with_producer(file_producer(file, 0, close=False))


@pytest.fixture(params=["push", "producer", "file"])
def push_much(request, large_regular_file):
    """A function that pushes more than will be sent, in one of the ways to push."""
    return {"push": large_push, "producer": large_file, "file": large_regular_file}[request.param]


def test_sending_to_a_slow_reader_is_progress(map, pair, run_for_some_timeouts, push_much):
    chat = Impatient(pair[0], map)
    pair[1].setblocking(False)

    def read_some():
        if len(chat.producer_fifo) < 2:
            push_much(chat)
        with contextlib.suppress(BlockingIOError):
            pair[1].recv(300_000)

    run_for_some_timeouts(read_some)
    assert list(map.values()) == [chat]
    assert chat.timeouts == 0


def test_a_channel_whose_peer_never_reads_is_closed(map, pair, push_much):
    chat = Impatient(pair[0], map)
    push_much(chat)
    loop(PATIENCE, map=map)
    assert not map
    assert chat.timeouts == 1


def test_more_to_send_is_no_progress(map, pair, run_until):
    """Only data that leave are progress."""
    chat = Impatient(pair[0], map)
    chat.push(bytes(MUCH))

    def closed():
        if map:
            chat.push(b"more")
        return not map

    run_until(closed)
    assert chat.timeouts == 1


def test_one_of_many(map, run_for_some_timeouts):
    """Each channel has a deadline of its own."""
    with contextlib.ExitStack() as stack:
        talking, silent = [], []
        for number in range(20):
            ours, theirs = (stack.enter_context(sock) for sock in socket.socketpair())
            (silent if number % 4 == 0 else talking).append((Impatient(ours, map), theirs))

        def talk():
            for _, peer in talking:
                peer.sendall(b"x")

        run_for_some_timeouts(talk)
        assert set(map.values()) == {chat for chat, _ in talking}
        assert all(peer.recv(1) == b"" for _, peer in silent)


def test_handle_timeout_may_keep_it_open():
    transport = MemoryTransport(Lasting)
    transport.advance(3 * TIMEOUT)
    assert transport.channel.timeouts in (2, 3)
    transport.receive(b"x")
    transport.advance(0.9 * TIMEOUT)
    assert transport.channel.timeouts in (2, 3)
    transport.advance(10 * TIMEOUT)
    assert transport.channel.timeouts > 9
    assert not transport.closed


def test_handle_timeout_may_say_goodbye():
    class Polite(Impatient):
        def handle_timeout(self):
            self.push(b"421 Good bye\r\n")
            self.close_when_done()

    transport = MemoryTransport(Polite)
    transport.advance(2 * TIMEOUT)
    assert (transport.sent, transport.closed) == (b"421 Good bye\r\n", True)


def test_handle_timeout_that_raises(map, pair, run_until, capsys):
    """The error is logged, and the other channels are served."""

    class Failing(Impatient):
        def handle_timeout(self):
            self.timeouts += 1
            raise ZeroDivisionError("of the timeout")

    failing = Failing(pair[0], map)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        chat = Lasting(ours, map)
        run_until(lambda: failing.timeouts and chat.timeouts)
        theirs.sendall(b"x")
        run_until(lambda: chat.incoming)
    assert "of the timeout" in capsys.readouterr().out + "".join(failing.logged)


def test_set_on_the_object():
    class Configured(Chat):
        def __init__(self, sock, seconds):
            self.idle_timeout = seconds
            super().__init__(sock)

    transport = MemoryTransport(Configured, TIMEOUT)
    transport.advance(1.5 * TIMEOUT)
    assert transport.closed
    assert f"idle for {TIMEOUT} seconds" in transport.channel.logged[0]


def test_changed_meanwhile():
    """A program may allow more time after a login."""
    transport = MemoryTransport(Impatient)
    transport.channel.idle_timeout = 2 * TIMEOUT
    transport.advance(1.5 * TIMEOUT)
    assert not transport.closed
    transport.advance(TIMEOUT)
    assert transport.closed
    assert f"idle for {2 * TIMEOUT} seconds" in transport.channel.logged[0]


def test_switched_off_by_handle_timeout():
    class Forgiving(Impatient):
        def handle_timeout(self):
            self.timeouts += 1
            self.idle_timeout = None

    transport = MemoryTransport(Forgiving)
    transport.advance(100 * TIMEOUT)
    assert not transport.closed
    assert transport.channel.timeouts == 1


def test_switched_off_meanwhile():
    transport = MemoryTransport(Impatient)
    transport.channel.idle_timeout = None
    transport.advance(100 * TIMEOUT)
    assert not transport.closed
    assert (transport.channel.timeouts, transport.channel.logged) == (0, [])


def test_another_socket_has_its_own_time(map, pair, run_until):
    chat = Impatient(pair[0], map)
    chat.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        began = time.monotonic()
        chat.set_socket(ours, map)
        chat.connected = True
        loop(PATIENCE, map=map)
        assert time.monotonic() - began >= TIMEOUT
        assert not map
        assert chat.timeouts == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux leaves connections for which there is no room waiting")
def test_a_connection_that_is_never_made(map):
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        chat = Impatient(map=map)
        chat.create_socket()
        chat.connect(full.getsockname())
        assert chat.connecting
        loop(PATIENCE, map=map)
        assert not map
        assert chat.timeouts == 1


@pytest.mark.parametrize("cls", [Impatient, Lasting])
def test_nothing_keeps_a_closed_channel_alive(map, pair, cls):
    cls = type("Patient", (cls,), {"idle_timeout": 3600})
    chat = cls(pair[0], map)
    loop(0, map=map, count=3)
    gone = weakref.ref(chat)
    chat.close()
    del chat
    gc.collect()
    assert gone() is None


def test_nothing_keeps_one_alive_that_has_timed_out(map, pair):
    gone = weakref.ref(Impatient(pair[0], map))
    loop(PATIENCE, map=map)
    gc.collect()
    assert gone() is None


def test_nothing_keeps_one_alive_whose_peer_has_gone(map, pair):
    gone = weakref.ref(type("Patient", (Chat,), {"idle_timeout": 3600})(pair[0], map))
    pair[1].close()
    loop(PATIENCE, map=map)
    gc.collect()
    assert gone() is None


def test_the_connections_of_a_server(map):
    with contextlib.ExitStack() as stack:
        server = chat_server(("127.0.0.1", 0), Impatient, map=map, max_connections=1)
        clients = [stack.enter_context(socket.create_connection(server.addr, PATIENCE)) for _ in range(3)]
        for client in clients:  # one after the other
            while client.fileno() >= 0:
                loop(0.01, map=map, count=1)
                client.settimeout(0.001)
                with contextlib.suppress(TimeoutError):
                    assert client.recv(1) == b""
                    client.close()
        assert list(map.values()) == [server]
