"""What docs/peers.md says of programs that are here, and of what follows for ours."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import asynchat_fast

DOCS = Path(__file__).parents[1] / "docs"
if not DOCS.is_dir():
    pytest.skip("these tests are not in a source tree, so there is no documentation", allow_module_level=True)

PATIENCE = 30  # seconds; a wait takes less than two unless something hangs


def command(name):
    found = shutil.which(name)
    if found is None or os.name == "nt":
        pytest.skip(f"the command {name} is not here")
    return found


class Server:
    """The program *text*, which prints its port, in *directory*; ``output()`` is what it prints later, to its end."""

    def __init__(self, text, directory):
        environment = os.environ | {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1])}
        self.process = subprocess.Popen(
            [sys.executable, "-c", text],
            env=environment,
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.port = int(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)

    def output(self):
        return self.process.communicate(timeout=PATIENCE)[0]


OF_LARGE_BODIES = """
from asynchat_fast import loop
from asynchat_fast.http import http_request_handler, http_server

class Handler(http_request_handler):
    def handle_head(self):
        self.stream_body = True
        self.length = 0
        if self.path == "/refused":
            self.send_error(403)

    def body_data(self, view):
        self.length += len(view)

    def do_POST(self):
        self.respond(200, str(self.length))

    def do_GET(self):
        self.respond(200, "next")

print(http_server(("127.0.0.1", 0), Handler).addr[1], flush=True)
loop()
"""


def test_curl_sends_a_large_body_or_leaves_it(tmp_path):
    """curl says Expect; the body is called for, or refused early, after which the next request has a new connection."""
    curl = command("curl")
    (tmp_path / "body").write_bytes(b"x" * ((1 << 20) + 1))
    shown = "%{http_code} %{num_connects}\\n"
    with Server(OF_LARGE_BODIES, tmp_path) as server:
        posts = [
            f"http://127.0.0.1:{server.port}/taken",
            f"http://127.0.0.1:{server.port}/refused",
            f"http://127.0.0.1:{server.port}/taken",
        ]
        arguments = ["--next"]
        for url in posts:
            arguments += ["-s", "-o", os.devnull, "-w", shown, "--data-binary", "@body", url, "--next"]
        arguments += ["-s", "-w", f"\n{shown}", f"http://127.0.0.1:{server.port}/"]
        done = subprocess.run(
            [curl, *arguments[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    assert done.stdout.splitlines() == ["200 1", "403 0", "200 1", "next", "200 0"]


OF_SMTP = """
from asynchat_fast import chat_server, loop
from postbox_log import Session

class Hasty(Session):
    idle_timeout = 0.5

    def handle_close(self):
        super().handle_close()
        server.close()

server = chat_server(("127.0.0.1", 0), Hasty)
print(server.addr[1], flush=True)
loop()
"""


def test_openssl_begins_with_tls_where_it_was_refused(tmp_path):
    openssl = command("openssl")
    page = (DOCS / "dialogue.md").read_text(encoding="utf-8")
    for name, text in re.findall(r"^<!-- file: ([\w.]+) -->\n```python\n(.*?)^```$", page, re.M | re.S):
        (tmp_path / name).write_text(text, encoding="utf-8")
    with Server(OF_SMTP, tmp_path) as server:
        client = subprocess.Popen(
            [openssl, "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{server.port}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            printed = server.output()
        finally:
            client.kill()
            client.communicate(timeout=PATIENCE)
    assert printed.startswith("error: a TLS handshake came, and no STARTTLS\nerror: closing ")
    assert printed.endswith("idle for 0.5 seconds\n")
