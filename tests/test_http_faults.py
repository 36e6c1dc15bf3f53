"""What http_request_handler owes a client, its program and its log where something goes wrong; over real sockets."""

import contextlib
import io
import re
import socket
import struct
import sys
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


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may not show it")
@pytest.mark.parametrize("is_begun", [False, True])
def test_a_client_that_resets_while_its_response_is_awaited_is_noticed(site, is_begun):
    site.serve(lambda self: self.write(b"begun") if is_begun else None, head_timeout=0.1)
    client = site.dial(get())
    site.until(lambda: site.handlers and site.handlers[0].handling)
    reset(client)
    site.until(lambda: len(site.map) == 1)
    assert logged(site) == [("200", "5")] * is_begun


def test_nothing_is_read_while_a_response_is_awaited_though_the_program_resumes_reading(site):
    site.serve(lambda self: None)
    site.dial(get())
    site.until(lambda: site.handlers and site.handlers[0].handling)
    (handler,) = site.handlers
    handler.pause_reading()
    handler.resume_reading()
    assert not handler.readable()
    handler.respond(200)
    assert handler.readable()


def test_a_pause_of_the_program_outlasts_the_response(site):
    site.serve(lambda self: None)
    client = site.dial(get())
    site.until(lambda: site.handlers and site.handlers[0].handling)
    (handler,) = site.handlers
    handler.pause_reading()
    handler.respond(200, b"first")
    assert site.receive(client, b"first")
    client.sendall(get())
    for _ in range(3):
        site.turn()
    assert not handler.handling
    handler.resume_reading()
    site.until(lambda: handler.handling)


def test_a_client_that_ends_its_output_gets_the_response_that_it_awaits(site):
    site.serve(lambda self: None, head_timeout=0.1)
    client = site.dial(get())
    client.shutdown(socket.SHUT_WR)
    site.until(lambda: site.handlers and site.handlers[0].handling)
    for _ in range(10):
        site.turn(0.02)
    site.handlers[0].respond(200, b"late")
    assert statuses(site.receive(client)) == [200]


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


def test_a_client_that_is_sending_receives_what_left_before_a_body_failed(site):
    site.serve(by_target)
    client = site.dial(get("/1") + get("/half"))
    site.until(lambda: len(site.lines) == 2)
    for _ in range(5):
        client.send(get("/3"))  # which a connection that is closed would answer by a reset
        site.turn()
    received = site.receive(client)
    assert statuses(received) == [200, 200]
    assert b"whole" in received
    assert b"half" in received


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


def test_responses_before_one_that_a_handler_breaks_off_leave(site):
    large = b"x" * 200_000

    def do_get(self):
        if self.target == "/bad":
            self.write(b"part")
            raise ValueError("a handler that fails")
        self.respond(200, large)

    site.serve(do_get)
    client = site.dial(get("/1") + get("/2") + get("/bad") + get("/3"), receive_buffer=4096)
    received = site.receive(client)
    assert statuses(received) == [200, 200, 200]
    assert received.count(b"x" * 1000) == 400
    assert received.endswith(b"\r\n4\r\npart\r\n")
    client.close()
    site.until(lambda: len(site.lines) == 3)
    assert logged(site)[2] == ("200", "4")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("is_written", [False, True])
def test_a_response_that_is_complete_leaves_whatever_its_handler_raises_then(site, version, is_written):
    large = b"x" * 1_000_000

    def do_get(self):
        if is_written:
            self.write(large)
            self.finish()
        else:
            self.respond(200, large)
        raise ValueError("a handler that fails")

    site.serve(do_get)
    received = site.ask(get(version=version), get())
    assert statuses(received) == [200]
    assert received.count(b"x" * 1000) == 1000
    site.until(lambda: site.lines)
    assert logged(site) == [("200", "1000000")]


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


# What waits to be sent


@pytest.mark.parametrize("status", [200, 204, 304])
def test_pipelined_requests_wait_while_responses_without_a_body_are_not_taken(site, status):
    site.serve(lambda self: self.respond(status, b""))
    client = site.dial(receive_buffer=4096)
    requests = get() * 2000
    sent, handled = 0, -1
    deadline = time.monotonic() + PATIENCE
    while handled != len(site.lines):
        handled = len(site.lines)
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += client.send(requests[sent % len(requests) :])
        for _ in range(5):
            site.turn()
        assert time.monotonic() < deadline
    waiting = sum(len(item) for item in site.handlers[0].producer_fifo if isinstance(item, bytes))
    assert 0 < waiting < 1 << 20


def test_interim_responses_count_as_bytes_that_wait(site):
    def do_get(self):
        self.respond(204)

    def handle_head(self):
        for _ in range(5000):
            self.send_response(103)
            self.send_header("Link", "<" + "a" * 100 + ">")
            self.end_headers()

    site.serve(do_get, handle_head=handle_head)
    site.dial(get() * 100, receive_buffer=4096)
    site.until(lambda: site.lines)
    for _ in range(20):
        site.turn()
    assert len(site.lines) < 20


def write_a_number(self):
    self.write(5)


def write_too_much(self):
    self.send_response(200)
    self.send_header("Content-Length", "3")
    self.write(b"12345")


@pytest.mark.parametrize("do_get", [write_a_number, write_too_much])
def test_a_first_write_that_cannot_be_sent_is_a_500(site, do_get):
    site.serve(do_get)
    assert statuses(site.ask(get())) == [500]
    assert [status for status, _ in logged(site)] == ["500"]


# Responses that nobody finishes


def forbid(self):
    self.send_response(403)
    self.send_header("Content-Length", "2")
    self.end_headers()
    self.wfile.write(b"no")


def put(body, *fields):
    return get("/", f"Content-Length: {len(body)}", *fields, method="PUT")


def test_a_response_of_handle_head_is_finished(site):
    site.serve(lambda self: self.respond(200, b"not reached"), handle_head=forbid)
    received = site.ask(get(), put(b"abc") + b"abc", get("/", "Connection: close"))
    assert statuses(received) == [403, 403, 403]
    assert received.count(b"\r\n\r\nno") == 3
    assert logged(site) == [("403", "2")] * 3


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_response_of_handle_expect_100_is_finished(site, is_whole):
    def refuse(self):
        if is_whole:
            forbid(self)
        else:
            self.send_response(403)
        return False

    site.serve(lambda self: self.respond(200, b"not reached"), handle_expect_100=refuse)
    received = site.ask(put(b"abc", "Expect: 100-continue"))
    assert statuses(received) == [403]
    assert [status for status, _ in logged(site)] == ["403"]


def test_headers_begun_by_handle_head_may_be_completed_by_the_handler(site):
    def begin(self):
        self.send_response(200)

    def do_get(self):
        self.send_header("X-A", "b")
        self.end_headers()

    site.serve(do_get, handle_head=begin)
    received = site.ask(get("/", "Connection: close"))
    assert statuses(received) == [200]
    assert b"X-A: b" in received


def test_what_a_handler_returns_is_ignored_once_a_response_is_begun(site, caplog):
    def do_get(self):
        self.send_response(200)
        return 5

    site.serve(do_get)
    assert statuses(site.ask(get(), get("/", "Connection: close"))) == [200, 200]
    assert not caplog.text


# The log


def cut_a_response(site, most):
    """Cut off a response of *most* bytes when it has begun; the log says that fewer were sent."""
    client = site.dial(get(), receive_buffer=4096)
    site.receive(client, b"x{100}")
    assert not site.lines
    reset(client)
    site.until(lambda: site.lines)
    ((status, size),) = logged(site)
    assert status == "200"
    assert 0 < int(size) < most


def test_the_log_says_what_was_sent_of_a_written_response_that_is_cut(site):
    def do_get(self):
        self.write(b"x" * 10_000_000)
        self.finish()

    site.serve(do_get)
    cut_a_response(site, 10_000_000)


@pytest.mark.parametrize("is_written", [False, True])
def test_the_log_says_what_was_sent_of_a_short_response_that_is_cut(site, is_written):
    def do_get(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        if is_written:
            self.write(b"x" * 200_000)
            self.finish()
        else:
            self.respond(200, b"x" * 200_000)

    site.serve(do_get)
    cut_a_response(site, 200_000)


def test_each_response_has_its_own_line_in_the_log_whatever_has_left(site):
    def do_get(self):
        self.respond(200, b"x" * int(self.path[1:]))

    sizes = [200_000, 5, 100_000, 70_000]
    site.serve(do_get)
    client = site.dial(b"".join(get(f"/{size}") for size in sizes), receive_buffer=4096)
    site.until(lambda: len(site.lines) >= 1)
    site.receive(client, b"x{70000}$")
    site.until(lambda: len(site.lines) == 4)
    assert logged(site) == [("200", str(size)) for size in sizes]
    assert [re.search("GET /([0-9]+)", line)[1] for line in site.lines] == [str(size) for size in sizes]


def test_the_log_says_the_whole_of_a_written_response_that_was_taken(site):
    def do_get(self):
        for _ in range(10):
            self.write(b"x" * 100_000)
        self.finish()

    site.serve(do_get)
    received = site.ask(get(), get("/", "Connection: close"))
    assert statuses(received) == [200, 200]
    assert logged(site) == [("200", "1000000")] * 2


def test_a_line_of_the_log_is_cut(site):
    site.serve(lambda self: None, log_format="combined", max_request_line=100)
    site.ask(b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n")
    assert len(site.lines[0]) < 300
    site.handlers.clear()
    site.serve(lambda self: self.respond(200), log_format="combined")
    site.ask(get("/", "Connection: close", "User-Agent: " + "a" * 60000))
    assert len(site.lines[1]) < 10000


# Limits


@pytest.mark.parametrize("off", [0, None, False])
def test_a_timeout_that_is_off_is_no_limit_and_no_busy_loop(site, off):
    names = ["head_timeout", "body_timeout", "keep_alive_timeout", "write_timeout", "response_timeout"]
    looks = []
    clock = time.monotonic

    def do_put(self):
        call_later(0.05, self.respond, 200, self.body, map=self._map)

    site.serve(do_put, min_body_rate=off, linger_timeout=off, **dict.fromkeys(names, off))
    client = site.dial()
    parts = [b"", b"PUT / HTTP/1.1\r\n", b"Host: a\r\nContent-Length: 3\r\n\r\n", b"ab", b"c"]
    for part in parts:
        client.sendall(part)
        end = clock() + 0.05
        while clock() < end:
            site.turn(0.05)
            looks.append(part)
    assert statuses(site.receive(client, b"abc$")) == [200]
    assert len(looks) < 50
    client.sendall(get("/", "Connection: close"))
    assert statuses(site.receive(client)) == [200]
    site.until(lambda: len(site.map) == 1)


def test_the_look_at_the_deadlines_is_never_a_busy_loop(site):
    site.serve(lambda self: None, keep_alive_timeout=1e-9, response_timeout=1e-9)
    client = site.dial()
    began = time.monotonic()
    site.until(lambda: site.handlers and site.handlers[0].socket.fileno() == -1)
    assert time.monotonic() - began < 5
    assert site.receive(client) == b""


def test_the_client_has_the_time_to_close_from_when_it_can_have_seen_the_end(site):
    size = 5_000_000
    site.serve(lambda self: self.respond(200, b"x" * size), linger_timeout=0.05)
    client = site.dial(get("/", "Connection: close"), receive_buffer=65536)
    received = b""
    while site.handlers == [] or site.handlers[0]._ac_is_sending():  # until the rest is in the kernel
        site.turn(0)
        with contextlib.suppress(BlockingIOError):
            received += client.recv(65536)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        site.turn()
    client.sendall(b"\r\n")
    received += site.receive(client)
    assert received.endswith(b"x" * 100)
    assert len(received) > size
    site.until(lambda: len(site.map) == 1)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_is_not_kept_may_be_of_any_size(site, is_chunked):
    site.serve(lambda self: self.respond(200, b"kept %d" % len(self.body)), keep_body=False, max_body=10)
    if is_chunked:
        request = get("/", "Transfer-Encoding: chunked", method="PUT") + b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n"
    else:
        request = put(b"x" * 100) + b"x" * 100
    received = site.ask(request, get("/", "Connection: close"))
    assert statuses(received) == [200, 200]
    assert received.count(b"kept 0") == 2


# What is said


def test_the_default_of_a_field_is_returned_as_it_is(site):
    defaults = [[], ["a", "b"], 5]
    found = []

    def do_get(self):
        found.extend(self.headers.get("x", default) for default in defaults)
        self.respond(204)

    site.serve(do_get)
    site.ask(get("/", "Connection: close"))
    assert all(one is other for one, other in zip(found, defaults, strict=True))


def test_a_status_that_is_no_int_is_refused_whatever_came_before(site, caplog):
    site.serve(lambda self: self.respond(200.0 if self.target == "/float" else 200, b"ok"))
    assert statuses(site.ask(get(), get("/float"))) == [200, 500]
    assert "status is a number (int), not 200.0" in caplog.text


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ("Expect:", 200),
        ("Expect: ,", 200),
        ("Expect: other", 417),
        ("Transfer-Encoding: gzip;level=1, chunked", 501),
        ('Transfer-Encoding: a ; b = "x, chunked, y" , chunked', 501),
        ("Transfer-Encoding: gzip;level, chunked", 400),
        ("Transfer-Encoding: gzip;, chunked", 400),
        ("Transfer-Encoding: chunked;a=b", 400),
        ("Transfer-Encoding: chunked, gzip;a=b", 400),
    ],
)
def test_fields_by_their_grammar(site, field, status):
    site.serve(lambda self: self.respond(200, b"ok"))
    assert statuses(site.ask(get("/", field, "Connection: close"))) == [status]


@pytest.mark.parametrize("status", [204, 304])
def test_an_error_without_content_has_no_length_of_a_page(site, status):
    site.serve(lambda self: self.send_error(status))
    received = site.ask(get())
    assert statuses(received) == [status]
    assert b"Content-Length" not in received
    assert received.endswith(b"\r\n\r\n")
