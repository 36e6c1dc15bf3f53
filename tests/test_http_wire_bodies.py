"""How http_request_handler reads bodies, byte by byte: lengths, codings, chunks, trailers, expectations.

Source: RFC 9110 and RFC 9112.  Wherever two recipients could disagree on where a message ends, it is refused.
"""

import json

import pytest

http = pytest.importorskip("asynchat_fast.http")


def as_text(value):
    return value.decode("latin-1") if isinstance(value, (bytes, bytearray, memoryview)) else value


class App(http.http_request_handler):
    """Responds with the request as it was parsed."""

    def do_GET(self):
        understood = {
            "command": as_text(self.command),
            "path": as_text(self.path),
            "body": as_text(self.body),
            "file": as_text(self.rfile.read()),
            "echo": [as_text(each) for each in self.headers.get_all("X-Echo") or []],
            "trailers": [as_text(each) for each in self.trailers.get_all("X-Echo") or []],
        }
        self.respond(200, json.dumps(understood).encode(), content_type="application/json")

    do_POST = do_GET


@pytest.fixture
def connect(serve_http):
    return serve_http(App)


def request(*lines, body=b"", method=b"POST", target=b"/", version=b"1.1"):
    """Return a request of *lines* for fields."""
    head = b"".join([method, b" ", target, b" HTTP/", version, b"\r\nHost: a\r\n", *(line + b"\r\n" for line in lines)])
    return head + b"\r\n" + body


def chunked(body, *lines, **options):
    return request(b"Transfer-Encoding: chunked", *lines, body=body, **options)


def told(response):
    assert response.status == 200, response
    understood = json.loads(response.body)
    assert understood["file"] == understood["body"]
    return understood


# Content-Length

LENGTHS = {
    "5": (b"Content-Length: 5", "hello"),
    "zero": (b"Content-Length: 0", ""),
    "zeros in front": (b"Content-Length: 0005", "hello"),
    "no space": (b"Content-Length:5", "hello"),
    "spaces and tabs around": (b"Content-Length: \t 5 \t", "hello"),
    "lower case": (b"content-length: 5", "hello"),
    "upper case": (b"CONTENT-LENGTH: 5", "hello"),
    "listed in Connection": (b"Connection: content-length\r\nContent-Length: 5", "hello"),
    "beside another name": (b"Content_Length: 3\r\nContent-Length: 5", "hello"),
    "beside X-Content-Length": (b"X-Content-Length: 3\r\nContent-Length: 5\r\nContent-Lengt: 2", "hello"),
    "beside another coding": (
        b"Transfer_Encoding: chunked\r\nX-Transfer-Encoding: chunked\r\nContent-Length: 5",
        "hello",
    ),
    "and a Content-Encoding": (b"Content-Encoding: chunked\r\nContent-Length: 5", "hello"),
    "and TE": (b"TE: chunked, trailers\r\nConnection: TE\r\nContent-Length: 5", "hello"),
}


@pytest.mark.parametrize("method", [b"POST", b"GET"], ids=bytes.decode)
@pytest.mark.parametrize(("line", "body"), LENGTHS.values(), ids=LENGTHS)
def test_length(connect, delivery, line, body, method):
    for response in delivery.responses(connect, request(line, body=body.encode(), method=method)):
        assert told(response)["body"] == body


def test_length_on_1_0(connect, delivery):
    for response in delivery.responses(
        connect, request(b"Content-Length: 5", body=b"hello", version=b"1.0"), version=b"1.0"
    ):
        assert told(response)["body"] == "hello"


def test_no_length_is_no_body(connect, delivery):
    for response in delivery.responses(connect, request()):
        assert told(response)["body"] == ""


@pytest.mark.parametrize("version", [b"1.0", b"1.1"], ids=bytes.decode)
def test_input_after_a_head_without_a_length_is_another_request(connect, version):
    wire = connect()
    wire.send(request(b"Connection: keep-alive", version=version, body=b"hello\r\n\r\n"))
    assert told(wire.response(version=version))["body"] == ""
    response = wire.response()
    assert (response.status, response.closes) == (400, True)
    wire.ended()


def test_input_after_a_body_is_another_request(connect, delivery):
    for wire, _ in delivery.wires(connect, request(b"Content-Length: 5", body=b"hello" + b"hello\r\n\r\n")):
        assert told(wire.response())["body"] == "hello"
        assert wire.response().status == 400
        wire.ended()


def test_a_body_is_any_bytes(connect, delivery):
    body = b"\r\n\r\n" + bytes(range(256)) + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for response in delivery.fewer().responses(connect, request(b"Content-Length: %d" % len(body), body=body)):
        assert told(response)["body"] == body.decode("latin-1")


LENGTHS_REFUSED = {
    "nothing": (b"", {400}),
    "spaces": (b"  ", {400}),
    "a letter": (b"x", {400}),
    "plus": (b"+5", {400}),
    "minus": (b"-5", {400}),
    "minus zero": (b"-0", {400}),
    "underscore": (b"0_5", {400}),
    "hexadecimal": (b"0x5", {400}),
    "hexadecimal digit": (b"a", {400}),
    "octal": (b"0o5", {400}),
    "decimal": (b"5.0", {400}),
    "exponent": (b"5e0", {400}),
    "space within": (b"5 5", {400}),
    "tab within": (b"5\t5", {400}),
    "quoted": (b'"5"', {400}),
    "in brackets": (b"(5)", {400}),
    "semicolon": (b"5;", {400}),
    "something after": (b"5 pieces", {400}),
    "unit": (b"5B", {400}),
    "superscript": (b"\xb2", {400}),
    "full width": ("\uff15".encode(), {400}),
    "Arabic": ("\u0665".encode(), {400}),
    "vertical tab before": (b"\x0b5", {400}),
    "form feed after": (b"5\x0c", {400}),
    "no-break space before": (b"\xa05", {400}),
    "next line after": (b"5\x85", {400}),
    "NUL after": (b"5\0", {400}),
    "list of two": (b"5, 6", {400}),
    "list of two without a space": (b"5,6", {400}),
    "list with a gap": (b"5,", {400}),
    "two fields": (b"5\r\nContent-Length: 6", {400}),
    "two fields in other cases": (b"5\r\nCONTENT-LENGTH: 6", {400}),
    "two fields far apart": (b"6\r\nX: y\r\nY: z\r\ncontent-length: 5", {400}),
    "two fields, one with a sign": (b"5\r\nContent-Length: +5", {400}),
    "two fields, one empty": (b"5\r\nContent-Length:", {400}),
    "two fields, the first zero": (b"0\r\nContent-Length: 5", {400}),
    "folded": (b"5\r\n 5", {400}),
    "nineteen digits": (b"9" * 19, {400, 413}),
    "2 ** 63": (b"9223372036854775808", {400, 413}),
    "2 ** 64 and 5": (b"18446744073709551621", {400, 413}),
    "2 ** 32 and 5, twenty digits": (b"00000000004294967301", {400, 413}),
    "a thousand digits": (b"1" * 1000, {400, 413}),
    "five thousand digits": (b"1" * 5000, {400, 413}),
}


@pytest.mark.parametrize(("value", "statuses"), LENGTHS_REFUSED.values(), ids=LENGTHS_REFUSED)
def test_length_refused(connect, delivery, value, statuses):
    delivery = delivery.fewer() if len(value) > 900 else delivery
    delivery.refused(connect, request(b"Content-Length: " + value, body=b"hello"), statuses)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"BREW"], ids=bytes.decode)
def test_length_refused_whatever_the_method(connect, delivery, method):
    stream = request(b"Content-Length: +5", method=method, body=b"hello")
    delivery.refused(connect, stream, {400}, method.decode())


# RFC 9110, 8.6: a recipient MAY take the same valid length told twice for one.
@pytest.mark.parametrize("value", [b"5\r\nContent-Length: 5", b"5, 5", b"5,5"])
def test_the_same_length_twice(connect, delivery, value):
    for response in delivery.responses(connect, request(b"Content-Length: " + value, body=b"hello")):
        assert response.status == 400 or told(response)["body"] == "hello"


# Transfer-Encoding

HELLO = b"5\r\nhello\r\n0\r\n\r\n"

CODINGS = {
    "chunked": b"Transfer-Encoding: chunked",
    "capital": b"Transfer-Encoding: Chunked",
    "upper case": b"TRANSFER-ENCODING: CHUNKED",
    "mixed case": b"tRaNsFeR-eNcOdInG: cHuNkEd",
    "no space": b"Transfer-Encoding:chunked",
    "spaces and tabs around": b"Transfer-Encoding: \t chunked \t",
    "listed in Connection": b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
}


@pytest.mark.parametrize("method", [b"POST", b"GET"], ids=bytes.decode)
@pytest.mark.parametrize("line", CODINGS.values(), ids=CODINGS)
def test_coding(connect, delivery, line, method):
    for response in delivery.responses(connect, request(line, body=HELLO, method=method)):
        assert told(response)["body"] == "hello"


# A coded body that is not chunked has no end that could be known: RFC 9112, 6.1 has 501 for codings, 6.3 has 400.
CODINGS_REFUSED = {
    "another": (b"gzip", {400, 501}),
    "another before": (b"gzip, chunked", {501}),
    "another before, on a line of its own": (b"gzip\r\nTransfer-Encoding: chunked", {501}),
    "an unknown one before": (b"brew, chunked", {501}),
    "compress before": (b"compress, chunked", {501}),
    "deflate before": (b"deflate, chunked", {501}),
    "another with a parameter before": (b"brew;q=1, chunked", {400, 501}),
    "another after": (b"chunked, gzip", {400, 501}),
    "another after, on a line of its own": (b"chunked\r\nTransfer-Encoding: gzip", {400, 501}),
    "identity": (b"identity", {400, 501}),
    "identity before": (b"identity, chunked", {400, 501}),
    "identity after": (b"chunked, identity", {400, 501}),
    "twice": (b"chunked, chunked", {400}),
    "twice, on two lines": (b"chunked\r\nTransfer-Encoding: chunked", {400}),
    "twice, in other cases": (b"chunked\r\ntransfer-encoding: CHUNKED", {400}),
    "twice, around another": (b"chunked, gzip, chunked", {400, 501}),
    "nothing": (b"", {400, 501}),
    "comma": (b",", {400, 501}),
    "something before": (b"xchunked", {400, 501}),
    "something after": (b"chunkedx", {400, 501}),
    "hyphen": (b"-chunked", {400, 501}),
    "space within": (b"chun ked", {400, 501}),
    "two words": (b"chunked chunked", {400, 501}),
    "two words, the other first": (b"x chunked", {400, 501}),
    "parameter": (b"chunked;q=1", {400, 501}),
    "semicolon": (b"chunked;", {400, 501}),
    "double quotes": (b'"chunked"', {400, 501}),
    "single quotes": (b"'chunked'", {400, 501}),
    "vertical tab before": (b"\x0bchunked", {400, 501}),
    "vertical tab after": (b"chunked\x0b", {400, 501}),
    "form feed before": (b"\x0cchunked", {400, 501}),
    "no-break space before": (b"\xa0chunked", {400, 501}),
    "next line after": (b"chunked\x85", {400, 501}),
    "NUL after": (b"chunked\0", {400}),
    "long s": ("\u017f".encode() + b"chunked", {400, 501}),
    "Kelvin sign": ("chun\u212aed".encode(), {400, 501}),
    "folded": (b"\r\n chunked", {400}),
    "folded after": (b"chunked\r\n , gzip", {400}),
    "colon": (b": chunked", {400, 501}),
    "name of its own": (b"Transfer-Encoding: chunked", {400, 501}),
}


@pytest.mark.parametrize(("value", "statuses"), CODINGS_REFUSED.values(), ids=CODINGS_REFUSED)
def test_coding_refused(connect, delivery, value, statuses):
    delivery.refused(connect, request(b"Transfer-Encoding: " + value, body=HELLO), statuses)


NAMES_REFUSED = [
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b"Transfer-Encoding\x0b: chunked",
    b"Transfer-Encoding\0: chunked",
    b"Transfer Encoding: chunked",
    b" Transfer-Encoding: chunked",
    b"X: y\r\n Transfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"Transfer-Encoding\r\n: chunked",
    b"Transfer-Encoding",
    b"\xefTransfer-Encoding: chunked",
]


@pytest.mark.parametrize("length", [[], [b"Content-Length: 15"]], ids=["", "length"])
@pytest.mark.parametrize("line", NAMES_REFUSED, ids=repr)
def test_disguised_coding_refused(connect, delivery, line, length):
    delivery.refused(connect, request(*length, line, body=HELLO), {400})


# RFC 9110, 5.6.1: empty elements of a list are to be ignored, but this one is no place for tricks.
@pytest.mark.parametrize("value", [b",chunked", b", chunked", b"chunked,", b"chunked , ", b",, chunked"])
def test_coding_among_empty_elements(connect, delivery, value):
    for response in delivery.responses(connect, request(b"Transfer-Encoding: " + value, body=HELLO)):
        assert response.status in {400, 501} or told(response)["body"] == "hello"


@pytest.mark.parametrize("line", [b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked"])
@pytest.mark.parametrize("keep", [[], [b"Connection: keep-alive"]])
def test_coding_on_1_0_refused(connect, delivery, line, keep):
    statuses = {400} if b"gzip" not in line else {400, 501}
    delivery.refused(connect, request(line, *keep, body=HELLO, version=b"1.0"), statuses)


BOTH = {
    "length first": [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
    "coding first": [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
    "length of the whole": [b"Content-Length: 15", b"Transfer-Encoding: chunked"],
    "length of zero": [b"Content-Length: 0", b"Transfer-Encoding: chunked"],
    "malformed length": [b"Content-Length: x", b"Transfer-Encoding: chunked"],
    "empty length": [b"Content-Length:", b"Transfer-Encoding: chunked"],
    "two lengths": [b"Content-Length: 5", b"Content-Length: 15", b"Transfer-Encoding: chunked"],
    "other cases": [b"content-length: 5", b"TRANSFER-ENCODING: CHUNKED"],
    "apart": [b"Content-Length: 5", b"X: y", b"Y: z", b"Transfer-Encoding: chunked"],
    "listed in Connection": [b"Connection: content-length", b"Content-Length: 5", b"Transfer-Encoding: chunked"],
}


@pytest.mark.parametrize("method", [b"POST", b"GET"], ids=bytes.decode)
@pytest.mark.parametrize("lines", BOTH.values(), ids=BOTH)
def test_length_and_coding_refused(connect, delivery, lines, method):
    delivery.refused(connect, request(*lines, body=HELLO, method=method), {400})


@pytest.mark.parametrize(
    "coding", [b"gzip", b"identity", b"xchunked", b'"chunked"', b"\x0bchunked", b"", b"chunked, gzip"]
)
def test_length_and_another_coding_refused(connect, delivery, coding):
    stream = request(b"Content-Length: 5", b"Transfer-Encoding: " + coding, body=b"hello")
    delivery.refused(connect, stream, {400, 501})


def test_a_smuggled_request_gets_no_response(connect):
    inner = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"
    wire = connect()
    wire.send(
        request(b"Content-Length: %d" % (5 + len(inner)), b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + inner)
    )
    assert wire.response().status == 400
    wire.ended()


# Chunks

CHUNKS = {
    "one": (HELLO, "hello"),
    "none": (b"0\r\n\r\n", ""),
    "two": (b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello"),
    "byte by byte": (b"".join(b"1\r\n%c\r\n" % byte for byte in b"hello") + b"0\r\n\r\n", "hello"),
    "lower case": (b"a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
    "upper case": (b"A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
    "two digits": (b"10\r\n0123456789abcdef\r\n0\r\n\r\n", "0123456789abcdef"),
    "both cases": (b"1a\r\n" + b"x" * 26 + b"\r\n1B\r\n" + b"y" * 27 + b"\r\n0\r\n\r\n", "x" * 26 + "y" * 27),
    "zero in front": (b"05\r\nhello\r\n0\r\n\r\n", "hello"),
    "zeros in front": (b"0005\r\nhello\r\n0\r\n\r\n", "hello"),
    "last of several zeros": (b"5\r\nhello\r\n000\r\n\r\n", "hello"),
    "CR LF as data": (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
    "last chunk as data": (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
    "extension": (b"5;x\r\nhello\r\n0\r\n\r\n", "hello"),
    "extension with a value": (b"5;x=y\r\nhello\r\n0;x=y\r\n\r\n", "hello"),
    "extension in quotes": (b'5;x="y z"\r\nhello\r\n0\r\n\r\n', "hello"),
    "extension of quoted pairs": (b'5;x="\\"\\\\;"\r\nhello\r\n0\r\n\r\n', "hello"),
    "extensions": (b"5;x=y;z;a=b\r\nhello\r\n0;x\r\n\r\n", "hello"),
    "extension that looks like a size": (b"5;6=7\r\nhello\r\n0\r\n\r\n", "hello"),
}


@pytest.mark.parametrize("method", [b"POST", b"GET"], ids=bytes.decode)
@pytest.mark.parametrize(("body", "decoded"), CHUNKS.values(), ids=CHUNKS)
def test_chunks(connect, delivery, body, decoded, method):
    for response in delivery.responses(connect, chunked(body, method=method)):
        assert told(response)["body"] == decoded


# Allowed by the grammar and yet suspicious, or the other way round: taken rightly, or refused.
DOUBTFUL_CHUNKS = {
    "space before the extension": b"5 ;x\r\nhello\r\n0\r\n\r\n",
    "spaces in the extension": b"5; x = y\r\nhello\r\n0\r\n\r\n",
    "tab before the extension": b"5\t;x\r\nhello\r\n0\r\n\r\n",
    "empty extension": b"5;\r\nhello\r\n0\r\n\r\n",
    "two semicolons": b"5;;x\r\nhello\r\n0\r\n\r\n",
    "extension without a name": b"5;=x\r\nhello\r\n0\r\n\r\n",
    "obs-text in the extension": b"5;x=\xe9\r\nhello\r\n0\r\n\r\n",
    "sixteen digits": b"0000000000000005\r\nhello\r\n0\r\n\r\n",
    "forty digits": b"0" * 39 + b"5\r\nhello\r\n0\r\n\r\n",
    "last of forty zeros": b"5\r\nhello\r\n" + b"0" * 40 + b"\r\n\r\n",
}


@pytest.mark.parametrize("body", DOUBTFUL_CHUNKS.values(), ids=DOUBTFUL_CHUNKS)
def test_doubtful_chunks(connect, delivery, body):
    for response in delivery.responses(connect, chunked(body)):
        assert response.status == 400 or told(response)["body"] == "hello"


SIZES_REFUSED = {
    "nothing": (b"", {400}),
    "spaces": (b"  ", {400}),
    "space before": (b" 5", {400}),
    "space after": (b"5 ", {400}),
    "tab before": (b"\t5", {400}),
    "tab after": (b"5\t", {400}),
    "plus": (b"+5", {400}),
    "minus": (b"-5", {400}),
    "minus zero": (b"-0", {400}),
    "0x": (b"0x5", {400}),
    "0X": (b"0X5", {400}),
    "x": (b"x5", {400}),
    "h": (b"5h", {400}),
    "underscore": (b"0_5", {400}),
    "underscore in front": (b"_5", {400}),
    "underscore at the end": (b"5_", {400}),
    "letter": (b"g", {400}),
    "letter at the end": (b"5g", {400}),
    "decimal point": (b"5.", {400}),
    "comma": (b"5,", {400}),
    "quotes": (b'"5"', {400}),
    "space within": (b"0 5", {400}),
    "superscript": (b"\xb2", {400}),
    "full width": ("\uff15".encode(), {400}),
    "vertical tab after": (b"5\x0b", {400}),
    "form feed before": (b"\x0c5", {400}),
    "no-break space after": (b"5\xa0", {400}),
    "NUL after": (b"5\0", {400}),
    "CR after": (b"5\r", {400}),
    "extension without a semicolon": (b"5 x", {400}),
    "extension alone": (b";x", {400}),
    "extension with NUL": (b"5;x\0", {400}),
    "extension with CR": (b"5;x\ry", {400}),
    "extension with LF": (b"5;x\ny", {400}),
    "extension with LF in quotes": (b'5;x="\n"', {400}),
    "2 ** 31": (b"80000000", {400, 413}),
    "2 ** 32 - 1": (b"FFFFFFFF", {400, 413}),
    "2 ** 32 and 5": (b"100000005", {400, 413}),
    "2 ** 63 - 1": (b"7FFFFFFFFFFFFFFF", {400, 413}),
    "2 ** 63": (b"8000000000000000", {400, 413}),
    "2 ** 64 - 1": (b"ffffffffffffffff", {400, 413}),
    "2 ** 64 and 5": (b"10000000000000005", {400, 413}),
    "2 ** 128 and 5": (b"1" + b"0" * 31 + b"5", {400, 413}),
    "a hundred digits": (b"1" * 100, {400, 413}),
    "a thousand digits": (b"f" * 1000, {400, 413}),
}


@pytest.mark.parametrize(("size", "statuses"), SIZES_REFUSED.values(), ids=SIZES_REFUSED)
def test_size_refused(connect, delivery, size, statuses):
    delivery = delivery.fewer() if len(size) > 900 else delivery
    delivery.refused(connect, chunked(size + b"\r\nhello\r\n0\r\n\r\n"), statuses)


CHUNKS_REFUSED = {
    "LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "LF after the extension": b"5;x\nhello\r\n0\r\n\r\n",
    "CR after the size": b"5\rhello\r\n0\r\n\r\n",
    "LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "CR after the data": b"5\r\nhello\r0\r\n\r\n",
    "LF CR after the data": b"5\r\nhello\n\r0\r\n\r\n",
    "nothing after the data": b"5\r\nhello0\r\n\r\n",
    "more data": b"5\r\nhellohello\r\n0\r\n\r\n",
    "one byte more": b"4\r\nhello\r\n0\r\n\r\n",
    "two bytes more": b"3\r\nhello\r\n0\r\n\r\n",
    "less data": b"6\r\nhello\r\n0\r\n\r\n",
    "two CR LF after the data": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    "LF after the last chunk": b"5\r\nhello\r\n0\n\r\n",
    "LF at the end": b"5\r\nhello\r\n0\r\n\n",
    "LF and LF at the end": b"5\r\nhello\r\n0\n\n",
    "CR at the end": b"5\r\nhello\r\n0\r\n\rx",
    "data after the last chunk": b"5\r\nhello\r\n0\r\nhello\r\n\r\n",
    "space after the last chunk": b"5\r\nhello\r\n0 \r\n\r\n",
    "sign of the last chunk": b"5\r\nhello\r\n+0\r\n\r\n",
    "LF from the start": b"5\nhello\n0\n\n",
    "not chunked at all": b"hello\r\n\r\n",
    "second chunk": b"2\r\nhe\r\nx\r\nllo\r\n0\r\n\r\n",
    "empty line first": b"\r\n5\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", CHUNKS_REFUSED.values(), ids=CHUNKS_REFUSED)
def test_chunks_refused(connect, delivery, body):
    delivery.refused(connect, chunked(body), {400})


@pytest.mark.parametrize(
    "body", [b"x", b"5\n", b"5\rh", b"5 \r\n", b"\n", b"5\r\nhello\n", b"5\r\nhellox", b"0\n", b"0\r\n\n"]
)
def test_malformed_chunks_refused_without_waiting_for_more(connect, body):
    wire = connect()
    wire.send(chunked(b""), body, b"\n" if body == b"x" else b"")
    assert wire.response().status == 400
    wire.ended()


# Trailers

TRAILERS = {
    "one": (b"X-Echo: x\r\n", ["x"]),
    "several": (b"X-Echo: x\r\nX-Other: z\r\nx-echo:y\r\n", ["x", "y"]),
    "empty": (b"X-Echo:\r\n", [""]),
    "obs-text": (b"X-Echo: \xe9\r\n", ["\xe9"]),
}


@pytest.mark.parametrize(("trailers", "echo"), TRAILERS.values(), ids=TRAILERS)
def test_trailers_are_kept_apart(connect, delivery, trailers, echo):
    for response in delivery.responses(connect, chunked(b"5\r\nhello\r\n0\r\n" + trailers + b"\r\n", b"X-Echo: head")):
        understood = told(response)
        assert (understood["body"], understood["echo"], understood["trailers"]) == ("hello", ["head"], echo)


def test_trailers_are_of_their_request_only(connect):
    wire = connect()
    wire.send(chunked(b"0\r\nX-Echo: x\r\n\r\n") + request(b"Content-Length: 0") + chunked(b"0\r\n\r\n"))
    responses = wire.responses("POST", "POST", "POST")
    assert [told(response)["trailers"] for response in responses] == [["x"], [], []]
    wire.in_step()


# RFC 9110, 6.5.1: these may not be in trailers; they may be ignored, and may not be heeded.
@pytest.mark.parametrize(
    "line",
    [b"Content-Length: 50", b"Transfer-Encoding: chunked", b"Host: b", b"Connection: close", b"Expect: x"],
    ids=repr,
)
def test_trailers_that_would_change_the_message(connect, delivery, line):
    for response in delivery.responses(connect, chunked(b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n")):
        assert response.status == 400 or told(response)["body"] == "hello"
        assert response.status == 400 or not response.closes


TRAILERS_REFUSED = {
    "no colon": b"X\r\n\r\n",
    "no name": b": x\r\n\r\n",
    "space before the colon": b"X : y\r\n\r\n",
    "space in front": b" X: y\r\n\r\n",
    "folded": b"X: y\r\n z\r\n\r\n",
    "NUL in the value": b"X: y\0\r\n\r\n",
    "NUL in the name": b"X\0: y\r\n\r\n",
    "obs-text in the name": b"X\xe9: y\r\n\r\n",
    "LF": b"X: y\n\r\n",
    "LF in the value": b"X: y\nZ: a\r\n\r\n",
    "CR in the value": b"X: y\rZ: a\r\n\r\n",
    "LF at the end": b"X: y\r\n\n",
    "CR before CR LF": b"X: y\r\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("trailers", TRAILERS_REFUSED.values(), ids=TRAILERS_REFUSED)
def test_trailers_refused(connect, delivery, trailers):
    delivery.refused(connect, chunked(b"5\r\nhello\r\n0\r\n" + trailers), {400})


# Bodies that are too long

TOO_MUCH = {400, 413, 431}


class Narrow(App):
    max_body = 1000
    max_trailers = 100
    max_chunk_extensions = 100


@pytest.fixture
def narrow(serve_http):
    return serve_http(Narrow)


def in_chunks(body, size, extension=b""):
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts) + b"0\r\n\r\n"


LARGEST = {
    "length": request(b"Content-Length: 1000", body=b"x" * 1000),
    "one chunk": chunked(in_chunks(b"x" * 1000, 1000)),
    "chunks": chunked(in_chunks(b"x" * 1000, 300)),
}


@pytest.mark.parametrize("stream", LARGEST.values(), ids=LARGEST)
def test_largest_body(narrow, delivery, stream):
    for response in delivery.fewer().responses(narrow, stream):
        assert told(response)["body"] == "x" * 1000


TOO_LARGE = {
    "length": request(b"Content-Length: 1001", body=b"x" * 1001),
    "length, with nothing to come": request(b"Content-Length: 1001"),
    "one chunk": chunked(in_chunks(b"x" * 1001, 2000)),
    "one chunk, with nothing to come": chunked(b"3e9\r\n"),
    "chunks": chunked(in_chunks(b"x" * 1001, 10)),
    "chunks, the last with nothing to come": chunked(b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\n"),
}


@pytest.mark.parametrize("stream", TOO_LARGE.values(), ids=TOO_LARGE)
def test_too_large_body(narrow, delivery, stream):
    delivery.fewer().refused(narrow, stream, {413})


@pytest.mark.parametrize("line", [b"Content-Length: 16777217", b"Content-Length: 999999999999999999"], ids=repr)
def test_a_body_too_large_by_default_is_refused_before_it_is_sent(connect, delivery, line):
    delivery.refused(connect, request(line), {413})


def test_the_largest_body_by_default(connect):
    wire = connect()
    wire.send(request(b"Content-Length: 16777216"), *[b"x" * (1 << 20)] * 16)
    assert told(wire.response())["body"] == "x" * (1 << 24)
    wire.in_step()


def test_a_client_that_sends_too_large_a_body_still_gets_the_response(narrow):
    wire = narrow()
    wire.send(request(b"Content-Length: 10000000", body=b"x" * 100_000), *[b"x" * 100_000] * 20)
    assert wire.response().status == 413
    wire.ended()


TOO_LONG = {
    "extension": b"5;" + b"x" * 300 + b"\r\nhello\r\n0\r\n\r\n",
    "extension without an end": b"5;" + b"x" * 9000,
    "extensions of one chunk": b"5" + b";x=y" * 75 + b"\r\nhello\r\n0\r\n\r\n",
    "extension of the last chunk": b"5\r\nhello\r\n0;" + b"x" * 300 + b"\r\n\r\n",
    "extensions of many chunks": in_chunks(b"x" * 100, 1, b";xx"),
    "trailer": b"0\r\nX: " + b"y" * 120 + b"\r\n\r\n",
    "trailer without an end": b"0\r\nX: " + b"y" * 120,
    "trailers": b"0\r\n" + b"X: y\r\n" * 30 + b"\r\n",
    "size": b"0" * 300 + b"5",
}


@pytest.mark.parametrize("body", TOO_LONG.values(), ids=TOO_LONG)
def test_too_long_extensions_and_trailers(narrow, delivery, body):
    delivery.fewer().refused(narrow, chunked(body), TOO_MUCH)


SHORT_ENOUGH = {
    "extension": b"5;" + b"x" * 40 + b"\r\nhello\r\n0\r\n\r\n",
    "extensions": in_chunks(b"hello", 1, b";x=y"),
    "trailers": b"5\r\nhello\r\n0\r\nX: " + b"y" * 40 + b"\r\nY: " + b"z" * 40 + b"\r\n\r\n",
}


@pytest.mark.parametrize("body", SHORT_ENOUGH.values(), ids=SHORT_ENOUGH)
def test_short_enough_extensions_and_trailers(narrow, delivery, body):
    for response in delivery.fewer().responses(narrow, chunked(body) * 2, "POST", "POST"):
        assert [told(each)["body"] for each in response] == ["hello", "hello"]


TOO_LONG_BY_DEFAULT = {
    "extension": b"5;" + b"x" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",
    "extension without an end": b"5;" + b"x" * 100_000,
    "extensions of many chunks": in_chunks(b"x" * 2000, 1, b";" + b"x" * 500),
    "short extensions of very many chunks": in_chunks(b"x" * 50_000, 1, b";" + b"x" * 15),
    "trailer": b"0\r\nX: " + b"y" * 8192 + b"\r\n\r\n",
    "trailer without an end": b"0\r\nX: " + b"y" * 100_000,
    "trailers": b"0\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
    "trailers without an end": b"0\r\n" + b"X: y\r\n" * 20_000,
}


@pytest.mark.parametrize("body", TOO_LONG_BY_DEFAULT.values(), ids=TOO_LONG_BY_DEFAULT)
def test_too_long_extensions_and_trailers_by_default(connect, body):
    wire = connect()
    stream = chunked(body)
    wire.send(*[stream[at : at + 10_000] for at in range(0, len(stream), 10_000)])
    assert wire.response().status in TOO_MUCH
    wire.ended()


def test_many_chunks(connect):
    wire = connect()
    wire.send(chunked(in_chunks(b"hello" * 10_000, 1)))
    assert told(wire.response())["body"] == "hello" * 10_000
    wire.in_step()


# Expect

CONTINUE = b"Expect: 100-continue"


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue", b"100-CONTINUE", b"\t 100-continue \t"], ids=repr)
@pytest.mark.parametrize(
    ("framing", "body"),
    [(b"Content-Length: 5", b"hello"), (b"Transfer-Encoding: chunked", HELLO)],
    ids=["length", "chunked"],
)
def test_a_body_withheld_is_called_for(connect, value, framing, body):
    wire = connect()
    for _ in range(3):
        wire.send(request(framing, b"Expect: " + value))
        assert wire.response().status == 100
        wire.nothing_comes()
        wire.send(body)
        assert told(wire.response())["body"] == "hello"
    wire.in_step()


@pytest.mark.parametrize(
    ("framing", "body"),
    [(b"Content-Length: 5", b"hello"), (b"Transfer-Encoding: chunked", HELLO)],
    ids=["length", "chunked"],
)
def test_a_body_that_does_not_wait(connect, delivery, framing, body):
    for wire, after in delivery.wires(connect, request(framing, CONTINUE, body=body)):
        response = wire.response()
        while response.status == 100:  # how much had arrived by then is not determined
            response = wire.response()
        assert told(response)["body"] == "hello"
        if after:
            wire.response()
        wire.in_step()


def test_a_body_is_called_for_once(connect):
    wire = connect()
    wire.send(request(b"Content-Length: 5", CONTINUE))
    assert wire.response().status == 100
    wire.send(b"h", b"e", b"l", b"l", b"o")
    assert told(wire.response())["body"] == "hello"
    wire.in_step()


@pytest.mark.parametrize("lines", [[], [b"Content-Length: 0"]], ids=["none", "empty"])
@pytest.mark.parametrize("method", [b"GET", b"POST"], ids=bytes.decode)
def test_no_body_is_not_called_for(connect, delivery, lines, method):
    for response in delivery.responses(connect, request(CONTINUE, *lines, method=method)):
        assert told(response)["body"] == ""


def test_expectations_on_1_0_are_ignored(connect):
    wire = connect()
    wire.send(request(b"Content-Length: 5", CONTINUE, version=b"1.0"))
    wire.nothing_comes()
    wire.send(b"hello")
    assert told(wire.response(version=b"1.0"))["body"] == "hello"
    wire.ended()


@pytest.mark.parametrize(
    "value",
    [b"x", b"200-ok", b"100", b"continue", b"100-continued", b"100-continue; x", b"100-continue, x", b'"100-continue"'],
)
@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X: y"], ids=repr)
def test_other_expectations_fail(connect, delivery, value, framing):
    delivery.refused(connect, request(framing, b"Expect: " + value), {417})


def test_another_expectation_fails_with_its_body_sent(connect, delivery):
    delivery.refused(connect, request(b"Content-Length: 5", b"Expect: x", body=b"hello"), {417})


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"Content-Length: +5"], 400),
        ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], 400),
        ([b"Content-Length: 5", b"Host: b"], 400),
        ([b"Content-Length: 99999999999"], 413),
        ([b"Transfer-Encoding: gzip, chunked"], 501),
    ],
)
def test_no_100_for_a_body_that_will_be_refused(connect, delivery, lines, status):
    delivery.refused(connect, request(CONTINUE, *lines), {status})


def test_an_application_may_refuse_to_call_for_a_body(serve_http, delivery):
    class Choosy(App):
        def handle_expect_100(self):
            if self.headers.get("X-Echo") == "x":
                return super().handle_expect_100()
            self.send_error(403)
            return False

    connect = serve_http(Choosy)
    delivery.refused(connect, request(CONTINUE, b"Content-Length: 5"), {403})
    wire = connect()
    wire.send(request(CONTINUE, b"Content-Length: 5", b"X-Echo: x"))
    assert wire.response().status == 100
    wire.send(b"hello")
    assert told(wire.response())["body"] == "hello"


@pytest.mark.parametrize("method", [b"PUT", b"BREW"], ids=bytes.decode)
def test_no_100_is_needed_for_an_undefined_method(connect, method):
    wire = connect()
    wire.send(request(CONTINUE, b"Content-Length: 5", method=method))
    response = wire.response()
    if response.status == 100:
        wire.send(b"hello")
        response = wire.response()
    assert response.status in {405, 501}
    if response.closes:
        wire.ended()
    else:
        wire.send(b"hello")
        wire.in_step()


# Bodies that no handler reads

UNREAD = {
    "length": (b"Content-Length: 37", b"GET /smuggled HTTP/1.1\r\nHost: hello\r\n\r\n"[:37]),
    "chunked": (b"Transfer-Encoding: chunked", b"1A\r\nGET /smuggled HTTP/1.1\r\n\r\n\r\n0\r\nX: y\r\n\r\n"),
}


@pytest.mark.parametrize("method", [b"PUT", b"BREW", b"DELETE", b"OPTIONS", b"HEAD"], ids=bytes.decode)
@pytest.mark.parametrize(("line", "body"), UNREAD.values(), ids=UNREAD)
def test_a_body_unread_is_not_taken_for_a_request(connect, delivery, line, body, method):
    for response in delivery.responses(connect, request(line, method=method, body=body), method.decode()):
        assert response.status in {200, 405, 501}


@pytest.mark.parametrize("size", [100_000, 5_000_000])
@pytest.mark.parametrize("coded", [False, True], ids=["length", "chunked"])
def test_a_large_body_unread_does_not_lose_the_response(connect, size, coded):
    wire = connect()
    data = b"x" * size
    head = request(b"Transfer-Encoding: chunked" if coded else b"Content-Length: %d" % size, method=b"PUT")
    wire.send(head, b"%x\r\n%b\r\n0\r\n\r\n" % (size, data) if coded else data)
    response = wire.response()
    assert response.status == 405
    if response.closes:
        wire.ended()
    else:
        wire.in_step()


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"], ids=repr)
def test_a_body_called_for_may_never_come(connect, framing):
    wire = connect()
    wire.send(request(framing, CONTINUE))
    assert wire.response().status == 100
    wire.shut()
    if wire.anything_comes():
        assert wire.response().status == 400
    wire.ended()


# Mutations


@pytest.mark.parametrize("byte", b"\0\t\n\r ,:;x\x7f\xff", ids=lambda byte: repr(chr(byte)))
@pytest.mark.parametrize(
    "stream",
    [
        request(b"X: y", b"Content-Length: 5", b"Connection: keep-alive", body=b"hello"),
        chunked(b"5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n"),
    ],
    ids=["length", "chunked"],
)
def test_one_byte_changed(connect, stream, byte):
    """The server sends whole responses; then the next request gets its response, or the connection ends."""
    good = request(method=b"GET", target=b"/good")
    for at in range(len(stream)):
        for changed in stream[:at] + bytes([byte]) + stream[at + 1 :], stream[:at] + bytes([byte]) + stream[at:]:
            wire = connect.in_memory()
            wire.send(changed + good)
            wire.shut()
            responses = []
            while wire.anything_comes():
                responses.append(wire.response())
                assert len(responses) <= 3, changed
            assert responses, changed
            assert all(response.status == 200 for response in responses[:-1]), changed
            assert responses[-1].closes or b"/good" in responses[-1].body, changed
            wire.close()


# Bodies that are streamed in


class Streams(http.http_request_handler):
    """Takes bodies as they come, and keeps count of them only."""

    stream_body = True
    max_body = 1000
    total = 0
    most = 0

    def body_data(self, view):
        self.total += len(view)
        self.most = max(self.most, len(view))

    def do_POST(self):
        self.respond(200, b"%d %d" % (self.total, self.total and self.most <= 1 << 20))
        self.total = 0

    def do_GET(self):
        self.respond(200, b"/good")


@pytest.mark.parametrize(
    "stream",
    [
        request(b"Content-Length: 5", body=b"hello"),
        chunked(HELLO),
        chunked(b"1\r\nh\r\n4\r\nello\r\n0\r\nX: y\r\n\r\n"),
    ],
    ids=["length", "chunked", "trailers"],
)
def test_streamed(serve_http, delivery, stream):
    for response in delivery.responses(serve_http(Streams), stream):
        assert response.body == b"5 1"


@pytest.mark.parametrize("stream", [request(), request(b"Content-Length: 0"), chunked(b"0\r\n\r\n")])
def test_nothing_streamed(serve_http, delivery, stream):
    for response in delivery.responses(serve_http(Streams), stream):
        assert response.body == b"0 0"


@pytest.mark.parametrize("coded", [False, True], ids=["length", "chunked"])
def test_a_streamed_body_has_no_bound(serve_http, coded):
    wire = serve_http(Streams)()
    data, count = b"x" * (1 << 20), 32
    if coded:
        wire.send(chunked(b""), *[b"100000\r\n" + data + b"\r\n"] * count, b"0\r\n\r\n")
    else:
        wire.send(request(b"Content-Length: %d" % (count << 20)), *[data] * count)
    assert wire.response().body == b"%d 1" % (count << 20)
    wire.in_step()


@pytest.mark.parametrize("body", CHUNKS_REFUSED.values(), ids=CHUNKS_REFUSED)
def test_malformed_while_streamed(serve_http, delivery, body):
    delivery.refused(serve_http(Streams), chunked(body), {400})


@pytest.mark.parametrize("at", range(len(HELLO)))
def test_half_a_body_and_then_the_end(connect, at):
    for stream in chunked(HELLO[:at]), request(b"Content-Length: 15", body=HELLO[:at]):
        wire = connect()
        wire.send(stream)
        wire.shut()
        if wire.anything_comes():
            assert wire.response().status == 400
        wire.ended()
