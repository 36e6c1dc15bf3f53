"""``Reactor``: makes the passes over one map; each waits, and then calls the channels for their events."""

import os
import select
import sys
import weakref
from threading import get_ident
from time import monotonic
from typing import Any, ClassVar

from .._asyncore import asyncore
from .maps import Embedder, Kept, Map, SocketMap, kept_for, let_go_of
from .plain_registrations import PlainRegistrations
from .pollers import INVALID, READ, URGENT, Events, Lost, Poller, pollers
from .registrations import AnyRegistrations, Registrations
from .telling import ENDING, POLL, SELECT
from .waker import Waker, waker_beside

__all__ = ["Reactor", "log_failure"]

_READS = READ | URGENT  # the mask of a channel that only reads
_LONGEST_WAIT = 86400.0  # seconds: pollers count milliseconds in a C int, which longer times would overflow
_ASKED_AFTER = 1.0  # seconds between two passes, embedded in asyncio, if there are channels that must be asked


class Reactor:
    """Serves one map, for ``loop()`` or embedded in an asyncio program."""

    alive: ClassVar["weakref.WeakSet[Reactor]"] = weakref.WeakSet()

    def __init__(self, map: Map, kept: Kept) -> None:
        self.registrations: AnyRegistrations
        if isinstance(map, SocketMap):
            self.registrations = Registrations(map, _best_poller(_BEST_FIRST)())
        else:
            self.registrations = PlainRegistrations(map, _best_poller(_BY_NUMBER_FIRST)())
        self._map: Any = map
        self._kept = kept
        self._timers = kept.timers
        self.counters = kept.counters
        self.thread = 0  # the thread that has entered last, by its identifier
        self._waker: Waker | None = None  # made by the first pass that needs it
        self.embedder: Embedder | None = None  # set while an asyncio loop runs the passes
        self._is_waiting = False
        self._depth = 0  # nested calls of loop()
        self._counted = 0  # the depth at which the time is not counted: within asyncio, between two passes, it is 1
        if self.registrations.is_told:  # else there is nothing that belongs to this process alone
            Reactor.alive.add(self)

    @classmethod
    def enter(cls, map: Map) -> "Reactor":
        """Return the reactor of *map*; the caller must call ``leave()`` at the end."""
        kept = kept_for(map)
        reactor: Reactor | None = kept.reactor
        if reactor is None:
            reactor = kept.reactor = cls(map, kept)
        if not reactor.counters.since:
            reactor.counters.since = monotonic()
            reactor._counted = reactor._depth
        reactor._depth += 1
        reactor.thread = get_ident()
        reactor.registrations.note_code_has_run()
        return reactor

    @property
    def is_running(self) -> bool:
        """See ``Serving.is_running``."""
        return self._depth > 0

    def leave(self) -> None:
        """Undo ``enter()``, and close, unless an outer loop goes on or a SocketMap's registrations may serve again."""
        self._depth -= 1
        if self._depth == self._counted:
            self._rest()
        if self._depth:
            return
        if self.registrations.is_told and self._map:
            return
        Reactor.alive.discard(self)
        self._kept.reactor = None
        let_go_of(self._map)
        self.close()

    def _rest(self) -> None:
        """Count the time up to now, unless it rests already, and note that the loop does not run."""
        if self.counters.since:
            self.counters.add(monotonic())
            self.counters.since = 0.0

    def close(self) -> None:
        """Close the descriptors of the poller and the waker; the next pass opens new ones."""
        self.registrations.poller.close()
        waker, self._waker = self._waker, None
        if waker is not None:
            if waker.fd not in self.registrations.channels:  # else the number belongs to a channel by now
                self.registrations.poller.set(waker.fd, 0)
            waker.close()

    def wake(self) -> None:
        """End the wait of the present pass; any thread, and a signal handler, may call this."""
        embedder, waker = self.embedder, self._waker
        if embedder is not None:
            embedder.wake()
        if self._is_waiting and waker is not None:
            waker.wake()

    def forget(self, fd: int) -> None:
        """Stop waiting for *fd*; any thread may call this."""
        self.registrations.forget(fd)
        if not self._depth and not self._map:  # the last channel has closed while no loop runs
            self.close()

    def run_pass(self, timeout: float, use_poll: bool) -> None:
        """Wait for *timeout* seconds at most, and call the channels for their events.

        They are told what poll() shows with *use_poll* (bool), else what select() shows.
        """
        if use_poll is not self.registrations.use_poll:
            self.registrations.show(use_poll)
        end = self.counters.since + timeout
        happened = self._wait(timeout, again=False)
        while not happened and (left := end - self.counters.since) > 0 and self._timers.seconds_to_next() > 0:
            happened = self._wait(left, again=True)
        self._act(happened, use_poll)

    def run_ready(self, most: int) -> float:
        """Call the channels for their present events, *most* of them, without waiting.

        Return the seconds until the next pass is due; infinite if it is due only at an event, or after ``wake()``.
        """
        registrations = self.registrations
        self.counters.since = monotonic()
        try:
            return self._run_ready(registrations, most)
        finally:
            self._rest()

    def _run_ready(self, registrations: AnyRegistrations, most: int) -> float:
        if registrations.use_poll:
            registrations.show(False)
        try:
            if registrations.has_changes:
                registrations.ask(self.counters.since)  # asyncio's code may have paused a channel since the last pass
            happened = registrations.poller.poll(0, most)
        except (OSError, Lost):  # the program has become a daemon, and closed all descriptors
            self.close()
            happened = []
        self._act(self._with_closed(happened), False)
        try:
            wait = registrations.ask(monotonic())
        except Lost:
            self.close()
            return 0.0
        if registrations.poller.is_ready:
            return 0.0
        if registrations.asks_in_each_pass:
            wait = min(wait, _ASKED_AFTER)
        return min(wait, self._timers.seconds_to_next())

    def _wait(self, timeout: float, again: bool) -> Events:
        """Ask the channels for their interest, wait once, and return the events; *again* is that of ``ask()``."""
        registrations, counters = self.registrations, self.counters
        self._is_waiting = True  # before asking: a change that another thread makes from here on must end the wait
        try:
            if self._waker is None and registrations.is_told:
                self._waker = waker_beside(self._map)
                registrations.poller.set(self._waker.fd, READ)
            if (limit := registrations.ask(counters.since, again)) < timeout:
                timeout = limit
            if self._timers.heap and (limit := self._timers.seconds_to_next()) < timeout:
                timeout = limit
            took = monotonic() - counters.since  # counters.add() inlined, for speed
            counters.busy += took
            if took > counters.longest:
                counters.longest = took
            poll = registrations.poller.poll
            try:
                happened = poll(_LONGEST_WAIT if timeout > _LONGEST_WAIT else timeout)
            except OSError:  # the program has closed all descriptors; any other error is raised again by poll()
                self.close()
                happened = registrations.poller.poll(0)
        except Lost:
            self.close()
            return []
        finally:
            self._is_waiting = False
            counters.since = monotonic()
        return self._with_closed(happened) if registrations.closed else happened

    def _with_closed(self, happened: Events) -> Events:
        """Return *happened*, with an INVALID event for each descriptor that was found closed."""
        closed = self.registrations.closed
        happened = happened + [(fd, INVALID) for fd in closed]
        closed.clear()
        return happened

    def _act(self, happened: Events, use_poll: bool) -> None:
        """Call the channels for the events in *happened*, and run the timers that are due."""
        registrations, counters, map = self.registrations, self.counters, self._map
        channels, classes, masks = registrations.channels, registrations.classes, registrations.poller.masks
        write_mask, exceptional = registrations.write_mask, registrations.exceptions.fds
        this = counters.passes = counters.passes + 1
        counters.events += len(happened)
        try:
            for fd, events in happened:
                if counters.passes != this:
                    break  # a nested loop() has served all events, and the descriptors may belong to others by now
                channel = channels.get(fd)
                if channel is None or channel is not map.get(fd):
                    self._drain(fd, events)
                    continue
                sock = getattr(channel, "socket", None) if (reports := type(channel) in classes) else None
                if events != READ or exceptional:
                    (POLL if use_poll else SELECT).tell(registrations, fd, channel, events)
                    reports = reports and fd not in exceptional  # else not all that it wants is waited for
                else:  # the usual case, which is the same for select and poll
                    try:
                        channel.handle_read_event()
                    except BaseException as error:
                        (POLL if use_poll else SELECT).fail(registrations, fd, channel, error)
                if channel is not map.get(fd):
                    continue
                try:  # is_elsewhere() inlined, for speed
                    stays = reports and channel.socket is sock and sock.fileno() == fd
                except (AttributeError, OSError, ValueError):
                    stays = False
                if stays:
                    mask = _READS if channel.readable() else 0
                    if (mask | write_mask if channel.writable() else mask) == masks.get(fd):
                        continue
                registrations.note_change(fd, channel, events)
        except BaseException:
            registrations.note_failure(happened)
            raise
        if (self._timers.heap and self._timers.run_due(log_failure)) or happened:
            registrations.note_code_has_run()

    def _drain(self, fd: int, events: int) -> None:
        """Act upon an event at *fd*, where there is no channel: it has closed meanwhile, or it is that of the waker."""
        waker = self._waker
        if waker is None or fd != waker.fd:
            if fd not in self._map:  # another thread has removed the channel while this one registered it
                self.registrations.forget(fd)
                self.registrations.poller.set(fd, 0)
        elif events & INVALID or not waker.drain():
            self.close()  # the program has closed all descriptors


_BEST_FIRST = ("epoll", "kqueue", "poll", "select")
# For a plain dict, which does not report when a descriptor leaves it: then it may still be open in another process, or
# be open again as another file.  The registration with epoll or kqueue, which register files, would be wrong.
_BY_NUMBER_FIRST = ("poll", "select", "epoll", "kqueue")


def _best_poller(names: tuple[str, ...]) -> type[Poller]:
    """Return the class of the first of the pollers *names* that there is: gevent removes some."""
    return next(pollers[name] for name in names if name in pollers and hasattr(select, name))


def log_failure(callback: Any) -> None:
    """Log the exception that *callback* has raised, as asyncore does for channels; raise it again if it ends a loop."""
    kind, error, _ = sys.exc_info()
    if isinstance(error, ENDING):
        raise
    _, _, _, where = asyncore.compact_traceback()
    what = f"uncaptured python exception in {callback!r} ({kind}:{error} {where})"
    asyncore.dispatcher(map={}).log_info(what, "error")


def _close_all() -> None:
    for reactor in list(Reactor.alive):
        reactor.close()


if hasattr(os, "register_at_fork"):
    # A forked process must not touch its parent's registrations; its next pass registers anew.
    os.register_at_fork(after_in_child=_close_all)
