"""loop_counters(), status(), watch() and dump_on(): what operators see of a loop."""

import asyncio
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import asynchat_fast
from asynchat_fast import (
    SocketMap,
    aio,
    async_chat,
    asyncore,
    call_later,
    chat_server,
    dump_on,
    file_producer,
    loop,
    loop_counters,
    simple_producer,
    status,
    watch,
)
from asynchat_fast.http import http_request_handler, http_server

PATIENCE = 20  # seconds; a wait takes milliseconds unless something hangs
LOCAL = ("127.0.0.1", 0)
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1])}  # for the package under test

posix_only = pytest.mark.skipif(os.name != "posix", reason="only POSIX has these signals")


@pytest.fixture(params=[SocketMap, dict])
def map(request):
    """An asyncore map of each kind."""
    channels = request.param()
    yield channels
    asyncore.close_all(channels, ignore_all=True)


class Chat(async_chat):
    def __init__(self, sock, map=None):
        super().__init__(sock, map)
        self.set_terminator(b"\n")

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        self.handle_line(self._get_data())

    def handle_line(self, line):
        pass


@pytest.fixture
def pair(map):
    """A channel, and the socket that it is connected to."""
    ours, theirs = socket.socketpair()
    with theirs:
        yield Chat(ours, map), theirs


def run_until(map, condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition has not become true"
        loop(0.01, map=map, count=1)


# loop_counters()


def test_a_map_that_was_never_served(map):
    assert loop_counters(map) == {"passes": 0, "events": 0, "busy": 0, "longest": 0}


def test_what_is_counted(map, pair):
    channel, peer = pair
    seen = []

    def handle_line(line):
        time.sleep(0.02)
        call_later(0.05, end, map=map)

    def end():
        seen.append(loop_counters(map))
        channel.close()

    channel.handle_line = handle_line
    peer.sendall(b"hello\n")
    began = time.monotonic()
    loop(map=map)
    took = time.monotonic() - began
    (counted,) = seen
    assert 2 <= counted["passes"] < 20
    assert 1 <= counted["events"] < 20
    assert 0.02 <= counted["longest"] <= counted["busy"] < took - 0.04  # which leaves out the wait for the timer
    assert {name: type(value) for name, value in counted.items()} == {
        "passes": int,
        "events": int,
        "busy": float,
        "longest": float,
    }


def test_time_between_loops_does_not_count(pair):
    channel, _ = pair
    map = channel._map
    for _ in range(3):
        loop(0, map=map, count=1)
        time.sleep(0.5)
    assert loop_counters(map)["longest"] < 0.5
    assert loop_counters(map)["passes"] == (3 if type(map) is SocketMap else 0)


def test_the_map_of_asyncore_is_the_default(monkeypatch):
    monkeypatch.setattr(asyncore, "socket_map", SocketMap())
    call_later(0, lambda: None)
    ours, theirs = socket.socketpair()
    with theirs:
        Chat(ours).close_when_done()
        loop()
    assert loop_counters()["passes"] > 0


def test_a_nested_loop_does_not_make_waiting_of_others_long(pair):
    channel, peer = pair
    map = channel._map
    seen = []

    def handle_line(line):
        loop(0.5, map=map, count=1)
        call_later(0, end, map=map)

    def end():
        seen.append(loop_counters(map))
        channel.close()

    channel.handle_line = handle_line
    peer.sendall(b"hello\n")
    loop(map=map)
    assert seen[0]["longest"] < 0.5


def test_embedded(pair):
    channel, peer = pair
    map = channel._map

    async def serve():
        async with aio.embedded(map):
            channel.handle_line = lambda line: time.sleep(0.02)
            peer.sendall(b"hello\n")
            while loop_counters(map)["longest"] < 0.02:
                await asyncio.sleep(0.01)
            return loop_counters(map)

    began = time.monotonic()
    counted = asyncio.run(serve())
    assert counted["events"] >= 1
    assert 0.02 <= counted["longest"] <= counted["busy"] < time.monotonic() - began


def test_loop_called_by_asyncio_s_code_while_embedded(pair):
    """The time between two passes is not counted, neither before such a call nor after it, nor at the end."""
    map = pair[0]._map

    async def serve():
        async with aio.embedded(map):
            for _ in range(3):
                await asyncio.sleep(0.05)
                loop(0.01, map=map, count=1)

    began = time.monotonic()
    asyncio.run(serve())
    assert loop_counters(map)["longest"] <= loop_counters(map)["busy"] < time.monotonic() - began - 0.15


# status()


def of(map, cls):
    (entry,) = [entry for entry in status(map) if entry["class"] == cls]
    return entry


def test_a_server_and_its_connections(map):
    server = chat_server(LOCAL, Chat, map=map)
    with socket.create_connection(server.addr) as client:
        run_until(map, lambda: len(map) == 2)
        channel = next(each for each in map.values() if each is not server)
        assert status(map) == [
            {
                "fd": server.socket.fileno(),
                "class": "chat_server",
                "addr": server.addr,
                "state": "listening",
                "unsent": 0,
                "request": None,
            },
            {
                "fd": channel.socket.fileno(),
                "class": "Chat",
                "addr": client.getsockname(),
                "state": "connected",
                "unsent": 0,
                "request": None,
            },
        ]


def test_what_waits_to_be_sent(map, pair, tmp_path):
    channel, _ = pair
    (tmp_path / "file").write_bytes(bytes(3000))
    channel.send = lambda data: (_ for _ in ()).throw(BlockingIOError)
    channel.push(b"12345")
    channel.push(memoryview(bytearray(10)))
    channel.push_with_producer(simple_producer(b"x" * 100))
    channel.push_with_producer(file_producer(open(tmp_path / "file", "rb")))  # noqa: SIM115
    entry = of(map, "Chat")
    assert (entry["unsent"], entry["state"]) == (5 + 10 + 100 + 3000, "connected")
    channel.close_when_done()
    assert of(map, "Chat")["state"] == "closing"


def test_a_connection_that_is_being_made(map):
    with socket.create_server(LOCAL) as server:
        channel = Chat(None, map)
        channel.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        assert of(map, "Chat")["state"] == "connecting"
        channel.connect(server.getsockname())
        run_until(map, lambda: channel.connected)
        assert of(map, "Chat")["state"] == "connected"
        assert of(map, "Chat")["addr"] == server.getsockname()


def test_dispatchers_of_others(map):
    ours, theirs = socket.socketpair()
    with theirs:
        asyncore.dispatcher(ours, map)
        assert of(map, "dispatcher")["state"] == "connected"


class Slow(http_request_handler):
    """Responds when told."""

    def do_GET(self):
        pass


def test_requests(map):
    server = http_server(LOCAL, Slow, map=map)
    with socket.create_connection(server.addr) as client:
        run_until(map, lambda: len(map) == 2)
        assert (of(map, "Slow")["request"], of(map, "Slow")["state"]) == (None, "connected")
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        run_until(map, lambda: of(map, "Slow")["request"] is not None)
        assert of(map, "Slow")["request"] == "GET /slow HTTP/1.1"
        handler = next(each for each in map.values() if each is not server)
        handler.close_connection = True
        handler.respond(200, b"at last")
        assert (of(map, "Slow")["request"], of(map, "Slow")["state"]) == (None, "closing")


def test_tls(map, certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.key)
    server = chat_server(LOCAL, Chat, map=map, tls=context)
    with socket.create_connection(server.addr) as client:
        run_until(map, lambda: len(map) == 2)
        assert of(map, "Handshake")["state"] == "handshake"
        assert of(map, "Handshake")["addr"] == client.getsockname()
        heard = []

        def converse():
            trust = ssl.create_default_context(cafile=certificates.ca)
            with trust.wrap_socket(client, server_hostname="localhost") as tls:
                tls.sendall(b"hello\n")
                heard.append(tls.recv(10))

        thread = threading.Thread(target=converse, daemon=True)
        thread.start()
        run_until(map, lambda: "Chat" in [entry["class"] for entry in status(map)])
        entry = of(map, "Chat")
        assert (entry["state"], entry["unsent"]) == ("connected", 0)
        asyncore.close_all(map)
        thread.join(PATIENCE)


def test_what_is_no_connection_is_left_out(map):
    server = chat_server(LOCAL, Chat, map=map)
    server.shut_down(drain=3600)
    assert len(map) == 2
    assert [entry["class"] for entry in status(map)] == ["chat_server"]


# watch()


def hang_here(seconds):
    time.sleep(seconds)


@pytest.fixture
def lines(caplog):
    """What has been logged by the watch."""
    caplog.set_level(logging.WARNING, "asynchat_fast")
    return lambda: [each.getMessage() for each in caplog.records if each.name == "asynchat_fast.watch"]


def test_the_line_that_hangs_is_logged_once_while_it_hangs(map, pair, lines):
    channel, peer = pair
    logged = []

    def handle_line(line):
        hang_here(0.5)
        logged.extend(lines())
        channel.close()

    channel.handle_line = handle_line
    peer.sendall(b"hello\n")
    watching = watch(0.05, map)
    try:
        loop(map=map)
    finally:
        watching.stop()
    (line,) = logged
    assert "busy for 0." in line
    assert "in hang_here" in line


def test_a_loop_that_waits_or_does_not_run_is_left_in_peace(map, pair, lines):
    watching = watch(0.02, map)
    try:
        loop(0.15, map=map, count=1)
        time.sleep(0.1)
        call_later(0.1, pair[0].close, map=map)
        loop(map=map)
        time.sleep(0.1)
    finally:
        watching.stop()
    assert not lines()


def test_stop(map, pair, lines):
    watching = watch(0.01, map)
    watching.stop()
    watching.join(PATIENCE)
    assert not watching.is_alive()
    watching.stop()


@pytest.mark.parametrize("slow", [0, -1, float("nan")])
def test_a_time_that_is_none(slow):
    with pytest.raises(ValueError, match="slow"):
        watch(slow)


# dump_on()

HANGING = """\
import signal, sys
import asynchat_fast
from asynchat_fast import chat_server, async_chat, dump_on, loop, call_later

def hang_here():
    print("hangs", flush=True)
    {hang}

dump_on(signal.SIGUSR1)
chat_server(("127.0.0.1", 0), async_chat)
call_later(0, hang_here)
loop()
"""


def said_at_a_signal(hang, last):
    """Return what a program says at a signal that is in *hang*, its code, up to the line that has *last* in it."""
    with subprocess.Popen(
        [sys.executable, "-c", HANGING.format(hang=hang)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        try:
            assert process.stdout.readline() == "hangs\n"
            process.send_signal(signal.SIGUSR1)
            said = ""
            while last not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
        finally:
            process.kill()
    return said


@posix_only
@pytest.mark.parametrize(
    "hang", ["while True: pass", "import time; time.sleep(60)", "call_later(0, sys.stdin.readline)", "return"]
)
def test_a_signal_shows_the_stack_and_the_status(hang):
    said = said_at_a_signal(hang, "listening")
    assert "most recent call first" in said
    assert "hang_here" in said or hang in ("return", "call_later(0, sys.stdin.readline)")
    assert "passes=" in said
    assert "class='chat_server'" in said


@posix_only
def test_a_signal_shows_the_stack_within_a_library():
    """Python's own handlers of signals do not run before it returns."""
    assert "in hang_here" in said_at_a_signal("sum(range(10**13))", "in hang_here")


@posix_only
@pytest.mark.parametrize("number", ["SIGABRT", "SIGKILL"])
def test_a_signal_that_cannot_be_had_leaves_nothing_behind(number):
    number = getattr(signal, number)
    before = signal.getsignal(number)
    with pytest.raises((RuntimeError, OSError, ValueError)):
        dump_on(number)
    assert signal.getsignal(number) is before


@pytest.mark.skipif(os.name == "posix", reason="where there are no such signals")
def test_without_signals_of_posix():
    with pytest.raises(NotImplementedError):
        dump_on(signal.SIGTERM)


def test_the_names_are_at_the_top():
    for name in "status", "watch", "dump_on", "loop_counters":
        assert name in dir(asynchat_fast)
        assert getattr(asynchat_fast, name).__doc__
