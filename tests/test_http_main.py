"""``python -m asynchat_fast.http``: its output, its clients, and its end."""

import base64
import contextlib
import errno
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

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
        watchdog = threading.Timer(PATIENCE, process.kill)  # so that nothing below waits without end
        watchdog.start()
        line = process.stdout.readline()
        watchdog.cancel()
        found = re.fullmatch(r"Serving (.*) at http://(.*):([0-9]+)/ \.\.\.\n", line)
        if found is None:
            found = re.fullmatch(r"Serving (.*) at the unix socket (.*)() \.\.\.\n", line)
        assert found, line or process.communicate()
        return SimpleNamespace(process=process, directory=found[1], host=found[2], port=int(found[3] or 0))

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def fetch(server, path="/file.txt", host="127.0.0.1", headers=None):
    response, body = ask(server, path, host, headers)
    return response.status, body


def ask(server, path="/file.txt", host="127.0.0.1", headers=None):
    connection = http.client.HTTPConnection(host, server.port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def end(server, number):
    """Send signal *number*; return the exit status, and the lines of stderr."""
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
    assert fetch(server, host="localhost") == (200, b"content")


@posix
def test_all_addresses_of_this_machine_are_said(start):
    server = start(0, "--quiet")
    server.process.send_signal(signal.SIGINT)
    printed, _ = server.process.communicate(timeout=PATIENCE)
    for line in printed.splitlines():
        found = re.fullmatch(r" +and at http://(.*):([0-9]+)/", line)
        assert found, line
        assert int(found[2]) == server.port
        family = socket.AF_INET6 if found[1].startswith("[") else socket.AF_INET
        with socket.socket(family) as own:
            own.bind((found[1].strip("[]"), 0))


@pytest.mark.parametrize(
    "arguments",
    [["127.0.0.1:0"], [":0", "-b", "127.0.0.1"], ["-p", "0", "-b", "127.0.0.1"], ["127.0.0.1:99", "--port", "0"]],
)
def test_ways_to_say_the_address(start, arguments):
    server = start(*arguments)
    assert server.host == "127.0.0.1"
    assert server.port not in (0, 99)
    assert fetch(server) == (200, b"content")


@posix
@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets")
def test_a_unix_socket(start, tmp_path, monkeypatch):
    server = start("./http.sock")
    assert server.host == "http.sock"
    monkeypatch.chdir(tmp_path)  # the whole path may be too long for a socket
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect("http.sock")
        client.sendall(b"GET /file.txt HTTP/1.0\r\n\r\n")
        received = b""
        while data := client.recv(1000):
            received += data
    assert received.endswith(b"\r\n\r\ncontent")
    status, logged = end(server, signal.SIGINT)
    assert (status, len(logged)) == (0, 2)
    assert logged[0].startswith("- - - [")
    assert not (tmp_path / "http.sock").exists()


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


def connect_again_and_again(port):
    while True:
        with contextlib.suppress(ConnectionResetError):  # while the socket closes
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
        time.sleep(0.01)  # a server goes on for a second that has others to accept all the time


@posix
def test_terminated_it_completes_its_responses_first(start, tmp_path):
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
            connect_again_and_again(server.port)  # until it has accepted what waits, and listens no more
        while data := client.recv(1 << 20):
            received += len(data)
    assert received > size
    assert ended(server) == (0, [])


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["interrupt", "terminate"])
def test_a_second_signal_ends_it_at_once_and_leaves_no_file(start, tmp_path, number):
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(64 << 20)
    server = start(0, "--bind", "127.0.0.1", "--quiet", "--pid-file", "pid")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        client.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(1)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.stderr.readline() == "asynchat-fast-http: terminated\n"
        assert (tmp_path / "pid").exists()
        assert end(server, number) == (1, [])
    assert not (tmp_path / "pid").exists()


@posix
def test_connections_that_are_left_at_the_end_are_said_in_a_line(start, tmp_path):
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(64 << 20)
    server = start(0, "--bind", "127.0.0.1", "--quiet", "--grace", "0")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        client.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(1)
        status, logged = end(server, signal.SIGTERM)
    assert status == 0
    assert sorted(logged) == [
        "asynchat-fast-http: terminated",
        "closed 1 connection that was still open when the end began",
    ]


@posix
def test_a_file_that_changes_while_it_is_sent_is_said_in_a_line(start, tmp_path):
    path = tmp_path / "huge"
    with open(path, "wb") as file:
        file.truncate(64 << 20)
    server = start(0, "--bind", "127.0.0.1", "--quiet")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        client.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(1)
        os.truncate(path, 1)
        while client.recv(1 << 20):
            pass
        _, logged = end(server, signal.SIGTERM)
    name = r"asynchat_fast\.http\.files\.file_handler"
    assert re.fullmatch(rf"closing <{name} connected 127.0.0.1:\d+ at 0x\w+>: '.*huge' was changed .*", logged[0])


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


def failed(arguments, capsys):
    """Return stderr of the command, for *arguments* with which it cannot start."""
    with pytest.raises(SystemExit) as caught:
        main([os.fspath(argument) for argument in arguments])
    said = capsys.readouterr()
    assert (caught.value.code, said.out) == (2, "")
    return said.err


@pytest.mark.parametrize("name", ["nothing", "file", ""])
def test_a_directory_that_is_none_is_said_in_a_line(tmp_path, name, capsys):
    (tmp_path / "file").touch()
    directory = tmp_path / name if name else ""
    said = failed(["0", "--directory", directory], capsys)
    assert said == f"asynchat-fast-http: {os.fspath(directory)!r} is not a directory\n"


@pytest.mark.parametrize("address", ["no such host.invalid", "a" * 100, "1.2.3.4.5", "::1::"])
def test_an_address_that_is_none_is_said_in_a_line(address, capsys):
    assert re.fullmatch("asynchat-fast-http: [^\n]+\n", failed(["0", "--bind", address], capsys))


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ["65536"],
            ["-1"],
            ["http"],
            ["+1"],
            ["1_0"],
            ["٨"],
            ["8000", "9000"],
            ["--symlinks", "maybe"],
            ["--nothing"],
        ),
        *(["--workers", "0"], ["--workers", "two"], ["--workers", "1.5"], ["--grace", "-1"], ["--grace", "long"]),
    ],
)
def test_arguments_that_are_wrong(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert re.fullmatch("asynchat-fast-http: error: [^\n]+\n", capsys.readouterr().err)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_output_that_nobody_reads_is_no_error(option):
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "wb") as output:
        process = subprocess.run(
            [*COMMAND, option], env=ENVIRONMENT, stdout=output, stderr=subprocess.PIPE, timeout=PATIENCE
        )
    assert process.stderr == b""


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
        "--header NAME:VALUE",
        "--auth USER:FILE",
        "--spa",
        "--no-listing",
        "--error-page FILE",
        "--hidden",
        "examples:",
        "--quiet",
        "--version",
        "--workers N",
        "--pid-file FILE",
        "--grace S",
    ):
        assert option in told


def test_fields_of_ones_own(start):
    fields = ("Cache-Control: no-store", "X-A:b:c", "X-B:")
    server = start("127.0.0.1:0", *(argument for field in fields for argument in ("--header", field)))
    response, _ = ask(server)
    assert [response.getheader(name) for name in ("Cache-Control", "X-A", "X-B")] == ["no-store", "b:c", ""]
    response, _ = ask(server, "/nothing")
    assert (response.status, response.getheader("Cache-Control")) == (404, "no-store")


def test_options_of_the_site(start, tmp_path):
    (tmp_path / ".hidden").write_bytes(b"hidden")
    (tmp_path / "404.html").write_bytes(b"own page")
    server = start(0, "-b", "127.0.0.1")
    assert (fetch(server, "/")[0], fetch(server, "/.hidden")[0]) == (200, 404)
    server = start(0, "-b", "127.0.0.1", "--no-listing", "--hidden", "--error-page", "404.html")
    assert (fetch(server, "/")[0], fetch(server, "/.hidden")) == (403, (200, b"hidden"))
    assert fetch(server, "/nothing") == (404, b"own page")


def test_the_error_page_may_be_in_the_directory(start, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "404.html").write_bytes(b"own page")
    server = start(0, "-b", "127.0.0.1", "-d", "site", "--error-page", "404.html")
    assert fetch(server, "/nothing") == (404, b"own page")


def test_a_single_page(start, tmp_path):
    (tmp_path / "index.html").write_bytes(b"app")
    server = start(0, "-b", "127.0.0.1", "--spa")
    assert fetch(server, "/route", headers={"Accept": "text/html"}) == (200, b"app")
    assert fetch(server, "/route.js", headers={"Accept": "text/html"})[0] == 404


@posix
def test_a_password(start, tmp_path):
    (tmp_path / "password").write_bytes(b"\xef\xbb\xbfsesame\r\nmore\n")  # as Windows' editors write it
    server = start(0, "-b", "127.0.0.1", "--auth", "ali:password", "--log-format", "json")
    right = {"Authorization": "Basic " + base64.b64encode(b"ali:sesame").decode()}
    wrong = {"Authorization": "Basic " + base64.b64encode(b"ali:barley").decode()}
    assert [fetch(server, headers=headers)[0] for headers in (None, wrong, right)] == [401, 401, 200]
    status, logged = end(server, signal.SIGINT)
    assert status == 0
    assert [json.loads(line)["status"] for line in logged[:3]] == [401, 401, 200]
    assert not any("sesame" in line or right["Authorization"][6:] in line for line in logged)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--header", "Cache-Control"], "NAME:VALUE"),
        (["--header", "a b: c"], "NAME:VALUE"),
        (["--header", ": c"], "NAME:VALUE"),
        (["--header", "a: b\r\nc: d"], "NAME:VALUE"),
        (["--header", "a: ☃"], "NAME:VALUE"),
        (["--header", "Content-Length: 3"], "made by the server"),
        (["--auth", "me"], "USER:FILE"),
        (["--auth", ":file"], "USER:FILE"),
        (["--auth", "me:missing"], "cannot be read"),
        (["--auth", "me:empty"], "is empty"),
        (["--error-page", "missing"], "is not a file"),
        (["."], "--directory"),
        (["localhost"], "ADDRESS:PORT"),
        (["localhost:http"], "is not a port"),
        (["::1:8000"], "ADDRESS:PORT"),
        (["./some.sock", "--port", "1"], "unix socket"),
    ],
)
def test_mistakes_are_said_in_words(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    said = failed(arguments, capsys)
    assert said.startswith("asynchat-fast-http: ")
    assert words in said
    assert said.count("\n") == 1


@posix
def test_a_file_in_the_place_of_a_socket_is_left_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"precious")
    assert "it is a file" in failed(["./file"], capsys)
    assert (tmp_path / "file").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("error", "port", "words"),
    [
        (OSError(errno.EADDRINUSE, "used"), 8123, "port 8123 is in use; try --port 0"),
        (PermissionError(errno.EACCES, "no"), 80, "port 80 needs root; try 8080"),
        (PermissionError(errno.EACCES, "no"), 443, "port 443 needs root; try 8443"),
        (PermissionError(errno.EACCES, "not today"), 8123, "not today"),
        (OSError(errno.EADDRNOTAVAIL, "none"), 8123, "no such address"),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), 8123, "no host of this name"),
        (UnicodeError("label too long"), 8123, "label too long"),
    ],
)
@pytest.mark.parametrize("bind", [None, "127.0.0.1"])
def test_why_an_address_cannot_be_had_is_said_in_words(error, port, words, bind, capsys):
    with patch("asynchat_fast.http.__main__.http_server", side_effect=error):
        said = failed([str(port), *(["--bind", bind] if bind else [])], capsys)
    assert words in said
    assert said.count("\n") == 1


@posix
@pytest.mark.parametrize(("variables", "colours"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_terminal_gets_colours(tmp_path, variables, colours):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = {name: ENVIRONMENT[name] for name in ENVIRONMENT if name not in ("NO_COLOR", "TERM")} | variables
    process = subprocess.Popen(
        [*COMMAND, "127.0.0.1:0"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=theirs, text=True
    )
    try:
        port = int(process.stdout.readline().split(":")[-1].partition("/")[0])
        assert fetch(SimpleNamespace(port=port), "/nothing")[0] == 404
        assert (b"\x1b[33m404\x1b[0m" in os.read(ours, 1000)) is colours
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
        os.close(theirs)


def test_a_connection_that_fails_is_no_end(start):
    server = start(0, "--bind", "127.0.0.1", "--quiet")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        client.sendall(b"\0\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert fetch(server) == (200, b"content")


# Several processes


@posix
def test_workers(start, tmp_path):
    server = start("127.0.0.1:0", "--workers", "2", "--pid-file", "pid", "--grace", "5")
    assert (tmp_path / "pid").read_text() == f"{server.process.pid}\n"
    assert fetch(server) == (200, b"content")
    status, logged = end(server, signal.SIGTERM)
    assert (status, len(logged)) == (0, 2)
    assert re.fullmatch(COMMON, logged[0])
    assert logged[1] == "asynchat-fast-http: terminated"
    assert not (tmp_path / "pid").exists()


ACTIVATED = """\
import os, sys
from fcntl import F_DUPFD, fcntl

for number, fd in enumerate([fcntl(int(fd), F_DUPFD, 100) for fd in sys.argv[1:3]], 3):
    os.dup2(fd, number)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[3], sys.argv[3:])
"""


@posix
def test_workers_serve_all_sockets_of_the_service_manager(tmp_path):
    (tmp_path / "file.txt").write_bytes(b"content")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        ports = [sock.getsockname()[1] for sock in sockets]
        fds = [sock.fileno() for sock in sockets]
        command = [sys.executable, "-c", ACTIVATED, *map(str, fds), *COMMAND, "--workers", "2", "--quiet"]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, pass_fds=fds
        )
        stack.callback(process.kill)
        for port in ports:
            assert f"http://127.0.0.1:{port}/ " in process.stdout.readline()
            assert fetch(SimpleNamespace(port=port)) == (200, b"content")
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


@posix
@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets")
def test_workers_at_unix_sockets(start, tmp_path):
    server = start("./{worker}.sock", "--workers", "2")
    assert server.host == "0.sock"
    assert server.process.stdout.readline().endswith("at the unix socket 1.sock ...\n")
    assert end(server, signal.SIGINT) == (0, ["asynchat-fast-http: interrupted"])
    assert not [*tmp_path.glob("*.sock")]


@posix
@pytest.mark.parametrize("streams", [">&-", ">/dev/full", "<&- >&- 2>&-"])
@pytest.mark.parametrize("options", [[], ["--workers", "2"]])
def test_it_serves_though_it_cannot_say_so(streams, options, tmp_path):
    if "/dev/full" in streams and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    command = [*COMMAND, "./a.sock", "--pid-file", "pid", *options]
    process = subprocess.Popen(["/bin/sh", "-c", f'exec "$@" {streams}', "sh", *command], cwd=tmp_path, env=ENVIRONMENT)
    try:
        until = time.monotonic() + PATIENCE
        with socket.socket(socket.AF_UNIX) as client:
            while client.connect_ex(os.path.relpath(tmp_path / "a.sock")) and time.monotonic() < until:
                time.sleep(0.02)
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert os.listdir(tmp_path) == []
    finally:
        process.kill()
        process.wait()


@posix
def test_a_directory_that_is_gone_is_said_in_a_line(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert failed(["0"], capsys) == "asynchat-fast-http: the current directory has been removed\n"


@posix
def test_one_process_has_a_pid_file_as_well(start, tmp_path):
    server = start("127.0.0.1:0", "--pid-file", "pid")
    assert (tmp_path / "pid").read_text() == f"{server.process.pid}\n"
    process = run(0, "--bind", "127.0.0.1", "--pid-file", tmp_path / "pid")
    assert process.returncode == 2
    said = f"cannot write {tmp_path / 'pid'}: it is in use by process {server.process.pid}"
    assert process.stderr == f"asynchat-fast-http: {said}\n"
    assert end(server, signal.SIGTERM)[0] == 0
    assert not (tmp_path / "pid").exists()


@posix
def test_an_address_in_use_is_said_before_workers_start():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = run(taken.getsockname()[1], "--bind", "127.0.0.1", "--workers", 2)
    assert process.returncode == 2
    assert re.fullmatch(r"asynchat-fast-http: cannot listen at .* is in use; try --port 0\n", process.stderr)


@pytest.mark.skipif(os.name == "posix", reason="this system has what they take")
@pytest.mark.parametrize("option", [["--workers", "2"], ["--pid-file", "pid"]])
def test_processes_that_this_system_cannot_have(option, capsys):
    assert "which this system has not" in failed(["0", *option], capsys)
