"""Timers: a heap of calls to make later.

Cancelling a timer only marks it.  Once cancelled timers make up most of the heap, they are all
removed, so that timers set and cancelled by the thousand cost a few operations each.
"""

import heapq
import itertools
import time
from collections.abc import Callable
from math import inf
from threading import RLock
from typing import Any

from ..arguments import check_seconds

__all__ = ["Timer", "Timers"]

_CANCELLED_MOST = 64  # cancelled timers that may stay in a heap, whatever its size

_Call = tuple[Callable[..., object], tuple[Any, ...]]


class Timer:
    """A call to be made later, as ``call_later()`` returns it."""

    __slots__ = ("_call", "_timers", "when")

    when: float
    """The time at which the call is due, in seconds of the clock, usually ``time.monotonic()`` (float)."""

    def __init__(self, timers: "Timers", when: float, call: _Call) -> None:
        self.when = when
        self._timers = timers
        self._call: _Call | None = call

    def cancel(self) -> None:
        """Cancel the call; do nothing if it was made or cancelled before.  Any thread may call this."""
        self._timers._cancel(self)

    def cancelled(self) -> bool:
        """Return whether the call was cancelled or made before."""
        return self._call is None

    def is_overdue(self) -> bool:
        """Return whether the time of the call has come."""
        return self._timers.clock() >= self.when


class Timers:
    """The timers of one map; any thread may set and cancel them.

    *emptied*, if given, is called when the last of them has been cancelled; *clock* returns the time in seconds.
    """

    def __init__(
        self, emptied: Callable[[], object] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self.heap: list[tuple[float, int, Timer]] = []  # of (when, order, timer), cancelled ones included
        self._cancelled = 0
        self._orders = itertools.count()
        self._lock = RLock()  # a signal handler or a finalizer may set a timer in the middle of a method
        self._emptied = emptied

    def __len__(self) -> int:
        # The lock, because another thread removes a timer and counts it in two steps; max(), because a signal handler
        # of this thread may run between the two.
        with self._lock:
            return max(len(self.heap) - self._cancelled, 0)

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call *callback* with *args* in *seconds* (number, not negative), and return its Timer."""
        check_seconds("seconds", seconds)
        if not callable(callback):
            raise TypeError(f"{callback!r} cannot be called")
        timer = Timer(self, self.clock() + seconds, (callback, args))
        with self._lock:
            heapq.heappush(self.heap, (timer.when, next(self._orders), timer))
        return timer

    def seconds_to_next(self) -> float:
        """Return the seconds until the next call is due, 0.0 if it is overdue, infinite if there is none."""
        try:
            when, _, timer = self.heap[0]
        except IndexError:
            return inf
        if not timer.cancelled():  # nearly always, and without the lock
            return max(when - self.clock(), 0.0)
        with self._lock:
            self._drop_cancelled_first()
            return max(self.heap[0][0] - self.clock(), 0.0) if self.heap else inf

    def run_due(self, failed: Callable[[Callable[..., object]], object]) -> bool:
        """Make the calls that are due now, not those that they set themselves; return whether there were any.

        *failed* is called with a callback that has raised, while the exception is being handled.
        """
        now = self.clock()
        try:
            if self.heap[0][0] > now:  # nearly always, and without the lock
                return False
        except IndexError:
            return False
        end = next(self._orders)
        made = False
        while (due := self._take_due(now, end)) is not None:
            made = True
            callback, args = due
            try:
                callback(*args)
            except BaseException:
                failed(callback)
        return made

    def _take_due(self, now: float, end: int) -> _Call | None:
        """Remove and return the next call that is due, None if none is; it cannot be cancelled any more."""
        with self._lock:
            self._drop_cancelled_first()
            if self.heap and self.heap[0][0] <= now and self.heap[0][1] < end:
                return self._disarm(heapq.heappop(self.heap)[2])
        return None

    def _disarm(self, timer: Timer) -> _Call | None:
        call, timer._call = timer._call, None
        return call

    def _drop_cancelled_first(self) -> None:
        heap = self.heap
        while heap and heap[0][2].cancelled():
            heapq.heappop(heap)
            self._cancelled -= 1

    def _cancel(self, timer: Timer) -> None:
        call = None  # holds the callback until the lock is free: its end may run a finalizer of the program
        with self._lock:
            if timer.cancelled():
                return
            call = self._disarm(timer)  # noqa: F841
            self._cancelled += 1
            if self._cancelled > _CANCELLED_MOST and 2 * self._cancelled > len(self.heap):
                self._drop_cancelled()
        if not self and self._emptied is not None:
            self._emptied()

    def _drop_cancelled(self) -> None:
        kept = []
        for _ in range(len(self.heap)):  # one by one, because a finalizer that runs meanwhile may set a timer
            entry = heapq.heappop(self.heap)
            if entry[2].cancelled():
                self._cancelled -= 1
            else:
                kept.append(entry)
        for entry in kept:
            heapq.heappush(self.heap, entry)
