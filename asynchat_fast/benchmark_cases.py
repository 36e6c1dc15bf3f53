"""The streams and the programs that a benchmark runs on channels, in memory.

Each peer has its own copy of the program's code: the interpreter specialises code for the types that it meets, and code
that the peers share would be slow for all.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

KIB = 1024
READ = 64 * KIB
CRLF = b"\r\n"
TEXT = b"The quick brown fox jumps over the lazy dog, which is used to that.\r\n"

Trial = Callable[[], Callable[[], Any]]  # prepares and returns a run; the call of that is timed


class LineProgram:
    """A channel as a user of asynchat writes it."""

    incoming: list[bytes]
    payload: bytes
    set_terminator: Callable[[Any], None]
    push: Callable[[bytes], None]

    def collect_incoming_data(self, data: bytes) -> None:
        self.incoming.append(data)

    def found_terminator(self) -> None:
        self.payload = b"".join(self.incoming)
        self.incoming.clear()


class FrameProgram(LineProgram):
    """The same for frames: a header of 4 bytes, which says how many follow."""

    def found_terminator(self) -> None:
        self.payload = payload = b"".join(self.incoming)
        self.incoming.clear()
        self.set_terminator(int.from_bytes(payload, "big") if len(payload) == 4 else 4)


class EchoProgram(LineProgram):
    """The same for a server that sends each line back."""

    def found_terminator(self) -> None:
        self.payload = payload = b"".join(self.incoming)
        self.incoming.clear()
        self.push(payload)


class FromMemory:
    """The transport of a channel in memory: it receives the stream, and discards what is sent."""

    read: bytes
    handle_read: Callable[[], None]

    def recv(self, size: int) -> bytes:
        return self.read

    def send(self, data: bytes) -> int:
        return len(data)

    def run(self, case: "Case") -> None:
        for self.read in case.reads:
            self.handle_read()


class Floor:
    """The callbacks alone."""

    collect_incoming_data: Callable[[bytes], None]
    found_terminator: Callable[[], None]

    def set_terminator(self, terminator: bytes | int) -> None:
        self.terminator = terminator

    def push(self, data: bytes) -> None:
        pass

    def run(self, case: "Case") -> None:
        for payload in case.payloads:
            if payload:
                self.collect_incoming_data(payload)
            self.found_terminator()


@dataclass
class Case:
    """A stream that is cut in memory: *reads*, which make *payloads*; a figure is for one *unit*."""

    name: str
    unit: str
    terminator: bytes | int
    payloads: list[bytes]
    reads: list[bytes]
    program: type[LineProgram] = LineProgram
    bigger: bool = False  # the case before it, in twice the size
    is_artificial: bool = False  # no protocol sends such a stream

    @property
    def count(self) -> int:
        """Return how many units there are."""
        if self.unit == "byte":
            return sum(map(len, self.reads))
        return len(self.payloads) // (2 if self.program is FrameProgram else 1)


def cut(stream: bytes, size: int) -> list[bytes]:
    """Return *stream* in pieces of *size* bytes."""
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def lines_case(
    name: str, payload: bytes, count: int, terminator: bytes = CRLF, read: int = READ, unit: str = "line", **more: Any
) -> Case:
    """Return the case of *count* times the same *payload*, *read* bytes at a time."""
    return Case(name, unit, terminator, [payload] * count, cut((payload + terminator) * count, read), **more)


def frames_case(name: str, size: int, count: int, read: int = READ) -> Case:
    """Return the case of *count* frames, each a header of 4 bytes and a body of *size*."""
    payloads = [size.to_bytes(4, "big"), b"x" * size] * count
    return Case(name, "frame", 4, payloads, cut(b"".join(payloads), read), FrameProgram)


def line_cases(total: int) -> Iterator[Case]:
    """Yield the cases of line protocols, *total* bytes each."""
    for size in 16, 100:
        yield lines_case(f"{size} B lines, 64 KiB reads", b"x" * (size - 2), total // size)
    yield lines_case("100 B lines, 1,460 B reads", b"x" * 98, total // 100, read=1460)
    yield lines_case("100 B lines, one a read", b"x" * 98, total // 100, read=100)
    echo = lines_case("100 B lines, one a read, echoed", b"x" * 98, total // 100, read=100, program=EchoProgram)
    yield echo


def frame_cases(total: int) -> Iterator[Case]:
    """Yield the cases of frames by numeric terminators, *total* bytes each."""
    yield frames_case("4 + 200 B frames, 64 KiB reads", 200, total // 204)
    yield frames_case("4 + 200 B frames, one a read", 200, total // 204, 204)


def search_cases(total: int) -> Iterator[Case]:
    """Yield the cases in which the search for the terminator takes long, *total* bytes each."""
    text = (TEXT * 300)[: 20 * KIB - 5]
    yield lines_case("20 KB of text, 5 B terminator", text, total // (20 * KIB), b"\r\n.\r\n", unit="record")
    for name, byte, terminator in (
        ("64 KiB of CR against CR LF", b"\r", CRLF),
        ("64 KiB of a against aaab", b"a", b"aaab"),
    ):
        payload = byte * (64 * KIB - len(terminator))
        yield lines_case(name, payload, total // (64 * KIB), terminator, unit="record", is_artificial=True)


def all_cases(total: int = 512 * KIB) -> list[Case]:
    """Return the cases that ``asynchat-fast --benchmark`` measures, *total* bytes each."""
    return [*line_cases(total), *frame_cases(total), *search_cases(max(total, 64 * KIB))]


def with_own_code(cls: type) -> type:
    """Return a copy of *cls* whose methods have copies of the code, too."""
    functions = {
        name: FunctionType(value.__code__.replace(), value.__globals__, name, value.__defaults__, value.__closure__)
        for base in cls.__mro__[-2::-1]  # without object, whose methods are functions on PyPy
        for name, value in vars(base).items()
        if isinstance(value, FunctionType) and not name.startswith("__annotate")  # of CPython 3.14
    }
    return type(cls.__name__, (), functions)


def peer_class(case: Case, *bases: type) -> Any:
    """Return the class of a peer that runs the program of *case* on *bases*, such as an async_chat."""
    return type("Peer", (with_own_code(case.program), *bases), {})


def prepare(cls: Any, case: Case) -> Callable[[], Any]:
    """Return the run to be timed, on a fresh object."""
    peer = cls()
    peer.incoming = []
    peer.connected = True
    peer.set_terminator(case.terminator)
    return partial(peer.run, case)


def idle_class(async_chat: type) -> Any:
    """Return a class of idle channels."""
    return type("Idle", (with_own_code(LineProgram), async_chat), {})


def idle_trial(cls: Any, asyncore: ModuleType, count: int) -> Trial:
    """Return a pass of asyncore.loop() over *count* idle channels of class *cls*, without its system call."""
    nobody = SimpleNamespace(select=lambda *_: ([], [], []))
    own_poll = FunctionType(asyncore.poll.__code__.replace(), {**vars(asyncore), "select": nobody})
    channels = {}
    for descriptor in range(count):
        channels[descriptor] = peer = cls()
        peer.connected = True
        peer.set_terminator(CRLF)
    return lambda: partial(own_poll, 0.0, channels)
