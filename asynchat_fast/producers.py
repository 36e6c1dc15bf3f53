"""Producers, whose ``more()`` a channel calls for the data to send, and asynchat's ``fifo``."""

import contextlib
import io
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, Protocol, TypeAlias

__all__ = ["FileChanged", "OnSent", "Producer", "fifo", "file_producer", "simple_producer", "unsent_bytes"]

_Data: TypeAlias = bytes | bytearray | memoryview | str


class Producer(Protocol):
    """An object for ``push_with_producer()``."""

    def more(self) -> "_Data | Producer | None":
        """Return the next data, or a producer of it; ``b""`` or None at the end."""


class simple_producer:
    """Hand out *data* in pieces of at most *buffer_size* bytes.

    *data* is bytes-like, or any other sequence that can be sliced; *buffer_size* is positive (int).
    Source: the asynchat documentation.
    """

    def __init__(self, data: _Data, buffer_size: int = 512) -> None:
        self.data = data
        self.buffer_size = buffer_size  #: The most bytes of a piece (int); may be assigned.

    @property
    def data(self) -> _Data:
        """The rest that has not been handed out yet; may be assigned."""
        # Cut off here, when it is read: cutting it off at each more() would take quadratic time.
        if self._offset:
            self.data = self._data[self._offset :]
        return self._data

    @data.setter
    def data(self, data: _Data) -> None:
        self._data = data
        self._offset = 0

    def more(self) -> _Data:
        """Return the next piece, an empty one at the end; ValueError for a ``buffer_size`` below 1."""
        if self.buffer_size < 1:
            raise ValueError(f"a buffer_size of {self.buffer_size} would never hand out anything")
        start = self._offset
        piece = self._data[start : start + self.buffer_size]
        self._offset += len(piece)
        if self._offset == len(self._data):
            self.data = self._data[:0]  # do not keep the data alive that was handed out
        return piece


class fifo:
    """A first-in, first-out queue, which begins with the items of *list* (iterable).

    Source: the asynchat documentation up to Python 3.5.
    """

    def __init__(self, list: Iterable[Any] | None = None) -> None:
        self.list: deque[Any] = deque(list or ())  #: The items (deque).

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.list)

    def is_empty(self) -> bool:
        """Tell whether the queue is empty."""
        return not self.list

    def first(self) -> Any:
        """Return the oldest item without removing it; IndexError if the queue is empty."""
        return self.list[0]

    def push(self, data: Any) -> None:
        """Append *data*."""
        self.list.append(data)

    def pop(self) -> tuple[int, Any]:
        """Remove the oldest item and return ``(1, item)``, or ``(0, None)`` if the queue is empty."""
        if self.list:
            return 1, self.list.popleft()
        return 0, None


_PLAIN_FILES = (io.FileIO, io.BufferedReader, io.BufferedRandom)


class FileChanged(Exception):
    """A file was changed after its ``file_producer`` was made, so that the promised bytes cannot be sent.

    A channel whose producer raises it closes, with a line in the log.
    """


class file_producer:
    """Hand out *count* bytes of *file* from *offset* on; a channel sends them by ``os.sendfile()`` where it can.

    *file* is open for reading bytes.  *offset* (int) None is the position of the file; *count* (int) None is
    everything from there on, for a regular file up to its present size.  ``more()`` raises FileChanged if the
    file has become shorter, or was rewritten at the same size; of a file that only grew, *count* bytes are sent.
    *file* is closed at the end, or when the producer is dropped, unless *close* is false.
    TypeError for a text file, ValueError for negative numbers, or for an *offset* in a file that cannot seek.
    """

    def __init__(
        self, file: BinaryIO, offset: int | None = None, count: int | None = None, *, close: bool = True
    ) -> None:
        if issubclass(type(file), io.TextIOBase):
            raise TypeError(f"a file_producer takes a file that is open for reading bytes, not text: {file!r}")
        if offset is not None and offset < 0:
            raise ValueError(f"offset is where a file is to be read from: it cannot be {offset}")
        if count is not None and count < 0:
            raise ValueError(f"count is a number of bytes: it cannot be {count}")
        try:
            self._seekable = file.seekable()
        except AttributeError:
            raise TypeError(f"a file_producer takes a file that is open for reading bytes, not {file!r}") from None
        self.file = file  #: The file.
        self.buffer_size = 65536  #: The most bytes that ``more()`` reads at once (int).
        self._close = close
        self.fileno: int | None = self._regular_fileno()  #: The descriptor (int) of a regular file, else None.
        self._version = self._file_version()
        if offset is None:
            offset = file.tell() if self._seekable else 0
        elif not self._seekable:
            raise ValueError("a file that cannot be sought has no offset")
        if count is None and self._version is not None:
            count = max(self._version[0] - offset, 0)
        self.offset: int = offset  #: The offset of the next byte (int).
        self.remaining = count  #: The number of bytes that are left (int); None if that is not known.

    def _regular_fileno(self) -> int | None:
        # None for an object that decompresses or counts: its descriptor has other bytes than its read() returns.
        raw = getattr(self.file, "raw", self.file)
        if type(raw) is not io.FileIO or type(self.file) not in _PLAIN_FILES:
            return None
        if self.file.writable():
            self.file.flush()
        fileno = self.file.fileno()
        return fileno if stat.S_ISREG(os.fstat(fileno).st_mode) else None

    def _file_version(self) -> tuple[int, int] | None:
        if self.fileno is None:
            return None
        status = os.fstat(self.fileno)
        return status.st_size, status.st_mtime_ns

    def check(self) -> None:
        """Raise FileChanged if the file was closed, cut or rewritten; it may grow, as a log does."""
        if getattr(self.file, "closed", False) or not self._is_as_promised():
            raise FileChanged(f"{getattr(self.file, 'name', self.file)!r} was changed while it was sent")

    def _is_as_promised(self) -> bool:
        now = self._file_version()
        if self._version is None or now is None:
            return self._version == now
        return now[0] > self._version[0] or now == self._version

    def advance(self, count: int) -> None:
        """Note that *count* bytes (int) were sent without ``more()``; FileChanged for 0 if bytes are still due."""
        if not count and self.remaining:
            raise FileChanged(f"{getattr(self.file, 'name', self.file)!r} ends {self.remaining} bytes too early")
        self.offset += count
        if self.remaining is not None:
            self.remaining -= count

    def more(self) -> bytes:
        """Return the next bytes, at most ``buffer_size``, and none at the end.

        FileChanged if the file was changed; BlockingIOError if it does not block and has no data yet.
        """
        if self.remaining == 0:
            self.close()
            return b""
        self.check()
        size = self.buffer_size if self.remaining is None else min(self.buffer_size, self.remaining)
        data = self._read(size)
        if data is None:
            raise BlockingIOError(f"{self.file!r} has no data yet, and does not block")
        self.advance(len(data))
        if not data:
            self.remaining = 0
            self.close()
        return data

    def _read(self, size: int) -> bytes | None:
        if self.fileno is not None and hasattr(os, "pread"):
            return os.pread(self.fileno, size, self.offset)
        if self._seekable:
            self.file.seek(self.offset)  # other code may read the file meanwhile, which moves its position
        return self.file.read(size)

    def close(self) -> None:
        """Close the file, unless the producer was made with ``close=False``."""
        if self._close:
            self.file.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # __init__() has raised, or the program has closed the descriptor
            self.close()


class OnSent:
    """A producer without data, which calls *callback* once everything before it in the queue has been sent."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback

    def more(self) -> bytes:
        self.callback()
        return b""


def unsent_bytes(item: Any) -> int:
    """Return how many bytes *item* of a queue has to send (int), 0 for a producer of an unknown kind."""
    if isinstance(item, file_producer):
        return item.remaining or 0
    data = item.data if isinstance(item, simple_producer) else item
    if isinstance(data, memoryview):
        return data.nbytes
    return len(data) if isinstance(data, (bytes, bytearray, str)) else 0
