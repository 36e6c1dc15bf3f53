# pyright: strict
"""A store of values under names, by lines and on the web, typed throughout: mypy and pyright find no Any in it.

    python typed_store.py [--host ADDRESS] [--port N] [--web-port N] [FILE]

"set NAME SIZE", and so many bytes, keeps them; "get NAME" returns them, "names" lists what there is.
On the web there is a page for each name.  FILE has lines "NAME VALUE" to begin with.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from socket import socket

from asynchat_fast import InputBuffer, async_chat, chat_server, loop
from asynchat_fast.http import http_request_handler, http_server

LARGEST = 1_000_000  # bytes of a value


@dataclass
class Store:
    """The values, and how often they were asked for."""

    values: dict[str, bytes] = field(default_factory=dict[str, bytes])
    reads: int = 0

    def read(self, name: str) -> bytes | None:
        self.reads += 1
        return self.values.get(name)

    def load(self, data: bytes) -> None:
        """Take the lines of a file, *data*; the last one need not have an end."""
        lines = InputBuffer[bytes](b"\n")
        lines.feed(data)
        for line in [*lines, lines.take_partial()]:
            name, _, value = line.partition(b" ")
            if name:
                self.values[name.decode()] = value


class Names:
    """A producer: the names, a line each."""

    def __init__(self, store: Store) -> None:
        self.names: Iterator[str] = iter(sorted(store.values))

    def more(self) -> bytes:
        name = next(self.names, None)
        return b"" if name is None else f"{name}\r\n".encode()


class Client(async_chat):
    """A connection by lines."""

    max_payload = 1000  # bytes of a line

    def __init__(self, sock: socket, store: Store) -> None:
        super().__init__(sock)
        self.store = store
        self.parts: list[bytes] = []
        self.name: str | None = None  # of the value that comes
        self.set_terminator(b"\r\n")

    def collect_incoming_data(self, data: bytes) -> None:
        self.parts.append(data)

    def found_terminator(self) -> None:
        data = b"".join(self.parts)
        self.parts.clear()
        if self.name is None:
            self.push(self.respond(data.decode(errors="replace").split()))
            return
        self.store.values[self.name] = data
        self.name = None
        self.set_terminator(b"\r\n")
        self.push(b"kept\r\n")

    def respond(self, words: list[str]) -> bytes:
        """Act upon *words*, a command, and return what to send."""
        match words:
            case ["set", name, size] if size.isdecimal() and 0 < int(size) <= LARGEST:
                self.name = name
                self.set_terminator(int(size))
                return b""
            case ["get", name]:
                value = self.store.read(name)
                return b"nothing\r\n" if value is None else b"%d\r\n%b" % (len(value), value)
            case ["names"]:
                self.push_with_producer(Names(self.store))
                return b".\r\n"
            case _:
                return b"set NAME SIZE, get NAME or names\r\n"


class Page(http_request_handler[Store]):
    """A connection on the web."""

    def do_GET(self) -> None:
        value = self.sessions.read(self.path.removeprefix("/"))
        if value is None:
            self.send_error(404)
        else:
            self.respond(200, value, content_type="application/octet-stream")

    def do_PUT(self) -> None:
        name = self.path.removeprefix("/")
        print(f"{self.headers.get('User-Agent', 'somebody')} sets {name}", flush=True)
        self.sessions.values[name] = self.body
        self.respond(204)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8007)
    parser.add_argument("--web-port", type=int, default=8008)
    parser.add_argument("file", type=Path, nargs="?")
    options = parser.parse_args(namespace=Options())
    store = Store()
    if options.file is not None:
        store.load(options.file.read_bytes())
    lines = chat_server((options.host, options.port), partial(Client, store=store))
    web = http_server((options.host, options.web_port), Page, store)
    print(f"The pages are at port {web.addr[1]}, the lines at port {lines.addr[1]}", flush=True)
    try:
        loop()
    except KeyboardInterrupt:
        print(f"{store.reads} values were read")


class Options(argparse.Namespace):
    """What the command line says."""

    host: str
    port: int
    web_port: int
    file: Path | None


if __name__ == "__main__":
    main()
