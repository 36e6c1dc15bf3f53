"""chat_server: its addresses, its clients, and the errors that it survives."""

import contextlib
import errno
import gc
import itertools
import os
import select
import socket
import stat
import subprocess
import sys
import textwrap
import time
import weakref
from pathlib import Path

import pytest

import asynchat_fast
from asynchat_fast import SocketMap, async_chat, asyncore, chat_server, inherited_sockets, loop
from asynchat_fast.addresses import name_of
from asynchat_fast.eventloop import exhaustion

PATIENCE = 20  # seconds; a wait takes milliseconds unless something hangs


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this system has no IPv6")
needs_unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets")
needs_reuse_port = pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this system has no SO_REUSEPORT")
posix_only = pytest.mark.skipif(os.name != "posix", reason="only POSIX numbers, limits and inherits descriptors")

LOCAL = ("127.0.0.1", 0)
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1])}  # for the package under test


@pytest.fixture(params=[SocketMap, dict])
def map(request):
    """An asyncore map of each kind."""
    channels = request.param()
    yield channels
    asyncore.close_all(channels, ignore_all=True)


@pytest.fixture
def loop_until(map):
    """A function that runs loop() on *map* until a condition holds."""

    def run(condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "the condition has not become true"
            loop(0.01, map=map, count=1)

    return run


class Echo(async_chat):
    """Sends back each line."""

    def __init__(self, sock, map=None):
        super().__init__(sock, map)
        self.set_terminator(b"\n")

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        self.push(self._get_data() + b"\n")


@pytest.fixture
def made():
    """The channels that ``echo_class`` has made."""
    return []


@pytest.fixture
def echo_class(made):
    class Noted(Echo):
        def __init__(self, sock, map=None):
            super().__init__(sock, map)
            made.append(self)

    return Noted


@pytest.fixture
def serve(map, echo_class):
    """A function that makes a chat_server in *map*."""

    def make(address=LOCAL, channel_class=echo_class, **options):
        return chat_server(address, channel_class, map=map, **options)

    return make


@pytest.fixture
def connect():
    """A function that connects a client, which is closed after the test."""
    with contextlib.ExitStack() as clients:

        def make(address):
            unix = isinstance(address, (str, bytes))
            client = socket.socket(socket.AF_UNIX) if unix else None
            if client is None:
                client = socket.create_connection(address[:2], timeout=PATIENCE)
            else:
                client.settimeout(PATIENCE)
                client.connect(address)
            return clients.enter_context(client)

        yield make


def arrived(client):
    return bool(select.select([client], [], [], 0)[0])


@pytest.fixture
def ask(loop_until):
    """A function that sends a line and returns the reply, ``b""`` when the connection is closed."""

    def converse(client, line=b"hello\n"):
        client.sendall(line)
        return receive(client)

    def receive(client):
        loop_until(lambda: arrived(client))
        try:
            return client.recv(1024)
        except ConnectionResetError:
            return b""

    return converse


# Where it listens


@pytest.mark.parametrize(
    ("host", "family"),
    [
        ("127.0.0.1", socket.AF_INET),
        ("0.0.0.0", socket.AF_INET),
        pytest.param("::1", socket.AF_INET6, marks=needs_ipv6),
        ("localhost", None),
    ],
)
def test_host_and_port(serve, connect, ask, host, family):
    server = serve((host, 0))
    assert server.addr == server.socket.getsockname()
    assert server.addr[1] > 0
    assert family in (None, server.socket.family)
    client = connect(("127.0.0.1" if host == "0.0.0.0" else server.addr[0], server.addr[1]))
    assert ask(client) == b"hello\n"


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_no_host_means_all_addresses(serve, connect, ask, host):
    server = serve(("", 0))
    assert ask(connect((host, server.addr[1]))) == b"hello\n"


def test_the_port_may_be_chosen(serve, connect, ask):
    with socket.create_server(LOCAL) as sock:
        address = sock.getsockname()
    assert serve(address).addr == address
    assert ask(connect(address)) == b"hello\n"


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_a_port_may_be_a_text_as_names_of_services_are(serve, host):
    with socket.create_server(LOCAL) as sock:
        port = sock.getsockname()[1]
    assert serve((host, str(port))).addr[1] == port


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path("./chat.sock")  # relative, as the room for an absolute one is small


@needs_unix
@pytest.mark.parametrize("kind", [str, os.fsencode, Path], ids=["str", "bytes", "Path"])
def test_path_of_a_unix_socket(serve, connect, ask, path, kind):
    server = serve(path if kind is Path else kind(f"./{path}"))
    assert ask(connect(str(path))) == b"hello\n"
    server.close()
    assert not path.exists()


@needs_unix
@pytest.mark.skipif(os.name != "posix", reason="only POSIX has these permissions")
@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_permissions_of_the_file_of_a_unix_socket(serve, connect, ask, path, mode):
    serve(path, mode=mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert ask(connect(str(path))) == b"hello\n"


def test_permissions_without_a_file(serve, map):
    with pytest.raises(ValueError, match="0o660"):
        serve(mode=0o660)
    with socket.create_server(LOCAL) as sock, pytest.raises(ValueError, match="bound already"):
        serve(sock, mode=0o660)
    assert not map


@needs_unix
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has unix sockets without a file")
def test_unix_socket_without_a_file(serve, connect, ask):
    name = f"\0asynchat_fast {os.getpid()}"
    server = serve(name)
    assert ask(connect(name)) == b"hello\n"
    server.close()
    serve(name)


@needs_unix
def test_the_file_that_a_dead_server_left_is_replaced(serve, connect, ask, path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    serve(path)
    assert ask(connect(str(path))) == b"hello\n"


@needs_unix
def test_the_file_of_a_live_server_is_not(serve, connect, ask, path):
    serve(path)
    with pytest.raises(OSError, match=r"cannot listen at chat\.sock: .* in use") as raised:
        serve(path)
    assert raised.value.errno == errno.EADDRINUSE
    assert ask(connect(str(path))) == b"hello\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a busy server from a dead one")
def test_nor_if_that_is_too_busy_to_accept(serve, path):
    with socket.socket(socket.AF_UNIX) as busy, contextlib.ExitStack() as clients:
        busy.bind(str(path))
        busy.listen(0)
        fill(clients, socket.AF_UNIX, str(path), 10)
        with pytest.raises(OSError, match="cannot listen"):
            serve(path)
    assert path.exists()


@needs_unix
def test_nor_is_a_file_that_is_no_socket(serve, path):
    path.write_text("precious")
    with pytest.raises(OSError, match="cannot listen") as raised:
        serve(path)
    assert raised.value.errno == errno.EADDRINUSE
    assert path.read_text() == "precious"


@needs_unix
def test_a_path_that_is_too_long_is_said_to_be(serve):
    with pytest.raises(OSError, match="too long"):
        serve("/" + "x" * 1000)


@needs_unix
def test_a_unix_socket_that_cannot_be_listened_at_leaves_no_file(serve, map, path):
    with pytest.raises(OverflowError):
        serve(path, backlog=1 << 40)
    assert not path.exists()
    assert not map


def test_a_socket_handed_in(serve, connect, ask):
    sock = socket.socket()
    sock.bind(LOCAL)
    sock.listen()
    server = serve(sock)
    assert server.addr == sock.getsockname()
    assert ask(connect(server.addr)) == b"hello\n"
    server.close()
    assert sock.fileno() == -1


@needs_unix
def test_the_file_of_a_unix_socket_handed_in_stays(serve, connect, ask, path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    server = serve(sock)
    assert ask(connect(str(path))) == b"hello\n"
    server.close()
    assert path.exists()


def test_no_sockets_are_inherited_unless_said_so(monkeypatch):
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    monkeypatch.delenv("LISTEN_PID", raising=False)
    assert inherited_sockets() == []
    monkeypatch.setenv("LISTEN_FDS", "3")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    assert inherited_sockets() == []


BECOME_SERVICE = """\
import os, sys
from fcntl import F_DUPFD, fcntl

copies = [fcntl(int(fd), F_DUPFD, 100) for fd in sys.argv[1:3]]  # out of the way of those to come
os.dup2(copies[0], 3)
os.dup2(copies[1], 4)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""

SERVICE = """\
import os
from asynchat_fast import async_chat, chat_server, inherited_sockets, loop


class Echo(async_chat):
    def __init__(self, sock):
        super().__init__(sock)
        self.set_terminator(b"\\n")

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        line = self._get_data()
        if line == b"quit":
            raise SystemExit
        self.push(line + b"\\n")


sockets = inherited_sockets()
assert [sock.fileno() for sock in sockets] == [3, 4]
assert not any(os.get_inheritable(sock.fileno()) for sock in sockets)
for sock in sockets:
    chat_server(sock, Echo)
loop()
"""


@posix_only
def test_inherited_sockets(tmp_path):
    service = tmp_path / "service.py"
    service.write_text(SERVICE)
    with contextlib.ExitStack() as stack:
        listening = [stack.enter_context(socket.create_server(LOCAL)) for _ in range(2)]
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", BECOME_SERVICE, *(str(sock.fileno()) for sock in listening), service],
                pass_fds=[sock.fileno() for sock in listening],
                env=ENVIRONMENT,
            )
        )
        stack.callback(process.kill)
        for sock in listening:
            with socket.create_connection(sock.getsockname(), PATIENCE) as client:
                client.sendall(b"hello\n")
                assert client.recv(1024) == b"hello\n"
        with socket.create_connection(sock.getsockname(), PATIENCE) as client:
            client.sendall(b"quit\n")
            assert process.wait(PATIENCE) == 0


@needs_reuse_port
@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_reuse_port(serve, connect, ask, host):
    first = serve((host, 0), reuse_port=True)
    second = serve((host, first.addr[1]), reuse_port=True)
    assert first.addr == second.addr
    first.close()
    assert ask(connect(("127.0.0.1", second.addr[1]))) == b"hello\n"


@needs_reuse_port
def test_a_port_is_not_shared_unless_both_say_so(serve):
    first = serve(reuse_port=True)
    with pytest.raises(OSError, match="cannot listen"):
        serve(first.addr)


def fill(clients, family, address, most):
    """Connect until the system does not keep any more waiting, and return how many it does."""
    for count in range(most):
        client = clients.enter_context(socket.socket(family))
        client.setblocking(False)
        try:
            client.connect(address)
        except OSError:
            return count
    return most


@needs_unix
def test_backlog(serve, path):
    serve(path, backlog=4)
    with contextlib.ExitStack() as clients:
        assert fill(clients, socket.AF_UNIX, str(path), 100) < 10


@needs_unix
def test_backlog_is_large_by_default(serve, path):
    serve(path)
    with contextlib.ExitStack() as clients:
        assert fill(clients, socket.AF_UNIX, str(path), 100) == 100


# Addresses that cannot be listened at


def open_descriptors():
    gc.collect()  # those that other tests have left behind
    return len(os.listdir("/dev/fd")) if os.name == "posix" else 0


@pytest.mark.parametrize("host", ["127.0.0.1", "", pytest.param("::1", marks=needs_ipv6)])
def test_an_address_that_is_taken(serve, map, host):
    taken = serve((host, 0))
    port = taken.addr[1]
    before = open_descriptors()
    with pytest.raises(OSError, match=str(port)) as raised:
        serve((host, port))
    assert raised.value.errno == errno.EADDRINUSE
    assert "in use" in str(raised.value) or os.name == "nt"
    assert list(map.values()) == [taken]
    assert open_descriptors() == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets two be bound to an address if none listens")
def test_an_address_that_somebody_else_listens_at_since(serve, map):
    with socket.socket() as first:
        second = socket.socket()
        for sock in first, second:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        first.bind(LOCAL)
        second.bind(first.getsockname())
        first.listen()
        with pytest.raises(OSError, match=str(first.getsockname()[1])) as raised:
            serve(second)
    assert raised.value.errno == errno.EADDRINUSE
    assert second.fileno() == -1
    assert not map


def test_an_address_of_another_machine(serve, map):
    with pytest.raises(OSError, match=r"cannot listen at .*203\.0\.113\.1"):
        serve(("203.0.113.1", 0))
    assert not map


def test_an_unknown_host(serve, map, monkeypatch):
    def unknown(*args, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(OSError, match=r"cannot listen at .*nowhere"):
        serve(("nowhere", 0))
    assert not map


def test_a_port_that_there_is_not(serve, map):
    before = open_descriptors()
    with pytest.raises(ValueError, match="not 70000"):
        serve(("127.0.0.1", 70_000))
    assert not map
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("localhost:8000", r"\('localhost', 8000\)"),
        (b"localhost:8000", r"\('localhost', 8000\)"),
        (":8000", r"\('', 8000\)"),
        ("localhost", r"\('localhost', 8000\)"),
        ("", r"\('', 8000\)"),
        ("chat.sock", r"'\./chat\.sock'"),
    ],
)
def test_a_string_is_a_path_only_with_a_slash(serve, map, tmp_path, monkeypatch, address, meant):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=meant):
        serve(address)
    assert not map
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "address", [8007, None, ("localhost",), 1.5, {"port": 8000}, (127, 8000), ("", 80.5), ("", None)]
)
def test_an_address_of_another_kind(serve, map, address):
    with pytest.raises(TypeError, match="address"):
        serve(address)
    assert not map


@pytest.mark.parametrize(
    ("address", "name"),
    [(("203.0.113.1", 8123), r"203\.0\.113\.1:8123:"), (("2001:db8::1", 8123), r"\[2001:db8::1\]:8123:")],
)
def test_an_address_is_named_as_people_write_it(serve, address, name):
    with pytest.raises(OSError, match=f"cannot listen at {name}"):
        serve(address)


def test_host_and_port_as_two_arguments(map):
    with pytest.raises(TypeError, match=r"address .*\('127\.0\.0\.1', 8000\)"):
        chat_server("127.0.0.1", 8000, map=map)


@pytest.mark.parametrize("wrong", [None, "Echo", Echo(None, {})], ids=["None", "name", "channel"])
def test_a_channel_class_that_makes_no_channel(serve, map, wrong):
    with pytest.raises(TypeError, match="channel_class"):
        serve(channel_class=wrong)
    assert not map


# Where it logs


def test_the_log_is_a_logger(serve, caplog, capsys):
    server = serve()
    for kind in "info", "warning", "error", "other":
        server.log_info(f"of {kind}", kind)
    assert [(each.name, each.levelname, each.getMessage()) for each in caplog.records] == [
        ("asynchat_fast", "INFO", "of info"),
        ("asynchat_fast", "WARNING", "of warning"),
        ("asynchat_fast", "ERROR", "of error"),
        ("asynchat_fast", "INFO", "of other"),
    ]
    assert capsys.readouterr() == ("", "")


def test_without_a_logger_the_log_is_asyncore_s(serve, caplog, capsys):
    server = serve()
    server.ac_logger = None
    server.log_info("a mistake", "error")
    assert capsys.readouterr().out == "error: a mistake\n"
    assert not caplog.records


def test_an_error_of_the_acceptor_is_logged_with_its_traceback(connect, map, caplog):
    class Failing(chat_server):
        def handle_accepted(self, sock, addr):
            sock.close()
            raise ZeroDivisionError

    server = Failing(LOCAL, Echo, map=map)
    connect(server.addr)
    loop(PATIENCE, map=map, count=1)
    (logged,) = caplog.records
    assert logged.exc_info[0] is ZeroDivisionError
    assert not map


def unmade_channel(sock, map):
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("refusal", "options"),
    [
        (": ZeroDivisionError: ", {"channel_class": unmade_channel}),
        ("no TLS with ", {"tls": "server_context"}),
        (": no PROXY header ", {"proxy_protocol": True}),
        (", which is no trusted proxy", {"proxy_protocol": True, "trusted": []}),
    ],
    ids=["channel", "tls", "header", "trust"],
)
@pytest.mark.parametrize(
    "where", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6), pytest.param("a path", marks=needs_unix)]
)
def test_a_client_that_is_refused_is_named_as_people_write_it(
    request, serve, connect, loop_until, caplog, path, where, refusal, options
):
    if where == "a path" and "trusted" in options:
        pytest.skip("all clients of a unix socket are trusted")
    options = {name: request.getfixturevalue(value) if name == "tls" else value for name, value in options.items()}
    server = serve(f"./{path}" if where == "a path" else (where, 0), **options)
    client = connect(server.addr)
    client.sendall(b"neither a handshake nor a header\n")
    loop_until(lambda: caplog.records)
    host, port, *_ = ("", "") if where == "a path" else client.getsockname()
    name = {"127.0.0.1": f"{host}:{port}", "::1": f"[{host}]:{port}", "a path": "an unnamed socket"}[where]
    (logged,) = caplog.records
    assert name in logged.getMessage()
    assert refusal in logged.getMessage()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("example.com", "http"), "example.com:http"),
        (("::1", 80, 0, 0), "[::1]:80"),
        (["fe80::1%eth0", 80, 0, 2], "[fe80::1%eth0]:80"),
        (("", 80), "*:80"),
        ("/run/chat.sock", "/run/chat.sock"),
        (b"/run/\xff", os.fsdecode(b"/run/\xff")),
        (b"\0chat", "@chat"),
        ("\0chat", "@chat"),
        ("", "an unnamed socket"),
        (b"", "an unnamed socket"),
        (None, "an unnamed socket"),
    ],
)
def test_the_text_of_an_address(address, name):
    assert name_of(address) == name


# Whom it lets in


@pytest.mark.parametrize("nodelay", [True, False])
def test_nodelay(serve, connect, ask, made, nodelay):
    ask(connect(serve(nodelay=nodelay).addr))
    assert bool(made[0].socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) is nodelay


def test_nodelay_is_the_default(serve, connect, ask, made):
    ask(connect(serve().addr))
    assert made[0].socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_channels_join_the_map_that_is_given(serve, connect, ask, map, made):
    server = serve()
    ask(connect(server.addr))
    assert set(map.values()) == {server, *made}
    assert not set(made) & set(asyncore.socket_map.values())


def test_without_a_map_channels_are_made_of_a_socket_alone(monkeypatch, connect, ask, map, made):
    monkeypatch.setattr(asyncore, "socket_map", map)

    class Plain(Echo):
        def __init__(self, sock):
            super().__init__(sock)
            made.append(self)

    server = chat_server(LOCAL, Plain)
    assert ask(connect(server.addr)) == b"hello\n"
    assert set(map.values()) == {server, *made}


def test_many_at_once(serve, connect, map, loop_until, made):
    server = serve()
    clients = [connect(server.addr) for _ in range(200)]
    for client in clients:
        client.sendall(b"hello\n")
    loop(PATIENCE, map=map, count=1)
    assert 1 < len(made) < len(clients)  # in batches, between which the others have their turn
    loop_until(lambda: all(arrived(client) for client in clients))
    assert {client.recv(1024) for client in clients} == {b"hello\n"}


def test_handle_accepted_may_choose(map, connect, ask, made, echo_class):
    class Choosy(chat_server):
        def handle_accepted(self, sock, addr):
            if made:
                sock.close()
            else:
                super().handle_accepted(sock, addr)

    server = Choosy(LOCAL, echo_class, map=map)
    assert ask(connect(server.addr)) == b"hello\n"
    assert ask(connect(server.addr)) == b""
    assert len(made) == 1


# max_connections


@pytest.mark.parametrize("leave", ["client", "channel"])
def test_a_client_beyond_the_limit_waits(serve, connect, ask, map, loop_until, made, leave):
    server = serve(max_connections=2)
    clients = [connect(server.addr) for _ in range(3)]
    for client in clients:
        client.sendall(b"hello\n")
    loop_until(lambda: len(made) == 2 and arrived(clients[0]) and arrived(clients[1]))
    loop(0.01, map=map, count=5)
    assert len(made) == 2
    assert not arrived(clients[2])
    clients[0].close() if leave == "client" else made[0].close()
    loop_until(lambda: arrived(clients[2]))
    assert clients[2].recv(1024) == b"hello\n"
    assert clients[1].recv(1024) == b"hello\n"
    assert ask(clients[1], b"again\n") == b"again\n"


def test_all_waiting_clients_have_their_turn(serve, connect, ask, made):
    server = serve(max_connections=3)
    clients = [connect(server.addr) for _ in range(10)]
    for client in clients:
        assert ask(client) == b"hello\n"
        client.close()
    assert len(made) == 10


def test_clients_that_have_left_are_closed(serve, connect, ask, made):
    ask(connect(serve(max_connections=10).addr))
    channel = weakref.ref(made[0])
    made.pop().close()
    gc.collect()
    assert channel() is None


@pytest.mark.parametrize("number", [0, -1])
def test_somebody_must_be_able_to_connect(serve, map, number):
    with pytest.raises(ValueError, match=f"{number}"):
        serve(max_connections=number)
    assert not map


@pytest.mark.parametrize("name", ["max_connections", "backlog", "header_timeout"])
@pytest.mark.parametrize("wrong", ["5", [], -1])
def test_an_argument_that_cannot_work_is_named(serve, map, name, wrong):
    before = open_descriptors()
    with pytest.raises(TypeError if wrong != -1 else ValueError, match=name):
        serve(proxy_protocol=True, **{name: wrong})
    assert not map
    assert open_descriptors() == before


@pytest.mark.parametrize("wrong", [5, "map", []])
def test_a_map_that_is_none(wrong):
    before = open_descriptors()
    with pytest.raises(TypeError, match="map"):
        chat_server(LOCAL, Echo, map=wrong)
    assert open_descriptors() == before


def test_a_connection_whose_channel_could_not_be_made_does_not_count(serve, connect, ask, echo_class):
    failures = [ZeroDivisionError("of the channel")]

    def make(sock, map):
        if failures:
            raise failures.pop()
        return echo_class(sock, map)

    server = serve(channel_class=make, max_connections=1)
    assert ask(connect(server.addr)) == b""
    assert ask(connect(server.addr)) == b"hello\n"


# Errors that it survives


class Unmade(Echo):
    """Its ``__init__()`` raises halfway."""

    idle_timeout = 3600

    def __init__(self, sock, map=None):
        super().__init__(sock, map)
        raise ZeroDivisionError("of the channel")


def unmade(sock, map):
    raise ZeroDivisionError("of the channel")


@pytest.mark.parametrize("run", [loop, asyncore.loop], ids=["loop", "asyncore.loop"])
@pytest.mark.parametrize("unmade", [unmade, Unmade], ids=["before", "halfway"])
def test_a_channel_that_cannot_be_made(serve, connect, map, caplog, echo_class, run, unmade):
    server = serve(channel_class=unmade)
    client = connect(server.addr)
    run(PATIENCE, map=map, count=1)
    assert client.recv(1024) == b""
    assert list(map.values()) == [server]
    (logged,) = caplog.records
    assert (logged.name, logged.levelname) == ("asynchat_fast", "ERROR")
    assert "ZeroDivisionError: of the channel" in logged.getMessage()
    assert str(client.getsockname()[1]) in logged.getMessage()
    assert logged.exc_info[0] is ZeroDivisionError
    server.channel_class = echo_class
    client = connect(server.addr)
    client.sendall(b"hello\n")
    run(0.01, map=map, count=5)
    assert client.recv(1024) == b"hello\n"


def test_a_connection_that_ended_while_it_waited(serve, connect, ask):
    class Aborting(socket.socket):
        aborted = 3

        def accept(self):
            if self.aborted:
                self.aborted -= 1
                raise ConnectionAbortedError(errno.ECONNABORTED, "Software caused connection abort")
            return super().accept()

    sock = Aborting()
    sock.bind(LOCAL)
    assert ask(connect(serve(sock).addr)) == b"hello\n"


def test_close_while_a_batch_is_accepted(map, connect, loop_until, echo_class, made):
    class Single(echo_class):
        def __init__(self, sock, map=None):
            super().__init__(sock, map)
            server.close()

    server = chat_server(LOCAL, Single, map=map)
    clients = [connect(server.addr) for _ in range(3)]
    clients[0].sendall(b"hello\n")
    loop_until(lambda: arrived(clients[0]))
    assert clients[0].recv(1024) == b"hello\n"
    assert len(made) == 1
    assert set(map.values()) == set(made)


def test_close_by_one_of_its_channels(serve, connect, ask, map, made, echo_class):
    class Shutdown(echo_class):
        def found_terminator(self):
            if self._get_data() == b"shut down":
                server.close()
            self.push(b"done\n")

    server = serve(channel_class=Shutdown)
    client = connect(server.addr)
    assert ask(client, b"shut down\n") == b"done\n"
    assert set(map.values()) == set(made)
    with pytest.raises(OSError, match=r"refused|timed out"):
        socket.create_connection(server.addr, 5)
    assert ask(client) == b"done\n"  # connections stay
    client.close()
    loop(PATIENCE, map=map)
    assert not map


def test_close_may_be_repeated(serve, map):
    server = serve()
    server.close()
    server.close()
    assert not map


EXHAUSTED = """\
import resource
import sys
import time
from asynchat_fast import async_chat, asyncore, chat_server, loop, server
from asynchat_fast.addresses import name_of
from asynchat_fast.eventloop import exhaustion

exhaustion.PAUSE = server.PAUSE = 0.1  # so as not to take long


class Server(chat_server):
    def handle_accept(self):
        super().handle_accept()
        print("tried", flush=True)


class Echo(async_chat):
    def __init__(self, sock):
        super().__init__(sock)
        self.set_terminator(b"\\n")

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        line = self._get_data()
        if line == b"quit":
            print("seconds:", time.process_time() - began)
            raise SystemExit
        self.push(line + b"\\n")


server = Server(("127.0.0.1", 0), Echo)
resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
print(server.addr[1], flush=True)
began = time.process_time()
"""


@posix_only
@pytest.mark.parametrize(
    "run", ["loop()", "asyncore.loop(0.1, use_poll=True)", "asyncore.loop(0.1)"], ids=["loop", "poll", "select"]
)
def test_descriptors_run_out(run, connect):
    """Clients without a descriptor wait; the server logs it once, and does not spin meanwhile."""
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", EXHAUSTED + run],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=ENVIRONMENT,
            )
        )
        stack.callback(process.kill)
        address = ("127.0.0.1", int(process.stdout.readline()))
        clients = [connect(address) for _ in range(35)]
        for client in clients:
            client.sendall(b"hello\n")
        said = read_until(process.stdout, "leaves connections waiting")
        for _ in range(3):  # more attempts, at intervals
            said += read_until(process.stdout, "tried")
        served = [client for client in clients if arrived(client)]
        assert 5 < len(served) < len(clients)
        waiting = [client for client in clients if client not in served]
        for client in served:
            assert client.recv(1024) == b"hello\n"
        for client in served[1:]:
            client.close()
        for client in waiting:
            assert client.recv(1024) == b"hello\n"
        served[0].sendall(b"quit\n")
        said += process.stdout.read()
        assert process.wait(PATIENCE) == 0
    assert said.count("waiting") == 1, said
    assert float(said.rpartition("seconds:")[2]) < 1


@pytest.mark.parametrize("run", [loop, asyncore.loop], ids=["loop", "asyncore.loop"])
def test_a_lack_of_descriptors_that_comes_and_goes_is_logged_at_intervals(map, connect, caplog, monkeypatch, run):
    class Alternating(socket.socket):
        """Its ``accept()`` fails every other time."""

        fails = False

        def accept(self):
            self.fails = not self.fails
            if self.fails:
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    for module in exhaustion, sys.modules["asynchat_fast.server"]:
        monkeypatch.setattr(module, "PAUSE", 0.1)
    sock = Alternating()
    sock.bind(LOCAL)
    server = chat_server(sock, Echo, map=map)
    clients = [connect(server.addr) for _ in range(4)]
    began = time.monotonic()
    while len(map) < 1 + len(clients):
        run(0.01, map=map, count=1)
        assert time.monotonic() - began < PATIENCE
    lines = [record for record in caplog.records if "leaves connections waiting" in record.getMessage()]
    assert 1 < len(lines) <= (time.monotonic() - began) / 0.1 + 1
    times = [record.created for record in lines]
    assert all(later - before > 0.09 for before, later in itertools.pairwise(times))


def read_until(stream, words):
    said = ""
    for line in stream:
        said += line
        if words in line:
            return said
    pytest.fail(f"{words!r} has not been said:\n{textwrap.indent(said, '    ')}")
