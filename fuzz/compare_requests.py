"""Compare what we make of mutated requests with what h11 and httptools make of them: ``compare_requests.py [COUNT]``.

What both of them refuse, for its grammar or framing, is refused by us, too.  Both err in one thing: they refuse the
BWS that RFC 9112 allows before the ";" of a chunk extension.  Exits with 1 if we took more than both, and prints it.
"""

import random
import re
import sys

import h11
import httptools

from asynchat_fast.framing import InputBuffer
from asynchat_fast.http.connection import Connection, Event, State
from asynchat_fast.http.errors import HTTPError
from asynchat_fast.http.message_framing import parse_target
from asynchat_fast.http.settings import Settings

GET = b"GET /x?y HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"
SEEDS = (
    GET,
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + GET,
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'2;a=b\r\nhe\r\n3;x="y z"\r\nllo\r\n0;a\r\nX: y\r\n\r\n' + GET,
    b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n",
    b"PUT http://a/b HTTP/1.0\r\nhost: a\r\nContent-Length: 0\r\nX: \xff\r\n\r\n",
)
PIECES = (
    *(b"\r\n", b"\r", b"\n", b"\0", b" ", b"\t", b":", b";", b'"', b"\\", b"=", b",", b"#", b"\x7f", b"\x80", b"0"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1", b"Host: b\r\n", b"+", b"-", b"_", b"x"),
)
BLANK_EXTENSION = re.compile(rb"\r\n[0-9A-Fa-f]+[ \t]+;")
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}


def mutated(rng):
    """Return a request like those of clients, but for one to three changes."""
    stream = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(stream))
        kind = rng.randrange(4)
        if kind == 0:
            stream[at : at + 1] = rng.choice(PIECES)
        elif kind == 1:
            stream[at:at] = rng.choice(PIECES)
        elif kind == 2:
            del stream[at : at + rng.randrange(1, 4)]
        else:
            stream[at] = rng.randrange(256)
    return bytes(stream)


class Strict(Settings):
    """Parses heads and their targets, as a handler does."""

    def parse_headers(self, data):
        """Return what *data* says; HTTPError for a target that is none."""
        parsed = super().parse_headers(data)
        method, minor, index = parsed
        if method not in METHODS:
            raise HTTPError(501, "as a handler has it")
        parse_target(method, data.split(b" ", 2)[1].decode(), index, minor)
        return parsed


def by_us(stream):
    """Return how many requests we take of *stream*, and whether we refuse what follows."""
    connection, settings, buffer = Connection(), Strict(), InputBuffer()
    buffer.feed(stream)
    taken, collected = 0, b""
    try:
        while connection.state not in (State.CLOSING, State.CLOSED):
            terminator = connection.terminator
            buffer.set_terminator(terminator)
            payload = next(buffer, None)
            part = payload if payload is not None else buffer.take_partial() or b""
            if type(terminator) is int:
                connection.receive_part(part, settings)
                if payload is None and len(part) < terminator:
                    return taken, False
            else:
                collected += part
                if payload is None:
                    connection.check(collected + buffer.unread, settings)
                    return taken, False
            event = connection.receive(collected, settings)
            collected = b""
            if event is Event.REQUEST and connection.state is not State.HANDLING:
                connection.begin_body(settings, True)
                connection.go_on(settings)
            elif event is not None:
                taken += 1
                connection.send(connection.writer.respond, 200, b"", (), None, settings)
    except HTTPError:
        return taken, True
    return taken, False


def by_h11(stream):
    connection, taken = h11.Connection(h11.SERVER), 0
    connection.receive_data(stream)
    try:
        while True:
            event = connection.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED):
                return taken, False
            if type(event) is h11.EndOfMessage:
                taken += 1
                connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    return taken, False
                connection.start_next_cycle()
    except h11.ProtocolError:
        return taken, True


class _Count:
    def __init__(self):
        self.taken = 0

    def on_message_complete(self):
        self.taken += 1


def by_httptools(stream):
    count = _Count()
    try:
        httptools.HttpRequestParser(count).feed_data(stream)
    except httptools.HttpParserUpgrade:
        return count.taken, False
    except httptools.HttpParserError:
        return count.taken, True
    return count.taken, False


def main(count=100_000, seed=1):
    """Compare *count* streams; return how many we take more of than both others do, of those that both refuse."""
    rng = random.Random(seed)
    laxer, refused, by_both = [], 0, 0
    for _ in range(count):
        stream = mutated(rng)
        ours, others = by_us(stream), (by_h11(stream), by_httptools(stream))
        refused += ours[1]
        if all(refuses for _, refuses in others):
            by_both += 1
            if not ours[1] and ours[0] > max(taken for taken, _ in others) and not BLANK_EXTENSION.search(stream):
                laxer.append(stream)
    print(f"{count} streams: {refused} refused by us, {by_both} by both others, {len(laxer)} taken by us alone")
    for stream in laxer[:20]:
        print(stream, by_us(stream), by_h11(stream), by_httptools(stream))
    return len(laxer)


if __name__ == "__main__":
    sys.exit(1 if main(*map(int, sys.argv[1:])) else 0)
