"""Every block of code in README.md, docs/ and the other pages runs as the text says.

A Python block is a program: it is run in a process of its own, in one directory with the named blocks of its
page.  One that listens is talked to by the function in CLIENTS that has its name; any other is to end well, and to
print the block marked ``<!-- output -->`` that follows it.  Ports are free ones, not those written.
"""

import contextlib
import ftplib
import hashlib
import json
import os
import queue
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path

import pytest

import asynchat_fast

ROOT = Path(__file__).parents[1]
if not (ROOT / "docs").is_dir():
    pytest.skip("these tests are not in a source tree, so there is no documentation", allow_module_level=True)

PAGES = [page for folder in (ROOT, ROOT / "docs", ROOT / "examples") for page in sorted(folder.glob("*.md"))]
PATIENCE = 30  # seconds; a wait takes milliseconds unless something hangs

# Runs a block: binds a free port in place of each that the block names, and prints its number.
RUNNER = """
import json, os, runpy, socket, sys

bind, listen = socket.socket.bind, socket.socket.listen
written = {}

def bind_free(sock, address):
    bind(sock, (address[0], 0, *address[2:]) if isinstance(address, tuple) else address)
    written[sock.fileno()] = address[1] if isinstance(address, tuple) else address

def listen_and_tell(sock, *backlog):
    listen(sock, *backlog)
    where = written.get(sock.fileno())
    if where != 0:  # as for the pairs that Windows makes
        # In one write, as several processes may print.
        sys.stdout.write("listens " + json.dumps([where, sock.getsockname()[1]]) + "\\n")
        sys.stdout.flush()

socket.socket.bind = bind_free
socket.socket.listen = listen_and_tell
sys.path[0] = os.getcwd()
sys.argv[:] = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Block:
    """A block of a page: its *language*, the *text*, and the *marks*, a dict, of the comments before it."""

    def __init__(self, page, number, language, text, marks):
        self.page = page
        self.language = language
        self.text = text
        self.marks = marks
        self.name = marks.get("file") or f"block{number}.py"
        self.id = f"{page.stem}-{number}-{marks.get('file', language)}"


_FENCE = re.compile(
    r"(?P<marks>(?:^<!-- [^\n]* -->\n)*)^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.M | re.S,
)


def read_blocks(page):
    blocks = []
    for number, match in enumerate(_FENCE.finditer(page.read_text(encoding="utf-8")), 1):
        marks = dict(
            re.fullmatch(r"<!-- (\w[\w ]*)(?:: (.*))? -->", line).groups() for line in match["marks"].splitlines()
        )
        text = re.sub(f"^{match['indent']}", "", match["text"], flags=re.M)
        blocks.append(Block(page, number, match["language"], text, marks))
    return blocks


BLOCKS = {page: read_blocks(page) for page in PAGES}


def blocks_in(*languages):
    """Parametrize a test with the blocks in *languages*, but for those that another block on the page runs."""
    every = [block for blocks in BLOCKS.values() for block in blocks if block.language in languages]
    chosen = [block for block in every if "run by" not in block.marks]
    return pytest.mark.parametrize("block", chosen, ids=[block.id for block in chosen])


def output_after(block):
    blocks = BLOCKS[block.page]
    following = blocks[blocks.index(block) + 1 :]
    return following[0].text if following and "output" in following[0].marks else None


class Program:
    """A block that runs, in *directory*; its output is read as it comes."""

    def __init__(self, block, directory):
        self.directory = directory
        self.lines = queue.Queue()
        self.has_ended = False
        self.printed = []
        self.ports = {}
        environment = os.environ | {
            "PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1]),
            "PYTHONUNBUFFERED": "1",
            "PYTHONUTF8": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUNNER, block.name],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            # A process that ignores Ctrl-C, as the one that runs the tests may, has children that ignore it.
            preexec_fn=None if os.name == "nt" else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def next_line(self):
        """Return the next line that is printed, None at the end."""
        if self.has_ended:
            return None
        try:
            line = self.lines.get(timeout=PATIENCE)
        except queue.Empty:
            pytest.fail(f"it has not ended, and printed nothing but {self.printed}")
        if line is not None and line.startswith("listens "):
            written, free = json.loads(line.removeprefix("listens "))
            self.ports[written] = free
        elif line is not None:
            self.printed.append(line)
        self.has_ended = line is None
        return line

    def listens(self, count=1):
        """Wait until it listens at *count* addresses, and tell whether it does: it may also end."""
        while len(self.ports) < count:
            if self.next_line() is None:
                return False
        return True

    def end(self):
        """Wait for its end, and return the exit status and the output."""
        while self.next_line() is not None:
            pass
        return self.process.wait(PATIENCE), "".join(self.printed)

    def connect(self, port):
        return socket.create_connection(("127.0.0.1", self.ports[port]), timeout=PATIENCE)

    def stop(self):
        self.process.kill()
        _, printed = self.end()
        print(printed)  # for the report of a test that fails
        self.process.stdout.close()


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """A directory for each page, with its named blocks."""
    directories = {}
    for page, blocks in BLOCKS.items():
        directories[page] = tmp_path_factory.mktemp(page.stem)
        for block in blocks:
            if block.language == "python":
                text = block.text
                slow, fast = HASTENED.get((page.stem, block.name), ("", ""))
                assert slow in text
                text = text.replace(slow, fast)
                (directories[page] / block.name).write_text(text, encoding="utf-8")
    return directories


def provide(needs, directory):
    """Skip the test unless there is all that a block *needs*; make a certificate in *directory* if it is among that."""
    for what in needs.split(", ") if needs else []:
        if what.startswith("package "):
            for package in what.split()[1:]:
                pytest.importorskip(package)
        elif what == "certificate":
            make_certificate(directory)
        elif not hasattr(socket, what):
            pytest.skip(f"this system has no {what}")


def make_certificate(directory):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the command openssl, which makes a certificate, is not here")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=PATIENCE)


# Clients for the blocks that serve


class Lines:
    """A client that speaks in lines."""

    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()
        self.sock.close()

    def send(self, *lines):
        self.sock.sendall(b"".join(line.encode() + b"\r\n" for line in lines))

    def receive(self):
        return self.file.readline().decode().removesuffix("\n").removesuffix("\r")

    def ask(self, *lines):
        self.send(*lines)
        return [self.receive() for _ in lines]

    def ended(self):
        """Tell whether the server closes, and sends nothing before."""
        return not self.file.read(1)


@contextlib.contextmanager
def http(program, port):
    connection = HTTPConnection("127.0.0.1", program.ports[port], timeout=PATIENCE)
    try:
        yield connection
    finally:
        connection.close()


def fetch(connection, method, path, body=None, **headers):
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    return response.status, response.read()


CLIENTS = {}

QUIET_AT_CTRL_C = {"README", "index", "tutorial"}  # pages whose servers end well at Ctrl-C

# Makes a block act sooner, or where it can be seen: uvloop listens past the socket module.
HASTENED = {
    ("loop", "pinged.py"): ("idle_timeout = 2", "idle_timeout = 1"),
    ("asyncio", "with_fastapi.py"): ("port=8080)", 'port=8080, loop="asyncio")'),
    ("workers", "behind_a_proxy.py"): (", drain=4", ""),
}


def client_of(page, name, listeners=1):
    """Register a function as the client of the block *name* on *page*, which listens at so many addresses."""

    def register(function):
        CLIENTS[page, name] = listeners, function
        return function

    return register


@client_of("clients", "server.py")
def greet(program):
    with Lines(program.connect(8007)) as client:
        assert client.ask("Ann") == ["good-bye to Ann"]
        assert client.ended()


@client_of("README", "echo.py")
def be_asked_by_curl(program):
    talk_to_echo(program)
    curl = shutil.which("curl")
    command = next(block for block in BLOCKS[ROOT / "README.md"] if block.marks.get("asks") == "echo.py").text
    if curl is not None and os.name == "posix":
        command = command.replace("8007", str(program.ports[8007]))
        process = subprocess.run(["sh", "-c", command], capture_output=True, timeout=PATIENCE)
        assert process.stdout == b"hello\n"


@client_of("index", "echo.py")
@client_of("loop", "echo.py")
@client_of("migrate", "with_asyncio.py")
def talk_to_echo(program):
    with Lines(program.connect(8007)) as client:
        assert client.ask("one", "", "three") == ["one", "", "three"]


@client_of("production", "service.py")
def be_well_and_end(program):
    with http(program, 8001) as connection:
        assert fetch(connection, "GET", "/healthz") == (200, b"ok\n")
        assert fetch(connection, "GET", "/some/path") == (200, b"/some/path")
        assert fetch(connection, "POST", "/", "what was sent") == (200, b"what was sent")
        if os.name == "posix":
            program.process.send_signal(signal.SIGTERM)
            while fetch(connection, "GET", "/healthz") != (503, b"ending\n"):
                pass
            assert fetch(connection, "GET", "/more") == (200, b"/more")


@client_of("production", "observed.py", listeners=2)
def be_counted(program):
    with http(program, 8001) as connection, http(program, 9101) as metrics:
        assert fetch(connection, "GET", "/some/path") == (200, b"/some/path")
        status, body = fetch(metrics, "GET", "/metrics")
        assert status == 200
        assert b'\nconnections{state="listening"} 2\n' in body
        assert b'\nconnections{state="connected"} 2\n' in body
        assert re.search(rb"^loop_busy_seconds_total 0\.\d+$", body, re.M)


def guests_at(program):
    with http(program, 8080) as connection:
        status, body = fetch(connection, "GET", "/")
        assert status == 200
        return json.loads(body)["guests"]


@client_of("asyncio", "together.py", listeners=2)
@client_of("asyncio", "with_fastapi.py", listeners=2)
def chat_and_count(program):
    with program.connect(8007), Lines(program.connect(8007)) as client:
        lines = ["x" * 900] * 100
        assert client.ask(*lines) == lines
        assert guests_at(program) == 2
        for _ in range(1000):  # until the room has shown out the guest that does not read
            assert client.ask(*lines) == lines
            if guests_at(program) == 1:
                break
        else:
            pytest.fail("a guest that does not read stays")
    with Lines(program.connect(8007)) as first, Lines(program.connect(8007)) as second:
        first.sock.sendall(b"hello\n")
        assert first.receive() == second.receive() == "hello"
        assert guests_at(program) == 2


@client_of("asyncio", "with_ftp.py", listeners=2)
def chat_and_list(program):
    with Lines(program.connect(8007)) as client, ftplib.FTP() as ftp:
        ftp.connect("127.0.0.1", program.ports[8021], timeout=PATIENCE)
        ftp.login()
        client.sock.sendall(b"hello\n")
        assert client.receive() == "hello"
        assert "with_ftp.py" in ftp.nlst()


@client_of("asyncio", "task_a_message.py")
def be_served_in_order(program):
    with Lines(program.connect(8007)) as client:
        client.sock.sendall(b"1\n2\n")
        client.sock.sendall(b"100\n")
        assert [client.receive() for _ in range(3)] == ["done: 1", "done: 2", "done: 100"]
        client.sock.sendall(b"10\nnot a number\n10\n")
        assert client.receive() == "done: 10"
        assert client.ended()
    assert "ValueError" in program.next_line()
    program.printed.clear()  # of that exception


@client_of("loop", "pinged.py")
def keep_silent(program):
    with Lines(program.connect(8007)) as client:
        assert client.receive() == "PING"
        assert client.ask("here") == ["here"]
        assert client.receive() == "PING"
        assert client.ended()


@client_of("loop", "inherited.py", listeners=2)
def talk_by_both_ways(program):
    talk_to_echo(program)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        before = os.getcwd()
        os.chdir(program.directory)  # the whole path may be longer than that of a unix socket
        try:
            sock.connect("echo.sock")
        finally:
            os.chdir(before)
        with Lines(sock) as client:
            assert client.ask("by a path") == ["by a path"]


@client_of("loop", "sender.py")
def receive_source(program):
    with program.connect(8008) as sock, sock.makefile("rb") as file:
        assert file.read() == b"My source:\n\n" + (program.directory / "sender.py").read_bytes()


@client_of("tutorial", "shout.py")
def be_shouted_at(program):
    with Lines(program.connect(8007)) as client:
        client.sock.sendall(b"hello\nyou\n")
        assert [client.receive(), client.receive()] == ["HELLO", "YOU"]


@client_of("tutorial", "lines.py")
def exceed_limits(program):
    with Lines(program.connect(8007)) as client:
        assert client.ask("hello", "g\N{LATIN SMALL LETTER U WITH DIAERESIS}t\t\x07") == ["HELLO", "G\xdcT"]
        client.sock.sendall(b"x" * 2000)
        assert client.ended()


@contextlib.contextmanager
def guest(program, name):
    with Lines(program.connect(8007)) as client:
        assert client.receive() == "What is your name?"
        assert client.ask(name) == [f"* {name} has come in"]
        yield client


@client_of("tutorial", "room.py")
def chat(program):
    with guest(program, "ann") as ann:
        with guest(program, "bob") as bob:
            assert ann.receive() == "* bob has come in"
            ann.send("hello")
            assert ann.receive() == bob.receive() == "ann: hello"
            bob.send("/quit")
            assert bob.receive() == "* goodbye"
            assert bob.ended()
        assert ann.receive() == "* bob has left"
        with guest(program, "eve"):
            assert ann.receive() == "* eve has come in"
        assert ann.receive() == "* eve has left"


@client_of("tutorial", "web.py", listeners=2)
def chat_on_the_web(program):
    with guest(program, "ann") as ann, http(program, 8000) as web:
        ann.send("<hello>")
        assert ann.receive() == "ann: <hello>"
        status, page = fetch(web, "GET", "/")
        assert status == 200
        assert b"ann: &lt;hello&gt;" in page
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert fetch(web, "POST", "/", "name=bob&text=from+the+web%0D%0A", **form)[0] == 303
        assert ann.receive() == "bob: from the web"
        assert fetch(web, "GET", "/nothing")[0] == 404
    with http(program, 8000) as web:
        assert fetch(web, "POST", "/", b"bytes")[0] == 415


@client_of("tutorial", "live.py", listeners=2)
def follow_on_the_web(program):
    chat_on_the_web(program)
    with guest(program, "ann") as ann, program.connect(8000) as web, web.makefile("rb") as events:
        assert fetch_page_with_script(program)
        web.sendall(b"GET /events HTTP/1.0\r\n\r\n")
        assert events.readline().startswith(b"HTTP/1.1 200 ")
        while events.readline().strip() != b": welcome":
            pass
        events.readline()
        ann.send("hello")
        assert [events.readline(), events.readline()] == [b"data: ann: hello\n", b"\n"]


def fetch_page_with_script(program):
    with http(program, 8000) as web:
        return b"EventSource" in fetch(web, "GET", "/")[1]


def secure(program, sock):
    context = ssl.create_default_context(cafile=program.directory / "certificate.pem")
    return Lines(context.wrap_socket(sock, server_hostname="localhost"))


@client_of("tls", "secure_echo.py")
def be_asked_over_tls(program):
    talk_over_tls(program)
    shutil.copy(program.directory / "certificate.pem", program.directory / "ca.pem")
    text = (program.directory / "secure_client.py").read_text(encoding="utf-8")
    client = [sys.executable, "-c", text.replace("8443", str(program.ports[8443]))]
    environment = os.environ | {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1])}
    printed = subprocess.check_output(client, cwd=program.directory, env=environment, text=True, timeout=PATIENCE)
    assert printed == "TLSv1.3\nhello\n"


@client_of("migrate", "over_tls.py")
def talk_over_tls(program):
    with secure(program, program.connect(8443)) as client:
        long = "x" * 100_000  # several records
        assert client.ask("one", long, "three") == ["one", long, "three"]


@client_of("proxy", "proxied.py")
def come_by_a_proxy(program):
    with Lines(program.connect(8007)) as client:
        client.send("PROXY TCP4 192.0.2.7 198.51.100.1 51000 8007")
        assert client.receive() == "you are 192.0.2.7"
        client.sock.sendall(b"hello\n")
        assert client.receive() == "hello"


@client_of("proxy", "forwarded.py")
def be_passed_on(program):
    with http(program, 8000) as web:
        response = fetch(web, "GET", "/", X_Forwarded_For="203.0.113.1, 192.0.2.7", X_Forwarded_Proto="https")
        assert response == (200, b"hello 192.0.2.7, by https\n")


@client_of("tls", "starttls.py")
def start_tls(program):
    with Lines(program.connect(8025)) as client:
        assert client.ask("helo me", "noop") == ["250 hello ME", "250 you are ME"]
        client.send("starttls", "injected")
        assert client.receive() == "220 go ahead"
        assert "INJECTED" not in client.receive()
    sock = program.connect(8025)
    with Lines(sock) as client:
        assert client.ask("helo me", "starttls") == ["250 hello ME", "220 go ahead"]
        with secure(program, sock) as client:
            assert client.ask("noop") == ["250 you are a stranger"]


@client_of("lines", "adder.py")
def have_numbers_added(program):
    with Lines(program.connect(8007)) as client:
        assert client.ask("1 2", "", "x")[:2] == ["3", "0"]
        assert client.ask("\N{LATIN SMALL LETTER U WITH DIAERESIS}", "9" * 2000, "3 4")[1:] == [
            "error: the line is too long",
            "7",
        ]
        client.sock.sendall(b"\xff\n1")
        assert client.receive().startswith("error: 'utf-8'")


@client_of("frames", "shelf.py")
def put_and_get_frames(program):
    with program.connect(8007) as sock, sock.makefile("rb") as file:
        put, get, strange = b"\0\0\0\3Pone", b"\0\0\0\0G", b"\0\0\0\1?x"
        sock.sendall(put + get + strange + b"\0\0\0\0P" + get)
        error = b"\0\0\0\nEput or get"
        expected = put + b"\0\0\0\3Gone" + error + b"\0\0\0\0P" + get
        assert file.read(len(expected)) == expected
        sock.sendall(b"\xff\0\0\0P")
        assert file.read() == b""


@client_of("frames", "syslog.py")
def log_in_frames(program):
    with program.connect(8007) as sock:
        sock.sendall(b"5 <1>ab<2>a line\n\n2026-11-27 a date\n0 none\n1234567 digits\n3 a\nb99\n4")
        expected = ["<1>ab", "<2>a line", "2026-11-27 a date", "0 none", "1234567 digits", "a\nb", "99"]
        assert [program.next_line() for _ in expected] == [f"{each.encode()}\n" for each in expected]
        sock.sendall(b"0000 x")
        assert sock.recv(1) == b""


@client_of("dialogue", "postbox.py")
def post(program):
    with smtplib.SMTP("127.0.0.1", program.ports[8025], "me", timeout=PATIENCE) as smtp:
        assert smtp.docmd("MAIL", "FROM:<a@example.org>") == (503, b"say HELO first")
        assert smtp.docmd("QUATSCH")[0] == 500
        assert smtp.helo()[0] == 250
        for message in "", ".\r\n..\r\ntext", "x" * 100:
            assert not smtp.sendmail("a@example.org", ["b@example.org", "c@example.org"], message)
        assert smtp.docmd("DATA") == (503, b"say MAIL first")
        assert smtp.docmd("MAIL", "FROM:a")[0] == 501
        assert smtp.docmd("NOOP " + "x" * 3000)[0] == 500
        with pytest.raises(smtplib.SMTPDataError, match="552"):
            smtp.sendmail("a@example.org", "b@example.org", "x" * (1 << 20))
        assert smtp.rset()[0] == 250
    sizes = [2, 13, 102]  # smtplib sends an empty line for an empty message
    to = ["b@example.org", "c@example.org"]
    for size in sizes:
        assert program.next_line() == f"a@example.org {to} {size}\n"
    with Lines(program.connect(8025)) as client:
        client.send("HELO me", "MAIL FROM:<>", "RCPT TO:<b@example.org>", "DATA", ".", "QUIT")
        codes = [client.receive()[:3] for _ in range(7)]
        assert codes == ["220", "250", "250", "250", "354", "250", "221"]
        assert client.ended()


@client_of("dispatcher", "store.py")
def give_commands(program):
    with Lines(program.connect(8007)) as client:
        assert client.ask("set a 1", "GET a", "get b", "keys") == ["ok", "1", "error: there is no b", "a"]
        mistakes = client.ask("push x", "", "set a", "g\N{LATIN SMALL LETTER U WITH DIAERESIS}t", "x" * 2000, "get a")
        assert mistakes[:2] == ["error: there are get, keys, quit, set"] * 2
        assert mistakes[2].startswith("error: set: ")
        assert mistakes[3].startswith("error: 'ascii'")
        assert mistakes[4:] == ["error: the line is too long", "1"]
        client.send("quit", "get a")
        assert client.receive() == "goodbye"
        assert client.ended()


@client_of("migrate", "mail_printer.py")
def mail(program):
    with smtplib.SMTP("127.0.0.1", program.ports[1025], "me", timeout=PATIENCE) as smtp:
        smtp.ehlo()
        with Lines(program.connect(1025)) as stranger:
            assert stranger.receive().startswith("220 ")
            sender = "a" * 500 + "@example.org"
            assert smtp.docmd(f"MAIL FROM:<{sender}> size=10")[0] == 250
        assert smtp.rcpt("b@example.org")[0] == 250
        assert smtp.data("hello\r\n")[0] == 250
    while (line := program.next_line()) is not None and not line.startswith("from "):
        pass  # a DeprecationWarning of smtpd
    assert line == f"from {sender} to b@example.org bytes 5\n"


@client_of("migrate", "mail_debugger.py")
def mail_to_debugger(program):
    with smtplib.SMTP("127.0.0.1", program.ports[1025], "me", timeout=PATIENCE) as smtp:
        smtp.sendmail("a@example.org", ["b@example.org"], "Subject: a test\r\n\r\nhello\r\n")
    while (line := program.next_line()) is not None and "hello" not in line:
        pass
    assert line == "b'hello'\n"


@client_of("migrate", "mail_over_tls.py")
def mail_over_tls(program):
    context = ssl.create_default_context(cafile=program.directory / "certificate.pem")
    silent = program.connect(1465)
    with silent, smtplib.SMTP_SSL("localhost", program.ports[1465], "me", timeout=PATIENCE, context=context) as smtp:
        smtp.sendmail("a@example.org", ["b@example.org"], "\r\n".join(["x" * 998] * 100))
    while (line := program.next_line()) is not None and not line.startswith("from "):
        pass
    assert line == f"from a@example.org to b@example.org bytes {998 * 100 + 99}\n"


@client_of("migrate", "device.py")
def send_frames_to_device(program):
    with program.connect(8007) as sock, sock.makefile("rb") as file:
        stream = b"\0\3one\0\0\0\0\0\5\0\1\0\2\0"
        sock.sendall(stream)
        assert file.read(len(stream)) == stream


@client_of("migrate", "from_http_server.py")
def ask_a_handler_of_http_server(program):
    with http(program, 8000) as web:
        assert fetch(web, "GET", "/") == (200, b"hello, 127.0.0.1\n")
        assert fetch(web, "POST", "/", b"body") == (200, b"BODY")


@client_of("migrate", "status_page.py")
def look_at_status(program):
    with http(program, 8000) as web:
        assert fetch(web, "POST", "/", b"a job") == (200, b"added\n")
        assert fetch(web, "GET", "/") == (200, b"1 jobs\n")
        assert fetch(web, "GET", "/elsewhere")[0] == 404


@client_of("migrate", "acceptor.py")
def be_numbered(program):
    for number in 1, 2:
        with Lines(program.connect(8007)) as client:
            assert client.receive() == f"127.0.0.1 is number {number}"
            assert client.ended()


@client_of("migrate", "with_logging.py")
def be_logged_by_channels(program):
    with Lines(program.connect(8007)) as client:
        assert client.ask("one", "") == ["one", ""]
    assert program.next_line() == "echo INFO somebody has connected\n"


@client_of("migrate", "in_threads.py")
def have_it_worked_out(program):
    with Lines(program.connect(8007)) as client:
        assert client.ask("12") == ["6"]
        client.send("13", "x")
        assert sorted([client.receive(), client.receive()]) == ["2", "error"]


@client_of("http", "hello.py")
def be_greeted(program):
    with http(program, 8000) as web:
        for _ in range(2):
            assert fetch(web, "GET", "/") == (200, b"hello\n")
        assert fetch(web, "HEAD", "/") == (200, b"")
        assert fetch(web, "POST", "/")[0] == 405


@client_of("http", "request.py")
def ask_for_sums(program):
    json_type = {"Content-Type": "application/json"}
    with http(program, 8000) as web:
        assert fetch(web, "GET", "/sum?n=1&n=2") == (200, b"3\n")
        assert fetch(web, "POST", "/", '{"n": [3, 4]}', **json_type) == (200, b"7\n")
    for refused in ("GET", "/sum?n=x"), ("POST", "/", "no", json_type):
        with http(program, 8000) as web:
            assert fetch(web, *refused[:3], **dict(*refused[3:]))[0] == 400


@client_of("http", "responses.py")
def take_responses(program):
    with http(program, 8000) as web:
        assert fetch(web, "GET", "/source") == (200, (program.directory / "responses.py").read_bytes())
        assert fetch(web, "GET", "/numbers") == (200, b"".join(b"%d\n" % number for number in range(100_000)))
        assert fetch(web, "GET", "/old")[0] == 301
        assert b"There are numbers" in fetch(web, "GET", "/nothing")[1]


@client_of("http", "later.py")
def wait_for_responses(program):
    with http(program, 8000) as web:
        assert fetch(web, "GET", "/it") == (200, b"/it took its time\n")
        assert fetch(web, "GET", "/drip") == (200, b"drop\n" * 3)


@client_of("http", "upload.py")
def upload(program):
    data = os.urandom(1 << 16) * 400  # more than max_body
    with http(program, 8000) as web:
        assert fetch(web, "PUT", "/files/a", data) == (201, hashlib.sha256(data).hexdigest().encode() + b"\n")
        assert fetch(web, "PUT", "/elsewhere", b"bytes")[0] == 403


@client_of("http", "websocket.py")
def talk_over_websocket(program):
    with program.connect(8000) as sock, sock.makefile("rb") as file:
        key = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455, section 1.3, as is the accepted value
        fields = (
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        )
        sock.sendall(f"GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode() + frame(1, b"with the request"))
        head = b"".join(iter(file.readline, b"\r\n"))
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        assert read_frame(file) == (0x81, b"with the request")
        for message in b"", b"bytes", b"x" * 125, b"x" * 126, b"x" * 65535:
            sock.sendall(frame(2, message))
            assert read_frame(file) == (0x82, message)
        sock.sendall(frame(1, b"in ", is_last=False) + frame(9, b"ping") + frame(0, b"x" * 65532))
        assert read_frame(file) == (0x8A, b"ping")
        assert read_frame(file) == (0x81, b"in " + b"x" * 65532)
        sock.sendall(frame(8, b""))
        assert read_frame(file) == (0x88, (1000).to_bytes(2, "big"))
        assert file.read() == b""
    with http(program, 8000) as web:
        assert fetch(web, "GET", "/")[0] == 426


def frame(opcode, payload, is_last=True):
    """Return a frame of RFC 6455, section 5.2, masked as a client's is."""
    size, mask = len(payload), b"mask"
    sizes = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([(0x80 if is_last else 0) | opcode]) + sizes + mask + masked


def read_frame(file):
    first, size = file.read(2)
    if size >= 126:
        size = int.from_bytes(file.read(2 if size == 126 else 8), "big")
    return first, file.read(size)


@client_of("http", "logged.py")
def be_logged(program):
    with http(program, 8000) as web:
        assert fetch(web, "GET", '/"', User_Agent="a test") == (200, b"hello\n")
    line = program.next_line()
    assert re.fullmatch(r'127\.0\.0\.1 - - \[.*\] "GET /\\x22 HTTP/1\.1" 200 6 "-" "a test"\n', line)


@client_of("http", "graceful.py")
def be_the_last(program):
    with http(program, 8000) as idle, http(program, 8000) as web:
        idle.connect()
        assert fetch(web, "POST", "/") == (200, b"the last response\n")
        assert idle.sock.recv(1) == b""
    assert program.end() == (0, "done\n")


@client_of("workers", "web.py")
@client_of("workers", "serve.py")
def be_greeted_by_a_worker(program):
    with http(program, 8000) as web:
        status, body = fetch(web, "GET", "/")
        assert (status, body.startswith(b"hello from process ")) == (200, True)
    program.process.terminate()
    assert program.end() == (0, "")


@client_of("workers", "behind_a_proxy.py", listeners=4)
def be_greeted_by_each_worker(program):
    for number in range(4):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(program.directory / f"web.{number}.sock"))
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert sock.makefile("rb").read().startswith(b"HTTP/1.1 200 ")
    program.process.terminate()
    assert program.end() == (0, "")


@client_of("http", "web_site.py")
def look_at_site(program):
    with http(program, 8000) as web:
        assert fetch(web, "GET", "/web_site.py") == (200, (program.directory / "web_site.py").read_bytes())
        assert fetch(web, "GET", "/")[0] == 403
        assert fetch(web, "GET", "/../hello.py")[0] == 404


@client_of("http", "documented.py")
def ask_as_documented(program):
    with http(program, 8000) as web:
        assert fetch(web, "GET", "/", Host="example") == (200, b"example")
        assert fetch(web, "POST", "/", b"bytes") == (200, b"bytes")


@blocks_in("python")
def test_python_blocks(block, directories):
    provide(block.marks.get("needs"), directories[block.page])
    listeners, client = CLIENTS.get((block.page.stem, block.name), (1, None))
    program = Program(block, directories[block.page])
    try:
        if program.listens(listeners):
            assert client, "it listens, and CLIENTS has no client for it"
            client(program)
            if block.page.stem in QUIET_AT_CTRL_C and os.name == "posix":
                program.process.send_signal(signal.SIGINT)
                assert program.end()[0] == 0
            program.stop()
            assert not [line for line in program.printed if "Traceback" in line or "uncaptured" in line]
        else:
            status, printed = program.end()
            assert not client, f"it does not listen: {printed}"
            assert (status, printed) == (0, output_after(block) or ""), printed
    finally:
        program.stop()


PAGES_OF_TESTS = [page for page in PAGES if any(block.name.startswith("test_") for block in BLOCKS[page])]


@pytest.mark.parametrize("page", PAGES_OF_TESTS, ids=[page.stem for page in PAGES_OF_TESTS])
def test_blocks_that_are_tests_pass(page, directories):
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1])}
    process = subprocess.run(
        command, cwd=directories[page], env=environment, capture_output=True, text=True, timeout=2 * PATIENCE
    )
    assert process.returncode == 0, process.stdout


# Other blocks


@blocks_in("sh")
def test_shell_blocks(block):
    """Each is right in syntax; a comment before it names what runs it, a phase of .ci/run or a client above, or why
    nothing does."""
    assert {"asks", "ci", "not run"} & block.marks.keys(), "nothing runs it, and there is no reason for that"
    bash = shutil.which("bash")
    if bash is None or os.name == "nt":
        pytest.skip("this system has no bash")
    process = subprocess.run([bash, "-n"], input=block.text, text=True, capture_output=True, timeout=PATIENCE)
    assert (process.returncode, process.stderr) == (0, "")


@blocks_in("toml")
def test_toml_blocks(block):
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    assert tomllib.loads(block.text)


def test_no_block_is_left_out():
    known = {"python", "sh", "toml", "text", "{eval-rst}", "{include}", "{toctree}"}
    assert not [block.id for blocks in BLOCKS.values() for block in blocks if block.language.split()[0] not in known]
    named = {(block.page.stem, block.name) for blocks in BLOCKS.values() for block in blocks}
    missing = (CLIENTS.keys() | HASTENED.keys()) - named
    assert {page for page, _ in missing} <= (set() if ROOT / "README.md" in PAGES else {"README"})
