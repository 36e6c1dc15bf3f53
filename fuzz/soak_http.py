"""An http_server with short deadlines under random load, beside clients that are slow, rude, or suddenly gone.

    python fuzz/soak_http.py [SECONDS [SEED]]      (300)

Every byte of every response is checked.  Those that make progress are to be served to the end: 5 MB are fetched at
20 KB/s, which takes 250 seconds, and bodies sent at 2 KB/s.  Those that make none are to be cut in time.  When all have
gone, the server is to have no more objects, descriptors and memory than after the first tenth of the time.
Exits with 1, and says what was wrong, otherwise.
"""

import contextlib
import json
import random
import select
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import test_http_soak as suite

DEADLINE = 3  # seconds, of heads, bodies, idle connections, and handlers: more than a busy machine holds up a client
WRITE_TIMEOUT = 3  # seconds
MARGIN = 5  # seconds, on a machine that is busy
FILE = suite.PATTERN * 20  # 5 MB
PACE = 20_000  # bytes a second

SERVER = (
    suite.SERVER.replace("import call_later,", "import call_later, file_producer,")
    .replace('"fds": fds,', '"fds": fds, "memory": int(open("/proc/self/statm").read().split()[1]) * 4,')
    .replace(
        "linger_timeout = 0.2",
        f"linger_timeout = 0.2; head_timeout = body_timeout = keep_alive_timeout = response_timeout = {DEADLINE}; "
        f"write_timeout = {WRITE_TIMEOUT}",
    )
    .replace(
        'elif kind == "error":',
        'elif kind == "file":\n            self.respond(200, file_producer(open("file", "rb"), 0, int(size)))\n'
        '        elif kind == "peers":\n'
        "            self.respond(200, json.dumps([each.addr[1] for each in self._map.values() if each.addr]))\n"
        '        elif kind == "error":',
    )
)


class Soak:
    """What the clients share: the address, the end of the time, and what they have seen."""

    def __init__(self, port, seconds, seed):
        self.port = port
        self.seed = seed
        self.begun = time.monotonic()
        self.end = self.begun + seconds
        self.seen = Counter()
        self.latest = 0.0  # seconds that a client was left beyond its deadline
        self.faults = []

    def goes_on(self):
        return time.monotonic() < self.end and not self.faults

    def connect(self, receive_buffer=None):
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(suite.PATIENCE)
        sock.connect(("127.0.0.1", self.port))
        return sock

    def peers(self):
        """Return the ports of those whom the server serves."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/peers", timeout=suite.PATIENCE) as response:
            return json.load(response)

    def run(self, client, number):
        rng = random.Random(f"{self.seed} {client.__name__} {number}")
        try:
            while self.goes_on():
                client(self, rng)
                self.seen[client.__name__] += 1
        except Exception:
            self.faults.append(f"{client.__name__}:\n{traceback.format_exc()}")


def ask_at_random(soak, rng):
    suite.soak(soak.port, rng.random(), 40)


def fetch_slowly(soak, rng):
    """Read a file at 20 KB/s, by a small buffer, so that what is read is seen by the server: 5 MB if there is time."""
    size = min(len(FILE), int((soak.end - time.monotonic() - 1) * PACE))
    if size < PACE:
        time.sleep(1)
        return
    with soak.connect(receive_buffer=16_384) as sock, sock.makefile("rb", buffering=0) as file:
        sock.sendall(b"GET /file/%d HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n" % size)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += file.read(1)
        assert head.startswith(b"HTTP/1.1 200 "), head
        begun, got = time.monotonic(), 0
        while data := file.read(4_000):
            assert data == FILE[got : got + len(data)], f"other bytes at {got}"
            got += len(data)
            time.sleep(max(begun + got / PACE - time.monotonic(), 0))
        assert got == size, f"cut after {got} bytes of {size}, and {time.monotonic() - begun:.1f} s"
        soak.seen["bytes of slow files"] += got


def send_slowly(soak, rng):
    body = suite.PATTERN[: rng.randrange(5_000, 30_000)]
    with soak.connect() as sock, sock.makefile("rb") as file:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: soak\r\nContent-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 200):
            sock.sendall(body[at : at + 200])
            time.sleep(0.1)
        assert suite.read_response(file, True) == (200, body)


def vanish(soak, rng):
    """Leave amid a request or a response, some with a reset."""
    with soak.connect(rng.choice([None, 4096])) as sock:
        request, _, _ = suite.random_request(rng)
        stream = request * rng.choice([1, 1, 5])
        sock.settimeout(1)
        with contextlib.suppress(OSError):
            sock.sendall(stream[: rng.randrange(len(stream) + 1)])
            if rng.random() < 0.5:
                sock.recv(rng.randrange(1, 100_000))
            if rng.random() < 0.3:
                sock.shutdown(socket.SHUT_WR)
        if rng.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(rng.random() / 20)


RUDE = {
    "nothing": (b"", DEADLINE),
    "a head that drips": (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", DEADLINE),
    "a body that drips": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", DEADLINE),
    "no reading": (b"GET /bytes/262144 HTTP/1.1\r\nHost: x\r\n\r\n" * 100, WRITE_TIMEOUT),
    "no reading of a file": (b"GET /file/5000000 HTTP/1.1\r\nHost: x\r\n\r\n", WRITE_TIMEOUT),
    "garbage": (bytes(range(256)) * 10, 0),
}


def be_rude(soak, rng):
    kind = rng.choice([*RUDE])
    beginning, limit = RUDE[kind]
    with soak.connect(receive_buffer=4096) as sock:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.send(beginning)
        poll = select.poll()
        reads = not kind.startswith("no reading")
        poll.register(sock, select.POLLIN if reads else 0)
        begun = time.monotonic()
        limit += 0.2 + 0.25 * limit  # the linger, and the time between two looks
        while True:
            late = time.monotonic() - begun - limit
            assert late < MARGIN, f"{kind}: still there {late:.1f} s after its time"
            shown = poll.poll(100)
            if any(events & ~select.POLLIN for _, events in shown) or (shown and not sock.recv(65536)):
                break
            # What the system has for it hides the end from one that does not read.
            if not reads and late > 0 and sock.getsockname()[1] not in soak.peers():
                break
            if "drips" in kind:
                with contextlib.suppress(OSError):
                    sock.send(b"x")
        soak.latest = max(soak.latest, late)
        soak.seen[kind] += 1


CLIENTS = {ask_at_random: 3, fetch_slowly: 2, send_slowly: 3, vanish: 3, be_rude: 12}


def soak_for(seconds, seed, port):
    soak = Soak(port, seconds, seed)
    threads = [
        threading.Thread(target=soak.run, args=(client, number), daemon=True)
        for client, count in CLIENTS.items()
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    while soak.goes_on():
        time.sleep(min(30, max(soak.end - time.monotonic(), 0.1)))
        print(f"{time.monotonic() - soak.begun:5.0f} s", suite.stats(port), dict(soak.seen), flush=True)
    for thread in threads:
        thread.join(suite.PATIENCE * 5)
    return soak


def main(seconds=300, seed=1):
    """Run for *seconds*; return the faults, texts."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "file").write_bytes(FILE)
        with suite.running(folder, SERVER) as port:
            first = soak_for(seconds / 10, seed, port)
            before = suite.settled(port)
            second = soak_for(seconds, seed + 1, port)
            after = suite.settled(port)
    faults = first.faults + second.faults
    print("before:", before, "after:", after)
    print("at the latest", round(second.latest, 2), "s beyond a deadline;", dict(second.seen))
    if after["fds"] > before["fds"] or after["objects"] > before["objects"] + 200:
        faults.append("the server has more descriptors, or objects, than before")
    if after["memory"] > before["memory"] * 1.1 + 2048:  # KiB
        faults.append("the server takes more memory than before")
    return faults


if __name__ == "__main__":
    found = main(*map(int, sys.argv[1:]))
    print(*found, sep="\n")
    sys.exit(bool(found))
