"""A channel that follows the state of a Connection: terminators, pauses, deadlines, and the end.

After each step that may change the state of the connection, ``_ac_follow()`` must be called to adapt the channel.
"""

import contextlib
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from ..channel import async_chat
from ..eventloop.maps import clock_of
from ..interest import hold_reading
from ..producers import OnSent
from ..transport import passing
from ..transport_socket import RESET
from .connection import Connection, State
from .deadlines import CLOSE, Deadlines, is_reset, unacknowledged_bytes
from .errors import HTTPError
from .hooks import Hooks
from .request_reader import HEAD_END
from .response_bodies import BYTES, close_source
from .response_head import Headers
from .response_writer import Progress

__all__ = ["HTTPChannel"]


# Module names, because each access to a member of an Enum is a function call on CPython before 3.12.
_IDLE = State.IDLE
_DONE, _STREAM = Progress.DONE, Progress.STREAM

_recv = async_chat.recv


def _discard(data: object) -> None:
    pass


class HTTPChannel(Hooks, async_chat):  # type: ignore[misc]  # ac_logger is never None here
    """The life of a connection, from its first request to its end; ``Exchange`` handles requests and responses."""

    coalesce_pushes = True
    """Whether the responses to requests that arrive together are sent together (bool)."""

    # Slots, because CPython slows down from about thirty attributes in an object's dictionary on.
    __slots__ = (
        "__deadlines",
        "__receives",
        "__timer",
        "_ac_connection",
        "_ac_followed",
        "_ac_framed",
        "_ac_task",
        "_ac_unlogged",
        "ibuffer",
    )

    def __init__(self, sock: Any, map: Any) -> None:
        self.__timer: Any = None
        self.__receives = False  # recv() is running, so that handle_close() means the end of input
        self._ac_task: Any = None  # the asyncio.Task of the present request, which may outlast its response
        self._ac_unlogged = None
        self._ac_followed = _IDLE  # the state that _ac_follow() has adapted the channel to
        self._ac_framed: bytes | int | None = HEAD_END  # the terminator that it has set
        self._ac_connection = Connection()
        self.ibuffer: list[bytes] = []  #: The received parts of a head, as in asynchat's example.
        self.max_payload = self.max_head
        async_chat.__init__(self, sock, map)
        self.set_terminator(HEAD_END)
        self.__deadlines = Deadlines(clock_of(self._map))
        self.__watch(Deadlines.period(_IDLE, self))

    # The state of the connection

    def _ac_follow(self) -> None:
        """Adapt the channel to the state of the connection, which may have changed."""
        connection = self._ac_connection
        state = connection.state
        if state is not self._ac_followed:
            self._ac_followed = state
            self.__enter(state)
            if self._ac_followed is not state:
                return  # entering the state has led to another one
        if state is State.UPGRADED or state is State.CLOSED:
            return
        terminator = connection.terminator
        if terminator is not self._ac_framed:
            self._ac_framed = terminator
            self.set_terminator(terminator)
        if connection.is_paused != self._ac_held:
            hold_reading(self, connection.is_paused)
        if connection.ahead and state is _IDLE:
            ahead = b"".join(connection.ahead)
            connection.ahead.clear()
            self._ac_receive(ahead)
            if connection.input_ended:
                self.handle_eof()

    def __enter(self, state: State) -> None:
        if state is State.CLOSING:
            self.ibuffer.clear()
            self.push_with_producer(OnSent(self.__all_sent))
        elif state is State.BLOCKED:
            self.push_with_producer(OnSent(self.__drained))
        elif state is State.LINGERING:
            self.__deadlines.restart(self._ac_connection)
            self.__watch(self.linger_timeout or 0)
        elif state is State.CLOSED:
            self.close()

    def __drained(self) -> None:
        if self._ac_task is None:
            self._ac_connection.drained()
            self._ac_follow()

    def _ac_begin_task(self, steps: Coroutine[Any, Any, Any], coroutine: Coroutine[Any, Any, Any]) -> bool:
        """Have a task run *steps*, which await *coroutine*; return False if no asyncio program serves the channel."""
        task = self._ac_create_task(steps)
        if task is not None and not task.done():  # an eager task may be done already, or have closed the channel
            self._ac_task = task
            # A task that is cancelled before it has begun does not await *coroutine*, of which Python would warn.
            task.add_done_callback(lambda task: coroutine.close())
            if not self.connected:
                task.cancel()
        return task is not None

    def _ac_end_task(self) -> None:
        """Note that the task is done; the next request is read once the response has been sent."""
        self._ac_task = None
        if self.connected:
            self.push_with_producer(OnSent(self.__drained))

    def __all_sent(self) -> None:
        connection = self._ac_connection
        connection.all_sent(not connection.input_ended and self._ac_end_output())
        self._ac_follow()

    # The end

    def _ac_refuse_request(self, error: HTTPError) -> None:
        """Respond with *error* to a request that must not be served, or has not come in time, and then close."""
        self._ac_forget_request(b"".join(self.ibuffer))
        self._ac_refuse(error.status, error.reason, error.headers)

    def _ac_refuse(self, status: int, explain: str | None = None, headers: Headers = ()) -> None:
        """Respond with *status*, unless there is a complete response already, and read no more requests."""
        connection = self._ac_connection
        if connection.is_ending:
            return
        if not self.connected:
            self._ac_close_unconnected()
        elif connection.writer.progress is _DONE:
            connection.end()
        else:
            self.send_error(status, explain=explain, headers=headers)
        self._ac_follow()

    @passing
    def recv(self, buffer_size: int) -> bytes:
        """Receive at most *buffer_size* bytes; at the end of the input ``handle_eof()`` is called."""
        self.__receives = True
        try:
            return _recv(self, buffer_size)
        finally:
            self.__receives = False

    def handle_close(self) -> None:
        """Close; at the end of the input, after the responses to the requests that were received."""
        if self.__receives and self.connected:
            self.handle_eof()
        else:
            self.close()

    def handle_eof(self) -> None:
        """Act upon the end of the input: respond to the requests that were received, then close."""
        try:
            self._ac_connection.receive_eof()
        except HTTPError as error:
            self._ac_refuse_request(error)
        self._ac_follow()

    def handle_error(self) -> None:
        """Act upon an exception of the channel: log it, and close."""
        self._ac_log_exception()
        self.close()

    def close_when_done(self) -> None:
        """Close once everything that was pushed before is sent, and read no more requests."""
        self._ac_connection.end()
        self._ac_follow()

    def handle_shut_down(self) -> None:
        """Make the present response, or else the next one, the last; called when the server is to end.

        A connection that was taken for another protocol is closed once everything is sent.
        """
        if self._ac_connection.state is State.UPGRADED:
            self.close_when_done()
        else:
            self._ac_connection.make_last()

    def _ac_end_if_idle(self) -> None:
        """End the connection unless a request is being received or handled."""
        if self._ac_connection.state in (State.IDLE, State.BLOCKED) and not self._ac_connection.ahead:
            self._ac_connection.end()
            self._ac_follow()

    def _ac_cut(self) -> None:
        """End the connection within a response, after the data that waits: the client sees that the rest is missing."""
        connection = self._ac_connection
        writer = connection.writer
        is_whole = writer.progress is _STREAM and writer.source is None
        if connection.is_ending or writer.source is not None or (writer.ends_by_closing and not is_whole):
            self.close()
            return
        connection.end()
        self._ac_follow()
        self.__discard_output()

    def __discard_output(self) -> None:
        # Replaced on the object, because a check in each push() would slow down every response.
        self.push = _discard  # type: ignore[method-assign]
        self.push_with_producer = close_source  # type: ignore[method-assign,assignment]

    def _ac_close_unconnected(self) -> None:
        """Close if the socket is not connected, as the client left before accept(): nothing can be sent."""
        if self.socket is not None and not self.connecting and self._ac_connection.state is not State.CLOSED:
            self.close()

    def close(self) -> None:
        """Close, drop data that waits to be sent, and close the producers and files that it comes from.

        From then on, written and pushed data is discarded.  An override calls this method.
        """
        connection = self._ac_connection
        writer = connection.writer
        is_cut = writer.progress in (Progress.BODY, _STREAM)
        if is_cut and writer.ends_by_closing:  # reset, or the client would take a normal close for the end of the body
            with contextlib.suppress(OSError, AttributeError):  # AttributeError: the program has taken the socket
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)  # type: ignore[union-attr]
        connection.close()
        self.__discard_output()
        if self.__timer is not None:
            self.__timer.cancel()
        if self._ac_task is not None:
            self._ac_task.cancel()
        super().close()
        self._ac_log_cut((writer.status, writer.sent) if is_cut else None)
        for item in [item for item in self.producer_fifo or () if not isinstance(item, BYTES)]:
            self.__close_source(partial(close_source, item))
        self.discard_buffers()
        self.__close_source(writer.stream_sent if is_cut else writer.abandon)

    def __close_source(self, close: Callable[[], object]) -> None:
        try:
            close()
        except Exception:  # of a program's method, which must not keep the rest from being closed
            self._ac_log_exception()

    def _ac_status(self) -> dict[str, Any]:
        """Return this channel's part of ``status()``."""
        status = super()._ac_status()
        state = self._ac_connection.state
        if self._ac_connection.is_ending and state is not State.CLOSED:
            status["state"] = "closing"
        elif state in (State.CONTINUE, State.BODY, State.HANDLING):
            status["request"] = self.requestline
        return status

    # Deadlines

    def __watch(self, seconds: float) -> None:
        """Look at the deadlines in *seconds*, and from then on at intervals."""
        if self.__timer is not None:
            self.__timer.cancel()
        self.__timer = self._ac_call_later(seconds, self.__look)

    def __look(self) -> None:
        self.__timer = None
        connection = self._ac_connection
        if not self.connected:
            self._ac_close_unconnected()
            return
        unsent = unacknowledged_bytes(self.socket)
        outgoing = (self._ac_sent(), unsent) if unsent or self._ac_is_sending() else None
        status = self.__deadlines.look(connection, outgoing, self.readable(), self)
        if status == CLOSE or (self._ac_held and is_reset(self.socket)):
            self.close()
        elif status is not None:
            if status == 503:
                self._ac_log(
                    "no response to %r within %s seconds: call respond()", self.requestline, self.response_timeout
                )
                self._ac_refuse(status)
            else:
                self._ac_refuse_request(HTTPError(status, "the request took too long"))
        if connection.state is not State.CLOSED and not self.__timer:
            self.__watch(Deadlines.period(connection.state, self))
