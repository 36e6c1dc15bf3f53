"""The compiled InputBuffer, for the module that inherits from it."""

from cpython.object cimport PyObject

cdef extern from "Python.h":  # these take pointers, because Cython would count a reference to an object
    Py_ssize_t size_of "PyBytes_GET_SIZE" (PyObject *) nogil
    char *start_of "PyBytes_AS_STRING" (PyObject *) nogil

cdef extern from "_search.h":
    Py_ssize_t search_find(const char *, Py_ssize_t, Py_ssize_t, const char *, Py_ssize_t, Py_ssize_t *) nogil
    enum: SEARCH_NONE
    enum: SEARCH_LINEAR

cdef enum Kind:  # the kinds of terminators
    NEVER
    NEEDLE
    COUNT
    HELD  # one that cannot be searched for
    INTERRUPTED = 4  # a flag besides one of these: the next event is an interruption

cdef class InputBuffer:
    cdef object _terminator
    cdef bytes _data, _needle
    cdef Py_ssize_t _start, _scanned, _carried, _count, _limit
    cdef readonly unsigned long long fed
    cdef int _kind
    cdef char _skipping, _views, _overlong

    cdef int _set(self, terminator) except -1
    cdef int _set_next(self, terminator) except -1
    cdef int _stop_skipping(self) except -1
    cdef int _never(self, terminator) except -1
    cdef bytes _rest(self)
    cdef int _replace(self, bytes data, Py_ssize_t scanned) except -1
    cdef int _feed(self, data) except -1
    cdef Py_ssize_t _find(self) except -2
    cdef Py_ssize_t _end(self, bint *whole) except -2
    cdef bint _exceeds_limit(self, Py_ssize_t end) noexcept
    cdef int _drop(self, Py_ssize_t end, bint whole) except -1
    cdef _cut(self, Py_ssize_t start, Py_ssize_t end)
    cdef int _set_options(self, limit, views) except -1
    cdef _next_whole(self)
