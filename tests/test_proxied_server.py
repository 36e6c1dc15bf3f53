"""``chat_server(proxy_protocol=True)``: a connection begins when its PROXY header has come, and is the client's."""

import asyncio
import contextlib
import os
import select
import socket
import ssl
import struct
import sys
import threading
import time
from ipaddress import ip_network
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import asynchat_fast
from asynchat_fast import async_chat, asyncore, chat_server, file_producer, proxy_accept
from asynchat_fast.addresses import name_of
from asynchat_fast.aio import embedded
from asynchat_fast.proxy_protocol import ClientTLS, crc32c

PATIENCE = 20
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n"
CLIENT = ("192.0.2.7", 51000)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
IPV4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 51000, 443)
IPV6 = bytes.fromhex("20010db8000000000000000000000007") + bytes(15) + b"\1" + struct.pack("!HH", 51000, 443)
HAS_UNIX = hasattr(socket, "AF_UNIX")


def v2(command, family, block):
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(block)) + block


def with_crc(wrong=0):
    header = v2(0x21, 0x11, IPV4 + b"\3\0\4" + bytes(4))
    return header[:-4] + struct.pack("!I", crc32c(header) ^ wrong)


HEADERS = {
    "v1": (V1, CLIENT),
    "v1 IPv6": (b"PROXY TCP6 2001:db8::7 ::1 51000 443\r\n", ("2001:db8::7", 51000, 0, 0)),
    "v1 unknown": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    "v2": (v2(0x21, 0x11, IPV4), CLIENT),
    "v2 IPv6": (v2(0x21, 0x21, IPV6), ("2001:db8::7", 51000, 0, 0)),
    "v2 unix": (v2(0x21, 0x31, b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")), b"/run/a"),
    "v2 local": (v2(0x20, 0x11, IPV4), None),
    "v2 unspecified": (v2(0x21, 0x00, b""), None),
    "v2 checksum": (with_crc(), CLIENT),
}


class Lines(async_chat):
    """Responds to each line with the same line; remembers what it has learnt of its client, and when."""

    made = ()

    def __init__(self, sock, map):
        super().__init__(sock, map)
        self.at_first = self.addr, self.socket.getpeername(), self.proxy
        self.set_terminator(b"\n")
        self.made.append(self)

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        self.push(self._get_data() + b"\n")


def loop(map):
    asynchat_fast.loop(0.01, map=map, count=1)


def asyncore_loop(map):
    asyncore.loop(0.01, map=map, count=1)


def asyncore_poll_loop(map):
    asyncore.loop(0.01, use_poll=hasattr(__import__("select"), "poll"), map=map, count=1)


def asyncio_loop(map):
    async def one_pass():
        async with embedded(map):
            await asyncio.sleep(0.002)

    asyncio.run(one_pass())


@pytest.fixture
def stage(map, caplog):
    """A server, clients of it, and passes of a loop until a condition holds."""
    caplog.set_level("INFO", "asynchat_fast")
    clients, servers = contextlib.ExitStack(), []
    run_pass = [loop]
    channels = asynchat_fast.SocketMap()

    def serve(address=("127.0.0.1", 0), channel_class=Lines, **options):
        channel_class.made = []
        options = {"proxy_protocol": True, "map": channels} | options
        servers.append(chat_server(address, channel_class, **options))
        return servers[-1]

    def connect(data=b""):
        address = servers[-1].addr
        sock = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
        clients.callback(sock.close)
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", address[1]) if isinstance(address, tuple) else address)
        sock.sendall(data)
        return sock

    def until(condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "the condition has not become true"
            run_pass[0](channels)

    def received(sock, count):
        sock.setblocking(False)
        data = []

        def complete():
            with contextlib.suppress(BlockingIOError):
                data.append(sock.recv(count - len(b"".join(data))))
            return len(b"".join(data)) == count or data[-1:] == [b""]

        until(complete)
        return b"".join(data)

    def waiting():
        """Return how many connections wait for their header."""
        return len(channels) - sum(isinstance(each, asyncore.dispatcher) for each in channels.values())

    def refused(sock):
        """Assert that the connection is ended, with nothing for the client; return the one line about that."""
        caplog.clear()
        assert ended(sock)
        (record,) = caplog.records
        assert record.levelname == "ERROR"
        return record.getMessage()

    def ended(sock):
        try:
            return received(sock, 1) == b""
        except ConnectionResetError:
            return True

    yield SimpleNamespace(
        serve=serve, connect=connect, until=until, received=received, waiting=waiting, refused=refused, ended=ended,
        map=channels, run_pass=run_pass, made=lambda: Lines.made,
    )  # fmt: skip
    clients.close()
    asyncore.close_all(channels, ignore_all=True)


@pytest.fixture(params=[loop, asyncore_loop, asyncore_poll_loop, asyncio_loop])
def any_loop(stage, request):
    stage.run_pass[0] = request.param


# Headers, and what a channel learns


@pytest.mark.usefixtures("any_loop")
@pytest.mark.parametrize(("header", "source"), HEADERS.values(), ids=HEADERS)
def test_what_a_channel_learns(stage, header, source):
    server = stage.serve()
    client = stage.connect(header + b"hello\n")
    assert stage.received(client, 6) == b"hello\n"
    (channel,) = stage.made()
    client_address = client.getsockname() if source is None else source
    addr, peer, proxy = channel.at_first
    assert addr == peer == channel.addr == channel.socket.getpeername() == client_address
    assert proxy is channel.proxy
    assert proxy.peer == client.getsockname()
    assert (proxy.source, proxy.size, proxy.version) == (source, len(header), 2 if header[:1] == b"\r" else 1)
    assert channel.socket.getsockname() == server.addr
    with channel.socket.dup() as other:
        assert other.getpeername() == client_address
    channel.close()
    assert channel.proxy is proxy


@pytest.mark.parametrize("header", [header for header, _ in HEADERS.values()], ids=HEADERS)
def test_a_header_cut_anywhere(stage, header):
    stage.serve()
    for size in range(1, len(header)):
        client = stage.connect(header[:size])
        stage.until(lambda: stage.waiting() == 1)
        client.sendall(header[size:] + b"hello\n")
        assert stage.received(client, 6) == b"hello\n"
        client.close()
    assert len(stage.made()) == len(header) - 1
    assert stage.waiting() == 0


@pytest.mark.usefixtures("any_loop")
@pytest.mark.parametrize("header", [V1, with_crc()])
def test_a_header_byte_by_byte(stage, header):
    stage.serve()
    client = stage.connect()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    for byte in header:
        client.sendall(bytes([byte]))
        stage.run_pass[0](stage.map)
    client.sendall(b"hello\n")
    assert stage.received(client, 6) == b"hello\n"
    assert stage.made()[0].proxy.source == CLIENT


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([header for header, _ in HEADERS.values()]),
    st.lists(st.tuples(st.integers(0, 231), st.integers(0, 255)), max_size=3),
    st.integers(1, 231),
)
def test_a_mutated_header_is_served_or_closed(stage, header, changes, cut):
    if not Lines.made or not stage.map:
        stage.serve()
    mutated = bytearray(header)
    for at, value in changes:
        mutated[at % len(mutated)] = value
    client = stage.connect(bytes(mutated[:cut]))
    with contextlib.suppress(OSError):  # refused already
        client.sendall(bytes(mutated[cut:]) + b"\n" * 50)
        client.shutdown(socket.SHUT_WR)
    with contextlib.suppress(ConnectionResetError):
        assert stage.received(client, 1000).strip(b"\n") == b""
    client.close()
    stage.until(lambda: len(stage.map) == 1)


def test_a_channel_without_a_header_has_none(stage, pair):
    assert async_chat(map={}).proxy is None
    stage.serve(proxy_protocol=False)
    assert stage.received(stage.connect(V1), len(V1)) == V1
    assert stage.made()[0].proxy is None

    class Own(Lines):
        """As proxies on asyncore have it."""

        def __init__(self, sock, map):
            self.proxy = "its own"
            super().__init__(sock, map)

    assert Own(pair[0], {}).proxy == "its own"


def test_what_follows_the_header_stays_for_the_channel(stage):
    """Not a byte more is taken, be there a second header or a whole conversation."""
    stage.serve()
    client = stage.connect(V1 + V1 + b"x" * 100_000 + b"\n")
    assert stage.received(client, len(V1)) == V1[:-1] + b"\n"
    assert stage.received(client, 100_001) == b"x" * 100_000 + b"\n"


# Connections that have no header


@pytest.mark.usefixtures("any_loop")
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no PROXY header begins with b'GET / HTTP/1.1"),
        (b"PROXY UNKNOWN " + b"x" * 100, "more than 107 bytes"),
        (v2(0x21, 0x11, IPV4 + bytes(4081 - 12)), "4097 bytes, which is more than 4096"),
        (with_crc(wrong=1), "a wrong checksum"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\n", "CR or LF"),
        (V1[:20] + b"\xff", "ipv4"),
    ],
)
def test_what_is_no_header_is_closed_at_once(stage, data, why):
    server = stage.serve()
    client = stage.connect(data)
    line = stage.refused(client)
    assert why in line
    assert name_of(client.getsockname()) in line
    assert list(stage.map.values()) == [server]
    assert stage.made() == []


@pytest.mark.usefixtures("any_loop")
@pytest.mark.parametrize("count", [1, 15, len(V1) - 1])
def test_half_a_header_and_the_end(stage, count):
    stage.serve()
    client = stage.connect()
    stage.until(lambda: stage.waiting() == 1)
    client.sendall(V1[:count])
    client.shutdown(socket.SHUT_WR)
    assert "ended within" in stage.refused(client)
    assert stage.waiting() == 0


@pytest.mark.usefixtures("any_loop")
@pytest.mark.parametrize("resets", [False, True])
def test_a_check_that_says_nothing_is_no_news(stage, resets, caplog):
    server = stage.serve()
    client = stage.connect()
    stage.until(lambda: stage.waiting() == 1)
    if resets:
        reset(client)
    client.close()
    stage.until(lambda: list(stage.map.values()) == [server])
    assert caplog.records == []


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0))
    client.close()


@pytest.mark.usefixtures("any_loop")
@pytest.mark.parametrize("name", ["v1 unknown", "v2 local"])
def test_a_check_that_resets_the_connection_after_its_header_is_no_news(stage, name, caplog):
    class Late(Lines):
        def __init__(self, sock, map):
            reset(client)
            select.select([sock], [], [], PATIENCE)
            super().__init__(sock, map)

    server = stage.serve(channel_class=Late)
    client = stage.connect()
    address = client.getsockname()
    client.sendall(HEADERS[name][0])
    stage.until(lambda: Late.made and list(stage.map.values()) == [server])
    (channel,) = Late.made
    assert channel.at_first[:2] == (address, address)
    assert caplog.records == []


@pytest.mark.usefixtures("any_loop")
@pytest.mark.parametrize("begun", [b"", V1[:10]])
def test_silence(stage, begun, monkeypatch, caplog):
    monkeypatch.setattr(proxy_accept, "_SHORTEST_TIMEOUT", 0)
    server = stage.serve(header_timeout=0.05)
    client = stage.connect(begun)
    assert stage.ended(client)
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "its PROXY header has not come in time" for _ in begun[:1]
    ]
    assert list(stage.map.values()) == [server]


def test_a_header_that_trickles_is_not_given_more_time(stage, monkeypatch):
    monkeypatch.setattr(proxy_accept, "_SHORTEST_TIMEOUT", 0)
    stage.serve(header_timeout=0.1)
    client = stage.connect()
    until = time.monotonic() + PATIENCE
    with contextlib.suppress(ConnectionError):
        for byte in V1[:-1] * 1000:
            assert time.monotonic() < until
            client.sendall(bytes([byte]))
            stage.run_pass[0](stage.map)
            if not stage.waiting() and Lines.made == []:
                break
    assert stage.ended(client)


def test_an_acceptor_without_a_logger_prints(stage, capsys):
    """asyncore's log_info() says nothing of warnings."""

    class Server(chat_server):
        ac_logger = None

    server = Server(("127.0.0.1", 0), Lines, map=stage.map, proxy_protocol=True)
    with socket.create_connection(server.addr) as client:
        client.sendall(b"GET /")
        stage.until(lambda: "no PROXY header" in capsys.readouterr().out)


# Trust


@pytest.mark.parametrize(
    ("trusted", "is_trusted"),
    [
        (None, True),
        (["127.0.0.0/8"], True),
        (["192.0.2.0/24", ip_network("127.0.0.1/32")], True),
        (["127.0.0.2"], False),
        (["::1", "192.0.2.0/24"], False),
        ([], False),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_only_trusted_proxies_are_believed(stage, trusted, is_trusted, host):
    server = stage.serve((host, 0), trusted=trusted)
    client = stage.connect(V1 + b"hello\n")
    if is_trusted:
        assert stage.received(client, 6) == b"hello\n"
    else:
        assert "no trusted proxy" in stage.refused(client)
        assert list(stage.map.values()) == [server]
        assert stage.made() == []


@pytest.mark.parametrize(("trusted", "is_trusted"), [(None, True), (["::/64"], True), (["127.0.0.0/8"], False)])
def test_proxies_by_ipv6(stage, trusted, is_trusted):
    try:
        server = stage.serve(("::1", 0), trusted=trusted)
    except OSError:
        pytest.skip("there is no IPv6 here")
    with socket.create_connection(server.addr[:2], PATIENCE) as client:
        client.sendall(HEADERS["v1 IPv6"][0] + b"hello\n")
        if is_trusted:
            assert stage.received(client, 6) == b"hello\n"
            assert stage.made()[0].addr == ("2001:db8::7", 51000, 0, 0)
            assert stage.made()[0].proxy.peer == client.getsockname()
        else:
            assert "no trusted proxy" in stage.refused(client)


def test_starttls_behind_a_header(stage, server_context, client_context):
    class Secured(Lines):
        def found_terminator(self):
            if self._get_data() == b"STARTTLS":
                self.push(b"go ahead\n")
                self.start_tls(server_context)
            else:
                self.push(f"{self.addr[0]} {self.proxy.source[0]}\n".encode())

    server = stage.serve(channel_class=Secured)
    client = Client(server.addr, V1 + b"STARTTLS\n", client_context, b"go ahead\n")
    client.start()
    stage.until(lambda: not client.is_alive())
    assert client.response == b"192.0.2.7 192.0.2.7\n"


@pytest.mark.skipif(not HAS_UNIX, reason="there are no unix sockets")
def test_at_a_unix_socket_its_mode_says_whom_to_trust(stage, tmp_path):
    stage.serve(str(tmp_path / "socket"), trusted=[])
    client = stage.connect(V1 + b"hello\n")
    assert stage.received(client, 6) == b"hello\n"
    assert stage.made()[0].addr == CLIENT
    client = stage.connect(b"PROXY UNKNOWN\r\nhello\n")
    assert stage.received(client, 6) == b"hello\n"
    assert stage.made()[1].addr == ""


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"trusted": ["10.0.0.0/33"]}, "10.0.0.0/33"),
        ({"trusted": ["10.0.0.1/8"]}, "10.0.0.1/8"),
        ({"trusted": ["proxy.example"]}, "proxy.example"),
        ({"trusted": ["", None]}, "network"),
        ({"trusted": "10.0.0.0/8"}, r"write \['10.0.0.0/8'\]"),
        ({"trusted": ["10.0.0.0/8"], "proxy_protocol": False}, "proxy_protocol=True"),
        ({"header_timeout": 2.9}, "2.9 seconds is too short"),
        ({"header_timeout": float("nan")}, "nan"),
    ],
)
def test_what_cannot_be(stage, options, why):
    with pytest.raises(ValueError, match=why):
        stage.serve(**options)
    assert not stage.map


# Beside other options


def test_waiting_for_headers_counts_towards_max_connections(stage):
    stage.serve(max_connections=2)
    silent = [stage.connect() for _ in range(2)]
    stage.until(lambda: stage.waiting() == 2)
    third = stage.connect(V1 + b"hello\n")
    for _ in range(5):
        stage.run_pass[0](stage.map)
    assert stage.waiting() == 2
    assert stage.made() == []
    silent[0].close()
    assert stage.received(third, 6) == b"hello\n"
    assert stage.waiting() == 1


class Client(threading.Thread):
    """A client that speaks TLS after *header*, and the *greeting* that follows it."""

    def __init__(self, address, header, context, greeting=b""):
        super().__init__(daemon=True)
        self.address, self.header, self.context, self.greeting = address, header, context, greeting
        self.response = None

    def run(self):
        with socket.create_connection(self.address, PATIENCE) as sock:
            sock.sendall(self.header)
            while self.greeting:
                self.greeting = self.greeting.removeprefix(sock.recv(len(self.greeting)))
            with self.context.wrap_socket(sock, server_hostname="localhost") as secure:
                secure.sendall(b"hello\n")
                self.response = secure.recv(100)


@pytest.mark.usefixtures("any_loop")
@pytest.mark.parametrize("cut", [0, 20, len(V1)])
def test_tls_comes_behind_the_header(stage, cut, server_context, client_context):
    server = stage.serve(tls=server_context)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    in_one = stage.connect(V1[:cut])
    if cut:
        stage.until(lambda: stage.waiting() == 1)
    in_one.sendall(V1[cut:] + outgoing.read())
    assert stage.received(in_one, 1) == b"\x16"  # a handshake is what the server responds with
    client = Client(server.addr, V1, client_context)
    client.start()
    stage.until(lambda: not client.is_alive())
    assert client.response == b"hello\n"
    (channel,) = stage.made()
    assert channel.at_first[:2] == (CLIENT, CLIENT)
    assert channel.proxy.peer[0] == "127.0.0.1"
    assert channel.socket.version()


def test_tls_that_fails_is_said_of_the_client(stage, server_context):
    stage.serve(tls=server_context)
    assert "no TLS with 192.0.2.7:51000: " in stage.refused(stage.connect(V1 + b"GET / HTTP/1.1\r\n\r\n"))


def test_the_tls_of_a_client_with_its_proxy(stage):
    stage.serve()
    of_tls = b"\3\0\0\0\0" + b"\x21\0\7TLSv1.3" + b"\x22\0\3Joe"
    header = v2(0x21, 0x11, IPV4 + b"\x20" + struct.pack("!H", len(of_tls)) + of_tls)
    assert stage.received(stage.connect(header + b"x\n"), 2) == b"x\n"
    assert stage.made()[0].proxy.tls == ClientTLS(True, "TLSv1.3", "Joe", None)


@pytest.mark.skipif(not hasattr(os, "sendfile"), reason="there is no sendfile()")
def test_files_are_sent_by_the_system(stage, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(100_000))
    sent, sendfile = [], os.sendfile
    monkeypatch.setattr(os, "sendfile", lambda *args: sent.append(sendfile(*args)) or sent[-1])

    class Files(Lines):
        def found_terminator(self):
            self.push_with_producer(file_producer(path.open("rb")))

    stage.serve(channel_class=Files)
    assert stage.received(stage.connect(V1 + b"\n"), 100_000) == path.read_bytes()
    assert sum(sent) == 100_000


def test_a_handler_of_connections_that_raises_closes_that_one_only(stage, caplog):
    class Failing(Lines):
        def __init__(self, sock, map):
            super().__init__(sock, map)
            if len(self.made) == 1:
                raise ValueError("once")

    server = stage.serve(channel_class=Failing)
    client = stage.connect(V1[:9])
    stage.until(lambda: stage.waiting() == 1)
    client.sendall(V1[9:])
    assert stage.ended(client)
    assert [name_of(CLIENT) in record.getMessage() for record in caplog.records] == [True]
    assert list(stage.map.values()) == [server]
    assert stage.received(stage.connect(V1 + b"x\n"), 2) == b"x\n"


def test_closing_all_closes_those_that_wait(stage):
    stage.serve()
    client = stage.connect(V1[:9])
    stage.until(lambda: stage.waiting() == 1)
    asyncore.close_all(stage.map)
    with contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""


@pytest.mark.usefixtures("any_loop")
def test_a_connection_whose_header_has_begun_is_served_at_the_end_of_the_server(stage):
    server = stage.serve()
    silent, begun = stage.connect(), stage.connect(V1[:9])
    stage.until(lambda: stage.waiting() == 2)
    server.shut_down()
    stage.until(lambda: server not in stage.map.values())
    begun.sendall(V1[9:] + b"hello\n")
    assert stage.received(begun, 6) == b"hello\n"
    assert stage.ended(begun)
    silent.close()
    stage.until(lambda: not stage.map)


def test_the_end_does_not_wait_longer_than_its_time_for_headers(stage, caplog):
    server = stage.serve()
    client = stage.connect(V1[:9])
    stage.until(lambda: stage.waiting() == 1)
    server.shut_down(0.05)
    assert stage.ended(client)
    stage.until(lambda: not stage.map)
    assert [record.getMessage() for record in caplog.records] == [
        "closed 1 connection that was still open 0.05 seconds after the end began"
    ]
