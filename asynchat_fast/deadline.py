"""A deadline for loops with timers and without: ours calls when it is over, asyncore's has to look."""

from collections.abc import Callable
from typing import Any

from .eventloop import call_later
from .eventloop.timers import Timer

__all__ = ["Deadline"]


class Deadline:
    """Calls *overdue* once, in the seconds that were set last."""

    __slots__ = ("_overdue", "_timer")

    def __init__(self, overdue: Callable[[], object]) -> None:
        self._overdue = overdue
        self._timer: Timer | None = None

    def set(self, seconds: float, map: dict[int, Any]) -> None:
        """Have *seconds* from now on, under a loop that serves *map*."""
        self.lift()
        self._timer = call_later(seconds, self._overdue, map=map)

    def lift(self) -> None:
        """Have no deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Call, if the time is over."""
        if self._timer is not None and self._timer.is_overdue():
            self.lift()
            self._overdue()
