"""How http_request_handler frames its responses: byte by byte, for every kind of body, and for errors of applications.

Source: RFC 9110 and RFC 9112.  Whatever an application does, a client can tell where a response ends.
"""

import io

import pytest

http = pytest.importorskip("asynchat_fast.http")


def as_text(value):
    return value.decode("latin-1") if isinstance(value, (bytes, bytearray, memoryview)) else value


def request(*lines, method=b"GET", target=b"/", version=b"1.1"):
    """Return a request of *lines* for fields."""
    return b"".join(
        [method, b" ", target, b" HTTP/", version, b"\r\nHost: a\r\n", *(line + b"\r\n" for line in lines), b"\r\n"]
    )


class Pieces:
    """A producer."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def more(self):
        return self.pieces.pop(0) if self.pieces else b""


DIGITS = b"0123456789" * 10

BODIES = {
    "bytes": (lambda: DIGITS, DIGITS),
    "nothing": (lambda: b"", b""),
    "bytearray": (lambda: bytearray(DIGITS), DIGITS),
    "memoryview": (lambda: memoryview(DIGITS), DIGITS),
    "str": (lambda: "naïve €", "naïve €".encode()),
    "list": (lambda: [DIGITS, b"", DIGITS], DIGITS * 2),
    "empty list": (list, b""),
    "generator": (lambda: (DIGITS for _ in range(3)), DIGITS * 3),
    "generator of nothing": (lambda: (b"" for _ in range(3)), b""),
    "producer": (lambda: Pieces(DIGITS, DIGITS), DIGITS * 2),
    "empty producer": (Pieces, b""),
    "file": (lambda: io.BytesIO(DIGITS), DIGITS),
    "empty file": (io.BytesIO, b""),
    "large": (lambda: DIGITS * 30_000, DIGITS * 30_000),
    "large file": (lambda: io.BytesIO(DIGITS * 30_000), DIGITS * 30_000),
    "large generator": (lambda: (DIGITS * 100 for _ in range(300)), DIGITS * 30_000),
}


class Bodies(http.http_request_handler):
    """Responds with the body that the path names."""

    def do_GET(self):
        if as_text(self.path) == "/good":
            self.respond(200, b"/good")
        elif as_text(self.path) == "/of-the-system":
            self.respond(200, open(self.file_to_send, "rb"))  # noqa: SIM115
        else:
            self.respond(
                int(self.headers.get("X-Status", "200")), BODIES[as_text(self.path)[1:].replace("-", " ")][0]()
            )

    do_POST = do_GET


@pytest.fixture
def bodies(serve_http):
    return serve_http(Bodies)


def ask(name, *lines, **options):
    options.setdefault("method", b"GET")
    return request(*lines, target=b"/" + name.replace(" ", "-").encode(), **options)


@pytest.mark.parametrize("name", BODIES)
def test_response(bodies, name):
    wire = bodies()
    for _ in range(2):
        wire.send(ask(name))
        assert wire.response().body == BODIES[name][1]
    wire.in_step()


@pytest.mark.parametrize("name", BODIES)
def test_responses_in_a_row(bodies, name):
    wire = bodies()
    wire.send(ask(name) * 3)
    assert [wire.response().body for _ in range(3)] == [BODIES[name][1]] * 3
    wire.in_step()


@pytest.mark.parametrize("keep", [False, True], ids=["", "keep-alive"])
@pytest.mark.parametrize("name", BODIES)
def test_response_on_1_0(bodies, name, keep):
    wire = bodies()
    wire.send(ask(name, *[b"Connection: keep-alive"] * keep, version=b"1.0"))
    response = wire.response(version=b"1.0")
    assert response.body == BODIES[name][1]
    if response.framing and keep:
        wire.in_step()
    else:
        wire.ended()


@pytest.mark.parametrize("name", BODIES)
def test_response_to_head(bodies, name):
    wire = bodies()
    wire.send(ask(name) + ask(name, method=b"HEAD") * 2)
    get, *heads = wire.responses("GET", "HEAD", "HEAD")
    for head in heads:
        assert head.status == 200
        # RFC 9110, 9.3.2: the fields as for GET, but those made only along with the content may be missing.
        assert head.framing in {get.framing, None}
    wire.in_step()


@pytest.mark.parametrize("method", [b"GET", b"HEAD"], ids=bytes.decode)
@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("name", BODIES)
def test_response_without_a_body(bodies, name, status, method):
    wire = bodies()
    wire.send(ask(name, b"X-Status: %d" % status, method=method) * 2)
    assert [each.status for each in wire.responses(method.decode(), method.decode())] == [status] * 2
    wire.in_step()


@pytest.mark.parametrize("size", [0, 1, 100_000])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"], ids=bytes.decode)
def test_response_with_a_file_of_the_system(serve_http, tmp_path, size, method):
    class Sends(Bodies):
        file_to_send = tmp_path / "file"

    Sends.file_to_send.write_bytes(b"x" * size)
    wire = serve_http(Sends)()
    wire.send(ask("of the system", method=method) * 2)
    for response in wire.responses(method.decode(), method.decode()):
        assert response.body == (b"x" * size if method == b"GET" else b"")
        assert response.framing in {str(size).encode(), b"chunked"}
    wire.in_step()


class ByHand(http.http_request_handler):
    """Responds as a program for BaseHTTPRequestHandler does."""

    def do_GET(self):
        getattr(self, as_text(self.path)[1:], self.good)()

    def good(self):
        self.respond(200, b"/good")

    def with_length(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.send_header("X-Echo", "a, b")
        self.end_headers()
        self.wfile.write(b"he")
        self.wfile.write(b"llo")

    def with_length_as_int(self):
        self.send_response(200, "Fine")
        self.send_header("Content-Length", 5)
        self.end_headers()
        self.wfile.write(b"hello")

    def without_length(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"he")
        self.wfile.write(b"")
        self.wfile.write(b"llo")

    def without_body(self):
        self.send_response(200)
        self.end_headers()

    def closing(self):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"hello")

    def no_content(self):
        self.send_response(204)
        self.end_headers()

    def not_modified(self):
        self.send_response(304)
        self.send_header("ETag", '"x"')
        self.end_headers()

    def no_content_and_yet(self):
        self.send_response(204)
        self.end_headers()
        self.wfile.write(b"hello")

    def not_modified_and_yet(self):
        self.send_response(304)
        self.end_headers()
        self.wfile.write(b"hello")

    def error(self):
        self.send_error(404)

    def error_explained(self):
        self.send_error(404, "Not <here>", "Look <script> elsewhere")


@pytest.fixture
def by_hand(serve_http):
    return serve_http(ByHand)


HANDMADE = {
    "with_length": (200, b"hello"),
    "with_length_as_int": (200, b"hello"),
    "without_length": (200, b"hello"),
    "without_body": (200, b""),
    "closing": (200, b"hello"),
    "no_content": (204, b""),
    "not_modified": (304, b""),
    "no_content_and_yet": (204, b""),
    "not_modified_and_yet": (304, b""),
}


@pytest.mark.parametrize("method", [b"GET", b"HEAD"], ids=bytes.decode)
@pytest.mark.parametrize("name", HANDMADE)
def test_response_by_hand(by_hand, delivery, name, method):
    for response in delivery.responses(by_hand, request(target=b"/" + name.encode(), method=method), method.decode()):
        status, body = HANDMADE[name]
        assert (response.status, response.body) == (status, body if method == b"GET" else b"")
        assert response.closes == (name == "closing")


@pytest.mark.parametrize("keep", [False, True], ids=["", "keep-alive"])
@pytest.mark.parametrize("name", HANDMADE)
def test_response_by_hand_on_1_0(by_hand, name, keep):
    lines = [b"Connection: keep-alive"] * keep
    wire = by_hand()
    wire.send(request(*lines, target=b"/" + name.encode(), method=b"GET", version=b"1.0"))
    response = wire.response(version=b"1.0")
    assert (response.status, response.body) == HANDMADE[name]
    if b"keep-alive" in response.connection:
        wire.in_step()
    else:
        wire.ended()


@pytest.mark.parametrize("method", [b"GET", b"HEAD"], ids=bytes.decode)
@pytest.mark.parametrize("name", ["error", "error_explained"])
def test_error(by_hand, delivery, name, method):
    stream = request(target=b"/" + name.encode(), method=method)
    delivery.refused(by_hand, stream, {404}, method.decode())
    wire = by_hand()
    wire.send(stream)
    response = wire.response(method.decode())
    assert b"<script>" not in response.head + response.body
    assert int(response.framing) > 0
    assert response.closes


# Errors of applications


class Wrong(http.http_request_handler):
    """Responds in ways that would not be HTTP."""

    def do_GET(self):
        getattr(self, as_text(self.path)[1:], self.good)()

    def good(self):
        self.respond(200, b"/good")

    def raises(self):
        raise ZeroDivisionError("<script>")

    def raises_late(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"he")
        raise ZeroDivisionError

    def raises_in_the_body(self):
        self.respond(200, (b"x" * (1 // each) for each in (1, 1, 0)))

    def shorter(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"he")
        self.finish()

    def longer(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")

    def longer_at_once(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"helloHTTP/1.1 200 OK\r\n\r\n")

    def twice(self):
        self.respond(200, b"hello")
        self.respond(200, b"HTTP/1.1 200 OK\r\n\r\n")


@pytest.fixture
def wrong(serve_http):
    return serve_http(Wrong)


def test_an_error_of_a_handler_is_an_error_of_the_server(wrong, capfd):
    wire = wrong()
    wire.send(request(target=b"/raises") + request(target=b"/good"))
    response = wire.response()
    assert (response.status, response.closes) == (500, True)
    assert b"script" not in response.body
    assert b"ZeroDivision" not in response.body
    wire.ended()
    wrong().in_step()


def whole_response(wire):
    """Return the Response that comes, None if the connection ends before it is complete."""
    try:
        return wire.response()
    except AssertionError:
        if wire.has_ended:
            return None
        raise


@pytest.mark.parametrize("name", ["raises_late", "raises_in_the_body", "shorter"])
def test_half_a_response_is_seen_to_be_half(wrong, capfd, name):
    wire = wrong()
    wire.send(request(target=b"/" + name.encode()) + request(target=b"/good"))
    response = whole_response(wire)
    assert response is None or response.status == 500
    wrong().in_step()


@pytest.mark.parametrize("name", ["longer", "longer_at_once", "twice"])
def test_too_much_of_a_response_is_not_sent(wrong, capfd, name):
    wire = wrong()
    wire.send(request(target=b"/" + name.encode()))
    response = whole_response(wire)
    if response is None:
        return
    assert response.status == 500 or response.body == b"hello"
    wire.settle()
    wire.receive_some()
    assert not wire.buffer
    if not wire.has_ended:
        wire.in_step()


# Injection

INJECTED = ["x\r\nSet-Cookie: y", "x\ny", "x\ry", "x\0y", "\r\n", "x\r\n", "\n"]


class Injects(http.http_request_handler):
    """Puts a client's bytes into the response's head, and notes the error."""

    def do_GET(self):
        value = INJECTED[int(self.headers.get("X-Echo"))] if "X-Echo" in self.headers else None
        getattr(self, as_text(self.path)[1:], self.good)(value)

    def good(self, value):
        self.respond(200, b"/good")

    def tell(self, function, *args, **options):
        try:
            function(*args, **options)
        except ValueError:
            self.respond(200, b"ValueError")

    def send_header_value(self, value):
        self.send_response(200)
        try:
            self.send_header("X", value)
        except ValueError:
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"ValueError")

    def send_header_name(self, value):
        self.send_response(200)
        try:
            self.send_header(value, "x")
        except ValueError:
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"ValueError")

    def respond_value(self, value):
        self.tell(self.respond, 200, b"x", headers=[("X", value)])

    def respond_name(self, value):
        self.tell(self.respond, 200, b"x", headers=[(value, "x")])

    def respond_type(self, value):
        self.tell(self.respond, 200, b"x", content_type=value)

    def respond_later_value(self, value):
        self.tell(self.respond, 200, b"x", headers=[("Y", "z"), ("X", value), ("Y", "z")])

    def reason(self, value):
        self.tell(self.send_response, 404, value)

    def message(self, value):
        self.tell(self.send_error, 404, value)


@pytest.mark.parametrize("number", range(len(INJECTED)), ids=map(repr, INJECTED))
@pytest.mark.parametrize(
    "place",
    ["send_header_value", "send_header_name", "respond_value", "respond_name", "respond_type", "respond_later_value"],
)
def test_nothing_can_be_injected(serve_http, place, number):
    wire = serve_http(Injects)()
    wire.send(request(b"X-Echo: %d" % number, target=b"/" + place.encode()))
    response = wire.response()
    assert (response.status, response.body) == (200, b"ValueError")
    assert response.get("set-cookie") is None
    assert response.get("y") is None
    wire.in_step()


@pytest.mark.parametrize("number", range(len(INJECTED)), ids=map(repr, INJECTED))
@pytest.mark.parametrize("place", ["reason", "message"])
def test_nothing_can_be_injected_into_the_status_line(serve_http, place, number):
    wire = serve_http(Injects)()
    wire.send(request(b"X-Echo: %d" % number, target=b"/" + place.encode()))
    response = wire.response()
    assert response.status in {200, 404}
    assert response.status == 404 or response.body == b"ValueError"
    assert response.get("set-cookie") is None
