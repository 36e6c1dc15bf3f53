"""``Reactor``: makes the passes over one map; each waits, and then calls the channels for their events."""

import os
import select
import sys
import weakref
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import Any, ClassVar

from .._asyncore import asyncore
from .maps import Embedder, Kept, Map, SocketMap, kept_for, let_go_of
from .pollers import INVALID, READ, URGENT, Events, Lost, Poller, pollers
from .registrations import Registrations
from .telling import ENDING, POLL, SELECT
from .waker import Waker, waker_beside

__all__ = ["Reactor", "log_failure"]

_LONGEST_WAIT = 86400.0  # seconds: pollers count milliseconds in a C int, which longer times would overflow
_ASKED_AFTER = 1.0  # seconds between two passes, embedded in asyncio, if there are channels that must be asked


class Reactor:
    """Serves one map, for ``loop()`` or embedded in an asyncio program."""

    alive: ClassVar["weakref.WeakSet[Reactor]"] = weakref.WeakSet()

    def __init__(self, map: Map, kept: Kept) -> None:
        self.registrations = Registrations(map, _best_poller(map)())
        self._map = map
        self._timers = kept.timers
        self.counters = kept.counters
        self.thread = 0  # the thread that has entered last, by its identifier
        self._waker: Waker | None = None  # made by the first pass that needs it
        self.embedder: Embedder | None = None  # set while an asyncio loop runs the passes
        self._is_waiting = False
        self._depth = 0  # nested calls of loop()
        Reactor.alive.add(self)

    @classmethod
    def enter(cls, map: Map) -> "Reactor":
        """Return the reactor of *map*; the caller must call ``leave()`` at the end."""
        kept = kept_for(map)
        reactor: Reactor | None = kept.reactor
        if reactor is None:
            reactor = kept.reactor = cls(map, kept)
        if not reactor._depth:
            reactor.counters.since = monotonic()
        reactor._depth += 1
        reactor.thread = get_ident()
        reactor.registrations.code_has_run = True
        return reactor

    @property
    def is_running(self) -> bool:
        """See ``Serving.is_running``."""
        return self._depth > 0

    def leave(self) -> None:
        """Undo ``enter()``, and close, unless an outer loop goes on or a SocketMap's registrations may serve again."""
        self._depth -= 1
        if self._depth:
            return
        self._rest()
        if self.registrations.noting is not None and self._map:
            return
        Reactor.alive.discard(self)
        kept_for(self._map).reactor = None
        let_go_of(self._map)
        self.close()

    def _rest(self) -> None:
        """Count the time up to now, and note that the loop does not run."""
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

    def run_pass(self, timeout: float | None, use_poll: bool) -> None:
        """Wait for *timeout* seconds at most (None: no limit), and call the channels for their events.

        They are told what poll() shows with *use_poll* (bool), else what select() shows.
        """
        registrations = self.registrations
        if use_poll is not registrations.use_poll:
            registrations.show(use_poll)
        began, longest, again = self.counters.since, timeout, False
        while not (happened := self._wait(timeout, again)):
            if longest is not None:
                timeout = began + longest - self.counters.since
                if timeout <= 0:
                    break
            if self._timers.seconds_to_next() == 0:
                break
            again = True
        self._act(happened, use_poll)

    def run_ready(self, most: int) -> float | None:
        """Call the channels for their present events, *most* of them, without waiting.

        Return the seconds until the next pass is due; None if it is due only at an event, or after ``wake()``.
        """
        registrations = self.registrations
        self.counters.since = monotonic()
        try:
            return self._run_ready(registrations, most)
        finally:
            self._rest()

    def _run_ready(self, registrations: Registrations, most: int) -> float | None:
        if registrations.use_poll:
            registrations.show(False)
        try:
            if registrations.noting is not None and registrations.noting.changed:
                registrations.ask(self.counters.since)  # asyncio's code may have paused a channel since the last pass
            happened = registrations.poller.poll(0, most)
        except (OSError, Lost):  # the program has become a daemon, and closed all descriptors
            self.close()
            happened = []
        self._act(self._with_closed(happened), False)
        now = monotonic()
        try:
            if registrations.ask(now) or registrations.poller.is_ready:
                return 0.0
        except Lost:
            self.close()
            return 0.0
        wait = self._limited(None, now)
        if registrations.asks_in_each_pass:
            return _ASKED_AFTER if wait is None else min(wait, _ASKED_AFTER)
        return wait

    def _act(self, happened: Events, use_poll: bool) -> None:
        """Call the channels for the events in *happened*, and run the timers that are due."""
        counters = self.counters
        counters.passes += 1
        if happened:
            counters.events += len(happened)
            self._dispatch(happened, use_poll)
        if (self._timers.heap and self._timers.run_due(log_failure)) or happened:
            self.registrations.code_has_run = True

    def _wait(self, timeout: float | None, again: bool) -> Events:
        """Ask the channels for their interest, wait once, and return the events; *again* is that of ``ask()``."""
        registrations, counters = self.registrations, self.counters
        self._is_waiting = True  # before asking: a change that another thread makes from here on must end the wait
        try:
            if self._waker is None and registrations.noting is not None:
                self._waker = waker_beside(self._map)
                registrations.poller.set(self._waker.fd, READ)
            is_ready = registrations.ask(counters.since, again)
            now = monotonic()
            took = now - counters.since  # counters.add() inlined, for speed
            counters.busy += took
            if took > counters.longest:
                counters.longest = took
            timeout = 0 if is_ready else self._limited(timeout, now)
            try:
                happened = registrations.poller.poll(timeout)
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

    def _limited(self, timeout: float | None, now: float) -> float | None:
        """Return *timeout*, shortened to the time until a timer, or a channel that must be asked, is due."""
        registrations = self.registrations
        limit = self._timers.seconds_to_next() if self._timers.heap else None
        if registrations.slow.owed and (limit is None or registrations.slow.next - now < limit):
            limit = registrations.slow.next - now
        if registrations.exceptions.fds:
            waits = registrations.exceptions.longest_wait()
            limit = waits if limit is None or (waits is not None and waits < limit) else limit
        if limit is None or (timeout is not None and timeout <= limit):
            return timeout if timeout is None else min(timeout, _LONGEST_WAIT)
        return min(max(limit, 0.0), _LONGEST_WAIT)

    def _dispatch(self, happened: Events, use_poll: bool) -> None:
        """Call the channels for the events in *happened*."""
        registrations, counters, this = self.registrations, self.counters, self.counters.passes
        channel_at: Callable[[int], Any] = self._map.get
        channels, classes, masks = registrations.channels, registrations.classes, registrations.poller.masks
        write_mask, exceptional = registrations.write_mask, registrations.exceptions.fds
        words = POLL if use_poll else SELECT
        try:
            for fd, events in happened:
                if counters.passes != this:
                    return  # a nested loop() has served all events, and the descriptors may belong to others by now
                channel = channels.get(fd)
                if channel is not channel_at(fd) or channel is None:
                    self._drain(fd, events)
                    continue
                sock = getattr(channel, "socket", None) if (reports := type(channel) in classes) else None
                if events != READ or exceptional:
                    words.tell(registrations, fd, channel, events)
                else:  # the usual case, which is the same for select and poll
                    try:
                        channel.handle_read_event()
                    except ENDING:
                        raise
                    except BaseException as error:
                        words.fail(registrations, fd, channel, error)
                if channel is not channel_at(fd):
                    continue
                try:  # is_elsewhere() inlined, for speed
                    stays = reports and channel.socket is sock and sock.fileno() == fd
                except (AttributeError, OSError, ValueError):
                    stays = False
                if stays:
                    mask = READ | URGENT if channel.readable() else 0
                    if (mask | write_mask if channel.writable() else mask) == masks.get(fd):
                        continue
                registrations.note_change(fd, channel, events)
        except BaseException:
            registrations.note_failure(happened)
            raise

    def _drain(self, fd: int, events: int) -> None:
        """Act upon an event at *fd*, where there is no channel: it has closed meanwhile, or it is that of the waker."""
        waker = self._waker
        if waker is None or fd != waker.fd:
            if fd not in self._map:  # another thread has removed the channel while this one registered it
                self.registrations.forget(fd)
                self.registrations.poller.set(fd, 0)
        elif events & INVALID or not waker.drain():
            self.close()  # the program has closed all descriptors


def _best_poller(map: Map) -> type[Poller]:
    """Return the class of the poller for *map*: the best one for a SocketMap, poll or select for a plain dict.

    epoll and kqueue register files, not numbers.  A plain dict does not report when a descriptor leaves it; then it may
    still be open in another process, or be open again as another file, and its registration would be wrong.
    """
    usable = {name: poller for name, poller in pollers.items() if hasattr(select, name)}  # gevent removes some
    by_number = [usable[name] for name in ("poll", "select") if name in usable]
    return next(iter(usable.values()) if isinstance(map, SocketMap) or not by_number else iter(by_number))


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
