"""Real proxies before our servers, with the configurations of docs/proxy.md as they stand but for ports and paths."""

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

import asynchat_fast
from asynchat_fast import async_chat, chat_server
from asynchat_fast.http import http_request_handler, http_server

PAGE = Path(__file__).parents[1] / "docs" / "proxy.md"
if not PAGE.exists():
    pytest.skip("these tests are not in a source tree, so there is no documentation", allow_module_level=True)
if sys.platform != "linux":
    pytest.skip("the sockets that proxies inherit are tried on Linux", allow_module_level=True)

CONFIGURATIONS = dict(re.findall(r"^<!-- file: (\S+) -->\n```text\n(.*?)^```$", PAGE.read_text(), re.M | re.S))
PATIENCE = 20


def describe(channel):
    """Return what *channel* has learnt of its client, as JSON."""
    header, tls = channel.proxy, channel.proxy and channel.proxy.tls
    return json.dumps(
        {
            "addr": channel.addr,
            "peername": channel.socket.getpeername(),
            "version": header and header.version,
            "local": header and header.local,
            "destination": header and header.destination,
            "peer": header and header.peer,
            "tls": tls and [tls.verified, tls.version, tls.cn],
        }
    ).encode()


class Lines(async_chat):
    """Says what it knows of its client to each line; remembers who has connected."""

    seen = ()

    def __init__(self, sock, map):
        super().__init__(sock, map)
        self.set_terminator(b"\n")
        self.seen.append(self.proxy)

    def collect_incoming_data(self, data):
        pass

    def found_terminator(self):
        self.push(describe(self) + b"\n")


class Who(http_request_handler):
    def do_GET(self):
        self.respond(200, f"{self.scheme} {self.addr[0]} {self.address_string()}")


@pytest.fixture
def serve(caplog):
    """A function that has a server run in a thread, and returns it; ``log`` has what is logged."""
    map, is_over = asynchat_fast.SocketMap(), threading.Event()

    def run():
        while not is_over.is_set():
            asynchat_fast.loop(0.02, map=map, count=1)

    thread = threading.Thread(target=run, daemon=True)

    def serve(channel_class=Lines, address=("127.0.0.1", 0), **options):
        Lines.seen = []
        make = http_server if issubclass(channel_class, http_request_handler) else chat_server
        options = {"log": lambda line: None} | options if make is http_server else options
        server = make(address, channel_class, map=map, **options)
        thread.start()
        return server

    serve.log = caplog
    yield serve
    is_over.set()
    if thread.ident is not None:
        thread.join(PATIENCE)
    asynchat_fast.asyncore.close_all(map, ignore_all=True)


@pytest.fixture
def proxy(tmp_path):
    """A function that has a program stand before a server, and returns the address where clients find it.

    The socket there listens already, and is inherited: nobody need wait for the program, and no port is lost to others.
    """
    running = contextlib.ExitStack()

    def start(program, configuration, server, family=socket.AF_INET):
        path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
        if path is None:
            pytest.skip(f"{program} is not installed")
        front = running.enter_context(socket.socket(family))
        front.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "front.sock"))
        front.listen(16)
        front.set_inheritable(True)
        back = f"127.0.0.1:{server.addr[1]}" if isinstance(server.addr, tuple) else f"unix:{server.addr}"
        if program == "haproxy":
            back = back.replace("unix:", "unix@")
            configuration = re.sub(r"bind :\d+", f"bind fd@{front.fileno()}", configuration)
            command = [path, "-db", "-f", "proxy.conf"]
        else:
            configuration = re.sub(r"listen \d+", f"listen 127.0.0.1:{front.getsockname()[1]}", configuration)
            command = [path, "-p", str(tmp_path), "-c", str(tmp_path / "proxy.conf"), "-e", "stderr"]
        configuration = re.sub(r"127\.0\.0\.1:80\d\d", back, configuration)
        (tmp_path / "proxy.conf").write_text(configuration)
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=os.environ | {"NGINX": f"{front.fileno()};"},
            pass_fds=[front.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        running.callback(lambda: print(process.communicate(timeout=PATIENCE)[0].decode()))
        running.callback(process.terminate)
        return front.getsockname()

    with running:
        yield start


def nginx(kind, configuration):
    """Return a whole configuration of nginx around the block in the documentation."""
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    head = "daemon off;\nworker_processes 1;\npid nginx.pid;\nevents {}\n"
    if kind == "stream":
        if module.exists():
            head = f"load_module {module};\n{head}"
        return head + configuration
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{name}_temp_path {name};" for name in names)
    return f"{head}http {{\naccess_log off;\n{paths}\n{configuration}\n}}\n"


def ask(sock):
    """Send a line by *sock*; return the response."""
    sock.settimeout(PATIENCE)
    sock.sendall(b"hello\n")
    with sock.makefile("rb") as file:
        return json.loads(file.readline())


def is_of(response, sock, version):
    """Tell whether *response* is to the client at *sock*, by a header of *version*."""
    address = list(sock.getsockname())
    return (
        response["addr"] == response["peername"] == address
        and response["version"] == version
        and response["peer"] != address
        and response["destination"] == list(sock.getpeername())
    )


HAPROXY = CONFIGURATIONS["haproxy.cfg"]


@pytest.mark.parametrize(
    ("options", "version"),
    [
        ("send-proxy-v2", 2),
        ("send-proxy", 1),
        ("send-proxy-v2 proxy-v2-options crc32c,unique-id", 2),
        ("send-proxy-v2-ssl-cn", 2),
    ],
)
def test_haproxy(serve, proxy, options, version):
    server = serve(proxy_protocol=True)
    address = proxy("haproxy", HAPROXY.replace("send-proxy-v2", options), server)
    for _ in range(3):
        with socket.create_connection(address, PATIENCE) as sock:
            assert is_of(ask(sock), sock, version)


@pytest.mark.parametrize(
    ("options", "has_header"),
    [
        ("send-proxy-v2 check", True),
        ("send-proxy check", True),
        ("send-proxy-v2 check port {port}", False),
        ("send-proxy-v2 check port {port} check-send-proxy", True),
        ("check check-send-proxy", True),
    ],
)
def test_checks_of_haproxy(serve, proxy, options, has_header):
    server = serve(proxy_protocol=True, channel_class=Checked)
    options = options.format(port=server.addr[1]) + " inter 20"
    Checked.came.clear()
    proxy("haproxy", HAPROXY.replace("send-proxy-v2 check", options), server)
    if has_header:
        assert Checked.came.wait(PATIENCE)
        header = Checked.header
        assert header.local or header.source is not None
    else:
        with socket.create_connection(server.addr, PATIENCE) as sock:  # while checks come and go
            sock.sendall(b"PROXY UNKNOWN\r\n")
            assert Checked.came.wait(PATIENCE)
    assert serve.log.records == []


class Checked(Lines):
    came = threading.Event()
    header = None

    def __init__(self, sock, map):
        super().__init__(sock, map)
        Checked.header = self.proxy
        self.came.set()


@pytest.fixture
def short_path():
    """A directory whose path leaves room for names: HAProxy takes less than 98 characters, tmp_path may have more."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def test_haproxy_by_unix_sockets(serve, proxy, short_path):
    """A client at a unix socket has no address: HAProxy says LOCAL, and means the client all the same."""
    server = serve(proxy_protocol=True, address=str(short_path / "back.sock"))
    address = proxy("haproxy", HAPROXY, server, socket.AF_UNIX)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(address)
        response = ask(sock)
        assert (response["addr"], response["local"]) == ("", True)


@pytest.fixture
def client_certificate(certificates, tmp_path):
    """The certificate of a client, and a file with that of the proxy and its key."""
    both = Path(certificates.server).read_text() + Path(certificates.key).read_text()
    (tmp_path / "site.pem").write_text(both)
    return certificates


@pytest.mark.parametrize("shown", [True, False])
def test_haproxy_with_certificates_of_clients(serve, proxy, client_certificate, shown, tmp_path):
    server = serve(proxy_protocol=True)
    configuration = CONFIGURATIONS["haproxy-tls.cfg"].replace("/etc/haproxy/site.pem", str(tmp_path / "site.pem"))
    configuration = configuration.replace("/etc/haproxy/clients.pem", client_certificate.ca)
    address = proxy("haproxy", configuration, server)
    context = ssl.create_default_context(cafile=client_certificate.ca)
    if shown:
        context.load_cert_chain(client_certificate.server, client_certificate.key)
    with (
        socket.create_connection(address, PATIENCE) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as secure,
    ):
        response = ask(secure)
        assert is_of(response, secure, 2)
        assert response["tls"] == [shown, secure.version(), "localhost" if shown else None]


def test_tls_through_haproxy(serve, proxy, certificates, server_context):
    """The handshake is with us, behind the header."""
    server = serve(proxy_protocol=True, tls=server_context)
    address = proxy("haproxy", HAPROXY, server)
    context = ssl.create_default_context(cafile=certificates.ca)
    with (
        socket.create_connection(address, PATIENCE) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as secure,
    ):
        assert is_of(ask(secure), secure, 2)


def test_nginx(serve, proxy):
    server = serve(proxy_protocol=True)
    address = proxy("nginx", nginx("stream", CONFIGURATIONS["nginx-stream.conf"]), server)
    for _ in range(3):
        with socket.create_connection(address, PATIENCE) as sock:
            assert is_of(ask(sock), sock, 1)


def curl(*arguments):
    path = shutil.which("curl")
    if path is None:
        pytest.skip("curl is not installed")
    process = subprocess.run(
        [path, "-sS", "--noproxy", "*", "--max-time", str(PATIENCE), *arguments], capture_output=True, text=True
    )
    if "is unknown" in process.stderr:
        pytest.skip("this curl has no --haproxy-protocol")
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("over_tls", [False, True])
def test_curl(serve, over_tls, certificates, server_context):
    lines = []
    options = {"tls": server_context} if over_tls else {}
    server = serve(Who, proxy_protocol=True, log=lines.append, **options)
    scheme = "https" if over_tls else "http"
    url = f"{scheme}://localhost:{server.addr[1]}/"
    assert (
        curl("-4", "--cacert", certificates.ca, "--haproxy-protocol", url, url) == f"{scheme} 127.0.0.1 127.0.0.1" * 2
    )
    assert [line.split()[0] for line in lines] == ["127.0.0.1"] * 2


@pytest.mark.parametrize("program", ["haproxy", "nginx"])
def test_requests_that_are_passed_on(serve, proxy, program):
    server = serve(Who, forwarded=["127.0.0.0/8"])
    if program == "haproxy":
        configuration = CONFIGURATIONS["haproxy-http.cfg"]
    else:
        configuration = nginx("http", CONFIGURATIONS["nginx-http.conf"])
    _, port = proxy(program, configuration, server)
    forged = ["-H", "X-Forwarded-For: 192.0.2.1", "-H", "X-Forwarded-Proto: https", "-H", "X_Forwarded_For: 192.0.2.2"]
    url = f"http://127.0.0.1:{port}/"
    # The client is at 127.0.0.1 itself, which is believed to be a proxy: what it says counts.
    assert curl(*forged, url, url) == "http 192.0.2.1 192.0.2.1" * 2
    assert curl(url) == "http 127.0.0.1 127.0.0.1"
