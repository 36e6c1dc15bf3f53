"""What http_request_handler owes a client, its program and its log where something goes wrong; over real sockets."""

import contextlib
import io
import re
import socket
import struct
import tempfile
import time

import pytest

import asynchat_fast
from asynchat_fast import call_later, file_producer, loop
from asynchat_fast.http import http_request_handler, http_server

PATIENCE = 20  # seconds


def get(target="/", *fields, method="GET", version="1.1"):
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: a", *fields, "", ""]).encode()


class Site:
    """A server on the loopback, and its clients, which run its loop while they wait."""

    def __init__(self, map):
        self.map = map
        self.lines = []
        self.handlers = []
        self.clients = []

    def serve(self, do_get, **attributes):
        site = self

        class handler(http_request_handler):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                site.handlers.append(self)

            def do_GET(self):
                return do_get(self)

            do_PUT = do_GET

        for name, value in attributes.items():
            setattr(handler, name, value)
        self.server = http_server(("127.0.0.1", 0), handler, log=self.lines.append, map=self.map)

    def dial(self, data=b"", receive_buffer=None):
        client = socket.socket()
        self.clients.append(client)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(self.server.addr)
        client.sendall(data)
        client.setblocking(False)
        return client

    def turn(self, timeout=0.01):
        loop(timeout, map=self.map, count=1)

    def until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            self.turn()

    def receive(self, client, until=None):
        """Return what comes to *client* up to the end, or to where it matches *until*."""
        received = b""
        deadline = time.monotonic() + PATIENCE
        while not (until and re.search(until, received, re.DOTALL)):
            assert time.monotonic() < deadline, received
            self.turn()
            with contextlib.suppress(BlockingIOError):
                data = client.recv(1 << 20)
                if not data:
                    return received
                received += data
        return received

    def ask(self, *requests, until=None):
        return self.receive(self.dial(b"".join(requests)), until)


@pytest.fixture
def site():
    map = asynchat_fast.SocketMap()
    site = Site(map)
    yield site
    asynchat_fast.asyncore.close_all(map, ignore_all=True)
    for client in site.clients:
        client.close()


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def statuses(received):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", received)]


def logged(site):
    """Return status and bytes of each line of the access log."""
    return [tuple(line.rsplit(" ", 2)[1:]) for line in site.lines]


# Clients that are gone


@pytest.mark.parametrize("request_", [get(), b"bad\r\n\r\n", b"GET", b""])
def test_a_client_that_was_gone_before_accept_leaves_nothing(site, request_):
    site.serve(lambda self: self.respond(200, b"ok"))
    reset(site.dial(request_))
    site.until(lambda: site.handlers)
    site.until(lambda: len(site.map) == 1)  # the server itself


def test_a_socket_that_is_not_connected_is_closed_when_a_response_is_due(site):
    site.serve(lambda self: None)
    site.dial(get())
    site.until(lambda: site.handlers and site.handlers[0].handling)
    handler = site.handlers[0]
    handler.connected = False
    handler.respond(200, b"late")
    assert handler.socket is None or handler.socket.fileno() == -1


def test_the_look_at_the_deadlines_closes_a_socket_that_is_not_connected(site):
    site.serve(lambda self: None, head_timeout=0.1)
    site.dial(get())
    site.until(lambda: site.handlers and site.handlers[0].handling)
    site.handlers[0].connected = False
    site.until(lambda: len(site.map) == 1)


# Bodies that are not what the head says


def bodies_of(*pieces):
    data = b"".join(pieces)
    return {
        "iterator": lambda: iter(pieces),
        "file": lambda: io.BytesIO(data),
        "producer": lambda: file_producer(io.BytesIO(data)),
    }


@pytest.mark.parametrize("kind", ["iterator", "file", "producer"])
def test_a_body_that_is_too_short_for_its_content_length_ends_with_the_connection(site, kind, caplog):
    make = bodies_of(b"a", b"bc")[kind]
    site.serve(lambda self: self.respond(200, make(), {"Content-Length": "5"}))
    received = site.ask(get(), get())
    assert statuses(received) == [200]
    assert received.endswith(b"\r\n\r\nabc")
    assert "Content-Length says 5, and the body has 3 bytes" in caplog.text
    assert logged(site) == [("200", "3")]


@pytest.mark.parametrize("kind", ["iterator", "file", "producer"])
def test_nothing_is_sent_beyond_the_content_length(site, kind, caplog):
    make = bodies_of(b"ab", b"cEVIL")[kind]
    site.serve(lambda self: self.respond(200, make(), {"Content-Length": "3"}))
    received = site.ask(get(), get())
    assert b"EVIL" not in received
    assert len(statuses(received)) == 1
    assert "than the 3 that Content-Length says" in caplog.text
    assert len(site.lines) == 1


def test_a_body_of_the_length_that_the_head_says_leaves_the_connection_open(site):
    site.serve(lambda self: self.respond(200, iter([b"ab", b"c"]), {"Content-Length": "3"}))
    received = site.ask(get(), get("/", "Connection: close"))
    assert statuses(received) == [200, 200]
    assert b"chunked" not in received
    assert received.count(b"\r\n\r\nabc") == 2


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_of_text_is_refused_as_a_body(site, wrapped, caplog, tmp_path):
    def body():
        return tempfile.NamedTemporaryFile("w+", dir=tmp_path) if wrapped else io.StringIO("text")

    site.serve(lambda self: self.respond(200, body()))
    assert statuses(site.ask(get())) == [500]
    assert "open it in binary mode" in caplog.text


# Bodies that fail


def failing(*pieces):
    yield from pieces
    raise ValueError("a body that fails")


def by_target(self):
    kind = self.target.strip("/")
    if kind == "later":
        call_later(0.01, self.respond, 200, failing(), map=self._map)
    else:
        self.respond(200, {"bad": failing, "half": lambda: failing(b"half")}.get(kind, lambda: b"whole")())


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("target", ["/bad", "/later"])
def test_a_body_that_fails_before_its_response_has_left_is_a_500(site, target, version):
    site.serve(by_target)
    received = site.ask(get("/1"), get("/2"), get(target, version=version))
    assert statuses(received) == [200, 200, 500]
    assert received.count(b"whole") == 2
    assert b"Connection: close" in received
    assert [status for status, _ in logged(site)] == ["200", "200", "500"]


def test_a_body_that_fails_after_its_beginning_is_cut_behind_the_responses_before_it(site):
    site.serve(by_target)
    received = site.ask(get("/1"), get("/2"), get("/half"), get("/3"))
    assert statuses(received) == [200, 200, 200]
    assert received.count(b"whole") == 2
    assert not received.endswith(b"0\r\n\r\n")
    assert logged(site)[2] == ("200", "4")


def test_responses_before_one_that_fails_leave_whatever_the_client_takes_at_once(site):
    large = b"x" * 200_000

    def do_get(self):
        self.respond(200, failing() if self.target == "/bad" else large)

    site.serve(do_get)
    client = site.dial(get("/1") + get("/bad"), receive_buffer=4096)
    received = site.receive(client)
    assert statuses(received)[0] == 200
    assert received.count(b"x" * 1000) == 200
    assert len(site.lines) == 2


def test_a_file_that_fails_at_once_is_a_500_behind_the_responses_before_it(site):
    class broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError("the disk")

    site.serve(lambda self: self.respond(200, broken(b"abc") if self.target == "/bad" else b"whole"))
    received = site.ask(get("/1"), get("/bad"))
    assert statuses(received) == [200, 500]
    assert b"whole" in received


def test_a_failing_body_is_closed_once(site):
    closed = []

    class body:
        def __iter__(self):
            return failing()

        def close(self):
            closed.append(True)

    site.serve(lambda self: self.respond(200, body()))
    assert statuses(site.ask(get())) == [500]
    assert closed == [True]
