"""Heads of requests, and how any part of a message is received.

Framing is asynchat's: each part has its terminator, octets or a number of them, and a method that is called
when it is complete.  A head that comes at once is cut and parsed as one; one that drips in is checked
line by line, so that what is wrong is refused at once.
"""

from time import monotonic

from .answers import Answering
from .errors import HTTPError
from .fields import NO_FIELDS, Fields, Method
from .head import check_beginning, parse_head
from .semantics import is_persistent, parse_target

__all__ = ["HEAD_END", "Heads"]

HEAD_END, _LINE_END = b"\r\n\r\n", b"\r\n"
_MOST_EMPTY_LINES = 8  # before a request

_METHODS = {name: Method(name) for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")}


class Heads(Answering):
    """What a handler does with the head of a request."""

    max_request_line = 8192
    """The most octets of a request line (int); else 414, or 501 if it is the method that is long."""

    max_head = 65536
    """The most octets of a head (int); else 431."""

    max_fields = 100
    """The most fields of a head, and of trailers (int); else 431."""

    __slots__ = ("__check", "__checked", "__complete", "__empty_lines", "__sink", "_http_bad_line",
                 "_http_drips", "_http_is_last", "_http_waits_since", "headers", "host", "ibuffer", "op",
                 "path", "reading_headers", "target")  # fmt: skip

    def __init__(self):
        Answering.__init__(self)
        self.op = self.target = self.path = self.host = ""
        self.headers = NO_FIELDS
        self.ibuffer = []
        self.reading_headers = True
        self.max_payload = self.max_head
        self.__sink = None  # what is received goes there, and not into ibuffer
        self.__complete = None  # what is to be called when a part other than a head has come
        self.__check = None  # likewise, with what has come of a part
        self.__checked = 0  # octets of a head that drips in that were found right
        self.__empty_lines = 0
        self._http_drips = False  # a head comes in parts
        self._http_bad_line = ""  # the request line of a head that was refused
        self._http_is_last = False  # this request, whatever the client wants
        self._http_waits_since = monotonic()  # for what is due of the client
        self.set_terminator(HEAD_END)

    # What the conversation calls

    def collect_incoming_data(self, data):
        """Take *data*, a part of a head or a body (bytes)."""
        if self.__sink is None:
            self.ibuffer.append(data)
        else:
            self.__sink(data)

    def _ac_collect_partial(self, data):
        self.collect_incoming_data(data)
        if self.__sink is not None or not (self.reading_headers or self.__check):
            return False
        octets = b"".join(self.ibuffer)
        self.ibuffer[:] = [octets]
        try:
            if self.reading_headers:
                return self.__head_begins(octets)
            self.__check(octets)
        except HTTPError as error:
            self._http_refuse(error)
        return False

    def found_terminator(self):
        """Act upon a part of a message that is complete."""
        try:
            if self.reading_headers:
                if self._http_drips:
                    self.__line_received()
                else:
                    self.__head_received(self._http_take_collected())
            elif self.__complete is not None:
                self.__complete()
        except Exception as error:
            self._http_failed(error)

    def handle_overlong_payload(self):
        """Refuse a head, or a line in a body, that has no end."""
        self._http_refuse(HTTPError(431 if self.reading_headers else 413, "what was sent is too long"))

    def _http_receive(self, terminator, complete, sink=None, check=None):
        """Have *complete* called at *terminator*, *sink* with what comes before, *check* with a beginning of that.

        Without *sink*, it is kept for ``_http_take_collected()``.
        """
        self.__complete = complete
        self.__sink = sink
        self.__check = check
        self.set_terminator(terminator)

    def _http_take_collected(self):
        octets = b"".join(self.ibuffer)
        self.ibuffer.clear()
        return octets

    # Heads

    def __head_begins(self, octets):
        """Have a head that does not come at once come line by line, so as to refuse at once what is wrong."""
        begins = not self._http_drips
        if begins:
            self._http_drips = True
            self._http_waits_since = monotonic()
            self.set_terminator(_LINE_END)
            octets = self.__skip_empty_lines(octets)
            self.ibuffer[:] = [octets]
        self.__check_head(octets)
        return begins

    def __check_head(self, octets):
        if len(octets) > self.max_head:
            raise HTTPError(431, "the head is too long")
        self.__checked = check_beginning(octets, self.__checked, self.max_fields, self.max_request_line)

    def __line_received(self):
        octets = self._http_take_collected()
        if octets.endswith(_LINE_END):
            self.__head_received(octets[: -len(_LINE_END)])
            return
        octets = self.__skip_empty_lines(octets + _LINE_END)
        if octets:
            self.ibuffer.append(octets)
            self.__check_head(octets)

    def __skip_empty_lines(self, octets):
        while octets.startswith(_LINE_END):
            octets = octets[len(_LINE_END) :]
            self.__empty_lines += 1
        if self.__empty_lines > _MOST_EMPTY_LINES:
            raise HTTPError(400, "there are too many empty lines before the request")
        return octets

    def __head_received(self, octets):
        self._http_new_answer()
        if not octets or octets[0] == _LINE_END[0]:
            octets = self.__skip_empty_lines(octets or HEAD_END)
            if not octets:
                return
        self.__empty_lines = self.__checked = 0
        self._http_drips = False
        try:
            self.parse_headers(octets)
        except HTTPError:
            self._http_forget_request(octets)
            raise
        self.reading_headers = False
        self._http_head_received()

    def parse_headers(self, octets):
        """Make of *octets*, a head (bytes), the attributes of the request; HTTPError if it is not to be served."""
        method, target, minor, fields, index = parse_head(octets, self.max_fields, self.max_request_line)
        self.command = method
        self.op = _METHODS.get(method) or Method(method)
        self.target = target
        self.minor_version = minor
        self.path, self.host = parse_target(method, target, index, minor)
        self.headers = Fields(fields, index)
        self.body = b""
        self.cgi_data = None
        self.trailers = NO_FIELDS
        self.close_connection = self._http_is_last or (
            not is_persistent(index, minor) if "connection" in index else minor == 0
        )

    def _http_forget_request(self, octets):
        """Have nothing of the request before stand for one that cannot be read, of which *octets* have come."""
        self._http_new_answer()
        self.command = "HEAD" if octets.startswith(b"HEAD ") else ""  # which has no body, whatever the answer
        self.op = self.target = self.path = self.host = ""
        self.minor_version = 1
        self.headers = NO_FIELDS
        self._http_bad_line = octets.partition(_LINE_END)[0].decode("latin-1")
