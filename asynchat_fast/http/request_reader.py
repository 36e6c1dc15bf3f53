"""The receiving half of a connection: it turns payloads into requests, and names the next terminator.

Framing is asynchat's: each part of a message has its terminator, bytes or a number of them.  A head that arrives
in one piece is parsed as a whole.  The beginning of a head, or of a line of a chunked body, is checked when it
arrives, so that an error is refused at once.  The reader sends nothing, and does not know the connection's state.
"""

from typing import Any

from .errors import HTTPError
from .fields import NO_FIELDS, Fields, Index
from .head import check_beginning, parse_fields
from .message_framing import CHUNKED, body_length, check_chunk_line, chunk_size
from .settings import ParsedHead, Settings

__all__ = ["HEAD_END", "RequestReader"]

HEAD_END, _LINE_END = b"\r\n\r\n", b"\r\n"
_MOST_EMPTY_LINES = 8  # before a request
_MOST_CHUNK = 1 << 62
_MOST_EXTENSION = 1 << 12  # bytes of the extensions of one chunk
_KEPT_AS_IT_IS = 512  # bytes: smaller pieces of a body are joined

_NO_PARTS: Any = ()  # shared by connections without a body, so that idle ones stay small; nothing can be added to it


class RequestReader:
    """Read one request after the other: ``read_head()``, ``begin_body()``, and then ``read_body()`` to its end."""

    __slots__ = ("_checked", "_chunk_end", "_empty_lines", "_extensions", "_parts", "_step", "_trailer_lines",
                 "_trailers_left", "body", "is_wanted", "left", "length", "received", "terminator",
                 "trailers")  # fmt: skip

    def __init__(self) -> None:
        self.terminator: bytes | int | None = HEAD_END
        self.body = b""
        self.trailers = NO_FIELDS
        self.received = 0  # bytes of the body so far
        self.length = 0  # bytes of the body that the head announces, or CHUNKED
        self.left = 0  # bytes of the body, or of the present chunk, that are still to come
        self.is_wanted = True  # False: the body is discarded
        self._empty_lines = 0
        self._checked = 0  # bytes of an incomplete head that were checked already
        self._parts: list[bytes | bytearray] = _NO_PARTS

    # Heads (RFC 9112, sections 2 to 5)

    def read_head(self, data: bytes, settings: Settings) -> ParsedHead | None:
        """Parse *data*, everything up to HEAD_END; return None if there are only empty lines in it."""
        if not data or data[0] == 13:
            data = self._skip_empty_lines(data or HEAD_END)
            if not data:
                return None
        self._empty_lines = self._checked = 0
        parsed = settings.parse_headers(data)
        return settings._ac_parse_again(data) if parsed is None else parsed

    def check_head(self, data: bytes, settings: Settings) -> bool:
        """Raise HTTPError if *data*, the beginning of a head, is wrong; return False if it has only empty lines."""
        at = 0
        while data.startswith(_LINE_END, at):
            at += len(_LINE_END)
        if self._empty_lines + at // len(_LINE_END) > _MOST_EMPTY_LINES:
            raise HTTPError(400, "there are too many empty lines before the request")
        data = data[at:]
        if len(data) > settings.max_head:
            raise HTTPError(431, "the head is too long")
        if data:
            self._checked = check_beginning(data, self._checked, settings.max_fields, settings.max_request_line)
        return bool(data)

    def _skip_empty_lines(self, data: bytes) -> bytes:
        while data.startswith(_LINE_END):
            data = data[len(_LINE_END) :]
            self._empty_lines += 1
        if self._empty_lines > _MOST_EMPTY_LINES:
            raise HTTPError(400, "there are too many empty lines before the request")
        return data

    # Bodies (RFC 9112, sections 6 and 7)

    def expect_body(self, index: Index, minor: int) -> int:
        """Return the length of the body that a head with *index* announces, in bytes (int), or CHUNKED."""
        self.received = 0
        self.length = self.left = body_length(index, minor)
        return self.length

    @staticmethod
    def is_too_large(size: int, settings: Settings) -> bool:
        """Return whether a body of *size* bytes exceeds ``max_body``, which limits bodies that are kept in memory."""
        return size > settings.max_body and settings.keep_body and not settings.stream_body

    def begin_body(self, settings: Settings) -> None:
        """Begin to read the body, of ``length`` bytes or in chunks."""
        self._parts = []
        if self.length != CHUNKED:
            self.terminator = self.left
            self._step = RequestReader._end_body
            return
        self._extensions = 0
        self._trailer_lines: list[bytes] = []
        self._trailers_left = settings.max_trailers
        self._await_chunk()

    def read_body(self, data: bytes, settings: Settings) -> bool:
        """Act upon a terminator, with *data* the line before it, if any; return whether the body is complete."""
        return self._step(self, data, settings)

    def take(self, data: bytes, settings: Settings) -> bytes:
        """Take *data*, a part of a body; return the bytes of it that are to be streamed."""
        left = self.left
        if len(data) > left:
            self._chunk_end += data[left:]
            data = data[:left]
            if not _LINE_END.startswith(self._chunk_end):
                raise HTTPError(400, "a chunk does not end where its size says")
        size = len(data)
        self.left = left - size
        self.received += size
        if not self.is_wanted:
            return b""
        if settings.stream_body:
            return data
        self._keep(data)
        return b""

    def _keep(self, data: bytes) -> None:
        # A bytes object takes about 40 bytes besides its data, so that many small pieces would take too much memory.
        parts = self._parts
        if len(data) >= _KEPT_AS_IT_IS:
            parts.append(data)
        elif parts and type(parts[-1]) is bytearray:
            parts[-1] += data
        elif data:
            parts.append(bytearray(data))

    def _end_body(self, data: bytes, settings: Settings) -> bool:
        self.body = b"".join(self._parts)
        self._parts = _NO_PARTS
        self.terminator = HEAD_END
        return True

    def end(self) -> None:
        """Read nothing more."""
        self.terminator = None
        self._parts = _NO_PARTS

    # In chunks (RFC 9112, section 7.1)

    def _await_chunk(self) -> None:
        self.terminator = _LINE_END
        self._step = RequestReader._read_chunk_line

    def check_line(self, data: bytes, settings: Settings) -> None:
        """Raise HTTPError if *data*, the beginning of a line of a chunked body, is wrong."""
        if self._step is RequestReader._read_chunk_line:
            check_chunk_line(data)
            if len(data) > _MOST_EXTENSION:
                raise HTTPError(413, "the extensions of a chunk are too long")
        else:
            if b"\r" in data[:-1] or b"\n" in data:
                raise HTTPError(400, "a trailer has a line end of its own")
            if len(data) > self._trailers_left:
                raise HTTPError(431, "the trailers are too long")

    def _read_chunk_line(self, data: bytes, settings: Settings) -> bool:
        size, extension = chunk_size(data)
        self._extensions += extension
        if extension > _MOST_EXTENSION or self._extensions > settings.max_chunk_extensions:
            raise HTTPError(413, "the extensions of the chunks are too long")
        if size == 0:
            self._step = RequestReader._read_trailer
            return False
        if size > _MOST_CHUNK or self.is_too_large(self.received + size, settings):
            raise HTTPError(413, "the body is too large")
        self.left = size
        self._chunk_end = b""
        self.terminator = size + len(_LINE_END)
        self._step = RequestReader._end_chunk
        return False

    def _end_chunk(self, data: bytes, settings: Settings) -> bool:
        self._await_chunk()
        return False

    def _read_trailer(self, data: bytes, settings: Settings) -> bool:
        if not data:
            if self._trailer_lines:
                self.trailers = Fields(*parse_fields(_LINE_END.join(self._trailer_lines), settings.max_fields))
            return self._end_body(data, settings)
        self._trailers_left -= len(data) + len(_LINE_END)
        if self._trailers_left < 0 or len(self._trailer_lines) == settings.max_fields:
            raise HTTPError(431, "the trailers are too long")
        parse_fields(data, 1)  # refuses a wrong line now; all are parsed together at the end
        self._trailer_lines.append(data)
        return False
