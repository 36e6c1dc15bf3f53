"""Which requests are taken, by the grammar alone: what the tests of other servers ask of theirs, and h11 beside us."""

import importlib.util
from pathlib import Path

import pytest

COMPARISON = Path(__file__).parents[1] / "fuzz" / "compare_requests.py"
if not COMPARISON.exists():
    pytest.skip("these tests are not in a source tree, so fuzz/ is not beside them", allow_module_level=True)
pytest.importorskip("h11", reason="h11 is not installed")
pytest.importorskip("httptools", reason="httptools is not installed")


@pytest.fixture(scope="module")
def comparison():
    spec = importlib.util.spec_from_file_location("compare_requests", COMPARISON)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_both_others_refuse_we_refuse(comparison, capsys):
    """More of them are compared by ``python fuzz/compare_requests.py 100000``."""
    assert comparison.main(1000, seed=7) == 0, capsys.readouterr().out


def request(line=b"GET / HTTP/1.1", *fields, body=b""):
    return b"\r\n".join([line, b"Host: a", *fields, b"", body])


def chunks(body):
    return request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=body)


LINES = [
    b"GET / ICE/1.0", b"GET / RTSP/1.0", b"GET / IHTTP/1.0", b"GET / http/1.1", b"GET / HTTP/5.6", b"GET / HTTP/11",
    b"GET / HTTP/1.10", b"GET / HTTP/1.", b"GET / HTTP/.1", b"GET / HTTP/1,1", b"GET / HTTP 1.1", b"GET / HTTP",
    b"GET /", b"GET", b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET / HTTP/1.1 ", b" GET / HTTP/1.1",
    b"GET\t/\tHTTP/1.1",
    b"GET /a b HTTP/1.1", b"GET /#a HTTP/1.1", b"GET /\xc3\xa0 HTTP/1.1", b"GET /\0 HTTP/1.1", b"GET a HTTP/1.1",
    b"G(T / HTTP/1.1", b"G\xc3T / HTTP/1.1", b"GET: / HTTP/1.1", b"GET / HTTP/\xef\xbc\x91.1", b"GET http:// HTTP/1.1",
    b"GET * HTTP/1.1", b"GET a:80 HTTP/1.1", b"GET http://b:c@a/ HTTP/1.1", b"CONNECT a HTTP/1.1",
    b"CONNECT / HTTP/1.1", b"GET / HTTP/0.9", b"GET / HTTP/2.0", b"GET\n/\nHTTP/1.1",
]  # fmt: skip
FIELDS = [
    b"Fo@: x", b"Fo\x01o: x", b": x", b"Foo : x", b"Foo\t: x", b"Foo", b" Foo: x", b"\tFoo: x", b"Foo\n: x",
    b"F\xfco: x",
    b"Foo: x\r\n y", b"Foo: x\r\n\ty", b"Foo\r\n : x", b"Foo: x\rBar: y", b"Foo: x\nBar: y", b"Foo:\rBar: y",
    b"Foo:\nBar: y", b"Foo: x\0y", b"Foo: x\x7fy", b"\rGET /x: HTTP/1.1", b"Accept\r\x1b\xd5text: x",
    b"Foo: \"x\r\ny\"", b"Foo;: x", b"{Foo}: x", b"Foo,: x", b"(Foo): x", b"Host: b", b"Host: a",
    b"Foo: x\x0cy",
]  # fmt: skip
LENGTHS = [
    b"Content-Length: +5", b"Content-Length: -5", b"Content-Length: 0x5", b"Content-Length: 5_0",
    b"Content-Length: 5 5",
    b"Content-Length: 5,6", b"Content-Length:", b"Content-Length: 5.0", b"Content-Length: 1e1", b"Content-Length : 5",
    b"Content-Length: \xd9\xa5", b"Content-Length: five", b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 5\r\ncontent-length: 4", b"Content-Length: " + b"9" * 40,
    b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Content-Length: 5\r\nTransfer-Encoding:", b"Content-Length: 5\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding:", b"Transfer-Encoding: pigeons", b"Transfer-Encoding: identity",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, gzip", b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked;a=b",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: \"chunked\"", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: chunked\0",
]  # fmt: skip
CHUNKS = [
    b"g\r\n", b"-1\r\n", b"+5\r\nhello\r\n", b"0x5\r\nhello\r\n", b" 5\r\nhello\r\n", b"5 5\r\nhello\r\n", b"\r\nhello",
    b"5_0\r\n", b"f" * 17 + b"\r\n", b"5\nhello\r\n", b"5\rhello\r\n", b"5\r\nhelloX\r\n", b"5\r\nhello\n",
    b"5\r\nhello\r0",
    b"5\r\nhello0\r\n\r\n", b"2 abc\r\naa\r\n", b"2;\r\naa\r\n", b"2;;\r\naa\r\n", b"2;=b\r\naa\r\n", b"2;a=\r\naa\r\n",
    b'2;a="b\r\naa\r\n', b'2;a="b"c\r\naa\r\n', b"2;a\0\r\naa\r\n", b"2;a\n\r\naa\r\n", b"2;a=(\r\naa\r\n",
    b"2 \r\naa\r\n", b"0 \r\n\r\n", b"2,a\r\naa\r\n",
    b"0\r\nVary\r\n\r\n", b"0\r\nVa ry: x\r\n\r\n", b"0\r\n Vary: x\r\n\r\n", b"0\r\nVary: x\n\r\n", b"0\r\n\n",
    b"0 a\r\n\r\n",
]  # fmt: skip
REFUSED = [
    *(request(line) for line in LINES),
    *(request(b"GET / HTTP/1.1", field) for field in FIELDS),
    *(request(b"POST / HTTP/1.1", fields, body=b"hello") for fields in LENGTHS),
    *map(chunks, CHUNKS),
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    *(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host for host in (b"a b", b"a/b", b"a@b", b"a:b", b"[::1", b"[g]")),
    b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]  # fmt: skip

TAKEN = {
    request(): 1,
    request(b"OPTIONS * HTTP/1.1"): 1,
    request(b"GET http://a/b?c HTTP/1.1"): 1,
    request(b"GET //a//b HTTP/1.1"): 1,
    request(b"GET /a?b?c&d='!$*();, HTTP/1.1"): 1,
    request(b"GET / HTTP/1.9"): 1,
    b"\r\n\r\n" + request(): 1,
    b"GET / HTTP/1.0\r\n\r\n": 1,
    b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n": 1,
    request(b"GET / HTTP/1.1", b"Foo:", b"Foo:\t x \t", b"!#$%&'*+-.^_`|~09aZ: \x80\xff"): 1,
    request(b"GET / HTTP/1.1", b"Content_Length: -1", b"Content-Length: 0"): 1,
    request(b"POST / HTTP/1.1", b"Content-Length: 5", body=b"hello") + request(): 2,
    request(b"POST / HTTP/1.1", b"Content-Length: 005", body=b"hello"): 1,
    chunks(b"a\r\n0123456789\r\n0\r\n\r\n") + request(): 2,
    chunks(b"A\r\n0123456789\r\n000\r\n\r\n"): 1,
    chunks(b"5;a;b=c;d=\"e \\\"; f\"\r\nhello\r\n0;g\r\nVary: *\r\nX: y\r\n\r\n") + request(): 2,
    chunks(b"5 ; a = b\r\nhello\r\n0\r\n\r\n"): 1,
    request(b"POST / HTTP/1.1", b"transfer-encoding: CHUNKED", body=b"0\r\n\r\n"): 1,
    chunks(b"0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\nHost: b\r\n\r\n") + request(): 2,
    request(b"GET / HTTP/1.1", b"Connection: close") + request(): 1,
    request(b"GET / HTTP/1.1", b"Connection: a, upgrade", b"Upgrade: b") + request(): 2,
    b"GET / HTTP/1.0\r\n\r\n" + request(): 1,
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + request(): 2,
}  # fmt: skip


@pytest.mark.parametrize("stream", REFUSED, ids=repr)
def test_refused(comparison, stream):
    """Nothing of what is wrong is a request, and no request after it is taken."""
    assert comparison.by_us(stream + request()) == (0, True)


@pytest.mark.parametrize("stream", TAKEN, ids=repr)
def test_taken(comparison, stream):
    assert comparison.by_us(stream) == (TAKEN[stream], False)
