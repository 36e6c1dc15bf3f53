"""Requests and responses on a channel: the Connection gets the received data, and its responses are pushed."""

import sys
from collections.abc import Coroutine
from typing import Any

from ..borrowed import queue_of
from ..channel import async_chat, asyncore
from ..producers import OnSent
from ..pushing import uncork
from .channel import HTTPChannel
from .connection import Event, State
from .errors import HTTPError
from .response_bodies import Pieces
from .response_writer import UNSENT, Item, Progress

__all__ = ["Exchange"]

_MOST_LOGGED_AT_ONCE = 1 << 16  # bytes of a body, about what one send() takes; longer ones are logged once sent
_MOST_COUNTED = 1 << 16  # bytes of responses, up to which it is not worth looking whether the queue is empty

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# Module names, because each access to a member of an Enum is a function call on CPython before 3.12.
_IDLE, _HEAD, _HANDLING = State.IDLE, State.HEAD, State.HANDLING
_REQUEST, _ASK = Event.REQUEST, Event.CONTINUE
_NOTHING, _BEGUN, _BODY, _, _DONE = Progress

_receive = async_chat._ac_receive


class Exchange(HTTPChannel):
    """The part of ``http_request_handler`` that receives requests, calls its methods, and sends responses."""

    __slots__ = ()

    # Requests

    def _ac_receive(self, data: Any) -> None:
        connection = self._ac_connection
        if connection.unsent > _MOST_COUNTED and self._ac_task is None and not self._ac_is_sending():
            connection.unsent = 0
        _receive(self, data)
        if self._ac_unlogged is not None:
            self._ac_log_sent()
        if self.ibuffer and type(self._ac_framed) is bytes:
            self.__check()

    def __check(self) -> None:
        """Refuse the beginning of a head, or of a line of a body, at once if it is wrong."""
        data = b"".join(self.ibuffer)
        self.ibuffer[:] = [data]
        try:
            self._ac_connection.check(data + self.ac_in_buffer, self)
        except HTTPError as error:
            self._ac_refuse_request(error)

    def collect_incoming_data(self, data: Any) -> None:
        """Take *data*, a part of a head or a body (bytes)."""
        if type(self._ac_framed) is bytes:
            self.ibuffer.append(data)
            return
        connection = self._ac_connection
        try:
            if streamed := connection.receive_part(data, self):
                self.body_data(memoryview(streamed))
        except Exception as error:
            self.__fail(error)
        if connection.is_ending:
            self._ac_follow()

    def found_terminator(self) -> None:
        """Act upon a complete part of a request: a head, a body, a chunk, or a line of a chunked body."""
        connection = self._ac_connection
        data = b"".join(self.ibuffer)
        self.ibuffer.clear()
        if not self.connected:
            self._ac_close_unconnected()
            return
        if self._ac_unlogged is not None:
            self._ac_log_unlogged()  # before the next request changes the handler's attributes, which the log shows
        try:
            event = connection.receive(data, self)
        except Exception as error:
            self._ac_forget_request(data)
            self.__fail(error)
        else:
            if event is not None:
                self.__act(event)
        if connection.state is not _IDLE or self._ac_followed is not _IDLE:
            self._ac_follow()

    def handle_overlong_payload(self) -> None:
        """Refuse a head, or a line of a body, that exceeds its limit."""
        is_head = self._ac_connection.state in (_IDLE, _HEAD)
        self._ac_refuse_request(HTTPError(431 if is_head else 413, "what was sent is too long"))

    def __act(self, event: Event) -> None:
        connection = self._ac_connection
        try:
            if event is _REQUEST:
                if self._ac_health is None or not self.__tell_health():
                    self.handle_head()
                    if connection.writer.progress is not _NOTHING:
                        self.__finish_written()
                if connection.state is not _HANDLING:
                    self.__begin_body()
                    return
            if connection.reader.length:
                self._ac_take_body()
            awaits_response = connection.writer.progress in UNSENT and connection.state is _HANDLING
            if awaits_response and ("upgrade" not in connection.index or not self.__is_taken()):
                self.__handle()
        except Exception as error:
            self.__fail(error)

    def __tell_health(self) -> bool:
        """Respond if the request is a health check, without a line in the log; return whether it is one."""
        connection, health = self._ac_connection, self._ac_health
        if not health.is_asked(self.command, self.path):
            return False
        status, body, fields = health.response()
        self._ac_send(connection.send(connection.writer.respond, status, body, fields, None, self))
        return True

    def __begin_body(self) -> None:
        connection = self._ac_connection
        if connection.begin_body(self, self._ac_wants_body()) is _ASK:
            is_wanted = self.handle_expect_100()
            self.__finish_written(is_refused=not is_wanted)
            if not is_wanted and connection.writer.progress in UNSENT:
                raise HTTPError(417, "the body is not wanted")
            connection.go_on(self)

    def handle_expect_100(self) -> bool:
        """Decide whether a client that sent ``Expect: 100-continue`` may send the body: by default send 100.

        Return True if the body may come.  An override that returns False may have responded; else the response is 417.
        """
        self._ac_connection.unsent += len(_CONTINUE)
        self.push(_CONTINUE)
        return True

    def __handle(self) -> None:
        result: Any = self.handle_request()
        if result is not None and isinstance(result, Coroutine):
            steps = self.__run(result)
            if self._ac_begin_task(steps, result):
                return
            steps.close()
        if result is not None or self._ac_connection.writer.progress is not _DONE:
            self.__end_handling(result)

    async def __run(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._ac_connection.hold()
        try:
            self.__end_handling(await coroutine)
        except Exception as error:
            self.__fail(error)
        except sys.modules["asyncio"].CancelledError:  # not imported here, which would delay all other programs
            if self.connected and self._ac_connection.writer.progress in (_NOTHING, _BEGUN, _BODY):
                self._ac_log("the task for %r was cancelled before its response was complete", self.requestline)
                self._ac_refuse(500)
            raise
        finally:
            self._ac_end_task()

    def __end_handling(self, result: Any) -> None:
        connection = self._ac_connection
        if result is not None and connection.state is _HANDLING and connection.writer.progress is _NOTHING:
            self.__refuse_result(result)
        if connection.writer.progress is not _DONE and connection.ends_with_request:
            self.finish()

    def __finish_written(self, is_refused: bool = False) -> None:
        """Finish a response begun by the methods of http.server; one whose head is not ended only if *is_refused*."""
        connection = self._ac_connection
        writer = connection.writer
        is_begun = writer.progress is _BODY or (is_refused and writer.progress is _BEGUN and writer.status >= 200)
        if is_begun and connection.ends_with_request:
            self.finish()

    def __is_taken(self) -> bool:
        """Offer a connection whose client asks for an upgrade to the program; return whether it has taken it."""
        connection = self._ac_connection
        if not connection.offer_upgrade():
            return False
        # As if _ac_follow() had set them, so that it leaves the terminator alone that the program sets.
        self._ac_followed, self._ac_framed = State.UPGRADED, None
        self.set_terminator(None)
        if self.handle_upgrade():
            self._ac_log_response(101, 0)
            return True
        connection.stay()
        return False

    def __refuse_result(self, result: Any) -> None:
        if isinstance(result, Coroutine):  # unless it is closed, Python warns that it was never awaited
            result.close()
        self._ac_log("handling %r returned %r without a response: call respond()", self.requestline, result)
        self._ac_refuse(500)

    # Failures

    def __fail(self, error: Exception) -> None:
        """Respond to a request whose handler raised *error*."""
        if isinstance(error, asyncore.ExitNow):
            raise error
        if isinstance(error, HTTPError):
            self._ac_refuse(error.status, error.reason, error.headers)
        else:
            self._ac_log_exception()
            self._ac_refuse(500)

    # Responses

    def _ac_send(self, items: list[Item]) -> None:
        """Push *items*, as the connection has returned them."""
        for item in items:
            if isinstance(item, (bytes, memoryview)):
                self.push(item)
            else:
                if isinstance(item, Pieces):
                    item.failed = self.__body_failed
                self.push_with_producer(item)

    def _ac_send_whole(self, items: list[Item]) -> None:
        """Push *items*, a whole response, so that the head leaves together with the first part of the body."""
        queue = queue_of(self)
        corked = queue.cork()
        try:
            self._ac_send(items)
            self._ac_end_response()
        finally:
            if corked:
                uncork(self, queue)
                self._ac_log_sent()

    def _ac_end_response(self) -> None:
        """Log the response, and follow the state, after the last part of the response was pushed."""
        writer = self._ac_connection.writer
        if writer.progress is not _DONE:
            self.push_with_producer(OnSent(self.__stream_sent))
            return
        if writer.written <= _MOST_LOGGED_AT_ONCE:
            self._ac_log_response(writer.status, writer.written)
        else:
            self._ac_unlogged = writer.status, writer.written
            if not queue_of(self).corked:
                self._ac_log_sent()
        if self._ac_connection.state is not _IDLE or self._ac_held:
            self._ac_follow()

    def handle_write(self) -> None:
        """Send what waits."""
        self.initiate_send()
        self._ac_log_sent()

    def __stream_sent(self) -> None:
        if self._ac_connection.stream_sent():
            self._ac_end_response()

    def __body_failed(self, body: Pieces) -> None:
        """Respond with 500 if no byte of the response has left; else cut it, after everything before it is sent."""
        self._ac_log_exception()
        items = queue_of(self).items
        if len(items) < 2 or items[1] is not body:  # everything before *body* has left
            self.__cut()
            return
        head, connection = body.head, self._ac_connection
        is_unsent = not body.sent and len(items[0]) >= len(head)  # the first item still has the whole head, at its end
        while len(items) > 1:
            items.pop()
        if not is_unsent or connection.is_ending:
            self.push_with_producer(OnSent(self.__cut))
            return
        before = items.pop()[: -len(head)]
        if before:
            items.append(before)
        connection.writer.start_over()
        self._ac_refuse(500)

    def __cut(self) -> None:
        """End the connection, which shows the client that the body is not complete."""
        connection = self._ac_connection
        writer = connection.writer
        if writer.ends_by_closing or connection.is_ending:
            self.close()
            return
        self._ac_log_response(writer.status, writer.sent)
        connection.end()  # not close(): if the client is sending, it would lose the bytes that it has not read
        writer.stream_sent()
        self._ac_follow()
