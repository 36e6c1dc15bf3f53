"""Parse heads of requests, by asynchat_fast's parsers and their peers, in one run.

    python bench/bench_http_head.py [--quick] [--json FILE]

Every peer is given a whole head and ends with the method, the target and a list of the fields.
httptools is one parser for all heads (no body follows), as on a connection that persists, with the callbacks of
uvicorn's protocol; h11 is a connection a head, because it wants a response before the next one;
http.client is its parse_headers(), which the standard library's server calls, after the request line
has been split.

Figures are nanoseconds per head, the best of several rounds in which the peers take turns; beside
them stands the ratio to httptools.  The last rows are what a client that drips one byte at a time
makes check_beginning() cost, per byte, with the copy of all bytes that it is given each time.
"""

import importlib.util
import io
from functools import partial
from http.client import parse_headers
from importlib import metadata
from types import FunctionType

import _common
from _common import figure

from asynchat_fast.benchmark import take_turns
from asynchat_fast.http import head

COMPILED, PLAIN, HTTPTOOLS, H11, CLIENT = "compiled", "plain", "httptools", "h11", "http.client"
LINE_END, HEAD_END = b"\r\n", b"\r\n\r\n"

CASES = {
    "GET, 1 field": b"GET / HTTP/1.1\r\nHost: localhost",
    "GET, 8 fields of a browser": (
        b"GET /index.html?page=1 HTTP/1.1\r\n"
        b"Host: www.example.com\r\n"
        b"Connection: keep-alive\r\n"
        b"Upgrade-Insecure-Requests: 1\r\n"
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
        b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
        b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
        b"Accept-Language: en-US,en;q=0.5\r\n"
        b"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark"
    ),
    "POST, 12 fields by a proxy": (
        b"POST /api/v1/items HTTP/1.1\r\n"
        b"host: api.example.com\r\n"
        b"x-real-ip: 192.0.2.1\r\n"
        b"x-forwarded-for: 192.0.2.1, 198.51.100.7\r\n"
        b"x-forwarded-proto: https\r\n"
        b"x-request-id: 7f9c2ba4e88f827d616045507605853e\r\n"
        b"connection: keep-alive\r\n"
        b"content-length: 0\r\n"
        b"content-type: application/json\r\n"
        b"accept: application/json\r\n"
        b"accept-encoding: gzip\r\n"
        b"authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0\r\n"
        b"user-agent: python-httpx/0.28.1"
    ),
    "GET, 8 fields nobody knows": b"GET / HTTP/1.1\r\nHost: a\r\n"
    + LINE_END.join(b"X-Of-Our-Own-%d: value %d" % (number, number) for number in range(7)),
}


def split_line(line):
    method, target, _ = line.split(b" ")
    return method.decode("ascii"), target.decode("ascii")


def parse_by_client(data):
    file = io.BytesIO(data + HEAD_END)
    method, target = split_line(file.readline())
    return method, target, parse_headers(file).items()


def parse_by_ours(parse_head, data):
    method, target, _, fields, _ = parse_head(data)
    return method, target, fields


def h11_parser():
    import h11

    def parse(data):
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(data)
        return connection.next_event()

    def result(data):
        request = parse(data + HEAD_END)
        fields = [(name.decode(), value.decode()) for name, value in request.headers.raw_items()]
        return request.method.decode(), request.target.decode(), fields

    return parse, result


class Uvicorn:
    """The callbacks that httptools has there, as far as they concern the head."""

    def on_message_begin(self):
        self.url = b""
        self.headers = []

    def on_url(self, url):
        self.url += url

    def on_header(self, name, value):
        self.headers.append((name.lower(), value))

    def on_headers_complete(self):
        self.method = self.parser.get_method()
        self.version = self.parser.get_http_version()


def httptools_parser():
    from httptools import HttpRequestParser

    protocol = Uvicorn()
    protocol.parser = HttpRequestParser(protocol)

    def result(data):
        parser = protocol.parser = HttpRequestParser(protocol)
        parser.feed_data(data + HEAD_END)
        fields = [(name.decode(), value.decode()) for name, value in protocol.headers]
        return protocol.method.decode(), protocol.url.decode(), fields

    return protocol.parser.feed_data, result


def load_peers():
    """Return what is timed, what gives method, target and fields to be verified, and how a head ends, by peer."""
    peers = {}
    if head.COMPILED:
        peers[COMPILED] = (head.parse_head, partial(parse_by_ours, head.parse_head), b"")
    peers[PLAIN] = (head.PlainHeadParser.parse_head, partial(parse_by_ours, head.PlainHeadParser.parse_head), b"")
    for name, load in ((HTTPTOOLS, httptools_parser), (H11, h11_parser)):
        if importlib.util.find_spec(name):
            peers[name] = (*load(), HEAD_END)
            print(name, metadata.version(name))
        else:
            print(f"skipped: {name} is not installed")
    peers[CLIENT] = (parse_by_client, parse_by_client, b"")
    return peers


def verify(peers, data):
    """Stop unless all peers find the same in *data*; names may have lost their case."""
    line, *lines = data.split(LINE_END)
    fields = [tuple(part.decode() for part in field.split(b": ", 1)) for field in lines]
    expected = (*split_line(line), [(name.lower(), value) for name, value in fields])
    for name, (_, result, _) in peers.items():
        method, target, found = result(data)
        if (method, target, [(name.lower(), value) for name, value in found]) != expected:
            raise SystemExit(f"error: {name} finds something else in {data!r}")


def repeat(parse, data, count):
    for _ in range(count):
        parse(data)


def trial(parse, data, count):
    """Return what prepares a run: a loop with code of its own, which the interpreter specialises."""
    own = FunctionType(repeat.__code__.replace(), globals())
    return lambda: partial(own, parse, data, count)


def drip(check_beginning, data):
    checked = 0
    for size in range(len(data)):
        checked = check_beginning(data[:size], checked)


def drip_trials(data):
    modules = {COMPILED: head} if head.COMPILED else {}
    modules[PLAIN] = head.PlainHeadParser
    return {name: partial(partial, drip, module.check_beginning, data) for name, module in modules.items()}


def drip_cases(quick):
    """Return beginnings of heads, some the same in twice the size, by name."""
    sizes = (8, 16) if quick else (32, 64)
    cases = {f"a value of {size} KiB": b"GET / HTTP/1.1\r\na:" + b"a" * (size << 10) for size in sizes}
    cases["a target of 8 KiB"] = b"GET /" + b"a" * 8186
    cases["100 fields of 80 bytes"] = b"GET / HTTP/1.1\r\n" + b"name: %b\r\n" % (b"v" * 72) * 100
    return cases


class Table:
    """Measures cases and prints a row for each."""

    def __init__(self, names, quick):
        self.names = names
        self.rounds, self.budget = (5, 0.05) if quick else (60, 2.0)
        self.rows = []

    def print_titles(self, unit):
        print(f"\n{'ns per ' + unit:<30}" + "".join(f"{name:>16}" for name in self.names))

    def measure(self, name, unit, count, trials):
        _common.progress(f"{name} ...")
        seconds = take_turns(trials, self.rounds, self.budget)
        _common.progress()
        nanoseconds = {peer: 1e9 * min(each) / count for peer, each in seconds.items()}
        self.rows.append({"case": name, "unit": unit, "count": count, "ns": nanoseconds})
        row = f"{name:<30}"
        for peer in self.names:
            own, other = nanoseconds.get(peer), nanoseconds.get(HTTPTOOLS)
            ratio = f"{own / other:.2f}" if own and other and peer != HTTPTOOLS else ""
            row += f"{figure(own) if own else '-':>9}{ratio:>7}"
        print(row.rstrip(), flush=True)


def print_header():
    found = _common.environment()
    print(f"asynchat_fast {found['versions']['asynchat_fast']}, head.COMPILED = {head.COMPILED}", end="; ")
    print(f"{_common.machine(found)}; best of up to 60 rounds, beside it the ratio to httptools")


def main():
    options = _common.parse(_common.arguments(__doc__))
    print_header()
    peers = load_peers()
    table = Table(list(peers), options.quick)
    table.print_titles("head")
    count = 50 if options.quick else 500
    for name, data in CASES.items():
        verify(peers, data)
        trials = {peer: trial(parse, data + end, count) for peer, (parse, _, end) in peers.items()}
        table.measure(name, "head", count, trials)
    table.print_titles("byte that drips")
    for name, data in drip_cases(options.quick).items():
        table.measure(name, "byte", len(data), drip_trials(data))
    if options.json:
        _common.write_json(options.json, "http_head", table.rows)


if __name__ == "__main__":
    main()
