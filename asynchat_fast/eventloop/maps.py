"""``SocketMap``, an asyncore map that tells the loop what changes in it; and what the loop keeps for each map."""

import sys
import time
from collections.abc import Callable, Coroutine
from threading import RLock
from typing import Any, Protocol

from .._asyncore import asyncore
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
]

Map = dict[int, Any]
"""An asyncore map: descriptor -> dispatcher."""


class Embedder(Protocol):
    """What has a map served within an asyncio program."""

    def wake(self) -> None:
        """Have the next pass come soon; any thread may."""

    def create_task(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return an asyncio.Task that runs *coroutine*."""


class Serving(Protocol):
    """What serves a map: a Reactor, or asyncio's transports."""

    embedder: Embedder | None

    @property
    def is_running(self) -> bool:
        """Whether it is serving at this moment, waiting included."""

    def wake(self) -> None:
        """Have a pass come soon; any thread may, and a signal handler."""

    def forget(self, fd: int) -> None:
        """Stop waiting for *fd*; any thread may."""


class Kept:
    """What the loop keeps for one map: its timers, and what serves it while something is registered."""

    __slots__ = ("__weakref__", "counters", "reactor", "timers")

    def __init__(self, emptied: Callable[[], object] | None = None) -> None:
        self.timers = Timers(emptied)
        self.counters = Counters()
        self.reactor: Any = None  # a Serving; of a map that loop() serves, its Reactor

    def wake(self) -> None:
        """Have a loop that waits begin its next pass; any thread may, and a signal handler."""
        if self.reactor is not None:
            self.reactor.wake()


class SocketMap(dict[int, Any]):
    """A dict, descriptor to dispatcher, that tells ``loop()`` what is put into it and taken out.

    ``asyncore.socket_map`` is one, unless it was in use before asynchat_fast was imported.
    """

    __slots__ = ("__weakref__", "_kept", "changed", "watched")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.changed = set(self)  # descriptors whose channels are to be asked before the next wait
        self.watched: set[int] = set()  # and before each, though their classes report
        self._kept = Kept()

    def touch(self, fd: int) -> None:
        """Have the channel at descriptor *fd* asked again what it waits for; any thread may call this."""
        self.changed.add(fd)
        self._kept.wake()

    def watch(self, fd: int) -> None:
        """Have the channel at *fd* asked in each pass, because changes of what it waits for are not reported."""
        self.watched.add(fd)
        self.touch(fd)

    def wake(self) -> None:
        """Have a loop that waits begin its next pass; any thread may call this."""
        self._kept.wake()

    def _forget(self, fd: int) -> None:
        self.watched.discard(fd)
        if self._kept.reactor is not None:
            # At once, while the descriptor is open: a copy in another process would keep it registered.
            self._kept.reactor.forget(fd)

    def __setitem__(self, fd: int, channel: Any) -> None:
        super().__setitem__(fd, channel)
        self._forget(fd)  # the same channel may come back with another socket of the same number
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


_of_plain_maps: dict[int, tuple[Map, Kept]] = {}  # by id(map); a plain dict has no room for it
_keeping = RLock()


def kept_for(map: Map) -> Kept:
    """Return what is kept for *map*: by itself, or here for a plain dict, as long as there is something to keep."""
    if isinstance(map, SocketMap):
        return map._kept
    key = id(map)  # not the map, which the timers would keep alive in a cycle
    with _keeping:
        return _of_plain_maps.setdefault(key, (map, Kept(lambda: _let_go(key))))[1]


def let_go_of(map: Map) -> None:
    """Keep nothing for *map*, a plain dict that is not served now, if it has no timers to come."""
    _let_go(id(map))


def _let_go(key: int) -> None:
    with _keeping:
        _, kept = _of_plain_maps.get(key, (None, None))
        if kept is not None and kept.reactor is None and not kept.timers:
            del _of_plain_maps[key]


def set_timer(map: Map, seconds: float, callback: Callable[..., object], args: tuple[Any, ...]) -> Timer:
    """Set a timer of *map*, and have a loop that waits take it into account."""
    with _keeping:  # a timer cancelled in another thread must not let go of the Timers meanwhile
        kept = kept_for(map)
        try:
            timer = kept.timers.call_later(seconds, callback, *args)
        except BaseException:
            let_go_of(map)
            raise
    kept.wake()
    return timer


def find_kept(map: Map) -> Kept | None:
    """Return what is kept for *map*, None if nothing is."""
    return map._kept if isinstance(map, SocketMap) else _of_plain_maps.get(id(map), (None, None))[1]


def _serving(map: Map) -> Serving | None:
    kept = find_kept(map)
    return None if kept is None else kept.reactor


def is_running(map: Map) -> bool:
    """Tell whether ``loop()``, or an asyncio program, is about serving *map*, and does not only have it registered."""
    serving = _serving(map)
    return serving is not None and serving.is_running


def clock_of(map: Map) -> Callable[[], float]:
    """Return the clock of the timers of *map*."""
    return map._kept.timers.clock if isinstance(map, SocketMap) else time.monotonic


def task_for(map: Map, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return an asyncio.Task that runs *coroutine*, None if *map* is not served within an asyncio program."""
    serving = _serving(map)
    return serving.embedder.create_task(coroutine) if serving is not None and serving.embedder is not None else None


# Not where others than asyncore hold its map, as they would not see another in its place; and not in a function, as
# the number of references that a call adds depends on the version.
if type(asyncore.socket_map) is dict and not (
    asyncore.socket_map or (hasattr(sys, "getrefcount") and sys.getrefcount(asyncore.socket_map) > 2)
):
    asyncore.socket_map = SocketMap()
