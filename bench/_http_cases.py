"""What bench_http.py asks of web servers, and how they respond."""

from functools import cache
from typing import NamedTuple

HOST = "127.0.0.1"

KIB = b"0123456789abcdef" * 64
PAGES = {"/": b"ok", "/page": KIB * 10}
FILE, FILE_SIZE = "file.bin", 1 << 20
PLAIN = "text/plain; charset=utf-8"


class Case(NamedTuple):
    """A request that is asked for: *depth* at once, on each of *connections*."""

    method: str
    path: str
    body: bytes = b""
    depth: int = 1
    connections: int = 50

    def request(self):
        length = f"Content-Length: {len(self.body)}\r\n" if self.body else ""
        return f"{self.method} {self.path} HTTP/1.1\r\nHost: {HOST}\r\n{length}\r\n".encode() + self.body

    def response(self):
        """Return the body that is due."""
        return self.body or PAGES.get(self.path) or file_content()


CASES = {
    "GET of 2 bytes": Case("GET", "/"),
    "GET of 10 KiB": Case("GET", "/page"),
    "POST of 1 KiB, echoed": Case("POST", "/echo", KIB),
    "GET of 2 bytes, 16 at once": Case("GET", "/", depth=16),
    "GET of a file of 1 MiB": Case("GET", f"/{FILE}", connections=8),
}


@cache
def file_content():
    return b"".join(number.to_bytes(4, "big") for number in range(FILE_SIZE // 4))
