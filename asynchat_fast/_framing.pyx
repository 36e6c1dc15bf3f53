# cython: language_level=3, always_allow_keywords=False, auto_pickle=False, freethreading_compatible=True
# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""Framing, compiled: the classes of ``framing.py`` member by member; that file is the specification.

It never calls back: payloads are pulled out of it.  ``_data`` is an immutable bytes object, where possible the
received one.  Pointers into it are used within one method only, whose critical section prevents other threads from
replacing it meanwhile.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from libc.string cimport memchr, memcmp

from sys import maxsize
from types import GenericAlias

cdef object exhausted = object()


cdef Py_ssize_t prefix_at_end(const char *data, Py_ssize_t size, const char *needle, Py_ssize_t length) noexcept nogil:
    cdef const char *end = data + size
    cdef const char *at = end - max(min(size, length - 1), 0)
    while at < end:
        at = <const char *> memchr(at, needle[0], end - at)
        if at == NULL:
            return 0
        if memcmp(at, needle, end - at) == 0:
            return end - at
        at += 1
    return 0


def find_prefix_at_end(haystack, needle):
    """Return the length of the longest beginning of *needle* with which *haystack* ends (int), 0 if there is none.

    Both are str, or both are bytes or bytearray.  A whole *needle* does not count, as callers have searched for it
    before.  Source: the asynchat documentation.
    """
    if type(haystack) is bytes and type(needle) is bytes:
        return prefix_at_end(haystack, len(haystack), needle, len(needle))
    cdef Py_ssize_t length = min(len(needle) - 1, len(haystack))
    while length > 0 and not haystack.endswith(needle[:length]):
        length -= 1
    return max(length, 0)


@cython.no_gc  # saves 16 bytes a channel; nothing in the buffer refers back to it, so that there are no cycles
cdef class InputBuffer:
    """InputBuffer(terminator=None, limit=None, views=False)\n--\n
    Received bytes, and a cursor that moves from payload to payload.

    Feed it received data, iterate over the complete payloads, and take the part of an incomplete one.
    *terminator* is bytes-like, and not part of a payload; or an int, the bytes of each payload; or None, 0 or
    empty, for a payload without end.  *limit* is the most bytes (int, None for no limit) of a payload with a
    bytes-like terminator; with *views* (bool) payloads are memoryviews of the data.
    ValueError for a negative number, TypeError for any other terminator.  One thread at a time may use it.
    """

    __class_getitem__ = classmethod(GenericAlias)

    def __init__(self, terminator=None, limit=None, views=False):
        self._data = self._needle = b""
        self.set_terminator(terminator, limit, views)

    @cython.critical_section
    def __len__(self):
        return size_of(<PyObject *> self._data) - self._start

    @property
    @cython.critical_section
    def terminator(self):
        """The terminator, as it was set."""
        return self._terminator

    @property
    def overlong(self):
        """Whether a payload has exceeded the limit: its bytes are dropped, its terminator included.

        Set by ``take_partial()``; the caller that acts upon it sets it to False.
        """
        return bool(self._overlong)

    @overlong.setter
    def overlong(self, bint overlong):
        self._overlong = overlong

    @cython.critical_section
    def set_terminator(self, terminator, limit=None, views=False):
        """Cut at *terminator* from the next byte on; see the class for the arguments."""
        if limit is not None and limit < 0:
            raise ValueError(f"limit counts bytes: it cannot be {limit}")
        cdef Py_ssize_t most = -1 if limit is None else min(limit, maxsize)  # raises TypeError for other types
        self._set_next(terminator)
        self._limit = most
        self._views = bool(views)

    @cython.critical_section
    def set_options(self, limit, views):
        """Set *limit* and *views* as ``set_terminator()`` does, and keep the terminator."""
        self._set_options(limit, views)

    cdef int _set_options(self, limit, views) except -1:
        self._limit = -1 if limit is None else min(limit, maxsize)
        self._views = bool(views)
        return 0

    cdef int _set_next(self, terminator) except -1:
        """Set *terminator*; the rest of an overlong payload is dropped up to the one it has, however it arrives."""
        if self._skipping:
            InputBuffer(terminator)  # raises if it is none
            self._terminator = terminator
        else:
            self._set(terminator)
        return 0

    cdef int _set(self, terminator) except -1:
        cdef bytes needle
        cdef int interrupted = self._kind & INTERRUPTED
        if type(terminator) is bytes:
            if size_of(<PyObject *> terminator):
                if terminator is not self._needle:
                    self._scanned = 0
                self._needle = terminator
                self._terminator = terminator
                self._kind = NEEDLE | interrupted
                return 0
        elif isinstance(terminator, int):
            if terminator < 0:
                raise ValueError(f"a numeric terminator counts bytes: it cannot be {terminator}")
            self._count = min(terminator, maxsize)
            if self._count:
                self._never(terminator)
                self._kind = COUNT | interrupted
                return 0
        elif terminator:
            try:
                needle = bytes(memoryview(terminator))
            except TypeError:
                kind = type(terminator).__name__
                raise TypeError(f"terminator must be bytes, int or None, not {kind}: {terminator!r}") from None
            self._set(needle)
            self._terminator = terminator
            return 0
        self._never(terminator)
        return 0

    cdef int _never(self, terminator) except -1:
        """Set *terminator*, which is not bytes-like; the limit does not hold for such payloads."""
        self._terminator = terminator
        self._carried = 0
        self._skipping = False
        self._kind &= INTERRUPTED
        return 0

    @property
    @cython.critical_section
    def unread(self):
        """The bytes that are not taken yet; may be assigned (bytes-like) at any time, ``b""`` to discard them."""
        return self._rest()

    @unread.setter
    @cython.critical_section
    def unread(self, data):
        self._replace(data if type(data) is bytes else b"" + data, 0)

    cdef bytes _rest(self):
        cdef Py_ssize_t size = size_of(<PyObject *> self._data) - self._start
        if not self._start:
            return self._data
        return PyBytes_FromStringAndSize(start_of(<PyObject *> self._data) + self._start, size) if size else b""

    cdef int _replace(self, bytes data, Py_ssize_t scanned) except -1:
        self._data = data
        self._start = 0
        self._scanned = scanned
        return 0

    @cython.critical_section
    def feed(self, data):
        """Append *data* (bytes-like), which is kept without a copy if it is bytes and nothing is unread.

        Call ``take_partial()`` before feeding again: what stays unread is copied each time.
        """
        self._feed(data)

    cdef int _feed(self, data) except -1:
        if type(data) is not bytes or self._start < size_of(<PyObject *> self._data):
            data = self._rest() + data
        self._replace(data, max(self._scanned - self._start, 0))
        self.fed += 1
        return 0

    def __iter__(self):
        return self

    def __next__(self):
        payload = self._next_whole()
        if payload is exhausted:
            raise StopIteration
        return payload

    @cython.critical_section
    cdef _next_whole(self):
        cdef Py_ssize_t start, end
        while self._kind == NEEDLE:
            end = self._find()
            if end < 0 or self._exceeds_limit(end):
                break
            start = self._start
            self._start = end + size_of(<PyObject *> self._needle)
            self._carried = 0
            if not self._skipping:
                return self._cut(start, end)
            self._stop_skipping()
        start = self._start
        if self._kind == COUNT and self._count <= size_of(<PyObject *> self._data) - start:
            self._start += self._count
            self._count = min(self._terminator, maxsize)
            return self._cut(start, self._start)
        if self._start == size_of(<PyObject *> self._data):
            self._replace(b"", 0)
        return exhausted

    @cython.critical_section
    def take_partial(self):
        """Take the bytes of an incomplete payload, without those that may be the beginning of the terminator.

        Without a terminator, these are all bytes that were fed, as the same object if they were fed at once.
        Empty while there is a complete payload.
        """
        cdef Py_ssize_t start = self._start, end = size_of(<PyObject *> self._data)
        cdef bint whole = False
        if self._kind == NEEDLE:
            end = self._end(&whole)
            if self._skipping or self._exceeds_limit(end):
                self._drop(end, whole)
                return b""
            if whole:
                return b""
            self._carried += end - start
        elif self._kind == COUNT:
            if self._count <= end - start:
                return b""
            self._count -= end - start
        self._start = end
        return self._cut(start, end)

    cdef Py_ssize_t _find(self) except -2:
        """Return where the next terminator begins, -1 if it has not come."""
        cdef Py_ssize_t size = size_of(<PyObject *> self._data), length = size_of(<PyObject *> self._needle), resume = 0
        cdef Py_ssize_t end = search_find(start_of(<PyObject *> self._data), size, max(self._start, self._scanned),
                                          start_of(<PyObject *> self._needle), length, &resume)
        if end == SEARCH_LINEAR:
            end = self._data.find(self._needle, resume)
        self._scanned = max(self._scanned, size - length + 1) if end < 0 else end
        return end

    cdef Py_ssize_t _end(self, bint *whole) except -2:
        """Return the end of the present payload, with *whole* set if its terminator has come.

        Else the index at which a beginning of the terminator may stand.
        """
        cdef Py_ssize_t end = self._find(), size = size_of(<PyObject *> self._data)
        whole[0] = end >= 0
        if end < 0:
            end = size - prefix_at_end(start_of(<PyObject *> self._data) + self._start, size - self._start,
                                       start_of(<PyObject *> self._needle), size_of(<PyObject *> self._needle))
        return end

    cdef bint _exceeds_limit(self, Py_ssize_t end) noexcept:
        return self._limit >= 0 and not self._skipping and self._carried + end - self._start > self._limit

    cdef int _drop(self, Py_ssize_t end, bint whole) except -1:
        """Drop the present payload, which is overlong, up to *end*, and with *whole* its terminator, too."""
        self._overlong = self._overlong or not self._skipping
        self._skipping = True
        self._carried = 0
        self._start = end
        if whole:
            self._start += size_of(<PyObject *> self._needle)
            self._stop_skipping()
        return 0

    cdef int _stop_skipping(self) except -1:
        self._skipping = False
        return self._set(self._terminator)  # which the program may have set meanwhile

    cdef _cut(self, Py_ssize_t start, Py_ssize_t end):
        if self._views:
            return memoryview(self._data)[start:end]
        if end - start == size_of(<PyObject *> self._data):
            return self._data
        return PyBytes_FromStringAndSize(start_of(<PyObject *> self._data) + start, end - start)
