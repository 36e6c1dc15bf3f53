"""Framing in plain Python: cut a stream of octets into payloads at a terminator.

The executable specification of ``_framing.pyx``, and the InputBuffer wherever that
is not compiled.  Owns octets and a cursor, knows no sockets, calls nobody.  What the
members promise to their user is told once, in ``_framing.pyi``.
"""


def find_prefix_at_end(haystack, needle):
    """Return the length of the longest start of *needle* that *haystack* ends with, 0 if none.

    Both are str, or both are bytes or bytearray.  A whole *needle* does not count: it
    has been searched for already.  Source: the asynchat documentation.
    """
    length = min(len(needle) - 1, len(haystack))
    while length > 0 and not haystack.endswith(needle[:length]):
        length -= 1
    return max(length, 0)


class InputBuffer:
    __slots__ = ("_carried", "_count", "_data", "_limit", "_mark", "_needle", "_parsed", "_scanned",
                 "_skipping", "_start", "_views", "fed", "overlong", "taken", "terminator")  # fmt: skip

    def __init__(self, terminator=None, limit=None, views=False):
        self.unread = b""
        self.set_terminator(terminator, limit, views)
        self._carried = 0  # octets of the payload at hand that left as fragments
        self._skipping = self.overlong = False
        self.fed = 0

    def __len__(self):
        return len(self._data) - self._start

    def set_terminator(self, terminator, limit=None, views=False):
        self.terminator, self._limit, self._views = terminator, -1 if limit is None else limit, views
        self._parsed = False  # not yet: what is wrong with a terminator shows when it is needed

    @property
    def unread(self):
        return self._data[self._start :]

    @unread.setter
    def unread(self, octets):
        self._data = octets if type(octets) is bytes else b"" + octets
        self._start = self._mark = self.taken = 0
        self._scanned = 0  # no terminator begins before this index

    @property
    def untaken(self):
        return self._data[self._mark :]

    def feed(self, octets):
        self.fed += 1
        scanned = max(self._scanned - self._start, 0)
        self.unread = self.unread + octets if self else octets
        self._scanned = scanned

    def __iter__(self):
        return self

    def __next__(self):
        if self:  # what is wrong with the terminator does not matter sooner
            self._parse_terminator()
        while self._parsed and self._needle:
            end = self._find()
            if end < 0 or self._exceeds_limit(end):
                break
            self._carried = 0
            if not self._skipping:
                return self._take(end, end + len(self._needle))
            self._skipping = False
            self._start = self._mark = end + len(self._needle)
        if not self:
            self.unread = b""
        raise StopIteration

    def take_partial(self):
        self._parse_terminator()
        end = size = len(self._data)
        if not self._needle:
            if self._count:
                end = min(self._start + self._count, size)
            return self._take(end, end)
        end = self._find()
        whole = end >= 0
        if not whole:
            last = self._data[max(self._start, size - len(self._needle) + 1) :]
            end = size - find_prefix_at_end(last, self._needle)
        if self._skipping or self._exceeds_limit(end):
            self.overlong = self.overlong or not self._skipping
            self._skipping, self._carried = not whole, 0
            self._start = self._mark = end + len(self._needle) if whole else end
            return b""
        if whole:
            return b""
        self._carried += end - self._start
        return self._take(end, end)

    def put_back(self):
        self._carried = max(self._carried - (self._start - self._mark), 0)
        self._start = self._scanned = self._mark  # the search may have gone on since

    def skip(self, count):
        self._mark = self._start
        self._start = min(self._start + count, len(self._data))
        self.taken = count

    def _parse_terminator(self):
        if self._parsed:
            return
        terminator, self._needle, self._count = self.terminator, b"", 0
        if isinstance(terminator, int):
            if terminator < 0:
                raise ValueError(f"a numeric terminator counts octets: it cannot be {terminator}")
            self._count = terminator
        elif terminator:
            self._needle = bytes(memoryview(terminator))
        if not self._needle:  # nothing is too long for a terminator that says how long
            self._carried, self._skipping = 0, False
        self._scanned, self._parsed = self._start, True

    def _find(self):
        start = max(self._start, self._scanned)
        end = self._data.find(self._needle, start)
        self._scanned = max(self._scanned, len(self._data) - len(self._needle) + 1) if end < 0 else end
        return end

    def _exceeds_limit(self, end):
        return self._limit >= 0 and not self._skipping and self._carried + end - self._start > self._limit

    def _take(self, end, resume):
        start = self._mark = self._start
        self._start = resume
        self.taken = resume - start
        if self._views:
            return memoryview(self._data)[start:end]
        return self._data if end - start == len(self._data) else self._data[start:end]
