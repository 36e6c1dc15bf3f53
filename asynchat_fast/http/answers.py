"""The answering half of a handler: of a status and a body it makes a message that is framed right for who asks.

Knows nothing but the conversation: ``push()`` and ``push_with_producer()``.  What a request says that bears on
its answer stands in ``command``, ``minor_version`` and ``close_connection``.
"""

import re
from collections.abc import Mapping

from ..producers import file_producer
from .lines import beginning, date_line, field_line
from .pages import error_page
from .pieces import Pieces, Then, WriteFile, pieces_of

__all__ = ["DONE", "HEAD", "Answering"]

_OCTETS = (bytes, bytearray, memoryview)
_JOINED_MOST = 1 << 14  # octets of a body that leave in one piece with the head
# How far an answer has come: nothing has been sent up to HEAD.
NOTHING, HEAD, BODY, STREAM, DONE = range(5)


class Answering:
    """What a handler does to answer the request at hand."""

    server_version = "asynchat_fast"
    """What the Server field says (str); empty for no such field."""

    default_content_type = "text/plain; charset=utf-8"
    """The Content-Type of a body for which ``respond()`` is told none (str); empty for none."""

    # Here and in the classes below, as CPython is fast up to some thirty attributes of an object's dictionary.
    __slots__ = ("__awaited", "__bodyless", "__chunked", "__length", "__lines", "__names", "__octets",
                 "__reason", "__status", "_http_stage", "close_connection", "command", "minor_version")  # fmt: skip

    def __init__(self):
        self.close_connection = False  # after the answer; a handler may make it true before it answers
        self.command = ""
        self.minor_version = 1
        self.__reason = None
        self.__lines = self.__names = ()
        self._http_new_answer()

    def _http_new_answer(self):
        """Begin anew, for a request that has just been received."""
        self._http_stage = NOTHING
        self.__awaited = False  # finish() is called later, by whoever writes
        self.__octets = 0

    def _http_settle(self):
        """Complete, after the request was handled, what was begun as http.server has it, without ``finish()``."""
        if HEAD <= self._http_stage <= BODY and not self.__awaited:
            self.finish()

    # In one call

    def respond(self, status, body=b"", headers=(), content_type=None):
        """Answer with *status* (int) and *body*, and be done with this request.

        *body* is octets; str, to be encoded in UTF-8; a file open for reading octets, or a producer,
        which is sent as the client takes it; or an iterable of octets or str, iterated over likewise.
        *headers* are pairs of name and value, or a mapping; *content_type* is ``default_content_type``
        unless it is given, or among them.  RuntimeError if the request is answered already, ValueError
        for what cannot stand in a head.
        """
        if type(body) is not bytes:
            if isinstance(body, str):
                body = body.encode()
            elif isinstance(body, _OCTETS):
                body = bytes(body)  # which may be written to as soon as we return
            else:
                self.__respond_stream(status, body, headers, content_type)
                return
        size = len(body)
        if content_type is None and size:
            content_type = self.default_content_type
        self.__begin(status, headers)
        self._http_before_answer()
        if headers or self.__is_unusual(status):
            head = self.__end_head(size, content_type)
        else:
            begun = beginning(status, None, content_type or "", self.server_version)
            head = b"%b%bContent-Length: %d\r\n\r\n" % (begun, date_line(), size)
            self.__bodyless = False
            self._http_stage = BODY
        if self.__bodyless:
            size = 0
        if not self.connected:
            pass  # nobody is there any more
        elif not size:
            self.push(head)
        elif size <= _JOINED_MOST:
            self.push(head + body)
        else:
            self.push(head)
            self.push(memoryview(body))  # which is cut without copying
        self.__octets = size
        self.__done(size)

    def __respond_stream(self, status, body, headers, content_type):
        if hasattr(body, "read"):
            body = file_producer(body)
        length = body.remaining if isinstance(body, file_producer) else None
        source = pieces_of(body) if hasattr(body, "more") else iter(body)  # TypeError for what is no body
        self.__begin(status, headers)
        head = self.__end_head(length, self.default_content_type if content_type is None else content_type)
        self.__send(head)
        if self.__bodyless or not self.connected:
            if hasattr(body, "close"):
                body.close()
            self.__done()
            return
        self._http_stage = STREAM
        if length is None:
            self.push_with_producer(Pieces(source, self.__chunked, self.__count, self.__fail))
        else:
            self.__octets = length
            self.push_with_producer(body)
        self.push_with_producer(Then(self.__done))

    def __is_unusual(self, status):
        """Tell whether the head must be made with care for who asks, and not as nearly all are."""
        return self.close_connection or not self.minor_version or status in (204, 304) or self.command == "HEAD"

    def __begin(self, status, headers=(), reason=None):
        if self._http_stage:
            raise RuntimeError("this request is answered already")
        if not 200 <= status <= 599:
            raise ValueError(f"{status} is not the status of an answer")
        self.__status = status
        self.__length = None
        if headers or self.__names:
            self.__lines, self.__names = [], set()
            for name, value in headers.items() if isinstance(headers, Mapping) else headers:
                self.__add_field(name, value)
        self.__reason = reason

    # Step by step, as http.server has it

    def send_response(self, code, message=None):
        """Begin an answer with *code* (int) and a reason of *message* (str), None for the usual one."""
        beginning(code, message, "", "")  # is it one?
        self.__begin(code if code >= 200 else code + 200, (), message)
        self.__status = code
        self.__lines, self.__names = [], set()
        self._http_stage = HEAD

    send_response_only = send_response

    def send_header(self, keyword, value):
        """Add a field to the head; ValueError if *keyword* (str) or *value* (str, bytes or number) would break it."""
        if self._http_stage != HEAD:
            raise RuntimeError("send_header() comes after send_response(), and before end_headers()")
        self.__add_field(keyword, value)

    def __add_field(self, name, value):
        line = field_line(name, value)
        key = name.lower()
        if key == "content-length":
            if self.__length is not None or not re.fullmatch("[0-9]+", str(value)):
                raise ValueError(f"Content-Length is one number, not {value!r}")
            self.__length = int(value)
        elif key == "transfer-encoding":
            raise ValueError("how the body is framed is not for the handler to say: write it as it is")
        elif key == "connection" and self.__status >= 200:  # in a 101 it says what comes
            self.close_connection |= "close" in re.split("[ \t]*,[ \t]*", str(value).lower())
        else:
            self.__names.add(key)
            self.__lines.append(line)

    def end_headers(self):
        """Send the head."""
        if self._http_stage != HEAD:
            raise RuntimeError("end_headers() comes once, after send_response()")
        if self.__status >= 200:
            self.__send(self.__end_head(None, None))
            return
        self._http_stage = NOTHING
        self.__send(beginning(self.__status, self.__reason, "", "") + b"".join(self.__lines) + b"\r\n")

    def __end_head(self, length, content_type):
        """Return the whole head, for a body of *length* octets, None if that is not known."""
        self._http_before_answer()
        status, names = self.__status, self.__names
        self.__bodyless = self.command == "HEAD" or status in (204, 304)
        if self.__length is not None:
            if length not in (None, self.__length) and not self.__bodyless:
                raise ValueError(f"Content-Length says {self.__length}, and the body has {length} octets")
            length = self.__length
        self.__length = length
        self.__chunked = length is None and self.minor_version > 0 and status not in (204, 304)
        if length is None and not self.__chunked and not self.__bodyless:
            self.close_connection = True
        begun = beginning(
            status,
            self.__reason,
            "" if "content-type" in names or status in (204, 304) else content_type,
            "" if "server" in names else self.server_version,
        )
        self._http_stage = BODY
        lines = b"".join(self.__lines) if names else b""
        return b"%b%b%b%b\r\n" % (
            begun,
            lines,
            b"" if "date" in names else date_line(),
            self.__framing(status, length),
        )

    def __framing(self, status, length):
        """Return the fields that say where the body ends, and whether the connection does."""
        lines = b""
        if self.__chunked:
            lines = b"Transfer-Encoding: chunked\r\n"
        elif length is not None and (status not in (204, 304) or (length and status == 304)):
            lines = b"Content-Length: %d\r\n" % length
        if self.close_connection:
            lines += b"Connection: close\r\n"
        elif not self.minor_version:
            lines += b"Connection: keep-alive\r\n"
        return lines

    @property
    def wfile(self):
        """Where the body may be written to (a file), after ``end_headers()``."""
        return WriteFile(self.__write)

    # Later

    def write(self, data):
        """Send *data* (octets or str) as a part of the body; more follows, until ``finish()`` is called.

        Without ``send_response()`` before it, the status is 200.  ValueError for more than Content-Length says.
        """
        self.__awaited = True
        if self._http_stage == NOTHING:
            self.__begin(200)
            self.__send(self.__end_head(None, self.default_content_type))
        elif self._http_stage == HEAD:
            self.end_headers()
        self.__write(data)

    def __write(self, data):
        if self._http_stage != BODY:
            raise RuntimeError("there is no answer that this could be a part of")
        octets = data.encode() if isinstance(data, str) else bytes(memoryview(data))
        size = len(octets)
        if not size or self.__bodyless or not self.connected:
            return size
        if self.__chunked:
            self.push(b"%x\r\n%b\r\n" % (size, octets))
        else:
            if self.__length is not None and self.__octets + size > self.__length:
                raise ValueError(f"these are more octets than the {self.__length} that Content-Length says")
            self.push(octets)
        self.__octets += size
        return size

    def finish(self):
        """Be done with this request, which was answered by ``write()``; with an empty body if it was not."""
        if self._http_stage == NOTHING:
            self.respond(200)
            return
        if self._http_stage == HEAD:
            if self.__length is None and self.command != "HEAD":
                self.__length = 0  # a body of nothing need not come in chunks
            self.end_headers()
        if self._http_stage != BODY:
            return
        if self.__chunked and not self.__bodyless:
            self.__send(b"0\r\n\r\n")
        elif not self.__bodyless and self.__length is not None and self.__octets < self.__length:
            self.close_connection = True  # the client must see that something is missing
        self.__done(self.__octets)

    # The ends of an answer

    def send_error(self, code, message=None, explain=None, headers=()):
        """Answer with an error page and close.

        *message* and *explain* (str) are what it says, None for the usual; *headers* are as for
        ``respond()``.  If an answer has been begun, which cannot be taken back, the connection is closed
        without one.
        """
        if self._http_stage > HEAD:
            self._http_abort()
            return
        self._http_stage = NOTHING
        self.close_connection = True
        self.respond(code, self.error_page(int(code), message, explain), headers, "text/html; charset=utf-8")

    def error_page(self, code, message=None, explain=None):
        """Return the page (str) for an error; see ``send_error()``."""
        return error_page(code, message, explain)

    def __send(self, octets):
        if self.connected:
            self.push(octets)

    def __count(self, octets):
        self.__octets += octets

    def __fail(self):
        self._http_log_exception()
        self._http_abort()

    def __done(self, unsent=0):
        """Note that the answer is complete, of which *unsent* octets may not have left."""
        if self._http_stage != DONE:
            self._http_stage = DONE
            self._http_answered(int(self.__status), self.__octets, unsent)
