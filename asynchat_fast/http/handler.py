"""``http_request_handler``: the class that programs derive from, with the attributes and methods that they use."""

import sys
from typing import Any, Generic

from . import pages
from .access_log import FORMATS, log_writer
from .connection import State
from .fields import NO_FIELDS, Fields, Method
from .forwarded import Forwarded
from .head import parse_head
from .hooks import Sessions
from .message_framing import parse_target
from .response_bodies import Body, Data, close_source
from .response_head import Headers
from .response_writer import Progress
from .server_names import ServerNames
from .settings import ParsedHead

__all__ = ["http_request_handler"]

_NOT_PARSED = object()

# The methods of RFC 9110 and 5789: 405 if the class does not define one; any other method gets 501.
_METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"])

_NAMES = {method: sys.intern(f"do_{method}") for method in _METHODS}  # CPython caches attributes by interned names
_NO_PAGE = frozenset([204, 205, 304])  # statuses whose response has no content: no error page either
_OPS = {method: Method(method) for method in _METHODS}


class http_request_handler(ServerNames, Generic[Sessions]):
    """A connection of an HTTP/1.1 server: it receives one request after the other, and responds to each.

    Subclasses define ``do_GET()`` and the like, or ``handle_request()``.  *conn* (or *sock*) is the
    connected socket, *addr* the address of the client, *sessions* an object that the program shares among
    its handlers, and *log* takes the access log: a function, a ``logging.Logger``, or any object with a
    method ``log`` or ``write``; None is the logger ``asynchat_fast.http.access``.  *map* is the asyncore
    map (dict) to join.  TypeError for any other *log*.  A handler is an ``async_chat`` with
    ``coalesce_pushes``.  For type checkers, ``sessions`` of an ``http_request_handler[Store]`` is a Store.

    Sources: the asynchat documentation's example of this name, RFC 9110 and 9112, ``http.server``.
    """

    __slots__ = (
        "__data",
        "__is_filled",
        "__write_log",
        "_ac_bad_line",
        "body",
        "command",
        "headers",
        "host",
        "minor_version",
        "op",
        "path",
        "target",
        "trailers",
    )

    _ac_peer: Any = None  # the address that the connection came from
    _ac_forwarded: Forwarded | None = None

    def __init__(
        self,
        conn: Any = None,
        addr: Any = None,
        sessions: Sessions = None,  # type: ignore[assignment]
        log: Any = None,
        *,
        sock: Any = None,
        map: dict[int, Any] | None = None,
    ) -> None:
        self.__write_log = log_writer(log)
        self.__data: Any = None
        self.__is_filled = False  # parse_headers() of this class has run
        self._ac_bad_line = ""  # the request line of a head that was refused
        self.command = self.target = self.path = self.host = self.op = ""
        self.minor_version = 1
        self.headers = self.trailers = NO_FIELDS
        self.body = b""
        ServerNames.__init__(self, conn if sock is None else sock, map)
        if addr is not None:
            self.addr = addr
        self.sessions: Sessions = sessions  #: As given.
        self.log = log  # type: ignore[method-assign]
        self.obuffer = b""  #: Empty; asynchat's example has it.

    # The request

    def parse_headers(self, data: bytes) -> ParsedHead | None:
        """Parse *data*, a head (bytes), into the attributes of the request; HTTPError refuses it.

        An override may return None: then the connection parses the head once more for itself.
        """
        method, target, minor, fields, index = parse_head(data, self.max_fields, self.max_request_line)
        self.command = method
        self.op = _OPS.get(method) or Method(method)
        self.target = target
        self.minor_version = minor
        self.path, self.host = parse_target(method, target, index, minor)
        self.headers = Fields(fields, index)
        self.trailers = NO_FIELDS
        self.body = b""
        self.__data = None
        self.__is_filled = True
        return method, minor, index

    def _ac_parse_again(self, data: bytes) -> ParsedHead:
        """Parse the head for the connection, after an override has returned None; set the attributes it left out."""
        if self.__is_filled:  # the override has called the inherited method
            self.__is_filled = False
            return super()._ac_parse_again(data)
        op, headers = self.op, self.headers
        method, minor, index = http_request_handler.parse_headers(self, data) or ("", 1, {})
        self.op, self.headers, self.__is_filled = op, headers, False
        return method, minor, index

    @property
    def addr(self) -> Any:
        """The address of the client: the peer's, or behind trusted proxies the one that they have passed on."""
        forwarded = self._ac_forwarded
        return self._ac_peer if forwarded is None else forwarded.client(self._ac_peer, self._ac_connection.index)

    @addr.setter
    def addr(self, addr: Any) -> None:
        self._ac_peer = addr

    @property
    def scheme(self) -> str:
        """The scheme of the request (str): "https" if the client uses TLS, with this server or a proxy; or "http"."""
        forwarded, header = self._ac_forwarded, self._ac_of_socket("_ac_proxy")
        told = forwarded and forwarded.scheme(self._ac_peer, self._ac_connection.index)
        if told:
            return told
        version = getattr(type(self.socket), "version", None)  # of TLS
        is_secure = version is not None and version(self.socket) is not None
        return "https" if is_secure or (header is not None and header.tls is not None) else "http"

    @property
    def reading_headers(self) -> bool:
        """Whether a head is awaited (bool)."""
        return self._ac_connection.state in (State.IDLE, State.HEAD)

    @reading_headers.setter
    def reading_headers(self, value: bool) -> None:
        pass  # asynchat's example assigns it, and so do programs: ignored, because the connection has the state

    @property
    def handling(self) -> bool:
        """Whether a request is complete, and its response is not (bool)."""
        return self._ac_connection.state is State.HANDLING

    @handling.setter
    def handling(self, value: bool) -> None:
        pass  # ignored, as above

    @property
    def cgi_data(self) -> Any:
        """The result of ``parse_body()``, which is called at the first access; None without a body."""
        if self.__data is _NOT_PARSED:
            self.__data = self.parse_body(self.headers, self.body)
        return self.__data

    @cgi_data.setter
    def cgi_data(self, data: Any) -> None:
        self.__data = data

    @property
    def close_connection(self) -> bool:
        """Whether the connection is closed after this response (bool); may be set to True before the response."""
        return self._ac_connection.writer.closes

    @close_connection.setter
    def close_connection(self, closes: bool) -> None:
        self._ac_connection.writer.closes = bool(closes)

    def _ac_wants_body(self) -> bool:
        """Return whether a method of the program may read the body of the request; else it need not be kept."""
        if self.stream_body or not self.keep_body:
            return self.stream_body
        return type(self).handle_request is not http_request_handler.handle_request or self.__has_method()

    def __has_method(self) -> bool:
        return hasattr(self, f"do_{self.command}") or (self.command == "HEAD" and hasattr(self, "do_GET"))

    def _ac_take_body(self) -> None:
        reader = self._ac_connection.reader
        self.body, self.trailers = reader.body, reader.trailers
        reader.body, reader.trailers = b"", NO_FIELDS
        self.__data = _NOT_PARSED if self.body else None

    def _ac_forget_request(self, data: bytes) -> None:
        """Replace the attributes of the last request, as *data*, the next head, cannot be parsed."""
        if not self.reading_headers:
            return
        self.command = "HEAD" if data.startswith(b"HEAD ") else ""  # the response to a HEAD must not have a body
        self.op = self.target = self.path = self.host = ""
        self.minor_version = 1
        self.headers = NO_FIELDS
        line = data.lstrip(b"\r\n").partition(b"\r\n")[0]
        self._ac_bad_line = line[: self.max_request_line].decode("latin-1")
        self._ac_connection.refuse(self.command)

    # Handling it

    def handle_request(self) -> Any:
        """Handle the complete request: call ``do_GET()`` or the like, by the name of the method.

        An override responds, now or later, by ``respond()``, by ``write()`` and ``finish()``, or as handlers
        for ``http.server`` do, and returns None.  If it returns another value without a response, the response is
        500.  In an asyncio program, it may return a coroutine, which is run as a task.
        """
        method = getattr(self, _NAMES.get(self.command) or f"do_{self.command}", None)
        if method is None and self.command == "HEAD":
            method = getattr(self, "do_GET", None)
        if method is not None:
            return method()
        if self.command == "OPTIONS":
            self.respond(200, headers=[("Allow", self.__allowed())])
        elif self.command in _METHODS:
            explain = f"This address does not take {self.command}."
            self.send_error(405, explain=explain, headers=[("Allow", self.__allowed())])
        else:
            self.send_error(501)
        return None

    def __allowed(self) -> str:
        methods = {name for name in _METHODS if hasattr(self, f"do_{name}")} | {"OPTIONS"}
        if "GET" in methods:
            methods.add("HEAD")
        return ", ".join(sorted(methods))

    # The response

    def respond(self, status: int, body: Body = b"", headers: Headers = (), content_type: str | None = None) -> None:
        """Send a whole response with *status* (int) and *body*.

        *body* is bytes-like; a str, which is sent in UTF-8; a file that is open for reading bytes; or a
        producer or an iterable of bytes or str, whose next part is taken when the client has taken the last one.
        *headers* are pairs of name and value, or a mapping; *content_type* (str) None is
        ``default_content_type``, unless *headers* has one.  RuntimeError if there is a response already,
        ValueError for values that cannot be sent in a head, TypeError for an argument of a wrong type.
        """
        if self.connected:
            connection = self._ac_connection
            items = connection.send(connection.writer.respond, status, body, headers, content_type, self)
            if len(items) > 1:
                self._ac_send_whole(items)
                return
            self.push(items[0])  # type: ignore[arg-type]  # one alone is bytes
            self._ac_end_response()
        else:
            close_source(body)
            self._ac_close_unconnected()

    def write(self, data: Data) -> None:
        """Send *data* (bytes-like or str) as a part of the body; more follows until ``finish()`` is called.

        The status is 200 unless ``send_response()`` was called before.  ValueError for more bytes than
        Content-Length says, RuntimeError if the response is complete already.
        """
        if self.connected:
            self._ac_send(self._ac_connection.send(self._ac_connection.writer.write, data, self))

    def finish(self) -> None:
        """Complete the response that ``write()`` began; without one, send an empty response with status 200."""
        connection = self._ac_connection
        if self.connected and connection.writer.progress not in (Progress.STREAM, Progress.DONE):
            self._ac_send(connection.send(connection.writer.finish, self))
            self._ac_end_response()

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None, headers: Headers = ()
    ) -> None:
        """Respond with an error page, and close the connection.

        *code* is the status (int); *message* and *explain* are the texts of the page (str), None for the usual
        ones; *headers* are as for ``respond()``.  If the head of another response was sent before, the connection is
        closed without an error page.
        """
        if not self._ac_connection.writer.take_back():
            self._ac_cut()
            return
        self.close_connection = True
        page = "" if code in _NO_PAGE else self.error_page(int(code), message, explain)
        self.respond(code, page, headers, self.error_content_type)

    def error_page(self, code: int, message: str | None = None, explain: str | None = None) -> str:
        """Return the error page (str) for ``send_error()``."""
        return pages.error_page(code, message, explain)

    # The access log

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write a line to the access log, for a response with status *code* and a body of *size* bytes."""
        if self.__write_log is not None:
            self.__write_log(FORMATS[self.log_format](self, code, size))
