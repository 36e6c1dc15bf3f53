"""Timers: a heap of calls to make later.

Cancelling marks a timer and leaves it in the heap; once most of the heap is of that kind
they are taken out, so that timers set and cancelled by the thousand cost a few operations each.
"""

import heapq
import itertools
import time
from threading import RLock

__all__ = ["Timer", "Timers", "let_go_of", "timers_of"]

_CANCELLED_MOST = 64  # that may be in a heap, before they are weighed against the others


class Timer:
    """A call to be made later; what ``call_later()`` returns."""

    __slots__ = ("_args", "_callback", "_timers", "when")

    def __init__(self, timers, when, callback, args):
        self.when = when  # seconds of time.monotonic()
        self._timers = timers
        self._callback = callback
        self._args = args

    def cancel(self):
        """Do not make the call; nothing happens if it was made or cancelled before."""
        self._timers._cancel(self)

    def cancelled(self):
        """Tell whether the call will not be made any more: it was cancelled, or made."""
        return self._callback is None


class Timers:
    """The timers of one loop; any thread may set and cancel them."""

    def __init__(self):
        self._heap = []  # of (when, order, Timer)
        self._cancelled = 0
        self._orders = itertools.count()
        self._lock = RLock()  # signal handlers and finalizers may come in between, too

    def __len__(self):
        return len(self._heap) - self._cancelled

    def call_later(self, seconds, callback, *args):
        """Call *callback* with *args* in *seconds* (number, not negative), and return its Timer."""
        if not seconds >= 0:  # NaN, too
            raise ValueError(f"cannot call anything in {seconds} seconds")
        if not callable(callback):
            raise TypeError(f"{callback!r} cannot be called")
        timer = Timer(self, time.monotonic() + seconds, callback, args)
        with self._lock:
            heapq.heappush(self._heap, (timer.when, next(self._orders), timer))
        return timer

    def seconds_to_next(self):
        """Return how long until the next call is due (float, 0 if it is overdue), None if there is none."""
        if not self._heap:
            return None
        with self._lock:
            self._drop_cancelled_first()
            return max(self._heap[0][0] - time.monotonic(), 0.0) if self._heap else None

    def run_due(self, failed):
        """Make the calls that are due now; those that they set are left for the next time.

        *failed* is called, with what was called, in the handler of what that has raised.
        """
        if not self._heap:
            return
        now, end = time.monotonic(), next(self._orders)
        while (due := self._take_due(now, end)) is not None:
            callback, args = due
            try:
                callback(*args)
            except BaseException:
                failed(callback)

    def _take_due(self, now, end):
        """Return what to call next, and with what; None if nothing is due.  From then on cancelling is too late."""
        with self._lock:
            self._drop_cancelled_first()
            if self._heap and self._heap[0][0] <= now and self._heap[0][1] < end:
                return self._disarm(heapq.heappop(self._heap)[2])
        return None

    def _disarm(self, timer):
        call = timer._callback, timer._args
        timer._callback = timer._args = None
        return call

    def _drop_cancelled_first(self):
        heap = self._heap
        while heap and heap[0][2].cancelled():
            heapq.heappop(heap)
            self._cancelled -= 1

    def _cancel(self, timer):
        call = None  # which may be the last reference to something, whose finalizer is not to run under the lock
        with self._lock:
            if timer.cancelled():
                return
            call = self._disarm(timer)  # noqa: F841
            self._cancelled += 1
            if self._cancelled > _CANCELLED_MOST and 2 * self._cancelled > len(self._heap):
                # One by one, as a finalizer that runs meanwhile may set a timer.
                kept = []
                for _ in range(len(self._heap)):
                    entry = heapq.heappop(self._heap)
                    if entry[2].cancelled():
                        self._cancelled -= 1
                    else:
                        kept.append(entry)
                for entry in kept:
                    heapq.heappush(self._heap, entry)


_of_plain_maps = {}  # id -> (map, Timers), of those that have some


def timers_of(map):
    """Return the Timers of *map*, an asyncore map: its own, or for a plain dict those kept here."""
    timers = getattr(map, "timers", None)
    return _of_plain_maps.setdefault(id(map), (map, Timers()))[1] if timers is None else timers


def let_go_of(map):
    """Keep no Timers of *map*, a plain dict, if it has none to come."""
    if id(map) in _of_plain_maps and not _of_plain_maps[id(map)][1]:
        del _of_plain_maps[id(map)]
