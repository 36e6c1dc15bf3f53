"""How long a connection to http_request_handler lasts, and the order of its responses: pipelining, ends, timeouts.

Source: RFC 9112, section 9.  A client gets all that it has asked for in its order, and no client holds the server up.
"""

import socket
import struct
import time

import pytest

import asynchat_fast

http = pytest.importorskip("asynchat_fast.http")

PATIENCE = 20  # seconds; a wait takes milliseconds unless something hangs


def as_text(value):
    return value.decode("latin-1") if isinstance(value, (bytes, bytearray, memoryview)) else value


def get(target=b"/good", *lines, method=b"GET", version=b"1.1", body=b""):
    """Return a request of *lines* for fields."""
    head = b"".join([method, b" ", target, b" HTTP/", version, b"\r\nHost: a\r\n", *(line + b"\r\n" for line in lines)])
    return head + b"\r\n" + body


def post(body, *lines, **options):
    return get(b"/", b"Content-Length: %d" % len(body), *lines, method=b"POST", body=body, **options)


def in_chunks(*chunks):
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return get(b"/", b"Transfer-Encoding: chunked", method=b"POST", body=body + b"0\r\n\r\n")


class App(http.http_request_handler):
    """Responds with the path, at once or later."""

    def do_GET(self):
        path = as_text(self.path)
        kind = path[1:].partition("/")[0]
        response = {"later": self.later, "streamed": self.streamed, "written": self.written, "parts": self.parts}
        response.get(kind, self.now)(path.encode())

    def do_POST(self):
        self.respond(200, self.body)

    def do_DELETE(self):
        self.respond(204)

    def now(self, body):
        self.respond(200, body)

    def call_later(self, *call):
        asynchat_fast.call_later(0.01, *call, map=self._map)

    def later(self, body):
        self.call_later(self.respond, 200, body)

    def streamed(self, body):
        self.call_later(self.part, list(body))

    def part(self, data):
        if data:
            self.write(bytes(data[:3]))
            self.call_later(self.part, data[3:])
        else:
            self.finish()

    def written(self, body):
        self.send_response(200)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        self.write(body[:1])
        self.call_later(self.write, body[1:])
        self.call_later(self.finish)

    def parts(self, body):
        self.respond(200, (bytes([byte]) for byte in body))


@pytest.fixture
def connect(serve_http):
    return serve_http(App)


PATHS = [b"/now", b"/later", b"/streamed", b"/written", b"/parts"]


# Connection

CLOSING = {
    "close": [b"Connection: close"],
    "capital": [b"Connection: Close"],
    "upper case": [b"CONNECTION: CLOSE"],
    "no space": [b"Connection:close"],
    "spaces and tabs around": [b"Connection: \t close \t"],
    "last of a list": [b"Connection: foo, close"],
    "first of a list": [b"Connection: close, foo"],
    "in a list without spaces": [b"Connection: foo,close,bar"],
    "in a list of many spaces": [b"Connection: foo \t, \t close \t,\tbar"],
    "after an empty element": [b"Connection: ,close"],
    "among empty elements": [b"Connection: , ,, close ,"],
    "on the second line": [b"Connection: foo", b"Connection: close"],
    "on the first line": [b"Connection: close", b"Connection: foo"],
    "on a later line": [b"Connection: foo", b"X: y", b"connection: bar, close", b"Connection: keep-alive"],
    "beside keep-alive": [b"Connection: keep-alive, close"],
    "before keep-alive": [b"Connection: close, keep-alive"],
    "beside keep-alive on another line": [b"Connection: keep-alive", b"Connection: close"],
    "and keep-alive on another line": [b"Connection: close", b"Connection: keep-alive"],
    "beside an upgrade": [b"Connection: upgrade, close", b"Upgrade: foo"],
}

STAYING = {
    "nothing": [],
    "keep-alive": [b"Connection: keep-alive"],
    "empty": [b"Connection:"],
    "comma": [b"Connection: ,"],
    "another": [b"Connection: foo"],
    "longer": [b"Connection: closed"],
    "shorter": [b"Connection: clos"],
    "part of a word": [b"Connection: foo-close, close-foo"],
    "two words": [b"Connection: foo close"],
    "another field": [b"X-Connection: close", b"Close: close", b"Proxy-Connection: close"],
    "Keep-Alive": [b"Keep-Alive: timeout=1, max=1", b"Connection: keep-alive"],
    "Host": [b"Connection: host"],
}


@pytest.mark.parametrize("path", [b"/good", b"/later", b"/parts"], ids=bytes.decode)
@pytest.mark.parametrize("lines", CLOSING.values(), ids=CLOSING)
def test_asked_to_close(connect, delivery, lines, path):
    if path != b"/good":  # one response will do for each way to cut
        delivery = delivery.uncut()
    for response in delivery.responses(connect, get(path, *lines)):
        assert (response.status, response.closes, response.body) == (200, True, path)


@pytest.mark.parametrize("lines", STAYING.values(), ids=STAYING)
def test_asked_to_stay(connect, delivery, lines):
    for response in delivery.responses(connect, get(b"/good", *lines)):
        assert (response.status, response.closes, response.body) == (200, False, b"/good")


@pytest.mark.parametrize("method", [b"HEAD", b"DELETE", b"OPTIONS"], ids=bytes.decode)
def test_asked_to_close_without_a_body(connect, delivery, method):
    for response in delivery.responses(connect, get(b"/good", b"Connection: close", method=method), method.decode()):
        assert response.closes


@pytest.mark.parametrize("stream", [post(b"hello", b"Connection: foo, close")], ids=["post"])
def test_asked_to_close_with_a_body(connect, delivery, stream):
    for response in delivery.responses(connect, stream):
        assert (response.body, response.closes) == (b"hello", True)


KEEPING = {
    "keep-alive": [b"Connection: keep-alive"],
    "capitals": [b"Connection: Keep-Alive"],
    "in a list": [b"Connection: foo, keep-alive"],
    "on another line": [b"Connection: foo", b"Connection: keep-alive"],
    "with parameters beside": [b"Connection: keep-alive", b"Keep-Alive: timeout=5"],
}

LEAVING = {
    "nothing": [],
    "close": [b"Connection: close"],
    "another": [b"Connection: foo"],
    "part of a word": [b"Connection: keep-alived"],
    "close before keep-alive": [b"Connection: close, keep-alive"],
    "close after keep-alive": [b"Connection: keep-alive, close"],
    "close on another line": [b"Connection: keep-alive", b"Connection: close"],
    "Keep-Alive alone": [b"Keep-Alive: timeout=5"],
    "Proxy-Connection": [b"Proxy-Connection: keep-alive"],
}


@pytest.mark.parametrize("lines", KEEPING.values(), ids=KEEPING)
def test_keep_alive_on_1_0(connect, delivery, lines):
    for response in delivery.responses(connect, get(b"/good", *lines, version=b"1.0"), version=b"1.0"):
        assert (response.body, response.framing) == (b"/good", b"5")
        assert b"keep-alive" in response.connection


@pytest.mark.parametrize("lines", LEAVING.values(), ids=LEAVING)
def test_1_0_closes(connect, delivery, lines):
    for response in delivery.responses(connect, get(b"/good", *lines, version=b"1.0"), version=b"1.0"):
        assert response.body == b"/good"
        assert b"keep-alive" not in response.connection


@pytest.mark.parametrize("path", [b"/streamed", b"/parts"], ids=bytes.decode)
@pytest.mark.parametrize("lines", [[], [b"Connection: keep-alive"]], ids=["", "keep-alive"])
def test_a_response_of_unknown_length_ends_the_connection_on_1_0(connect, path, lines):
    wire = connect()
    wire.send(get(path, *lines, version=b"1.0"))
    response = wire.response(version=b"1.0")
    assert (response.framing, response.body) == (None, path)
    assert b"keep-alive" not in response.connection
    wire.ended()


def test_versions_take_turns(connect):
    wire = connect()
    wire.send(get(version=b"1.0", *[b"/x", b"Connection: keep-alive"]) + get(b"/parts") + get(b"/z", version=b"1.0"))  # noqa: B026
    assert wire.response(version=b"1.0").body == b"/x"
    assert wire.response().body == b"/parts"
    assert wire.response(version=b"1.0").body == b"/z"
    wire.ended()


def test_many_requests_on_one_connection(connect):
    wire = connect()
    for number in range(300):
        wire.send(get(b"/%d" % number))
        assert wire.response().body == b"/%d" % number


# Pipelining


@pytest.mark.parametrize("path", PATHS, ids=bytes.decode)
def test_a_hundred_requests_at_once(connect, path):
    wire = connect()
    count = 100 if path in {b"/now", b"/parts"} else 20
    wire.send(b"".join(get(b"%b/%d" % (path, number)) for number in range(count)))
    assert [wire.response().body for _ in range(count)] == [b"%b/%d" % (path, number) for number in range(count)]
    wire.in_step()


def test_a_thousand_requests_at_once(connect):
    wire = connect()
    wire.send(b"".join(get(b"/%d" % number) for number in range(1000)))
    assert [wire.response().body for _ in range(1000)] == [b"/%d" % number for number in range(1000)]
    wire.in_step()


MIXED = [
    (get(b"/x"), "GET", b"/x"),
    (get(b"/later/1"), "GET", b"/later/1"),
    (post(b"hello"), "POST", b"hello"),
    (post(get()), "POST", get()),
    (get(b"/x", method=b"HEAD"), "HEAD", b""),
    (get(b"/later", method=b"HEAD"), "HEAD", b""),
    (get(b"/streamed", method=b"HEAD"), "HEAD", b""),
    (in_chunks(b"hel", b"lo"), "POST", b"hello"),
    (get(b"/", method=b"DELETE"), "DELETE", b""),
    (get(b"/streamed/2"), "GET", b"/streamed/2"),
    (b"\r\n" + post(b""), "POST", b""),
    (get(b"/written/3"), "GET", b"/written/3"),
    (in_chunks(), "POST", b""),
    (get(b"*", method=b"OPTIONS"), "OPTIONS", b""),
    (get(b"/parts/4"), "GET", b"/parts/4"),
]


@pytest.mark.parametrize("seam", range(1, 4))
def test_requests_of_all_kinds_in_a_row(connect, seam):
    wire = connect()
    mixed = MIXED[::seam] + MIXED[1::seam]
    wire.send(b"".join(stream for stream, _, _ in mixed))
    for _, method, body in mixed:
        assert wire.response(method).body == body
    wire.in_step()


def test_requests_of_all_kinds_however_they_arrive(connect, cut):
    stream = b"".join(stream for stream, _, _ in MIXED[::2])
    if cut.__name__ == "in_two":
        at = range(1, len(stream), 7)
        ways = [[stream[:each], stream[each:]] for each in at]
    else:
        ways = cut(stream)
    wire = connect() if cut.__name__ == "whole" else connect.in_memory()
    for chunks in ways:
        wire.send(*chunks)
        for _, method, body in MIXED[::2]:
            assert wire.response(method).body == body
    wire.in_step()


@pytest.mark.parametrize("path", PATHS, ids=bytes.decode)
def test_good_requests_before_a_bad_one_get_responses(connect, path):
    wire = connect()
    wire.send(get(path) * 5 + b"GET / HTTP/1.1\r\nHost : a\r\n\r\n" + get() * 5)
    assert [wire.response().body for _ in range(5)] == [path] * 5
    response = wire.response()
    assert (response.status, response.closes) == (400, True)
    wire.ended()


@pytest.mark.parametrize("path", PATHS, ids=bytes.decode)
def test_no_request_after_close_gets_a_response(connect, path):
    wire = connect()
    wire.send(get(path) + get(path, b"Connection: close") + get() * 5 + b"x" * 100)
    assert [response.closes for response in wire.responses("GET", "GET")] == [False, True]
    wire.ended()


def test_the_next_request_waits_for_the_response_at_hand(serve_http):
    begun = []

    class Slow(App):
        def do_GET(self):
            begun.append(self)

    wire = serve_http(Slow)()
    wire.send(get(b"/1") + get(b"/2"), get(b"/3"))
    for number in range(1, 4):
        assert len(begun) == number
        assert as_text(begun[-1].path) == f"/{number}"
        begun[-1].respond(200, b"%d" % number)
        assert wire.response().body == b"%d" % number
        wire.settle()
    wire.nothing_comes()


# The client's end


@pytest.mark.parametrize("path", PATHS, ids=bytes.decode)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"], ids=bytes.decode)
def test_a_half_closed_client_gets_the_response(connect, path, version):
    wire = connect()
    wire.send(get(path, version=version))
    wire.shut()
    assert wire.response(version=version).body == path
    wire.ended()


@pytest.mark.parametrize("path", PATHS, ids=bytes.decode)
def test_a_half_closed_client_gets_all_responses(connect, path):
    wire = connect()
    wire.send(get(path) * 3 + post(b"hello") + get(path, method=b"HEAD"))
    wire.shut()
    assert [wire.response().body for _ in range(4)] == [path] * 3 + [b"hello"]
    assert wire.response("HEAD").status == 200
    wire.ended()


@pytest.mark.parametrize("path", PATHS, ids=bytes.decode)
def test_request_and_end_at_once(connect, path):
    wire = connect()
    wire.sock.sendall(get(path) * 2)
    wire.sock.shutdown(socket.SHUT_WR)
    assert [wire.response().body for _ in range(2)] == [path] * 2
    wire.ended()


def test_a_half_closed_client_gets_a_large_response(serve_http):
    class Large(App):
        def do_GET(self):
            self.respond(200, b"x" * 5_000_000)

    wire = serve_http(Large)(receive_buffer=8192)
    wire.send(get())
    wire.shut()
    assert wire.response().body == b"x" * 5_000_000
    wire.ended()


@pytest.mark.parametrize("body", [post(b"hello"), in_chunks(b"hello")], ids=["length", "chunked"])
def test_a_half_closed_client_with_a_body(connect, body):
    wire = connect()
    wire.send(body)
    wire.shut()
    assert wire.response().body == b"hello"
    wire.ended()


@pytest.mark.parametrize("stream", [b"", b"\r\n", b"\r\n\r\n\r\n"], ids=["nothing", "an empty line", "empty lines"])
def test_an_end_between_requests_is_no_error(connect, stream):
    wire = connect()
    wire.send(get())
    assert wire.response().status == 200
    wire.send(stream)
    wire.shut()
    wire.ended()


@pytest.mark.parametrize("path", PATHS, ids=bytes.decode)
def test_a_client_that_has_gone_does_no_harm(connect, http_carrier, path):
    before = http_carrier.count()
    for linger in struct.pack("ii", 1, 0), struct.pack("ii", 0, 0):
        for stream in get(path), get(path) * 50, get(path)[:10], get(b"/", b"Content-Length: 9", method=b"POST"), b"":
            wire = connect()
            wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)  # the first has it end with a reset
            wire.send(stream)
            wire.sock.close()
    deadline = time.monotonic() + PATIENCE
    while http_carrier.count() > before:
        assert time.monotonic() < deadline, http_carrier.map
        wire.run_pass(0.02)
    connect().in_step()


# The server's end


def test_a_server_that_shuts_down_closes_idle_connections(connect):
    fresh, used = connect(), connect()
    used.in_step()
    connect.shut_down(keep_idle=0)
    fresh.ended()
    used.ended()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(connect.server.addr)


@pytest.mark.parametrize("path", PATHS[1:4], ids=bytes.decode)
def test_a_server_that_shuts_down_finishes(serve_http, path):
    calls = []

    class Held(App):
        def call_later(self, *call):
            calls.append(call)

    connect = serve_http(Held)
    wires = [connect() for _ in range(5)]
    for wire in wires:
        wire.send(get(path) + get())
    connect.shut_down()
    for function, *arguments in calls:  # which adds more
        function(*arguments)
    for wire in wires:
        assert wire.response().body == path
        wire.ended()


@pytest.mark.parametrize("stream", [get()[:20], post(b"hello")[:-2]], ids=["head", "body"])
def test_a_server_that_shuts_down_takes_requests_that_have_begun(connect, stream):
    wire = connect()
    wire.send(stream)
    connect.shut_down()
    wire.send((get() if stream in get() else post(b"hello"))[len(stream) :] + get())
    response = wire.response()
    assert (response.status, response.closes) == (200, True)
    wire.ended()


def test_a_server_that_shuts_down_does_not_wait_for_ever(serve_http):
    class Never(App):
        def do_GET(self):
            pass

    connect = serve_http(Never)
    wires = [connect() for _ in range(3)]
    for wire, stream in zip(wires, [get(), get()[:20], post(b"hello")[:-2]], strict=True):
        wire.send(stream)
    connect.shut_down(0.05)
    for wire in wires:
        wire.ended()


# Upgrade


@pytest.mark.parametrize(
    "lines",
    [
        [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAA"],
        [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"],
        [b"Connection: keep-alive, upgrade", b"Upgrade: foo/1, bar"],
        [b"Upgrade: foo"],
        [b"Connection: upgrade"],
        [b"Connection: upgrade", b"Upgrade:"],
    ],
    ids=["websocket", "h2c", "others", "no connection", "no upgrade", "empty"],
)
@pytest.mark.parametrize("body", [b"", b"hello"], ids=["", "body"])
def test_an_upgrade_that_no_handler_takes_is_ignored(connect, delivery, lines, body):
    for response in delivery.responses(connect, post(body, *lines)):
        assert (response.status, response.body, response.closes) == (200, body, False)


class Upgrades(App):
    """Takes the connection for a protocol of lines, each of which comes back reversed."""

    def handle_upgrade(self):
        if self.headers.get("Upgrade") != "reverse":
            return False
        self.send_response(101)
        self.send_header("Connection", "upgrade")
        self.send_header("Upgrade", "reverse")
        self.end_headers()
        self.line = [self.body]
        self.collect_incoming_data = self.line.append
        self.found_terminator = self.found_line
        self.set_terminator(b"\n")
        return True

    def found_line(self):
        self.push(b"".join(self.line)[::-1] + b"\n")
        self.line.clear()


UPGRADE = [b"Connection: upgrade", b"Upgrade: reverse"]


@pytest.mark.parametrize("body", [b"", b"hello "], ids=["", "body"])
def test_an_upgrade_is_taken(serve_http, cut, body):
    connect = serve_http(Upgrades)
    for chunks in cut(get() + post(body, *UPGRADE) + b"abc\nGET / HTTP/1.1\n"):
        wire = connect() if len(chunks) == 1 else connect.in_memory()
        wire.send(*chunks)
        assert wire.response().body == b"/good"
        assert wire.response().status == 101
        assert wire.take_line(b"\n") == (body + b"abc")[::-1]
        assert wire.take_line(b"\n") == b"GET / HTTP/1.1"[::-1]
        wire.close()


@pytest.mark.parametrize(
    "stream",
    [
        post(b"hello", b"Connection: upgrade", b"Upgrade: other"),
        post(b"hello", b"Upgrade: reverse"),  # RFC 9110, 7.8: without the option it is not for us
        post(b"hello", *UPGRADE, version=b"1.0").replace(b"upgrade\r\n", b"upgrade, keep-alive\r\n"),
    ],
    ids=["another", "not for us", "1.0"],
)
def test_an_upgrade_is_not_taken(serve_http, stream):
    wire = serve_http(Upgrades)()
    wire.send(stream)
    assert wire.response().body == b"hello"
    wire.in_step()


# Time

SHORT = 0.2


class Hasty(App):
    head_timeout = body_timeout = SHORT
    min_body_rate = 1 << 20
    keep_alive_timeout = write_timeout = linger_timeout = SHORT


@pytest.fixture
def hasty(serve_http):
    return serve_http(Hasty)


@pytest.fixture
def hasty_wire(hasty):
    """A Wire in memory, so that what takes long takes no time."""
    return hasty.in_memory()


def drip(wire, stream):
    """Send *stream* byte by byte, for as long as the server takes it; tell whether it has taken all."""
    for byte in stream:
        wire.send(bytes([byte]))
        wire.run_pass(SHORT / 8)
        wire.receive_some()
        if wire.buffer or wire.has_ended:
            return False
    return True


DRIPPED = {
    "request line": (b"", b"GET /" + b"x" * 200),
    "method": (b"", b"X" * 30),
    "field": (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: " + b"y" * 200),
    "fields": (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X:\r\n" * 50),
    "field behind a good request": (get() + b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: " + b"y" * 200),
    "request line behind a good request": (get(), b"GET /" + b"x" * 200),
    "body": (get(b"/", b"Content-Length: 1000", method=b"POST"), b"x" * 200),
    "body behind a good request": (get() + get(b"/", b"Content-Length: 1000", method=b"POST"), b"x" * 200),
    "size": (get(b"/", b"Transfer-Encoding: chunked", method=b"POST"), b"5;" + b"x" * 200),
    "chunk": (get(b"/", b"Transfer-Encoding: chunked", method=b"POST"), b"100\r\n" + b"x" * 200),
    "chunks": (get(b"/", b"Transfer-Encoding: chunked", method=b"POST"), b"1\r\nx\r\n" * 50),
    "trailer": (get(b"/", b"Transfer-Encoding: chunked", method=b"POST"), b"0\r\nX: " + b"y" * 200),
    "body called for": (get(b"/", b"Content-Length: 1000", b"Expect: 100-continue", method=b"POST"), b"x" * 200),
}


@pytest.mark.parametrize(("before", "dripped"), DRIPPED.values(), ids=DRIPPED)
def test_a_dripping_client_is_timed_out(hasty_wire, before, dripped):
    wire = hasty_wire
    wire.send(before)
    if before.startswith(get()):
        assert wire.response().status == 200
    if b"Expect" in before:
        assert wire.response().status == 100
    assert not drip(wire, dripped), "the server is too patient"
    response = wire.response()
    assert (response.status, response.closes) == (408, True)
    wire.ended()


def test_empty_lines_are_dripped_for_a_while_only(hasty_wire):
    wire = hasty_wire
    assert not drip(wire, b"\r\n" * 50)
    if wire.anything_comes():
        assert wire.response().status in {400, 408}
    wire.ended()


STOPPING = {
    "in the method": b"GE",
    "in the request line": b"GET / HT",
    "after the request line": b"GET / HTTP/1.1\r\n",
    "in a field": b"GET / HTTP/1.1\r\nHo",
    "before the empty line": b"GET / HTTP/1.1\r\nHost: a\r\n",
    "in the empty line": b"GET / HTTP/1.1\r\nHost: a\r\n\r",
    "before the body": get(b"/", b"Content-Length: 5", method=b"POST"),
    "in the body": get(b"/", b"Content-Length: 5", method=b"POST", body=b"hell"),
    "before the chunks": get(b"/", b"Transfer-Encoding: chunked", method=b"POST"),
    "in a size": get(b"/", b"Transfer-Encoding: chunked", method=b"POST", body=b"5"),
    "in a chunk": get(b"/", b"Transfer-Encoding: chunked", method=b"POST", body=b"5\r\nhell"),
    "after a chunk": get(b"/", b"Transfer-Encoding: chunked", method=b"POST", body=b"5\r\nhello"),
    "before the last chunk": get(b"/", b"Transfer-Encoding: chunked", method=b"POST", body=b"5\r\nhello\r\n"),
    "before the trailers": get(b"/", b"Transfer-Encoding: chunked", method=b"POST", body=b"5\r\nhello\r\n0\r\n"),
    "in the trailers": get(b"/", b"Transfer-Encoding: chunked", method=b"POST", body=b"0\r\nX: y\r\n"),
}


@pytest.mark.parametrize("behind", [False, True], ids=["", "behind a good request"])
@pytest.mark.parametrize("stream", STOPPING.values(), ids=STOPPING)
def test_a_client_that_stops_is_timed_out(hasty_wire, stream, behind):
    wire = hasty_wire
    wire.send(get() * behind + stream)
    if behind:
        assert wire.response().status == 200
    response = wire.response()
    assert (response.status, response.closes) == (408, True)
    wire.ended()


@pytest.mark.parametrize("stream", [b"", b"\r\n", get(), post(b"hello"), get(b"/later")], ids=repr)
def test_a_silent_client_is_closed(hasty_wire, stream):
    wire = hasty_wire
    wire.send(stream)
    if stream.strip():
        assert wire.response().status == 200
    if wire.anything_comes():
        assert wire.response().status == 408
    wire.ended()


def test_a_client_that_does_not_close_is_closed(hasty, http_carrier):
    before = http_carrier.count()
    wire = hasty()
    wire.send(get(b"/", b"Connection: close"))
    assert wire.response().closes
    deadline = time.monotonic() + PATIENCE
    while http_carrier.count() > before:
        assert time.monotonic() < deadline, "the server waits without end"
        wire.run_pass(0.02)


def test_a_client_that_never_reads_is_closed(serve_http, http_carrier):
    class Large(Hasty):
        keep_alive_timeout = PATIENCE

        def do_GET(self):
            self.respond(200, b"x" * 50_000_000 if as_text(self.path) == "/large" else b"/good")

    connect = serve_http(Large)
    good = connect()
    good.in_step()  # over TLS there is a handler once the handshake is complete
    before = http_carrier.count()
    wire = connect(receive_buffer=4096)
    wire.send(get(b"/large"))
    assert http_carrier.count() == before + 1
    deadline = time.monotonic() + PATIENCE
    while http_carrier.count() > before:
        assert time.monotonic() < deadline, "the server waits without end"
        good.in_step()


def test_a_client_that_reads_slowly_gets_all(serve_http):
    class Large(Hasty):
        def do_GET(self):
            self.respond(200, b"x" * 40_000_000)

    wire = serve_http(Large)()
    wire.send(get())
    for _ in range(100):  # a fifth of the body, in five times the write_timeout
        until = time.monotonic() + SHORT / 20
        while (left := until - time.monotonic()) > 0:
            wire.run_pass(left)
        wire.receive_some()
        wire.receive_some()
        assert not wire.has_ended
    assert wire.response().body == b"x" * 40_000_000


@pytest.mark.parametrize("path", [b"/slow", b"/slow/begun"], ids=bytes.decode)
def test_the_application_may_take_its_time(serve_http, path):
    class Slow(Hasty):
        def do_GET(self):
            if as_text(self.path) == "/good":
                self.respond(200, b"/good")
                return
            if as_text(self.path) == "/slow/begun":
                self.write(b"hel")
            asynchat_fast.call_later(4 * SHORT, self.write, b"lo", map=self._map)
            asynchat_fast.call_later(5 * SHORT, self.finish, map=self._map)

    wire = serve_http(Slow).in_memory()
    wire.send(get(path) + get())
    assert wire.response().body in {b"hello", b"lo"}
    assert wire.response().body == b"/good"
    wire.in_step()


def test_a_connection_in_use_lives_on(serve_http):
    class Patient(App):
        head_timeout = body_timeout = keep_alive_timeout = write_timeout = 5 * SHORT

    wire = serve_http(Patient).in_memory()
    for _ in range(28):
        wire.send(get(), post(b"hello"), in_chunks(b"x"))
        assert [wire.response().body for _ in range(3)] == [b"/good", b"hello", b"x"]
        wire.run_pass(SHORT / 4)


def test_good_clients_are_served_among_slow_ones(hasty):
    slow = []
    for stream in [b"", b"GET /", get(b"/", b"Content-Length: 5", method=b"POST"), *STOPPING.values()] * 5:
        slow.append(hasty())
        slow[-1].send(stream)
    for _ in range(20):
        wire = hasty()
        wire.send(get(b"/now"), post(b"hello"))
        assert [wire.response().body for _ in range(2)] == [b"/now", b"hello"]
    for each in slow:
        if each.anything_comes():
            assert each.response().status == 408
        each.ended()
    hasty().in_step()


# Memory


def send_all_that_is_taken(wire, stream):
    """Send *stream* until the server has taken nothing for many passes; return how much it took."""
    taken, idle = 0, 0
    while taken < len(stream) and idle < 50:
        try:
            sent = wire.sock.send(stream[taken : taken + 65536])
        except BlockingIOError:
            sent = 0
        taken += sent
        idle = 0 if sent else idle + 1
        wire.run_pass(0.002 if idle else 0)
    return taken


def test_a_client_that_asks_and_never_reads_is_not_served_for_ever(serve_http):
    handled = []

    class Counts(App):
        def do_GET(self):
            handled.append(self)
            self.respond(200, b"x" * 16384)

    wire = serve_http(Counts)(receive_buffer=4096)
    stream = get() * 3000
    taken = send_all_that_is_taken(wire, stream)
    assert len(handled) < 1500, "24 MB are more than a system buffers for a connection"
    wire.send(stream[taken:])
    for _ in range(3000):
        assert wire.response().body == b"x" * 16384
    assert len(handled) == 3000
    wire.nothing_comes()


def test_input_is_not_hoarded_while_a_response_is_due(serve_http):
    waiting = []

    class Waits(App):
        def do_GET(self):
            waiting.append(self)

    wire = serve_http(Waits)()
    stream = get() + get(b"/", b"Content-Length: 100000000", method=b"POST") + b"x" * 100_000_000
    assert send_all_that_is_taken(wire, memoryview(stream)) < 30_000_000
    assert len(waiting) == 1


def test_heads_and_chunks_in_small_pieces_are_not_hoarded(connect):
    wire = connect.in_memory()
    body = b"1\r\nx\r\n" * 100_000
    stream = get(b"/", b"Transfer-Encoding: chunked", method=b"POST", body=body + b"0\r\n\r\n")
    wire.send(stream)
    assert wire.response().body == b"x" * 100_000
    wire.in_step()


@pytest.mark.parametrize("coded", [False, True], ids=["length", "chunked"])
def test_a_body_in_tiny_pieces_takes_little_more_than_its_size(connect, coded):
    tracemalloc = pytest.importorskip("tracemalloc", reason="only CPython traces allocations", exc_type=ImportError)
    count = 50_000 if coded else 20_000
    wire = connect.in_memory()
    wire.in_step()
    wire.send(
        get(b"/", b"Transfer-Encoding: chunked" if coded else b"Content-Length: %d" % (2 * count), method=b"POST")
    )
    pieces = [b"2\r\nxy\r\n" * 1000] * (count // 1000) if coded else [b"xy"] * count
    tracemalloc.start()
    try:
        for piece in pieces:
            wire.send(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 300_000 + 8 * count
    wire.send(b"0\r\n\r\n" if coded else b"")
    assert wire.response().body == b"xy" * count
