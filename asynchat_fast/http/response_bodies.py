"""Bodies of responses: their types, and how each is turned into bytes, at once, in pieces, or from a file."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, TypeAlias

from ..producers import Producer, file_producer

__all__ = [
    "BYTES",
    "Body",
    "Data",
    "Pieces",
    "WriteFile",
    "as_bytes",
    "check_size",
    "close_source",
    "source_of",
]

Data: TypeAlias = bytes | bytearray | memoryview | str
"""Bytes, or a str that is sent in UTF-8."""

BYTES = (bytes, bytearray, memoryview)


Body: TypeAlias = Data | BinaryIO | Producer | Iterable[Data]
"""The types of a body."""


def as_bytes(data: Data) -> bytes:
    """Return *data* as bytes, copied if it could be changed."""
    if isinstance(data, str):
        return data.encode()
    if not isinstance(data, BYTES):
        raise TypeError(f"a part of a body is bytes or str, not {data!r}")
    return bytes(data)


def check_size(size: int, length: int | None) -> None:
    """Raise ValueError if *size* bytes are more than Content-Length says, which is *length*; None for no such field."""
    if length is not None and size > length:
        raise ValueError(f"these are more bytes than the {length} that Content-Length says")


def source_of(body: Any) -> tuple[Iterator[Data] | file_producer, int | None]:
    """Return an iterator or file_producer of *body*, and its length in bytes if that is known, else None.

    TypeError if *body* is none of the types of a body.
    """
    if hasattr(body, "read"):
        if hasattr(body, "encoding"):  # a text file, or a wrapper of one
            raise TypeError(f"a file is sent as bytes: open it in binary mode, not as {body!r} is")
        body = file_producer(body)
    if isinstance(body, file_producer):
        return body, body.remaining
    if hasattr(body, "more"):
        return _pieces_of(body), None
    if isinstance(body, Mapping) or not hasattr(body, "__iter__"):
        raise TypeError(f"body is bytes, str, a file, a producer, or an iterable of bytes or str, not {body!r}")
    return iter(body), None


def _pieces_of(producer: Any) -> Iterator[Data]:
    while piece := producer.more():
        if hasattr(piece, "more"):
            yield from _pieces_of(piece)
        else:
            yield piece


def close_source(source: object) -> None:
    """Call ``close()`` of *source*, which is not needed any more, if it has that method."""
    close = getattr(source, "close", None)
    if close is not None:
        close()


class Pieces:
    """The producer of a body from the pieces of *source*, an iterator.

    With *chunked* (bool), the body is sent in chunks.  If the head has a *length* (int), any other number of bytes is
    an error, and no more bytes are handed out.  ``sent`` is the number of bytes of the body that were handed out.  An
    exception of *source*, or such an error, ends the body: ``failed`` is called with this object while the
    exception is being handled.  ``head`` is the head of the response (bytes), which is queued before this object.
    """

    __slots__ = ("_chunked", "_length", "_source", "failed", "head", "sent")

    def __init__(self, source: Iterator[Data], chunked: bool, length: int | None = None, head: bytes = b"") -> None:
        self._source = source
        self._chunked = chunked
        self._length = length
        self.head = head
        self.sent = 0
        self.failed: Callable[[Pieces], object] | None = None

    def more(self) -> bytes:
        """Return the next piece, framed; nothing at the end."""
        try:
            for piece in self._source:
                data = as_bytes(piece)
                if data:
                    self._count(len(data))
                    return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
            if self._length not in (None, self.sent):
                raise ValueError(f"Content-Length says {self._length}, and the body has {self.sent} bytes")
        except Exception:
            if self.failed is None:
                raise
            self.failed(self)
            return b""
        if not self._chunked:
            return b""
        self._chunked = False
        return b"0\r\n\r\n"

    def _count(self, size: int) -> None:
        check_size(self.sent + size, self._length)
        self.sent += size


class WriteFile:
    """``wfile``: the file to which a handler written for http.server writes its body; *write* sends the data."""

    closed = False

    def __init__(self, write: Callable[[Data], int]) -> None:
        self.write = write

    def writelines(self, pieces: Iterable[Data]) -> None:
        """Write each of *pieces*."""
        for piece in pieces:
            self.write(piece)

    def flush(self) -> None:
        """Do nothing: data is sent when it is written."""

    def writable(self) -> bool:
        """Return True: this file can be written to."""
        return True

    def close(self) -> None:
        """Do nothing: the response ends when the handler returns."""
