"""An alarm in asyncio's loop: one call to come, soon or at a time, however often it is asked for."""

import asyncio
import contextlib
from collections.abc import Callable
from threading import get_ident

__all__ = ["Alarm"]

_SHORTEST = 0.001  # seconds: uvloop counts milliseconds, and would make less a call without a pause


class Alarm:
    """Calls *ring* in *loop*, in the thread that makes the alarm; no more after ``stop()``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], object]) -> None:
        self.loop = loop
        self._ring = ring
        self._thread = get_ident()
        self._is_due = False  # a call is on its way
        self._is_stopped = False
        self._handle: asyncio.TimerHandle | None = None
        self._when = 0.0  # the loop.time() of the handle

    def is_here(self) -> bool:
        """Tell whether this thread is that of the loop."""
        return get_ident() == self._thread

    def soon(self) -> None:
        """Ring in the next iteration of the loop; any thread may call this."""
        if self._is_due or self._is_stopped:
            return
        self._is_due = True
        if self.is_here():
            self.loop.call_soon(self._call)
        else:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self.loop.call_soon_threadsafe(self._call)

    def within(self, seconds: float | None) -> None:
        """Ring in *seconds*, unless it does before; None for no time.

        It may ring early: uvloop's timers do, and an alarm for an earlier time is not taken back.
        """
        if seconds is None or self._is_stopped:
            return
        if not seconds:
            self.soon()
            return
        seconds = max(seconds, _SHORTEST)
        when = self.loop.time() + seconds
        if self._handle is not None:
            if self._when <= when:
                return
            self._handle.cancel()
        self._handle, self._when = self.loop.call_later(seconds, self._ring_in_time), when

    def stop(self) -> None:
        """Never ring again, whatever is on its way."""
        self._is_stopped = True
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _call(self) -> None:
        self._is_due = False  # before the call: what is noted from now on may come too late for it
        if not self._is_stopped:
            self._ring()

    def _ring_in_time(self) -> None:
        self._handle = None
        if not self._is_stopped:
            self._ring()
