"""A deadline for loops with timers and without: ours calls when it is over, asyncore's has to look."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from .eventloop import call_later
from .eventloop.timers import Timer

__all__ = ["Deadline"]


class Deadline:
    """Calls *overdue* once, in the seconds that were set last."""

    __slots__ = ("_end", "_overdue", "_timer")

    def __init__(self, overdue: Callable[[], object]) -> None:
        self._overdue = overdue
        self._end = float("inf")
        self._timer: Timer | None = None

    def set(self, seconds: float, map: dict[int, Any]) -> None:
        """Have *seconds* from now on, under a loop that serves *map*."""
        self.lift()
        self._end = monotonic() + seconds
        self._timer = call_later(seconds, self._overdue, map=map)

    def lift(self) -> None:
        """Have no deadline."""
        self._end = float("inf")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Call, if the time is over."""
        if monotonic() >= self._end:
            self.lift()
            self._overdue()

    @property
    def is_set(self) -> bool:
        """Whether there is a deadline, be it over or not."""
        return self._timer is not None

    def is_over(self) -> bool:
        """Tell whether the deadline is over, and has not been lifted."""
        return monotonic() >= self._end
