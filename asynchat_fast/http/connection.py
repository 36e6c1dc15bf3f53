"""A connection of an HTTP/1.1 server without its socket: it holds a reader, a writer, and the state.

``receive()`` takes the data up to a terminator, and returns the Event that it completes; ``send()`` returns the
data to send, as a list of bytes and producers.  The state is changed in this file only:
    IDLE (-> HEAD) (-> CONTINUE) -> BODY -> HANDLING -> IDLE, or without a body IDLE (-> HEAD) -> HANDLING -> IDLE

    state       input from the client            the handler may                     the state ends with
    IDLE        a head, or its beginning: HEAD   do nothing                          a request, the end of input
    HEAD        the rest of the head             do nothing                          a request; 408
    CONTINUE    none, or the body unasked        ask for the body, or respond        go_on(), or a response: CLOSING
    BODY        the body; 408                    respond: DISCARDING, or CLOSING     the end of the body
    HANDLING    is kept in ``ahead``, unread     respond; 503 if it does not begin   the end of the response
    DISCARDING  an unwanted body                 do nothing                          the end of the body: IDLE
    BLOCKED     is kept in ``ahead``, unread     do nothing                          drained(): IDLE
    UPGRADED    is another protocol's            do anything                         end(), close()
    CLOSING     is discarded                     send the rest of the response       all_sent(): LINGERING, or CLOSED
    LINGERING   is discarded                     do nothing                          the client's end, time: CLOSED
    CLOSED      none                             do nothing

408 and 503 are the responses after a timeout.  From any state but the last three, a refusal, ``Connection: close``
and end() lead to CLOSING, after which no request is read.  The progress of the response is ``writer.progress``.
Sources: RFC 9112, section 9; h11 for the shape.
"""

import enum
from collections.abc import Callable
from typing import Any

from .errors import HTTPError
from .fields import Index
from .message_framing import expects_continue, is_persistent, wants_upgrade
from .request_reader import HEAD_END, RequestReader
from .response_writer import UNSENT, Item, Progress, ResponseWriter
from .settings import Settings

__all__ = ["Connection", "Event", "State"]

_MOST_UNREAD = 1 << 18  # bytes of an unwanted body to discard, so that the client can read the response
_MOST_UNSENT = 1 << 18  # bytes of responses that may wait to be sent while more requests are read
_HELD = 1 << 40  # bytes that count as unsent after hold(): more than any limit


class State(enum.Enum):
    """The state of a connection; see the table above."""

    IDLE = "awaits a request"
    HEAD = "receives a head"
    CONTINUE = "must ask for the body"
    BODY = "receives a body"
    HANDLING = "awaits the response"
    DISCARDING = "discards a body"
    BLOCKED = "waits until responses are sent"
    UPGRADED = "belongs to another protocol"
    CLOSING = "sends the last response"
    LINGERING = "waits until the client closes"
    CLOSED = "is closed"


class Event(enum.Enum):
    """An event that the handler must act upon."""

    REQUEST = "a head has come: look at it, then call begin_body()"
    CONTINUE = "the client waits to be asked for the body: call go_on(), or respond"
    COMPLETE = "the request is complete: respond"


# Module names and tuples: on CPython up to 3.11, State.IDLE is a function call, and so is the hash of a member.
_IDLE, _HEAD, _CONTINUE, _BODY, _HANDLING, _DISCARDING, _BLOCKED, _UPGRADED, _CLOSING, _LINGERING, _CLOSED = State
_REQUEST, _ASK, _COMPLETE = Event
_, _BEGUN, _BODY_WRITTEN, _STREAM, _DONE = Progress

_KEEPING = (_HANDLING, _BLOCKED)  # received data is kept in ``ahead``
_ENDING = (_CLOSING, _LINGERING, _CLOSED)
_READING = (_CONTINUE, _BODY)  # the body of a request that has still to get its response

_SPECIAL = frozenset(["content-length", "transfer-encoding", "expect", "connection"])


class Connection:
    """One HTTP/1.1 connection: a RequestReader, a ResponseWriter, and the state."""

    __slots__ = ("_left", "ahead", "index", "input_ended", "is_last", "reader", "requests", "state",
                 "unsent", "writer")  # fmt: skip

    def __init__(self) -> None:
        self.reader = RequestReader()
        self.writer = ResponseWriter()
        self.state = _IDLE
        self.requests = 0  # heads read so far
        self.index: Index = {}  # of the fields of the present request
        self.is_last = self.input_ended = False  # is_last: no request is read after the present one
        self.ahead: list[bytes] = []  # data received in the states _KEEPING, to be read after them
        self.unsent = 0  # bytes passed to the output queue since it was last seen empty
        self._left = 0  # bytes that may still be discarded in CLOSING, before receiving is paused

    # Properties for the channel

    @property
    def terminator(self) -> bytes | int | None:
        """The terminator that the channel must set for the next part: bytes, a number of bytes, or None for none."""
        return None if self.state in _KEEPING else self.reader.terminator

    @property
    def is_paused(self) -> bool:
        """Whether the channel must pause receiving (bool)."""
        return self.state in _KEEPING or self.input_ended or (self.state is _CLOSING and self._left < 0)

    @property
    def is_ending(self) -> bool:
        """Whether no further request is read (bool)."""
        return self.state in _ENDING

    # Requests

    def receive(self, data: bytes, settings: Settings) -> Event | None:
        """Read *data*, a complete part of a request; return its Event, if any; HTTPError if it must be refused."""
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
        expects = "expect" in index and expects_continue(index, minor)
        if self.reader.expect_body(index, minor):
            self.state = _CONTINUE if expects else _BODY

    def begin_body(self, settings: Settings, is_wanted: bool) -> Event | None:
        """Begin to read the body, or to discard it if not *is_wanted*; return CONTINUE if the client waits for 100."""
        reader = self.reader
        reader.is_wanted = False
        if self.state in _READING and self.writer.progress in UNSENT:
            if reader.is_too_large(reader.length, settings):
                raise HTTPError(413, "the body is too large")
            reader.is_wanted = is_wanted
            if self.state is _CONTINUE:
                return _ASK
        self.go_on(settings)
        return None

    def go_on(self, settings: Settings) -> None:
        """Read, or discard, the body, unless a response has ended the connection."""
        if self.state is _CONTINUE:
            self.state = _BODY
        if self.state is _BODY or self.state is _DISCARDING:
            self.reader.begin_body(settings)

    def receive_part(self, data: bytes, settings: Settings) -> bytes:
        """Take *data*, a part of a body; return the bytes of it that are to be streamed."""
        state = self.state
        if state is _BODY or state is _DISCARDING:
            return self.reader.take(data, settings)
        if state in _KEEPING:
            self.ahead.append(data)
        elif state in _ENDING:
            self._left -= len(data)
        return b""

    def check(self, data: bytes, settings: Settings) -> None:
        """Raise HTTPError if *data*, the beginning of a part, cannot become a valid one."""
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
        """Prepare for the last response, to a request by *method* whose head could not be read."""
        if self.state is _IDLE or self.state is _HEAD:
            self.writer.new_request(method, 1, True)
            self.index, self.state = {}, _HANDLING

    # Responses

    def send(self, step: Callable[..., list[Item]], *args: Any) -> list[Item]:
        """Call *step*, a method of the writer, with *args*; note its progress, and return the items to send."""
        if self.state is not _HANDLING:
            self._respond_early()
        items = step(*args)
        for item in items:
            self.unsent += len(item) if isinstance(item, (bytes, memoryview)) else 0
        if self.writer.progress is _DONE:
            self._complete()
        return items

    @property
    def ends_with_request(self) -> bool:
        """Whether the end of the handler must finish the response, as http.server's methods have no call for that."""
        return self.writer.progress in (_BEGUN, _BODY_WRITTEN) and not self.writer.awaits_finish

    def stream_sent(self) -> bool:
        """Note that a body in STREAM has been sent to its end; return False if there was none."""
        if self.writer.progress is not _STREAM or self.state is _CLOSED:
            return False
        self.writer.stream_sent()
        if self.unsent < _HELD:
            self.unsent = 0
        self._complete()
        return True

    def _respond_early(self) -> None:
        """For a response before the end of the body: discard the body, or close if it is long or may not come."""
        writer = self.writer
        is_interim = writer.progress is _BEGUN and writer.status < 200  # such as a 100 that the program sends itself
        if self.state in _READING and writer.progress in UNSENT and not is_interim:
            if self.state is _CONTINUE or not 0 <= self.reader.length <= _MOST_UNREAD:
                writer.closes = True
            self.reader.is_wanted = False

    def _complete(self) -> None:
        if self.writer.closes or (self.input_ended and not self.ahead):
            self.end()
        elif self.state is _HANDLING:
            self.state = _IDLE if self.unsent <= _MOST_UNSENT else _BLOCKED
        elif self.state is _BODY:
            self.state = _DISCARDING

    def hold(self) -> None:
        """Enter BLOCKED after the response, so that no request is read before drained() is called."""
        self.unsent = _HELD

    def drained(self) -> None:
        """Note that all responses have been sent."""
        self.unsent = 0
        if self.state is _BLOCKED:
            self.state = _IDLE

    # The end

    def offer_upgrade(self) -> bool:
        """Enter UPGRADED if the client asks for another protocol; return whether it does."""
        if not wants_upgrade(self.index, self.writer.minor):
            return False
        self.state = _UPGRADED
        self.reader.end()
        return True

    def stay(self) -> None:
        """Go back to HTTP: the program has declined the other protocol."""
        if self.state is _UPGRADED:
            self.state = _HANDLING
            self.reader.terminator = HEAD_END

    def make_last(self) -> None:
        """Make the present request the last one, or the next one if there is none."""
        self.is_last = self.writer.closes = True

    def end(self) -> None:
        """Read no more requests: data that waits is sent, and then the connection is closed."""
        if self.state not in _ENDING:
            self.state = _CLOSING
            self.reader.end()
            self.ahead.clear()
            self._left = _MOST_UNREAD

    def all_sent(self, can_linger: bool) -> None:
        """Note that the last byte was sent; *can_linger* (bool) says that the output alone could be shut down.

        If a connection is closed while the peer sends, the system resets it, and the peer loses the part of the
        response that it has not read (RFC 9112, section 9.6).  LINGERING discards its data for a time instead.
        """
        if self.state is _CLOSING:
            self.state = _LINGERING if can_linger and not self.input_ended else _CLOSED

    def close(self) -> None:
        """Note that the connection was closed."""
        self.end()
        self.state = _CLOSED
