"""What a conversation asks of what carries it, and nothing else.

``async_chat`` is a conversation on an ``asyncore.dispatcher``, which provides all of this.
"""

import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar

__all__ = ["BYTES_LIKE", "BytesLike", "Transport", "reporting", "wants_read", "wants_write", "would_block"]

BYTES_LIKE = (bytes, bytearray, memoryview)
BytesLike: TypeAlias = bytes | bytearray | memoryview


class Transport(Protocol):
    """The other end of a conversation's methods; each is looked up on the object at each call."""

    connected: bool

    def recv(self, buffer_size: int) -> Any:
        """Return at most *buffer_size* received bytes; at the end of input call ``handle_close()``, return ``b""``."""

    def send(self, data: Any) -> int:
        """Send *data* (bytes-like), and return how many bytes of it were taken; OSError if none ever will be."""

    def handle_close(self) -> None:
        """Close, as the peer has, or as all that was to be sent is sent."""

    def handle_error(self) -> None:
        """Act upon the exception that is being handled."""

    def log_info(self, message: str, type: str = "info") -> None:
        """Log *message* at the level *type*."""


_F = TypeVar("_F", bound=Callable[..., object])


def reporting(function: _F) -> _F:
    """Mark *function*, a channel's ``readable()`` or ``writable()``: what it would return changes not unreported.

    The event loop looks for the mark on the type of a channel, and asks only those in each pass whose
    functions have none.
    """
    function._ac_reports = True  # type: ignore[attr-defined]
    return function


def _is_ssl_error(error: OSError, *names: str) -> bool:
    ssl = sys.modules.get("ssl")  # a program that raises its errors has imported it
    return ssl is not None and isinstance(error, tuple(getattr(ssl, name) for name in names))


def wants_read(error: OSError) -> bool:
    """Tell whether *error* is that of a TLS socket which can do nothing before it has received."""
    return _is_ssl_error(error, "SSLWantReadError")


def wants_write(error: OSError) -> bool:
    """Tell whether *error* is that of a TLS socket which can do nothing before it has sent."""
    return _is_ssl_error(error, "SSLWantWriteError")


def would_block(error: OSError) -> bool:
    """Tell whether *error* means "not now" rather than "failed"."""
    return isinstance(error, BlockingIOError) or _is_ssl_error(error, "SSLWantReadError", "SSLWantWriteError")
