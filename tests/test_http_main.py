"""``python -m asynchat_fast.http``: what it says, whom it serves, and how it ends."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

import asynchat_fast
from asynchat_fast.http.__main__ import main

PATIENCE = 20
COMMAND = [sys.executable, "-m", "asynchat_fast.http"]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1]),
    "PYTHONWARNINGS": "ignore::RuntimeWarning",  # that nothing is compiled here
}
posix = pytest.mark.skipif(os.name != "posix", reason="processes are not sent these signals on Windows")
COMMON = r'127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /file\.txt HTTP/1\.1" 200 7'


@pytest.fixture
def start(tmp_path):
    """A function that starts the server with arguments, and returns its process and address once it serves."""
    (tmp_path / "file.txt").write_bytes(b"content")
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        watchdog = threading.Timer(PATIENCE, process.kill)  # so that nothing below waits for ever
        watchdog.start()
        line = process.stdout.readline()
        watchdog.cancel()
        found = re.fullmatch(r"Serving (.*) at http://(.*):([0-9]+)/ \.\.\.\n", line)
        assert found, line or process.communicate()
        return SimpleNamespace(process=process, directory=found[1], host=found[2], port=int(found[3]))

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def fetch(server, path="/file.txt", host="127.0.0.1", headers=None):
    connection = http.client.HTTPConnection(host, server.port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def end(server, number):
    """Send signal *number*; return the exit status, and what was said on stderr by lines."""
    server.process.send_signal(number)
    return ended(server)


def ended(server):
    _, stderr = server.process.communicate(timeout=PATIENCE)
    return server.process.returncode, stderr.splitlines()


def run(*arguments):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE
    )


def test_the_current_directory_is_served(start, tmp_path):
    server = start(0, "--bind", "127.0.0.1")
    assert fetch(server) == (200, b"content")
    assert (os.path.realpath(server.directory), server.host) == (os.path.realpath(tmp_path), "127.0.0.1")


def test_another_directory_is_served(start, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file.txt").write_bytes(b"other")
    assert fetch(start(0, "-b", "127.0.0.1", "-d", "other")) == (200, b"other")


def test_all_interfaces_are_served_by_default(start):
    server = start(0)
    assert server.host == "localhost"
    assert fetch(server) == (200, b"content")


def test_ipv6(start):
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("there is no IPv6 here")
    server = start(0, "--bind", "::1")
    assert server.host == "[::1]"
    assert fetch(server, host="::1") == (200, b"content")


@pytest.mark.parametrize(
    ("policy", "inner", "outer"), [("within", 200, 404), ("follow", 200, 200), ("refuse", 404, 404)]
)
def test_symbolic_links(start, tmp_path, policy, inner, outer):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "own.txt").write_bytes(b"own")
    try:
        os.symlink("own.txt", tmp_path / "served" / "inner")
        os.symlink(os.path.join("..", "file.txt"), tmp_path / "served" / "outer")
    except OSError as error:
        pytest.skip(f"no symbolic links here: {error}")
    server = start(0, "--bind", "127.0.0.1", "--directory", "served", "--symlinks", policy)
    assert [fetch(server, f"/{name}")[0] for name in ("own.txt", "inner", "outer")] == [200, inner, outer]


@posix
@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ([], [COMMON]),
        (["--log-format", "combined"], [COMMON + ' "-" "a \\\\x22test\\\\x22"']),
        (["--quiet"], []),
    ],
)
def test_the_access_log(start, options, lines):
    server = start(0, "--bind", "127.0.0.1", *options)
    assert fetch(server, headers={"User-Agent": 'a "test"'}) == (200, b"content")
    _, logged = end(server, signal.SIGINT)
    assert len(logged) == len(lines) + 1
    assert all(map(re.fullmatch, lines, logged))


@posix
@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")], ids=["interrupt", "terminate"]
)
def test_a_signal_ends_it_with_a_line(start, number, word):
    server = start(0, "--bind", "127.0.0.1", "--quiet")
    assert end(server, number) == (0, [f"asynchat-fast-http: {word}"])


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["interrupt", "terminate"])
def test_a_signal_ends_idle_connections(start, number):
    server = start(0, "--bind", "127.0.0.1", "--quiet")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        client.sendall(b"GET /file.txt HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(1000).endswith(b"content")
        server.process.send_signal(number)
        assert client.recv(1000) == b""
    status, lines = ended(server)
    assert (status, len(lines)) == (0, 1)


@posix
def test_terminated_it_sends_first_what_was_asked_for(start, tmp_path):
    size = 32 << 20
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(size)
    server = start(0, "--bind", "127.0.0.1", "--quiet")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        client.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
        received = len(client.recv(1000))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.stderr.readline() == "asynchat-fast-http: terminated\n"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        while octets := client.recv(1 << 20):
            received += len(octets)
    assert received > size
    assert ended(server) == (0, [])


@posix
def test_who_says_it_twice_means_it(start, tmp_path):
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(64 << 20)
    server = start(0, "--bind", "127.0.0.1", "--quiet")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        client.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(1)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.stderr.readline() == "asynchat-fast-http: terminated\n"
        assert end(server, signal.SIGTERM) == (-signal.SIGTERM, [])


def test_a_directory_whose_name_is_no_text(start, tmp_path):
    name = os.fsdecode(b"latin-\xe9")
    try:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.txt").write_bytes(b"found")
    except (OSError, ValueError) as error:
        pytest.skip(f"no such names here: {error}")
    server = start(0, "--bind", "127.0.0.1", "--directory", name)
    assert server.directory.endswith("latin-\\udce9")
    assert fetch(server) == (200, b"found")


def test_an_address_in_use_is_said_in_a_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = run(taken.getsockname()[1], "--bind", "127.0.0.1")
    assert process.returncode == 2
    assert re.fullmatch(r"asynchat-fast-http: cannot listen at .*127\.0\.0\.1.*: .*\n", process.stderr)
    assert process.stdout == ""


@pytest.mark.parametrize("name", ["nothing", "file", ""])
def test_a_directory_that_is_none_is_said_in_a_line(tmp_path, name):
    (tmp_path / "file").touch()
    directory = tmp_path / name if name else ""
    process = run(0, "--directory", directory)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr == f"asynchat-fast-http: {os.fspath(directory)!r} is not a directory\n"


@pytest.mark.parametrize("address", ["no such host.invalid", "a" * 100, "1.2.3.4.5", "::1::"])
def test_an_address_that_is_none_is_said_in_a_line(address):
    process = run(0, "--bind", address)
    assert (process.returncode, process.stdout) == (2, "")
    assert re.fullmatch("asynchat-fast-http: [^\n]+\n", process.stderr)


@pytest.mark.parametrize(
    "arguments",
    [["65536"], ["-1"], ["http"], ["+1"], ["1_0"], ["٨"], ["8000", "9000"], ["--symlinks", "maybe"], ["--nothing"]],
)
def test_arguments_that_are_wrong(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: asynchat-fast-http" in capsys.readouterr().err


def test_version_and_help(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert not caught.value.code
    assert capsys.readouterr().out == f"asynchat_fast {asynchat_fast.__version__}\n"
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    for option in (
        "--bind",
        "--directory",
        "--symlinks {within,follow,refuse}",
        "--log-format",
        "--quiet",
        "--version",
    ):
        assert option in told


def test_a_connection_that_fails_is_no_end(start):
    server = start(0, "--bind", "127.0.0.1", "--quiet")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        client.sendall(b"\0\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert fetch(server) == (200, b"content")
