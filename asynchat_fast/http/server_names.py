"""The attributes and methods that handlers written for ``http.server`` expect."""

import io
import time
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from .dates import format_date
from .exchange import Exchange
from .pages import HTML
from .response_bodies import Data, WriteFile, as_bytes
from .response_head import Value

__all__ = ["ServerNames"]


class ServerNames(Exchange):
    """The attributes and methods of ``BaseHTTPRequestHandler``, on top of those of this package."""

    __slots__ = ()

    server: Any = None
    """The ``http_server`` that accepted the connection, or None."""

    protocol_version = "HTTP/1.1"
    """The version of the responses (str)."""

    sys_version = ""
    """The version of Python in ``version_string()``: empty."""

    error_content_type = HTML
    """The Content-Type of the pages of ``error_page()`` (str)."""

    responses = MappingProxyType({status: (status.phrase, status.description) for status in HTTPStatus})
    """The reason and a description (pair of str) by status."""

    @property
    def rfile(self) -> io.BytesIO:
        """The body of the request as a file."""
        return io.BytesIO(self.body)

    @property
    def wfile(self) -> WriteFile:
        """A file that writes to the body of the response, after ``end_headers()``."""
        return WriteFile(self.__write)

    def __write(self, data: Data) -> int:
        if self.connected:
            self._ac_send(self._ac_connection.send(self._ac_connection.writer.write_body, data))
        return len(as_bytes(data))

    @property
    def client_address(self) -> Any:
        """The address of the client: ``addr``, by its name in ``http.server``."""
        return self.addr

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begin a response with status *code* (int) and the reason *message* (str), None for the usual one.

        RuntimeError if a response was begun already.
        """
        if self.connected:
            self._ac_connection.writer.start(code, message)

    def send_response_only(self, code: int, message: str | None = None) -> None:
        """Do what ``send_response()`` does; Date and Server are added with the head."""
        self.send_response(code, message)

    def send_header(self, keyword: str, value: Value) -> None:
        """Add a field to the head, with the name *keyword* (str) and *value* (str, bytes or number).

        ValueError for CR, LF or NUL in it, for a wrong name, a second Content-Length, and Transfer-Encoding.
        RuntimeError before ``send_response()`` and after ``end_headers()``.
        """
        if self.connected:
            self._ac_connection.writer.add_header(keyword, value)

    def end_headers(self) -> None:
        """Send the head; after a status below 200, another response follows."""
        if self.connected:
            self._ac_send(self._ac_connection.send(self._ac_connection.writer.end_headers, self))

    def flush_headers(self) -> None:
        """Do nothing: ``end_headers()`` has sent the head."""

    def version_string(self) -> str:
        """Return the value of the Server field (str)."""
        return self.server_version

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return *timestamp* (seconds since the epoch), None for now, in the format of HTTP (str)."""
        return format_date(int(time.time() if timestamp is None else timestamp))

    def log_date_time_string(self) -> str:
        """Return the time in the format of the log of ``http.server`` (str)."""
        return time.strftime("%d/%b/%Y %H:%M:%S")
