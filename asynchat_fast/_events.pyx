# cython: language_level=3, always_allow_keywords=False, auto_pickle=False, freethreading_compatible=True
# cython: binding=False
"""Events, compiled: the class of ``events.py`` member by member; that file is the specification."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject

from ._framing cimport COUNT, HELD, INTERRUPTED, NEEDLE, NEVER, SEARCH_NONE, InputBuffer, search_find, size_of, start_of

from .events import UNSET, Interrupted  # that module defines them before it imports this one

cdef enum Phase:  # the kind of the last event, until the next one is pulled
    NOTHING
    PART
    LAST_PART
    WHOLE
    COUNTED
    EMPTY  # only from ask(): the end of a payload, without bytes
    STOP  # only from ask(): there is no event

cdef object unset = UNSET
cdef object exhausted = object()


@cython.final
@cython.no_gc
cdef class EventBuffer(InputBuffer):
    """An input buffer that iterates over events, for conversations: a payload or a part of one, and None for its end.

    Until the next event is pulled, the bytes that were handed out last count as unread, so that a
    callback which raises loses nothing.  A numeric terminator counts down, and is 0 at the end.
    """

    cdef Py_ssize_t _resume, _out, _out_of
    cdef int _phase

    def __init__(self):
        InputBuffer.__init__(self)
        self.hold(unset)

    @property
    @cython.critical_section
    def terminator(self):
        """The terminator as it was set, or the rest of a number that counts down; AttributeError if there is none."""
        if self._terminator is unset:
            raise AttributeError("terminator")
        return self._terminator

    @terminator.setter
    @cython.critical_section
    def terminator(self, terminator):
        if isinstance(terminator, str):
            raise TypeError("a str is for the caller to encode, an empty one too")
        self._set_next(terminator)

    @cython.critical_section
    def hold(self, terminator):
        """Set a *terminator* that this buffer cannot search for: the next event is an interruption."""
        self._never(terminator)
        self._kind |= HELD

    def unset(self):
        """Remove the terminator: the next event is an interruption."""
        self.hold(unset)

    def interrupt(self):
        """Make the next event an interruption."""
        self._kind |= INTERRUPTED

    def undo(self):
        """Mark the bytes that were handed out last as unread again, because the callback has raised."""
        self._phase = NOTHING

    @cython.critical_section
    def feed(self, data):
        """Append *data* (bytes-like), and return the iterator over the events."""
        cdef Py_ssize_t out = self._resume - self._start
        if type(data) is bytes and self._start == size_of(<PyObject *> self._data):
            self._data = data
            self._start = self._scanned = 0
            self.fed += 1
        else:
            self._feed(data)
        self._resume = out
        return self

    @property
    @cython.critical_section
    def unread(self):
        """The bytes not taken yet, with those of the last event; may be assigned (bytes-like) at any time."""
        return self._rest()

    @unread.setter
    @cython.critical_section
    def unread(self, data):
        self._replace(data if type(data) is bytes else b"" + data, 0)
        # As in asynchat, the end of the callback removes the length of the last event from the new data.
        self._resume = min(self._out, size_of(<PyObject *> self._data))

    @property
    @cython.critical_section
    def undelivered(self):
        """The unread bytes after those of the last event, and after its terminator."""
        return self._data[self._start if self._phase == NOTHING else self._resume:]

    @cython.critical_section
    def ask(self, terminator):
        """Return the next payload or part by *terminator*, which is used once instead of the one that is set.

        None if there is none.  The bytes count as unread until ``settle()``, which returns whether they were a whole
        payload.  TypeError and ValueError for a wrong terminator.
        """
        cdef object known = self._terminator
        cdef bytes needle = self._needle
        cdef Py_ssize_t count = self._count
        cdef int kind = self._kind
        self._kind = NEVER
        try:
            self._set(terminator)
            event = self._next_event()
        finally:
            self._terminator, self._needle, self._count, self._kind = known, needle, count, kind
            self._scanned = self._start
        if event is None or event is exhausted:
            self._phase = EMPTY if event is None else STOP
            return None
        if self._out_of > 0:
            self._out_of = 0  # the caller counts down
        return event

    @cython.critical_section
    def settle(self):
        """Take the bytes that ``ask()`` has returned; return True if a payload ends with them.

        None for a part of a payload.  False for a part, too, if the rest may be the beginning of a terminator.
        """
        cdef int phase = self._phase
        self._phase = NOTHING
        if phase != EMPTY and phase != STOP:
            self._start = self._resume
            self._carried = self._carried + self._out if self._out_of < 0 and phase <= LAST_PART else 0
        if phase == LAST_PART or phase == STOP or self._start == size_of(<PyObject *> self._data):
            self._replace(self._rest(), 0)  # keeps only the unread bytes alive, not all that were received
        return None if phase == PART else phase != LAST_PART and phase != STOP

    def __next__(self):
        event = self._next_event()
        if event is exhausted:
            raise StopIteration
        return event

    @cython.critical_section
    cdef inline _next_event(self):
        cdef Py_ssize_t end, length, resume = 0
        if self._phase:
            if self._phase == WHOLE:
                self._phase = NOTHING
                self._start = self._resume
                self._carried = 0
                return None
            if self._phase == COUNTED:
                self._phase = NOTHING
                self._start = self._resume
                self._never(0)
                return None
            if self._take_part() == LAST_PART:
                return self._stop()
        if self._start < size_of(<PyObject *> self._data):
            if self._kind == NEEDLE:
                # _find() and _cut() inlined, for the usual payloads.
                length = size_of(<PyObject *> self._needle)
                end = search_find(start_of(<PyObject *> self._data), size_of(<PyObject *> self._data),
                                  max(self._start, self._scanned), start_of(<PyObject *> self._needle), length, &resume)
                if end == SEARCH_NONE:
                    self._scanned = max(self._scanned, size_of(<PyObject *> self._data) - length + 1)
                if end < 0 or self._limit >= 0 or self._skipping or self._views:
                    return self._next_of_needle()
                self._scanned = end
                self._resume = end + length
                if end == self._start:
                    self._start = self._resume
                    self._carried = 0
                    return None
                self._phase = WHOLE
                self._out = self._resume - self._start
                return PyBytes_FromStringAndSize(start_of(<PyObject *> self._data) + self._start, end - self._start)
            if self._kind == COUNT:
                self._out_of = self._count
                if self._count <= size_of(<PyObject *> self._data) - self._start:
                    self._phase = COUNTED
                    self._resume = self._start + self._count
                    self._out = self._count
                    return self._cut(self._start, self._resume)
            return self._next_of_rest()
        return self._stop()

    cdef int _take_part(self) except -1:
        """Take the part that was the last event, and return its phase."""
        cdef int phase = self._phase
        self._phase = NOTHING
        self._start = self._resume
        if self._out_of < 0:
            self._carried += self._out
        elif self._kind & ~INTERRUPTED == COUNT and self._count == self._out_of:  # the callback has not set another
            self._set(self._terminator - self._out)
        return phase

    cdef _next_of_needle(self):
        """Return the next event, with a bytes-like terminator that has not come, or with a limit, or with views."""
        cdef bint whole
        cdef Py_ssize_t end = self._end(&whole)
        if self._skipping or self._exceeds_limit(end):
            self._drop(end, whole)
            if self._overlong:
                raise Interrupted
            if whole:
                return self._next_event()
            end = self._start
        if whole:
            self._resume = end + size_of(<PyObject *> self._needle)
            if end == self._start:
                self._start = self._resume
                self._carried = 0
                return None
            self._phase = WHOLE
            self._out = self._resume - self._start
            return self._cut(self._start, end)
        if end == self._start:
            return self._stop()
        self._out_of = -1
        self._phase = PART if end == size_of(<PyObject *> self._data) else LAST_PART
        self._resume = end
        self._out = end - self._start
        return self._cut(self._start, end)

    cdef _next_of_rest(self):
        """Return all bytes as the next event, a part; or raise Interrupted."""
        if self._kind & INTERRUPTED or self._kind == HELD:
            self._kind &= ~INTERRUPTED
            raise Interrupted
        self._out_of = self._count if self._kind == COUNT else 0
        self._phase = PART
        self._resume = size_of(<PyObject *> self._data)
        self._out = self._resume - self._start
        return self._cut(self._start, self._resume)

    cdef _stop(self):
        """End the events for now, and keep only the unread bytes alive, not all that were received."""
        if self._start:
            self._replace(self._rest(), max(self._scanned - self._start, 0))
        return exhausted
