"""Framing: cut a stream of bytes into payloads at a terminator.

The classes here are the specification of ``_framing.pyx``, member by member, and what runs where
that is not compiled; the last lines choose.  They own received bytes and a cursor, know no sockets
and call nobody.
"""

from sys import maxsize
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from ._compiled import is_wanted, report_missing

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

__all__ = ["COMPILED", "EventBuffer", "InputBuffer", "Interrupted", "find_prefix_at_end"]

Terminator: TypeAlias = "Buffer | str | int | None"  # a str only if it is empty
Payload: TypeAlias = "bytes | memoryview"  # a memoryview only where views are asked for

_UNSET: Any = object()  # the terminator of a channel that has not set one


class Interrupted(Exception):
    """The events cannot go on: a payload was overlong, or the terminator is not set or must be asked for."""


def plain_find_prefix_at_end(haystack: Any, needle: Any) -> int:
    """Return the length of the longest start of *needle* that *haystack* ends with (int), 0 if none.

    Both are str, or both are bytes or bytearray.  A whole *needle* does not count: it
    has been searched for already.  Source: the asynchat documentation.
    """
    length = min(len(needle) - 1, len(haystack))
    while length > 0 and not haystack.endswith(needle[:length]):
        length -= 1
    return max(length, 0)


class PlainInputBuffer:
    """Received bytes, and a cursor that moves from payload to payload; see ``_framing.pyi`` for its members."""

    __slots__ = ("_carried", "_count", "_data", "_limit", "_needle", "_scanned", "_skipping", "_start", "_terminator",
                 "_views", "fed", "overlong")  # fmt: skip

    def __init__(self, terminator: Terminator = None, limit: int | None = None, views: bool = False) -> None:
        self._data = b""
        self._start = 0  # of what has not been taken
        self._scanned = 0  # no terminator begins before this index
        self._carried = 0  # bytes of the payload at hand that left in parts
        self._skipping = self.overlong = False
        self.fed = 0
        self._needle = b""
        self._count = 0  # bytes to come of the payload at hand, with a numeric terminator
        self.set_terminator(terminator, limit, views)

    def __len__(self) -> int:
        return len(self._data) - self._start

    @property
    def terminator(self) -> Any:
        return self._terminator

    def set_terminator(self, terminator: Terminator, limit: int | None = None, views: bool = False) -> None:
        if limit is not None and limit < 0:
            raise ValueError(f"limit counts bytes: it cannot be {limit}")
        self._set(terminator)
        self.set_options(limit, views)

    def set_options(self, limit: int | None, views: bool) -> None:
        """Have *limit* and *views* of ``set_terminator()``, and the terminator as it is."""
        self._limit, self._views = -1 if limit is None else limit, views

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
        if not needle:  # no limit holds for it
            self._carried, self._skipping = 0, False
        self._terminator, self._needle, self._count = terminator, needle, count

    @property
    def unread(self) -> bytes:
        return self._data[self._start :]

    @unread.setter
    def unread(self, data: "Buffer") -> None:
        self._replace(data if type(data) is bytes else b"" + data)

    def _replace(self, data: bytes, scanned: int = 0) -> None:
        self._data, self._start, self._scanned = data, 0, scanned

    def feed(self, data: "Buffer") -> Any:
        if type(data) is not bytes or self:
            data = self.unread + data
        self._replace(data, max(self._scanned - self._start, 0))
        self.fed += 1

    def __iter__(self) -> "Self":
        return self

    def __next__(self) -> Any:
        while self._needle:
            end = self._find()
            if end < 0 or self._exceeds_limit(end):
                break
            start, self._start, self._carried = self._start, end + len(self._needle), 0
            if not self._skipping:
                return self._cut(start, end)
            self._skipping = False
        if self._count and self._count <= len(self):
            start, self._start = self._start, self._start + self._count
            self._count = min(self._terminator, maxsize)
            return self._cut(start, self._start)
        if not self:
            self._replace(b"")
        raise StopIteration

    def take_partial(self) -> Payload:
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
        """Return where the payload at hand ends, and True; else where what may begin its terminator does, and False."""
        end = self._find()
        if end >= 0:
            return end, True
        size = len(self._data)
        last = self._data[max(self._start, size - len(self._needle) + 1) :]
        return size - plain_find_prefix_at_end(last, self._needle), False

    def _exceeds_limit(self, end: int) -> bool:
        return self._limit >= 0 and not self._skipping and self._carried + end - self._start > self._limit

    def _drop(self, end: int, whole: bool) -> None:
        """Drop the payload at hand, which is overlong, up to *end*, and its terminator if it is *whole*."""
        self.overlong = self.overlong or not self._skipping
        self._skipping, self._carried = not whole, 0
        self._start = end + len(self._needle) if whole else end

    def _cut(self, start: int, end: int) -> Payload:
        if self._views:
            return memoryview(self._data)[start:end]
        return self._data if end - start == len(self._data) else self._data[start:end]


# What the last event was, until the next one is pulled.
_NOTHING, _PART, _LAST_PART, _WHOLE, _COUNTED = range(5)


class PlainEventBuffer(PlainInputBuffer):
    """An input buffer that hands out events, for conversations: a payload or a part of one, and None for its end.

    Until the next event is pulled, the bytes that were handed out last count as unread, so that a
    callback which raises loses nothing.  A numeric terminator counts down, and is 0 at the end.
    """

    __slots__ = ("_held", "_interrupted", "_out", "_out_of", "_phase", "_resume")

    def __init__(self) -> None:
        self._phase = _NOTHING
        self._resume = 0  # where what comes after the last event begins
        self._out = 0  # bytes that the last event takes
        self._out_of = 0  # the count of which the last event was a part
        self._interrupted = False
        super().__init__()
        self.unset()

    @property
    def terminator(self) -> Any:
        if self._terminator is _UNSET:
            raise AttributeError("terminator")
        return self._terminator

    @terminator.setter
    def terminator(self, terminator: Terminator) -> None:
        self._set(terminator)

    def _set(self, terminator: Any) -> None:
        if isinstance(terminator, str):
            raise TypeError("a str is for the caller to encode, an empty one too")
        super()._set(terminator)
        self._held = False

    def hold(self, terminator: Any) -> None:
        """Have a *terminator* that this buffer cannot search for: the next event is an interruption."""
        self._set(None)
        self._terminator, self._held = terminator, True

    def unset(self) -> None:
        """Have no terminator, like ``hold()``."""
        self.hold(_UNSET)

    def interrupt(self) -> None:
        """Have an interruption in the place of the next event."""
        self._interrupted = True

    def undo(self) -> None:
        """Have the bytes that were handed out last be unread again, as the callback has raised."""
        self._phase = _NOTHING

    def feed(self, data: "Buffer") -> "Self":
        out = self._resume - self._start
        super().feed(data)
        self._resume = out
        return self

    @property
    def unread(self) -> bytes:
        return self._data[self._start :]

    @unread.setter
    def unread(self, data: "Buffer") -> None:
        self._replace(data if type(data) is bytes else b"" + data)
        self._resume = min(self._out, len(self._data))  # what is out is dropped by its length, as asynchat does

    def __next__(self) -> Any:
        phase, self._phase = self._phase, _NOTHING
        if phase:
            self._start = self._resume
            if phase == _WHOLE:
                self._carried = 0
                return None
            if phase == _COUNTED:
                self._set(0)
                return None
            self._carried += self._out
            if self._count and self._count == self._out_of:  # the callback has not set another number
                self._set(self._terminator - self._out)
        if not self or phase == _LAST_PART:
            self._stop()
        if self._interrupted or self._held:
            self._interrupted = False
            raise Interrupted
        if self._needle:
            return self._next_of_needle()
        self._out_of = self._count
        whole = 0 < self._count <= len(self)
        return self._hand_out(self._start + self._count if whole else len(self._data), _COUNTED if whole else _PART)

    def _next_of_needle(self) -> Any:
        end, whole = self._end()
        if self._skipping or self._exceeds_limit(end):
            self._drop(end, whole)
            if self.overlong:
                raise Interrupted
            if whole:
                return next(self)
            end = self._start
        if whole:
            self._resume = end + len(self._needle)
            if end == self._start:
                self._start, self._carried = self._resume, 0
                return None
            return self._hand_out(end, _WHOLE, self._resume)
        if end == self._start:
            self._stop()
        self._out_of = 0
        return self._hand_out(end, _PART if end == len(self._data) else _LAST_PART)

    def _stop(self) -> NoReturn:
        """End the events for now, and keep no more of the received object than waits."""
        self._replace(self.unread, max(self._scanned - self._start, 0))
        raise StopIteration

    def _hand_out(self, end: int, phase: int, resume: int | None = None) -> Payload:
        self._phase = phase
        self._resume = end if resume is None else resume
        self._out = self._resume - self._start
        return self._cut(self._start, end)


COMPILED = False
"""Whether the buffers are the compiled ones (bool)."""

if TYPE_CHECKING:
    from ._framing import EventBuffer as EventBuffer
    from ._framing import InputBuffer as InputBuffer
    from ._framing import find_prefix_at_end as find_prefix_at_end
else:
    InputBuffer, EventBuffer = PlainInputBuffer, PlainEventBuffer
    find_prefix_at_end = plain_find_prefix_at_end
    if is_wanted():
        try:
            from ._framing import EventBuffer, InputBuffer, find_prefix_at_end

            COMPILED = True
        except ModuleNotFoundError as missing:
            report_missing(missing, f"{__package__}._framing")
