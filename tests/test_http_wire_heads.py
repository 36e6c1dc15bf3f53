"""How http_request_handler reads heads, byte by byte: request lines, targets, fields, Host, and limits.

Source: RFC 9110 and RFC 9112.  A refused request gets one response, then the connection ends, whatever follows.
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
            "host": as_text(self.headers.get("Host")),
            "echo": [as_text(each) for each in self.headers.get_all("X-Echo") or []],
            "body": as_text(self.body),
        }
        self.respond(200, json.dumps(understood).encode(), content_type="application/json")

    do_POST = do_GET


@pytest.fixture
def connect(serve_http):
    return serve_http(App)


def get(target=b"/", *lines, method=b"GET", version=b"1.1", host=b"a"):
    """Return a request of *lines* for fields; without a Host if that is None."""
    lines = ([b"Host: " + host] if host is not None else []) + list(lines)
    return b"".join([method, b" ", target, b" HTTP/", version, b"\r\n", *(line + b"\r\n" for line in lines), b"\r\n"])


def told(response):
    assert response.status == 200, response
    return json.loads(response.body)


# Request lines

HOST = b"\r\nHost: a\r\n\r\n"

LINES_REFUSED = {
    "two spaces after the method": (b"GET  / HTTP/1.1" + HOST, {400}),
    "two spaces after the target": (b"GET /  HTTP/1.1" + HOST, {400}),
    "space at the front": (b" GET / HTTP/1.1" + HOST, {400}),
    "space at the end": (b"GET / HTTP/1.1 " + HOST, {400}),
    "tab at the end": (b"GET / HTTP/1.1\t" + HOST, {400}),
    "tab after the method": (b"GET\t/ HTTP/1.1" + HOST, {400}),
    "tab after the target": (b"GET /\tHTTP/1.1" + HOST, {400}),
    "vertical tab after the method": (b"GET\x0b/ HTTP/1.1" + HOST, {400}),
    "form feed after the target": (b"GET /\x0cHTTP/1.1" + HOST, {400}),
    "no-break space after the target": (b"GET /\xa0HTTP/1.1" + HOST, {400}),
    "four words": (b"GET / x HTTP/1.1" + HOST, {400}),
    "method alone": (b"GET" + HOST, {400}),
    "method and space": (b"GET " + HOST, {400}),
    "HTTP/0.9": (b"GET /\r\n", {400}),
    "HTTP/0.9 with a space": (b"GET / \r\n", {400}),
    "HTTP/0.9 with fields": (b"GET /" + HOST, {400}),
    "no target": (b"GET HTTP/1.1" + HOST, {400}),
    "empty target": (b"GET  HTTP/1.1" + HOST, {400}),
    "no method": (b"/ HTTP/1.1" + HOST, {400}),
    "a response": (b"HTTP/1.1 200 OK\r\n\r\n", {400}),
    "at sign in the method": (b"G@T / HTTP/1.1" + HOST, {400}),
    "slash in the method": (b"GET/ / HTTP/1.1" + HOST, {400}),
    "colon in the method": (b"GET: / HTTP/1.1" + HOST, {400}),
    "quotes around the method": (b'"GET" / HTTP/1.1' + HOST, {400}),
    "parentheses in the method": (b"G(E)T / HTTP/1.1" + HOST, {400}),
    "brackets in the method": (b"[GET] / HTTP/1.1" + HOST, {400}),
    "NUL in the method": (b"G\0T / HTTP/1.1" + HOST, {400}),
    "delete in the method": (b"G\x7fT / HTTP/1.1" + HOST, {400}),
    "obs-text in the method": (b"G\xc9T / HTTP/1.1" + HOST, {400}),
    "byte order mark": (b"\xef\xbb\xbfGET / HTTP/1.1" + HOST, {400}),
    "NUL in the target": (b"GET /\0 HTTP/1.1" + HOST, {400}),
    "escape in the target": (b"GET /\x1b HTTP/1.1" + HOST, {400}),
    "delete in the target": (b"GET /\x7f HTTP/1.1" + HOST, {400}),
    "obs-text in the target": (b"GET /\xe9 HTTP/1.1" + HOST, {400}),
    "UTF-8 in the target": (b"GET /\xc3\xa9 HTTP/1.1" + HOST, {400}),
    "no name of the protocol": (b"GET / 1.1" + HOST, {400}),
    "another protocol": (b"GET / ICY/1.1" + HOST, {400}),
    "HTTPS": (b"GET / HTTPS/1.1" + HOST, {400}),
    "lower case protocol": (b"GET / http/1.1" + HOST, {400}),
    "mixed case protocol": (b"GET / Http/1.1" + HOST, {400}),
    "no version": (b"GET / HTTP" + HOST, {400}),
    "empty version": (b"GET / HTTP/" + HOST, {400}),
    "no minor version": (b"GET / HTTP/1" + HOST, {400}),
    "empty minor version": (b"GET / HTTP/1." + HOST, {400}),
    "no major version": (b"GET / HTTP/.1" + HOST, {400}),
    "version without its dot": (b"GET / HTTP/11" + HOST, {400}),
    "version with a comma": (b"GET / HTTP/1,1" + HOST, {400}),
    "version with a sign": (b"GET / HTTP/+1.1" + HOST, {400}),
    "version in letters": (b"GET / HTTP/x.y" + HOST, {400}),
    "minor version in letters": (b"GET / HTTP/1.x" + HOST, {400}),
    "minor version of two digits": (b"GET / HTTP/1.10" + HOST, {400}),
    "three numbers of version": (b"GET / HTTP/1.1.1" + HOST, {400}),
    "superscript version": (b"GET / HTTP/1.\xb9" + HOST, {400}),
    "space in the version": (b"GET / HTTP/ 1.1" + HOST, {400}),
    "spaces around the slash": (b"GET / HTTP / 1.1" + HOST, {400}),
    # DIGIT "." DIGIT is the grammar, but that the major version is another can be seen, too.
    "major version of two digits": (b"GET / HTTP/10.1" + HOST, {400, 505}),
    "major version with a zero": (b"GET / HTTP/01.1" + HOST, {400, 505}),
    "HTTP/0.9 by name": (b"GET / HTTP/0.9" + HOST, {505}),
    "HTTP/0.0": (b"GET / HTTP/0.0" + HOST, {505}),
    "HTTP/2.0": (b"GET / HTTP/2.0" + HOST, {505}),
    "HTTP/3.0": (b"GET / HTTP/3.0" + HOST, {505}),
    "HTTP/9.9": (b"GET / HTTP/9.9" + HOST, {505}),
    "HTTP/2": (b"GET / HTTP/2" + HOST, {400, 505}),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", {400}),
    "nine empty lines": (b"\r\n" * 9 + get(), {400}),
    "a hundred empty lines": (b"\r\n" * 100 + get(), {400}),
    "empty line of LF": (b"\n" + get(), {400}),
    "empty line of CR": (b"\r" + get(), {400}),
    "empty line of two CR": (b"\r\r\n" + get(), {400}),
    "line of a space": (b" \r\n" + get(), {400}),
}


@pytest.mark.parametrize(("stream", "statuses"), LINES_REFUSED.values(), ids=LINES_REFUSED)
def test_request_line_refused(connect, delivery, stream, statuses):
    delivery.refused(connect, stream, statuses)


BARE = {
    "LF after the request line": b"GET / HTTP/1.1\n",
    "LF after HTTP/0.9": b"GET /\n",
    "LF in the target": b"GET /\nx",
    "LF in the method": b"G\nET",
    "LF after a field": b"GET / HTTP/1.1\r\nHost: a\n",
    "LF in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\nY",
    "LF in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX\nY",
    "LF for the empty line": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "CR after the request line": b"GET / HTTP/1.1\rHost",
    "CR in the target": b"GET /\rx",
    "CR in the method": b"G\rET",
    "CR in the version": b"GET / HTTP/1\r.1",
    "two CR after the request line": b"GET / HTTP/1.1\r\r\n",
    "CR after a field": b"GET / HTTP/1.1\r\nHost: a\rX",
    "CR in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rY",
    "CR in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX\rY",
    "CR before the colon": b"GET / HTTP/1.1\r\nHost: a\r\nX\r:",
    "two CR after a field": b"GET / HTTP/1.1\r\nHost: a\r\r\n",
    "CR before the empty line": b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n",
    "CR for the empty line": b"GET / HTTP/1.1\r\nHost: a\r\n\rX",
}


@pytest.mark.parametrize("stream", BARE.values(), ids=BARE)
def test_bare_cr_or_lf_refused_without_waiting_for_more(connect, delivery, stream):
    delivery.refused(connect, stream, {400})


@pytest.mark.parametrize(
    "stream",
    [
        b"GET  / HTTP/1.1\r\n",
        b"GET / HTTP/1.x\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n",
        b"GET / HTTP/1.1\r\nnot a field\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded",
        b"GET / HTTP/1.1\r\n folded",
    ],
)
def test_malformed_lines_refused_without_waiting_for_more(connect, stream):
    wire = connect()
    wire.send(stream)
    assert wire.response().status == 400
    wire.ended()


LINES_ACCEPTED = {
    "HTTP/1.1": get(),
    "minor version that is yet to come": get(version=b"1.2"),
    "the last minor version": get(version=b"1.9"),
    "one empty line": b"\r\n" + get(),
    "eight empty lines": b"\r\n" * 8 + get(),
}


@pytest.mark.parametrize("stream", LINES_ACCEPTED.values(), ids=LINES_ACCEPTED)
def test_request_line_accepted(connect, delivery, stream):
    for response in delivery.responses(connect, stream):
        assert told(response)["path"] == "/"
        assert response.head.startswith(b"HTTP/1.1 ")


def test_http_1_0(connect, delivery):
    for response in delivery.responses(connect, get(version=b"1.0", host=None), version=b"1.0"):
        assert told(response)["path"] == "/"


def test_eight_empty_lines_before_each_request(connect):
    wire = connect()
    wire.send((b"\r\n" * 8 + get()) * 5)
    assert [each.status for each in wire.responses(*["GET"] * 5)] == [200] * 5
    wire.in_step()


def test_empty_lines_alone_are_waited_after(connect):
    wire = connect()
    wire.send(b"\r\n\r\n")
    wire.nothing_comes()
    wire.in_step()


# Methods

METHODS = {
    "GET": {200},
    "POST": {200},
    "OPTIONS": {200},
    "PUT": {405},
    "DELETE": {405},
    "TRACE": {405},
    "PATCH": {405, 501},  # it may be known or not, RFC 5789
    "get": {501},
    "Get": {501},
    "gET": {501},
    "GETT": {501},
    "GE": {501},
    "BREW": {501},
    "M-SEARCH": {501},
    "!#$%&'*+-.^_`|~09AZaz": {501},
    "__init__": {501},
    "handle_request": {501},
    "X" * 100: {501},
}


@pytest.mark.parametrize("method", METHODS)
def test_method(connect, delivery, method):
    for response in delivery.responses(connect, get(method=method.encode()), method):
        assert response.status in METHODS[method]
        allowed = response.get("allow")
        assert (allowed is not None) == (response.status == 405 or method == "OPTIONS")
        if allowed is not None:
            assert {each.strip() for each in allowed.split(b",")} == {b"GET", b"HEAD", b"OPTIONS", b"POST"}


def test_overlong_method(connect, delivery):
    delivery.fewer().refused(connect, get(method=b"X" * 9000), {501})


@pytest.mark.parametrize("target", [b"/", b"*", b"http://a", b"http://a/", b"/x?y"])
def test_options(connect, target):
    wire = connect()
    wire.send(get(target, method=b"OPTIONS"))
    response = wire.response("OPTIONS")
    assert (response.status, response.body) == (200, b"")
    assert b"GET" in response.get("allow")
    wire.in_step()


# Targets

TARGETS = {
    b"/": "/",
    b"/x/y.z": "/x/y.z",
    b"/?": "/?",
    b"/x?y=z&z": "/x?y=z&z",
    b"/x?y?z": "/x?y?z",
    b"/%41%zz%": None,  # visible, but malformed: an application's or 400
    b"/%00": "/%00",
    b"/%0d%0aX:%20y": "/%0d%0aX:%20y",
    b"/..": "/..",
    b"/x/../y": "/x/../y",
    b"//x/y": "//x/y",
    b"/http://b/": "/http://b/",
    b"/x:y@z;!$&'()*+,=-._~": "/x:y@z;!$&'()*+,=-._~",
    b"/x?/y": "/x?/y",
    b'/"<>\\^`{|}': None,  # visible, but to be escaped
    b"/x#y": None,  # a fragment is no part of a target
    b"http://a": "/",
    b"http://a/": "/",
    b"http://a/x?y": "/x?y",
    b"http://a?y": "/?y",
    b"HTTP://a/x": "/x",
    b"hTTp://a/x": "/x",
    b"http://a:80/x": "/x",
    b"http://a:/x": "/x",
    b"http://127.0.0.1:8000/x": "/x",
    b"http://[::1]/x": "/x",
    b"http://[::1]:80/x": "/x",
    b"https://a/x": "/x",
    b"http://a/http://b/": "/http://b/",
    b"http://a//x": "//x",
}


@pytest.mark.parametrize("target", TARGETS, ids=bytes.decode)
def test_target(connect, delivery, target):
    for response in delivery.responses(connect, get(target)):
        if TARGETS[target] is None and response.status == 400:
            continue
        assert told(response)["path"] == (TARGETS[target] or target.decode())


TARGETS_REFUSED = [
    b"x",
    b"x/y",
    b".",
    b"?x",
    b"#x",
    b"\\",
    b"*",
    b"**",
    b"*/",
    b"a:80",
    b"127.0.0.1:80",
    b"[::1]:80",
    b"http:",
    b"http:/",
    b"http:/a/",
    b"http:a",
    b"http://",
    b"http:///x",
    b"http://?x",
    b"http://:80/",
    b"http://a:b/",
    b"http://a:80:80/",
    b"http://a:-1/",
    b"http://a@b/",
    b"http://a:b@c/",
    b"http://@a/",
    b"http://[::1/",
    b"http://::1/",
    b"http://[]/",
    b"http://[::g]/",
    b"http://[::1]x/",
    b"http://a%zz/",
    b"http://a\\b/",
    b"http://a<b>/",
    b'http://"a"/',
    b"://a/",
    b"1http://a/",
    b"ht_tp://a/",
]


@pytest.mark.parametrize("target", TARGETS_REFUSED, ids=bytes.decode)
def test_target_refused(connect, delivery, target):
    delivery.refused(connect, get(target), {400})


def test_asterisk_is_for_options_only(connect, delivery):
    delivery.refused(connect, get(b"*", b"Content-Length: 0", method=b"POST"), {400})


@pytest.mark.parametrize("target", [b"a:443", b"127.0.0.1:443", b"[::1]:443", b"a.example:1"])
def test_connect_is_no_method_of_an_origin_server(connect, target):
    wire = connect()
    wire.send(get(target, method=b"CONNECT"))
    assert wire.response("CONNECT").status in {405, 501}


@pytest.mark.parametrize(
    "target", [b"/", b"*", b"a", b"a:", b"a:b", b"http://a/", b":443", b"a@b:443", b"a:443/", b"[::1:443"]
)
def test_connect_takes_an_authority_only(connect, delivery, target):
    delivery.refused(connect, get(target, method=b"CONNECT"), {400})


@pytest.mark.parametrize("lines", [[b"Host: b"], [b"Host: a:81"], [b"X: y", b"Host: c"]])
def test_the_host_of_an_absolute_target_counts(connect, lines):
    wire = connect()
    wire.send(get(b"http://c:81/x", *lines, host=None))
    assert told(wire.response())["host"] == "c:81"
    wire.in_step()


ABSOLUTE_REFUSED = {
    "without Host": get(b"http://a/", host=None),
    "with two Hosts": get(b"http://a/", b"Host: a"),
    "with a malformed Host": get(b"http://a/", host=b"a b"),
}


@pytest.mark.parametrize("stream", ABSOLUTE_REFUSED.values(), ids=ABSOLUTE_REFUSED)
def test_an_absolute_target_does_not_excuse_from_host(connect, delivery, stream):
    delivery.refused(connect, stream, {400})


# Fields

FIELDS_REFUSED = {
    "space before the colon": b"X-Echo : x",
    "tab before the colon": b"X-Echo\t: x",
    "no colon": b"X-Echo",
    "no name": b": x",
    "colon alone": b":",
    "space for a name": b" : x",
    "space in the name": b"X Echo: x",
    "tab in the name": b"X\tEcho: x",
    "folded": b"X-Echo: x\r\n y",
    "folded by a tab": b"X-Echo: x\r\n\ty",
    "folded to nothing": b"X-Echo: x\r\n ",
    "folded before the value": b"X-Echo:\r\n x",
    "folded to a field": b"X-Echo: x\r\n Content-Length: 5",
    "NUL in the name": b"X\0Echo: x",
    "NUL for a name": b"\0: x",
    "obs-text in the name": b"X-\xc9cho: x",
    "UTF-8 in the name": b"X-\xc3\xa9: x",
    "control character in the name": b"X\x01: x",
    "delete in the name": b"X\x7f: x",
    "vertical tab before the colon": b"X\x0b: x",
    "NUL in the value": b"X-Echo: x\0y",
    "NUL at the end": b"X-Echo: x\0",
    "NUL alone": b"X-Echo: \0",
} | {f"{chr(byte)} in the name": b"X%c: x" % byte for byte in b'"(),/;<=>?@[\\]{}'}


@pytest.mark.parametrize("line", FIELDS_REFUSED.values(), ids=FIELDS_REFUSED)
def test_field_refused(connect, delivery, line):
    delivery.refused(connect, get(b"/", line), {400})


@pytest.mark.parametrize("line", [b" X: y", b"\tX: y", b" ", b"\t", b" Host: a"])
def test_first_field_refused(connect, delivery, line):
    delivery.refused(connect, get(b"/", line, b"Host: a", host=None), {400})


VALUES = {
    b"x": "x",
    b"": "",
    b"x y  z": "x y  z",
    b"x\ty": "x\ty",
    b"\"x, y\"; z='q' (c) \\": "\"x, y\"; z='q' (c) \\",
    b":": ":",
    b"a: b": "a: b",
    bytes(range(0x21, 0x7F)): bytes(range(0x21, 0x7F)).decode(),
    bytes(range(0x80, 0x100)): bytes(range(0x80, 0x100)).decode("latin-1"),
    "naïve €".encode(): "naïve €".encode().decode("latin-1"),
    b"\xa0x\xa0": "\xa0x\xa0",
    b"\x85": "\x85",
}


@pytest.mark.parametrize("before", [b"", b" ", b"\t", b" \t  "], ids=["", "space", "tab", "both"])
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_value(connect, value, before):
    wire = connect()
    wire.send(get(b"/", b"X-Echo:" + before + value + before))
    assert told(wire.response())["echo"] == [VALUES[value]]
    wire.in_step()


# RFC 9110, 5.5: other control characters are invalid, too, but a recipient MAY retain them.
@pytest.mark.parametrize("byte", [*range(1, 9), 11, 12, *range(14, 32), 127])
def test_control_character_in_a_value(connect, byte):
    wire = connect()
    wire.send(get(b"/", b"X-Echo: x%cy" % byte))
    response = wire.response()
    if response.status == 400:
        wire.ended()
    else:
        assert told(response)["echo"] == [f"x{chr(byte)}y"]
        wire.in_step()


@pytest.mark.parametrize("name", ["x-echo", "X-ECHO", "x-EcHo"])
def test_names_have_no_case(connect, delivery, name):
    for response in delivery.responses(connect, get(b"/", name.encode() + b": x")):
        assert told(response)["echo"] == ["x"]


def test_names_of_every_kind(connect, delivery):
    for response in delivery.responses(connect, get(b"/", b"!#$%&'*+-.^_`|~09AZaz: x", b"X-Echo: y", b"1: z")):
        assert told(response)["echo"] == ["y"]


def test_fields_of_one_name_keep_their_order(connect, delivery):
    lines = b"X-Echo: x", b"X-Other: z", b"x-echo: y", b"X-Echo:", b"X-ECHO: x"
    for response in delivery.responses(connect, get(b"/", *lines)):
        assert told(response)["echo"] == ["x", "y", "", "x"]


def test_nothing_is_kept_from_the_request_before(connect):
    wire = connect()
    wire.send(get(b"/", b"X-Echo: x", b"Content-Length: 5", method=b"POST") + b"hello")
    assert told(wire.response())["echo"] == ["x"]
    wire.send(get(b"/"))
    understood = told(wire.response())
    assert (understood["echo"], understood["body"], understood["command"]) == ([], "", "GET")


# Host

HOSTS = [
    b"a",
    b"a.example",
    b"a.example.",
    b"A.Example",
    b"localhost",
    b"xn--nxasmq6b.example",
    b"a-b_c~d.e",
    b"a!$&'()*+,;=b",
    b"%41%c3%a9",
    b"1",
    b"127.0.0.1",
    b"300.1.2.3.4",  # not an address, so a name
    b"[::1]",
    b"[::]",
    b"[1:2:3:4:5:6:7:8]",
    b"[2001:db8::192.0.2.1]",
    b"[2001:DB8::a]",
    b"[v1.a:b]",
    b"[vF.a!b]",
]


@pytest.mark.parametrize("port", [b"", b":", b":0", b":80", b":8080", b":65535"], ids=repr)
@pytest.mark.parametrize("host", HOSTS, ids=bytes.decode)
def test_host(connect, host, port):
    wire = connect()
    wire.send(get(host=host + port))
    assert told(wire.response())["host"] == (host + port).decode()
    wire.in_step()


@pytest.mark.parametrize("host", [b"a:80", b"[::1]:80", b"[v1.a]"], ids=bytes.decode)
def test_host_however_it_arrives(connect, delivery, host):
    for response in delivery.responses(connect, get(host=b" \t" + host + b"\t ")):
        assert told(response)["host"] == host.decode()


HOSTS_REFUSED = {
    "none": (get(host=None), {400}),
    "two": (get(b"/", b"Host: b"), {400}),
    "the same twice": (get(b"/", b"Host: a"), {400}),
    "the same twice, in other cases": (get(b"/", b"HOST: a"), {400}),
    "two, far apart": (get(b"/", b"X: y", b"Y: z", b"host: b"), {400}),
    "two, one empty": (get(b"/", b"Host:"), {400}),
    "two, on 1.0": (get(b"/", b"Host: b", version=b"1.0"), {400}),
    "none, as that is another name": (get(b"/", b"X-Host: a", b"Hos: a", host=None), {400}),
    "malformed, on 1.0": (get(host=b"a b", version=b"1.0"), {400}),
    # A name may be empty, but not in an http URI (RFC 9110, 4.2.1).
    "empty": (get(host=b""), {400}),
    "port alone": (get(host=b":80"), {400}),
    "port beyond 65535": (get(host=b"a:65536"), {400}),
    "port of many digits": (get(host=b"a:" + b"9" * 100), {200, 400}),
    "port of zeros": (get(host=b"a:00080"), {200, 400}),
    "zone": (get(host=b"[fe80::1%25eth0]"), {200, 400}),
} | {
    value.decode("latin-1"): (get(host=value), {400})
    for value in [
        b"a b",
        b"a\tb",
        b"a, b",
        b"a b:80",
        b"a: 80",
        b"a :80",
        b"a/",
        b"a/b",
        b"/a",
        b"a?b",
        b"a#b",
        b"a@b",
        b"@a",
        b"a:b@c",
        b"a\\b",
        b'"a"',
        b"<a>",
        b"a^b",
        b"a`b",
        b"a{b}",
        b"a|b",
        b"http://a",
        b"http://a/",
        b"a:b",
        b"a:80b",
        b"a:8_0",
        b"a:+80",
        b"a:-80",
        b"a:0x50",
        b"a:80:80",
        b"a::80",
        b"a:80/",
        b"a\x80",
        b"\xc3\xa9",
        b"a:\xb2",
        b"a\x7f",
        b"%",
        b"a%",
        b"a%4",
        b"a%zz",
        b"::1",
        b"[",
        b"]",
        b"[]",
        b"[]:80",
        b"[::1",
        b"::1]",
        b"[::1]a",
        b"[::1]80",
        b"[::1]:b",
        b"[::1]:80:80",
        b"a[::1]",
        b"[[::1]]",
        b"[::g]",
        b"[:1]",
        b"[1:2:3]",
        b"[1:2:3:4:5:6:7:8:9]",
        b"[::1::2]",
        b"[12345::]",
        b"[127.0.0.1]",
        b"[::300.1.1.1]",
        b"[a]",
        b"[v1]",
        b"[v1.]",
        b"[v.a]",
        b"[vg.a]",
        b"[v1.a/b]",
        b"[::1 ]",
    ]
}


@pytest.mark.parametrize(("stream", "statuses"), HOSTS_REFUSED.values(), ids=HOSTS_REFUSED)
def test_host_refused(connect, delivery, stream, statuses):
    if 200 in statuses:
        for response in delivery.responses(connect, stream):
            assert response.status in statuses
    else:
        delivery.refused(connect, stream, statuses)


def test_no_host_on_1_0(connect, delivery):
    for response in delivery.responses(connect, get(version=b"1.0", host=None), version=b"1.0"):
        assert told(response)["host"] is None


# Heads that are too long

LINE = 8192
HEAD = 65536
FIELDS = 100


def request_line_of(size):
    """Return a request whose line has *size* bytes with its CRLF."""
    return get(b"/" + b"x" * (size - len(b"GET / HTTP/1.1\r\n")))


def head_of(size):
    """Return a request of *size* bytes, in fields of some 8 KiB."""
    request = get(b"/", *[b"X: " + b"x" * 8000] * 7)
    room = size - len(request) - len(b"Y: \r\n")
    return request[:-2] + b"Y: " + b"y" * room + b"\r\n\r\n"


TOO_LONG = {
    "request line": (request_line_of(LINE + 3), {414}),
    "request line by far": (request_line_of(50_000), {414}),
    "request line without an end": (b"GET /" + b"x" * LINE, {414}),
    "query without an end": (b"GET /?" + b"x" * 20_000, {414}),
    "line without a space": (b"x" * 9000, {400, 414, 501}),
    "head": (head_of(HEAD + 32), {431}),
    "head by far": (head_of(200_000), {431}),
    "value without an end": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * HEAD, {431}),
    "name without an end": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x" * (HEAD + 10), {431}),
    "fields without an end": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 12_000, {431}),
    "one field too many": (get(b"/", *[b"X: y"] * FIELDS), {431}),
    "a thousand fields": (get(b"/", *[b"X%d: y" % number for number in range(1000)]), {431}),
    "a field too many without an end": (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (FIELDS + 1), {431}),
}


@pytest.mark.parametrize(("stream", "statuses"), TOO_LONG.values(), ids=TOO_LONG)
def test_too_long(connect, delivery, stream, statuses):
    delivery.fewer(stream, 2 * LINE).refused(connect, stream, statuses)


LONG_ENOUGH = {
    "request line": request_line_of(LINE),
    "absolute target": get(b"http://a/" + b"x" * (LINE - len(b"GET http://a/ HTTP/1.1\r\n"))),
    "head": head_of(HEAD),
    "value": get(b"/", b"X: " + b"x" * 60_000),
    "fields": get(b"/", *[b"X%d: y" % number for number in range(FIELDS - 1)]),
}


@pytest.mark.parametrize("stream", LONG_ENOUGH.values(), ids=LONG_ENOUGH)
def test_not_too_long(connect, delivery, stream):
    for response in delivery.fewer(stream, 2 * LINE).responses(connect, stream):
        assert response.status == 200


class Narrow(App):
    max_request_line = 64
    max_head = 256
    max_fields = 4


NARROW = {
    "request line": (request_line_of(64), request_line_of(67), 414),
    "head": (get(b"/", b"X: " + b"x" * 218), get(b"/", b"X: " + b"x" * 256), 431),
    "fields": (get(b"/", *[b"X: y"] * 3), get(b"/", *[b"X: y"] * 4), 431),
}


@pytest.mark.parametrize(("good", "bad", "status"), NARROW.values(), ids=NARROW)
def test_bounds_of_an_applications_own(serve_http, delivery, good, bad, status):
    connect = serve_http(Narrow)
    assert len(good) <= 256
    for response in delivery.responses(connect, good):
        assert response.status == 200
    delivery.refused(connect, bad, {status})


# Error pages

SCRIPT = b"<script>alert(1)</script>"

ERRORS = {
    "unknown method": get(b"/" + SCRIPT, method=b"BREW"),
    "method not allowed": get(b"/" + SCRIPT, method=b"DELETE"),
    "target": get(b"/" + SCRIPT + b" x"),
    "version": get(b"/" + SCRIPT, version=b"2.0"),
    "other version": get(b"/", version=SCRIPT),
    "field": get(b"/", SCRIPT),
    "field name": get(b"/", SCRIPT + b": x"),
    "host": get(b"/", host=SCRIPT),
    "length": get(b"/", b"Content-Length: " + SCRIPT),
    "coding": get(b"/", b"Transfer-Encoding: " + SCRIPT),
    "expectation": get(b"/", b"Expect: " + SCRIPT),
    "too long": get(b"/" + SCRIPT * 1000),
}


@pytest.mark.parametrize("stream", ERRORS.values(), ids=ERRORS)
def test_error_page(connect, stream):
    wire = connect()
    wire.send(stream)
    response = wire.response()
    assert response.status >= 400
    assert b"<script>" not in response.head + response.body
    assert response.framing == str(len(response.body)).encode()
    assert 0 < len(response.body) < 2000
    assert response.get("content-type")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"X : y", 400),
        (b"Host: b", 400),
        (b"Content-Length: x", 400),
        (b"Transfer-Encoding: gzip", 501),
        (b"Expect: x", 417),
    ],
)
def test_an_error_page_for_head_has_no_body(connect, line, status):
    wire = connect()
    wire.send(get(b"/", line, method=b"HEAD"))
    response = wire.response("HEAD")
    assert response.status in {status, 400}
    wire.ended()


def test_no_request_gets_no_response(connect):
    wire = connect()
    wire.shut()
    wire.ended()
    connect().in_step()


@pytest.mark.parametrize("at", range(1, len(get())))
def test_half_a_head_and_then_the_end(connect, at):
    wire = connect()
    wire.send(get()[:at])
    wire.shut()
    if wire.anything_comes():
        assert wire.response().status == 400
    wire.ended()
