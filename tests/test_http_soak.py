"""The HTTP server in a process of its own, under random load and abuse, and with the clients that people use."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import asynchat_fast

PATIENCE = 60  # seconds
CLIENTS = 8
PATTERN = bytes(range(256)) * 1024

SERVER = """
import gc, json, os, sys
from asynchat_fast import call_later, loop
from asynchat_fast.http import http_request_handler, http_server

PATTERN = bytes(range(256)) * 1024

class Handler(http_request_handler):
    linger_timeout = 0.2

    def do_GET(self):
        kind, _, size = self.path[1:].partition("/")
        if kind == "stats":
            gc.collect()
            fds = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
            self.respond(200, json.dumps({"objects": len(gc.get_objects()), "fds": fds, "channels": len(self._map)}))
            return
        body = PATTERN[:int(size or 0)]
        if kind == "bytes":
            self.respond(200, body)
        elif kind == "pieces":
            self.respond(200, (body[at : at + 10_000] for at in range(0, len(body), 10_000)))
        elif kind == "later":
            call_later(0.001, self.respond, 200, body)
        elif kind == "written":
            self.write(body[:100])
            call_later(0, self.go_on, body)
        elif kind == "error":
            self.send_error(404)

    def go_on(self, body):
        self.write(body[100:])
        self.finish()

    def do_POST(self):
        self.respond(200, self.body)

server = http_server(("127.0.0.1", 0), Handler)
print(server.addr[1], flush=True)
loop()
"""


@contextmanager
def running(tmp_path, code):
    """Run a server of *code* away from the source tree, and give the port that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def random_request(rng):
    """Return the bytes of a request, the expected response (status, body or None), and whether it is the last one."""
    size = rng.choice([0, 1, 50, 999, rng.randrange(20_000), rng.randrange(len(PATTERN))])
    last = rng.random() < 0.05
    fields = "Host: soak\r\n" + "X-Field: value\r\n" * rng.randrange(5) + "Connection: close\r\n" * last
    kind = rng.choice(["bytes", "bytes", "pieces", "later", "written", "head", "post", "chunked", "error"])
    if kind == "post":
        body = PATTERN[:size]
        return f"POST / HTTP/1.1\r\n{fields}Content-Length: {size}\r\n\r\n".encode() + body, (200, body), last
    if kind == "chunked":
        body, chunks = PATTERN[:size], b""
        for at in range(0, size, step := rng.randrange(1000, 70_000)):
            chunk = body[at : at + step]
            chunks += b"%x\r\n%b\r\n" % (len(chunk), chunk)
        head = f"POST / HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\n\r\n".encode()
        return head + chunks + b"0\r\n\r\n", (200, body), last
    if kind == "head":
        return f"HEAD /bytes/{size} HTTP/1.1\r\n{fields}\r\n".encode(), (200, None), last
    status, body, last = (404, b"404", True) if kind == "error" else (200, PATTERN[:size], last)
    return f"GET /{kind}/{size} HTTP/1.1\r\n{fields}\r\n".encode(), (status, body), last


def read_response(file, has_body):
    status = int(file.readline().split()[1])
    fields = {}
    while (line := file.readline()) != b"\r\n":
        name, _, value = line.partition(b": ")
        fields[name.lower()] = value.strip()
    body = b""
    if not has_body:
        pass
    elif fields.get(b"transfer-encoding") == b"chunked":
        while size := int(file.readline(), 16):
            body += file.read(size)
            assert file.readline() == b"\r\n"
        assert file.readline() == b"\r\n"
    else:
        body = file.read(int(fields[b"content-length"]))
    return status, body


def soak(port, seed, count):
    """Send *count* random requests, several at a time, some in pieces; leave some connections amidst a response."""
    rng = random.Random(seed)
    while count > 0:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock, sock.makefile("rb") as file:
            for _ in range(rng.randrange(1, 8)):
                batch = []
                while len(batch) < rng.choice([1, 1, 4]) and not (batch and batch[-1][2]):
                    batch.append(random_request(rng))
                stream = b"".join(request for request, _, _ in batch)
                count -= len(batch)
                cut = rng.randrange(len(stream) + 1)
                with ThreadPoolExecutor(1) as sender:  # as the server stops reading while no client takes its responses
                    sending = sender.submit(
                        lambda parts: [sock.sendall(part) for part in parts], (stream[:cut], stream[cut:])
                    )
                    if rng.random() < 0.05:
                        break
                    for _, (status, body), _ in batch:
                        got = read_response(file, body is not None)
                        assert got[0] == status
                        assert got[1] == (body or b"") or (status == 404 and body in got[1])
                    sending.result()
                if batch[-1][2]:
                    assert file.read() == b""
                    break


def stats(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=PATIENCE) as response:
        return json.load(response)


def settled(port):
    """Return the numbers of the server once only the acceptor and the asking connection are left."""
    while (found := stats(port))["channels"] > 2:
        pass
    return found


def test_random_load(tmp_path):
    with running(tmp_path, SERVER) as port, ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(soak, [port] * CLIENTS, range(CLIENTS), [40] * CLIENTS))
        before = settled(port)
        for seed in range(1, 4):
            seeds = [100 * seed + client for client in range(CLIENTS)]
            list(clients.map(soak, [port] * CLIENTS, seeds, [40] * CLIENTS))
        after = settled(port)
    assert after["fds"] <= before["fds"]
    assert after["objects"] < before["objects"] + 200


ABUSED = SERVER.replace(
    "linger_timeout = 0.2",
    "linger_timeout = 0.2; head_timeout = body_timeout = keep_alive_timeout = write_timeout = 1",
)
ABUSES = {
    "a head that drips": b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
    "a body that drips": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
    "nothing": b"",
    "no reading": b"GET /bytes/262144 HTTP/1.1\r\nHost: x\r\n\r\n" * 100,
}


def test_good_clients_are_served_beside_bad_ones_which_are_closed_in_time(tmp_path):
    with running(tmp_path, ABUSED) as port:
        bad = []
        for beginning in ABUSES.values():
            for _ in range(50):
                sock = socket.create_connection(("127.0.0.1", port))
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                with suppress(BlockingIOError):
                    sock.send(beginning)
                bad.append((sock, beginning))
        served, channels = 0, len(bad)
        while channels > 2:
            for sock, _ in bad[:100]:
                with suppress(OSError):
                    sock.send(b"x")  # one more byte, so that there is some progress
            for body in (b"good", b"client"):
                with (
                    socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock,
                    sock.makefile("rb") as file,
                ):
                    sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                    assert read_response(file, True) == (200, body)
                    served += 1
            channels = stats(port)["channels"]
        assert served
        for sock, _ in bad:
            sock.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(tmp_path):
    (tmp_path / "body").write_bytes(PATTERN)
    with running(tmp_path, SERVER) as port:
        url = f"http://127.0.0.1:{port}"

        def curl(*arguments):
            return subprocess.run(
                ["curl", "-sS", "--max-time", str(PATIENCE), *arguments], cwd=tmp_path, capture_output=True, check=True
            ).stdout

        assert curl(f"{url}/bytes/100000", f"{url}/pieces/50000", f"{url}/later/3") == (
            PATTERN[:100_000] + PATTERN[:50_000] + PATTERN[:3]
        )
        assert curl("--data-binary", "@body", url) == PATTERN
        assert curl("-H", "Transfer-Encoding: chunked", "--data-binary", "@body", url) == PATTERN
        assert curl("-H", "Expect: 100-continue", "--data-binary", "@body", url) == PATTERN
        assert b"HTTP/1.1 200 OK" in curl("-I", f"{url}/bytes/7")
        assert curl("-0", f"{url}/pieces/50000") == PATTERN[:50_000]
        assert b"404" in curl(f"{url}/error")


def test_http_client(tmp_path):
    import http.client

    with running(tmp_path, SERVER) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        for path in ("/bytes/100000", "/pieces/100000", "/later/100000", "/written/100000"):
            connection.request("GET", path)
            assert connection.getresponse().read() == PATTERN[:100_000]
        connection.request(
            "POST", "/", body=iter([b"one ", b"two"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
        )
        assert connection.getresponse().read() == b"one two"
        connection.request("HEAD", "/bytes/5")
        response = connection.getresponse()
        assert (response.status, response.length, response.read()) == (200, 0, b"")
        connection.close()


def test_httpx(tmp_path):
    httpx = pytest.importorskip("httpx", reason="httpx is not installed")
    with (
        running(tmp_path, SERVER) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client,
    ):
        for path in ("/bytes/100000", "/pieces/100000", "/later/100000", "/written/100000"):
            assert client.get(path).content == PATTERN[:100_000]
        assert client.post("/", content=PATTERN).content == PATTERN
        assert client.post("/", content=(piece for piece in (b"one ", b"two"))).content == b"one two"
        assert client.get("/error/").status_code == 404
        assert client.get("/bytes/1").content == PATTERN[:1]
