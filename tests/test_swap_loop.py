"""``install(loop=True)`` and ``--loop``: programs that call asyncore.loop(), served by ours without a change."""

import contextlib
import ftplib
import importlib.util
import io
import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import asynchat_fast
from asynchat_fast import SocketMap, asyncore

PATIENCE = 30  # seconds; a wait takes much less unless something hangs

its_own_loop = asyncore.loop


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch):
    asynchat_fast.uninstall()
    monkeypatch.delitem(sys.modules, "asynchat", raising=False)
    monkeypatch.setattr(asyncore, "loop", its_own_loop)
    yield
    asynchat_fast.uninstall()


# install() and uninstall()


def test_install_leaves_the_loop_alone_unless_asked():
    asynchat_fast.install()
    assert asyncore.loop is its_own_loop


def test_importing_asynchat_fast_swaps_no_loop():
    program = "import asynchat_fast; print(asynchat_fast.asyncore.loop is asynchat_fast.loop)"
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert printed == "False\n"


def test_install_the_loop():
    asynchat_fast.install(loop=True)
    from asyncore import loop

    assert loop is asyncore.loop is asynchat_fast.loop
    import asynchat

    assert asynchat is asynchat_fast


def test_uninstall_restores_the_loop():
    asynchat_fast.install(loop=True)
    asynchat_fast.uninstall()
    assert asyncore.loop is its_own_loop
    assert "asynchat" not in sys.modules


@pytest.mark.parametrize("again", [True, False])
def test_install_may_be_repeated(again):
    asynchat_fast.install(loop=True)
    asynchat_fast.install(loop=again)
    assert asyncore.loop is asynchat_fast.loop
    asynchat_fast.uninstall()
    assert asyncore.loop is its_own_loop


def test_the_loop_may_follow_later():
    asynchat_fast.install()
    asynchat_fast.install(loop=True)
    assert asyncore.loop is asynchat_fast.loop
    asynchat_fast.uninstall()
    assert asyncore.loop is its_own_loop


def test_install_anew_after_uninstall():
    for _ in range(2):
        asynchat_fast.install(loop=True)
        assert asyncore.loop is asynchat_fast.loop
        asynchat_fast.uninstall()
        assert asyncore.loop is its_own_loop


def test_uninstall_leaves_a_loop_alone_that_came_after_install(monkeypatch):
    asynchat_fast.install(loop=True)
    monkeypatch.setattr(asyncore, "loop", later := object())
    asynchat_fast.uninstall()
    assert asyncore.loop is later


def test_uninstall_restores_the_loop_from_before(monkeypatch):
    monkeypatch.setattr(asyncore, "loop", before := object())
    asynchat_fast.install(loop=True)
    assert asyncore.loop is asynchat_fast.loop
    asynchat_fast.uninstall()
    assert asyncore.loop is before


def test_the_installed_loop_runs_timers_on_the_default_map(monkeypatch):
    """asyncore's own loop would never call the timers."""
    monkeypatch.setattr(asyncore, "socket_map", SocketMap())
    asynchat_fast.install(loop=True)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = asynchat_fast.async_chat(ours)
        asynchat_fast.call_later(0, channel.close)
        asyncore.loop()
    assert channel.socket.fileno() == -1


# Programs under --loop


@contextlib.contextmanager
def running(*command, announcing, directory=None):
    """Run *command* under ``python -m asynchat_fast --loop``; yield the process and the port that it announces."""
    process = subprocess.Popen(
        [sys.executable, "-m", "asynchat_fast", "--loop", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1]), "PYTHONUNBUFFERED": "1"},
        # The process that runs the tests may ignore Ctrl-C, and its children inherit that.
        preexec_fn=None if os.name == "nt" else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        said = ""
        for line in process.stdout:
            said += line
            if announced := re.search(announcing, line):
                yield process, int(announced[1])
                return
        pytest.fail(f"the program has not started:\n{said}")
    finally:
        process.kill()
        process.communicate()


ECHO = """\
import asynchat
import asyncore
import sys
import warnings


class Echo(asynchat.async_chat):
    def __init__(self, sock):
        asynchat.async_chat.__init__(self, sock)
        self.set_terminator(b"\\r\\n")
        self.line = []

    def collect_incoming_data(self, data):
        self.line.append(data)

    def found_terminator(self):
        line = b"".join(self.line)
        self.line = []
        if line == b"shut down":
            asyncore.close_all()
        elif line == b"which":
            self.push(asyncore.loop.__module__.encode() + b"\\r\\n")
        else:
            self.push(line + b"\\r\\n")


class Server(asyncore.dispatcher):
    def __init__(self):
        asyncore.dispatcher.__init__(self)
        self.create_socket()
        self.set_reuse_addr()
        self.bind(("127.0.0.1", 0))
        self.listen(100)

    def handle_accepted(self, sock, addr):
        Echo(sock)


if __name__ == "__main__":
    print("arguments", sys.argv[1:])
    print("port", Server().socket.getsockname()[1])
    asyncore.loop(timeout=60, use_poll=True)
    print("done")
"""


@pytest.mark.parametrize("as_module", [False, True], ids=["program", "-m"])
def test_an_echo_server(tmp_path, as_module):
    (tmp_path / "echo.py").write_text(ECHO)
    command = ["-m", "echo"] if as_module else [tmp_path / "echo.py"]
    with running(*command, "--loop", announcing=r"port (\d+)", directory=tmp_path) as (process, port):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)) for _ in range(50)]
            files = [stack.enter_context(client.makefile("rwb")) for client in clients]
            for _ in range(3):
                for number, file in enumerate(files):
                    file.write(b"%d\r\n" % number)
                    file.flush()
                assert [file.readline() for file in files] == [b"%d\r\n" % number for number in range(50)]
            files[0].write(b"which\r\n")
            files[0].flush()
            assert files[0].readline() == b"asynchat_fast.eventloop\r\n"
            files[0].write(b"shut down\r\n")
            files[0].flush()
            assert [file.read() for file in files] == [b""] * 50
        said, _ = process.communicate(timeout=PATIENCE)
    assert said == "done\n"
    assert process.returncode == 0


def test_the_arguments_are_those_of_the_program(run_python, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import sys, asyncore; print(sys.argv[1:], asyncore.loop.__module__)")
    for options in [], ["--loop"], ["--loop", "-m"]:
        done = run_python("-W", "ignore", "-m", "asynchat_fast", "--loop", program, *options)
        assert done.stdout == f"{options} asynchat_fast.eventloop\n", done.stderr


def test_without_the_option_the_loop_is_asyncore_s(run_python, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import sys, asyncore; print(sys.argv[1:], asyncore.loop.__module__)")
    done = run_python("-W", "ignore", "-m", "asynchat_fast", program, "--loop")
    assert done.stdout == "['--loop'] asyncore\n", done.stderr


def test_an_error_of_a_channel_is_logged_and_of_the_program_ends_it(run_python, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncore, socket\n"
        "class Failing(asyncore.dispatcher):\n"
        "    def handle_read(self):\n"
        "        1 / 0\n"
        "ours, theirs = socket.socketpair()\n"
        "Failing(ours)\n"
        "theirs.send(b'x')\n"
        "asyncore.loop()\n"
        "raise asyncore.ExitNow('the end')\n"
    )
    done = run_python("-W", "ignore", "-m", "asynchat_fast", "--loop", program)
    assert "ZeroDivisionError" in done.stdout
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "asyncore.ExitNow: the end"


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_interrupt(tmp_path):
    (tmp_path / "echo.py").write_text(ECHO)
    with (
        running(tmp_path / "echo.py", announcing=r"port (\d+)") as (process, port),
        socket.create_connection(("127.0.0.1", port), PATIENCE) as client,
    ):
        client.sendall(b"hello\r\n")
        assert client.recv(100) == b"hello\r\n"  # it is in its loop
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE)
    assert "KeyboardInterrupt" in said
    assert process.returncode == -signal.SIGINT


SMTP = """\
import asyncore
import smtpd
import sys


class Server(smtpd.SMTPServer):
    def process_message(self, peer, mailfrom, rcpttos, data, **options):
        print(mailfrom, rcpttos, len(data))
        if b"the last" in data:
            self.close()


server = Server(("127.0.0.1", 0), None)
print("port", server.socket.getsockname()[1])
asyncore.loop()
print("done", asyncore.loop.__module__)
"""


@pytest.mark.skipif(importlib.util.find_spec("smtpd") is None, reason="this Python has no smtpd any more")
def test_smtpd(tmp_path):
    program = tmp_path / "smtp.py"
    program.write_text(SMTP)
    with running(program, announcing=r"port (\d+)") as (process, port):
        for body in "x" * 100_000 + "\r\n", "the last":
            with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client:
                client.sendmail("from@example.org", ["to@example.org"], f"Subject: test\r\n\r\n{body}")
        said, _ = process.communicate(timeout=PATIENCE)
    assert said.splitlines()[-1] == "done asynchat_fast.eventloop"
    assert said.count("from@example.org ['to@example.org']") == 2
    assert process.returncode == 0


@pytest.mark.skipif(importlib.util.find_spec("pyftpdlib") is None, reason="pyftpdlib is not installed")
def test_pyftpdlib(tmp_path):
    """pyftpdlib has a loop of its own, which the option does not disturb."""
    content = os.urandom(3_000_000)
    command = ["-m", "pyftpdlib", "-i", "127.0.0.1", "-p", "0", "-w", "-d", str(tmp_path)]
    with running(*command, announcing=r"starting FTP server on 127\.0\.0\.1:(\d+)") as (_, port):
        clients = []
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                client = stack.enter_context(ftplib.FTP(timeout=PATIENCE))
                client.connect("127.0.0.1", port)
                client.login()
                clients.append(client)
            for number, client in enumerate(clients):
                client.storbinary(f"STOR file{number}", io.BytesIO(content))
            for number, client in enumerate(reversed(clients)):
                received = io.BytesIO()
                client.retrbinary(f"RETR file{number}", received.write)
                assert received.getvalue() == content
            assert sorted(clients[0].nlst()) == ["file0", "file1", "file2"]


PYFTPDLIB_ON_ASYNCORE = """\
import asyncore
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

print(asyncore.loop.__module__, sorted(base.__module__ for base in FTPHandler.__mro__ if "chat" in base.__name__))
"""


@pytest.mark.skipif(importlib.util.find_spec("pyftpdlib") is None, reason="pyftpdlib is not installed")
def test_pyftpdlib_and_the_program_share_asyncore(run_python, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PYFTPDLIB_ON_ASYNCORE)
    done = run_python("-W", "ignore", "-m", "asynchat_fast", "--loop", program)
    assert "asynchat_fast.eventloop" in done.stdout, done.stderr
    assert "asynchat_fast.channel" in done.stdout
