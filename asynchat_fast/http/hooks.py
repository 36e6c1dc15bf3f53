"""What a program may override of a handler, and what is said in its logs."""

import contextlib
import logging
import sys
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

from .fields import Fields
from .response_head import Headers
from .settings import Settings

__all__ = ["Hooks"]

_MOST_FORM_FIELDS = 10_000


@lru_cache(maxsize=64)
def _report_log_failure(failure: str) -> None:
    """Say *failure* on stderr, once: a response never depends on the log."""
    with contextlib.suppress(Exception):
        print(f"asynchat_fast: the access log failed: {failure}", file=sys.stderr)


class Hooks(Settings):
    """The methods of a handler that its channel calls, as they are unless a program has others."""

    __slots__ = ()

    ac_logger = logging.getLogger("asynchat_fast.http")
    """Where everything but the access log goes (logging.Logger)."""

    # What the request says is kept by http_request_handler.
    command: str
    target: str
    body: bytes
    minor_version: int
    addr: Any
    _ac_bad_line: str  # the request line of a head that was refused

    def handle_head(self) -> None:
        """Called when the head of a request has come, before its body is read; may respond, or set ``stream_body``."""

    def body_data(self, view: memoryview) -> None:
        """Take *view* (memoryview), the next bytes of a body with ``stream_body``; to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} must define body_data()")

    def parse_body(self, headers: Fields, data: bytes) -> Any:
        """Return what is to be ``cgi_data``, of the *headers* (Fields) and the body *data* of a request.

        That is a dict, name -> list of values (str), for a form, and *data* for anything else, be it one
        that says it is a form.
        """
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            return data
        try:
            return parse_qs(data.decode(), keep_blank_values=True, max_num_fields=_MOST_FORM_FIELDS)
        except ValueError:
            return data

    def handle_upgrade(self) -> bool:
        """Take the connection over for another protocol, and tell whether that has been done; by default it is not.

        To take it, send 101 by ``send_response()``, ``send_header()`` and ``end_headers()``, bind
        ``collect_incoming_data`` and ``found_terminator`` of this object to what is to be called
        from then on, and set the terminator.
        """
        return False

    def handle_request(self) -> Any:
        """Handle the request, which is complete."""
        raise NotImplementedError(f"{type(self).__name__} must define handle_request()")

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None, headers: Headers = ()
    ) -> None:
        """Answer with an error page and close."""
        raise NotImplementedError(f"{type(self).__name__} must define send_error()")

    def finish(self) -> None:
        """Be done with the request, whose response was begun."""
        raise NotImplementedError(f"{type(self).__name__} must define finish()")

    def _ac_wants_body(self) -> bool:
        """Tell whether anybody could read the body of the request."""
        return self.stream_body or self.keep_body

    def _ac_take_body(self) -> None:
        """Take the body of the request from the connection."""

    def _ac_forget_request(self, data: bytes) -> None:
        """Have nothing of the request before stand for one that cannot be read, of which *data* has come."""

    # The request, and its client

    @property
    def requestline(self) -> str:
        """The request line (str)."""
        return self._ac_bad_line or f"{self.command} {self.target} {self.request_version}"

    @property
    def request_version(self) -> str:
        """The version of the request, "HTTP/1.1" or another minor one (str)."""
        return f"HTTP/1.{self.minor_version}"

    def address_string(self) -> str:
        """Return the host of the client (str), one of IPv4 as such at an IPv6 socket, too; "-" at a unix socket."""
        addr = self.addr
        return str(addr[0]).removeprefix("::ffff:") if isinstance(addr, tuple) else "-"

    # Logs

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log a request that was answered with status *code* and a body of *size* bytes."""

    def log_message(self, format: str, *args: object) -> None:
        """Log a message for the administrator."""
        self.ac_logger.info("%s: " + format, self.address_string(), *args)

    def log_error(self, format: str, *args: object) -> None:
        """Log an error."""
        self.ac_logger.error("%s: " + format, self.address_string(), *args)

    def log_info(self, message: object, type: str = "info") -> None:
        """Log what asyncore and the channel have to say, by Python's logging."""
        level = {"error": logging.ERROR, "warning": logging.WARNING}.get(type, logging.DEBUG)
        self.ac_logger.log(level, "%s", message)

    def _ac_log_exception(self) -> None:
        self._ac_log("%r was not served", self.requestline, exc_info=True)

    def _ac_log(self, format: str, *args: object, exc_info: bool = False) -> None:
        """Log an error; what the log does about it is no matter of the connection's."""
        with contextlib.suppress(Exception):
            self.ac_logger.error("%s: " + format, self.address_string(), *args, exc_info=exc_info)

    def _ac_log_response(self, status: int, size: int) -> None:
        """Log a response, without letting a log that fails harm it."""
        try:
            self.log_request(status, size)
        except Exception as error:
            _report_log_failure(f"{type(error).__name__}: {error}")
