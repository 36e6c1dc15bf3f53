"""The names that handlers written for ``http.server`` rely on, beside those that ``http_request_handler`` shares."""

import io
import time
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from .dates import format_date
from .exchange import Exchange
from .response_bodies import Data, WriteFile, as_bytes
from .response_head import Value

__all__ = ["ServerNames"]


class ServerNames(Exchange):
    """What ``BaseHTTPRequestHandler`` has, made of what there is here."""

    __slots__ = ()

    server: Any = None
    """The ``http_server`` that accepted the connection; None if another did."""

    protocol_version = "HTTP/1.1"
    """The version of the responses (str)."""

    sys_version = ""
    error_content_type = "text/html; charset=utf-8"
    responses = MappingProxyType({status: (status.phrase, status.description) for status in HTTPStatus})

    @property
    def rfile(self) -> io.BytesIO:
        """The body of the request, as a file."""
        return io.BytesIO(self.body)

    @property
    def wfile(self) -> WriteFile:
        """Where the body may be written to (a file), after ``end_headers()``."""
        return WriteFile(self.__write)

    def __write(self, data: Data) -> int:
        if self.connected:
            self._ac_send(self._ac_connection.send(self._ac_connection.writer.write_body, data))
        return len(as_bytes(data))

    @property
    def client_address(self) -> Any:
        """The address of the client, ``addr`` by its name in http.server."""
        return self.addr

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begin a response with *code* (int) and a reason of *message* (str), None for the usual one."""
        if self.connected:
            self._ac_connection.writer.start(code, message)

    def send_response_only(self, code: int, message: str | None = None) -> None:
        """Do what ``send_response()`` does: Date and Server are added with the head."""
        self.send_response(code, message)

    def send_header(self, keyword: str, value: Value) -> None:
        """Add a field to the head; ValueError if *keyword* (str) or *value* (str, bytes or number) would break it."""
        if self.connected:
            self._ac_connection.writer.add_header(keyword, value)

    def end_headers(self) -> None:
        """Send the head."""
        if self.connected:
            self._ac_send(self._ac_connection.send(self._ac_connection.writer.end_headers, self))

    def flush_headers(self) -> None:
        """Do nothing: ``end_headers()`` has sent the head."""

    def version_string(self) -> str:
        """Return what the Server field says (str)."""
        return self.server_version

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return *timestamp* (seconds since the epoch), None for now, as HTTP has it (str)."""
        return format_date(int(time.time() if timestamp is None else timestamp))

    def log_date_time_string(self) -> str:
        """Return the time now as http.server's log has it (str)."""
        return time.strftime("%d/%b/%Y %H:%M:%S")
