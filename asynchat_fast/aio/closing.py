"""Closing an asyncio transport: it may send the bytes in its buffer, as long as the peer takes some in time."""

import asyncio
from typing import Any

__all__ = ["Closing"]

_STALLED_AFTER = 8.0  # seconds without progress, after which a transport that is closing is aborted
_TLS_CLOSES_IN = 30.0  # seconds for closing asyncio's own TLS, which has the same limit from Python 3.11 on


class Closing:
    """Closes *transport* of *loop*, and aborts it if the peer takes nothing; with *resets*, aborts it at once."""

    __slots__ = ("_handle", "_loop", "_transport")

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop, resets: bool) -> None:
        self._transport = transport
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        if resets:
            self._abort()
            return
        transport.close()
        if transport.get_extra_info("ssl_object") is not None:
            self._handle = loop.call_later(_TLS_CLOSES_IN, self._abort)
        elif size := self._unsent():
            self._handle = loop.call_later(_STALLED_AFTER, self._look, size)

    def stop(self) -> None:
        """Cancel the limit, as the transport is closed."""
        if self._handle is not None:
            self._handle.cancel()

    def _unsent(self) -> int:
        """Return how many bytes the transport has in its buffer; 0 for the read end of a pipe, which has no buffer."""
        try:
            return int(self._transport.get_write_buffer_size())
        except (AttributeError, NotImplementedError):  # of asyncio, of uvloop
            return 0

    def _look(self, before: int) -> None:
        """Abort if the peer has taken nothing since there were *before* unsent bytes."""
        size = self._unsent()
        if size < before:
            self._handle = self._loop.call_later(_STALLED_AFTER, self._look, size)
        else:
            self._abort()

    def _abort(self) -> None:
        getattr(self._transport, "abort", self._transport.close)()  # a pipe that is only read has no abort()
