"""Events: a conversation pulls them out of its input buffer, and calls one callback for each.

The class here is the specification of ``_events.pyx``, member by member, and is used where that is not
compiled; the last lines choose.
"""

from typing import TYPE_CHECKING, Any, NoReturn

from ._compiled import is_wanted, report_missing
from .framing import Payload, PlainInputBuffer, Terminator

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

__all__ = ["EventBuffer", "Interrupted"]

UNSET: Any = object()
"""The terminator of a channel that has not set one."""


class Interrupted(Exception):
    """Raised in place of an event: a payload was overlong, or the terminator is not set or must be asked for."""


# The kind of the last event, until the next one is pulled; the last two kinds follow only from ask().
_NOTHING, _PART, _LAST_PART, _WHOLE, _COUNTED, _EMPTY, _STOP = range(7)


class PlainEventBuffer(PlainInputBuffer):
    """An input buffer that iterates over events, for conversations: a payload or a part of one, and None for its end.

    Until the next event is pulled, the bytes that were handed out last count as unread, so that a
    callback which raises loses nothing.  A numeric terminator counts down, and is 0 at the end.
    """

    __slots__ = ("_held", "_interrupted", "_out", "_out_of", "_phase", "_resume")

    def __init__(self) -> None:
        self._phase = _NOTHING
        self._resume = 0  # the index after the last event, and after its terminator
        self._out = 0  # the size of the last event, in bytes, with its terminator
        self._out_of = 0  # the count of which the last event is a part; negative with a bytes-like terminator
        self._interrupted = False
        super().__init__()
        self.unset()

    @property
    def terminator(self) -> Any:
        if self._terminator is UNSET:
            raise AttributeError("terminator")
        return self._terminator

    @terminator.setter
    def terminator(self, terminator: Terminator) -> None:
        if isinstance(terminator, str):
            raise TypeError("a str is for the caller to encode, an empty one too")
        self._set_next(terminator)

    def _set(self, terminator: Any) -> None:
        super()._set(terminator)
        self._held = False

    def hold(self, terminator: Any) -> None:
        """Set a *terminator* that this buffer cannot search for: the next event is an interruption."""
        self._set(None)
        self._terminator, self._held = terminator, True

    def unset(self) -> None:
        """Remove the terminator: the next event is an interruption."""
        self.hold(UNSET)

    def interrupt(self) -> None:
        """Make the next event an interruption."""
        self._interrupted = True

    def undo(self) -> None:
        """Mark the bytes that were handed out last as unread again, because the callback has raised."""
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
        # As in asynchat, the end of the callback removes the length of the last event from the new data.
        self._resume = min(self._out, len(self._data))

    @property
    def undelivered(self) -> bytes:
        """The unread bytes after those of the last event, and after its terminator."""
        return self._data[self._resume if self._phase else self._start :]

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
            if self._out_of < 0:
                self._carried += self._out
            elif self._count and self._count == self._out_of:  # the callback has not set another number
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

    def ask(self, terminator: Any) -> Any:
        """Return the next payload or part by *terminator*, which is used once instead of the one that is set.

        None if there is none.  The bytes count as unread until ``settle()``, which returns whether they were a whole
        payload.  TypeError and ValueError for a wrong terminator.
        """
        known = self._terminator, self._needle, self._count, self._held, self._interrupted
        self._interrupted = False
        try:
            PlainInputBuffer._set(self, terminator)
            self._held = False
            event = next(self, _STOP)
        finally:
            self._terminator, self._needle, self._count, self._held, self._interrupted = known
            self._scanned = self._start
        if event is None or event is _STOP:
            self._phase = _EMPTY if event is None else _STOP
            return None
        if self._out_of > 0:
            self._out_of = 0  # the caller counts down
        return event

    def settle(self) -> bool | None:
        """Take the bytes that ``ask()`` has returned; return True if a payload ends with them.

        None for a part of a payload.  False for a part, too, if the rest may be the beginning of a terminator.
        """
        phase, self._phase = self._phase, _NOTHING
        if phase not in (_EMPTY, _STOP):
            self._start = self._resume
            self._carried = self._carried + self._out if self._out_of < 0 and phase in (_PART, _LAST_PART) else 0
        if not self or phase in (_LAST_PART, _STOP):
            self._replace(self.unread)  # keeps only the unread bytes alive, not all that were received
        return None if phase == _PART else phase not in (_LAST_PART, _STOP)

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
        self._out_of = -1
        return self._hand_out(end, _PART if end == len(self._data) else _LAST_PART)

    def _stop(self) -> NoReturn:
        """End the events for now, and keep only the unread bytes alive, not all that were received."""
        self._replace(self.unread, max(self._scanned - self._start, 0))
        raise StopIteration

    def _hand_out(self, end: int, phase: int, resume: int | None = None) -> Payload:
        self._phase = phase
        self._resume = end if resume is None else resume
        self._out = self._resume - self._start
        return self._cut(self._start, end)


if TYPE_CHECKING:
    from ._events import EventBuffer as EventBuffer
else:
    EventBuffer = PlainEventBuffer
    if is_wanted():
        try:
            from ._events import EventBuffer
        except ModuleNotFoundError as missing:
            report_missing(missing, f"{__package__}._events")
