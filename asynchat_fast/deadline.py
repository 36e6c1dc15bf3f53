"""A deadline that works under our loop, which has timers, and under asyncore's, where it has to be looked at."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from .eventloop import call_later
from .eventloop.timers import Timer

__all__ = ["Deadline"]


class Deadline:
    """Calls *overdue* once, after the seconds that were set last."""

    __slots__ = ("_end", "_overdue", "_timer")

    def __init__(self, overdue: Callable[[], object]) -> None:
        self._overdue = overdue
        self._end = float("inf")
        self._timer: Timer | None = None

    def set(self, seconds: float, map: dict[int, Any]) -> None:
        """Set the deadline to *seconds* from now, under a loop that serves *map*."""
        self.lift()
        self._end = monotonic() + seconds
        self._timer = call_later(seconds, self._overdue, map=map)

    def lift(self) -> None:
        """Remove the deadline."""
        self._end = float("inf")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Call *overdue* if the deadline has passed."""
        if monotonic() >= self._end:
            self.lift()
            self._overdue()
