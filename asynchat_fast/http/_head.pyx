# cython: language_level=3, auto_pickle=False, freethreading_compatible=True
"""The head parser, compiled: PlainHeadParser of ``head.py``, function by function; that class is the specification.

Bytes are read through pointers into the immutable bytes object that the caller holds, never at or beyond its size.
The tables are filled at import, and only read afterwards.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from sys import intern

from .errors import HTTPError

ctypedef const unsigned char *Data

cdef enum:
    MAX_METHOD = 64  # bytes
    TOKEN = 1  # classes of bytes: flags, of which a byte may have several
    VISIBLE = 2
    VALUE = 4

cdef enum Outcome:  # the result for a line; LAST: it is whole if no bytes follow
    WHOLE, LAST, BEGUN, MALFORMED, LONG_METHOD

cdef enum Part:  # where a check of a field line begins: at its beginning, within its name, or within its value
    LINE, NAME, CONTENT

cdef struct Line:  # the ends of its two parts, such as name and value; and the index up to which its bytes are valid
    Py_ssize_t first_end, second_end, end

cdef struct Known:  # a well-known name, whose str objects need not be made, nor hashed, each time
    Py_ssize_t size  # 0: a free slot
    const char *data
    PyObject *text
    PyObject *lower

cdef unsigned char classes[256]
cdef Known known[512]  # a hash table with open addressing
cdef list owners = []  # keeps the objects alive to which the pointers in it refer


cdef inline Known *slot_of(Data data, Py_ssize_t size) noexcept nogil:
    """Return the slot of a name of at least one byte; a free slot if the name is not known."""
    cdef size_t slot = size + 9 * data[0] + 37 * data[size - 1] + 5 * data[size >> 1]
    while known[slot & 511].size:
        if known[slot & 511].size == size and memcmp(known[slot & 511].data, data, size) == 0:
            break
        slot += 1
    return &known[slot & 511]


cdef int fill_tables(str names) except -1:
    cdef bytes data
    cdef Known *slot
    for byte in range(256):
        if byte == 9 or (byte >= 32 and byte != 127):
            classes[byte] = VALUE
        if 33 <= byte <= 126:
            classes[byte] |= VISIBLE if byte in b'"(),/:;<=>?@[\\]{}' else VISIBLE | TOKEN
    classes[35] &= ~VISIBLE  # "#": a target has no fragment (RFC 9112, section 3.2)
    for name in names.split():
        for text in (name, name.lower(), name.title()):
            data = text.encode()
            slot = slot_of(data, len(data))
            if slot.size == 0:
                owners.append((data, intern(text), intern(text.lower())))
                slot[0] = Known(len(data), data, <PyObject *> owners[-1][1], <PyObject *> owners[-1][2])
    return 0


fill_tables("""
    CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE
    Accept Accept-Charset Accept-Encoding Accept-Language Access-Control-Request-Headers Access-Control-Request-Method
    Authorization Cache-Control Connection Content-Disposition Content-Encoding Content-Language Content-Length
    Content-Range Content-Type Cookie Date DNT Expect Forwarded From Host If-Match If-Modified-Since If-None-Match
    If-Range If-Unmodified-Since Keep-Alive Last-Modified Max-Forwards Origin Pragma Priority Proxy-Authorization
    Proxy-Connection Range Referer Save-Data sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform Sec-Fetch-Dest
    Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Sec-GPC Sec-WebSocket-Extensions Sec-WebSocket-Key
    Sec-WebSocket-Protocol Sec-WebSocket-Version TE Trailer Transfer-Encoding Traceparent Tracestate Upgrade
    Upgrade-Insecure-Requests User-Agent Via X-CSRF-Token X-Forwarded-For X-Forwarded-Host X-Forwarded-Port
    X-Forwarded-Proto X-Real-IP X-Request-ID X-Requested-With
""")


cdef inline Py_ssize_t pass_over(Data data, Py_ssize_t at, Py_ssize_t end, int wanted) noexcept nogil:
    """Return the index of the first byte that is not of the class *wanted*, *end* if there is none."""
    while at < end and classes[data[at]] & wanted:
        at += 1
    return at


cdef inline Py_ssize_t pass_over_value(Data data, Py_ssize_t at, Py_ssize_t end) noexcept nogil:
    """Return the same for the class VALUE, but look at 8 bytes at a time."""
    cdef uint64_t ones = 0x0101010101010101, word, delete
    while end - at >= 8:
        memcpy(&word, data + at, 8)
        delete = word ^ (ones * 0x7F)
        # The expression is not 0 if any byte is less than 0x20, or 0x7F.
        if (((word - ones * 0x20) & ~word) | ((delete - ones) & ~delete)) & (ones * 0x80):
            if pass_over(data, at, at + 8, VALUE) < at + 8:
                break
        at += 8
    return pass_over(data, at, end, VALUE)


cdef inline Outcome look_at_end(Data data, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    if at == size:
        return LAST
    if data[at] != c"\r":
        return MALFORMED
    if at + 1 == size:
        return BEGUN
    return WHOLE if data[at + 1] == c"\n" else MALFORMED


cdef Outcome look_at_request_line(Data data, Py_ssize_t size, Line *line) noexcept nogil:
    cdef const char *version = b" HTTP/0.0"  # a 0 here matches any digit
    cdef Py_ssize_t at = pass_over(data, 0, min(size, MAX_METHOD + 1), TOKEN)
    line.first_end = line.end = at
    if at > MAX_METHOD:
        return LONG_METHOD
    if at == size or (size == 1 and data[0] == c"\r"):
        return BEGUN
    if at == 0 or data[at] != c" ":
        return MALFORMED
    at = line.second_end = line.end = pass_over(data, at + 1, size, VISIBLE)
    if at < size and at == line.first_end + 1:
        return MALFORMED
    while version[0]:
        if at == size:
            return BEGUN
        if data[at] != version[0] and (version[0] != c"0" or not c"0" <= data[at] <= c"9"):
            return MALFORMED
        version += 1
        at += 1
        line.end = at
    return look_at_end(data, at, size)


cdef inline Outcome look_at_field_line(
    Data data, Py_ssize_t at, Py_ssize_t size, Part part, Line *line
) noexcept nogil:
    if part != CONTENT:
        line.first_end = pass_over(data, at, size, TOKEN)
        if line.first_end == size or (part == LINE and size - at == 1 and data[at] == c"\r"):
            return BEGUN
        if data[line.first_end] != c":" or (part == LINE and line.first_end == at):
            return MALFORMED
        at = line.first_end + 1
    line.second_end = line.end = pass_over_value(data, at, size)
    return look_at_end(data, line.end, size)


cdef int refuse_request_line(Outcome outcome, Py_ssize_t end, Py_ssize_t size, Py_ssize_t max_line) except -1:
    if outcome == LONG_METHOD:
        raise HTTPError(501, "method too long")
    if end >= max_line and size > max_line:
        raise HTTPError(414, "request line too long")
    raise HTTPError(400, "malformed request line")


cdef inline str text_of(Data data, Py_ssize_t start, Py_ssize_t end):
    return PyUnicode_DecodeLatin1(<const char *> data + start, end - start, NULL)


cdef inline str value_of(Data data, Line *line):
    cdef Py_ssize_t start = line.first_end + 1, end = line.second_end
    while start < end and (data[start] == c" " or data[start] == c"\t"):
        start += 1
    while end > start and (data[end - 1] == c" " or data[end - 1] == c"\t"):
        end -= 1
    return text_of(data, start, end)


cdef tuple parse_lines(bytes whole, Py_ssize_t at, Py_ssize_t max_fields):
    cdef Data data = whole
    cdef list fields = []
    cdef dict index = {}
    cdef Py_ssize_t distinct = 0
    cdef Outcome outcome = WHOLE
    cdef Line line
    cdef Known *slot
    cdef str name, key, value
    while outcome == WHOLE:
        if len(fields) >= max_fields:
            raise HTTPError(431, "too many fields")
        outcome = look_at_field_line(data, at, PyBytes_GET_SIZE(whole), LINE, &line)
        if outcome > LAST:
            raise HTTPError(400, "malformed field line")
        slot = slot_of(data + at, line.first_end - at)
        if slot.size:
            name, key = <str> slot.text, <str> slot.lower
        else:
            name = text_of(data, at, line.first_end)
            key = name.lower()
        value = value_of(data, &line)
        fields.append((name, value))
        earlier = index.setdefault(key, value)
        if len(index) > distinct:  # a new name; by the length, as equal values of two fields may be the same object
            distinct += 1
        elif type(earlier) is list:
            (<list> earlier).append(value)
        else:
            index[key] = [earlier, value]
        at = line.end + 2
    return fields, index


def parse_head(bytes data not None, Py_ssize_t max_fields=100, Py_ssize_t max_line=8192):
    cdef Data start = data
    cdef Line line
    cdef Outcome outcome = look_at_request_line(start, PyBytes_GET_SIZE(data), &line)
    if outcome > LAST or line.end > max_line:
        refuse_request_line(outcome, line.end, PyBytes_GET_SIZE(data), max_line)
    if start[line.end - 3] != c"1":
        raise HTTPError(505, "HTTP version not supported")
    cdef Known *slot = slot_of(start, line.first_end)
    method = <str> slot.text if slot.size else text_of(start, 0, line.first_end)
    target = text_of(start, line.first_end + 1, line.second_end)
    fields, index = parse_lines(data, line.end + 2, max_fields) if outcome == WHOLE else ([], {})
    return method, target, start[line.end - 1] - 48, fields, index


def parse_fields(bytes data not None, Py_ssize_t max_fields=100):
    return parse_lines(data, 0, max_fields) if data else ([], {})


def check_beginning(bytes data not None, Py_ssize_t checked=0, Py_ssize_t max_fields=100, Py_ssize_t max_line=8192):
    cdef Data start = data
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Outcome outcome
    cdef Line line
    cdef Part part = LINE
    cdef bint one_more
    if not 0 <= checked <= size:
        raise ValueError(f"{size} bytes cannot have been checked up to {checked}")
    if checked == 0:
        outcome = look_at_request_line(start, size, &line)
        if outcome > BEGUN or line.end > max_line:
            refuse_request_line(outcome, line.end, size, max_line)
        if outcome != WHOLE:
            return 0
        if start[line.end - 3] != c"1":
            raise HTTPError(505, "HTTP version not supported")
        checked = line.end + 2
    elif start[checked - 1] != c"\n":
        part = CONTENT if data.find(b":", data.rfind(b"\n", 0, checked) + 1, checked) >= 0 else NAME
    while True:
        one_more = part == LINE and data[checked : checked + 2] not in (b"", b"\r")
        if one_more and data.count(b"\n", 0, checked) > max_fields:
            raise HTTPError(431, "too many fields")
        outcome = look_at_field_line(start, checked, size, part, &line)
        if outcome == MALFORMED:
            raise HTTPError(400, "malformed field line")
        if outcome != WHOLE:
            return size - (start[size - 1] == c"\r")
        checked = line.end + 2
        part = LINE
