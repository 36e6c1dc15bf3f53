"""pyftpdlib, unmodified, served by ``python -m asynchat_fast -m pyftpdlib``."""

import ftplib
import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import asynchat_fast

pytest.importorskip("pyftpdlib", reason="pyftpdlib is not installed")

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1])}
SIZES = [0, 1, 65_536, 100_001, 5_000_000]
PLAIN = {"ASYNCHAT_FAST_NO_EXTENSIONS": "1"}
SERVE = [sys.executable, "-m", "asynchat_fast", "-m", "pyftpdlib"]


@contextmanager
def serving(directory, *options, **environment):
    """Serve *directory*; yield the server's process and port."""
    process = subprocess.Popen(
        [*SERVE, "-i", "127.0.0.1", "-p", "0", "-w", "-d", directory, *options],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | environment,
        # A process that ignores Ctrl-C, as the one that runs the tests may, has children that ignore it.
        preexec_fn=None if os.name == "nt" else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        said = ""
        for line in process.stderr:
            said += line
            announced = re.search(r"starting FTP server on 127\.0\.0\.1:(\d+)", line)
            if announced:
                yield process, int(announced[1])
                return
        pytest.fail(f"the server has not started:\n{said}")
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(
    scope="module",
    params=[([], {}), ([], PLAIN), (["--disable-sendfile"], {})],
    ids=["default", "plain", "by producers"],
)
def served(request, tmp_path_factory):
    """A served directory and the port; files that sendfile() does not send go through the channel, from a producer."""
    options, environment = request.param
    shown = run(*SERVE, "--help").decode()
    if any(option not in shown for option in options):
        pytest.skip(f"this pyftpdlib has no {' '.join(options)}")
    directory = tmp_path_factory.mktemp("served")
    with serving(directory, *options, **environment) as (_, port):
        yield directory, port


@pytest.fixture
def client(served):
    _, port = served
    with ftplib.FTP(timeout=30) as client:
        client.connect("127.0.0.1", port)
        client.login()
        yield client


def checksum(data):
    return hashlib.sha256(data).hexdigest()


def download(client, name, **options):
    data = io.BytesIO()
    client.retrbinary(f"RETR {name}", data.write, **options)
    return data.getvalue()


def run(*command):
    return subprocess.run([*map(str, command)], check=True, capture_output=True, env=ENVIRONMENT, timeout=60).stdout


@pytest.mark.parametrize("environment", [{}, PLAIN], ids=["default", "plain"])
def test_it_is_asynchat_fast_that_serves(tmp_path, environment):
    program = tmp_path / "inspect_pyftpdlib.py"
    program.write_text(
        "import asynchat, asynchat_fast, sys\n"
        "from pyftpdlib.handlers import DTPHandler, FTPHandler\n"
        "assert asynchat is asynchat_fast\n"
        "assert asynchat.asyncore is sys.modules['asyncore']\n"
        "for handler in FTPHandler, DTPHandler:\n"
        "    print([cls.__module__ for cls in handler.__mro__ if cls.__name__ == 'async_chat'])\n"
    )
    printed = subprocess.run(
        [sys.executable, "-m", "asynchat_fast", program],
        check=True,
        capture_output=True,
        text=True,
        env=ENVIRONMENT | environment,
        timeout=60,
    ).stdout
    assert printed == "['asynchat_fast.channel']\n" * 2


@pytest.mark.parametrize("size", SIZES)
def test_ftplib(served, client, size):
    directory, _ = served
    data = os.urandom(size)
    client.storbinary(f"STOR ftplib-{size}", io.BytesIO(data))
    assert checksum((directory / f"ftplib-{size}").read_bytes()) == checksum(data)
    assert client.size(f"ftplib-{size}") == size
    assert checksum(download(client, f"ftplib-{size}")) == checksum(data)


def test_ftplib_in_parts(served, client):
    data = os.urandom(300_000)
    client.storbinary("STOR parts", io.BytesIO(data[:100_000]))
    client.storbinary("APPE parts", io.BytesIO(data[100_000:]))
    assert checksum(download(client, "parts")) == checksum(data)
    assert checksum(download(client, "parts", rest=123_456)) == checksum(data[123_456:])


def test_ftplib_text(served, client):
    lines = [f"line {number}" for number in range(10_000)]
    client.storlines("STOR text", io.BytesIO("".join(f"{line}\n" for line in lines).encode()))
    received = []
    client.retrlines("RETR text", received.append)
    assert received == lines


def test_ftplib_directories(served, client):
    client.mkd("below")
    client.cwd("below")
    client.storbinary("STOR one", io.BytesIO(b"1"))
    client.rename("one", "two")
    assert client.nlst() == ["two"]
    client.delete("two")
    client.cwd("/")
    client.rmd("below")
    assert "below" not in client.nlst()


def test_several_clients_at_once(served):
    directory, port = served
    shared = os.urandom(1_000_000)
    (directory / "shared").write_bytes(shared)
    clients = []
    try:
        for _ in range(5):
            client = ftplib.FTP(timeout=30)
            clients.append(client)
            client.connect("127.0.0.1", port)
            client.login()
            client.voidcmd("TYPE I")
        data = [client.transfercmd("RETR shared") for client in clients]
        received = [b"".join(iter(lambda sock=sock: sock.recv(65_536), b"")) for sock in data]
        for sock, client in zip(data, clients, strict=True):
            sock.close()
            client.voidresp()
    finally:
        for client in clients:
            client.close()
    assert {checksum(each) for each in received} == {checksum(shared)}


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("size", SIZES)
def test_curl(served, tmp_path, size):
    directory, port = served
    url = f"ftp://127.0.0.1:{port}/curl-{size}"
    here, back = tmp_path / "here", tmp_path / "back"
    here.write_bytes(os.urandom(size))
    run("curl", "--silent", "--show-error", "--upload-file", here, url)
    run("curl", "--silent", "--show-error", "--output", back, url)
    assert checksum((directory / f"curl-{size}").read_bytes()) == checksum(here.read_bytes())
    # Some versions of curl make no file of an empty one.
    assert checksum(back.read_bytes() if size else b"") == checksum(here.read_bytes())


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send SIGINT to a single process")
def test_interrupt_shuts_down(tmp_path):
    with serving(tmp_path) as (process, port), ftplib.FTP(timeout=30) as client:
        client.connect("127.0.0.1", port)
        client.login()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert "shutting down FTP server" in said
    assert "Traceback" not in said
