"""The end of a transport: it sends the bytes that it holds, but not for longer than a limit."""

import asyncio
from typing import Any

__all__ = ["Closing"]

_STALLED_AFTER = 8.0  # seconds in which a closed transport sends nothing, after which it is aborted
_TLS_CLOSES_IN = 30.0  # seconds, over asyncio's own TLS: its limit from Python 3.11 on


class Closing:
    """Closes *transport* of *loop*, and aborts it if the peer takes nothing; at once, if it *resets* the connection."""

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
        """Leave the transport alone, as it is closed."""
        if self._handle is not None:
            self._handle.cancel()

    def _unsent(self) -> int:
        """Return how many bytes the transport holds; a pipe that is only read has no such method."""
        return int(getattr(self._transport, "get_write_buffer_size", int)())

    def _look(self, before: int) -> None:
        """Abort if there are as many bytes as *before*."""
        size = self._unsent()
        if size < before:
            self._handle = self._loop.call_later(_STALLED_AFTER, self._look, size)
        else:
            self._abort()

    def _abort(self) -> None:
        getattr(self._transport, "abort", self._transport.close)()  # a pipe that is only read has no abort()
