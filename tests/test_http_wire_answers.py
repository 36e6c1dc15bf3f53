"""How http_request_handler frames its answers: octet by octet, for every kind of body, and what goes wrong.

Source: RFC 9110 and RFC 9112.  Whatever an application does, a client can tell where an answer ends.
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


class Octets:
    """A producer."""

    def __init__(self, *octets):
        self.octets = list(octets)

    def more(self):
        return self.octets.pop(0) if self.octets else b""


OCTETS = b"0123456789" * 10

BODIES = {
    "bytes": (lambda: OCTETS, OCTETS),
    "nothing": (lambda: b"", b""),
    "bytearray": (lambda: bytearray(OCTETS), OCTETS),
    "memoryview": (lambda: memoryview(OCTETS), OCTETS),
    "str": (lambda: "naïve €", "naïve €".encode()),
    "list": (lambda: [OCTETS, b"", OCTETS], OCTETS * 2),
    "empty list": (list, b""),
    "generator": (lambda: (OCTETS for _ in range(3)), OCTETS * 3),
    "generator of nothing": (lambda: (b"" for _ in range(3)), b""),
    "producer": (lambda: Octets(OCTETS, OCTETS), OCTETS * 2),
    "empty producer": (Octets, b""),
    "file": (lambda: io.BytesIO(OCTETS), OCTETS),
    "empty file": (io.BytesIO, b""),
    "large": (lambda: OCTETS * 30_000, OCTETS * 30_000),
    "large file": (lambda: io.BytesIO(OCTETS * 30_000), OCTETS * 30_000),
    "large generator": (lambda: (OCTETS * 100 for _ in range(300)), OCTETS * 30_000),
}


class Bodies(http.http_request_handler):
    """Answers with the body that the path names."""

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
def test_answer(bodies, name):
    wire = bodies()
    for _ in range(2):
        wire.send(ask(name))
        assert wire.answer().body == BODIES[name][1]
    wire.in_step()


@pytest.mark.parametrize("name", BODIES)
def test_answers_in_a_row(bodies, name):
    wire = bodies()
    wire.send(ask(name) * 3)
    assert [wire.answer().body for _ in range(3)] == [BODIES[name][1]] * 3
    wire.in_step()


@pytest.mark.parametrize("keep", [False, True], ids=["", "keep-alive"])
@pytest.mark.parametrize("name", BODIES)
def test_answer_on_1_0(bodies, name, keep):
    wire = bodies()
    wire.send(ask(name, *[b"Connection: keep-alive"] * keep, version=b"1.0"))
    answer = wire.answer(version=b"1.0")
    assert answer.body == BODIES[name][1]
    if answer.framing and keep:
        wire.in_step()
    else:
        wire.ended()


@pytest.mark.parametrize("name", BODIES)
def test_answer_to_head(bodies, name):
    wire = bodies()
    wire.send(ask(name) + ask(name, method=b"HEAD") * 2)
    get, *heads = wire.answers("GET", "HEAD", "HEAD")
    for head in heads:
        assert head.status == 200
        # RFC 9110, 9.3.2: the fields as for GET, but those made only along with the content may be missing.
        assert head.framing in {get.framing, None}
    wire.in_step()


@pytest.mark.parametrize("method", [b"GET", b"HEAD"], ids=bytes.decode)
@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("name", BODIES)
def test_answer_without_a_body(bodies, name, status, method):
    wire = bodies()
    wire.send(ask(name, b"X-Status: %d" % status, method=method) * 2)
    assert [each.status for each in wire.answers(method.decode(), method.decode())] == [status] * 2
    wire.in_step()


@pytest.mark.parametrize("size", [0, 1, 100_000])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"], ids=bytes.decode)
def test_answer_with_a_file_of_the_system(serve_http, tmp_path, size, method):
    class Sends(Bodies):
        file_to_send = tmp_path / "file"

    Sends.file_to_send.write_bytes(b"x" * size)
    wire = serve_http(Sends)()
    wire.send(ask("of the system", method=method) * 2)
    for answer in wire.answers(method.decode(), method.decode()):
        assert answer.body == (b"x" * size if method == b"GET" else b"")
        assert answer.framing in {str(size).encode(), b"chunked"}
    wire.in_step()


class ByHand(http.http_request_handler):
    """Answers as a program for BaseHTTPRequestHandler does."""

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
def test_answer_by_hand(by_hand, delivery, name, method):
    for answer in delivery.answered(by_hand, request(target=b"/" + name.encode(), method=method), method.decode()):
        status, body = HANDMADE[name]
        assert (answer.status, answer.body) == (status, body if method == b"GET" else b"")
        assert answer.closes == (name == "closing")


@pytest.mark.parametrize("keep", [False, True], ids=["", "keep-alive"])
@pytest.mark.parametrize("name", HANDMADE)
def test_answer_by_hand_on_1_0(by_hand, name, keep):
    lines = [b"Connection: keep-alive"] * keep
    wire = by_hand()
    wire.send(request(*lines, target=b"/" + name.encode(), method=b"GET", version=b"1.0"))
    answer = wire.answer(version=b"1.0")
    assert (answer.status, answer.body) == HANDMADE[name]
    if b"keep-alive" in answer.connection:
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
    answer = wire.answer(method.decode())
    assert b"<script>" not in answer.head + answer.body
    assert int(answer.framing) > 0
    assert answer.closes


# What an application gets wrong


class Wrong(http.http_request_handler):
    """Answers in ways that would be no answers."""

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


def test_what_a_handler_raises_is_an_error_of_the_server(wrong, capfd):
    wire = wrong()
    wire.send(request(target=b"/raises") + request(target=b"/good"))
    answer = wire.answer()
    assert (answer.status, answer.closes) == (500, True)
    assert b"script" not in answer.body
    assert b"ZeroDivision" not in answer.body
    wire.ended()
    wrong().in_step()


def whole_answer(wire):
    """Return the Answer that comes, None if the connection ends before it is complete."""
    try:
        return wire.answer()
    except AssertionError:
        if wire.has_ended:
            return None
        raise


@pytest.mark.parametrize("name", ["raises_late", "raises_in_the_body", "shorter"])
def test_half_an_answer_is_seen_to_be_half(wrong, capfd, name):
    wire = wrong()
    wire.send(request(target=b"/" + name.encode()) + request(target=b"/good"))
    answer = whole_answer(wire)
    assert answer is None or answer.status == 500
    wrong().in_step()


@pytest.mark.parametrize("name", ["longer", "longer_at_once", "twice"])
def test_too_much_of_an_answer_is_not_sent(wrong, capfd, name):
    wire = wrong()
    wire.send(request(target=b"/" + name.encode()))
    answer = whole_answer(wire)
    if answer is None:
        return
    assert answer.status == 500 or answer.body == b"hello"
    wire.settle()
    wire.receive_some()
    assert not wire.buffer
    if not wire.has_ended:
        wire.in_step()


# Injection

INJECTED = ["x\r\nSet-Cookie: y", "x\ny", "x\ry", "x\0y", "\r\n", "x\r\n", "\n"]


class Injects(http.http_request_handler):
    """Would have a client's octets in the answer's head, and tells what has become of it."""

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
    answer = wire.answer()
    assert (answer.status, answer.body) == (200, b"ValueError")
    assert answer.get("set-cookie") is None
    assert answer.get("y") is None
    wire.in_step()


@pytest.mark.parametrize("number", range(len(INJECTED)), ids=map(repr, INJECTED))
@pytest.mark.parametrize("place", ["reason", "message"])
def test_nothing_can_be_injected_into_the_status_line(serve_http, place, number):
    wire = serve_http(Injects)()
    wire.send(request(b"X-Echo: %d" % number, target=b"/" + place.encode()))
    answer = wire.answer()
    assert answer.status in {200, 404}
    assert answer.status == 404 or answer.body == b"ValueError"
    assert answer.get("set-cookie") is None
