"""Transport: all methods that a conversation calls of the object that carries its bytes.

``async_chat`` is a conversation on an ``asyncore.dispatcher``, which provides all of this.
"""

import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar

from ._asyncore import asyncore

__all__ = [
    "BYTES_LIKE",
    "BytesLike",
    "Transport",
    "passing",
    "reads_directly",
    "reporting",
    "wants_read",
    "wants_write",
    "would_block",
]

BYTES_LIKE = (bytes, bytearray, memoryview)
BytesLike: TypeAlias = bytes | bytearray | memoryview


class Transport(Protocol):
    """The methods that a conversation calls; each is looked up on the object at each call."""

    connected: bool

    def recv(self, buffer_size: int) -> Any:
        """Return at most *buffer_size* received bytes; at the end call ``handle_close()`` and return ``b""``."""

    def send(self, data: Any) -> int:
        """Send *data* (bytes-like), and return how many bytes of it were taken; OSError if none ever will be."""

    def handle_close(self) -> None:
        """Close: the peer has closed, or everything up to ``close_when_done()`` is sent."""

    def handle_error(self) -> None:
        """Act upon the exception that is being handled."""

    def log_info(self, message: str, type: str = "info") -> None:
        """Log *message* at the level *type*."""


_F = TypeVar("_F", bound=Callable[..., object])


def reporting(function: _F) -> _F:
    """Mark *function*, a channel's ``readable()`` or ``writable()``: each change of its result is reported to the loop.

    The event loop looks for the mark on the type of a channel.  Channels whose functions have no mark are
    asked in each pass.
    """
    function._ac_reports = True  # type: ignore[attr-defined]
    return function


def passing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark *function*, a channel's ``handle_read()`` or ``recv()``: it passes on received bytes as they are.

    What carries a channel and has received may then call ``_ac_receive()`` itself, see ``reads_directly()``.
    """
    function._ac_passes = True  # type: ignore[attr-defined]
    return function


def reads_directly(channel: Any) -> bool:
    """Tell whether what arrives may go to ``_ac_receive()``, as nothing that *channel* overrides is on the way there.

    Only the end of input, and errors, then have to take that way.
    """
    functions = [getattr(getattr(channel, name, None), "__func__", None) for name in _WAY_IN]
    return hasattr(type(channel), "_ac_receive") and all(
        function is getattr(asyncore.dispatcher, name) or getattr(function, "_ac_passes", False)
        for name, function in zip(_WAY_IN, functions, strict=True)
    )


_WAY_IN = ("handle_read_event", "handle_read", "recv")


def _is_ssl_error(error: OSError, *names: str) -> bool:
    ssl = sys.modules.get("ssl")  # a program in which its errors are raised has imported it
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
