"""The dispatcher that is in the map for a client without a connection: it keeps loop() running, and wakes it."""

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
    """The time of a callback, by monotonic(), and the timer that wakes the loop for it."""

    __slots__ = ("timer", "when")

    def __init__(self, when: float) -> None:
        self.when = when
        self.timer: Timer | None = None


class Bell(Doorbell):
    """Has the loop that serves *map* call *heard* after ``ring()``, which any thread may call, and callbacks at times.

    *closed* is called by asyncore's ``close_all()``, *failed* when one of the callbacks has raised an exception, while
    that is being handled.
    """

    def __init__(
        self,
        map: dict[int, Any],
        heard: Callable[[], object],
        closed: Callable[[], object],
        failed: Callable[[], object],
    ) -> None:
        super().__init__(map)
        self.socket = self._waker  # the loop looks there whether a dispatcher that reports its interest is closed
        self._heard = heard
        self._closed = closed
        self._failed = failed
        self._alarms: dict[Callable[[], object], _Alarm] = {}
        self._threads: dict[Callable[[], object], threading.Timer] = {}  # for asyncore's loop, which has no timers

    def leave_map(self) -> None:
        """Leave the map, and cancel all callbacks."""
        for callback in list(self._alarms):
            self.lift(callback)
        super().leave_map()

    # Times

    def set(self, callback: Callable[[], object], seconds: float) -> None:
        """Have *callback* called in *seconds*; this replaces the time that was set for it before."""
        self.lift(callback)
        alarm = self._alarms[callback] = _Alarm(monotonic() + seconds)
        # After the entry in _alarms: the loop, in another thread, may run the timer at once.
        alarm.timer = call_later(seconds, self._look, map=self._map)

    def lift(self, callback: Callable[[], object]) -> None:
        """Cancel the call of *callback*."""
        alarm = self._alarms.pop(callback, None)
        if alarm is not None and alarm.timer is not None:
            alarm.timer.cancel()
        thread = self._threads.pop(callback, None)
        if thread is not None:
            thread.cancel()

    def _look(self) -> None:
        """Call the callbacks whose time has come."""
        now = monotonic()
        for callback, alarm in list(self._alarms.items()):
            if alarm.when <= now and callback in self._alarms:  # an earlier callback may have cancelled it
                self.lift(callback)
                callback()

    def _wake_in_time(self) -> None:
        """Start threads that ring at the set times, for a loop without timers that is about to wait."""
        for callback, alarm in list(self._alarms.items()):  # a copy: another thread may set() one meanwhile
            if callback not in self._threads:
                seconds = max(alarm.when - monotonic(), 0.0)
                thread = start_timer(seconds, self.ring)
                if thread is not None:
                    self._threads[callback] = thread
                elif not seconds:  # no thread can be had: the callback comes in some pass after its time
                    self.ring()

    # The interest, and the events of the loop

    @reporting
    def readable(self) -> bool:
        """Return True: this waits to be rung."""
        if not is_running(self._map):  # then it is asyncore's loop that calls this, before each wait
            self._wake_in_time()
        return True

    def handle_read_event(self) -> None:
        """Act upon ring()."""
        self._waker.drain()
        self._look()
        self._heard()

    def handle_error(self) -> None:
        """Handle the current exception, by *failed*."""
        self._failed()

    def handle_close(self) -> None:
        """End the client: the program has closed the descriptors in the map."""
        self._closed()

    close = handle_close
