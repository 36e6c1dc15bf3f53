"""What a program may set of a handler: limits, timeouts, and what its responses say by default."""

from typing import TypeAlias

from .fields import Index
from .head import parse_head

__all__ = ["ParsedHead", "Settings"]

ParsedHead: TypeAlias = tuple[str, int, Index]
"""What a connection must know of a head: method, minor version, and the index of the fields."""


class Settings:
    """The attributes of a handler that the parts of its connection look up, each when it needs it.

    A timeout of 0 or None is no limit, but for ``linger_timeout``, with which the connection is closed at once.
    """

    __slots__ = ()

    max_request_line: int = 8192
    """The most bytes of a request line; else 414, or 501 if it is the method that is long."""

    max_head: int = 65536
    """The most bytes of a head; else 431."""

    max_fields: int = 100
    """The most fields of a head, and of trailers; else 431."""

    max_body: int = 1 << 24
    """The most bytes of a body that is kept in memory; else 413.  There is no limit for one that is not kept."""

    max_trailers: int = 8192
    """The most bytes of the trailers after a body in chunks; else 431."""

    max_chunk_extensions: int = 1 << 14
    """The most bytes of what chunks of a body have besides their sizes, in all; else 413."""

    stream_body: bool = False
    """Whether ``body_data()`` is given the body as it comes, which is not kept, then."""

    keep_body: bool = True
    """Whether a body is kept for ``body``, ``rfile`` and ``cgi_data``; else what comes is discarded."""

    head_timeout: float | None = 20
    """Seconds from the first byte of a head to its end; then the response is 408."""

    body_timeout: float | None = 20
    """Seconds that a body may be behind ``min_body_rate``; then the response is 408."""

    min_body_rate: float | None = 1000
    """Bytes of a body that are due each second, see ``body_timeout``."""

    response_timeout: float | None = 60
    """Seconds that a handler may take to begin its response; then it is 503."""

    keep_alive_timeout: float | None = 30
    """Seconds between a response that has left and the next request, after which the connection is closed."""

    write_timeout: float | None = 30
    """Seconds for which the client may take nothing of what waits to be sent; then the connection is closed."""

    linger_timeout: float | None = 2
    """Seconds that the client has to close the connection, once all has left this machine."""

    server_version: str = "asynchat_fast"
    """What the Server field says; empty for no such field."""

    default_content_type: str = "text/plain; charset=utf-8"
    """The Content-Type of a body for which ``respond()`` is told none; empty for none."""

    log_format: str = "common"
    """The format of the access log: "common", or "combined", which has Referer and User-Agent, too."""

    def parse_headers(self, data: bytes) -> ParsedHead | None:
        """Return what *data*, a head, says; None leaves it to the connection.  HTTPError refuses it."""
        return self._ac_parse_again(data)

    def _ac_parse_again(self, data: bytes) -> ParsedHead:
        """Return what *data*, a head, says, where an override of ``parse_headers()`` has returned nothing."""
        method, _, minor, _, index = parse_head(data, self.max_fields, self.max_request_line)
        return method, minor, index
