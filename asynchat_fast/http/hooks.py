"""The methods of a handler that programs may override, and those that log."""

import contextlib
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from .access_log import report_failure
from .fields import Fields, Method
from .response_bodies import BYTES
from .response_head import Headers
from .settings import Settings

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Sessions = TypeVar("Sessions", default=Any)
else:
    from typing import TypeVar

    Sessions = TypeVar("Sessions")

__all__ = ["Hooks", "Sessions"]

_MOST_FORM_FIELDS = 10_000


class Hooks(Settings):
    """The methods of a handler that its channel calls, with their defaults."""

    __slots__ = ()

    ac_logger = logging.getLogger("asynchat_fast.http")
    """The logger for everything except the access log (logging.Logger)."""

    # http_request_handler sets these for each request.

    command: str
    """The method of the request, such as "GET"."""

    op: Method | str
    """The method, which is equal to its name as str and as bytes."""

    target: str
    """The target as the request line has it, which may be a whole URI."""

    path: str
    """Path and query as they were sent, not decoded."""

    host: str
    """The requested host, with the port if one was sent; empty in HTTP/1.0 without a Host field."""

    minor_version: int
    """1 for HTTP/1.1, 0 for HTTP/1.0."""

    headers: Fields
    """The fields of the head."""

    trailers: Fields
    """The fields after a body in chunks."""

    body: bytes
    """The body, empty if it was streamed or not kept."""

    addr: Any
    """The address of the client, as ``accept()`` returns it."""

    _ac_bad_line: str  # the request line of a head that was refused
    _ac_health: Any = None  # the Health of the server, if it responds to health checks

    def handle_head(self) -> None:
        """Act upon the head of a request, before the body is received, such as by a response or ``stream_body``."""

    def body_data(self, view: memoryview) -> None:
        """Take *view* (memoryview), the next bytes of a body with ``stream_body``; define this for it."""
        raise NotImplementedError(f"{type(self).__name__} must define body_data()")

    def parse_body(self, headers: Fields, data: bytes) -> Any:
        """Return the value of ``cgi_data`` for a request with *headers* (Fields) and the body *data* (bytes).

        For a form that is a dict, name to list of values (str); for anything else, and for a form that
        cannot be parsed, it is *data*.
        """
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            return data
        try:
            return parse_qs(data.decode(), keep_blank_values=True, max_num_fields=_MOST_FORM_FIELDS)
        except ValueError:
            return data

    def handle_upgrade(self) -> bool:
        """Decide whether to switch to another protocol, which the client has offered; return False by default.

        An override that returns True must have sent a 101 by ``send_response()``, ``send_header()`` and
        ``end_headers()``, have set ``collect_incoming_data`` and ``found_terminator`` of this object to the
        functions of the new protocol, and have set the terminator.
        """
        return False

    def handle_request(self) -> Any:
        """Handle the complete request."""
        raise NotImplementedError(f"{type(self).__name__} must define handle_request()")

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None, headers: Headers = ()
    ) -> None:
        """Respond with an error page, and close the connection."""
        raise NotImplementedError(f"{type(self).__name__} must define send_error()")

    def finish(self) -> None:
        """Complete the response that was begun."""
        raise NotImplementedError(f"{type(self).__name__} must define finish()")

    def _ac_wants_body(self) -> bool:
        """Return whether a method of the program may read the body of the request."""
        return self.stream_body or self.keep_body

    def _ac_take_body(self) -> None:
        """Take the body of the request from the connection."""

    def _ac_forget_request(self, data: bytes) -> None:
        """Replace the attributes of the last request, as *data*, the next head, cannot be parsed."""

    # The request, and its client

    @property
    def requestline(self) -> str:
        """The request line."""
        return self._ac_bad_line or f"{self.command} {self.target} {self.request_version}"

    @property
    def request_version(self) -> str:
        """The version of the request, "HTTP/1.1" or "HTTP/1.0"."""
        return f"HTTP/1.{self.minor_version}"

    def address_string(self) -> str:
        """Return the address of the client without its port (str); "-" at a unix socket."""
        addr = self.addr
        return str(addr[0]).removeprefix("::ffff:") if isinstance(addr, tuple) else "-"

    # Logs

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write a line to the access log, for a response with status *code* and a body of *size* bytes."""

    def log_message(self, format: str, *args: object) -> None:
        """Log *format* % *args* to ``ac_logger`` at the level INFO."""
        self.ac_logger.info("%s: " + format, self.address_string(), *args)

    def log_error(self, format: str, *args: object) -> None:
        """Log *format* % *args* to ``ac_logger`` at the level ERROR."""
        self.ac_logger.error("%s: " + format, self.address_string(), *args)

    def log_info(self, message: object, type: str = "info") -> None:
        """Log *message*, of asyncore or the channel, to ``ac_logger``.

        The *type* "error" is logged at the level ERROR, "warning" at WARNING, and any other, such as "info", at DEBUG.
        """
        level = {"error": logging.ERROR, "warning": logging.WARNING}.get(type, logging.DEBUG)
        self.ac_logger.log(level, "%s", message)

    def _ac_log_exception(self) -> None:
        self._ac_log("%r was not served", self.requestline, exc_info=True)

    def _ac_log(self, format: str, *args: object, exc_info: bool = False) -> None:
        """Log an error; an exception of the logger must not end the connection."""
        with contextlib.suppress(Exception):
            self.ac_logger.error("%s: " + format, self.address_string(), *args, exc_info=exc_info)

    def _ac_log_response(self, status: int, size: int) -> None:
        """Write a response to the access log; an exception of the log must not end the connection."""
        try:
            self.log_request(status, size)
        except Exception as error:
            report_failure(type(self).log_request, error)

    _ac_unlogged: tuple[int, int] | None
    # The status and size of a response that was pushed, and is not logged yet; HTTPChannel has the slot for it.

    def _ac_log_unlogged(self: Any, unsent: int = 0) -> None:
        """Log the response that was not logged yet, of which *unsent* bytes were not sent."""
        unlogged, self._ac_unlogged = self._ac_unlogged, None
        if unlogged is not None:
            self._ac_log_response(unlogged[0], max(unlogged[1] - unsent, 0))

    def _ac_log_sent(self: Any) -> None:
        """Log the response that was not logged yet, if all of it was sent."""
        if self._ac_unlogged is not None and not self._ac_is_sending():
            self._ac_log_unlogged()

    def _ac_log_cut(self: Any, cut: tuple[int, int] | None) -> None:
        """Log the response that closing has cut: *cut*, its status and size, or else the one not logged yet."""
        self._ac_unlogged = cut or self._ac_unlogged
        if self._ac_unlogged is not None:
            self._ac_log_unlogged(sum(len(item) for item in self.producer_fifo or () if isinstance(item, BYTES)))
