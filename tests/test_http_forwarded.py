"""HTTP behind proxies: ``http_server(proxy_protocol=True)`` and ``http_server(forwarded=NETWORKS)``."""

import os
import socket
import struct
import threading

import pytest

import asynchat_fast
from asynchat_fast.http import http_request_handler, http_server
from asynchat_fast.http.forwarded import Forwarded

PATIENCE = 20
PROXY, OWN = ("127.0.0.1", 4711), ("203.0.113.9", 4711)
HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n"
TRUSTED = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]


class TestClient:
    @pytest.mark.parametrize(
        ("value", "client"),
        [
            (None, PROXY),
            ("", PROXY),
            (" , ,", PROXY),
            ("192.0.2.7", ("192.0.2.7", 0)),
            ("192.0.2.7:5000", ("192.0.2.7", 5000)),
            ("2001:DB8::0007", ("2001:db8::7", 0, 0, 0)),
            ("[2001:db8::7]", ("2001:db8::7", 0, 0, 0)),
            ("[2001:db8::7]:5000", ("2001:db8::7", 5000, 0, 0)),
            ("::ffff:192.0.2.7", ("192.0.2.7", 0)),
            ("192.0.2.1,192.0.2.7", ("192.0.2.7", 0)),
            ("192.0.2.7,\t10.1.2.3 , 10.4.5.6", ("192.0.2.7", 0)),
            ("forged, 192.0.2.7, fd00::1, 10.4.5.6", ("192.0.2.7", 0)),
            ("10.9.9.9, 10.4.5.6", ("10.9.9.9", 0)),
            (["forged", "192.0.2.1, 192.0.2.7", "10.4.5.6"], ("192.0.2.7", 0)),
            ("192.0.2.7, unknown", PROXY),
            ("192.0.2.7, _hidden, 10.4.5.6", ("10.4.5.6", 0)),
            ("192.0.2.7, 10.4.5.6:65536", PROXY),
            *(
                (f"10.4.5.6, {wrong}", PROXY)
                for wrong in (
                    "192.0.2.07",
                    "192.0.2.7:",
                    "192.0.2.7:x",
                    "192.0.2.7:+1",
                    "192.0.2.7:\xb2",
                    "[192.0.2.7",
                    "[2001:db8::7]5",
                    "[2001:db8::7",
                    "2001:db8::7%lo",
                    '"192.0.2.7"',
                    "192.0.2.0/24",
                    "3221225991",
                )
            ),
        ],
    )
    def test_the_first_that_is_no_proxy_read_from_the_end(self, value, client):
        index = {} if value is None else {"x-forwarded-for": value}
        forwarded = Forwarded(TRUSTED)
        assert forwarded.client(PROXY, index) == client
        assert forwarded.client(("::ffff:127.0.0.1", 4711, 0, 0), index)[0] == (
            "::ffff:127.0.0.1" if client is PROXY else client[0]
        )
        assert forwarded.client(OWN, index) == OWN

    def test_at_a_unix_socket_its_mode_says_whom_to_believe(self):
        assert Forwarded(["10.0.0.0/8"]).client("", {"x-forwarded-for": "192.0.2.7, 10.1.1.1"}) == ("192.0.2.7", 0)
        assert Forwarded(["10.0.0.0/8"]).client("", {}) == ""

    def test_another_field_is_not_taken_for_it(self):
        assert Forwarded(TRUSTED).client(PROXY, {"x_forwarded_for": "192.0.2.7", "forwarded": "for=192.0.2.7"}) == PROXY


@pytest.mark.parametrize(
    ("value", "scheme"),
    [
        (None, None),
        ("https", "https"),
        ("HTTP", "http"),
        ("https, http", "http"),
        (["http", "https "], "https"),
        ("javascript", None),
        ("https;", None),
    ],
)
def test_the_scheme_is_that_of_the_last_proxy(value, scheme):
    index = {} if value is None else {"x-forwarded-proto": value}
    assert Forwarded(TRUSTED).scheme(PROXY, index) == scheme
    assert Forwarded(TRUSTED).scheme(OWN, index) is None


class Who(http_request_handler):
    log_format = "common"

    def do_GET(self):
        self.respond(200, f"{self.scheme} {self.addr} {self.client_address == self.addr} {self.address_string()}")


@pytest.fixture
def serve(http_map):
    """A function that serves handlers, and returns one that sends requests on one connection, with what was logged."""
    socks, log = [], []

    def serve(handler_class=Who, **options):
        server = http_server(("127.0.0.1", 0), handler_class, log=log.append, map=http_map, **options)
        sock = socket.create_connection(server.addr)
        sock.setblocking(False)
        socks.append(sock)

        def request(data, end=b"\r\n\r\n"):
            sock.sendall(data)
            received = b""
            for _ in range(2000):
                asynchat_fast.loop(0.01, map=http_map, count=1)
                try:
                    received += sock.recv(1 << 16)
                except BlockingIOError:
                    continue
                head, _, body = received.partition(b"\r\n\r\n")
                if f"content-length: {len(body)}\r\n".encode() in head.lower() + b"\r\n":
                    return body.decode()
            raise AssertionError(received)

        request.sock, request.log, request.server = sock, log, server
        return request

    yield serve
    for sock in socks:
        sock.close()


def get(*fields):
    return b"".join([b"GET / HTTP/1.1\r\nHost: a\r\n", *(field + b"\r\n" for field in fields), b"\r\n"])


def test_each_request_of_a_connection_has_a_client_of_its_own(serve):
    request = serve(forwarded=["127.0.0.0/8"])
    own = request.sock.getsockname()
    for fields, scheme, addr in [
        ([b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-Proto: https"], "https", ("192.0.2.7", 0)),
        ([], "http", own),
        ([b"X-Forwarded-For: 9.9.9.9", b"x-forwarded-for: 192.0.2.8:81"], "http", ("192.0.2.8", 81)),
        ([b"X_Forwarded_For: 192.0.2.9"], "http", own),
    ]:
        assert request(get(*fields)) == f"{scheme} {addr} True {addr[0]}"
        assert request.log.pop().startswith(f"{addr[0]} - - [")


@pytest.mark.parametrize(
    "bad", [b"GET / HTTP/1.1\r\n\r\n", b"GET\r\n\r\n", b"X" * 9000, b"GET / HTTP/1.1\r\nHost: a\r\nbad\r\n\r\n"]
)
def test_a_request_that_cannot_be_read_is_not_of_the_client_before(serve, bad):
    request = serve(forwarded=["127.0.0.0/8"])
    request(get(b"X-Forwarded-For: 192.0.2.7"))
    request(bad)
    assert [line.split()[0] for line in request.log] == ["192.0.2.7", "127.0.0.1"]


@pytest.mark.parametrize("options", [{}, {"forwarded": []}, {"forwarded": ["10.0.0.0/8"]}])
def test_others_are_not_believed(serve, options):
    request = serve(**options)
    own = request.sock.getsockname()
    fields = [b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-Proto: https"]
    assert request(get(*fields)) == f"http {own} True 127.0.0.1"


def test_what_is_no_network():
    for forwarded in ("127.0.0.1", ["proxy.example"], ["127.0.0.1/7"]):
        with pytest.raises(ValueError, match=r"network|host bits"):
            http_server(("127.0.0.1", 0), forwarded=forwarded, map={})


def test_a_client_behind_a_proxy_header(serve):
    request = serve(proxy_protocol=True)
    request.sock.sendall(HEADER)
    assert request(get(b"X-Forwarded-For: 192.0.2.8")) == "http ('192.0.2.7', 51000) True 192.0.2.7"
    assert request(get()) == "http ('192.0.2.7', 51000) True 192.0.2.7"
    assert [line.split()[0] for line in request.log] == ["192.0.2.7", "192.0.2.7"]


def test_a_proxy_behind_a_proxy_header(serve):
    """As where a balancer of connections stands before one of requests."""
    request = serve(proxy_protocol=True, forwarded=["192.0.2.0/24"])
    request.sock.sendall(HEADER)
    assert request(get(b"X-Forwarded-For: 203.0.113.1")) == "http ('203.0.113.1', 0) True 203.0.113.1"


def test_tls_with_the_proxy_makes_it_https(serve):
    request = serve(proxy_protocol=True)
    addresses = socket.inet_aton("192.0.2.7") * 2 + struct.pack("!HH", 51000, 443)
    block = addresses + b"\x20\0\5\1\0\0\0\0"
    request.sock.sendall(b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(block)) + block)
    assert request(get()).startswith("https ")


def test_tls_makes_it_https(http_map, server_context, client_context):
    server = http_server(("127.0.0.1", 0), Who, log=print, map=http_map, tls=server_context, proxy_protocol=True)
    received = []

    def request():
        with socket.create_connection(server.addr, PATIENCE) as sock:
            sock.sendall(HEADER)
            with client_context.wrap_socket(sock, server_hostname="localhost") as secure:
                secure.sendall(get(b"Connection: close"))
                while data := secure.recv(1000):
                    received.append(data)

    client = threading.Thread(target=request, daemon=True)
    client.start()
    while client.is_alive():
        asynchat_fast.loop(0.01, map=http_map, count=1)
    assert b"".join(received).endswith(b"https ('192.0.2.7', 51000) True 192.0.2.7")


@pytest.mark.parametrize("over_tls", [False, True])
def test_a_response_is_not_lost_to_a_client_that_still_sends(http_map, server_context, client_context, over_tls):
    """The end is lingered for behind a PROXY header, too: closed at once, the connection would be reset."""
    options = {"tls": server_context} if over_tls else {}
    server = http_server(("127.0.0.1", 0), Who, log=print, map=http_map, proxy_protocol=True, **options)
    heads, size = [], 1 << 18

    def request():
        with socket.create_connection(server.addr, PATIENCE) as sock:
            sock.sendall(HEADER)
            if over_tls:
                sock = client_context.wrap_socket(sock, server_hostname="localhost")
            with sock:
                sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
                for _ in range(8):  # some of it when the response has left
                    sock.sendall(os.urandom(size // 16))
                heads.append(sock.recv(1000))

    for _ in range(10):
        client = threading.Thread(target=request, daemon=True)
        client.start()
        while client.is_alive():
            asynchat_fast.loop(0.01, map=http_map, count=1)
    assert [head[:12] for head in heads] == [b"HTTP/1.1 413"] * 10
