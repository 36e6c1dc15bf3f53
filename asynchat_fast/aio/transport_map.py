"""The map of the channels on asyncio's transports: it runs their timers, and passes on changes of their interest."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from .._asyncore import asyncore
from ..eventloop.maps import Kept, SocketMap
from ..eventloop.reactor import log_failure
from ..eventloop.timers import Timers
from .alarm import Alarm
from .tasks import Tasks

__all__ = ["TransportMap"]

_ASKED_AFTER = 1.0  # seconds between two looks at the interest of channels that do not report its changes


class _Link(Protocol):
    """The carrier of a channel in the map."""

    def carry(self, channel: Any) -> None:
        """Carry *channel* from now on."""

    def touch(self) -> None:
        """Schedule a ``settle()``; any thread may call this."""

    def settle(self) -> None:
        """Look at the channel's interest, and act upon it."""


class TransportMap(SocketMap):
    """An asyncore map (descriptor -> channel) of channels on transports of *loop*."""

    __slots__ = ("host", "links", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.links: dict[int, _Link] = {}  # by descriptor
        self._kept = Kept(lambda: self.host.rest())
        self.host = self._kept.reactor = _Host(self, self._kept.timers, loop)

    def __setitem__(self, fd: int, channel: Any) -> None:
        super().__setitem__(fd, channel)
        link = self.links.get(fd)
        if link is not None:
            link.carry(channel)

    def discard(self, fd: int) -> None:
        """Forget the link at *fd*."""
        self.links.pop(fd, None)
        self.watched.discard(fd)

    def touch(self, fd: int) -> None:
        """Note that the interest of the channel at *fd* may have changed; any thread may call this."""
        link = self.links.get(fd)
        if link is not None:
            link.touch()

    def watch(self, fd: int) -> None:
        """Look at the interest of the channel at *fd*, which does not report it, after its events and each second."""
        super().watch(fd)
        self.wake()


class _Host:
    """Serves a TransportMap in the place of a Reactor: asyncio waits and reports events, this runs the timers."""

    is_running = True

    def __init__(self, map: TransportMap, timers: Timers, loop: asyncio.AbstractEventLoop) -> None:
        self.embedder = self
        self._map = map
        self._timers = timers
        self._loop = loop
        self._alarm = Alarm(loop, self._run)
        self._tasks = Tasks(loop, self.report)
        self._asked_next = 0.0  # the loop.time() of the next look at channels that do not report

    def wake(self) -> None:
        """Schedule a look at what is due; any thread may call this."""
        self._alarm.soon()

    def rest(self) -> None:
        """Cancel the alarm, as the last timer was cancelled: asyncio's loop would keep the map until it rings."""
        if not self._map.watched:
            self._alarm.rest()

    def forget(self, fd: int) -> None:
        """Do nothing: the transport waits for its descriptor itself."""

    def create_task(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Return a task that runs *coroutine*; ExitNow from it is reported to asyncio's loop."""
        return self._tasks.create(coroutine)

    def report(self, error: BaseException) -> None:
        """Pass *error*, which would end ``loop()``, to asyncio's exception handler."""
        message = "a channel on a transport raised an exception that would end loop(), but does not end asyncio's"
        self._loop.call_exception_handler({"message": message, "exception": error})

    def _run(self) -> None:
        """Run the timers that are due, and look at the channels that do not report their interest."""
        try:
            self._timers.run_due(log_failure)
        except asyncore.ExitNow as error:
            self.report(error)
        asked, now = self._map.watched, self._loop.time()
        if asked:
            if now >= self._asked_next:
                self._asked_next = now + _ASKED_AFTER
                for fd in list(asked):
                    link = self._map.links.get(fd)
                    if link is not None:
                        link.settle()
            self._alarm.within(self._asked_next - now)
        self._alarm.within(self._timers.seconds_to_next())
