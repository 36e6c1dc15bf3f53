# cython: language_level=3, always_allow_keywords=False, auto_pickle=False, freethreading_compatible=True
"""Framing, compiled: ``_framing_py.py`` member by member; that file says what is meant.

Never calls back: payloads are pulled out of it.  ``_data`` is an immutable bytes object,
where possible the one received; pointers into it live within one method, whose critical
section keeps other threads from exchanging it meanwhile.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp

from sys import maxsize

# A search led by memchr() pays FALSE_HIT octets' worth of time for each first octet of the
# terminator that turns out to be something else.  Once it owes CREDIT more than it has
# scanned, bytes.find() goes on, which is linear whatever the input.
cdef enum:
    FALSE_HIT = 16
    CREDIT = 128


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
    """Return the length of the longest start of *needle* that *haystack* ends with, 0 if none."""
    if type(haystack) is bytes and type(needle) is bytes:
        return prefix_at_end(haystack, len(haystack), needle, len(needle))
    cdef Py_ssize_t length = min(len(needle) - 1, len(haystack))
    while length > 0 and not haystack.endswith(needle[:length]):
        length -= 1
    return max(length, 0)


@cython.final
cdef class InputBuffer:
    cdef object _terminator  # as it was assigned; parsed when it is needed
    cdef bytes _data, _needle_owner  # whose octets the pointers below borrow
    cdef const char *_octets
    cdef const char *_needle
    cdef Py_ssize_t _size, _needle_size  # no needle: a numeric terminator, or none
    cdef Py_ssize_t _start, _mark, _scanned, _count, _limit, _carried
    cdef bint _parsed, _skipping, _views
    cdef public bint overlong
    cdef readonly unsigned long long fed
    cdef readonly Py_ssize_t taken

    def __cinit__(self, terminator=None, limit=None, bint views=False):
        self._replace(b"", 0)
        self.set_terminator(terminator, limit, views)

    @cython.critical_section
    def __len__(self):
        return self._size - self._start

    @property
    @cython.critical_section
    def terminator(self):
        return self._terminator

    @cython.critical_section
    def set_terminator(self, terminator, limit=None, bint views=False):
        self._parsed = self._parsed and self._needle_size and terminator is self._needle_owner
        self._terminator = terminator
        self._limit = -1 if limit is None else limit
        self._views = views

    @property
    @cython.critical_section
    def unread(self):
        return self._data[self._start :]

    @unread.setter
    @cython.critical_section
    def unread(self, octets):
        self._replace(octets if type(octets) is bytes else b"" + octets, 0)

    @property
    @cython.critical_section
    def untaken(self):
        return self._data[self._mark :]

    @cython.critical_section
    def feed(self, octets):
        self.fed += 1
        if type(octets) is not bytes or self._start < self._size:
            octets = self._data[self._start :] + octets
        self._replace(octets, max(self._scanned - self._start, 0))

    def __iter__(self):
        return self

    def __next__(self):
        payload = self._take_whole()
        if payload is None:
            raise StopIteration  # outside of the critical section, where it costs nothing
        return payload

    @cython.critical_section
    cdef _take_whole(self):
        cdef Py_ssize_t end
        if not self._parsed and self._start < self._size:  # what is wrong with it does not matter sooner
            self._parse_terminator()
        while self._needle_size and self._parsed:
            end = self._find()
            if end < 0 or (self._limit >= 0 and self._exceeds_limit(end)):
                break
            self._carried = 0
            if not self._skipping:
                return self._take(end, end + self._needle_size)
            self._skipping = False
            self._start = self._mark = end + self._needle_size
        if self._start == self._size:
            self._replace(b"", 0)
        return None

    @cython.critical_section
    def take_partial(self):
        cdef Py_ssize_t end = self._size
        cdef bint whole
        if not self._parsed:
            self._parse_terminator()
        if not self._needle_size:
            if self._count and self._count < end - self._start:
                end = self._start + self._count
            return self._take(end, end)
        end = self._find()
        whole = end >= 0
        if not whole:
            end = self._size - prefix_at_end(
                self._octets + self._start, self._size - self._start, self._needle, self._needle_size
            )
        if self._skipping or self._exceeds_limit(end):
            self.overlong = self.overlong or not self._skipping
            self._skipping = not whole
            self._carried = 0
            self._start = self._mark = end + self._needle_size if whole else end
            return b""
        if whole:
            return b""
        self._carried += end - self._start
        return self._take(end, end)

    @cython.critical_section
    def put_back(self):
        self._carried = max(self._carried - (self._start - self._mark), 0)
        self._start = self._scanned = self._mark  # the search may have gone on since

    @cython.critical_section
    def skip(self, Py_ssize_t count):
        self._mark = self._start
        self._start = min(self._start + count, self._size)
        self.taken = count

    cdef int _replace(self, bytes data, Py_ssize_t scanned) except -1:
        self._data = data
        self._octets = data
        self._size = PyBytes_GET_SIZE(data)
        self._start = self._mark = self.taken = 0
        self._scanned = scanned
        return 0

    cdef int _parse_terminator(self) except -1:
        terminator = self._terminator
        cdef bytes needle = b""
        self._count = 0
        if isinstance(terminator, int):
            if terminator < 0:
                raise ValueError(f"a numeric terminator counts octets: it cannot be {terminator}")
            self._count = min(terminator, maxsize)
        elif type(terminator) is bytes:
            needle = terminator
        elif terminator:
            needle = bytes(memoryview(terminator))
        self._needle_owner = needle
        self._needle = needle
        self._needle_size = PyBytes_GET_SIZE(needle)
        if not self._needle_size:  # nothing is too long for a terminator that says how long
            self._carried = 0
            self._skipping = False
        self._scanned = self._start
        self._parsed = True
        return 0

    cdef inline Py_ssize_t _find(self) except -2:
        """Return where the next terminator begins in _octets, -1 if there is none."""
        cdef const char *octets = self._octets
        cdef const char *needle = self._needle
        cdef const char *hit
        cdef Py_ssize_t last = self._needle_size - 1
        cdef Py_ssize_t stop = self._size - last
        cdef Py_ssize_t at = max(self._start, self._scanned)
        cdef Py_ssize_t owed = at - CREDIT
        while at < stop:
            hit = <const char *> memchr(octets + at, needle[0], stop - at)
            if hit == NULL:
                break
            at = hit - octets
            if hit[last] == needle[last]:
                if last < 2 or memcmp(hit, needle, last) == 0:
                    self._scanned = at
                    return at
                owed += last
            at += 1
            owed += FALSE_HIT
            if owed > at:
                at = self._data.find(self._needle_owner, at)
                if at < 0:
                    break
                self._scanned = at
                return at
        self._scanned = max(self._scanned, stop)
        return -1

    cdef inline bint _exceeds_limit(self, Py_ssize_t end) noexcept:
        return self._limit >= 0 and not self._skipping and self._carried + end - self._start > self._limit

    cdef inline _take(self, Py_ssize_t end, Py_ssize_t resume):
        cdef Py_ssize_t start = self._start
        self._mark = start
        self._start = resume
        self.taken = resume - start
        if self._views:
            return memoryview(self._data)[start:end]
        if end - start == self._size:
            return self._data
        return PyBytes_FromStringAndSize(self._octets + start, end - start)
