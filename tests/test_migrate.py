"""The messages of the table in docs/migrate.md are those that its reasons bring about."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import asynchat_fast

PAGE = Path(__file__).parents[1] / "docs" / "migrate.md"
if not PAGE.exists():
    pytest.skip("these tests are not in a source tree, so there is no documentation", allow_module_level=True)

PATIENCE = 30  # seconds; a program takes a fraction of one unless something hangs
TABLE = re.search(r"## What you see.*?\n\n(\|.*?)\n\n", PAGE.read_text(encoding="utf-8"), re.S)[1]
QUOTED = re.findall(r"`([^`]+)`", "".join(line.split(" | ")[0] for line in TABLE.splitlines()))


def run(program, *options, arguments=()):
    """Run *program*, the text of one, and return all that it prints."""
    environment = os.environ | {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1])}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", *options, *arguments]
    if program:
        command += ["-c", program]
    process = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE
    )
    return process.stdout


def assert_told(printed, *messages):
    """Assert that all of *messages* stand in the first column of the table, and in what was *printed*."""
    for message in messages:
        assert message in QUOTED
        assert message in printed


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this Python has asynchat in its standard library")
def test_modules_that_python_3_12_removed():
    printed = run("import asynchat", "-S", "-I")
    assert_told(printed, "ModuleNotFoundError: No module named 'asynchat'")
    assert "No module named 'asyncore'" in run("import asyncore", "-S", "-I")  # 3.15 has advice behind it
    assert "No module named 'smtpd'" in run("import smtpd", "-S", "-I")


def test_a_str_of_python_2():
    program = "from asynchat_fast import async_chat; async_chat().{}"
    assert_told(run(program.format('set_terminator("x")')), "TypeError: terminator must be bytes, int or None, not str")
    assert_told(run(program.format('push("x")')), "push() takes bytes, bytearray or memoryview, not str")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the ssl of this Python has wrap_socket()")
def test_the_function_of_ssl_that_python_3_12_removed():
    assert_told(run("import ssl; ssl.wrap_socket"), "AttributeError: module 'ssl' has no attribute 'wrap_socket'")


CLIENT_WITHOUT_SOCKET = """
import ssl
from asynchat_fast import async_chat, chat_client

class Client(async_chat):
    def __init__(self):
        super().__init__()
        self.start_tls(ssl.create_default_context(), server_side=False, server_hostname="localhost")

chat_client(("localhost", 1), Client)
"""


def test_tls_on_a_channel_without_socket():
    printed = run(CLIENT_WITHOUT_SOCKET)
    assert_told(printed, "RuntimeError: start_tls() needs a socket: call create_socket() first")


OLD_MAIL_SERVER = """
import asynchat_fast
asynchat_fast.install()
import smtpd, smtplib, threading

class Old(smtpd.SMTPServer):
    def process_message(self, peer, mailfrom, rcpttos, data{}):
        print("got it")

def send():
    try:
        with smtplib.SMTP(*server.socket.getsockname()) as smtp:
            smtp.sendmail("a@example.org", "b@example.org", "text")
    except smtplib.SMTPServerDisconnected:
        print("closed")
    server.close()

server = Old(("127.0.0.1", 0), None)
threading.Thread(target=send).start()
asynchat_fast.loop(0.1)
"""


def test_a_mail_server_that_takes_no_options():
    if run("import asynchat_fast; asynchat_fast.install(); import smtpd"):
        pytest.skip("smtpd is not installed")
    printed = run(OLD_MAIL_SERVER.format(""))
    assert_told(printed, "process_message() got an unexpected keyword argument 'mail_options'")
    assert printed.endswith("closed\n")
    assert run(OLD_MAIL_SERVER.format(", **options")) == "got it\n"


def test_a_timer_that_fails_is_not_set_again():
    program = """
import socket, asynchat_fast
one, other = socket.socketpair()
channel = asynchat_fast.async_chat(one)

def housekeeping():
    {}
    print("called")
    1 / 0
    {}

asynchat_fast.call_later(0, housekeeping)
asynchat_fast.loop(0.01, count=5)
"""
    again = "asynchat_fast.call_later(0, housekeeping)"
    printed = run(program.format("pass", again))
    assert_told(printed, "error: uncaptured python exception in")
    assert printed.count("called") == 1
    assert run(program.format(again, "pass")).count("called") > 1


def test_two_back_ports_that_own_one_folder():
    printed = run('import sys; sys.modules["asyncore"] = None; import asynchat_fast')
    assert_told(printed, "ModuleNotFoundError: asynchat_fast needs asyncore")
    assert "pip install --force-reinstall pyasyncore" in printed
    assert "pip install --force-reinstall pyasyncore" in TABLE


def test_an_asynchat_that_was_imported_before():
    program = "import sys, types; sys.modules['asynchat'] = types.ModuleType('asynchat')\n"
    printed = run(program + "import asynchat_fast; asynchat_fast.install()")
    assert_told(printed, "RuntimeWarning: another asynchat was imported before asynchat_fast.install()")


MANY_DESCRIPTORS = """
import asyncore, fcntl, resource, socket, sys
import asynchat_fast

resource.setrlimit(resource.RLIMIT_NOFILE, (1100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
one, other = socket.socketpair()
high = fcntl.fcntl(one, fcntl.F_DUPFD, 1050)
channel = asynchat_fast.async_chat(socket.socket(fileno=high))
channel.writable = lambda: False
getattr(sys.modules[sys.argv[1]], "loop")(0, count=1)
print("served")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="select() has another limit here, or none")
def test_more_descriptors_than_select_takes(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(MANY_DESCRIPTORS, encoding="utf-8")
    printed = run("", arguments=[program, "asyncore"])
    assert_told(printed, "ValueError: filedescriptor out of range in select()")
    assert run("", arguments=[program, "asynchat_fast"]) == "served\n"


def test_timers_are_for_our_loop():
    program = """
import asyncore, socket, asynchat_fast
one, other = socket.socketpair()
channel = asynchat_fast.async_chat(one)
asynchat_fast.call_later(0, print, "a timer")
{}.loop(0.01, count=3)
"""
    assert run(program.format("asyncore")) == ""
    assert run(program.format("asynchat_fast")) == "a timer\n"


RESTARTING = """
import os, sys

import asynchat

print(asynchat.__name__, flush=True)
if len(sys.argv) == 2:
    options = ["-W", "ignore", *(["-m", "asynchat_fast"] if sys.argv[1] == "kept" else [])]
    os.execv(sys.executable, [sys.executable, *options, *sys.argv, "again"])
"""


@pytest.mark.skipif(os.name != "posix", reason="this system starts another process for os.execv()")
def test_a_program_that_restarts_itself(tmp_path):
    pytest.importorskip("asynchat", reason="this Python has no asynchat to fall back to")
    program = tmp_path / "program.py"
    program.write_text(RESTARTING, encoding="utf-8")
    assert "`os.execv(sys.executable, ...)`" in TABLE
    assert run("", "-m", "asynchat_fast", arguments=[program, "lost"]) == "asynchat_fast\nasynchat\n"
    assert run("", "-m", "asynchat_fast", arguments=[program, "kept"]) == "asynchat_fast\nasynchat_fast\n"


def test_a_program_that_carries_its_own_asynchat(tmp_path):
    (tmp_path / "carried.py").write_text("class async_chat:\n    pass\n", encoding="utf-8")
    program = tmp_path / "program.py"
    program.write_text("from carried import async_chat\n", encoding="utf-8")
    printed = run("", "-m", "asynchat_fast", "-v", arguments=[program])
    assert_told(printed, "asynchat-fast: not used: no module has imported asynchat")


@pytest.mark.skipif(os.name != "posix", reason="this system has no forkserver")
def test_processes_of_a_forkserver(tmp_path):
    """The block of the page is run with "spawn" as it stands; "forkserver" is the default from Python 3.14 on."""
    page = PAGE.read_text(encoding="utf-8")
    (block,) = re.findall(r"^<!-- file: spawning.py -->\n```python\n(.*?)^```$", page, re.M | re.S)
    assert '"spawn"' in block
    program = tmp_path / "program.py"
    program.write_text(block.replace('"spawn"', '"forkserver"'), encoding="utf-8")
    assert run("", arguments=[program]) == "asynchat_fast\n"
