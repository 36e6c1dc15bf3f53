"""Our loop within a running asyncio or uvloop loop, which waits for one descriptor only: that of our poller."""

import asyncio
from collections.abc import Coroutine
from time import monotonic
from typing import Any

from .._asyncore import asyncore
from ..arguments import check_map
from ..eventloop.maps import Map
from ..eventloop.reactor import Reactor
from .alarm import Alarm
from .by_descriptor import DescriptorPoller
from .tasks import Tasks

__all__ = ["embedded"]

# Of one pass, for which asyncio's own callbacks have to wait.
_MOST_EVENTS = 32  # usually a few hundred microseconds
_LONGEST_PASS = 0.002  # seconds; after a longer pass, as when much has arrived at once, fewer events are taken


class embedded:
    """Serve *map* within the running asyncio loop, ``async with embedded() as served:``, until the block is left.

    *map* is the asyncore map (dict), None for ``asyncore.socket_map``.  Every dispatcher in it runs as
    under ``loop()``, on its own socket, in the thread of the asyncio loop.  ``served.ended`` is an
    asyncio.Future: an exception that would end ``loop()``, such as ExitNow, ends the serving, and is set as
    its exception; if the block is left before, its result is None.
    RuntimeError if *map* is embedded already, on Windows' Proactor loop, and on uvloop if *map* is a plain dict or the
    system has neither epoll nor kqueue.
    """

    ended: asyncio.Future[None]

    def __init__(self, map: Map | None = None) -> None:
        if map is not None:
            check_map(map)
        self.map: Map = asyncore.socket_map if map is None else map

    async def __aenter__(self) -> "embedded":
        self._loop = loop = asyncio.get_running_loop()
        if isinstance(loop, getattr(asyncio, "ProactorEventLoop", ())):
            raise RuntimeError("the Proactor loop waits for no descriptors: use a SelectorEventLoop, or transports")
        self._reactor = reactor = Reactor.enter(self.map)
        try:
            if reactor.embedder is not None:
                raise RuntimeError("this map is embedded already")
            self._source: Any = None  # the epoll or kqueue object whose descriptor asyncio waits for
            self._fd = -1
            self._is_passing = False
            self._most_events = _MOST_EVENTS  # in the next pass
            self._alarm = Alarm(loop, self._run)
            self._tasks = Tasks(loop, self._fail)
            if not hasattr(reactor.registrations.poller, "source"):
                reactor.registrations.poller = DescriptorPoller(reactor.registrations.poller, loop, self._run)
        except BaseException:
            reactor.leave()
            raise
        self.ended = loop.create_future()
        reactor.embedder = self
        self._run()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._stop()
        reactor = self._reactor
        reactor.embedder = None
        poller = reactor.registrations.poller
        if isinstance(poller, DescriptorPoller):
            reactor.registrations.poller = poller.leave()
        reactor.leave()
        if not self.ended.done():
            self.ended.set_result(None)

    def wake(self) -> None:
        """Schedule a pass; any thread may call this."""
        if not self._is_passing or not self._alarm.is_here():
            self._alarm.soon()

    def create_task(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Return a task that runs *coroutine*; ExitNow from it ends the serving."""
        return self._tasks.create(coroutine)

    def _run(self) -> None:
        """Run one pass, and schedule the next."""
        # Within a pass already: nest_asyncio lets a callback run asyncio's loop.
        if self.ended.done() or self._is_passing:
            return
        self._is_passing = True
        began = monotonic()
        try:
            seconds = self._reactor.run_ready(self._most_events)
            self._watch()
        except (KeyboardInterrupt, SystemExit):
            self._stop()
            raise
        except BaseException as error:
            self._fail(error)
        else:
            self._alarm.within(seconds)
            if monotonic() - began > _LONGEST_PASS:
                self._most_events = (self._most_events + 1) // 2
            elif self._most_events < _MOST_EVENTS:
                self._most_events += 1
        finally:
            self._is_passing = False

    def _watch(self) -> None:
        """Have asyncio wait for the poller's descriptor, which changes when the poller is closed and opened again."""
        poller: Any = self._reactor.registrations.poller
        if isinstance(poller, DescriptorPoller):
            return
        source = poller.source()
        if source is not self._source:
            self._unwatch()
            self._source, self._fd = source, source.fileno()
            self._loop.add_reader(self._fd, self._run)

    def _unwatch(self) -> None:
        if self._source is not None:
            self._loop.remove_reader(self._fd)
            self._source = None

    def _fail(self, error: BaseException) -> None:
        self._stop()
        if not self.ended.done():
            self.ended.set_exception(error)

    def _stop(self) -> None:
        self._alarm.stop()
        self._unwatch()
