"""``Transport``: the methods that a conversation calls on the object that carries its bytes.

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
        """Send *data* (bytes-like), and return how many bytes of it were taken (int); OSError if the output failed."""

    def handle_close(self) -> None:
        """Close: the peer has closed, or everything up to ``close_when_done()`` is sent."""

    def handle_error(self) -> None:
        """Handle the current exception."""

    def log_info(self, message: str, type: str = "info") -> None:
        """Log *message* at the level *type*."""


_F = TypeVar("_F", bound=Callable[..., object])


def reporting(function: _F) -> _F:
    """Mark *function*, a channel's ``readable()`` or ``writable()``: the channel reports each change of its result.

    The event loop looks for the mark on the type of a channel.  Channels whose functions have no mark are
    asked in each pass.
    """
    function._ac_reports = True  # type: ignore[attr-defined]
    return function


def passing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark *function*, a channel's ``handle_read()`` or ``recv()``: it passes received bytes on, unchanged.

    A carrier of the channel, such as TLS, may then pass received bytes to ``_ac_receive()``; see ``reads_directly()``.
    """
    function._ac_passes = True  # type: ignore[attr-defined]
    return function


def reads_directly(channel: Any) -> bool:
    """Return whether received bytes may be passed to ``_ac_receive()`` of *channel* at once.

    They may if *channel* overrides none of the methods in between, from ``handle_read_event()`` to ``recv()``.  The end
    of input and errors must still go through these.
    """
    functions = [getattr(getattr(channel, name, None), "__func__", None) for name in _WAY_IN]
    return hasattr(type(channel), "_ac_receive") and all(
        function is getattr(asyncore.dispatcher, name) or getattr(function, "_ac_passes", False)
        for name, function in zip(_WAY_IN, functions, strict=True)
    )


_WAY_IN = ("handle_read_event", "handle_read", "recv")


def _is_ssl_error(error: OSError, *names: str) -> bool:
    ssl = sys.modules.get("ssl")  # only code that has imported it can raise its errors; importing takes long
    return ssl is not None and isinstance(error, tuple(getattr(ssl, name) for name in names))


def wants_read(error: OSError) -> bool:
    """Return whether *error* means that an SSLSocket must receive before it can go on."""
    return _is_ssl_error(error, "SSLWantReadError")


def wants_write(error: OSError) -> bool:
    """Return whether *error* means that an SSLSocket must send before it can go on."""
    return _is_ssl_error(error, "SSLWantWriteError")


def would_block(error: OSError) -> bool:
    """Tell whether *error* means "not now" rather than "failed"."""
    return isinstance(error, BlockingIOError) or _is_ssl_error(error, "SSLWantReadError", "SSLWantWriteError")
