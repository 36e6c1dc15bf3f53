"""A Connection by itself: bytes in, events and bytes out, without a socket; and the grammar that it reads by."""

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asynchat_fast.framing import InputBuffer
from asynchat_fast.http.connection import Connection, Event, State
from asynchat_fast.http.deadlines import CLOSE, Deadlines
from asynchat_fast.http.errors import HTTPError
from asynchat_fast.http.message_framing import check_chunk_line, chunk_size, expects_continue
from asynchat_fast.http.response_writer import Progress
from asynchat_fast.http.settings import Settings

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class Peer:
    """Cuts data as a channel does, has a Connection read them, and responds as a handler would."""

    def __init__(self, settings=None, responses=True):
        self.settings = settings or Settings()
        self.connection = Connection()
        self.responses = responses
        self.buffer = InputBuffer()
        self.collected = b""
        self.bodies = []
        self.sent = []

    def feed(self, data):
        self.buffer.feed(data)
        while True:
            terminator = self.connection.terminator
            self.buffer.set_terminator(terminator)
            payload = next(self.buffer, None)
            part = payload if payload is not None else self.buffer.take_partial()
            is_whole = payload is not None or (type(terminator) is int and len(part or b"") == terminator)
            if part:
                if type(terminator) is bytes:
                    self.collected += part
                else:
                    self.connection.receive_part(bytes(part), self.settings)
                    if not is_whole and type(terminator) is int:
                        self.connection.reader.terminator -= len(part)
            if not is_whole:
                break
            collected, self.collected = self.collected, b""
            self.act(self.connection.receive(collected, self.settings))
        if type(self.connection.terminator) is bytes and self.collected:
            self.connection.check(self.collected + self.buffer.unread, self.settings)

    def act(self, event):
        connection = self.connection
        if event is Event.REQUEST and connection.state is not State.HANDLING:
            if connection.begin_body(self.settings, True) is Event.CONTINUE:
                self.sent.append(b"100")
                connection.go_on(self.settings)
        elif event is not None:
            self.bodies.append(connection.reader.body if connection.reader.length else b"")
            if self.responses:
                self.respond()

    def respond(self, status=200, body=b"ok", headers=()):
        items = self.connection.send(self.connection.writer.respond, status, body, headers, None, self.settings)
        self.sent += items
        return items


def refusal(stream):
    """Return the status that *stream* is refused with, None if it is not."""
    try:
        Peer().feed(stream)
    except HTTPError as error:
        return error.status
    return None


# From state to state


def test_a_request_without_a_body():
    peer = Peer(responses=False)
    assert peer.connection.state is State.IDLE
    peer.feed(GET[:10])
    assert peer.connection.state is State.HEAD
    peer.feed(GET[10:])
    assert (peer.connection.state, peer.connection.is_paused) == (State.HANDLING, True)
    (response,) = peer.respond()
    assert re.fullmatch(rb"HTTP/1\.1 200 OK\r\n(?:[^\r\n]+\r\n)+Content-Length: 2\r\n\r\nok", response)
    assert (peer.connection.state, peer.connection.is_paused) == (State.IDLE, False)


STREAMS = {
    "length": (POST + b"hello", [b"hello"]),
    "chunks": (CHUNKED + b"2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nX: y\r\n\r\n", [b"hello"]),
    "no body": (GET, [b""]),
    "several": (POST + b"hello" + GET + CHUNKED + b"0\r\n\r\n" + POST + b"world", [b"hello", b"", b"", b"world"]),
}


@pytest.mark.parametrize(("stream", "bodies"), STREAMS.values(), ids=STREAMS)
def test_how_a_stream_is_cut_does_not_matter(stream, bodies):
    cuts = [[stream], [stream[at : at + 1] for at in range(len(stream))]]
    cuts += [[stream[:at], stream[at:]] for at in range(1, len(stream))]
    for chunks in cuts:
        peer = Peer()
        for chunk in chunks:
            peer.feed(chunk)
        assert peer.bodies == bodies, chunks
        assert peer.connection.state is State.IDLE, chunks


def test_a_body_is_asked_for():
    peer = Peer()
    peer.feed(POST.replace(b"Host", b"Expect: 100-continue\r\nHost"))
    assert (peer.sent, peer.connection.state) == ([b"100"], State.BODY)
    peer.feed(b"hello")
    assert (peer.bodies, peer.connection.state) == ([b"hello"], State.IDLE)


@pytest.mark.parametrize("value", ["100-continue", "100-Continue, 100-continue", ",100-continue,"])
def test_to_expect_the_same_twice_is_to_expect_it(value):
    """RFC 9110, 10.1.1: Expect is a list."""
    assert expects_continue({"expect": value}, 1)
    assert expects_continue({"expect": [value, value]}, 1)
    assert not expects_continue({"expect": value}, 0)


def test_an_early_response_closes_where_the_body_is_not_worth_reading():
    for stream, state in [(POST, State.BODY), (POST.replace(b"5", b"999999"), State.BODY), (CHUNKED, State.BODY)]:
        peer = Peer(responses=False)
        connection = peer.connection
        event = connection.receive(stream[:-4], peer.settings)
        assert (event, connection.state) == (Event.REQUEST, state)
        peer.respond(403)
        assert connection.state is (State.DISCARDING if stream is POST else State.CLOSING)


def test_input_is_kept_while_a_response_is_due():
    peer = Peer(responses=False)
    peer.feed(GET + GET)
    assert peer.connection.state is State.HANDLING
    assert b"".join(peer.connection.ahead) == GET
    assert peer.connection.requests == 1


@pytest.mark.parametrize("can_linger", [False, True])
def test_the_end(can_linger):
    peer = Peer()
    peer.feed(GET.replace(b"Host", b"Connection: close\r\nHost"))
    connection = peer.connection
    assert connection.state is State.CLOSING
    connection.receive_part(bytes(1000), peer.settings)
    connection.all_sent(can_linger)
    assert connection.state is (State.LINGERING if can_linger else State.CLOSED)
    if can_linger:
        connection.receive_part(bytes(1 << 19), peer.settings)  # which, unread, would have the response lost
        assert connection.state is State.LINGERING
        connection.receive_eof()
        assert connection.state is State.CLOSED


@pytest.mark.parametrize("stream", [b"GET", POST + b"hel", CHUNKED + b"5\r\n"])
def test_an_end_within_a_request_is_400(stream):
    peer = Peer()
    peer.feed(stream)
    with pytest.raises(HTTPError, match="not complete"):
        peer.connection.receive_eof()


def test_the_last_request():
    peer = Peer(responses=False)
    peer.feed(GET)
    peer.connection.make_last()
    (response,) = peer.respond()
    assert b"\r\nConnection: close\r\n" in response
    assert peer.connection.state is State.CLOSING


def test_the_next_request_is_the_last():
    peer = Peer(responses=False)
    peer.connection.make_last()
    assert peer.connection.state is State.IDLE
    peer.feed(GET)
    (response,) = peer.respond()
    assert b"\r\nConnection: close\r\n" in response
    assert peer.connection.state is State.CLOSING


def test_a_client_that_takes_nothing_is_not_asked_for_more():
    peer = Peer(responses=False)
    for _ in range(100):
        peer.feed(GET)
        peer.respond(200, bytes(10_000))
        if peer.connection.state is State.BLOCKED:
            break
    assert peer.connection.is_paused
    peer.connection.drained()
    assert peer.connection.state is State.IDLE


# Chunk lines, by their grammar

TCHAR = "!#$%&'*+-.^_`|~0123456789abcABC"
blanks = st.text(" \t", max_size=2)
token = st.text(TCHAR, min_size=1, max_size=5)
qdtext = st.characters(codec="latin-1", exclude_characters='"\\', exclude_categories=["Cc"]) | st.just("\t")
quoted_pair = st.characters(codec="latin-1", exclude_categories=["Cc"]).map("\\{}".format)
quoted_string = st.lists(qdtext | quoted_pair, max_size=5).map(lambda parts: '"' + "".join(parts) + '"')
value = st.builds("{}={}{}".format, blanks, blanks, token | quoted_string)
extension = st.builds("{};{}{}{}".format, blanks, blanks, token, st.just("") | value)
extensions = st.lists(extension, max_size=4).map("".join)
size = st.from_regex(r"\A[0-9A-Fa-f]{1,16}\Z")


@given(size, extensions)
@example("1", "")
@example("1", ' ; a = "x\\"y"')
@example("1", ';a=""')
@example("0", " ;a=b")
def test_a_chunk_line_is_read_however_much_of_it_has_come(size, extensions):
    line = (size + extensions).encode("latin-1")
    assert chunk_size(line) == (int(size, 16), len(extensions))
    for at in range(len(line) + 1):
        check_chunk_line(line[:at])
    check_chunk_line(line + b"\r")


WRONG_EXTENSIONS = [';a="', ";", ";;", "; =x", ";a b", ';a="x"y', ";a=(", ";\xe9", ";a=\xe9", "; ", ";a=", ";a;", " ",
                    ";a = ", ';a="\\', ';a="\x00"', ';a="\n"', ";a\x0b", ';"a"', ";a=b=c",
                    ';a="b";', ",a"]  # fmt: skip


@pytest.mark.parametrize("digits", ["1", "0", "5"])
@pytest.mark.parametrize("wrong", WRONG_EXTENSIONS)
def test_a_chunk_line_that_is_wrong_leads_to_no_other_request(wrong, digits):
    line = (digits + wrong).encode("latin-1")
    with pytest.raises(HTTPError):
        chunk_size(line)
    assert refusal(CHUNKED + line + b"\r\nhello\r\n0\r\n\r\n" + GET) == 400


@given(size, extensions, st.data())
def test_one_character_more_is_read_by_the_grammar_too(size, extensions, data):
    """A stream is accepted or refused, and one that is refused early is never accepted later."""
    line = size + extensions
    at = data.draw(st.integers(0, len(line)))
    mutated = (line[:at] + data.draw(st.sampled_from(' ;="\\\t\x00\r\n(\xe9a')) + line[at:]).encode("latin-1")
    try:
        chunk_size(mutated)
    except HTTPError:
        return
    for end in range(len(mutated) + 1):
        check_chunk_line(mutated[:end])


@pytest.mark.parametrize("target", [b"/#", b"/x#y", b"#", b"*#", b"http://a/#x", b"/?a=b#c", b"/%23#"])
def test_a_fragment_is_no_part_of_a_target(target):
    assert refusal(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target) == 400
    assert refusal(b"GET %b" % target) == 400  # at once


# Responses, by their requests


def response(request, status, body=b"content", headers=()):
    """Return the head of a response to *request*, the bytes after it, and the state after them."""
    peer = Peer(responses=False)
    peer.feed(request)
    sent = b"".join(bytes(item) if not hasattr(item, "more") else b"".join(iter(item.more, b"")) for item in
                    peer.respond(status, body, headers))  # fmt: skip
    head, _, rest = sent.partition(b"\r\n\r\n")
    return head + b"\r\n", rest, peer.connection.state


METHODS = [b"GET", b"HEAD", b"POST", b"CONNECT"]
BODIES = [b"", b"content", "text", bytearray(b"content"), [b"con", b"tent"], iter([b"content"])]


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("status", [200, 204, 205, 206, 304, 404, 500])
def test_the_framing_of_responses(method, status, version):
    target = b"a:80" if method == b"CONNECT" else b"/"
    request = b"%b %b HTTP/%b\r\nHost: a\r\n\r\n" % (method, target, version)
    for body in [b"", b"content", "text", bytearray(b"content"), [b"con", b"tent"], (b"x" for _ in range(3))]:
        head, rest, state = response(request, status, body)
        tunnels = method == b"CONNECT" and status < 300
        lengths = re.findall(rb"\r\nContent-Length: ([0-9]+)\r\n", head)
        chunked = b"\r\nTransfer-Encoding: chunked\r\n" in head
        assert len(lengths) + chunked <= 1
        if tunnels or status == 204:  # RFC 9110, 8.6
            assert not lengths
            assert not chunked
        if status == 205:  # RFC 9110, 15.3.6
            assert tunnels or lengths == [b"0"]
        if tunnels or method == b"HEAD" or status in (204, 205, 304):
            assert rest == b""
        elif lengths:
            assert len(rest) == int(lengths[0])
        elif chunked:
            assert version == b"1.1"
            assert rest.endswith(b"0\r\n\r\n")
        closes = b"\r\nConnection: close\r\n" in head
        assert closes == (version == b"1.0" or tunnels)
        if not hasattr(body, "__next__") and not isinstance(body, list):
            assert (state is State.CLOSING) == closes


def test_no_interim_response_goes_to_http_1_0():
    for version, expected in [(b"1.0", []), (b"1.1", [b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"])]:
        peer = Peer(responses=False)
        peer.feed(GET.replace(b"1.1", version))
        writer = peer.connection.writer
        writer.start(103, None)
        writer.add_header("Link", "x")
        assert peer.connection.send(writer.end_headers, peer.settings) == expected
        assert writer.progress is Progress.NOTHING


WRONG = {
    "status": ("200", b"", ()),
    "status is a number": (None, b"", ()),
    "body": (200, {"a": 1}, ()),
    "body is": (200, 5, ()),
    "body is bytes": (200, None, ()),
    "headers": (200, b"", "X: y"),
    "headers are": (200, b"", 5),
    "headers are pairs": (200, b"", [("X",)]),
    "headers are pairs of": (200, b"", ["X: y"]),
    "the value of X": (200, b"", [("X", None)]),
    "the value of X is": (200, b"", {"X": 1.5}),
    "name": (200, b"", [(b"X", "y")]),
}


@pytest.mark.parametrize(("named", "arguments"), WRONG.items(), ids=WRONG)
def test_an_argument_of_a_wrong_type_is_named(named, arguments):
    peer = Peer(responses=False)
    peer.feed(GET)
    with pytest.raises(TypeError, match=named):
        peer.respond(*arguments)
    assert b" 200 OK" in peer.respond()[0]  # nothing was begun


# Deadlines


class Short(Settings):
    head_timeout, body_timeout, min_body_rate, response_timeout = 10, 10, 100, 10
    keep_alive_timeout, write_timeout, linger_timeout = 10, 10, 2


class Clock:
    """Looks at a Peer's deadlines, second by second."""

    def __init__(self, peer):
        self.peer = peer
        self.now = 0.0
        self.deadlines = Deadlines(lambda: self.now)

    def passes(self, seconds, outgoing=(), is_read=True, received=0):
        """Return the first status there is within so many *seconds*; *outgoing* waits in each of them."""
        outgoing = iter(outgoing or itertools.repeat(None))
        for _ in range(seconds):
            self.now += 1
            if received:
                self.peer.feed(bytes(received))
            status = self.deadlines.look(self.peer.connection, next(outgoing), is_read, self.peer.settings)
            if status is not None:
                return status
        return None


def clock(stream, responses=True):
    peer = Peer(Short(), responses)
    peer.feed(stream)
    return Clock(peer)


LATE = {
    "nothing": (b"", True, CLOSE),
    "after a response": (GET, True, CLOSE),
    "a head": (b"GET /", True, 408),
    "a body": (POST + b"h", True, 408),
    "a chunk": (CHUNKED + b"5\r\nh", True, 408),
    "a response": (GET, False, 503),
}


@pytest.mark.parametrize(("stream", "responses", "status"), LATE.values(), ids=LATE)
def test_a_late_client_gets_408_and_none_before(stream, responses, status):
    late = clock(stream, responses)
    assert late.passes(10) is None
    assert late.passes(2) == status


def test_no_limit_for_the_response():
    slow = clock(GET, responses=False)
    slow.peer.settings.response_timeout = None
    assert slow.passes(1000) is None


def test_a_response_that_was_begun_may_take_its_time():
    slow = clock(GET, responses=False)
    slow.peer.connection.send(slow.peer.connection.writer.write, b"x", slow.peer.settings)
    assert slow.passes(1000) is None


def test_to_stay_is_counted_from_when_the_response_has_left():
    client = clock(GET)
    assert client.passes(100, outgoing=itertools.count(1000, -1)) is None
    assert client.passes(9) is None
    assert client.passes(3) == CLOSE


def test_a_client_that_takes_something_makes_progress_and_one_that_takes_nothing_is_closed():
    assert clock(GET).passes(200, outgoing=(count // 9 for count in itertools.count(1))) is None
    stalled = clock(GET)
    assert stalled.passes(10, outgoing=itertools.repeat(5)) is None
    assert stalled.passes(2, outgoing=itertools.repeat(5)) == CLOSE


def test_a_body_at_the_rate_that_is_due_is_never_late_and_credit_is_bounded():
    upload = POST.replace(b"5", b"1000000")
    assert clock(upload).passes(1000, received=100) is None
    assert clock(upload).passes(25, received=50) == 408
    fast = clock(upload + bytes(900_000))
    assert fast.passes(12) == 408


def test_no_client_is_late_while_nothing_is_read():
    paused = clock(POST + b"h")
    assert paused.passes(100, is_read=False) is None
    assert paused.passes(12) == 408
