"""http_request_handler: what its subclasses see and do, over a pair of sockets and asynchat_fast's own loop."""

import contextlib
import gc
import io
import logging
import re
import socket
import time
import weakref
from pathlib import Path

import pytest

import asynchat_fast
from asynchat_fast import async_chat, call_later, file_producer, loop, simple_producer
from asynchat_fast.http import HTTPError, http_request_handler, http_server

PATIENCE = 20  # seconds


class Client:
    """The far end of a connection, which runs the server's loop while it waits."""

    def __init__(self, sock, map):
        self.sock = sock
        self.map = map
        self.received = b""
        sock.setblocking(False)

    def turn(self, timeout=0.0):
        """Let the server do what it has to; tell whether it has closed."""
        loop(timeout, map=self.map, count=1)
        try:
            octets = self.sock.recv(1 << 20)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        self.received += octets
        return not octets

    def send(self, octets):
        while octets:
            try:
                octets = octets[self.sock.send(octets) :]
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
        octets, self.received = self.received, b""
        return octets

    def answer(self, method="GET"):
        """Return the status, the fields (lower-case name -> value) and the body of the next answer."""
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
        octets, self.received = self.received[:size], self.received[size:]
        return octets

    def _line(self):
        self.until(lambda: b"\r\n" in self.received)
        line, _, self.received = self.received.partition(b"\r\n")
        return line

    def ask(self, request, method="GET"):
        self.send(request)
        return self.answer(method)


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
    """Answers what it is told to by its class attribute ``answer``, a function of the handler."""

    def do_GET(self):
        type(self).answer(self)

    do_POST = do_GET


def answering(function, **attributes):
    return type("answering", (Plain,), {"answer": staticmethod(function), **attributes})


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

    def parse_headers(self, octets):
        self.op = octets.split(b" ")[0]
        self.headers = self
        self.lines = octets.split(b"\r\n")[1:]

    def getheader(self, name):
        return next(line.split(b":")[1] for line in self.lines if line.lower().startswith(name.encode()))

    def handle_request(self):
        self.sessions.append((bytes(self.op), self.cgi_data, self.handling, self.reading_headers))
        self.push(b"HTTP/1.0 200 OK\r\n\r\n" + (self.cgi_data or b"nothing"))
        self.close_when_done()


class only_the_request(http_request_handler):
    """One of today that overrides what the example leaves open."""

    def handle_request(self):
        op = b"POST" if self.op == b"POST" else b"GET" if self.op.upper() == b"GET" else None
        self.sessions.append((op, self.cgi_data, self.handling, self.reading_headers))
        self.push(b"HTTP/1.0 200 OK\r\n\r\n" + (self.cgi_data or b"nothing"))
        self.close_when_done()


@pytest.mark.parametrize("handler_class", [documented, only_the_request])
@pytest.mark.parametrize(
    ("request_octets", "op", "data"),
    [
        (get(), b"GET", None),
        (post(b"some data"), b"POST", b"some data"),
        (post(b"data") + b"over-sent", b"POST", b"data"),
    ],
)
def test_the_documented_example(connect, handler_class, request_octets, op, data):
    sessions = []
    client = connect(handler_class, ("192.0.2.1", 4711), sessions, None)
    client.send(request_octets)
    assert client.until_closed() == b"HTTP/1.0 200 OK\r\n\r\n" + (data or b"nothing")
    assert sessions == [(op, data, True, False)]


def test_what_the_example_relies_on(connect):
    seen = {}

    def look(handler):
        names = ("addr", "sessions", "log", "obuffer", "reading_headers", "handling", "cgi_data")
        seen.update({name: getattr(handler, name) for name in names}, op=handler.op, headers=handler.headers)
        handler.respond(200)

    log = io.StringIO()
    connect(answering(look), ("192.0.2.1", 4711), {"a": "session"}, log).ask(get("/", "X-Twice: 1", "x-twice: 2"))
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


def test_bodies_are_octets_a_file_and_data(connect):
    seen = []

    def look(handler):
        seen.append((handler.body, handler.rfile.read(), handler.cgi_data))
        handler.respond(200)

    client = connect(answering(look))
    form = b"a=1&b=%C3%A4+x&a=2&c="
    client.ask(post(form, "Content-Type: application/X-www-form-urlencoded; charset=utf-8"))
    client.ask(post(b"octets"))
    client.ask(post(b""))
    assert seen == [
        (form, form, {"a": ["1", "2"], "b": ["ä x"], "c": [""]}),
        (b"octets", b"octets", b"octets"),
        (b"", b"", None),
    ]


def test_what_only_says_that_it_is_a_form_are_octets(connect):
    """curl sends anything as a form, unless it is told what it is."""
    client = connect(answering(lambda handler: handler.respond(200, handler.cgi_data)))
    assert client.ask(post(b"a=\xff", "Content-Type: application/x-www-form-urlencoded"))[2] == b"a=\xff"


def test_a_body_that_cannot_be_parsed_may_be_refused(connect):
    class Picky(Plain):
        def parse_body(self, headers, octets):
            raise HTTPError(422, "no")

        def answer(self):
            self.respond(200, self.cgi_data)

    assert connect(Picky).ask(post(b"x"))[0] == 422


def test_parse_body_may_be_overridden(connect):
    class Lines(Plain):
        def parse_body(self, headers, octets):
            return headers["content-type"], octets.split(b"\n")

        def answer(self):
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

        def answer(self):
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
    assert client.answer()[2] == b"first |second |and more than is kept"


def test_an_exception_while_a_body_is_taken_is_a_500(connect, caplog):
    class Failing(Plain):
        stream_body = True

        def body_data(self, view):
            raise ZeroDivisionError

    client = connect(Failing)
    status, fields, _ = client.ask(post(b"octets") + get())
    assert (status, fields["connection"]) == (500, "close")
    assert client.until_closed() == b""
    assert "ZeroDivisionError" in caplog.text


def test_trailers_are_kept_apart(connect):
    def look(handler):
        handler.respond(200, f"{dict(handler.trailers)} {'x-trailer' in handler.headers}")

    chunks = b"2;ext=1\r\nab\r\n0\r\nX-Trailer: here\r\nContent-Length: 99\r\n\r\n"
    _, _, body = connect(answering(look)).ask(get("/", "Transfer-Encoding: chunked", method="POST") + chunks)
    assert body == b"{'X-Trailer': 'here', 'Content-Length': '99'} False"


# Early answers


class Picky(Plain):
    def handle_head(self):
        if self.path == "/refused":
            self.respond(403, b"no")

    def answer(self):
        self.respond(200, self.body)


def test_an_answer_before_the_body_keeps_the_connection_if_it_is_small(connect):
    client = connect(Picky)
    client.send(get("/refused", "Content-Length: 5", method="POST"))
    status, fields, body = client.answer()
    assert (status, body, "connection" in fields) == (403, b"no", False)
    assert client.ask(b"abcde" + post(b"next"))[2] == b"next"


@pytest.mark.parametrize("field", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_an_answer_before_the_body_closes_if_it_is_not(connect, field):
    client = connect(Picky)
    client.send(get("/refused", field, method="POST"))
    status, fields, _ = client.answer()
    assert (status, fields["connection"]) == (403, "close")
    client.send(b"5\r\nabcde\r\n0\r\n\r\n" + get())
    assert client.until_closed() == b""


def test_what_is_sent_after_a_refusal_does_not_destroy_it(connect):
    """A client that is still sending must be able to read what it is told."""
    client = connect(Picky)
    client.send(get("/refused", "Content-Length: 200000000", method="POST") + bytes(200_000))
    assert client.until_closed().startswith(b"HTTP/1.1 403 ")


# Expect


def test_who_waits_for_it_is_told_to_go_on(connect):
    client = connect(answering(lambda handler: handler.respond(200, handler.body)))
    client.send(get("/", "Content-Length: 2", "Expect: 100-Continue", method="POST"))
    assert client.answer() == (100, {}, b"")
    assert client.ask(b"ab")[2] == b"ab"


@pytest.mark.parametrize("answers", [False, True])
def test_who_waits_may_be_refused(connect, answers):
    class Refusing(Plain):
        def handle_expect_100(self):
            if answers:
                self.respond(401, b"who are you?")
            return False

    client = connect(Refusing)
    status, fields, _ = client.ask(get("/", "Content-Length: 2", "Expect: 100-continue", method="POST"))
    assert (status, fields["connection"]) == (401 if answers else 417, "close")
    client.send(b"ab" + get())
    assert client.until_closed() == b""


def test_100_may_be_sent_as_http_server_has_it(connect):
    class Sending(Plain):
        def handle_expect_100(self):
            self.send_response_only(100)
            self.end_headers()
            return True

        def answer(self):
            self.respond(200, self.body)

    client = connect(Sending)
    client.send(get("/", "Content-Length: 2", "Expect: 100-continue", method="POST"))
    assert client.answer() == (100, {}, b"")
    assert client.ask(b"ab")[2] == b"ab"


# Answers in one call


class More:
    """A producer that is no more than that."""

    def __init__(self, *pieces):
        self.pieces = [*pieces, b""]

    def more(self):
        return self.pieces.pop(0)


SOURCE = Path(__file__)

BODIES = {
    "octets": (lambda: b"some octets", b"some octets"),
    "nothing": (lambda: b"", b""),
    "bytearray": (lambda: bytearray(b"some octets"), b"some octets"),
    "view": (lambda: memoryview(b"s.o.m.e.")[::2], b"some"),
    "str": (lambda: "ä text", "ä text".encode()),
    "large": (lambda: b"x" * 300_000, b"x" * 300_000),
    "list": (lambda: [b"some ", b"", "ä", bytearray(b" octets")], "some ä octets".encode()),
    "empty list": (list, b""),
    "generator": (lambda: (b"%d " % number for number in range(5)), b"0 1 2 3 4 "),
    "producer": (lambda: More(b"some ", b"octets"), b"some octets"),
    "simple_producer": (lambda: simple_producer(b"y" * 2000), b"y" * 2000),
    "file in memory": (lambda: io.BytesIO(b"z" * 100_000), b"z" * 100_000),
    "file": (lambda: SOURCE.open("rb"), SOURCE.read_bytes()),
    "part of a file": (lambda: file_producer(SOURCE.open("rb"), 1, 20), SOURCE.read_bytes()[1:21]),
}

each_body = pytest.mark.parametrize(("make_body", "octets"), BODIES.values(), ids=BODIES)


@each_body
def test_bodies_of_answers(connect, make_body, octets):
    client = connect(answering(lambda handler: handler.respond(200, make_body())))
    status, fields, body = client.ask(get())
    assert (status, body) == (200, octets)
    assert ("content-length" in fields) != ("transfer-encoding" in fields)
    assert client.ask(get())[2] == octets  # on the same connection


@each_body
def test_bodies_of_answers_to_old_clients(connect, make_body, octets):
    client = connect(answering(lambda handler: handler.respond(200, make_body())))
    status, fields, body = client.ask(get(version="1.0"))
    assert (status, body, fields["connection"]) == (200, octets, "close")
    assert "transfer-encoding" not in fields


@each_body
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body(connect, make_body, octets, method, status):
    client = connect(answering(lambda handler: handler.respond(status, make_body())))
    got, fields, _ = client.ask(get(method=method), method)
    assert got == status
    if status == 204:
        assert not {"content-length", "transfer-encoding"} & fields.keys()
    client.send(get(method=method))
    assert client.answer(method)[0] == status  # and not an octet of a body before it


def test_the_next_request_is_looked_at_when_the_answer_is_sent(connect):
    seen = []

    def slowly(handler):
        def pieces():
            for number in range(50):
                seen.append((handler.path, number))
                yield bytes(20_000)

        handler.respond(200, pieces())

    client = connect(answering(slowly))
    client.send(get("/1") + get("/2"))
    assert {path for path, _ in seen} == {"/1"}
    assert len(client.answer()[2]) == len(client.answer()[2]) == 1_000_000
    assert seen == [(path, number) for path in ("/1", "/2") for number in range(50)]


def test_a_body_that_fails_ends_the_connection_without_its_end(connect, caplog):
    def pieces():
        yield b"so far"
        raise ZeroDivisionError

    client = connect(answering(lambda handler: handler.respond(200, pieces())))
    client.send(get())
    octets = client.until_closed()
    assert octets.endswith(b"6\r\nso far\r\n") or octets == b""
    assert "ZeroDivisionError" in caplog.text


def test_fields_of_an_answer(connect):
    def respond(handler):
        if handler.path == "/pairs":
            handler.respond(200, b"x", [("X-One", "1"), ("X-One", b"2"), ("X-Number", 3)], "image/png")
        elif handler.path == "/mapping":
            handler.respond(
                200, b"x", {"content-type": "a/b", "Server": "mine", "Date": "today", "Connection": "close"}
            )
        else:
            handler.respond(200, "x")

    client = connect(answering(respond))
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
def test_fields_that_would_break_an_answer_do_not(connect, fields, error):
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

    client = connect(answering(respond))
    status, got, body = client.ask(get())
    assert (status, body, len(errors)) == (200, b"ok", 1)
    assert not {"x", "b"} & got.keys()


@pytest.mark.parametrize("status", [99, 600, 100, 199, -200])
def test_what_is_no_status_is_refused(connect, status, caplog):
    client = connect(answering(lambda handler: handler.respond(status)))
    assert client.ask(get())[0] == 500
    assert "ValueError" in caplog.text


def test_a_reason_cannot_break_an_answer(connect, caplog):
    client = connect(answering(lambda handler: handler.send_response(200, "OK\r\nX: y")))
    assert client.ask(get())[0] == 500


def test_a_request_is_answered_once(connect):
    def twice(handler):
        handler.respond(200, b"first")
        for call in (lambda: handler.respond(200), lambda: handler.send_response(200), lambda: handler.write(b"x")):
            with pytest.raises(RuntimeError):
                call()
        handler.finish()  # it is, so that is fine

    client = connect(answering(twice))
    assert client.ask(get())[2] == client.ask(get())[2] == b"first"


def test_an_exception_is_a_500_and_logged(connect, caplog):
    client = connect(answering(lambda handler: 1 / 0))
    status, fields, body = client.ask(get("/<script>") + get())
    assert (status, fields["connection"]) == (500, "close")
    assert b"script" not in body
    assert client.until_closed() == b""
    assert "ZeroDivisionError" in caplog.text


def test_the_loop_may_be_ended_by_a_handler(connect):
    def end(handler):
        raise asynchat_fast.asyncore.ExitNow

    client = connect(answering(end))
    with pytest.raises(asynchat_fast.asyncore.ExitNow):
        client.send(get())


def test_an_exception_before_the_body_is_a_500(connect, caplog):
    class Failing(Plain):
        def handle_head(self):
            raise ZeroDivisionError

    assert connect(Failing).ask(post(b"x"))[0] == 500
    assert "ZeroDivisionError" in caplog.text


def test_an_exception_amidst_an_answer_ends_the_connection(connect, caplog):
    def fail(handler):
        handler.write(b"so far")
        raise ZeroDivisionError

    client = connect(answering(fail))
    client.send(get() + get())
    assert not client.until_closed().endswith(b"0\r\n\r\n")


def test_an_http_error_is_answered_with_its_status(connect):
    def teapot(handler):
        raise HTTPError(418, "<short> & stout", (("X-Tea", "yes"),))

    client = connect(answering(teapot))
    status, fields, body = client.ask(get())
    assert (status, fields["x-tea"], fields["connection"]) == (418, "yes", "close")
    assert b"&lt;short&gt; &amp; stout" in body


# Answers as http.server has them


def test_step_by_step(connect):
    def steps(handler):
        handler.send_response(201, "Made")
        handler.send_header("X-Steps", "3")
        if handler.path == "/length":
            handler.send_header("Content-Length", "11")
        handler.end_headers()
        handler.wfile.write(b"some ")
        handler.wfile.writelines([b"oct", memoryview(b"ets")])
        handler.wfile.flush()

    client = connect(answering(steps))
    for target, framed in (("/", "transfer-encoding"), ("/length", "content-length")):
        status, fields, body = client.ask(get(target))
        assert (status, fields["x-steps"], body) == (201, "3", b"some octets")
        assert framed in fields
    assert "content-length" in client.ask(get("/length", method="HEAD"), "HEAD")[1]
    assert client.ask(get(version="1.0"))[2] == b"some octets"


def test_an_answer_without_a_body_step_by_step(connect):
    def redirect(handler):
        handler.send_response(302)
        handler.send_header("Location", "/elsewhere")
        handler.end_headers()

    client = connect(answering(redirect))
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

    client = connect(answering(write))
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

    client = connect(answering(close))
    assert client.ask(get(target) + get(target))[1]["connection"] == "close"
    assert client.until_closed() == b""


def test_send_error(connect):
    client = connect(answering(lambda handler: handler.send_error(404, "<No>", "Not & never")))
    status, fields, body = client.ask(get())
    assert (status, fields["connection"], fields["content-type"]) == (404, "close", "text/html; charset=utf-8")
    assert b"<h1>404 &lt;No&gt;</h1>" in body
    assert b"Not &amp; never" in body
    client = connect(answering(lambda handler: handler.send_error(599)))
    assert client.ask(get(method="HEAD"), "HEAD")[0] == 599


# Deferred answers


@pytest.mark.parametrize("way", ["respond", "write", "steps", "nothing"])
def test_answers_may_come_later(connect, map, way):
    seen = []

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
        call_later(0.01, later, handler, map=map)

    client = connect(answering(defer))
    client.send(get("/1") + get("/2") + get("/3"))
    assert seen == ["/1"]  # the others wait
    expected = b"" if way == "nothing" else b"later"
    assert [client.answer()[2] for _ in range(3)] == [expected] * 3
    assert seen == ["/1", "/2", "/3"]
    assert client.ask(get("/4"))[2] == expected


def test_reading_pauses_until_the_answer(connect, map):
    handlers = []
    client = connect(answering(handlers.append))
    client.send(get())
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 1 << 24:
            sent += client.sock.send(bytes(65536))
            client.turn()
    assert sent < 1 << 24
    handlers[0].respond(200)
    assert client.answer()[0] == 200
    assert client.until_closed().startswith(b"HTTP/1.1 400 ")


def test_a_deferred_answer_to_nobody_is_dropped(connect, map, caplog):
    handlers = []
    client = connect(answering(handlers.append))
    client.send(get() + get())
    handlers[0].close()
    handlers[0].write(b"x")
    handlers[0].finish()
    assert len(handlers) == 1
    client = connect(answering(handlers.append))
    client.send(get())
    handlers[1].close()
    handlers[1].respond(200, iter([b"x"]))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# Half-closed clients, and the end


@pytest.mark.parametrize("deferred", [False, True])
def test_who_has_ended_its_sending_gets_its_answers(connect, map, deferred):
    def respond(handler):
        if deferred:
            call_later(0.01, handler.respond, 200, bytes(100_000), map=map)
        else:
            handler.respond(200, bytes(100_000))

    client = connect(answering(respond))
    client.sock.send(get() + get())
    client.sock.shutdown(socket.SHUT_WR)
    for _ in range(2):
        assert len(client.answer()[2]) == 100_000
    assert client.until_closed() == b""
    assert not map


@pytest.mark.parametrize(
    "octets", [b"GET / HT", post(b"abcdef")[:-1], get("/", "Transfer-Encoding: chunked") + b"5\r\n"]
)
def test_who_ends_amidst_a_request_is_told(connect, map, octets):
    client = connect(answering(lambda handler: handler.respond(200)))
    client.send(octets)
    client.sock.shutdown(socket.SHUT_WR)
    assert client.until_closed().startswith(b"HTTP/1.1 400 ")
    assert not map


def test_an_idle_connection_that_ends_is_closed_without_a_word(connect, map):
    client = connect(answering(lambda handler: handler.respond(200)))
    client.ask(get())
    client.sock.shutdown(socket.SHUT_WR)
    assert client.until_closed() == b""
    assert not map


def test_a_connection_leaves_nothing_behind(connect, map):
    held = []

    def respond(handler):
        held.append(weakref.ref(handler))
        handler.respond(200, iter([b"x"]))

    client = connect(answering(respond))
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

    def answer(self):
        self.respond(200, self.body)


def test_a_connection_may_be_taken_over(connect):
    client = connect(Upgrading)
    status, fields, _ = client.ask(post(b"body ", "Upgrade: lines", "Connection: keep-alive, Upgrade") + b"one\ntwo\n")
    assert (status, fields) == (101, {"upgrade": "lines", "connection": "upgrade"})
    client.send(b"three\n")
    client.until(lambda: client.received == b"body one\ntwo\nthree\n")


@pytest.mark.parametrize("fields", [("Upgrade: lines",), ("Upgrade: lines", "Connection: upgrade")])
def test_an_upgrade_is_ignored_otherwise(connect, fields):
    class Not(Upgrading):
        taken = False

    assert connect(Not).ask(post(b"body", *fields))[2] == b"body"


# Logs


def log_of(connect, log, request, **attributes):
    client = connect(answering(lambda handler: handler.respond(200, b"ok"), **attributes), ("192.0.2.1", 9), None, log)
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


def test_what_cannot_be_logged_to_is_refused(map):
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


def test_a_server_hands_on_what_handlers_share(map):
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


def test_a_server_ends_when_requests_are_answered(map):
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
        server.shut_down()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(server.addr)
        assert idle.until_closed() == b""
        waiting[0].respond(200, b"the last")
        status, fields, body = busy.answer()
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
def test_who_takes_too_long_is_let_go(connect, map, beginning, status):
    client = connect(answering(lambda handler: handler.respond(200), **SHORT))
    client.send(beginning)
    octets = client.until_closed()
    assert octets.split(b" ")[1:2] == ([status] if status else [])
    client.sock.close()
    client.sock = socket.socketpair()[0]
    loop(map=map)
    assert not map


def test_who_drips_is_let_go(connect):
    client = connect(answering(lambda handler: handler.respond(200), **SHORT))
    client.send(b"GET / HTTP/1.1\r\nX: ")
    client.until(lambda: client.sock.send(b"x") and client.received)
    assert client.received.startswith(b"HTTP/1.1 408 ")


def test_who_does_not_read_is_let_go(connect, map):
    client = connect(answering(lambda handler: handler.respond(200, bytes(50_000_000)), **SHORT))
    client.sock.send(get())
    deadline = time.monotonic() + PATIENCE
    while map:
        assert time.monotonic() < deadline
        loop(0.01, map=map, count=1)


def test_who_does_not_read_has_no_more_requests_looked_at(connect, map):
    count = 0

    def respond(handler):
        nonlocal count
        count += 1
        handler.respond(200, bytes(10_000))

    client = connect(answering(respond))
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
        assert len(client.answer()[2]) == 10_000
