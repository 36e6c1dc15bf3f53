"""An alarm in asyncio's loop: a callback that is scheduled at most once, however often it is asked for."""

import asyncio
import contextlib
from collections.abc import Callable
from math import inf
from threading import get_ident

__all__ = ["Alarm"]

_SHORTEST = 0.001  # seconds: uvloop counts milliseconds, and would call back for less without any pause


class Alarm:
    """Has *loop*, which runs in the thread that makes the alarm, call *ring*, until ``stop()``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], object]) -> None:
        self.loop = loop
        self._ring = ring
        self._thread = get_ident()
        self._is_due = False  # soon() has scheduled a call
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

    def within(self, seconds: float) -> None:
        """Ring in *seconds* at the latest; infinite sets no time.

        It may ring early: uvloop's timers may, and a call that was scheduled for an earlier time is kept.
        """
        if seconds == inf or self._is_stopped:
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

    def rest(self) -> None:
        """Forget the time that was set; in other threads than that of the loop, do nothing."""
        if self._handle is not None and self.is_here():
            self._handle.cancel()
            self._handle = None

    def stop(self) -> None:
        """Never ring again, not even for calls that are scheduled."""
        self._is_stopped = True
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _call(self) -> None:
        self._is_due = False  # before the call, which may not see what other threads change from now on
        if not self._is_stopped:
            self._ring()

    def _ring_in_time(self) -> None:
        self._handle = None
        if not self._is_stopped:
            self._ring()
