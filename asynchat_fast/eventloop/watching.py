"""Watching a loop: a thread logs where it hangs, and a signal dumps stacks, counters and status."""

import faulthandler
import logging
import os
import signal
import sys
import threading
import traceback
from time import monotonic
from types import FrameType

from .._asyncore import asyncore
from .by_file import EpollPoller, KqueuePoller
from .by_number import PollPoller, SelectPoller
from .maps import Map, find_kept
from .reactor import Reactor
from .status import loop_counters, status

__all__ = ["Watch", "dump_on", "watch"]

_logger = logging.getLogger("asynchat_fast.watch")

_STDERR = 2
_SHORTEST = 0.005  # seconds between two looks

# A loop waits if the innermost Python function on its stack is one of these: they call the system to wait.
_WAITING = {
    function.__code__
    for function in (
        Reactor._wait,
        EpollPoller._poll_with_care,
        KqueuePoller.poll,
        PollPoller.poll,
        SelectPoller.poll,
    )
}


class Watch(threading.Thread):
    """Logs where the loop is when it has not waited for a while; see ``watch()``."""

    def __init__(self, slow: float, map: Map) -> None:
        super().__init__(daemon=True, name="asynchat_fast.watch")
        self._slow = slow
        self._map = map
        self._ended = threading.Event()

    def stop(self) -> None:
        """Stop watching."""
        self._ended.set()

    def run(self) -> None:
        """Look at intervals, until ``stop()``."""
        said = 0.0  # the ``since`` of the hang that was logged last, so that each is logged once
        while not self._ended.wait(max(self._slow / 2, _SHORTEST)):
            kept = find_kept(self._map)
            since = 0.0 if kept is None else kept.counters.since
            took = monotonic() - since
            if kept is None or not since or since == said or took < self._slow:
                continue
            frame = sys._current_frames().get(getattr(kept.reactor, "thread", 0))
            if frame is not None and frame.f_code not in _WAITING and kept.counters.since == since:
                said = since
                stack = "".join(traceback.format_stack(frame))
                _logger.warning("the loop has been busy for %.3f seconds:\n%s", took, stack)


def watch(slow: float = 0.1, map: Map | None = None) -> Watch:
    """Log the stack of the loop that serves *map* when it has not waited for *slow* seconds (number, above 0).

    A thread looks twice in that time, and logs each hang once: the stack shows the line in which the loop hangs.  The
    logger is ``asynchat_fast.watch``, the level WARNING.  *map* is an asyncore map (dict), None for
    ``asyncore.socket_map``.  Return an object with ``stop()``.  ValueError for a *slow* that is not above 0.
    """
    if not slow > 0:
        raise ValueError(f"slow is a number of seconds above 0, not {slow}")
    watching = Watch(slow, asyncore.socket_map if map is None else map)
    watching.start()
    return watching


def dump_on(signum: int, map: Map | None = None) -> None:
    """Let the signal *signum* write the stacks of all threads, the counters and the status of *map* to stderr.

    The stacks come at once, even from a loop that hangs within a library written in C; the rest comes when Python
    runs its handlers of signals, in the main thread.  *map* is an asyncore map (dict), None for
    ``asyncore.socket_map``.  NotImplementedError on Windows; ValueError in another thread than the main one; and the
    errors of ``faulthandler.register()`` for signals that it does not take.
    """
    if not hasattr(faulthandler, "register"):
        raise NotImplementedError("dump_on() needs signals as POSIX has them")

    def dump(number: int, frame: FrameType | None) -> None:
        _write(_report(map))

    before = signal.signal(signum, dump)
    try:
        faulthandler.register(signum, file=_STDERR, all_threads=True, chain=True)  # chains to dump()
    except BaseException:
        signal.signal(signum, before)
        raise


def _report(map: Map | None) -> str:
    try:
        counted = " ".join(f"{name}={value:.6g}" for name, value in loop_counters(map).items())
        lines = [f"Loop: {counted}"]
        lines += [" ".join(f"{name}={value!r}" for name, value in each.items()) for each in status(map)]
    except Exception as error:  # another thread changes the map meanwhile, or a program's own channel raises
        lines = [f"Loop: no status: {type(error).__name__}: {error}"]
    return "\n".join([*lines, ""])


def _write(text: str) -> None:
    """Write *text* to stderr's descriptor, not to Python's buffer: the signal may have interrupted a write to that."""
    data = text.encode(errors="backslashreplace")
    try:
        while data:
            data = data[os.write(_STDERR, data) :]
    except OSError:  # closed, or full and not blocking
        return
