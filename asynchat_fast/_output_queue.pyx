# cython: language_level=3, always_allow_keywords=False, auto_pickle=False, freethreading_compatible=True
# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""The output queue, compiled: the class of ``output_queue.py`` member by member; that file is the specification.

It calls no code of the program, so that each method is atomic for other threads: under the GIL, or by its critical
section.
"""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident

from collections import deque
from sys import maxsize

cdef extern from "Python.h":
    Py_ssize_t size_of "PyBytes_GET_SIZE" (PyObject *)


@cython.final
cdef class OutputQueue:
    """Bytes, producers and None for the end, in the order in which they are sent."""

    cdef bytes _head
    cdef object _deque
    cdef public unsigned long long sends
    cdef readonly Py_ssize_t corked
    cdef Py_ssize_t _most
    cdef readonly unsigned long holder
    cdef char _owed, _joins, _known

    @cython.critical_section
    def __len__(self):
        return (self._head is not None) + (0 if self._deque is None else len(self._deque))

    @cython.critical_section
    def __bool__(self):
        return self._is_filled()

    cdef inline bint _is_filled(self) except -1:
        return self._head is not None or (self._deque is not None and bool(self._deque))

    @property
    def joins(self):
        """Whether several items of bytes are joined, to be sent at once (bool)."""
        return bool(self._joins)

    @joins.setter
    def joins(self, bint joins):
        self._joins = joins

    @property
    def known(self):
        """Whether the program has got the deque, and may change it at any time (bool)."""
        return bool(self._known)

    @known.setter
    def known(self, bint known):
        self._known = known

    @property
    def owed(self):
        """Whether ``begin()`` was called while another sender was inside, which must send for it, too (bool)."""
        return bool(self._owed)

    @property
    @cython.critical_section
    def items(self):
        """The items (deque); to assign another deque replaces them."""
        if self._deque is None:
            self._spill()
        return self._deque

    @items.setter
    @cython.critical_section
    def items(self, items):
        self._head = None
        self._deque = items

    cdef int _spill(self) except -1:
        self._deque = deque() if self._head is None else deque((self._head,))
        self._head = None
        return 0

    @cython.critical_section
    def put(self, data):
        """Queue *data*, if it is bytes that one ``send()`` may take; return True if it may be sent now.

        None if it waits for ``uncork()``.  False if it was not queued: the caller must check, cut and ``extend()``.
        """
        if self._known or type(data) is not bytes or not 0 < PyBytes_GET_SIZE(data) <= self._most:
            return False
        if self._deque is None and self._head is None:
            self._head = data
        else:
            if self._deque is None:
                self._spill()
            self._deque.append(data)
        if self.corked:
            self.corked += 1
            return None
        return True

    @cython.critical_section
    def extend(self, items):
        """Queue *items* unchanged; return whether they may be sent now (bool), or else wait for ``uncork()``."""
        if self._deque is None:
            self._spill()
        for item in items:
            self._deque.append(item)
        if self.corked:
            self.corked += len(items)
        return not self.corked

    @cython.critical_section
    def begin(self, size):
        """Enter, and return the bytes to send, at most *size*: the item at the head, or several that are now joined.

        None if nothing waits, or another sender is inside.  False if this has entered, but the head is no such item:
        the caller must bring bytes there.  ValueError for a *size* below 1.
        """
        cdef Py_ssize_t most
        if size < 1:
            raise ValueError(f"with an ac_out_buffer_size of {size}, nothing could be sent")
        most = size if type(size) is int and size <= maxsize else int(min(size, maxsize))
        self._most = most
        if self.holder:
            self._owed = True
            return None
        head = self._head
        if head is None:
            if self._deque is None or not self._deque:
                self._owed = False
                return None
            head = self._deque[0]
        self.holder = PyThread_get_thread_ident()
        self._owed = False
        if type(head) is bytes and 0 < PyBytes_GET_SIZE(head) <= most:
            if not self._joins or self._deque is None or len(self._deque) < 2:
                return head
            return not self._known and self._join(most)
        return False

    cdef _join(self, Py_ssize_t most):
        """Join the items at the head, up to *most* bytes, and return them; False if one of them is not bytes."""
        cdef list parts = []
        cdef Py_ssize_t room = most
        for item in self._deque:
            if type(item) is not bytes:
                return False
            room -= PyBytes_GET_SIZE(item)
            if room < 0:
                break
            parts.append(item)
        if len(parts) == len(self._deque):
            self._deque, self._head = None, b"".join(parts)
            return self._head
        for _ in parts:
            self._deque.popleft()
        self._deque.appendleft(b"".join(parts))
        return self._deque[0]

    @cython.critical_section
    def end(self, data, sent):
        """Leave, after *sent* bytes of *data*, the item at the head, were sent; return whether something is left to do.

        *data* is None if the caller has updated the queue itself.
        """
        if data is not None and sent:
            if type(sent) is int and sent == size_of(<PyObject *> data):
                rest = b""
            else:
                rest = data[sent:]  # first, because it raises if *sent* is not an int
            self.sends += 1
            if self._head is data:
                self._head = rest or None
            elif self._deque is not None and self._deque and self._deque[0] is data:  # else it was discarded
                if rest:
                    self._deque[0] = rest
                else:
                    del self._deque[0]
        if self._deque is not None and not self._known and not self._deque:
            self._deque = None
        self.holder = 0
        return bool(self._owed) or self._is_filled()

    @cython.critical_section
    def cork(self):
        """Let items wait for ``uncork()``; return False if they do already."""
        if self.corked:
            return False
        self.corked = 1
        return True

    @cython.critical_section
    def uncork(self):
        """Let items be sent at once again; return the number of items put since ``cork()``."""
        cdef Py_ssize_t held = self.corked - 1
        self.corked = 0
        return max(held, 0)

    @cython.critical_section
    def forget_held(self):
        """Forget that items were put since ``cork()``: the caller has removed them."""
        self.corked = min(self.corked, 1)
