"""What stands in the map for a client that has no connection, so that the loop goes on, and wakes for it."""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from .eventloop import call_later
from .eventloop.doorbell import Doorbell, start_timer
from .eventloop.maps import is_running
from .eventloop.timers import Timer
from .transport import reporting

__all__ = ["Bell"]


class _Alarm:
    """A time at which to call back, and the timer that tells of it."""

    __slots__ = ("end", "timer")

    def __init__(self, end: float) -> None:
        self.end = end
        self.timer: Timer | None = None


class Bell(Doorbell):
    """Any thread may ring it, upon which *heard* is called by the loop that serves *map*.

    It also calls back at times that are set.  *closed* is called for asyncore's ``close_all()``, *failed* while
    an exception is handled that these have raised.
    """

    def __init__(
        self,
        map: dict[int, Any],
        heard: Callable[[], object],
        closed: Callable[[], object],
        failed: Callable[[], object],
    ) -> None:
        super().__init__(map)
        self.socket = self._waker  # the loop asks it whether it is closed, as this reports what it waits for
        self._heard = heard
        self._closed = closed
        self._failed = failed
        self._alarms: dict[Callable[[], object], _Alarm] = {}
        self._threads: dict[Callable[[], object], threading.Timer] = {}  # of loops that have no timers

    def leave_map(self) -> None:
        """Stand there no more, and call nothing back."""
        for callback in list(self._alarms):
            self.lift(callback)
        super().leave_map()

    # Times

    def set(self, callback: Callable[[], object], seconds: float) -> None:
        """Have *callback* called in *seconds*, in the place of the time that was set for it before."""
        self.lift(callback)
        alarm = self._alarms[callback] = _Alarm(monotonic() + seconds)
        alarm.timer = call_later(seconds, self._look, map=self._map)  # which another thread may run at once

    def lift(self, callback: Callable[[], object]) -> None:
        """Do not have *callback* called."""
        alarm = self._alarms.pop(callback, None)
        if alarm is not None and alarm.timer is not None:
            alarm.timer.cancel()
        thread = self._threads.pop(callback, None)
        if thread is not None:
            thread.cancel()

    def _look(self) -> None:
        """Call back those whose time has come."""
        now = monotonic()
        for callback, alarm in list(self._alarms.items()):
            if alarm.end <= now and callback in self._alarms:  # one that was called before may have lifted it
                self.lift(callback)
                callback()

    def _wake_in_time(self) -> None:
        """Have threads ring, for a loop without timers that is about to wait."""
        for callback, alarm in list(self._alarms.items()):  # a thread that finds a loss sets one
            if callback not in self._threads:
                seconds = max(alarm.end - monotonic(), 0.0)
                thread = start_timer(seconds, self.ring)
                if thread is not None:
                    self._threads[callback] = thread
                elif not seconds:  # else it is called late, in a pass after that time
                    self.ring()

    # What the loop asks and tells

    @reporting
    def readable(self) -> bool:
        """Tell that this can be rung."""
        if not is_running(self._map):  # asyncore's loop asks, which does so in each pass
            self._wake_in_time()
        return True

    def handle_read_event(self) -> None:
        """Act upon the ringing."""
        self._waker.drain()
        self._look()
        self._heard()

    def handle_error(self) -> None:
        """Have the exception handled that is being handled."""
        self._failed()

    def handle_close(self) -> None:
        """End the client, whose descriptors somebody has closed."""
        self._closed()

    close = handle_close
