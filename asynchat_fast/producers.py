"""What waits to be sent: the producers a channel pulls data from with ``more()``."""

import contextlib
import io
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, Protocol, TypeAlias

__all__ = ["FileChanged", "Producer", "Then", "fifo", "file_producer", "simple_producer"]

_Data: TypeAlias = bytes | bytearray | memoryview | str


class Producer(Protocol):
    """What ``push_with_producer()`` takes."""

    def more(self) -> "_Data | Producer | None":
        """Return what is to be sent next, nothing at the end."""


class simple_producer:
    """Hand out *data* in pieces of at most *buffer_size* bytes.

    *data* is bytes or any other sequence that can be sliced; *buffer_size* is a positive
    number.  ``data`` reads as what has not been handed out yet, and may be assigned.
    Source: the asynchat documentation.
    """

    def __init__(self, data: _Data, buffer_size: int = 512) -> None:
        self.data = data
        self.buffer_size = buffer_size

    @property
    def data(self) -> _Data:
        # Cut off only when asked for: cutting at each more() costs the square of the size.
        if self._offset:
            self.data = self._data[self._offset :]
        return self._data

    @data.setter
    def data(self, data: _Data) -> None:
        self._data = data
        self._offset = 0

    def more(self) -> _Data:
        """Return the next piece, empty when there is none; ValueError for a *buffer_size* below 1."""
        if self.buffer_size < 1:
            raise ValueError(f"a buffer_size of {self.buffer_size} would never hand out anything")
        start = self._offset
        piece = self._data[start : start + self.buffer_size]
        self._offset += len(piece)
        if self._offset == len(self._data):
            self.data = self._data[:0]  # nothing handed out is kept alive
        return piece


class fifo:
    """A first-in, first-out queue over the deque ``list``; *list* is an iterable of first items.

    Source: the asynchat documentation up to Python 3.5.
    """

    def __init__(self, list: Iterable[Any] | None = None) -> None:
        self.list: deque[Any] = deque(list or ())

    def __len__(self) -> int:
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
    """A file is not what it was when its file_producer was made, so that what was promised of it cannot be sent."""


class file_producer:
    """Hand out *count* bytes of *file* from *offset* on; a channel sends them without copying where it can.

    *file* is open for reading bytes.  *offset* None is where it stands, *count* None all that there
    is from there on: of a regular file, the size that it has now.  A file that has become shorter, or was
    rewritten in its length, is a FileChanged, upon which a channel closes; one that only grew is sent
    as promised.  When all is handed out, or nobody wants the rest, *file* is closed unless *close* is false.
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
        self.file = file
        self.buffer_size = 65536
        self._close = close
        self._seekable = file.seekable()
        self.fileno: int | None = self._regular_fileno()
        self._version = self._file_version()
        if offset is None:
            offset = file.tell() if self._seekable else 0
        elif not self._seekable:
            raise ValueError("a file that cannot be sought has no offset")
        if count is None and self._version is not None:
            count = max(self._version[0] - offset, 0)
        self.offset: int = offset  # of what comes next
        self.remaining = count  # bytes; None until the end of the file

    def _regular_fileno(self) -> int | None:
        # Not of what decompresses or counts, whose descriptor leads to other bytes.
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
        """Raise FileChanged if the file is not what it was; a log that grows is."""
        if getattr(self.file, "closed", False) or not self._is_as_promised():
            raise FileChanged(f"{getattr(self.file, 'name', self.file)!r} was changed while it was sent")

    def _is_as_promised(self) -> bool:
        now = self._file_version()
        if self._version is None or now is None:
            return self._version == now
        return now[0] > self._version[0] or now == self._version

    def advance(self, count: int) -> None:
        """Note that *count* bytes were sent without ``more()``; FileChanged if none were where some are missing."""
        if not count and self.remaining:
            raise FileChanged(f"{getattr(self.file, 'name', self.file)!r} ends {self.remaining} bytes too early")
        self.offset += count
        if self.remaining is not None:
            self.remaining -= count

    def more(self) -> bytes:
        """Return the next bytes, at most ``buffer_size``, and none when there are no more."""
        if self.remaining == 0:
            self.close()
            return b""
        self.check()
        size = self.buffer_size if self.remaining is None else min(self.buffer_size, self.remaining)
        data = self._read(size)
        if data is None:
            raise BlockingIOError(f"{self.file!r} has nothing to be read yet, and does not wait for it")
        self.advance(len(data))
        if not data:
            self.remaining = 0
            self.close()
        return data

    def _read(self, size: int) -> bytes | None:
        if self.fileno is not None and hasattr(os, "pread"):
            return os.pread(self.fileno, size, self.offset)
        if self._seekable:
            self.file.seek(self.offset)  # others may use the file, too
        return self.file.read(size)

    def close(self) -> None:
        """Close the file, unless it was to be left open."""
        if self._close:
            self.file.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # not made completely, or closed by force
            self.close()


class Then:
    """A producer of nothing, which calls *callback* once all before it in the queue has been sent."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback

    def more(self) -> bytes:
        self.callback()
        return b""
