"""``SocketMap``, an asyncore map that reports its changes to the loop; and ``Kept``, the loop's data for each map."""

import sys
import time
from collections.abc import Callable, Coroutine
from threading import RLock
from typing import Any, Protocol

from .._asyncore import asyncore
from ..arguments import check_map
from .counters import Counters
from .timers import Timer, Timers

__all__ = [
    "Embedder",
    "Kept",
    "Map",
    "Serving",
    "SocketMap",
    "clock_of",
    "find_kept",
    "is_running",
    "kept_for",
    "let_go_of",
    "set_timer",
    "task_for",
    "touch",
]

Map = dict[int, Any]
"""An asyncore map: descriptor -> dispatcher."""


class Embedder(Protocol):
    """The object that serves a map within an asyncio program."""

    def wake(self) -> None:
        """Schedule the next pass; any thread may call this."""

    def create_task(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return an asyncio.Task that runs *coroutine*."""


class Serving(Protocol):
    """The object that serves a map: a Reactor, or for asyncio's transports the host of a TransportMap."""

    embedder: Embedder | None

    @property
    def is_running(self) -> bool:
        """Whether it is serving at this moment, waiting included (bool)."""

    def wake(self) -> None:
        """End the present wait, or schedule a pass; any thread, and a signal handler, may call this."""

    def forget(self, fd: int) -> None:
        """Stop waiting for *fd*; any thread may call this."""


class Kept:
    """The loop's data for one map: timers, counters, and the object that serves it."""

    __slots__ = ("__weakref__", "counters", "reactor", "timers")

    def __init__(self, emptied: Callable[[], object] | None = None) -> None:
        self.timers = Timers(emptied)
        self.counters = Counters()
        self.reactor: Any = None  # a Serving, while there is one

    def wake(self) -> None:
        """Have a loop that waits begin its next pass; any thread, and a signal handler, may call this."""
        if self.reactor is not None:
            self.reactor.wake()


class SocketMap(dict[int, Any]):
    """A dict, descriptor to dispatcher, that tells ``loop()`` what is put into it and taken out.

    ``asyncore.socket_map`` is one, unless it was in use before asynchat_fast was imported.
    """

    __slots__ = ("__weakref__", "_kept", "changed", "removals", "watched")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.changed = set(self)  # descriptors whose channels must be asked for their interest before the next wait
        self.watched: set[int] = set()  # descriptors whose channels must be asked before each wait
        self.removals = 0  # how often a channel was removed or replaced
        self._kept = Kept()

    def touch(self, fd: int) -> None:
        """Have the channel at *fd* asked for its interest before the next wait; any thread may call this."""
        self.changed.add(fd)
        self._kept.wake()

    def watch(self, fd: int) -> None:
        """Have the channel at *fd* asked for its interest in each pass, because not all changes are reported."""
        self.watched.add(fd)
        self.touch(fd)

    def wake(self) -> None:
        """Have a loop that waits begin its next pass; any thread may call this."""
        self._kept.wake()

    def _forget(self, fd: int) -> None:
        self.removals += 1
        self.watched.discard(fd)
        if self._kept.reactor is not None:
            # Unregister now, while the descriptor is open: once closed, it would stay registered in epoll if a forked
            # process has a copy of it.
            self._kept.reactor.forget(fd)

    def __setitem__(self, fd: int, channel: Any) -> None:
        super().__setitem__(fd, channel)
        self._forget(fd)  # even for the same channel, which may have another socket of the same number
        self.touch(fd)

    def __delitem__(self, fd: int) -> None:
        super().__delitem__(fd)
        self._forget(fd)
        self.wake()

    def clear(self) -> None:
        for fd in list(self):
            self.pop(fd, None)

    def pop(self, fd: int, *default: Any) -> Any:
        channel = super().pop(fd, *default)
        self._forget(fd)
        self.wake()
        return channel

    def popitem(self) -> tuple[int, Any]:
        fd, channel = super().popitem()
        self._forget(fd)
        self.wake()
        return fd, channel

    def setdefault(self, fd: int, channel: Any = None) -> Any:
        if fd not in self:
            self[fd] = channel
        return self[fd]

    def update(self, *args: Any, **kwargs: Any) -> None:
        for fd, channel in dict(*args, **kwargs).items():
            self[fd] = channel

    def __ior__(self, other: Any) -> "SocketMap":  # type: ignore[override,misc]
        self.update(other)
        return self


def touch(map: Map, fd: int) -> None:
    """Have the channel at *fd* asked for its interest before the next wait; nothing, if *map* takes no reports."""
    if hasattr(type(map), "touch"):
        map.touch(fd)  # type: ignore[attr-defined]


_of_plain_maps: dict[int, tuple[Map, Kept]] = {}  # by id(map): a plain dict has no attribute for it
_keeping = RLock()


def kept_for(map: Map) -> Kept:
    """Return the Kept of *map*.

    A SocketMap holds its own; that of a plain dict stays in a table here until ``let_go_of()``, or its last timer.
    """
    if isinstance(map, SocketMap):
        return map._kept
    key = id(map)  # for the lambda, which must not refer to the map: that would be a cycle
    with _keeping:
        found = _of_plain_maps.get(key)
        if found is None:
            found = _of_plain_maps[key] = map, Kept(lambda: _let_go(key))
        return found[1]


def let_go_of(map: Map) -> None:
    """Remove the Kept of *map* from the table, if it is a plain dict that has no timers and is not served."""
    _let_go(id(map))


def _let_go(key: int) -> None:
    with _keeping:
        _, kept = _of_plain_maps.get(key, (None, None))
        if kept is not None and kept.reactor is None and not kept.timers:
            del _of_plain_maps[key]


def set_timer(map: Any, seconds: float, callback: Callable[..., object], args: tuple[Any, ...]) -> Timer:
    """Set a timer of *map*, and wake its loop, which may be waiting for longer."""
    if not isinstance(map, dict):
        check_map(map)  # no loop would ever run the timer
    with _keeping:  # or a timer that another thread cancels meanwhile could remove the Timers from the table
        kept = kept_for(map)
        try:
            timer = kept.timers.call_later(seconds, callback, *args)
        except BaseException:
            let_go_of(map)
            raise
    kept.wake()
    return timer


def find_kept(map: Map) -> Kept | None:
    """Return the Kept of *map*, None if there is none."""
    return map._kept if isinstance(map, SocketMap) else _of_plain_maps.get(id(map), (None, None))[1]


def _serving(map: Map) -> Serving | None:
    kept = find_kept(map)
    return None if kept is None else kept.reactor


def is_running(map: Map) -> bool:
    """Return whether ``loop()``, or an asyncio program, is serving *map* at this moment."""
    serving = _serving(map)
    return serving is not None and serving.is_running


def clock_of(map: Map) -> Callable[[], float]:
    """Return the clock of the timers of *map*."""
    return map._kept.timers.clock if isinstance(map, SocketMap) else time.monotonic


def task_for(map: Map, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return an asyncio.Task that runs *coroutine*, None if *map* is not served within an asyncio program."""
    serving = _serving(map)
    return serving.embedder.create_task(coroutine) if serving is not None and serving.embedder is not None else None


# Replace asyncore's map, unless it is in use: code that holds a reference to it would go on with the old one.  This is
# not in a function, because the number of references that a call adds depends on the version of Python.
if type(asyncore.socket_map) is dict and not (
    asyncore.socket_map or (hasattr(sys, "getrefcount") and sys.getrefcount(asyncore.socket_map) > 2)
):
    asyncore.socket_map = SocketMap()
