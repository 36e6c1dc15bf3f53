"""``Doorbell``: a dispatcher without a connection, by which any thread can have the loop call it."""

import threading
from collections.abc import Callable
from typing import Any

from ..transport import reporting
from .waker import Waker

__all__ = ["Doorbell", "start_timer"]


class Doorbell:
    """Base of dispatchers with a ``ring()`` that any thread may call; the loop of *map* then calls their reader."""

    accepting = connecting = False
    connected = True

    def __init__(self, map: dict[int, Any]) -> None:
        self._waker = Waker()
        self._map = map

    def _ac_status(self) -> None:
        """Return None: ``status()`` leaves this out, as it is no connection."""

    def enter_map(self) -> None:
        """Enter the map."""
        self._map[self._waker.fd] = self

    def leave_map(self) -> None:
        """Leave the map; ``enter_map()`` may follow later."""
        if self._map.get(self._waker.fd) is self:
            del self._map[self._waker.fd]

    def drop(self) -> None:
        """Leave the map for good, and close the descriptors."""
        self.leave_map()
        self._waker.close()

    def ring(self) -> None:
        """Have the loop call ``handle_read_event()``; any thread may call this."""
        self._waker.wake()

    @reporting
    def writable(self) -> bool:
        """Return False: there is nothing to send."""
        return False

    def handle_write_event(self) -> None:
        """Do nothing: this does not wait for the event."""

    handle_expt_event = handle_write_event


def start_timer(seconds: float, callback: Callable[[], object]) -> threading.Timer | None:
    """Start a thread that calls *callback* in *seconds*, for asyncore's loop, which has no timers.

    Return it; None if the system allows no more threads.
    """
    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), callback)
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError:
        return None
    return timer
