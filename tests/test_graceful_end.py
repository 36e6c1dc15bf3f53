"""shut_down(): what waits is served, channels are told, and nothing is lost or left behind."""

import asyncio
import contextlib
import gc
import os
import select
import signal
import socket
import sys
import threading
import time
import weakref

import pytest

from asynchat_fast import SocketMap, aio, async_chat, asyncore, call_later, chat_server, loop
from asynchat_fast.http import http_request_handler, http_server

PATIENCE = 5  # seconds; a wait takes milliseconds unless something hangs
LOCAL = ("127.0.0.1", 0)
posix_only = pytest.mark.skipif(os.name != "posix", reason="only POSIX has these signals")
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(params=[SocketMap, dict])
def map(request):
    """An asyncore map of each kind."""
    channels = request.param()
    yield channels
    asyncore.close_all(channels, ignore_all=True)


def _by_our_loop(map):
    loop(map=map)


def _by_asyncore(map):
    asyncore.loop(map=map)  # whose passes wait for half a minute, if nothing happens


def _by_asyncore_and_poll(map):
    asyncore.loop(use_poll=True, map=map)


def _embedded(map):
    async def serve():
        async with aio.embedded(map):
            while map:
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(serve(), PATIENCE))


@pytest.fixture(params=[_by_our_loop, _by_asyncore, _by_asyncore_and_poll, _embedded])
def run(request, map):
    """A function that serves the map until it is empty."""

    def serve():
        request.param(map)

    return serve


class Echo(async_chat):
    """Sends back each line."""

    def __init__(self, sock, map=None):
        super().__init__(sock, map)
        self.set_terminator(b"\n")

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        self.push(self._get_data() + b"\n")


class Stubborn(Echo):
    """Does not end when it is asked to."""

    def handle_shut_down(self):
        pass


class Hello(http_request_handler):
    """Says hello."""

    def do_GET(self):
        self.respond(200, b"hello")


@pytest.fixture
def connect():
    """A function that connects a client, which is closed after the test."""
    with contextlib.ExitStack() as clients:
        yield lambda server: clients.enter_context(socket.create_connection(server.addr, PATIENCE))


def received(client):
    """Return all that comes up to the end."""
    chunks = []
    while data := client.recv(1 << 16):
        chunks.append(data)
    return b"".join(chunks)


class Reader(threading.Thread):
    """Receives all that comes to *clients*, up to the end, and closes them."""

    def __init__(self, clients):
        super().__init__(daemon=True)
        self.clients = clients
        self.start()

    def run(self):
        self.all = []
        for client in self.clients:
            self.all.append(received(client))
            client.close()

    def received(self):
        self.join(PATIENCE)
        return self.all


def is_refused(server):
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(server.addr, PATIENCE).close()
        return False
    return True


def run_until(map, condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition has not become true"
        loop(0.01, map=map, count=1)


def arrived(client):
    return bool(select.select([client], [], [], 0)[0])


# What waits is served


@pytest.mark.parametrize("limit", [None, 7])
def test_all_that_waits_to_be_accepted_is_served(map, run, connect, limit):
    """More than one batch of it, and what a limit has kept waiting."""
    server = chat_server(LOCAL, Echo, map=map, max_connections=limit)
    clients = [connect(server) for _ in range(200 if limit is None else 30)]
    for client in clients:
        client.sendall(b"hello\n")
    server.shut_down()
    run()
    assert {received(client) for client in clients} == {b"hello\n"}
    assert is_refused(server)
    assert not map


def test_requests_that_wait_to_be_accepted_have_their_responses(map, run, connect):
    server = http_server(LOCAL, Hello, map=map, log=lambda line: None)
    clients = [connect(server) for _ in range(150)]
    for client in clients:
        client.sendall(GET)
    server.shut_down(keep_idle=0)
    reader = Reader(clients)
    run()
    for response in reader.received():
        assert response.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in response


def test_a_line_that_has_arrived_is_answered_before_the_channel_is_told(map, run, connect):
    server = chat_server(LOCAL, Echo, map=map)
    clients = [connect(server) for _ in range(100)]
    run_until(map, lambda: len(map) == 101)
    for client in clients:
        client.sendall(b"just in time\n")
    server.shut_down()
    run()
    assert {received(client) for client in clients} == {b"just in time\n"}


def test_a_handshake_that_has_begun_is_completed(map, run, certificates):
    ssl = pytest.importorskip("ssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.key)
    server = chat_server(LOCAL, Echo, map=map, tls=context)
    heard = []

    def converse(sock):
        with ssl.create_default_context(cafile=certificates.ca).wrap_socket(sock, server_hostname="localhost") as tls:
            tls.sendall(b"hello\n")
            heard.append(received(tls))

    with socket.create_connection(server.addr, PATIENCE) as sock:
        run_until(map, lambda: len(map) == 2)
        server.shut_down()
        client = threading.Timer(0.05, converse, [sock])
        client.start()
        run()
        client.join(PATIENCE)
    assert heard in ([b"hello\n"], [b""])  # the line may come after the channel was told


# Channels are told


def test_channels_are_told_once_the_server_does_not_listen(map, run, connect):
    told = []

    class Told(Echo):
        def handle_shut_down(self):
            told.append(is_refused(server))
            self.push(b"bye\n")
            super().handle_shut_down()

    server = chat_server(LOCAL, Told, map=map)
    clients = [connect(server) for _ in range(3)]
    run_until(map, lambda: len(map) == 4)
    server.shut_down()
    run()
    assert told == [True] * 3
    assert [received(client) for client in clients] == [b"bye\n"] * 3


def test_one_that_raises_does_not_stop_the_others(map, run, connect, caplog):
    class Raising(Echo):
        def handle_shut_down(self):
            raise ZeroDivisionError if next(count) == 0 else KeyError

        def handle_error(self):
            errors.append(self)
            self.close()
            raise RuntimeError

    count, errors = iter(range(9)), []
    server = chat_server(LOCAL, Raising, map=map)
    clients = [connect(server) for _ in range(3)]
    run_until(map, lambda: len(map) == 4)
    server.shut_down()
    run()
    assert [received(client) for client in clients] == [b""] * 3
    assert len(errors) == 3
    assert [record.getMessage().count("RuntimeError") for record in caplog.records] == [1] * 3


def test_an_exit_in_one_ends_the_loop_and_the_next_loop_tells_the_others(map, connect):
    class Exiting(Echo):
        def handle_shut_down(self):
            super().handle_shut_down()
            if self is first[0]:
                raise asyncore.ExitNow

    server = chat_server(LOCAL, Exiting, map=map)
    clients = [connect(server) for _ in range(3)]
    run_until(map, lambda: len(map) == 4)
    first = [channel for channel in map.values() if channel is not server][:1]
    call_later(0, server.shut_down, map=map)
    with pytest.raises(asyncore.ExitNow):
        loop(map=map)
    loop(map=map)
    assert [received(client) for client in clients] == [b""] * 3


def test_a_dispatcher_that_is_no_channel_is_left_until_the_timeout(map, run, connect, caplog):
    class Plain(asyncore.dispatcher):
        def writable(self):
            return False

        def handle_read(self):
            self.recv(100)

    server = chat_server(LOCAL, Plain, map=map)
    clients = [connect(server) for _ in range(2)]
    run_until(map, lambda: len(map) == 3)
    if run is not None:
        server.shut_down(0.05)
        loop(map=map)
    assert [received(client) for client in clients] == [b""] * 2
    (record,) = caplog.records
    assert "closed 2 connections that were still open 0.05 seconds" in record.getMessage()


def test_a_function_that_makes_channels_and_returns_none(map, connect):
    def make(sock, map):
        Echo(sock, map)

    server = chat_server(LOCAL, make, map=map)
    client = connect(server)
    client.sendall(b"hello\n")
    run_until(map, lambda: arrived(client))
    server.shut_down()
    client.close()
    loop(map=map)


# Times


def test_the_server_serves_on_while_it_drains(map, connect):
    server = chat_server(LOCAL, Echo, map=map)
    began = time.monotonic()
    server.shut_down(drain=0.2)
    call_later(0.1, lambda: connect(server).sendall(b"late\n"), map=map)
    loop(map=map)
    assert 0.2 <= time.monotonic() - began < PATIENCE
    assert is_refused(server)


def test_a_second_call_ends_the_drain_and_counts_its_own_timeout(map, connect, caplog):
    server = chat_server(LOCAL, Stubborn, map=map)
    client = connect(server)
    run_until(map, lambda: len(map) == 2)
    server.shut_down(drain=3600)
    loop(0.01, map=map, count=2)
    assert server.accepting
    server.shut_down(3600)
    run_until(map, lambda: server not in map.values())
    server.shut_down(0.01)
    loop(map=map)
    assert received(client) == b""
    assert "closed 1 connection that was still open 0.01 seconds" in caplog.text


def test_the_timeout_counts_from_the_end_of_the_drain(map, connect):
    class Stubborn(Echo):
        def handle_shut_down(self):
            told.append(time.monotonic())

    told = []
    server = chat_server(LOCAL, Stubborn, map=map)
    connect(server)
    run_until(map, lambda: len(map) == 2)
    began = time.monotonic()
    server.shut_down(0.2, drain=0.1)
    loop(map=map)
    ended = time.monotonic()
    assert began + 0.1 <= told[0] < ended
    assert ended - began >= 0.3


def test_asyncore_s_loop_is_woken_in_time(map, connect, caplog):
    server = chat_server(LOCAL, Stubborn, map=map)
    client = connect(server)
    run_until(map, lambda: len(map) == 2)
    server.shut_down(0.05, drain=0.05)
    asyncore.loop(map=map)
    assert received(client) == b""
    assert "closed 1 connection" in caplog.text


@pytest.mark.parametrize("arguments", [{"timeout": -1}, {"drain": -0.5}, {"drain": float("nan")}])
def test_negative_times(map, arguments):
    server = chat_server(LOCAL, Echo, map=map)
    ((name, _),) = arguments.items()
    with pytest.raises(ValueError, match=name):
        server.shut_down(**arguments)
    assert not is_refused(server)


@pytest.mark.parametrize("arguments", [{"timeout": "1"}, {"drain": None}, {"drain": "1"}])
def test_what_is_no_time_does_not_begin_the_end(map, arguments):
    server = http_server(LOCAL, map=map, health="/")
    with pytest.raises(TypeError):
        server.shut_down(**arguments)
    assert server._ac_end.life.name == "LISTENING"


def test_close_during_the_drain_ends_it(map, run, connect):
    server = chat_server(LOCAL, Echo, map=map)
    client = connect(server)
    run_until(map, lambda: len(map) == 2)
    server.shut_down(drain=3600)
    server.close()
    run()
    assert received(client) == b""


def test_connections_of_a_closed_server_can_be_ended(map, run, connect):
    server = chat_server(LOCAL, Echo, map=map)
    client = connect(server)
    run_until(map, lambda: len(map) == 2)
    server.close()
    server.shut_down()
    run()
    assert received(client) == b""


def test_a_server_without_connections_ends_at_once(map, run):
    server = chat_server(LOCAL, Echo, map=map)
    server.shut_down()
    run()
    assert is_refused(server)


# Where it is called


@posix_only
def test_from_a_signal_handler(connect):
    map = SocketMap()
    server = chat_server(LOCAL, Echo, map=map)
    client = connect(server)
    run_until(map, lambda: len(map) == 2)
    before = signal.signal(signal.SIGALRM, lambda number, frame: server.shut_down())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        loop(map=map)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert received(client) == b""


def test_from_another_thread(connect):
    map = SocketMap()
    threads = []

    class Told(Echo):
        def handle_shut_down(self):
            threads.append(threading.get_ident())
            super().handle_shut_down()

    server = chat_server(LOCAL, Told, map=map)
    client = connect(server)
    run_until(map, lambda: len(map) == 2)
    other = threading.Timer(0.05, server.shut_down)
    other.start()
    loop(map=map)
    other.join()
    assert received(client) == b""
    assert threads == [threading.get_ident()]


def _at_a_signal(call):
    signal.signal(signal.SIGALRM, lambda number, frame: call())
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def _in_another_thread(call):
    threading.Timer(0.05, call).start()


@pytest.mark.parametrize("serve", [loop, asyncore.loop])
@pytest.mark.parametrize("use_poll", [False, True])
@pytest.mark.parametrize("soon", [pytest.param(_at_a_signal, marks=posix_only), _in_another_thread])
def test_a_loop_that_cannot_be_woken_ends_the_server_in_its_next_pass(soon, use_poll, serve):
    class Told(Echo):
        def handle_shut_down(self):
            told.append((threading.get_ident(), called.is_set()))
            super().handle_shut_down()

    def shut_down():
        server.shut_down()
        called.set()

    told, called, map = [], threading.Event(), {}
    server = chat_server(LOCAL, Told, map=map)
    with socket.create_connection(server.addr) as client:
        run_until(map, lambda: len(map) == 2)
        soon(shut_down)
        serve(0.2, use_poll, map)  # which waits for descriptors that must not be closed meanwhile
        assert received(client) == b""
    assert told == [(threading.get_ident(), True)]


@pytest.mark.parametrize("drain", [0, 0.003])
def test_a_signal_handler_that_is_called_amid_itself(map, connect, drain, caplog):
    class Told(Echo):
        def handle_shut_down(self):
            told.append(self)
            call_later(0.009, self.close_when_done, map=map)  # after the drain, which must not count as a timeout

    def trace(frame, event, argument):
        nonlocal lines_left
        if os.path.basename(frame.f_code.co_filename) != "graceful_end.py":
            return None
        lines_left -= 1
        if not lines_left:
            sys.settrace(None)
            server.shut_down(drain=drain)
        return trace

    def shut_down():
        before = sys.gettrace()
        sys.settrace(trace)
        server.shut_down(drain=drain)
        sys.settrace(before)

    for line in range(1, 1000):  # of the first call: the second comes at each of them
        lines_left, told = line, []
        server = chat_server(LOCAL, Told, map=map)
        connect(server)
        run_until(map, lambda: len(map) == 2)
        call_later(0, shut_down, map=map)
        run_until(map, lambda: not map)
        assert len(told) == 1
        if lines_left > 0:
            break
    assert line > 10
    assert "closed" not in caplog.text


def test_by_one_of_its_channels(map, run, connect):
    class Shutdown(Echo):
        def found_terminator(self):
            self.push(b"as you wish\n")
            server.shut_down()

    server = chat_server(LOCAL, Shutdown, map=map)
    client, other = connect(server), connect(server)
    client.sendall(b"shut down\n")
    run()
    assert received(client) == b"as you wish\n"
    assert received(other) == b""


def test_without_descriptors(map, connect, monkeypatch):
    """What wakes asyncore's loop takes two; ours ends without."""

    def none(*args):
        raise OSError(24, "Too many open files")

    server = chat_server(LOCAL, Echo, map=map)
    client = connect(server)
    run_until(map, lambda: len(map) == 2)
    monkeypatch.setattr("asynchat_fast.eventloop.doorbell.Waker", none)
    server.shut_down()
    loop(map=map)
    assert received(client) == b""


def test_without_threads_asyncore_s_loop_is_late_and_goes_on(map, connect, monkeypatch):
    def none(thread):
        raise RuntimeError("can't start new thread")

    server = chat_server(LOCAL, Stubborn, map=map)
    client = connect(server)
    run_until(map, lambda: len(map) == 2)
    monkeypatch.setattr(threading.Timer, "start", none)
    server.shut_down(0.05)
    asyncore.loop(0.01, map=map)
    assert received(client) == b""


def test_nothing_is_kept_of_it(map, connect):
    server = chat_server(LOCAL, Echo, map=map)
    client = connect(server)
    run_until(map, lambda: len(map) == 2)
    channels = [weakref.ref(channel) for channel in map.values()]
    server.shut_down(3600)
    loop(map=map)
    del server
    gc.collect()
    assert received(client) == b""
    assert [channel() for channel in channels] == [None, None]


def test_closed_channels_are_not_kept(map, connect):
    server = chat_server(LOCAL, Echo, map=map)
    for _ in range(3):
        for _ in range(100):
            connect(server).close()
        run_until(map, lambda: len(map) == 1)
    assert len(server._ac_end.connections._untold) < 200


# HTTP


@pytest.fixture
def serve(map):
    """A function that makes an http_server in the map."""
    lines = []

    def make(handler_class=Hello, **options):
        server = http_server(LOCAL, handler_class, map=map, log=lines.append, **options)
        server.lines = lines
        return server

    return make


def ask(map, client, request=GET):
    """Return the response that comes next."""
    client.sendall(request)
    run_until(map, lambda: arrived(client))
    return client.recv(1 << 16)


def test_the_next_response_is_the_last(map, serve, connect):
    server = serve()
    clients = [connect(server) for _ in range(3)]
    for client in clients[1:]:
        assert b"Connection" not in ask(map, client)
    server.shut_down(keep_idle=3600)
    run_until(map, lambda: is_refused(server))
    for client in clients:
        response = ask(map, client)
        assert response.endswith(b"hello")
        assert b"\r\nConnection: close\r\n" in response
    reader = Reader(clients)
    loop(map=map)
    assert reader.received() == [b""] * 3


def test_idle_connections_are_closed_after_a_while(map, run, serve, connect):
    server = serve()
    clients = [connect(server) for _ in range(3)]
    ask(map, clients[0])
    run_until(map, lambda: len(map) == 4)
    began = time.monotonic()
    server.shut_down(keep_idle=0.1)
    reader = Reader(clients)
    run()
    assert time.monotonic() - began >= 0.1
    assert reader.received() == [b""] * 3


def test_idle_connections_make_room_for_those_that_wait(map, run, serve, connect):
    server = serve(max_connections=2)
    idle = [connect(server) for _ in range(2)]
    for client in idle:
        ask(map, client)
    waiting = [connect(server) for _ in range(5)]
    for client in waiting:
        client.sendall(GET)
    server.shut_down(keep_idle=0.05)
    reader = Reader([*idle, *waiting])
    run()
    assert [response.count(b"HTTP/1.1 200 ") for response in reader.received()] == [0] * 2 + [1] * 5


def test_a_second_call_has_a_keep_idle_of_its_own(map, run, serve, connect):
    server = serve()
    client = connect(server)
    ask(map, client)
    server.shut_down(keep_idle=3600)
    run_until(map, lambda: is_refused(server))
    server.shut_down(keep_idle=0.05)
    reader = Reader([client])
    run()
    assert reader.received() == [b""]


def test_of_requests_that_have_come_while_responses_wait_the_next_is_the_last(map, run, serve, connect):
    class Long(Hello):
        def do_GET(self):
            begun.append(self)
            self.respond(200, b"long" * 15_000)

    begun = []
    server = serve(Long)
    client = connect(server)
    client.sendall(GET * 300)
    run_until(map, lambda: begun)
    server.shut_down(keep_idle=0)
    assert len(begun) < 300
    reader = Reader([client])
    run()
    (responses,) = reader.received()
    assert responses.count(b"\r\nConnection: close\r\n") == 1
    assert responses.count(b"HTTP/1.1 200 ") == len(begun) < 300


def test_responses_that_take_longer_are_completed(map, run, serve, connect):
    class Late(Hello):
        def do_GET(self):
            late.append(self)

        def do_POST(self):
            self.respond(200, b"go on")
            late[0].respond(200, b"at last")

    late = []
    server = serve(Late)
    client, other = connect(server), connect(server)
    client.sendall(GET)
    run_until(map, lambda: late and len(map) == 3)
    server.shut_down(keep_idle=3600)
    reader = Reader([client])
    threading.Timer(0.05, other.sendall, [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"]).start()
    other_reader = Reader([other])
    run()
    assert reader.received()[0].endswith(b"at last")
    assert other_reader.received()[0].endswith(b"go on")


def test_an_upgraded_connection_is_told_as_a_channel_is(map, run, serve, connect):
    class Upgraded(Hello):
        def handle_upgrade(self):
            self.send_response(101)
            self.end_headers()
            return True

    server = serve(Upgraded)
    client = connect(server)
    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n"
    assert ask(map, client, request).startswith(b"HTTP/1.1 101 ")
    server.shut_down(keep_idle=0)
    reader = Reader([client])
    run()
    assert reader.received() == [b""]


# Health


def test_health(map, serve, connect):
    server = serve(health="/healthz")
    client, other = connect(server), connect(server)
    asked = GET.replace(b"/ ", b"/healthz ")
    assert ask(map, client, asked).startswith(b"HTTP/1.1 200 ")
    assert ask(map, client, asked.replace(b"GET", b"HEAD")).endswith(b"\r\n\r\n")
    assert ask(map, client, asked.replace(b"healthz", b"healthz?from=proxy")).startswith(b"HTTP/1.1 200 ")
    assert ask(map, other).endswith(b"hello")
    server.shut_down(drain=0.1, keep_idle=0)
    other_asked = connect(server)
    assert ask(map, other_asked, asked).startswith(b"HTTP/1.1 503 ")
    assert ask(map, other).endswith(b"hello")
    for each in client, other, other_asked:
        each.close()
    loop(map=map)
    assert len(server.lines) == 2
    assert "healthz" not in "".join(server.lines)


def test_health_is_asked_for_before_the_handler(map, serve, connect):
    class Guarded(Hello):
        def handle_head(self):
            self.send_error(401)

    server = serve(Guarded, health="/healthz")
    assert ask(map, connect(server), GET.replace(b"/ ", b"/healthz ")).startswith(b"HTTP/1.1 200 ")
    assert ask(map, connect(server)).startswith(b"HTTP/1.1 401 ")


def test_without_a_path_it_is_the_handler_s(map, serve, connect):
    assert ask(map, connect(serve()), GET.replace(b"/ ", b"/healthz ")).endswith(b"hello")


@pytest.mark.parametrize(("path", "error"), [("healthz", ValueError), ("/a?b", ValueError), (True, TypeError)])
def test_a_path_for_health_that_is_none(map, path, error):
    with pytest.raises(error, match="health"):
        http_server(LOCAL, Hello, map=map, health=path)
    assert not map
