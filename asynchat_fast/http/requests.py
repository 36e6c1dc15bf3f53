"""The receiving half of a handler: one request after the other, and the end of the connection.

The next request is looked at only when the present one is answered; what comes meanwhile waits, and reading
pauses.
"""

from time import monotonic

from .answers import DONE, HEAD
from .bodies import Bodies
from .errors import HTTPError
from .heads import HEAD_END
from .pieces import Then
from .semantics import body_length, expects_continue, wants_upgrade

__all__ = ["Requests"]

_MOST_UNREAD = 1 << 18  # octets that nobody wants and that are read all the same, for the sake of the answer
_MOST_UNSENT = 1 << 18  # octets of answers that may wait to be sent while more requests are looked at


class Requests(Bodies):
    """What a handler does with the requests that it receives."""

    __slots__ = ("__ahead", "__input_ended", "__is_expected", "__is_over", "__is_paused", "__is_reading",
                 "__is_upgraded", "__left", "__lingers", "__unsent", "handling")  # fmt: skip

    def __init__(self):
        Bodies.__init__(self)
        self.handling = False
        self.__ahead = []  # what was received after a request that is not answered
        self.__unsent = 0  # octets of answers since the queue was last seen empty
        self.__left = 0  # octets of the body at hand, or that are not to be read
        self.__is_expected = False  # the body, by a client that waits to be told to go on
        self.__is_reading = False  # a body
        self.__is_paused = self.__is_over = self.__input_ended = self.__lingers = self.__is_upgraded = False

    # From the head to the answer

    def _http_head_received(self):
        index, minor = self.headers.index, self.minor_version
        length = 0
        if "content-length" in index or "transfer-encoding" in index:
            length = body_length(index, minor)
        expects = "expect" in index and expects_continue(index, minor) and length != 0
        self.__left = length
        self.__is_expected = expects
        self.__is_reading = True
        self.handle_head()
        if not length:
            self._http_body_received()
            return
        if self._http_stage <= HEAD:
            if length > self.max_body and not self.stream_body:
                raise HTTPError(413, "the body is too large")
            if expects and not self.handle_expect_100() and self._http_stage <= HEAD:
                raise HTTPError(417, "the body is not wanted")
        self.__is_expected = False
        if not self.__is_over:
            self._http_begin_body(length)

    def handle_head(self):
        """Called when the head of a request has come, before its body is read; may answer, or set ``stream_body``."""

    def handle_expect_100(self):
        """Tell whether to go on, for a client that waits for it before it sends the body; 100 has been sent, then.

        One that returns False has answered, or lets 417 be the answer.
        """
        self.push(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _http_body_received(self):
        self.__is_reading = False
        if self._http_stage == DONE:
            if not self.__is_over:
                self.__await_request()
            return
        self.handling = True
        try:
            if self._http_stage <= HEAD:
                self.__handle()
        except Exception as error:
            self._http_failed(error)
        if self.handling and not self.__is_upgraded:
            self.__pause()

    # From one request to the next

    def __handle(self):
        index = self.headers.index
        if "upgrade" in index and wants_upgrade(index, self.minor_version):
            self._http_receive(None, None)
            self.__is_upgraded = True  # while it is asked, so that the terminator it sets is left alone
            self.__is_upgraded = bool(self.handle_upgrade())
            if self.__is_upgraded:
                return
        self.handle_request()
        self._http_settle()

    def handle_upgrade(self):
        """Take the connection over for another protocol, and tell whether that has been done; by default it is not.

        To take it, send 101 by ``send_response()``, ``send_header()`` and ``end_headers()``, bind
        ``collect_incoming_data`` and ``found_terminator`` of this object to what is to be called
        from then on, and set the terminator.
        """
        return False

    _http_ends_loop = ()  # exceptions that are not for us

    def _http_failed(self, error):
        """Answer a request whose handling raised *error*."""
        if isinstance(error, self._http_ends_loop):
            raise error
        if isinstance(error, HTTPError):
            self._http_refuse(error)
        else:
            self._http_log_exception()
            self.send_error(500)

    def _http_refuse(self, error):
        """Answer with the status of *error*, an HTTPError, and look at nothing more."""
        if self.__is_over:
            return
        if self.reading_headers and not self._http_bad_line:
            self._http_forget_request(b"".join(self.ibuffer))
        self.send_error(error.status, explain=error.reason, headers=error.headers)

    def _http_before_answer(self):
        """Have the connection closed after an answer to a request whose body is not worth reading, or may not come."""
        if self.__is_reading and (self.__is_expected or not 0 <= self.__left <= _MOST_UNREAD):
            self.close_connection = True

    def _http_answered(self, status, octets, unsent):
        self.handling = False
        if not self.connected:
            return
        self.log_request(status, octets)
        self.__unsent += unsent
        if self.close_connection or self.__input_ended:
            self.__end()
        elif not self.__is_reading:
            self.__await_request()

    def __await_request(self):
        self._http_waits_since = monotonic()
        self.reading_headers = True
        if self.__unsent > _MOST_UNSENT and self._ac_is_sending():
            self.__unsent = 0
            if not self.__is_paused:
                self.__pause()
            self.push_with_producer(Then(self.__resume))
        elif self.__is_paused:
            self.__resume()
        elif self.terminator is not HEAD_END:
            self._http_receive(HEAD_END, None)

    def __pause(self):
        self.__is_paused = True
        self._http_receive(None, None, sink=self.__ahead.append)
        self._ac_pause_reading(True)

    def __resume(self):
        if self.__is_over:
            return
        self.__is_paused = False
        self._http_receive(HEAD_END, None)
        self._ac_pause_reading(False)
        if self.__ahead:
            ahead = b"".join(self.__ahead)
            self.__ahead.clear()
            self.receive(ahead)

    # The end of a connection

    def handle_eof(self):
        """Called when the peer will send no more: answer what has been asked, and then close."""
        self.__input_ended = True
        if self.__lingers:
            self.close()
            return
        self._ac_pause_reading(True)
        if self.__is_over or self.handling:
            return  # the answer is under way
        if self.__is_upgraded or self.__is_paused:
            self.__end()
        elif self._http_drips or (self.__is_reading and self._http_stage <= HEAD):
            self._http_refuse(HTTPError(400, "the request is not complete"))
        elif not self.__is_reading or self._http_stage == DONE:
            self.__end()

    def close_when_done(self):
        """Close once what was pushed so far is sent, and look at no more requests."""
        self.__end()

    def __end(self):
        if self.__is_over:
            return
        self.__is_over = True
        self.reading_headers = self.__is_reading = False
        self.__ahead.clear()
        self.ibuffer.clear()
        self.__left = _MOST_UNREAD
        self._http_receive(None, None, sink=self.__discard)
        self.push_with_producer(Then(self.__all_sent))

    def __discard(self, data):
        self.__left -= len(data)
        if self.__left < 0:
            if self.__lingers:
                self.close()
            else:
                self._ac_pause_reading(True)

    def __all_sent(self):
        # Not at once: what the peer is sending would make the system reset the connection, and what it has
        # not read of the answer would be lost (RFC 9112, section 9.6).
        if self.__input_ended or not self._ac_end_output():
            self.close()
            return
        self.__lingers = True
        self.__left = _MOST_UNREAD
        self._http_waits_since = monotonic()
        self._http_watch(self.linger_timeout)
        self._ac_pause_reading(False)

    def _http_finish_soon(self):
        """End the connection after the request at hand, or now if there is none."""
        self._http_is_last = self.close_connection = True
        if self.reading_headers and not self._http_drips:
            self.__end()

    def _http_due(self):
        """Return how many seconds the peer has for what is due of it, and the status for one that takes longer.

        The status is 0 where there is nothing to answer.  None if nothing is due.
        """
        waited = monotonic() - self._http_waits_since
        if self.__lingers:
            return self.linger_timeout - waited, 0
        if self.__is_over or self.handling or self.__is_upgraded or self.__is_paused:
            return None
        if self.__is_reading:
            return self._http_body_seconds(), 408
        if self._http_drips:
            return self.head_timeout - waited, 408
        return self.keep_alive_timeout - waited, 0
