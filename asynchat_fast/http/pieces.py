"""What the bodies of answers come from: producers, and a file to write to."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias

__all__ = ["Pieces", "Then", "WriteFile", "pieces_of"]

_Piece: TypeAlias = bytes | bytearray | memoryview | str


class _Producer(Protocol):
    def more(self) -> _Piece: ...


class Then:
    """A producer of nothing, which calls *callback* once all before it in the queue has been sent."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback

    def more(self) -> bytes:
        self.callback()
        return b""


def pieces_of(producer: _Producer) -> Iterator[_Piece]:
    """Iterate over what *producer*, any object with ``more()``, hands out."""
    while piece := producer.more():
        yield piece


class Pieces:
    """The producer of a body of unknown length, made of the octets or str that *source*, an iterator, gives.

    They are sent in chunks if *chunked*; *count* is told their octets, and *failed* called in the
    handler of an exception that *source* has raised.
    """

    def __init__(
        self,
        source: Iterator[_Piece],
        chunked: bool,
        count: Callable[[int], object],
        failed: Callable[[], object],
    ) -> None:
        self.source = source
        self.chunked = chunked
        self.count = count
        self.failed = failed

    def more(self) -> bytes:
        try:
            for piece in self.source:
                octets = piece.encode() if isinstance(piece, str) else bytes(memoryview(piece))
                if octets:
                    self.count(len(octets))
                    return b"%x\r\n%b\r\n" % (len(octets), octets) if self.chunked else octets
        except Exception:
            self.failed()
            return b""
        if not self.chunked:
            return b""
        self.chunked = False
        return b"0\r\n\r\n"


class WriteFile:
    """``wfile``: what a handler written for http.server writes its body to."""

    closed = False

    def __init__(self, write: Callable[[_Piece], int]) -> None:
        self.write = write

    def writelines(self, pieces: Iterable[_Piece]) -> None:
        for piece in pieces:
            self.write(piece)

    def flush(self) -> None:
        pass

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        pass
