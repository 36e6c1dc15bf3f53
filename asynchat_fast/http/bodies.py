"""Bodies of requests, by length and in chunks: each part has its terminator, octets or a number of them.

Who has received a head calls ``_http_begin_body()``, and is called back, at ``_http_body_received()``.
"""

import re
from time import monotonic
from urllib.parse import parse_qs

from .answers import HEAD
from .errors import HTTPError
from .fields import NO_FIELDS, Fields
from .head import parse_fields
from .heads import Heads
from .semantics import CHUNKED

__all__ = ["Bodies"]

_LINE_END = b"\r\n"
_MOST_CHUNK = 1 << 62
_KEPT_AS_IT_IS = 512  # octets of a piece of a body
_MOST_EXTENSION = 1 << 12  # octets of the extensions of one chunk
_MOST_FORM_FIELDS = 10_000
_NOT_PARSED = object()

_EXTENSION = rb"[ \t]*;[\t\x20-\x7e\x80-\xff]*"
_match_chunk_line = re.compile(rb"([0-9A-Fa-f]{1,16})(?:%b)?" % _EXTENSION).fullmatch
_begins_chunk_line = re.compile(rb"[0-9A-Fa-f]{1,16}(?:[ \t]*|%b)" % _EXTENSION).fullmatch
_begins_trailer = re.compile(rb"[^\r\n]*").fullmatch


class Bodies(Heads):
    """What a handler does with the body of a request."""

    max_body = 1 << 24
    """The most octets of a body that is kept in memory (int); else 413.  There is no limit with ``stream_body``."""

    max_trailers = 8192
    """The most octets of the trailers after a body in chunks (int); else 431."""

    max_chunk_extensions = 1 << 14
    """The most octets of what chunks of a body have besides their sizes, in all (int); else 413."""

    stream_body = False
    """Whether ``body_data()`` is given the body as it comes (bool), which is not kept, then."""

    __slots__ = ("__began", "__data", "__end", "__extensions", "__left", "__parts", "__size",
                 "__trailers", "__trailers_left", "body", "trailers")  # fmt: skip

    def __init__(self):
        Heads.__init__(self)
        self.body = b""
        self.trailers = NO_FIELDS
        self.__data = None

    @property
    def cgi_data(self):
        """What ``parse_body()`` makes of the body, when it is first asked for; None if there is no body."""
        if self.__data is _NOT_PARSED:
            self.__data = self.parse_body(self.headers, self.body)
        return self.__data

    @cgi_data.setter
    def cgi_data(self, data):
        self.__data = data

    def body_data(self, view):
        """Take *view* (memoryview), the next octets of a body with ``stream_body``; to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} must define body_data()")

    def parse_body(self, headers, octets):
        """Return what is to be ``cgi_data``, of the *headers* (Fields) and the body *octets* of a request.

        That is a dict, name -> list of values (str), for a form, and *octets* for anything else, be it one
        that says it is a form.
        """
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            return octets
        try:
            return parse_qs(octets.decode(), keep_blank_values=True, max_num_fields=_MOST_FORM_FIELDS)
        except ValueError:
            return octets

    def _http_begin_body(self, length):
        """Receive a body of *length* octets, or CHUNKED."""
        self.__began = monotonic()
        self.__size = 0
        self.__parts = []
        if length != CHUNKED:
            self._http_receive(length, self.__complete, sink=self.__take)
            return
        self.__extensions = 0
        self.__trailers = []
        self.__trailers_left = self.max_trailers
        self.__await_chunk()

    def _http_body_seconds(self):
        """Return how long the body may still take (float)."""
        return self.body_timeout + self.__size / self.min_body_rate - (monotonic() - self.__began)

    def __take(self, data):
        self.__size += len(data)
        if self._http_stage > HEAD:
            return  # answered already, so nobody wants it
        if not self.stream_body:
            self.__keep(data)
            return
        try:
            self.body_data(memoryview(data))
        except Exception as error:
            self._http_failed(error)

    def __keep(self, data):
        # An object has some 40 octets beside its data: small pieces are put together.
        parts = self.__parts
        if len(data) >= _KEPT_AS_IT_IS:
            parts.append(data)
        elif parts and type(parts[-1]) is bytearray:
            parts[-1] += data
        else:
            parts.append(bytearray(data))

    def __complete(self):
        self.body = b"".join(self.__parts)
        self.__data = _NOT_PARSED if self.body else None
        self.__parts.clear()
        self._http_body_received()

    # In chunks (RFC 9112, section 7.1)

    def __await_chunk(self):
        self._http_receive(_LINE_END, self.__chunk_line_received, check=self.__check_chunk_line)

    def __check_chunk_line(self, octets):
        if not _begins_chunk_line(octets):
            raise HTTPError(400, "the size of a chunk is malformed")
        if len(octets) > _MOST_EXTENSION:
            raise HTTPError(413, "the extensions of a chunk are too long")

    def __chunk_line_received(self):
        line = self._http_take_collected()
        match = _match_chunk_line(line)
        if match is None:
            raise HTTPError(400, "the size of a chunk is malformed")
        extension = len(line) - match.end(1)
        self.__extensions += extension
        if extension > _MOST_EXTENSION or self.__extensions > self.max_chunk_extensions:
            raise HTTPError(413, "the extensions of the chunks are too long")
        size = int(match[1], 16)
        if size == 0:
            self.__await_trailer()
            return
        if size > _MOST_CHUNK or (self.__size + size > self.max_body and not self.stream_body):
            raise HTTPError(413, "the body is too large")
        self.__left = size
        self.__end = b""
        self._http_receive(size + len(_LINE_END), self.__await_chunk, sink=self.__take_chunk)

    def __take_chunk(self, data):
        left = self.__left
        if len(data) > left:
            self.__end += data[left:]
            data = data[:left]
            if not _LINE_END.startswith(self.__end):
                self._http_refuse(HTTPError(400, "a chunk does not end where its size says"))
                return
        if data:
            self.__left = left - len(data)
            self.__take(data)

    def __await_trailer(self):
        self._http_receive(_LINE_END, self.__trailer_received, check=self.__check_trailer)

    def __check_trailer(self, octets):
        if not _begins_trailer(octets):
            raise HTTPError(400, "a trailer has a line end of its own")
        if len(octets) > self.__trailers_left:
            raise HTTPError(431, "the trailers are too long")

    def __trailer_received(self):
        line = self._http_take_collected()
        if not line:
            if self.__trailers:
                self.trailers = Fields(*parse_fields(_LINE_END.join(self.__trailers), self.max_fields))
            self.__complete()
            return
        self.__trailers_left -= len(line) + len(_LINE_END)
        if self.__trailers_left < 0 or len(self.__trailers) == self.max_fields:
            raise HTTPError(431, "the trailers are too long")
        parse_fields(line, 1)  # what is wrong is refused as it comes
        self.__trailers.append(line)
