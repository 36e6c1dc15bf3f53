#!/usr/bin/env bash
# A server of ManageSieve may send any string quoted or as a literal, and both mean the same (RFC 5804, section 4).
# sievelib 1.6.0 sees which script is active only if its name is quoted: if the name is a literal, no script is active,
# and this one has " ACTIVE" in its name.  The text of a script, in turn, it takes only as a literal: quoted, it keeps
# the quotes and the backslashes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check sievelib==1.6.0 typing-extensions==4.16.0
"$work/venv/bin/python" -W ignore::UserWarning - <<'PYTHON'
import socket
import sys
import threading
from importlib.metadata import version

from sievelib.managesieve import Client

SCRIPT = 'redirect "ann@example.org";'


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def literal(text):
    return f"{{{len(text)}}}\r\n{text}"


def serve(connection, string):
    """Speak ManageSieve as a server whose names and scripts are sent as *string* makes them."""
    answers = {
        b"LISTSCRIPTS": f"{string('spare')}\r\n{string('main')} ACTIVE\r\n",
        b"GETSCRIPT": f"{string(SCRIPT)}\r\n",
    }
    with connection, connection.makefile("rb") as commands:
        connection.sendall(b'"IMPLEMENTATION" "example"\r\n"SASL" "PLAIN"\r\n"SIEVE" ""\r\n"VERSION" "1.0"\r\nOK\r\n')
        command = b""
        while command != b"LOGOUT":
            command = commands.readline().split()[0]
            connection.sendall(answers.get(command, "").encode() + b"OK\r\n")


def seen_from(string):
    """Return the name of the active script, those of the others, and the text of the active one, as a client sees."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = Client(*listening.getsockname())
        server = threading.Thread(target=lambda: serve(listening.accept()[0], string))
        server.start()
        assert client.connect("ann", "secret", starttls=False)
        active, others = client.listscripts()
        text = client.getscript("main")
        client.logout()
        server.join(10)
        return active, others, text


print("sievelib", version("sievelib"))
seen = {}
for name, string in ("quoted", quoted), ("literal", literal):
    seen[name] = seen_from(string)
    active, others, text = seen[name]
    print(f"{name}: active {active!r}, others {others}, text {text}")
expected = {
    "quoted": ("main", ["spare"], quoted(SCRIPT)),
    "literal": (None, ["spare", "main ACTIVE"], SCRIPT),
}
sys.exit(0 if seen == expected else "it behaves differently now")
PYTHON
