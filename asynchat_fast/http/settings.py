"""The attributes of a handler that programs may set: limits, timeouts, and defaults for responses."""

from typing import TypeAlias

from .fields import Index
from .head import parse_head

__all__ = ["ParsedHead", "Settings"]

ParsedHead: TypeAlias = tuple[str, int, Index]
"""The parts of a head that a connection needs: method, minor version, and the index of the fields."""


class Settings:
    """The attributes of a handler that the parts of its connection read, whenever they need one.

    A timeout of 0 or None is no limit; a ``linger_timeout`` of 0 or None closes the connection at once.
    """

    __slots__ = ()

    max_request_line: int = 8192
    """The most bytes of a request line; a longer one gets 414, or 501 if the method is that long."""

    max_head: int = 65536
    """The most bytes of a head; a longer one gets 431."""

    max_fields: int = 100
    """The most fields of a head, and of trailers; more get 431."""

    max_body: int = 1 << 24
    """The most bytes of a body that is kept in memory; a longer one gets 413.  Bodies not kept have no limit."""

    max_trailers: int = 8192
    """The most bytes of the trailers after a body in chunks; more get 431."""

    max_chunk_extensions: int = 1 << 14
    """The most bytes of the extensions of all chunks of a body; more get 413."""

    stream_body: bool = False
    """Whether ``body_data()`` is called with the parts of a body as they arrive; the body is not kept then."""

    keep_body: bool = True
    """Whether a body is kept for ``body``, ``rfile`` and ``cgi_data``; else it is discarded as it arrives."""

    head_timeout: float | None = 20
    """Seconds from the first byte of a head to its end; a slower one gets 408."""

    body_timeout: float | None = 20
    """Seconds that a body may be behind ``min_body_rate``; a slower one gets 408."""

    min_body_rate: float | None = 1000
    """Bytes of a body that must arrive each second, on average; see ``body_timeout``."""

    response_timeout: float | None = 60
    """Seconds for the handler to begin its response; after that, the response is 503."""

    keep_alive_timeout: float | None = 30
    """Seconds without a request, at first or after a response, after which the connection is closed."""

    write_timeout: float | None = 30
    """Seconds in which the client takes none of the waiting data, after which the connection is closed."""

    linger_timeout: float | None = 2
    """Seconds for the client to close the connection after all data has left this machine; 0 closes at once."""

    server_version: str = "asynchat_fast"
    """The value of the Server field; empty for no such field."""

    default_content_type: str = "text/plain; charset=utf-8"
    """The Content-Type of a response for which ``respond()`` is given none; empty for no such field."""

    log_format: str = "common"
    """The format of the access log: "common", "combined", "json", or "coloured" for a terminal."""

    def parse_headers(self, data: bytes) -> ParsedHead | None:
        """Return the parts of *data*, a head, or None to let the connection parse it; HTTPError refuses it."""
        return self._ac_parse_again(data)

    def _ac_parse_again(self, data: bytes) -> ParsedHead:
        """Parse *data*, a head, for the connection, if an override of ``parse_headers()`` has returned None."""
        method, _, minor, _, index = parse_head(data, self.max_fields, self.max_request_line)
        return method, minor, index
