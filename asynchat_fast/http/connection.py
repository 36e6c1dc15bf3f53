"""A connection of an HTTP/1.1 server without its socket: what comes in and goes out, and the one state between.

``receive()`` takes what the terminator has cut off and returns the Event that it amounts to; what is to be sent
comes back as a list of bytes and producers.  The state is changed in this file only:

                 head                    begin_body                end of the body         response complete
    IDLE, HEAD --------> CONTINUE, BODY ------------> BODY ------------------> HANDLING ------------------> IDLE
                 no body                                                          ^
    IDLE, HEAD -------------------------------------------------------------------+

    state       what comes from the client       what the handler may do             what ends it
    ----------  -------------------------------  ----------------------------------  --------------------------------
    IDLE        a head, or its beginning: HEAD   nothing                             a request, the end of input
    HEAD        the rest of the head             nothing                             a request; 408
    CONTINUE    nothing, or the body unasked     ask for the body, or respond        go_on(), or a response: CLOSING
    BODY        the body; 408                    respond: DISCARDING, or CLOSING     the end of the body
    HANDLING    is kept in ``ahead``, unread     respond; 503 if it does not begin   the end of the response
    DISCARDING  the body that nobody wants       nothing                             the end of the body: IDLE
    BLOCKED     is kept in ``ahead``, unread     nothing                             drained(): IDLE
    UPGRADED    another protocol's               all                                 end(), close()
    CLOSING     is discarded                     send what was begun                 all_sent(): LINGERING, or CLOSED
    LINGERING   is discarded                     nothing                             the client's end, time: CLOSED
    CLOSED      nothing                          nothing

From any state but the last three a refusal, ``Connection: close`` and end() lead to CLOSING, in which no
request is read any more.  How far the response has come is ``progress``, which is the writer's.
Sources: RFC 9112, section 9; the shape is that of h11.
"""

import enum

from .errors import HTTPError
from .fields import Index
from .message_framing import expects_continue, is_persistent, wants_upgrade
from .request_reader import HEAD_END, RequestReader
from .response_bodies import Body, Data
from .response_writer import Headers, Item, Progress, ResponseWriter
from .settings import Settings

__all__ = ["UNSENT", "Connection", "Event", "State"]

_MOST_UNREAD = 1 << 18  # bytes of an unwanted body to discard, so that the client can read the response
_MOST_UNSENT = 1 << 18  # bytes of responses that may wait to be sent while more requests are read


class State(enum.Enum):
    """What a connection is doing; see the table above."""

    IDLE = "awaits a request"
    HEAD = "receives a head"
    CONTINUE = "is to ask for a body"
    BODY = "receives a body"
    HANDLING = "awaits the response"
    DISCARDING = "discards a body"
    BLOCKED = "awaits that responses are sent"
    UPGRADED = "is another protocol's"
    CLOSING = "sends the last response"
    LINGERING = "awaits the client's end"
    CLOSED = "is closed"


class Event(enum.Enum):
    """What the handler is to act upon."""

    REQUEST = "a head has come: look at it, then call begin_body()"
    CONTINUE = "the client waits to be asked for the body: call go_on(), or respond"
    COMPLETE = "the request is complete: respond"


# The members by names of the module, as each access to one of an Enum is a call on CPython before 3.12.
_IDLE, _HEAD, _CONTINUE, _BODY, _HANDLING, _DISCARDING, _BLOCKED, _UPGRADED, _CLOSING, _LINGERING, _CLOSED = State
_REQUEST, _ASK, _COMPLETE = Event
_NOTHING, _BEGUN, _WRITTEN, _STREAM, _DONE = Progress

_KEEPING = frozenset([_HANDLING, _BLOCKED])  # what comes is kept until the response
_ENDING = frozenset([_CLOSING, _LINGERING, _CLOSED])
_READING = frozenset([_CONTINUE, _BODY])  # a body of a request that is to be answered

UNSENT = (_NOTHING, _BEGUN)
"""The progress of a response of which no byte was sent (tuple of Progress)."""

_SPECIAL = frozenset(["content-length", "transfer-encoding", "expect", "connection"])


class Connection:
    """Hold a RequestReader, a ResponseWriter, and the state."""

    __slots__ = (
        "_left",
        "ahead",
        "index",
        "input_ended",
        "is_last",
        "reader",
        "requests",
        "state",
        "unsent",
        "writer",
    )

    def __init__(self) -> None:
        self.reader = RequestReader()
        self.writer = ResponseWriter()
        self.state = _IDLE
        self.requests = 0  # heads that have come
        self.index: Index = {}  # of the fields of the request at hand
        self.is_last = False  # no request is to be read after the one at hand
        self.input_ended = False
        self.ahead: list[bytes] = []  # what has come while nothing is to be read
        self.unsent = 0  # bytes of responses since the queue was last seen empty
        self._left = 0  # bytes that are yet to be discarded at the end

    # What the channel asks

    @property
    def terminator(self) -> bytes | int | None:
        """What ends the part that is to come, None for nothing."""
        return None if self.state in _KEEPING else self.reader.terminator

    @property
    def is_paused(self) -> bool:
        """Whether nothing is to be received for now."""
        state = self.state
        return state in _KEEPING or self.input_ended or (state is _CLOSING and self._left < 0)

    @property
    def is_ending(self) -> bool:
        """Whether no further request is read."""
        return self.state in _ENDING

    @property
    def is_receiving(self) -> bool:
        """Whether the client is in the middle of a request."""
        return self.state is _HEAD or self.state in _READING

    # Requests

    def receive(self, data: bytes, settings: Settings) -> Event | None:
        """Read *data*, a part of a request that is complete; return what has come with it.

        HTTPError for what must not be served.
        """
        state = self.state
        if state is _IDLE or state is _HEAD:
            parsed = self.reader.read_head(data, settings)
            if parsed is None:
                return None
            method, minor, index = parsed
            self.requests += 1
            self.index = index
            self.state = _HANDLING
            if _SPECIAL.isdisjoint(index):
                self.writer.new_request(method, minor, self.is_last or not minor)
                self.reader.length = 0
            else:
                self._read_fields(method, minor, index)
            return _REQUEST
        if state is _BODY or state is _DISCARDING:
            if not self.reader.read_body(data, settings):
                return None
            if state is _BODY:
                self.state = _HANDLING
                return _COMPLETE
            self.state = _IDLE if self.unsent <= _MOST_UNSENT else _BLOCKED
        return None

    def _read_fields(self, method: str, minor: int, index: Index) -> None:
        persists = is_persistent(index, minor) if "connection" in index else minor > 0
        self.writer.new_request(method, minor, self.is_last or not persists)
        self.reader.length = 0
        expects = "expect" in index and expects_continue(index, minor)
        if "content-length" in index or "transfer-encoding" in index:
            if self.reader.expect_body(index, minor):
                self.state = _CONTINUE if expects else _BODY

    def begin_body(self, settings: Settings, is_wanted: bool) -> Event | None:
        """Read the body, which *is_wanted* or to be discarded; tell whether it must be asked for."""
        state, reader = self.state, self.reader
        reader.is_wanted = False
        if state in _READING and self.writer.progress in UNSENT:
            if reader.length > settings.max_body and not settings.stream_body:
                raise HTTPError(413, "the body is too large")
            reader.is_wanted = is_wanted
            if state is _CONTINUE:
                return _ASK
        self._read_body(settings)
        return None

    def go_on(self, settings: Settings) -> None:
        """Read the body that the client was asked for."""
        if self.state is _CONTINUE:
            if self.writer.progress in UNSENT:
                self.state = _BODY
            self._read_body(settings)

    def _read_body(self, settings: Settings) -> None:
        if self.state in (_CONTINUE, _BODY, _DISCARDING):
            self.state = _BODY if self.state is _CONTINUE else self.state
            self.reader.begin_body(settings)

    def receive_part(self, data: bytes, settings: Settings) -> bytes:
        """Take *data*, received where no part is kept for receive(); return what of it is to be streamed."""
        state = self.state
        if state is _BODY or state is _DISCARDING:
            return self.reader.take(data, settings)
        if state in _KEEPING:
            self.ahead.append(data)
        elif state in _ENDING:
            self._left -= len(data)
            if self._left < 0 and state is _LINGERING:
                self.state = _CLOSED
        return b""

    @property
    def takes_parts(self) -> bool:
        """Whether what comes goes to receive_part(), and is not to be kept for receive()."""
        return self.reader.terminator is None or type(self.reader.terminator) is int or self.state in _KEEPING

    def check(self, data: bytes, settings: Settings) -> None:
        """Raise HTTPError if *data*, all that has come of a part, is wrong, whatever follows it."""
        state = self.state
        if state is _IDLE or state is _HEAD:
            if self.reader.check_head(data, settings):
                self.state = _HEAD
        elif state is _BODY or state is _DISCARDING:
            self.reader.check_line(data, settings)

    def receive_eof(self) -> None:
        """Note that the client sends no more; HTTPError if it has left a request incomplete."""
        self.input_ended = True
        state = self.state
        if state is _LINGERING:
            self.state = _CLOSED
        elif state is _HEAD or (state in _READING and self.writer.progress in UNSENT):
            raise HTTPError(400, "the request is not complete")
        elif state not in _ENDING and state is not _HANDLING and state not in _READING:
            self.end()

    def refuse(self, method: str) -> None:
        """Have the response go to a request by *method* that cannot be read, and be the last."""
        if self.state is _IDLE or self.state is _HEAD:
            self.writer.new_request(method, 1, True)
            self.state = _HANDLING

    # Responses

    def respond(
        self, status: int, body: Body, headers: Headers, content_type: str | None, settings: Settings
    ) -> list[Item]:
        """Return what is to be sent for a whole response."""
        if self.state is not _HANDLING:
            self._respond_early()
        writer = self.writer
        items = writer.respond(status, body, headers, content_type, settings)
        if writer.progress is _DONE:
            self._complete(writer.written)
        return items

    def end_headers(self, settings: Settings) -> list[Item]:
        """Return the head that was made step by step."""
        if self.state is not _HANDLING and self.writer.status >= 200:
            self._respond_early()
        return self.writer.end_headers(settings)

    def write(self, data: Data, settings: Settings) -> list[Item]:
        """Return what is to be sent for *data*, a part of a body that finish() ends, whenever that comes."""
        if self.state is not _HANDLING:
            self._respond_early()
        self.writer.awaits_finish = True
        return self.writer.write(data, settings)

    def write_body(self, data: Data, settings: Settings) -> list[Item]:
        """Return what is to be sent for *data*, a part of the body, after the head was sent."""
        if self.writer.progress is not _WRITTEN:
            raise RuntimeError("there is no response that this could be a part of")
        return self.writer.write(data, settings)

    @property
    def ends_with_request(self) -> bool:
        """Whether a response was begun as http.server has it, which nobody will finish."""
        return self.writer.progress in (_BEGUN, _WRITTEN) and not self.writer.awaits_finish

    def take_back(self) -> bool:
        """Forget a response of which no byte was sent; tell whether there can be another."""
        self.writer.take_back()
        return self.writer.progress is _NOTHING

    def finish(self, settings: Settings) -> list[Item]:
        """Return what ends a response that was written, or an empty one."""
        if self.state is not _HANDLING:
            self._respond_early()
        items = self.writer.finish(settings)
        if self.writer.progress is _DONE:
            self._complete(self.writer.written)
        return items

    def stream_sent(self) -> bool:
        """Note that the body that the client takes from its source has left; tell whether there was one."""
        if self.writer.progress is not _STREAM or self.state is _CLOSED:
            return False
        self.writer.stream_sent()
        self._complete(0)
        return True

    def _respond_early(self) -> None:
        """Have the connection closed if the body of the request is not worth reading, or may not come."""
        if self.state in _READING and self.writer.progress in UNSENT:
            if self.state is _CONTINUE or not 0 <= self.reader.length <= _MOST_UNREAD:
                self.writer.closes = True
            self.reader.is_wanted = False

    def _complete(self, unsent: int) -> None:
        if self.writer.closes or (self.input_ended and not self.ahead):
            self.end()
        elif self.state is _HANDLING:
            self.unsent += unsent
            self.state = _IDLE if self.unsent <= _MOST_UNSENT else _BLOCKED
        elif self.state is _BODY:
            self.state = _DISCARDING

    def drained(self) -> None:
        """Note that all responses have left."""
        self.unsent = 0
        if self.state is _BLOCKED:
            self.state = _IDLE

    # The end

    def offer_upgrade(self) -> bool:
        """Leave the connection to another protocol if the client asks for one; tell whether it does."""
        if not wants_upgrade(self.index, self.writer.minor):
            return False
        self.state = _UPGRADED
        self.reader.end()
        return True

    def stay(self) -> None:
        """Go on with HTTP, as nobody took the connection for another protocol."""
        if self.state is _UPGRADED:
            self.state = _HANDLING
            self.reader.terminator = HEAD_END

    def finish_soon(self) -> None:
        """Read no request after the one at hand, which is begun or being handled."""
        self.is_last = self.writer.closes = True
        if self.state is _IDLE:
            self.end()

    def end(self) -> None:
        """Read no more requests: what is to be sent is sent, and then the connection is closed."""
        if self.state not in _ENDING:
            self.state = _CLOSING
            self.reader.end()
            self.ahead.clear()
            self._left = _MOST_UNREAD

    def all_sent(self, can_linger: bool) -> None:
        """Note that the last byte was sent, and whether the peer could be told so while it may still send.

        What the peer is sending would make the system reset a connection that is closed at once, and what it has
        not read of the response would be lost (RFC 9112, section 9.6).
        """
        if self.state is _CLOSING:
            self.state = _LINGERING if can_linger and not self.input_ended else _CLOSED
            self._left = _MOST_UNREAD

    def close(self) -> None:
        """Note that the connection was closed."""
        self.state = _CLOSED
        self.ahead.clear()
        self.reader.end()
