"""http_request_handler: the interface of its subclasses, over a pair of sockets and asynchat_fast's own loop."""

import contextlib
import gc
import io
import logging
import os
import re
import socket
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

import asynchat_fast
from asynchat_fast import async_chat, call_later, file_producer, loop, simple_producer
from asynchat_fast.http import HTTPError, file_handler, http_request_handler, http_server

PATIENCE = 20  # seconds


class Client:
    """The far end of a connection, which runs the server's loop while it waits."""

    def __init__(self, sock, map):
        self.sock = sock
        self.map = map
        self.received = b""
        sock.setblocking(False)

    def turn(self, timeout=0.0):
        """Let the server handle all that has arrived; tell whether it has closed."""
        loop(timeout, map=self.map, count=1)
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        self.received += data
        return not data

    def send(self, data):
        while data:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                self.turn()
        for _ in range(3):
            self.turn()

    def until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < deadline, self.received
            assert not self.turn(0.01) or condition(), self.received
        return found

    def until_closed(self):
        deadline = time.monotonic() + PATIENCE
        while not self.turn(0.01):
            assert time.monotonic() < deadline, self.received
        data, self.received = self.received, b""
        return data

    def response(self, method="GET"):
        """Return the status, the fields (lower-case name -> value) and the body of the next response."""
        self.until(lambda: b"\r\n\r\n" in self.received)
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        status = int(re.fullmatch(r"HTTP/1\.1 (\d{3}) [ -~]*", line)[1])
        fields = {name.lower(): value for name, value in (each.split(": ", 1) for each in lines)}
        return status, fields, self._body(status, fields, method)

    def _body(self, status, fields, method):
        if method == "HEAD" or status in (204, 304) or status < 200:
            return b""
        if "content-length" in fields:
            return self._take(int(fields["content-length"]))
        if "transfer-encoding" not in fields:
            return self.until_closed()
        body = b""
        while size := int(self._line(), 16):
            body += self._take(size)
            assert self._take(2) == b"\r\n"
        assert self._line() == b""
        return body

    def _take(self, size):
        self.until(lambda: len(self.received) >= size)
        data, self.received = self.received[:size], self.received[size:]
        return data

    def _line(self):
        self.until(lambda: b"\r\n" in self.received)
        line, _, self.received = self.received.partition(b"\r\n")
        return line

    def ask(self, request, method="GET"):
        self.send(request)
        return self.response(method)


@pytest.fixture
def map():
    """A map that the loop serves, whose channels are closed after the test."""
    channels = asynchat_fast.SocketMap()
    yield channels
    asynchat_fast.asyncore.close_all(channels, ignore_all=True)


@pytest.fixture
def connect(map):
    """A function that makes a handler of a class, and a client connected to it."""
    clients = []

    def connect(handler_class, *args, **kwargs):
        theirs, ours = socket.socketpair()
        handler_class(ours, *(args or (("192.0.2.1", 4711),)), map=map, **kwargs)
        clients.append(theirs)
        return Client(theirs, map)

    yield connect
    for sock in clients:
        sock.close()


def get(target="/", *fields, method="GET", version="1.1"):
    lines = [f"{method} {target} HTTP/{version}", "Host: example.org", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


def post(body, *fields, target="/"):
    return get(target, f"Content-Length: {len(body)}", *fields, method="POST") + body


class Plain(http_request_handler):
    """Calls its class attribute ``response``, a function of the handler, for each request."""

    def do_GET(self):
        type(self).response(self)

    do_POST = do_GET


def responding(function, **attributes):
    return type("Responding", (Plain,), {"response": staticmethod(function), **attributes})


# The documented example


class documented(async_chat):
    """A handler written after the example in asynchat's documentation, for itself, on async_chat."""

    def __init__(self, conn, addr, sessions, log, map=None):
        async_chat.__init__(self, conn=conn, map=map)
        self.addr = addr
        self.sessions = sessions
        self.ibuffer = []
        self.obuffer = b""
        self.set_terminator(b"\r\n\r\n")
        self.reading_headers = True
        self.handling = False
        self.cgi_data = None
        self.log = log

    def collect_incoming_data(self, data):
        self.ibuffer.append(data)

    def found_terminator(self):
        if self.reading_headers:
            self.reading_headers = False
            self.parse_headers(b"".join(self.ibuffer))
            self.ibuffer = []
            if self.op.upper() == b"POST":
                self.set_terminator(int(self.headers.getheader("content-length")))
            else:
                self.handling = True
                self.set_terminator(None)
                self.handle_request()
        elif not self.handling:
            self.set_terminator(None)
            self.cgi_data = b"".join(self.ibuffer)
            self.handling = True
            self.ibuffer = []
            self.handle_request()

    def parse_headers(self, data):
        self.op = data.split(b" ")[0]
        self.headers = self
        self.lines = data.split(b"\r\n")[1:]

    def getheader(self, name):
        return next(line.split(b":")[1] for line in self.lines if line.lower().startswith(name.encode()))

    def handle_request(self):
        self.sessions.append((bytes(self.op), self.cgi_data, self.handling, self.reading_headers))
        self.push(b"HTTP/1.0 200 OK\r\n\r\n" + (self.cgi_data or b"nothing"))
        self.close_when_done()


class only_the_request(http_request_handler):
    """A handler that overrides the method which asynchat's example leaves to its subclasses."""

    def handle_request(self):
        op = b"POST" if self.op == b"POST" else b"GET" if self.op.upper() == b"GET" else None
        self.sessions.append((op, self.cgi_data, self.handling, self.reading_headers))
        self.push(b"HTTP/1.0 200 OK\r\n\r\n" + (self.cgi_data or b"nothing"))
        self.close_when_done()


@pytest.mark.parametrize("handler_class", [documented, only_the_request])
@pytest.mark.parametrize(
    ("request_data", "op", "data"),
    [
        (get(), b"GET", None),
        (post(b"some data"), b"POST", b"some data"),
        (post(b"data") + b"over-sent", b"POST", b"data"),
    ],
)
def test_the_documented_example(connect, handler_class, request_data, op, data):
    sessions = []
    client = connect(handler_class, ("192.0.2.1", 4711), sessions, None)
    client.send(request_data)
    assert client.until_closed() == b"HTTP/1.0 200 OK\r\n\r\n" + (data or b"nothing")
    assert sessions == [(op, data, True, False)]


def test_the_attributes_of_the_example(connect):
    seen = {}

    def look(handler):
        names = ("addr", "sessions", "log", "obuffer", "reading_headers", "handling", "cgi_data")
        seen.update({name: getattr(handler, name) for name in names}, op=handler.op, headers=handler.headers)
        handler.respond(200)

    log = io.StringIO()
    connect(responding(look), ("192.0.2.1", 4711), {"a": "session"}, log).ask(get("/", "X-Twice: 1", "x-twice: 2"))
    assert seen["addr"] == ("192.0.2.1", 4711)
    assert seen["sessions"] == {"a": "session"}
    assert seen["log"] is log
    assert (seen["obuffer"], seen["reading_headers"], seen["handling"], seen["cgi_data"]) == (b"", False, True, None)
    assert seen["op"] == "GET" == seen["op"].upper()
    assert seen["op"] == b"GET" == seen["op"].upper()
    assert seen["op"] != b"POST"
    assert seen["op"] in (b"HEAD", b"GET")
    headers = seen["headers"]
    assert headers["HOST"] == headers.get("host") == headers.getheader("Host") == "example.org"
    assert headers.getheaders("x-Twice") == headers.get_all("X-TWICE") == ["1", "2"]
    assert headers["x-twice"] == "1, 2"
    assert "hOsT" in headers
    assert "nobody" not in headers
    assert headers.getheader("nobody") is headers.get("nobody") is headers.get_all("nobody") is None
    assert headers.get("nobody", "x") == "x"
    assert headers.getheaders("nobody") == []
    assert list(headers) == ["Host", "X-Twice"]
    assert str(headers) == "Host: example.org\r\nX-Twice: 1\r\nx-twice: 2\r\n"
    with pytest.raises(KeyError):
        headers["nobody"]


@pytest.mark.parametrize("arguments", [{"conn": True}, {"sock": True}])
def test_the_names_of_the_socket(arguments, map):
    ours, theirs = socket.socketpair()
    with theirs:
        handler = http_request_handler(**dict.fromkeys(arguments, ours), map=map)
        assert handler.socket is ours
        assert handler.sessions is handler.log is None


def test_it_is_importable_from_the_package_and_only_then_imported(run_python):
    code = "import sys, asynchat_fast; assert 'asynchat_fast.http' not in sys.modules; "
    code += "from asynchat_fast import http_request_handler; print(http_request_handler.__module__)"
    process = run_python("-c", code)
    assert process.stdout.split() == ["asynchat_fast.http.handler"], process.stderr
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        asynchat_fast.nothing  # noqa: B018


# Bodies of requests


def test_bodies_are_bytes_a_file_and_data(connect):
    seen = []

    def look(handler):
        seen.append((handler.body, handler.rfile.read(), handler.cgi_data))
        handler.respond(200)

    client = connect(responding(look))
    form = b"a=1&b=%C3%A4+x&a=2&c="
    client.ask(post(form, "Content-Type: application/X-www-form-urlencoded; charset=utf-8"))
    client.ask(post(b"pieces"))
    client.ask(post(b""))
    assert seen == [
        (form, form, {"a": ["1", "2"], "b": ["ä x"], "c": [""]}),
        (b"pieces", b"pieces", b"pieces"),
        (b"", b"", None),
    ]


def test_a_body_that_only_claims_to_be_a_form_is_bytes(connect):
    """curl sends any body as a form, unless it is given a content type."""
    client = connect(responding(lambda handler: handler.respond(200, handler.cgi_data)))
    assert client.ask(post(b"a=\xff", "Content-Type: application/x-www-form-urlencoded"))[2] == b"a=\xff"


def test_a_body_that_cannot_be_parsed_may_be_refused(connect):
    class Picky(Plain):
        def parse_body(self, headers, data):
            raise HTTPError(422, "no")

        def response(self):
            self.respond(200, self.cgi_data)

    assert connect(Picky).ask(post(b"x"))[0] == 422


def test_parse_body_may_be_overridden(connect):
    class Lines(Plain):
        def parse_body(self, headers, data):
            return headers["content-type"], data.split(b"\n")

        def response(self):
            self.respond(200, repr(self.cgi_data))

    assert connect(Lines).ask(post(b"a\nb", "Content-Type: lines"))[2] == b"('lines', [b'a', b'b'])"


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_may_be_taken_as_they_come(connect, chunked):
    class Streaming(Plain):
        stream_body = True
        max_body = 10
        views = ()

        def body_data(self, view):
            assert type(view) is memoryview
            self.views = [*self.views, bytes(view)]

        def response(self):
            self.respond(200, b"|".join(self.views))

    client = connect(Streaming)
    for part in (b"first ", b"second ", b"and more than is kept"):
        if chunked and part == b"first ":
            client.send(get("/", "Transfer-Encoding: chunked", method="POST"))
        elif part == b"first ":
            client.send(get("/", "Content-Length: 34", method="POST"))
        client.send(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
    if chunked:
        client.send(b"0\r\nX-Trailer: here\r\n\r\n")
    assert client.response()[2] == b"first |second |and more than is kept"


def test_an_exception_while_a_body_is_taken_is_a_500(connect, caplog):
    class Failing(Plain):
        stream_body = True

        def body_data(self, view):
            raise ZeroDivisionError

    client = connect(Failing)
    status, fields, _ = client.ask(post(b"pieces") + get())
    assert (status, fields["connection"]) == (500, "close")
    assert client.until_closed() == b""
    assert "ZeroDivisionError" in caplog.text


def test_trailers_are_kept_apart(connect):
    def look(handler):
        handler.respond(200, f"{dict(handler.trailers)} {'x-trailer' in handler.headers}")

    chunks = b"2;ext=1\r\nab\r\n0\r\nX-Trailer: here\r\nContent-Length: 99\r\n\r\n"
    _, _, body = connect(responding(look)).ask(get("/", "Transfer-Encoding: chunked", method="POST") + chunks)
    assert body == b"{'X-Trailer': 'here', 'Content-Length': '99'} False"


# Early responses


class Picky(Plain):
    def handle_head(self):
        if self.path == "/refused":
            self.respond(403, b"no")

    def response(self):
        self.respond(200, self.body)


def test_a_response_before_the_body_keeps_the_connection_if_it_is_small(connect):
    client = connect(Picky)
    client.send(get("/refused", "Content-Length: 5", method="POST"))
    status, fields, body = client.response()
    assert (status, body, "connection" in fields) == (403, b"no", False)
    assert client.ask(b"abcde" + post(b"next"))[2] == b"next"


@pytest.mark.parametrize("field", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_a_response_before_the_body_closes_if_it_is_not(connect, field):
    client = connect(Picky)
    client.send(get("/refused", field, method="POST"))
    status, fields, _ = client.response()
    assert (status, fields["connection"]) == (403, "close")
    client.send(b"5\r\nabcde\r\n0\r\n\r\n" + get())
    assert client.until_closed() == b""


def test_input_after_a_refusal_does_not_destroy_it(connect):
    """A client that is still sending must be able to read the response."""
    client = connect(Picky)
    client.send(get("/refused", "Content-Length: 200000000", method="POST") + bytes(200_000))
    assert client.until_closed().startswith(b"HTTP/1.1 403 ")


# Expect


def test_a_client_that_waits_for_100_gets_it(connect):
    client = connect(responding(lambda handler: handler.respond(200, handler.body)))
    client.send(get("/", "Content-Length: 2", "Expect: 100-Continue", method="POST"))
    assert client.response() == (100, {}, b"")
    assert client.ask(b"ab")[2] == b"ab"


@pytest.mark.parametrize("responses", [False, True])
def test_a_client_that_waits_for_100_may_be_refused(connect, responses):
    class Refusing(Plain):
        def handle_expect_100(self):
            if responses:
                self.respond(401, b"who are you?")
            return False

    client = connect(Refusing)
    status, fields, _ = client.ask(get("/", "Content-Length: 2", "Expect: 100-continue", method="POST"))
    assert (status, fields["connection"]) == (401 if responses else 417, "close")
    client.send(b"ab" + get())
    assert client.until_closed() == b""


def test_100_may_be_sent_as_http_server_has_it(connect):
    class Sending(Plain):
        def handle_expect_100(self):
            self.send_response_only(100)
            self.end_headers()
            return True

        def response(self):
            self.respond(200, self.body)

    client = connect(Sending)
    client.send(get("/", "Content-Length: 2", "Expect: 100-continue", method="POST"))
    assert client.response() == (100, {}, b"")
    assert client.ask(b"ab")[2] == b"ab"


# Responses in one call


class More:
    """A producer that is no more than that."""

    def __init__(self, *pieces):
        self.pieces = [*pieces, b""]

    def more(self):
        return self.pieces.pop(0)


SOURCE = Path(__file__)

BODIES = {
    "bytes": (lambda: b"some pieces", b"some pieces"),
    "nothing": (lambda: b"", b""),
    "bytearray": (lambda: bytearray(b"some pieces"), b"some pieces"),
    "view": (lambda: memoryview(b"s.o.m.e.")[::2], b"some"),
    "str": (lambda: "ä text", "ä text".encode()),
    "large": (lambda: b"x" * 300_000, b"x" * 300_000),
    "list": (lambda: [b"some ", b"", "ä", bytearray(b" pieces")], "some ä pieces".encode()),
    "empty list": (list, b""),
    "generator": (lambda: (b"%d " % number for number in range(5)), b"0 1 2 3 4 "),
    "producer": (lambda: More(b"some ", b"pieces"), b"some pieces"),
    "producer of a producer": (lambda: More(b"some ", More(More(b"pie"), b"ces")), b"some pieces"),
    "simple_producer": (lambda: simple_producer(b"y" * 2000), b"y" * 2000),
    "file in memory": (lambda: io.BytesIO(b"z" * 100_000), b"z" * 100_000),
    "file": (lambda: SOURCE.open("rb"), SOURCE.read_bytes()),
    "part of a file": (lambda: file_producer(SOURCE.open("rb"), 1, 20), SOURCE.read_bytes()[1:21]),
}

each_body = pytest.mark.parametrize(("make_body", "data"), BODIES.values(), ids=BODIES)


@each_body
def test_bodies_of_responses(connect, make_body, data):
    client = connect(responding(lambda handler: handler.respond(200, make_body())))
    status, fields, body = client.ask(get())
    assert (status, body) == (200, data)
    assert ("content-length" in fields) != ("transfer-encoding" in fields)
    assert client.ask(get())[2] == data  # on the same connection


@each_body
def test_bodies_of_responses_to_old_clients(connect, make_body, data):
    client = connect(responding(lambda handler: handler.respond(200, make_body())))
    status, fields, body = client.ask(get(version="1.0"))
    assert (status, body, fields["connection"]) == (200, data, "close")
    assert "transfer-encoding" not in fields


@each_body
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_responses_without_a_body(connect, make_body, data, method, status):
    client = connect(responding(lambda handler: handler.respond(status, make_body())))
    got, fields, _ = client.ask(get(method=method), method)
    assert got == status
    if status == 204:
        assert not {"content-length", "transfer-encoding"} & fields.keys()
    client.send(get(method=method))
    assert client.response(method)[0] == status  # and not a byte of a body before it


def test_the_next_request_is_looked_at_when_the_response_is_sent(connect):
    seen = []

    def slowly(handler):
        def pieces():
            for number in range(50):
                seen.append((handler.path, number))
                yield bytes(20_000)

        handler.respond(200, pieces())

    client = connect(responding(slowly))
    client.send(get("/1") + get("/2"))
    assert {path for path, _ in seen} == {"/1"}
    assert len(client.response()[2]) == len(client.response()[2]) == 1_000_000
    assert seen == [(path, number) for path in ("/1", "/2") for number in range(50)]


def test_a_body_that_fails_ends_the_connection_without_its_end(connect, caplog):
    def pieces():
        yield b"so far"
        raise ZeroDivisionError

    client = connect(responding(lambda handler: handler.respond(200, pieces())))
    client.send(get())
    data = client.until_closed()
    assert data.endswith(b"6\r\nso far\r\n") or data == b""
    assert "ZeroDivisionError" in caplog.text


def test_fields_of_a_response(connect):
    def respond(handler):
        if handler.path == "/pairs":
            handler.respond(200, b"x", [("X-One", "1"), ("X-One", b"2"), ("X-Number", 3)], "image/png")
        elif handler.path == "/mapping":
            handler.respond(
                200, b"x", {"content-type": "a/b", "Server": "mine", "Date": "today", "Connection": "close"}
            )
        else:
            handler.respond(200, "x")

    client = connect(responding(respond))
    fields = client.ask(get())[1]
    assert fields["content-type"] == "text/plain; charset=utf-8"
    assert set(fields) == {"content-type", "content-length", "date", "server"}
    client.send(get("/pairs"))
    client.until(lambda: b"\r\n\r\nx" in client.received)
    assert (
        b"\r\nContent-Type: image/png\r\nServer: asynchat_fast\r\nX-One: 1\r\nX-One: 2\r\nX-Number: 3\r\n"
        in client.received
    )
    client.received = b""
    fields = client.ask(get("/mapping"))[1]
    assert (fields["content-type"], fields["server"], fields["date"]) == ("a/b", "mine", "today")
    assert fields["connection"] == "close"
    assert client.until_closed() == b""


WRONG = {
    "CR LF in a value": ([("X", "a\r\nB: c")], ValueError),
    "LF in a value": ([("X", "a\nb")], ValueError),
    "NUL in a value": ([("X", b"a\0b")], ValueError),
    "colon in a name": ([("X:", "a")], ValueError),
    "LF in a name": ([("X\nY", "a")], ValueError),
    "no name": ([("", "a")], ValueError),
    "no Latin-1": ([("X", "€")], ValueError),
    "another length": ([("Content-Length", "7")], ValueError),
    "two lengths": ([("Content-Length", "1"), ("Content-Length", "1")], ValueError),
    "no length": ([("Content-Length", "+1")], ValueError),
    "framing": ([("Transfer-Encoding", "chunked")], ValueError),
}


@pytest.mark.parametrize(("fields", "error"), WRONG.values(), ids=WRONG)
def test_fields_that_would_break_a_response_do_not(connect, fields, error):
    errors = []

    def respond(handler):
        with pytest.raises(error) as raised:
            handler.respond(200, b"x", fields)
        errors.append(raised)
        handler.send_response(200)
        for name, value in fields[:1]:
            if name != "Content-Length":
                with pytest.raises(error):
                    handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(b"ok")

    client = connect(responding(respond))
    status, got, body = client.ask(get())
    assert (status, body, len(errors)) == (200, b"ok", 1)
    assert not {"x", "b"} & got.keys()


@pytest.mark.parametrize("status", [99, 600, 100, 199, -200])
def test_an_invalid_status_is_refused(connect, status, caplog):
    client = connect(responding(lambda handler: handler.respond(status)))
    assert client.ask(get())[0] == 500
    assert "ValueError" in caplog.text


def test_a_reason_cannot_break_a_response(connect, caplog):
    client = connect(responding(lambda handler: handler.send_response(200, "OK\r\nX: y")))
    assert client.ask(get())[0] == 500


def test_a_request_gets_one_response(connect):
    def twice(handler):
        handler.respond(200, b"first")
        for call in (lambda: handler.respond(200), lambda: handler.send_response(200), lambda: handler.write(b"x")):
            with pytest.raises(RuntimeError):
                call()
        handler.finish()  # it is, so that is fine

    client = connect(responding(twice))
    assert client.ask(get())[2] == client.ask(get())[2] == b"first"


def test_an_exception_is_a_500_and_logged(connect, caplog):
    client = connect(responding(lambda handler: 1 / 0))
    status, fields, body = client.ask(get("/<script>") + get())
    assert (status, fields["connection"]) == (500, "close")
    assert b"script" not in body
    assert client.until_closed() == b""
    assert "ZeroDivisionError" in caplog.text


def test_the_loop_may_be_ended_by_a_handler(connect):
    def end(handler):
        raise asynchat_fast.asyncore.ExitNow

    client = connect(responding(end))
    with pytest.raises(asynchat_fast.asyncore.ExitNow):
        client.send(get())


def test_an_exception_before_the_body_is_a_500(connect, caplog):
    class Failing(Plain):
        def handle_head(self):
            raise ZeroDivisionError

    assert connect(Failing).ask(post(b"x"))[0] == 500
    assert "ZeroDivisionError" in caplog.text


def test_an_exception_amidst_a_response_ends_the_connection(connect, caplog):
    def fail(handler):
        handler.write(b"so far")
        raise ZeroDivisionError

    client = connect(responding(fail))
    client.send(get() + get())
    assert not client.until_closed().endswith(b"0\r\n\r\n")


def test_an_http_error_gets_a_response_with_its_status(connect):
    def teapot(handler):
        raise HTTPError(418, "<short> & stout", (("X-Tea", "yes"),))

    client = connect(responding(teapot))
    status, fields, body = client.ask(get())
    assert (status, fields["x-tea"], fields["connection"]) == (418, "yes", "close")
    assert b"&lt;short&gt; &amp; stout" in body


# Responses as http.server has them


def test_step_by_step(connect):
    def steps(handler):
        handler.send_response(201, "Made")
        handler.send_header("X-Steps", "3")
        if handler.path == "/length":
            handler.send_header("Content-Length", "11")
        handler.end_headers()
        handler.wfile.write(b"some ")
        handler.wfile.writelines([b"pie", memoryview(b"ces")])
        handler.wfile.flush()

    client = connect(responding(steps))
    for target, framed in (("/", "transfer-encoding"), ("/length", "content-length")):
        status, fields, body = client.ask(get(target))
        assert (status, fields["x-steps"], body) == (201, "3", b"some pieces")
        assert framed in fields
    assert "content-length" in client.ask(get("/length", method="HEAD"), "HEAD")[1]
    assert client.ask(get(version="1.0"))[2] == b"some pieces"


def test_a_response_without_a_body_step_by_step(connect):
    def redirect(handler):
        handler.send_response(302)
        handler.send_header("Location", "/elsewhere")
        handler.end_headers()

    client = connect(responding(redirect))
    for _ in range(2):
        status, fields, body = client.ask(get())
        assert (status, fields["location"], body) == (302, "/elsewhere", b"")


def test_more_than_was_announced_is_an_error_and_less_closes(connect, caplog):
    def write(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "3")
        handler.end_headers()
        if handler.path == "/more":
            handler.wfile.write(b"abc")
            with pytest.raises(ValueError, match="3"):
                handler.wfile.write(b"d")
        else:
            handler.wfile.write(b"ab")

    client = connect(responding(write))
    assert client.ask(get("/more"))[2] == b"abc"
    client.send(get("/less") + get("/more"))
    assert client.until_closed().endswith(b"\r\n\r\nab")


@pytest.mark.parametrize("target", ["/close", "/attribute"])
def test_the_handler_may_close(connect, target):
    def close(handler):
        handler.close_connection = handler.path == "/attribute"
        handler.send_response(200)
        if handler.path == "/close":
            handler.send_header("Connection", "close")
        handler.end_headers()

    client = connect(responding(close))
    assert client.ask(get(target) + get(target))[1]["connection"] == "close"
    assert client.until_closed() == b""


def test_send_error(connect):
    client = connect(responding(lambda handler: handler.send_error(404, "<No>", "Not & never")))
    status, fields, body = client.ask(get())
    assert (status, fields["connection"], fields["content-type"]) == (404, "close", "text/html; charset=utf-8")
    assert b"<h1>404 &lt;No&gt;</h1>" in body
    assert b"Not &amp; never" in body
    client = connect(responding(lambda handler: handler.send_error(599)))
    assert client.ask(get(method="HEAD"), "HEAD")[0] == 599


# Deferred responses


@pytest.mark.parametrize("way", ["respond", "write", "steps", "nothing"])
def test_responses_may_come_later(connect, map, way):
    seen, waiting, responds = [], [], threading.Event()

    def later(handler):
        if way == "respond":
            handler.respond(200, b"later")
        elif way == "nothing":
            handler.finish()
        else:
            if way == "steps":
                handler.send_response(200)
                handler.send_header("Content-Length", 5)
            handler.write(b"la")
            call_later(0, end, handler, map=map)

    def end(handler):
        handler.write("ter")
        handler.finish()

    def defer(handler):
        seen.append(handler.path)
        if responds.is_set():
            call_later(0, later, handler, map=map)
        else:
            waiting.append(handler)

    client = connect(responding(defer))
    client.send(get("/1") + get("/2") + get("/3"))
    assert seen == ["/1"]  # the others wait
    responds.set()
    call_later(0, later, waiting[0], map=map)
    expected = b"" if way == "nothing" else b"later"
    assert [client.response()[2] for _ in range(3)] == [expected] * 3
    assert seen == ["/1", "/2", "/3"]
    assert client.ask(get("/4"))[2] == expected


def test_reading_pauses_until_the_response(connect, map):
    handlers = []
    client = connect(responding(handlers.append))
    client.send(get())
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 1 << 24:
            sent += client.sock.send(bytes(65536))
            client.turn()
    assert sent < 1 << 24
    handlers[0].respond(200)
    assert client.response()[0] == 200
    assert client.until_closed().startswith(b"HTTP/1.1 400 ")


def test_a_deferred_response_to_a_client_that_has_gone_is_dropped(connect, map, caplog):
    handlers = []
    client = connect(responding(handlers.append))
    client.send(get() + get())
    handlers[0].close()
    handlers[0].write(b"x")
    handlers[0].finish()
    assert len(handlers) == 1
    client = connect(responding(handlers.append))
    client.send(get())
    handlers[1].close()
    handlers[1].respond(200, iter([b"x"]))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# Half-closed clients, and the end


@pytest.mark.parametrize("deferred", [False, True])
def test_a_client_that_has_ended_its_sending_gets_its_responses(connect, map, deferred):
    def respond(handler):
        if deferred:
            call_later(0.01, handler.respond, 200, bytes(100_000), map=map)
        else:
            handler.respond(200, bytes(100_000))

    client = connect(responding(respond))
    client.sock.send(get() + get())
    client.sock.shutdown(socket.SHUT_WR)
    for _ in range(2):
        assert len(client.response()[2]) == 100_000
    assert client.until_closed() == b""
    assert not map


@pytest.mark.parametrize("data", [b"GET / HT", post(b"abcdef")[:-1], get("/", "Transfer-Encoding: chunked") + b"5\r\n"])
def test_a_client_that_ends_amidst_a_request_gets_an_error(connect, map, data):
    client = connect(responding(lambda handler: handler.respond(200)))
    client.send(data)
    client.sock.shutdown(socket.SHUT_WR)
    assert client.until_closed().startswith(b"HTTP/1.1 400 ")
    assert not map


def test_an_idle_connection_that_ends_is_closed_without_a_word(connect, map):
    client = connect(responding(lambda handler: handler.respond(200)))
    client.ask(get())
    client.sock.shutdown(socket.SHUT_WR)
    assert client.until_closed() == b""
    assert not map


def test_a_connection_leaves_nothing_behind(connect, map):
    held = []

    def respond(handler):
        held.append(weakref.ref(handler))
        handler.respond(200, iter([b"x"]))

    client = connect(responding(respond))
    client.ask(get("/", "Connection: close"))
    client.until_closed()
    client.sock.close()
    for _ in range(2):
        loop(0, map=map, count=1)
    assert not map
    gc.collect()
    assert held[0]() is None


# Upgrade


class Upgrading(Plain):
    """Takes the connection over for lines that are sent back."""

    taken = True

    def handle_upgrade(self):
        if not self.taken:
            return False
        self.lines = [self.body]
        self.send_response(101)
        self.send_header("Upgrade", self.headers["upgrade"])
        self.send_header("Connection", "upgrade")
        self.end_headers()
        self.collect_incoming_data = self.lines.append
        self.found_terminator = self.send_line_back
        self.set_terminator(b"\n")
        return True

    def send_line_back(self):
        self.push(b"".join(self.lines) + b"\n")
        self.lines.clear()

    def response(self):
        self.respond(200, self.body)


def test_a_connection_may_be_taken_over(connect):
    client = connect(Upgrading)
    status, fields, _ = client.ask(post(b"body ", "Upgrade: lines", "Connection: keep-alive, Upgrade") + b"one\ntwo\n")
    assert (status, fields) == (101, {"upgrade": "lines", "connection": "upgrade"})
    client.send(b"three\n")
    client.until(lambda: client.received == b"body one\ntwo\nthree\n")


def test_a_connection_that_is_taken_over_is_logged_once(connect):
    lines = []
    client = connect(Upgrading, ("192.0.2.1", 9), None, lines.append)
    client.send(post(b"", "Upgrade: lines", "Connection: upgrade") + b"one\n")
    client.until(lambda: client.received.endswith(b"one\n"))
    assert [line.rpartition('" ')[2] for line in lines] == ["101 -"]


@pytest.mark.parametrize("fields", [("Upgrade: lines",), ("Upgrade: lines", "Connection: upgrade")])
def test_an_upgrade_is_ignored_otherwise(connect, fields):
    class Not(Upgrading):
        taken = False

    assert connect(Not).ask(post(b"body", *fields))[2] == b"body"


# Logs


def log_of(connect, log, request, **attributes):
    client = connect(responding(lambda handler: handler.respond(200, b"ok"), **attributes), ("192.0.2.1", 9), None, log)
    client.send(request)
    client.until(lambda: client.received)


COMMON = r'192\.0\.2\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [-+]\d{4}\] "GET / HTTP/1\.1" 200 2'


class Log:
    def __init__(self):
        self.lines = []

    def log(self, line):
        self.lines.append(line)


def test_the_access_log_goes_to_a_function_or_an_object(connect):
    lines, log, file = [], Log(), io.StringIO()
    log_of(connect, lines.append, get())
    log_of(connect, log, get())
    log_of(connect, file, get())
    for line in (*lines, *log.lines, file.getvalue().removesuffix("\n")):
        assert re.fullmatch(COMMON, line)


def test_the_access_log_goes_to_loggers(connect, caplog):
    with caplog.at_level(logging.INFO, "asynchat_fast.http.access"):
        log_of(connect, None, get())
    with caplog.at_level(logging.INFO, "mine"):
        log_of(connect, logging.getLogger("mine"), get())
    first, second = caplog.records
    assert (first.name, second.name) == ("asynchat_fast.http.access", "mine")
    assert re.fullmatch(COMMON, first.getMessage())
    assert re.fullmatch(COMMON, second.getMessage())


def test_an_object_that_cannot_log_is_refused(map):
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TypeError, match="cannot be logged to"):
        http_request_handler(ours, None, None, 42, map=map)


def test_the_combined_log_has_no_control_characters(connect):
    lines = []
    request = get("/", 'Referer: a"b\x80\\', "User-Agent: agent").replace(b"\xc2\x80", b"\x80\xff")
    log_of(connect, lines.append, request, log_format="combined")
    assert re.fullmatch(COMMON + r' "a\\x22b\\x80ÿ\\x5c" "agent"', lines[0])


def test_refused_requests_are_logged(connect):
    lines = []
    log_of(connect, lines.append, b"GET / HTTP/1.1\x07\r\n\r\n")
    assert re.search(r'"GET / HTTP/1\.1\\x07" 400 \d+$', lines[0])


# Servers


def test_a_server_hands_shared_objects_to_its_handlers(map):
    seen = []

    class Handler(http_request_handler):
        def do_GET(self):
            seen.append((self.addr, self.sessions, self.log, self.address_string(), self.client_address == self.addr))
            self.respond(200, b"ok")

    sessions, lines = {}, []
    server = http_server(("127.0.0.1", 0), Handler, sessions, lines.append, map=map)
    with socket.create_connection(server.addr) as sock:
        client = Client(sock, map)
        assert client.ask(get())[2] == b"ok"
        assert seen == [(sock.getsockname(), sessions, server.log, "127.0.0.1", True)]


def test_a_server_ends_when_all_requests_have_their_responses(map):
    waiting = []

    class Handler(http_request_handler):
        def do_GET(self):
            waiting.append(self) if self.path == "/wait" else self.respond(200, b"ok")

    server = http_server(("127.0.0.1", 0), Handler, map=map)
    with (
        socket.create_connection(server.addr) as first,
        socket.create_connection(server.addr) as second,
        socket.create_connection(server.addr) as third,
    ):
        idle, busy, begun = Client(first, map), Client(second, map), Client(third, map)
        idle.ask(get())
        begun.send(get()[:-5])
        busy.send(get("/wait") + get())
        busy.until(lambda: waiting)
        server.shut_down(keep_idle=0)
        busy.until(lambda: not server.accepting)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(server.addr)
        assert idle.until_closed() == b""
        waiting[0].respond(200, b"the last")
        status, fields, body = busy.response()
        assert (status, body, fields["connection"]) == (200, b"the last", "close")
        assert busy.until_closed() == b""
        assert begun.ask(get()[-5:])[1]["connection"] == "close"
        begun.until_closed()
        for sock in (first, second, third):
            sock.close()
        loop(map=map)  # ends


def test_a_server_does_not_wait_for_ever_to_end(map):
    waiting = []

    class Handler(http_request_handler):
        def do_GET(self):
            waiting.append(self)

    server = http_server(("127.0.0.1", 0), Handler, map=map)
    with socket.create_connection(server.addr) as sock:
        client = Client(sock, map)
        client.send(get())
        client.until(lambda: waiting)
        server.shut_down(timeout=0.01)
        assert client.until_closed() == b""


# Timeouts


SHORT = {"head_timeout": 0.1, "body_timeout": 0.1, "keep_alive_timeout": 0.1, "write_timeout": 0.1}


@pytest.mark.parametrize(
    ("beginning", "status"),
    [
        (b"", None),
        (b"GET / HTTP/1.1\r\nHo", b"408"),
        (get("/", "Content-Length: 5", method="POST") + b"ab", b"408"),
        (get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nab", b"408"),
        (get("/", "Transfer-Encoding: chunked", method="POST"), b"408"),
    ],
    ids=["nothing", "head", "body", "chunk", "no chunk"],
)
def test_a_client_that_takes_too_long_is_closed(connect, map, beginning, status):
    client = connect(responding(lambda handler: handler.respond(200), **SHORT))
    client.send(beginning)
    data = client.until_closed()
    assert data.split(b" ")[1:2] == ([status] if status else [])
    client.sock.close()
    client.sock = socket.socketpair()[0]
    loop(map=map)
    assert not map


def test_a_dripping_client_is_closed(connect):
    client = connect(responding(lambda handler: handler.respond(200), **SHORT))
    client.send(b"GET / HTTP/1.1\r\nX: ")
    client.until(lambda: client.sock.send(b"x") and client.received)
    assert client.received.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_read_is_closed(connect, map):
    client = connect(responding(lambda handler: handler.respond(200, bytes(50_000_000)), **SHORT))
    client.sock.send(get())
    deadline = time.monotonic() + PATIENCE
    while map:
        assert time.monotonic() < deadline
        loop(0.01, map=map, count=1)


def test_no_more_requests_are_read_of_a_client_that_does_not_read(connect, map):
    count = 0

    def respond(handler):
        nonlocal count
        count += 1
        handler.respond(200, bytes(10_000))

    client = connect(responding(respond))
    request = get() * 1000
    for _ in range(20):
        try:
            client.sock.send(request)
        except BlockingIOError:
            break
        for _ in range(5):
            loop(0, map=map, count=1)
    assert count < 500
    for _ in range(1000):
        assert len(client.response()[2]) == 10_000


# Handlers that do not respond


@pytest.mark.parametrize("value", [b"bytes", "text", 5, {"a": 1}])
def test_a_value_without_a_response_is_a_500_with_advice(connect, value, caplog):
    class Returning(http_request_handler):
        def do_GET(self):
            return value

    assert connect(Returning).ask(get())[0] == 500
    assert "call respond()" in caplog.text


def test_a_coroutine_is_a_500(connect, caplog, recwarn):
    class Async(http_request_handler):
        async def do_GET(self):
            self.respond(200)

    client = connect(Async)
    assert client.ask(get())[0] == 500
    assert client.until_closed() == b""
    gc.collect()
    assert "call respond()" in caplog.text
    assert not recwarn.list  # of a coroutine that was never awaited


def test_a_value_beside_a_response_is_ignored(connect, caplog):
    class Writing(http_request_handler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            return self.wfile.write(b"written")

        def do_POST(self):
            self.respond(200, b"responded")
            return b"x"

        def handle_request(self):
            return super().handle_request()

    client = connect(Writing)
    assert client.ask(get())[2] == b"written"
    assert client.ask(post(b"body"))[2] == b"responded"
    assert client.ask(get())[2] == b"written"


def test_a_handler_that_forgets_to_respond_is_a_503(connect, caplog):
    class Forgetful(http_request_handler):
        response_timeout = 0.1

        def do_GET(self):
            pass

    client = connect(Forgetful)
    status, fields, _ = client.ask(get())
    assert (status, fields["connection"]) == (503, "close")
    assert client.until_closed() == b""
    assert "call respond()" in caplog.text


def test_a_response_that_is_to_come_may_be_waited_for(connect, map):
    class Patient(http_request_handler):
        response_timeout = None
        head_timeout = body_timeout = keep_alive_timeout = write_timeout = 0.05

        def do_GET(self):
            call_later(0.3, self.respond, 200, b"at last", map=map)

    assert connect(Patient).ask(get())[2] == b"at last"


def test_an_exception_after_the_response_does_not_take_it_back(connect, caplog):
    def fail(handler):
        handler.respond(200, b"whole")
        raise HTTPError(400, "too late") if handler.path == "/400" else ZeroDivisionError

    for target in ("/400", "/"):
        client = connect(responding(fail))
        client.send(get(target) + get())
        data = client.until_closed()
        assert data.endswith(b"\r\n\r\nwhole")
        assert data.count(b"HTTP/1.1 ") == 1


# Arguments


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("200",), "status"),
        ((200, {"a": 1}), "body"),
        ((200, 5), "body"),
        ((200, b"", [("X", None)]), "X"),
        ((200, b"", "X: y"), "headers"),
        ((200, b"x", (), 5), "content_type"),
    ],
)
def test_a_mistaken_argument_is_named(connect, arguments, named):
    def respond(handler):
        with pytest.raises(TypeError, match=named):
            handler.respond(*arguments)
        handler.respond(200, b"good")

    assert connect(responding(respond)).ask(get())[2] == b"good"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("127.0.0.1", 8000), r"address: write \('127\.0\.0\.1', 8000\)"),
        (("localhost:8000",), r"address: write \('localhost', 8000\)"),
        ((("127.0.0.1", 0), "handler"), "handler_class"),
        ((("127.0.0.1", 0), http_request_handler, None, 42), "cannot be logged to"),
    ],
)
def test_a_mistaken_argument_of_a_server_is_named(arguments, named, tmp_path, monkeypatch, map):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match=named):
        http_server(*arguments, map=map)
    assert list(tmp_path.iterdir()) == []
    assert not map


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has unix sockets without a file")
def test_a_unix_socket_without_a_file_is_an_address(map):
    name = b"\0asynchat_fast %d" % os.getpid()
    assert http_server(name, map=map).addr == name


# Handlers that were written for http.server


def test_the_names_of_http_server(map):
    class Written(http_request_handler):
        def do_GET(self):
            assert self.protocol_version == "HTTP/1.1"
            assert self.date_time_string(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
            assert self.version_string() == self.server_version
            assert self.responses[404][0] == "Not Found"
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(self.server.marker)
            assert self.server.server_address == self.socket.getsockname()

    server = http_server(("127.0.0.1", 0), Written, map=map)
    server.marker = b"ok"
    with socket.create_connection(server.addr) as sock:
        assert Client(sock, map).ask(get())[2] == b"ok"


# The log, and responses that are cut


def test_a_log_that_fails_harms_no_response(connect, capsys):
    def fail(line):
        raise OSError(28, f"no space for {fail}")

    client = connect(responding(lambda handler: handler.respond(200, iter([b"o", b"k"]))), ("192.0.2.1", 1), None, fail)
    client.send(get() + get())
    assert [client.response()[2] for _ in range(2)] == [b"ok", b"ok"]
    assert client.ask(get())[2] == b"ok"
    assert capsys.readouterr().err.count("no space for") == 1


CUT = {
    "in memory": lambda: bytes(5_000_000),
    "pieces": lambda: (bytes(10_000) for _ in range(500)),
    "file": lambda: io.BytesIO(bytes(5_000_000)),
}


@pytest.mark.parametrize("make_body", CUT.values(), ids=CUT)
@pytest.mark.parametrize("ends", ["client", "program"])
def test_a_response_that_is_cut_has_a_line_with_the_bytes_sent(connect, map, make_body, ends):
    handlers, lines = [], []

    def respond(handler):
        handlers.append(handler)
        handler.respond(200, make_body())

    client = connect(responding(respond), ("192.0.2.1", 1), None, lines.append)
    client.send(get())
    if ends == "client":
        client.sock.close()
        while map:
            loop(0.01, map=map, count=1)
    else:
        handlers[0].close()
    (line,) = lines
    assert 0 < int(line.rsplit(" ", 1)[1]) < 5_000_000
    handlers[0].close()
    assert len(lines) == 1


def test_responses_have_a_line_each(connect, map):
    lines = []

    def respond(handler):
        if handler.path == "/later":
            handler.write(b"some")
            call_later(0, handler.finish, map=map)
        else:
            handler.respond(200, bytes(500_000) if handler.path == "/large" else iter([b"piece"]))

    client = connect(responding(respond), ("192.0.2.1", 1), None, lines.append)
    for target in ("/large", "/pieces", "/later"):
        client.ask(get(target))
    client.ask(b"nonsense\r\n\r\n")
    client.until_closed()
    assert [line.rsplit('" ', 1)[1].split()[0] for line in lines] == ["200", "200", "200", "400"]
    assert [line.rsplit(" ", 1)[1] for line in lines[:3]] == ["500000", "5", "4"]


def test_a_body_that_ends_with_the_connection_is_reset_if_it_is_cut(map, caplog):
    """RFC 9112, 8: a client of HTTP/1.0 would take a clean end for that of the body."""

    class Failing(http_request_handler):
        def do_GET(self):
            def pieces():
                yield b"so far"
                if self.path == "/fails":
                    raise ZeroDivisionError

            self.respond(200, pieces())

    server = http_server(("127.0.0.1", 0), Failing, map=map)
    for target, is_whole in [("/fails", False), ("/", True)]:
        with socket.create_connection(server.addr) as sock:
            sock.sendall(get(target, version="1.0"))
            sock.setblocking(False)
            received = None
            while received != b"":
                loop(0.01, map=map, count=1)
                try:
                    received = sock.recv(65536)
                except BlockingIOError:
                    continue
                except ConnectionResetError:
                    break
            assert (received == b"") == is_whole


# Bodies that no handler reads


def test_a_body_that_no_handler_reads_is_discarded(connect):
    kept = []

    class Discarding(Plain):
        keep_body = False

        def response(self):
            kept.append(self.body)
            self.respond(200, b"ok")

    client = connect(Discarding)
    assert client.ask(post(bytes(1_000_000)))[2] == b"ok"
    assert client.ask(get())[2] == b"ok"
    assert kept == [b"", b""]
    client = connect(http_request_handler)
    assert client.ask(post(bytes(100_000)))[0] == 405


def test_the_body_of_a_request_for_a_file_is_discarded(connect, tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    kept = []

    class Site(file_handler):
        directory = tmp_path

        def log_request(self, code="-", size="-"):
            kept.append(len(self.body))

        def do_POST(self):
            self.respond(200, self.body)

    client = connect(Site)
    assert client.ask(get("/file", "Content-Length: 100000") + bytes(100_000))[2] == b"content"
    assert client.ask(get("/file", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n")[2] == b"content"
    assert client.ask(post(b"kept"))[2] == b"kept"
    assert kept == [0, 0, 4]


class Closable(More):
    closed = False

    def close(self):
        self.closed = True


def test_output_after_the_end_is_discarded_and_its_producers_closed(connect):
    handlers = []
    client = connect(responding(handlers.append))
    client.send(get())
    (handler,) = handlers
    sources = [Closable(b"x"), Closable(b"x"), Closable(b"x" * 10_000_000)]
    handler.respond(200, sources[2])
    handler.close()
    handler.respond(200, sources[0])
    handler.push_with_producer(sources[1])
    for _ in range(100):
        handler.push(bytes(100_000))
        handler.write(b"x")
    handler.finish()
    handler.close_when_done()
    assert not handler.producer_fifo
    assert all(source.closed for source in sources)


# Progress


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much data has left the machine")
def test_a_client_that_reads_steadily_is_served_to_the_end_however_slowly(connect):
    """The kernel may need longer than write_timeout to send the data it holds; that is no reason to close."""
    body = bytes(3_000_000)
    client = connect(responding(lambda handler: handler.respond(200, body), write_timeout=0.3))
    sock, received, until = client.sock, 0, time.monotonic() + 1.5
    sock.send(get())
    loop(0, map=client.map, count=1)
    while time.monotonic() < until:
        loop(0.02, map=client.map, count=1)
        received += len(sock.recv(4000))
    assert 0 < received < len(body) // 4
    while received < len(body):
        loop(0, map=client.map, count=1)
        with contextlib.suppress(BlockingIOError):
            data = sock.recv(1 << 20)
            assert data
            received += len(data)


def test_to_stay_is_counted_from_when_the_response_has_left(connect):
    client = connect(responding(lambda handler: handler.respond(200, bytes(1_000_000)), keep_alive_timeout=0.4))
    sock, received, until = client.sock, 0, time.monotonic() + 1.2
    sock.send(get())
    loop(0, map=client.map, count=1)
    while time.monotonic() < until:
        loop(0.02, map=client.map, count=1)
        received += len(sock.recv(4000))
    client.received = b"x" * received
    client.until(lambda: len(client.received) > 1_000_000)
    client.received = b""
    assert client.ask(get())[0] == 200


# A subclass after the example


def test_the_attributes_and_methods_of_the_example_may_be_overridden(connect):
    class Example(http_request_handler):
        def __init__(self, conn, addr, sessions, log, map=None):
            http_request_handler.__init__(self, conn, addr, sessions, log, map=map)
            self.ibuffer = []
            self.obuffer = b""
            self.set_terminator(b"\r\n\r\n")
            self.reading_headers = True
            self.handling = False
            self.cgi_data = None

        def parse_headers(self, data):
            self.op = data.split(b" ")[0]
            self.headers = {"lines": data.split(b"\r\n")[1:]}

        def handle_request(self):
            self.respond(200, repr((self.op, len(self.headers["lines"]), self.cgi_data)))

    client = connect(Example, ("192.0.2.1", 1), None, None)
    for _ in range(2):
        assert client.ask(get("/", "X: y"))[2] == b"(b'GET', 2, None)"
        assert client.ask(post(b"body"))[2] == b"(b'POST', 2, b'body')"


def test_a_source_that_cannot_be_closed_does_not_keep_the_connection(connect, map, caplog):
    class Stubborn(More):
        def close(self):
            raise ZeroDivisionError

    handlers = []
    client = connect(responding(handlers.append))
    client.send(get())
    handlers[0].respond(200, Stubborn(*[bytes(100_000)] * 100))
    handlers[0].push_with_producer(Stubborn(b"x"))
    handlers[0].close()
    assert not map
    assert "ZeroDivisionError" in caplog.text
