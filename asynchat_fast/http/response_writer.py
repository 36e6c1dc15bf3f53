"""The sending half of a connection: it turns a status and a body into a message, framed for its request.

Its methods return bytes and producers, to be sent in this order.  The writer reads nothing, and of the request it
knows only what the framing depends on: ``method``, ``minor`` and ``closes``.
Source: RFC 9110, sections 6.4, 8.6 and 15; RFC 9112, sections 6 and 7.
"""

import enum
import re
from typing import Any, TypeAlias

from ..producers import file_producer
from .response_bodies import BYTES, Body, Data, Pieces, as_bytes, check_size, close_source, source_of
from .response_head import Headers, Value, beginning, date_line, field_line, pairs_of, status_line
from .settings import Settings
from .syntax import members

__all__ = ["UNSENT", "Item", "Progress", "ResponseWriter"]

Item: TypeAlias = bytes | memoryview | file_producer | Pieces
"""An item to send: bytes, or a producer of them."""

_JOINED_MOST = 1 << 14  # bytes of a body that is joined to the head, and sent with it
_QUEUED_MOST = 1 << 18  # bytes: after a longer body, the next request is not read before it has been sent
_UNUSUAL_METHODS = frozenset(["HEAD", "CONNECT"])
_UNUSUAL_STATUSES = frozenset([204, 205, 304])  # without content
_NO_LINES: Any = ()  # shared by the writers that have no response, so that idle connections stay small
_NO_NAMES: Any = frozenset()
_is_length = re.compile("[0-9]+").fullmatch


class Progress(enum.Enum):
    """The progress of the response to the present request; it goes down this list, and back only in UNSENT.

    ``start_over()`` is the exception: it goes back from STREAM if no byte has left.
    """

    NOTHING = "there is no response"
    BEGUN = "there is a status, but no byte was sent"
    BODY = "the head was sent, and the handler writes the body"
    STREAM = "the rest of the body is being sent, from a producer or the queue, as the client takes it"
    DONE = "the response is complete"


_NOTHING, _BEGUN, _BODY, _STREAM, _DONE = Progress

UNSENT = (_NOTHING, _BEGUN)
"""The progress of a response of which no byte was sent (tuple of Progress)."""


class ResponseWriter:
    """Write one response after the other; ``new_request()`` begins each."""

    __slots__ = ("_body", "_bodyless", "_chunked", "_length", "_lines", "_names", "_reason", "awaits_finish", "closes",
                 "is_plain", "method", "minor", "progress", "source", "status", "written")  # fmt: skip

    def __init__(self) -> None:
        self._body: object = None  # the program's body that is being sent, to be closed at the end
        self.source: file_producer | Pieces | None = None  # the producer that sends it
        self.status = 0
        self._lines: list[bytes] = _NO_LINES
        self._names: set[str] = _NO_NAMES
        self._reason: str | None = None
        self._length: int | None = None
        self._chunked = self._bodyless = False
        self.new_request("", 1, False)

    def new_request(self, method: str, minor: int, closes: bool) -> None:
        """Prepare for a request by *method* in HTTP/1.*minor*; *closes*: the connection closes after the response."""
        self.method = method
        self.minor = minor
        self.is_plain = minor and method not in _UNUSUAL_METHODS  # respond() may take its short way
        self.closes = closes
        self.progress = _NOTHING
        self.written = 0  # bytes of the body
        self.awaits_finish = False  # the response ends when the program calls finish()

    @property
    def sent(self) -> int:
        """The bytes of the body that were passed on to be sent (int)."""
        source = self.source
        if isinstance(source, Pieces):
            return source.sent
        if source is not None:
            return self.written - (source.remaining or 0)
        return self.written

    @property
    def ends_by_closing(self) -> bool:
        """Whether the client knows the end of the body only by the end of the connection (bool)."""
        has_head = self.progress in (_BODY, _STREAM)
        return has_head and self._length is None and not (self._chunked or self._bodyless)

    # In one call

    def respond(
        self, status: int, body: Body, headers: Headers, content_type: str | None, settings: Settings
    ) -> list[Item]:
        """Return a whole response; see ``http_request_handler.respond()``."""
        if type(body) is not bytes:
            if not isinstance(body, (str, *BYTES)):
                return self._respond_stream(status, body, headers, content_type, settings)
            body = as_bytes(body)  # a bytearray may be changed after we return
        size = len(body)
        if content_type is None:
            content_type = settings.default_content_type if size else ""
        if headers or self.closes or not self.is_plain or status in _UNUSUAL_STATUSES:
            self._begin(status, headers)
            head = self._end_head(size, content_type, settings)
            if self._bodyless:
                body, size = b"", 0
        else:
            if self.progress is not _NOTHING:
                raise RuntimeError("this request has its response already")
            begun = beginning(status, None, content_type, settings.server_version)
            self.status = status
            head = b"%b%bContent-Length: %d\r\n\r\n" % (begun, date_line(), size)
        self.written = size
        if size <= _JOINED_MOST:
            self.progress = _DONE
            return [head + body]
        self._length, self._chunked, self._bodyless = size, False, False
        self.progress = _DONE if size <= _QUEUED_MOST else _STREAM
        return [head, memoryview(body)]  # the queue can cut a memoryview without copying

    def _respond_stream(
        self, status: int, body: Body, headers: Headers, content_type: str | None, settings: Settings
    ) -> list[Item]:
        source, length = source_of(body)
        self._begin(status, headers)
        head = self._end_head(length, settings.default_content_type if content_type is None else content_type, settings)
        if self._bodyless:
            close_source(body)
            self.progress = _DONE
            return [head]
        self.progress = _STREAM
        self._body = body
        if isinstance(source, file_producer):
            if length is not None and source.fileno is not None:  # the channel knows how to send it
                self.written, self.source = length, source
                return [head, source]
            source = iter(source.more, b"")
        self.source = Pieces(source, self._chunked, self._length, head)
        return [head, self.source]

    def stream_sent(self) -> None:
        """Note that a body in ``STREAM`` has been sent to its end."""
        self.abandon()
        self.progress = _DONE

    def start_over(self) -> None:
        """Forget a response in ``STREAM`` of which no byte was sent."""
        self.abandon()
        self.progress = _NOTHING

    def abandon(self) -> None:
        """Close the file or iterator of the body."""
        self.written = self.sent
        body, self._body, self.source = self._body, None, None
        close_source(body)

    def _begin(self, status: int, headers: Headers = (), reason: str | None = None) -> None:
        if self.progress is not _NOTHING:
            raise RuntimeError("this request has its response already")
        beginning(status, reason, "", "")  # raises if *status* is not valid
        self.status, self._reason, self._length = status, reason, None
        self._lines, self._names = [], set()
        for pair in pairs_of(headers):
            try:
                name, value = pair
            except (TypeError, ValueError):
                raise TypeError(f"headers are pairs of name and value, and {pair!r} is none") from None
            self._add_field(name, value)

    # In steps, for the methods of http.server

    def start(self, status: int, reason: str | None) -> None:
        """Begin a response of *status* (int), which may be an interim one, below 200."""
        status_line(status, reason)
        self._begin(status if status >= 200 else status + 200, (), reason)
        self.status = status
        self.progress = _BEGUN

    def take_back(self) -> bool:
        """Forget a response of which no byte was sent; return whether another may be sent (bool)."""
        if self.progress is _BEGUN:
            self.progress = _NOTHING
        return self.progress is _NOTHING

    def add_header(self, name: str, value: Value) -> None:
        """Add a field to the head."""
        if self.progress is not _BEGUN:
            raise RuntimeError("send_header() comes after send_response(), and before end_headers()")
        self._add_field(name, value)

    def _add_field(self, name: str, value: Value) -> None:
        line = field_line(name, value)
        key = name.lower()
        if key == "content-length":
            text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            if self._length is not None or not _is_length(text):
                raise ValueError(f"Content-Length is one number, not {value!r}")
            self._length = int(text)
        elif key == "transfer-encoding":
            raise ValueError("how the body is framed is not for the handler to say: write it as it is")
        elif key == "connection" and self.status >= 200:  # in a 101, Connection belongs to the upgrade
            self.closes |= "close" in members(value.decode("latin-1") if isinstance(value, bytes) else str(value))
        else:
            self._names.add(key)
            self._lines.append(line)

    def end_headers(self, settings: Settings) -> list[Item]:
        """Return the head; the body follows, or after an interim status another response."""
        if self.progress is not _BEGUN:
            raise RuntimeError("end_headers() comes once, after send_response()")
        if self.status >= 200:
            return [self._end_head(None, "", settings)]
        self.progress = _NOTHING
        if not self.minor:
            return []  # HTTP/1.0 has no interim responses (RFC 9110, section 15.2)
        return [status_line(self.status, self._reason) + b"".join(self._lines) + b"\r\n"]

    def write(self, data: Data, settings: Settings) -> list[Item]:
        """Return *data* framed as a part of a body that finish() ends; before it the head, if it was not sent yet."""
        data = as_bytes(data)
        if self.progress is _BEGUN:
            check_size(len(data), self._length)  # now: an exception after the head was made would lose it
        self.awaits_finish = True
        items: list[Item] = []
        if self.progress is _NOTHING:
            self._begin(200)
            items.append(self._end_head(None, settings.default_content_type, settings))
        elif self.progress is _BEGUN:
            items += self.end_headers(settings)
        return items + self.write_body(data)

    def write_body(self, data: Data) -> list[Item]:
        """Return *data* framed as a part of the body; the head was sent before."""
        if self.progress is not _BODY:
            raise RuntimeError("there is no response that this could be a part of")
        data = as_bytes(data)
        size = len(data)
        if not size or self._bodyless:
            return []
        check_size(self.written + size, self._length)
        self.written += size
        return [b"%x\r\n%b\r\n" % (size, data) if self._chunked else data]

    def finish(self, settings: Settings) -> list[Item]:
        """Return the rest of a response that was begun, or a whole empty one."""
        if self.progress is _NOTHING:
            return self.respond(200, b"", (), None, settings)
        items: list[Item] = []
        if self.progress is _BEGUN:
            if self._length is None and self.method != "HEAD":
                self._length = 0  # an empty body needs no chunks
            items += self.end_headers(settings)
        if self.progress is not _BODY:
            return items
        if self._chunked and not self._bodyless:
            items.append(b"0\r\n\r\n")
        elif not self._bodyless and self._length is not None and self.written < self._length:
            self.closes = True  # the body is too short for its Content-Length, which only closing can show
        self.progress = _DONE if self.written <= _QUEUED_MOST else _STREAM
        return items

    # The head

    def _end_head(self, length: int | None, content_type: str, settings: Settings) -> bytes:
        """Return the whole head, for a body of *length* bytes; None if the length is not known."""
        status, names = self.status, self._names
        tunnels = self.method == "CONNECT" and status < 300
        self._bodyless = self.method == "HEAD" or tunnels or status in _UNUSUAL_STATUSES
        if self._length is not None:
            if length not in (None, self._length) and not self._bodyless:
                raise ValueError(f"Content-Length says {self._length}, and the body has {length} bytes")
            length = self._length
        if status == 205:
            length = 0  # without a length, a client would wait for content (RFC 9110, section 15.3.6)
        self._length = length
        self._chunked = length is None and self.minor > 0 and not tunnels and status not in (204, 304)
        if tunnels or (length is None and not self._chunked and not self._bodyless):
            self.closes = True
        if status in (204, 304) or tunnels or "content-type" in names:
            content_type = ""
        begun = beginning(status, self._reason, content_type, "" if "server" in names else settings.server_version)
        self.progress = _BODY
        date = b"" if "date" in names else date_line()
        return b"%b%b%b%b\r\n" % (begun, b"".join(self._lines), date, self._framing(status, length, tunnels))

    def _framing(self, status: int, length: int | None, tunnels: bool) -> bytes:
        """Return the fields that say where the body ends, and whether the connection closes."""
        lines = b""
        if self._chunked:
            lines = b"Transfer-Encoding: chunked\r\n"
        elif length is not None and not tunnels and (status not in (204, 304) or (length and status == 304)):
            lines = b"Content-Length: %d\r\n" % length
        if self.closes:
            return lines + b"Connection: close\r\n"
        return lines if self.minor else lines + b"Connection: keep-alive\r\n"
