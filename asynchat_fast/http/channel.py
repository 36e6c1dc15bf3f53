"""A Connection on a channel: what the channel receives goes to it, what it returns is pushed, and its state followed.

Each step of the connection is a call of its own; ``__follow()`` then does what the new state asks of the channel:
which terminator is next, whether reading pauses, and how the connection ends.
"""

import contextlib
import logging
import socket
import struct
import sys
from functools import lru_cache
from time import monotonic
from typing import Any

from ..channel import async_chat, asyncore
from .connection import UNSENT, Connection, Event, State
from .deadlines import CLOSE, Deadlines, unsent_bytes
from .errors import HTTPError
from .request_reader import HEAD_END
from .response_bodies import BYTES, Pieces, Then, close_source
from .response_writer import Headers, Item, Progress
from .settings import Settings

__all__ = ["HTTPChannel"]

_LONGEST_PERIOD = 60  # seconds between two looks at the deadlines
_MOST_COUNTED = 1 << 16  # bytes of responses that are not asked after, whether they have left
_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

# The members by names of the module, as each access to one of an Enum is a call on CPython before 3.12.
_IDLE, _HEAD, _HANDLING = State.IDLE, State.HEAD, State.HANDLING
_REQUEST, _ASK = Event.REQUEST, Event.CONTINUE
_DONE, _STREAM = Progress.DONE, Progress.STREAM

_receive, _recv = async_chat._ac_receive, async_chat.recv


@lru_cache(maxsize=64)
def _report_log_failure(failure: str) -> None:
    """Say *failure* on stderr, once: a response never depends on the log."""
    with contextlib.suppress(Exception):
        print(f"asynchat_fast: the access log failed: {failure}", file=sys.stderr)


def _discard(data: object) -> None:
    pass


class HTTPChannel(Settings, async_chat):
    """What a handler does as a channel; ``http_request_handler`` is what programs see of it."""

    coalesce_pushes = True
    ac_logger = logging.getLogger("asynchat_fast.http")

    # Slots, as CPython is fast up to some thirty attributes of an object's dictionary.
    __slots__ = (
        "__deadlines",
        "__followed",
        "__framed",
        "__is_paused",
        "__period",
        "__receives",
        "__timer",
        "_ac_connection",
        "ibuffer",
    )

    def __init__(self, sock: Any, map: Any) -> None:
        self.__timer: Any = None
        self.__receives = False  # recv() is running
        self.__is_paused = False
        self.__followed = _IDLE  # the state of the connection that the channel is set for
        self.__framed: bytes | int | None = HEAD_END  # the terminator that was set
        self._ac_connection = Connection()
        self.ibuffer: list[bytes] = []
        self.max_payload = self.max_head
        async_chat.__init__(self, sock, map)
        self.set_terminator(HEAD_END)
        self.__deadlines = Deadlines(monotonic())
        limits = [self.head_timeout, self.body_timeout, self.keep_alive_timeout, self.write_timeout]
        if self.response_timeout is not None:
            limits.append(self.response_timeout)
        self.__period = min(min(limits) / 4, _LONGEST_PERIOD)
        self.__watch(self.__period)

    # What comes in

    def _ac_receive(self, data: Any) -> None:
        connection = self._ac_connection
        if connection.unsent > _MOST_COUNTED and not self._ac_is_sending():
            connection.unsent = 0
        _receive(self, data)
        if self.ibuffer and type(self.__framed) is bytes:
            self.__check()

    def __check(self) -> None:
        """Refuse at once what has come of a head, or of a line of a body, if it is wrong."""
        data = b"".join(self.ibuffer)
        self.ibuffer[:] = [data]
        try:
            self._ac_connection.check(data + self.ac_in_buffer, self)
        except HTTPError as error:
            self.__refuse_request(error)

    def collect_incoming_data(self, data: Any) -> None:
        """Take *data*, a part of a head or a body (bytes)."""
        if type(self.__framed) is bytes:
            self.ibuffer.append(data)
            return
        connection = self._ac_connection
        try:
            if streamed := connection.receive_part(data, self):
                self.body_data(memoryview(streamed))
        except Exception as error:
            self.__fail(error)
        if connection.is_ending:
            self.__follow()

    def found_terminator(self) -> None:
        """Act upon a part of a request that is complete."""
        connection = self._ac_connection
        data = b"".join(self.ibuffer)
        self.ibuffer.clear()
        try:
            event = connection.receive(data, self)
        except Exception as error:
            self._ac_forget_request(data)
            self.__fail(error)
        else:
            if event is not None:
                self.__act(event)
        if connection.state is not _IDLE or self.__followed is not _IDLE:
            self.__follow()

    def handle_overlong_payload(self) -> None:
        """Refuse a head, or a line in a body, that has no end."""
        is_head = self._ac_connection.state in (_IDLE, _HEAD)
        self.__refuse_request(HTTPError(431 if is_head else 413, "what was sent is too long"))

    def __act(self, event: Event) -> None:
        connection = self._ac_connection
        try:
            if event is _REQUEST:
                self.handle_head()
                if connection.state is not _HANDLING:
                    self.__begin_body()
                    return
            if connection.reader.length:
                self._ac_take_body()
            if connection.writer.progress in UNSENT and connection.state is _HANDLING:
                if "upgrade" not in connection.index or not self.__is_taken():
                    self.__handle()
        except Exception as error:
            self.__fail(error)

    def __begin_body(self) -> None:
        connection = self._ac_connection
        if connection.begin_body(self, self._ac_wants_body()) is _ASK:
            if not self.handle_expect_100() and connection.writer.progress in UNSENT:
                raise HTTPError(417, "the body is not wanted")
            connection.go_on(self)

    def __handle(self) -> None:
        connection = self._ac_connection
        result: Any = self.handle_request()
        if result is not None and connection.state is _HANDLING and connection.writer.progress in UNSENT:
            self.__refuse_result(result)
        if connection.writer.progress is not _DONE and connection.ends_with_request:
            self.finish()

    def __is_taken(self) -> bool:
        """Tell whether the program took the connection for another protocol, if the client offers one."""
        connection = self._ac_connection
        if not connection.offer_upgrade():
            return False
        self.__followed, self.__framed = State.UPGRADED, None  # the terminator that the program sets is left alone
        self.set_terminator(None)
        if self.handle_upgrade():
            return True
        connection.stay()
        return False

    def __refuse_result(self, result: Any) -> None:
        if hasattr(result, "close") and hasattr(result, "send"):  # a coroutine, which would warn that it never ran
            result.close()
        self._ac_log("handling %r returned %r without a response: call respond()", self.requestline, result)
        self.__refuse(500)

    # What goes wrong

    def __fail(self, error: Exception) -> None:
        """Answer a request whose handling raised *error*."""
        if isinstance(error, asyncore.ExitNow):
            raise error
        if isinstance(error, HTTPError):
            self.__refuse(error.status, error.reason, error.headers)
        else:
            self._ac_log_exception()
            self.__refuse(500)

    def __refuse_request(self, error: HTTPError) -> None:
        """Answer a request that must not be served, or has not come in time."""
        self._ac_forget_request(b"".join(self.ibuffer))
        self.__refuse(error.status, error.reason, error.headers)

    def __refuse(self, status: int, explain: str | None = None, headers: Headers = ()) -> None:
        """Answer with *status* unless the request is answered, and read no more requests."""
        connection = self._ac_connection
        if connection.is_ending:
            return
        if connection.writer.progress is _DONE:
            connection.end()
        else:
            self.send_error(status, explain=explain, headers=headers)
        self.__follow()

    def _ac_log_exception(self) -> None:
        self._ac_log("%r was not served", self.requestline, exc_info=True)

    def _ac_log(self, format: str, *args: object, exc_info: bool = False) -> None:
        """Log an error; what the log does about it is no matter of the connection's."""
        with contextlib.suppress(Exception):
            self.ac_logger.error("%s: " + format, self.address_string(), *args, exc_info=exc_info)

    # What goes out

    def _ac_send(self, items: list[Item]) -> None:
        """Send *items*, which the connection returned."""
        for item in items:
            if type(item) is bytes or type(item) is memoryview:
                self.push(item)
            else:
                if isinstance(item, Pieces):
                    item.failed = self.__body_failed
                self.push_with_producer(item)

    def _ac_end_response(self) -> None:
        """Do what comes after the last of a response was queued."""
        writer = self._ac_connection.writer
        if writer.progress is not _DONE:
            self.push_with_producer(Then(self.__stream_sent))
            return
        try:
            self.log_request(writer.status, writer.written)
        except Exception as error:
            _report_log_failure(f"{type(error).__name__}: {error}")
        if self._ac_connection.state is not _IDLE or self.__is_paused:
            self.__follow()

    def __stream_sent(self) -> None:
        if self._ac_connection.stream_sent():
            self._ac_end_response()

    def __body_failed(self) -> None:
        self._ac_log_exception()
        self.close()

    # The state of the connection

    def __follow(self) -> None:
        """Set the channel as the state of the connection asks, after a step that may have changed it."""
        connection = self._ac_connection
        state = connection.state
        if state is not self.__followed:
            self.__followed = state
            self.__enter(state)
            if self.__followed is not state:
                return  # what entering has sent has led further
        if state is State.UPGRADED or state is State.CLOSED:
            return
        terminator = connection.terminator
        if terminator is not self.__framed:
            self.__framed = terminator
            self.set_terminator(terminator)
        paused = connection.is_paused
        if paused != self.__is_paused:
            self.__is_paused = paused
            self.pause_reading() if paused else self.resume_reading()
        if connection.ahead and state is _IDLE:
            ahead = b"".join(connection.ahead)
            connection.ahead.clear()
            self._ac_receive(ahead)
            if connection.input_ended:
                self.handle_eof()

    def __enter(self, state: State) -> None:
        if state is State.CLOSING:
            self.ibuffer.clear()
            self.push_with_producer(Then(self.__all_sent))
        elif state is State.BLOCKED:
            self.push_with_producer(Then(self.__drained))
        elif state is State.LINGERING:
            self.__deadlines.restart(monotonic(), self._ac_connection)
            self.__watch(self.linger_timeout)
        elif state is State.CLOSED:
            self.close()

    def __drained(self) -> None:
        self._ac_connection.drained()
        self.__follow()

    def __all_sent(self) -> None:
        connection = self._ac_connection
        connection.all_sent(not connection.input_ended and self._ac_end_output())
        self.__follow()

    # The end

    def recv(self, buffer_size: int) -> bytes:
        """Receive; the end of what the client sends is told to ``handle_eof()``."""
        self.__receives = True
        try:
            return _recv(self, buffer_size)
        finally:
            self.__receives = False

    def handle_close(self) -> None:
        """Close, but at the end of input answer what has been asked first."""
        if self.__receives and self.connected:
            self.handle_eof()
        else:
            self.close()

    def handle_eof(self) -> None:
        """Called when the peer will send no more: answer what has been asked, and then close."""
        try:
            self._ac_connection.receive_eof()
        except HTTPError as error:
            self.__refuse_request(error)
        self.__follow()

    def handle_error(self) -> None:
        """Log the exception that is being handled, and close."""
        self._ac_log_exception()
        self.close()

    def close_when_done(self) -> None:
        """Close once what was pushed so far is sent, and look at no more requests."""
        self._ac_connection.end()
        self.__follow()

    def _ac_finish_soon(self) -> None:
        """End the connection after the request at hand, or now if there is none."""
        self._ac_connection.finish_soon()
        self.__follow()

    def close(self) -> None:
        """Close, drop what waits to be sent, and close what it was to be read from."""
        connection = self._ac_connection
        writer = connection.writer
        is_cut = connection.state is not State.CLOSED and writer.progress in (Progress.BODY, _STREAM)
        if is_cut and writer.ends_by_closing:  # the client would take the end for that of the body
            with contextlib.suppress(OSError, AttributeError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.close()
        # On the object, as a check in each push() would cost every response: what is written is discarded from now on.
        self.push = _discard  # type: ignore[method-assign]
        self.push_with_producer = close_source  # type: ignore[method-assign]
        if self.__timer is not None:
            self.__timer.cancel()
        super().close()
        if is_cut:
            unsent = sum(len(item) for item in self.producer_fifo or () if isinstance(item, BYTES))
            try:
                self.log_request(writer.status, max(writer.sent - unsent, 0))
            except Exception as error:
                _report_log_failure(f"{type(error).__name__}: {error}")
        for item in [item for item in self.producer_fifo or () if not isinstance(item, BYTES)]:
            close_source(item)
        self.discard_buffers()
        try:
            writer.abandon()
        except Exception:
            self._ac_log_exception()

    # Deadlines

    def __watch(self, seconds: float) -> None:
        """Look at the deadlines in so many *seconds*, and then now and again."""
        if self.__timer is not None:
            self.__timer.cancel()
        self.__timer = self._ac_call_later(seconds, self.__look)

    def __look(self) -> None:
        self.__timer = None
        if not self.connected:
            return
        unsent = unsent_bytes(self.socket)
        outgoing = (self._ac_sent(), unsent) if unsent or self._ac_is_sending() else None
        status = self.__deadlines.look(monotonic(), self._ac_connection, outgoing, self.readable(), self)
        if status == CLOSE:
            self.close()
        elif status is not None:
            if status == 503:
                self._ac_log(
                    "no response to %r within %s seconds: call respond()", self.requestline, self.response_timeout
                )
                self.__refuse(status)
            else:
                self.__refuse_request(HTTPError(status, "the request took too long"))
        if self.connected and self.__timer is None:
            self.__watch(self.__period)
