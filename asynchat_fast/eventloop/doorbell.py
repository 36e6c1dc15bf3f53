"""What stands in a map without a connection, so that any thread can have the loop act."""

import threading
from collections.abc import Callable
from typing import Any

from ..transport import reporting
from .waker import Waker

__all__ = ["Doorbell", "start_timer"]


class Doorbell:
    """The base of dispatchers that any thread may ring, upon which the loop that serves *map* calls their reader."""

    accepting = connecting = False
    connected = True

    def __init__(self, map: dict[int, Any]) -> None:
        self._waker = Waker()
        self._map = map

    def _ac_status(self) -> None:
        """Say that this is no connection."""

    def enter_map(self) -> None:
        """Stand in the map from now on."""
        self._map[self._waker.fd] = self

    def leave_map(self) -> None:
        """Stand there no more."""
        if self._map.get(self._waker.fd) is self:
            del self._map[self._waker.fd]

    def drop(self) -> None:
        """Leave the map for good."""
        self.leave_map()
        self._waker.close()

    def ring(self) -> None:
        """Have the loop call ``handle_read_event()``; any thread may."""
        self._waker.wake()

    @reporting
    def writable(self) -> bool:
        """Tell that there is nothing to send."""
        return False

    def handle_write_event(self) -> None:
        """Do nothing, as this does not wait for it."""

    handle_expt_event = handle_write_event


def start_timer(seconds: float, callback: Callable[[], object]) -> threading.Timer | None:
    """Return a thread that calls *callback* in *seconds*, as asyncore's loop has no timers; None if none can be had."""
    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), callback)
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError:
        return None
    return timer
