"""A deadline for both loops: asyncore's has no timers, so that ``look()`` must be called in each of its passes."""

from collections.abc import Callable
from typing import Any

from .eventloop import call_later
from .eventloop.timers import Timer

__all__ = ["Deadline"]


class Deadline:
    """Calls *overdue* once, when the seconds that were set last have passed."""

    __slots__ = ("_overdue", "_timer")

    def __init__(self, overdue: Callable[[], object]) -> None:
        self._overdue = overdue
        self._timer: Timer | None = None

    def set(self, seconds: float, map: dict[int, Any]) -> None:
        """Set the deadline to *seconds* from now, under a loop that serves *map*."""
        self.lift()
        self._timer = call_later(seconds, self._overdue, map=map)

    def lift(self) -> None:
        """Remove the deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Call *overdue* if the deadline has passed."""
        if self.is_over():
            self.lift()
            self._overdue()

    @property
    def is_set(self) -> bool:
        """Whether a deadline is set, over or not (bool)."""
        return self._timer is not None

    def is_over(self) -> bool:
        """Return whether the deadline has passed, and has not been lifted."""
        return self._timer is not None and self._timer.is_overdue()
