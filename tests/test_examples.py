"""The examples run as they stand, and serve the clients that they are made for."""

import contextlib
import http.client
import os
import queue
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from pathlib import Path

import pytest

import asynchat_fast

EXAMPLES = Path(__file__).parents[1] / "examples"
if not EXAMPLES.is_dir():
    pytest.skip("these tests are not in a source tree, so there are no examples", allow_module_level=True)

PATIENCE = 30  # seconds; a wait takes milliseconds unless something hangs
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1]), "PYTHONUTF8": "1"}


def heed_ctrl_c():
    """Undo in a new process that the process which runs the tests ignores Ctrl-C, if it does."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Example:
    """A running example; ``next_line()`` reads its output."""

    def __init__(self, name, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / name), *arguments],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            preexec_fn=None if os.name == "nt" else heed_ctrl_c,
        )
        self.lines = queue.Queue()
        self.printed = []
        threading.Thread(target=self._read, daemon=True).start()
        self.port = int(self.next_line().rpartition(" ")[2])

    def _read(self):
        with self.process.stdout as lines:
            for line in lines:
                self.lines.put(line)
        self.lines.put("")

    def next_line(self):
        """Return the next line that it prints, empty at the end."""
        line = self.lines.get(timeout=PATIENCE)
        self.printed.append(line)
        return line.rstrip("\n")

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def interrupt(self):
        """Press Ctrl-C, and return the last line that is printed."""
        self.process.send_signal(signal.SIGINT)
        while self.next_line():
            pass
        assert self.process.wait(PATIENCE) == 0
        return self.printed[-2]

    def stop(self):
        self.process.kill()
        while self.printed[-1]:
            self.next_line()
        self.process.wait(PATIENCE)
        assert "Traceback" not in "".join(self.printed), self.printed


@contextlib.contextmanager
def running(name, *arguments):
    example = Example(name, "--port", "0", *arguments)
    try:
        yield example
    finally:
        example.stop()


class Lines:
    """A connection to *example* that speaks in lines."""

    def __init__(self, example):
        self.sock = example.connect()
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()
        self.sock.close()

    def send(self, *lines):
        self.sock.sendall(b"".join(line.encode() + b"\r\n" for line in lines))

    def receive(self):
        return self.file.readline().decode().removesuffix("\r\n")

    def ended(self):
        """Tell whether the server closes, and sends nothing before."""
        try:
            return not self.file.read(1)
        except ConnectionResetError:  # the data sent to it were not read any more
            return True


def run_client(port, *arguments, **options):
    command = [
        sys.executable,
        str(EXAMPLES / "line_client.py"),
        *arguments[:-1],
        "127.0.0.1",
        str(port),
        *arguments[-1],
    ]
    process = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, timeout=PATIENCE, text=True, encoding="utf-8", **options
    )
    return process.returncode, process.stdout, process.stderr


posix = pytest.mark.skipif(os.name == "nt", reason="Windows cannot send SIGINT to a single process")


@posix
@pytest.mark.parametrize("name", ["chat_room.py", "smtp_debug.py", "static_site.py"])
def test_ctrl_c_ends_it(name):
    with running(name) as example:
        assert example.interrupt() == "closed\n"


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_help(name):
    process = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "--help"], env=ENVIRONMENT, capture_output=True, timeout=PATIENCE
    )
    assert process.returncode == 0
    assert process.stdout.startswith(b"usage: ")
    assert not process.stderr


# The chat room


@contextlib.contextmanager
def guest(example, name):
    with Lines(example) as client:
        assert client.receive() == "Welcome. What is your name?"
        client.send(name)
        assert client.receive() == f"* hello, {name}"
        yield client


def test_guests_hear_each_other():
    with running("chat_room.py") as example, guest(example, "ann") as ann, guest(example, "bob") as bob:
        assert ann.receive() == "* bob has come in"
        ann.send("hello", "/who")
        assert bob.receive() == "ann: hello"
        assert ann.receive() == "* here: ann, bob"
        bob.send("to you\x1b[2J, too", "/quit")
        assert ann.receive() == "bob: to you[2J, too"
        assert bob.receive() == "* goodbye"
        assert bob.ended()
        assert ann.receive() == "* bob has left"


@pytest.mark.parametrize("name", ["ann", "", "two words", "x" * 21])
def test_names_that_are_refused(name):
    with running("chat_room.py") as example, guest(example, "ann"), Lines(example) as other:
        assert other.receive() == "Welcome. What is your name?"
        other.send(name)
        assert other.receive().endswith(("already.", "characters."))
        other.send("bob")
        assert other.receive() == "* hello, bob"


def test_a_guest_that_does_not_read_is_shown_out():
    with running("chat_room.py") as example, guest(example, "ann") as ann, guest(example, "deaf") as deaf:
        assert ann.receive() == "* deaf has come in"
        deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ann.sock.settimeout(PATIENCE)
        left = threading.Event()

        def talk():
            while not left.is_set():
                ann.send(*["x" * 900] * 100)

        talking = threading.Thread(target=talk, daemon=True)
        talking.start()
        assert ann.receive() == "* deaf has left"
        left.set()
        talking.join(PATIENCE)


def test_a_line_without_end_is_not_kept():
    with running("chat_room.py") as example, Lines(example) as client:
        client.receive()
        client.sock.sendall(b"x" * 2000)
        assert client.ended()


# The mail server


def message(text):
    mail = EmailMessage()
    mail["Subject"] = "A test"
    mail["From"], mail["To"] = "ann@example.org", "bob@example.org"
    mail.set_content(text)
    return mail


def shown(example):
    """Return the lines of a message that was printed."""
    lines = list(iter(example.next_line, "---- end"))
    assert lines[0].startswith("---- from <ann@example.org> to bob@example.org")
    return lines[1:]


def test_mail_is_shown():
    with running("smtp_debug.py") as example, smtplib.SMTP("127.0.0.1", example.port, timeout=PATIENCE) as client:
        client.send_message(message("one\n.two\n..three\n\x1bfour\n"))
        lines = shown(example)
        assert "Subject: A test" in lines
        assert lines[-4:] == ["one", ".two", "..three", "\\x1bfour"]
        assert client.has_extn("size")
        client.sendmail("ann@example.org", ["bob@example.org", "eve@example.org"], b"")
        assert shown(example) == [""]  # smtplib ends a message without a line by an empty one
        assert client.verify("bob")[0] == 252
        assert client.noop()[0] == 250


def test_mail_that_is_refused():
    mail = "ann@example.org", ["bob@example.org"]
    with (
        running("smtp_debug.py", "--most", "1000") as example,
        smtplib.SMTP("127.0.0.1", example.port, timeout=PATIENCE) as client,
    ):
        client.helo()  # smtplib learns from the response to EHLO how large a message may be, and sends no larger one
        for large in b"x\r\n" * 1000, b"x" * 3000:
            with pytest.raises(smtplib.SMTPDataError) as refusal:
                client.sendmail(*mail, large)
            assert refusal.value.smtp_code == 552
        client.sendmail(*mail, b"short")
        assert shown(example) == ["short"]
        client.ehlo()
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail(*mail, b"x" * 3000)


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (["MAIL FROM:<a@b>"], [503]),
        (["EHLO me", "RCPT TO:<a@b>"], [250, 503]),
        (["HELO me", "MAIL TO:<a@b>", "MAIL FROM:a"], [250, 501, 501]),
        (["HELO me", "MAIL FROM:<>", "RCPT TO:<>", "DATA"], [250, 250, 501, 503]),
        (["EHLO me", "MAIL FROM:<a@b> SIZE=99999999999"], [250, 552]),
        (["EHLO me", "MAIL FROM:<SIZE=99999999999@b> SIZE=1 BODY=8bitmime"], [250, 250]),
        (["EHLO me", 'MAIL FROM:<"a >b"@c> size=12', "RCPT TO:<a@b> NOTIFY=NEVER"], [250, 250, 555]),
        (["EHLO me", "MAIL FROM:<a@b> AUTH=<> SIZE=1", "MAIL FROM:<a@b> SIZED=1"], [250, 555, 555]),
        (
            ["EHLO me", "MAIL FROM:<a@b> SIZE=x", "MAIL FROM:<a@b> SIZE", "MAIL FROM:<a@b> BODY=9BIT"],
            [250, 501, 501, 501],
        ),
        (["EHLO me", "MAIL FROM:<a@b> SIZE=1 size=2", "MAIL FROM:<a@b>SIZE=1"], [250, 501, 501]),
        (["HELO me", "MAIL FROM:<a@b> SIZE=1"], [250, 555]),
        (["EHLO", "HELO ", "MAIL FROM:<a@b>", "VRFY"], [501, 501, 503, 501]),
        (["EHLO me", "RSET now", "DATA x", "QUIT now", "NOOP now"], [250, 501, 501, 501, 250]),
        (["HELO me", "MAIL FROM:<a@b>", "RSET", "MAIL FROM:<c@d>", "MAIL FROM:<c@d>"], [250, 250, 250, 250, 503]),
        (["MAKE", "", "__init__", "x" * 3000, "NOOP"], [500, 500, 500, 500, 250]),
        (["HELO me", "QUIT"], [250, 221]),
    ],
    ids=lambda each: each[-1][:20] if isinstance(each[0], str) else None,
)
def test_replies(lines, codes):
    with running("smtp_debug.py") as example, Lines(example) as client:
        assert client.receive().startswith("220 ")
        client.send(*lines)
        received = []
        while len(received) < len(codes):
            line = client.receive()
            assert re.match("[2-5][0-9][0-9][- ]", line)
            received += [int(line[:3])] * (line[3] == " ")
        assert received == codes


# The client


def test_client_asks_a_server():
    with running("smtp_debug.py") as example:
        status, printed, errors = run_client(example.port, ["NOOP", "QUIT"])
        assert (status, errors) == (0, "")
        assert [line[:3] for line in printed.splitlines()] == ["220", "250", "221"]


def test_client_reads_its_input_and_stops_waiting():
    with running("smtp_debug.py") as example:
        status, printed, errors = run_client(example.port, "--wait", "0.2", [], input="NOOP\nNOOP\n")
        assert (status, errors) == (0, "")
        assert [line[:3] for line in printed.splitlines()] == ["220", "250", "250"]


def test_client_says_that_it_cannot_connect():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    status, printed, errors = run_client(port, [])
    assert (status, printed) == (1, "")
    assert errors.startswith(f"error: cannot connect to 127.0.0.1:{port}: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("sent", "status", "printed"),
    [
        (b"a\x1bb\xff\r\nc\n", 0, "a\\x1bb\\xff\nc\n"),
        (b"one\ntwo", 1, "one\ntwo\n"),
        (b"", 0, ""),
        (b"x" * (1 << 21), 1, ""),
    ],
    ids=["not printable", "no end", "nothing", "no line"],
)
def test_client_of_a_strange_server(sent, status, printed):
    def serve():
        with contextlib.suppress(OSError), server.accept()[0] as sock:
            assert sock.recv(100) == b"hello\r\n"
            sock.sendall(sent)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        *outcome, errors = run_client(server.getsockname()[1], ["hello"])
        assert outcome == [status, printed]
        assert errors.startswith("error: ") == bool(status)
        thread.join(PATIENCE)


def test_client_shows_received_data_when_it_stops_waiting():
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        client = pool.submit(run_client, server.getsockname()[1], "--wait", "0.2", ["hello"])
        with server.accept()[0] as sock:
            sock.sendall(b"one\nlogin: ")
            assert client.result() == (1, "one\nlogin: \n", "error: the last line has no end\n")


def test_client_says_that_not_all_was_taken():
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        client = pool.submit(run_client, server.getsockname()[1], "--wait", "0.2", [], input="x" * (1 << 24))
        with server.accept()[0]:
            status, printed, errors = client.result()
    assert (status, printed) == (1, "")
    assert errors == "error: the server has not taken all lines\n"


@posix
def test_ctrl_c_ends_the_client():
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, str(EXAMPLES / "line_client.py"), "127.0.0.1", str(server.getsockname()[1]), "hello"]
        with (
            subprocess.Popen(
                command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=heed_ctrl_c
            ) as process,
            server.accept()[0] as sock,
        ):
            assert sock.recv(100) == b"hello\r\n"
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, printed) == (130, b"")


# The web site


@pytest.fixture
def site(tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<h1>First</h1>")
    (tmp_path / "about.html").write_text("<h1>About</h1>")
    (tmp_path / "news").mkdir()
    (tmp_path / "news" / "index.html").write_text("<h1>News</h1>")
    (tmp_path / "assets" / "large.css").write_bytes(b"a{}\n" * 100_000)
    with running("static_site.py", str(tmp_path)) as example:
        yield example


def fetch(connection, path, **headers):
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    return response.status, response.read(), response.headers


def test_site(site):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE)) as client:
        status, body, fields = fetch(client, "/")
        assert (status, body, fields["Content-Type"]) == (200, b"<h1>First</h1>", "text/html; charset=utf-8")
        assert fields["Cache-Control"] == "no-cache"
        assert fetch(client, "/", If_None_Match=fields["ETag"])[:2] == (304, b"")
        assert fetch(client, "/about?x=1")[:2] == (200, b"<h1>About</h1>")
        status, _, fields = fetch(client, "/news?x=1")
        assert (status, fields["Location"]) == (301, "/news/?x=1")
        assert fetch(client, "/news/")[:2] == (200, b"<h1>News</h1>")
        status, body, fields = fetch(client, "/assets/large.css")
        assert (status, body, fields["Cache-Control"]) == (200, b"a{}\n" * 100_000, "max-age=86400")
        status, body, fields = fetch(client, "/<nothing>")
        assert status == 404
        assert b"There is no such page" in body
        assert fetch(client, "/assets/")[0] == 403
        assert site.next_line().startswith("127.0.0.1 - - [")


@posix
def test_site_ends_gracefully(site):
    """A client that has sent a request gets its response, and an idle one is disconnected."""
    with site.connect() as sock, site.connect() as idle:
        sock.sendall(b"GET /assets/large.css HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(12) == b"HTTP/1.1 200"
        site.process.send_signal(signal.SIGINT)
        assert idle.recv(1) == b""
        received = b""
        while part := sock.recv(1 << 16):
            received += part
        assert received.endswith(b"a{}\n" * 100_000)
    while site.next_line():
        pass
    assert site.printed[-2] == "closed\n"
    assert site.process.wait(PATIENCE) == 0


# Values under names


@pytest.fixture
def store(tmp_path):
    (tmp_path / "values").write_text("one 1\ntwo zwei deux\n")
    with running("typed_store.py", "--web-port", "0", str(tmp_path / "values")) as example:
        yield example


def test_a_store_by_lines(store):
    with Lines(store) as client:
        client.sock.sendall(b"set three 5\r\na\r\nb\0get three\r\nget four\r\nnames\r\nset it x\r\n")
        assert [client.receive() for _ in range(3)] == ["kept", "5", "a"]
        assert client.file.read(2) == b"b\0"
        assert [client.receive() for _ in range(5)] == ["nothing", "one", "three", "two", "."]
        assert client.receive() == "set NAME SIZE, get NAME or names"


def test_a_store_on_the_web(store):
    port = int(re.search(r"pages are at port (\d+)", store.printed[0])[1])
    web = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(web), Lines(store) as client:
        web.request("PUT", "/it", b"a value", {"User-Agent": "a test"})
        assert web.getresponse().read() == b""
        assert store.next_line() == "a test sets it"
        client.send("get it")
        assert client.receive() == "7"
        for path, status, body in (("/two", 200, b"zwei deux"), ("/it", 200, b"a value")):
            web.request("GET", path)
            response = web.getresponse()
            assert (response.status, response.read()) == (status, body)
        web.request("GET", "/nothing")
        assert web.getresponse().status == 404


# On TLS


def test_chat_room_on_tls(certificates):
    tls = "--tls", certificates.server, certificates.key
    context = ssl.create_default_context(cafile=certificates.ca)
    with (
        running("chat_room.py", *tls) as room,
        room.connect() as sock,
        context.wrap_socket(sock, server_hostname="localhost") as guest,
    ):
        reader = guest.makefile("rb")
        assert reader.readline() == b"Welcome. What is your name?\r\n"
        guest.sendall(b"ann\n/who\n")
        assert reader.readline() == b"* hello, ann\r\n"
        assert reader.readline() == b"* here: ann\r\n"


def test_smtp_with_starttls(certificates):
    context = ssl.create_default_context(cafile=certificates.ca)
    with running("smtp_debug.py", "--tls", certificates.server, certificates.key) as server:
        with smtplib.SMTP("localhost", server.port, timeout=PATIENCE) as client:
            client.ehlo()
            assert client.has_extn("starttls")
            client.mail("forgotten@example.org")
            client.starttls(context=context)
            client.ehlo()
            assert not client.has_extn("starttls")
            client.sendmail("a@example.org", ["b@example.org"], b"Subject: secret\r\n\r\nbody\r\n")
        lines = [server.next_line() for _ in range(5)]
    assert lines[0] == "---- from <a@example.org> to b@example.org"
    assert "Subject: secret" in lines


def test_smtp_with_openssl(certificates):
    with running("smtp_debug.py", "--tls", certificates.server, certificates.key) as server:
        address = f"127.0.0.1:{server.port}"
        command = ["openssl", "s_client", "-starttls", "smtp", "-connect", address, "-CAfile", certificates.ca]
        process = subprocess.run(
            [*command, "-verify_return_error", "-quiet", "-crlf", "-ign_eof"],
            input=b"EHLO me\nquit\n",
            capture_output=True,
            timeout=PATIENCE,
        )
    assert b"250 PIPELINING" in process.stdout
    assert b"221 goodbye" in process.stdout
