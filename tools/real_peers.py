"""Run recipes of docs/terminators.md against redis, memcached, beanstalkd and HAProxy.

    python tools/real_peers.py

asynchat_fast has to be importable.  Each server that is here is started on a unix socket in a temporary folder, gets
the requests below, one push each, and has to send the messages that stand beside them, as the recipe reads them.  A
line names those that are not here; Debian's packages are redis-server, memcached, beanstalkd and haproxy.  The exit
status is 1 if a message is another one.
"""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from asynchat_fast import SocketMap, loop

PAGE = Path(__file__).parents[1] / "docs" / "terminators.md"
PATIENCE = 10  # seconds

COMMANDS = {
    "redis-server": ["--port", "0", "--unixsocket", "{folder}/socket", "--save", "", "--dir", "{folder}"],
    "memcached": ["-u", "root", "-s", "{folder}/socket"],
    "beanstalkd": ["-l", "unix:{folder}/socket"],
    "haproxy": ["-db", "-f", "{folder}/haproxy.cfg"],
}

HAPROXY = """
global
    stats socket {folder}/socket level admin
defaults
    mode tcp
    timeout connect 5s
    timeout client 5s
    timeout server 5s
listen only
    bind unix@{folder}/only
"""

CLOSED = "closed"
OF_MEMCACHED = {"announced": re.compile(rb"VALUE .* (\d{1,9})").fullmatch}
OF_BEANSTALKD = {"announced": re.compile(rb"(?:RESERVED|FOUND) \d+ (\d{1,9})").fullmatch}
TO_BLANK_LINE = {"end": b""}

# Of each connection: the server, the recipe, attributes of a subclass, and each request with what is to come.
CONNECTIONS = [
    (
        ("redis-server", "counted.py", {}),
        (b"PING\r\n", (b"+PONG", None)),
        (b"PING\n", (b"+PONG", None)),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n", (b"+OK", None)),
        (b"GET k\r\nGET none\r\n", (b"$4", b"a\r\nb"), (b"$-1", None)),
        (b'SET k ""\r\nGET k\r\n', (b"+OK", None), (b"$0", b"")),
        (b"*01\r\n$4\r\nPING\r\n", (b"-ERR Protocol error: invalid multibulk length", None), CLOSED),
    ),
    (
        ("memcached", "counted.py", OF_MEMCACHED),
        (b"set k 0 0 4\r\na\r\nb\r\n", (b"STORED", None)),
        (b"get k\n", (b"VALUE k 0 4", b"a\r\nb"), (b"END", None)),
        (b"set k 0 0 0\r\n\r\nget k\r\n", (b"STORED", None), (b"VALUE k 0 0", b""), (b"END", None)),
        # After an error of a storage command, its data are read as commands.
        (
            b"set " + b"k" * 251 + b" 0 0 6\r\nget no\r\n",
            (b"CLIENT_ERROR bad command line format", None),
            (b"END", None),
        ),
    ),
    (("memcached", "counted.py", OF_MEMCACHED), (b"x" * 2049, CLOSED)),
    (
        ("beanstalkd", "counted.py", OF_BEANSTALKD),
        (b"put 0 0 60 4\r\na\r\nb\r\nreserve\r\n", (b"INSERTED 1", None), (b"RESERVED 1 4", b"a\r\nb")),
        (b"put 0 0 60 0\r\n\r\nreserve\r\n", (b"INSERTED 2", None), (b"RESERVED 2 0", b"")),
        (b"x" * 222 + b"\r\nwatch a\r\n", (b"UNKNOWN_COMMAND", None), (b"WATCHING 2", None)),
        (b"x" * 223 + b"\r\nwatch b\r\n", (b"BAD_FORMAT", None)),  # the second command was swallowed
        (b"watch b\r\n", (b"WATCHING 3", None)),
    ),
    (("haproxy", "block.py", TO_BLANK_LINE), (b"show backend\n", [b"# name", b"only"], CLOSED)),
    (
        ("haproxy", "block.py", TO_BLANK_LINE),
        (b"set timeout cli 5\nshow backend\n", [], [b"# name", b"only"], CLOSED),
    ),
    (
        ("haproxy", "prompted.py", {}),
        (b"prompt\n", b""),
        (b"show backend\n", b"# name\nonly\n"),
        (b"set timeout cli 5\n", b""),
        (b"quit\n", CLOSED),
    ),
]


def read_recipe(name):
    """Return the class that the block *name* of the page defines."""
    (text,) = re.findall(
        rf"<!-- file: {name} -->\n```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S
    )
    namespace = {"__name__": "recipe"}
    exec(text, namespace)  # noqa: S102 - it is of this repository
    (recipe,) = (each for each in namespace.values() if getattr(each, "__module__", "") == "recipe")
    return recipe


@contextlib.contextmanager
def running(name, folder):
    """Have the server *name* listen at ``socket`` in *folder*."""
    (folder / "haproxy.cfg").write_text(HAPROXY.format(folder=folder), encoding="utf-8")
    command = [shutil.which(name), *(each.format(folder=folder) for each in COMMANDS[name])]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def connect(folder):
    deadline = time.monotonic() + PATIENCE
    while True:
        sock = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            sock.connect(str(folder / "socket"))
            return sock
        sock.close()
        if time.monotonic() > deadline:
            raise TimeoutError("the server does not listen")
        time.sleep(0.02)


def talk(folder, recipe, attributes, requests):
    """Return the first request, and what came, of which something else was to come; None if there is none."""
    messages = []

    class Client(read_recipe(recipe)):
        def message_received(self, *message):
            messages.append(message if message[1:] else message[0])

        def handle_close(self):
            messages.append(CLOSED)
            self.close()

    channels = SocketMap()
    client = type("Client", (Client,), attributes)(connect(folder), channels)
    try:
        for request, *expected in requests:
            messages.clear()
            client.push(request)
            deadline = time.monotonic() + PATIENCE
            while len(messages) < len(expected) and time.monotonic() < deadline and channels:
                loop(1, map=channels, count=1)
            if messages != expected:
                return request, messages
    finally:
        client.close()
    return None


def main():
    here = [name for name in COMMANDS if shutil.which(name)]
    for name in COMMANDS.keys() - here:
        print(f"SKIP: {name} is not here")
    failures = 0
    for name in here:
        with tempfile.TemporaryDirectory() as folder, running(name, Path(folder)):
            for (server, recipe, attributes), *requests in CONNECTIONS:
                if server == name:
                    wrong = talk(Path(folder), recipe, attributes, requests)
                    failures += wrong is not None
                    print(f"{name}, {recipe}, {len(requests)} requests: {'as said' if wrong is None else wrong}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
