"""Framing: cut a stream of bytes into payloads at a terminator.

The class here is the specification of ``_framing.pyx``, member by member, and is used where that is not
compiled; the last lines choose.  It holds received bytes and a cursor, knows no sockets, and makes no calls
of the program.
"""

from sys import maxsize
from types import GenericAlias
from typing import TYPE_CHECKING, Any, TypeAlias

from ._compiled import is_wanted, report_missing

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

__all__ = ["COMPILED", "InputBuffer", "find_prefix_at_end"]

Terminator: TypeAlias = "Buffer | str | int | None"  # a str only if it is empty
Payload: TypeAlias = "bytes | memoryview"  # a memoryview only where views are asked for


def plain_find_prefix_at_end(haystack: Any, needle: Any) -> int:
    """Return the length of the longest beginning of *needle* with which *haystack* ends (int), 0 if there is none.

    Both are str, or both are bytes or bytearray.  A whole *needle* does not count, as callers have searched for it
    before.  Source: the asynchat documentation.
    """
    length = min(len(needle) - 1, len(haystack))
    while length > 0 and not haystack.endswith(needle[:length]):
        length -= 1
    return max(length, 0)


class PlainInputBuffer:
    """Received bytes, and a cursor that moves from payload to payload.

    Feed it received data, iterate over the complete payloads, and take the part of an incomplete one.
    *terminator* is bytes-like, and not part of a payload; or an int, the bytes of each payload; or None, 0 or
    empty, for a payload without end.  *limit* is the most bytes (int, None for no limit) of a payload with a
    bytes-like terminator; with *views* (bool) payloads are memoryviews of the data.
    ValueError for a negative number, TypeError for any other terminator.  One thread at a time may use it.
    """

    __slots__ = ("_carried", "_count", "_data", "_limit", "_needle", "_scanned", "_skipping", "_start", "_terminator",
                 "_views", "fed", "overlong")  # fmt: skip

    __class_getitem__: Any = classmethod(GenericAlias)  # of bytes, or of memoryview

    fed: int
    """How many times ``feed()`` has been called."""

    overlong: bool
    """Whether a payload has exceeded the limit: its bytes are dropped, its terminator included.

    Set by ``take_partial()``; the caller that acts upon it sets it to False.
    """

    def __init__(self, terminator: Terminator = None, limit: int | None = None, views: bool = False) -> None:
        self._data = b""
        self._start = 0  # the index of the first byte that has not been taken
        self._scanned = 0  # the index before which no terminator begins
        self._carried = 0  # bytes of the present payload that were taken as parts
        self._skipping = self.overlong = False
        self.fed = 0
        self._needle = b""
        self._count = 0  # bytes of the present payload that are still to come, with a numeric terminator
        self.set_terminator(terminator, limit, views)

    def __len__(self) -> int:
        """Return the number of bytes that are not taken yet."""
        return len(self._data) - self._start

    @property
    def terminator(self) -> Any:
        """The terminator, as it was set."""
        return self._terminator

    def set_terminator(self, terminator: Terminator, limit: int | None = None, views: bool = False) -> None:
        """Cut at *terminator* from the next byte on; see the class for the arguments."""
        if limit is not None and limit < 0:
            raise ValueError(f"limit counts bytes: it cannot be {limit}")
        self._set_next(terminator)
        self.set_options(limit, views)

    def set_options(self, limit: int | None, views: bool) -> None:
        """Set *limit* and *views* as ``set_terminator()`` does, and keep the terminator."""
        self._limit, self._views = -1 if limit is None else limit, views

    def _set_next(self, terminator: Any) -> None:
        """Set *terminator*; the rest of an overlong payload is dropped up to the one it has, however it arrives."""
        if self._skipping:
            PlainInputBuffer(terminator)  # raises if it is none
            self._terminator = terminator
        else:
            self._set(terminator)

    def _set(self, terminator: Any) -> None:
        needle, count = b"", 0
        if isinstance(terminator, int):
            if terminator < 0:
                raise ValueError(f"a numeric terminator counts bytes: it cannot be {terminator}")
            count = min(terminator, maxsize)
        elif terminator:
            try:
                needle = bytes(memoryview(terminator))
            except TypeError:
                kind = type(terminator).__name__
                raise TypeError(f"terminator must be bytes, int or None, not {kind}: {terminator!r}") from None
        if needle != self._needle or not needle:
            self._scanned = 0
        if not needle:  # the limit is for bytes-like terminators only
            self._carried, self._skipping = 0, False
        self._terminator, self._needle, self._count = terminator, needle, count

    @property
    def unread(self) -> bytes:
        """The bytes that are not taken yet; may be assigned (bytes-like) at any time, ``b""`` to discard them."""
        return self._data[self._start :]

    @unread.setter
    def unread(self, data: "Buffer") -> None:
        self._replace(data if type(data) is bytes else b"" + data)

    def _replace(self, data: bytes, scanned: int = 0) -> None:
        self._data, self._start, self._scanned = data, 0, scanned

    def feed(self, data: "Buffer") -> Any:
        """Append *data* (bytes-like), which is kept without a copy if it is bytes and nothing is unread.

        Call ``take_partial()`` before feeding again: what stays unread is copied each time.
        """
        if type(data) is not bytes or self:
            data = self.unread + data
        self._replace(data, max(self._scanned - self._start, 0))
        self.fed += 1

    def __iter__(self) -> "Self":
        return self

    def __next__(self) -> Any:
        """Take the next complete payload, which may be empty; StopIteration if there is none."""
        while self._needle:
            end = self._find()
            if end < 0 or self._exceeds_limit(end):
                break
            start, self._start, self._carried = self._start, end + len(self._needle), 0
            if not self._skipping:
                return self._cut(start, end)
            self._stop_skipping()
        if self._count and self._count <= len(self):
            start, self._start = self._start, self._start + self._count
            self._count = min(self._terminator, maxsize)
            return self._cut(start, self._start)
        if not self:
            self._replace(b"")
        raise StopIteration

    def take_partial(self) -> Payload:
        """Take the bytes of an incomplete payload, without those that may be the beginning of the terminator.

        Without a terminator, these are all bytes that were fed, as the same object if they were fed at once.
        Empty while there is a complete payload.
        """
        start, end = self._start, len(self._data)
        if self._needle:
            end, whole = self._end()
            if self._skipping or self._exceeds_limit(end):
                self._drop(end, whole)
                return b""
            if whole:
                return b""
            self._carried += end - start
        elif self._count:
            if self._count <= end - start:
                return b""
            self._count -= end - start
        self._start = end
        return self._cut(start, end)

    def _find(self) -> int:
        """Return where the next terminator begins, -1 if it has not come."""
        end = self._data.find(self._needle, max(self._start, self._scanned))
        self._scanned = max(self._scanned, len(self._data) - len(self._needle) + 1) if end < 0 else end
        return end

    def _end(self) -> tuple[int, bool]:
        """Return the end of the present payload, and True.

        If its terminator has not come: the index at which a beginning of the terminator may stand, and False.
        """
        end = self._find()
        if end >= 0:
            return end, True
        size = len(self._data)
        last = self._data[max(self._start, size - len(self._needle) + 1) :]
        return size - plain_find_prefix_at_end(last, self._needle), False

    def _exceeds_limit(self, end: int) -> bool:
        return self._limit >= 0 and not self._skipping and self._carried + end - self._start > self._limit

    def _drop(self, end: int, whole: bool) -> None:
        """Drop the present payload, which is overlong, up to *end*, and with *whole* its terminator, too."""
        self.overlong = self.overlong or not self._skipping
        self._skipping, self._carried = True, 0
        self._start = end
        if whole:
            self._start += len(self._needle)
            self._stop_skipping()

    def _stop_skipping(self) -> None:
        self._skipping = False
        self._set(self._terminator)  # which the program may have set meanwhile

    def _cut(self, start: int, end: int) -> Payload:
        if self._views:
            return memoryview(self._data)[start:end]
        return self._data if end - start == len(self._data) else self._data[start:end]


COMPILED: bool = False
"""Whether InputBuffer is the compiled one (bool)."""

if TYPE_CHECKING:
    from ._framing import InputBuffer as InputBuffer
    from ._framing import find_prefix_at_end as find_prefix_at_end
else:
    InputBuffer = PlainInputBuffer
    find_prefix_at_end = plain_find_prefix_at_end
    if is_wanted():
        try:
            from ._framing import InputBuffer, find_prefix_at_end

            COMPILED = True
        except ModuleNotFoundError as missing:
            report_missing(missing, f"{__package__}._framing")
