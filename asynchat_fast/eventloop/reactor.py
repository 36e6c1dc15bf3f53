"""The passes over one map: wait, and tell the channels what has happened."""

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
from .waker import Waker

__all__ = ["Reactor", "log_failure"]

_LONGEST_WAIT = 86400.0  # seconds, as pollers count milliseconds in an int
_ASKED_AFTER = 1.0  # seconds within which those that do not report are asked between other code of an asyncio program


class Reactor:
    """What serves one map."""

    alive: ClassVar["weakref.WeakSet[Reactor]"] = weakref.WeakSet()

    def __init__(self, map: Map, kept: Kept) -> None:
        self.registrations = Registrations(map, _best_poller(map)())
        self._map = map
        self._timers = kept.timers
        self.counters = kept.counters
        self.thread = 0  # that has entered last
        self._waker: Waker | None = None  # made by the pass that needs it
        self.embedder: Embedder | None = None  # has the passes run within another loop
        self._is_waiting = False
        self._depth = 0  # nested calls of loop()
        Reactor.alive.add(self)

    @classmethod
    def enter(cls, map: Map) -> "Reactor":
        """Return the reactor of *map*, which is to be left."""
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
        """Let go of the descriptors, unless a loop goes on or what is registered serves the next."""
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
        """Count the time up to now, after which the loop does not run."""
        self.counters.add(monotonic())
        self.counters.since = 0.0

    def close(self) -> None:
        """Let go of the descriptors; the next pass opens others."""
        self.registrations.poller.close()
        waker, self._waker = self._waker, None
        if waker is not None:
            if waker.fd not in self.registrations.channels:  # or it means another file by now
                self.registrations.poller.set(waker.fd, 0)
            waker.close()

    def wake(self) -> None:
        """Have a pass that waits end; any thread may, and a signal handler."""
        embedder, waker = self.embedder, self._waker
        if embedder is not None:
            embedder.wake()
        if self._is_waiting and waker is not None:
            waker.wake()

    def forget(self, fd: int) -> None:
        """Stop waiting for *fd*; any thread may."""
        self.registrations.forget(fd)

    def run_pass(self, timeout: float | None, use_poll: bool) -> None:
        """Wait for *timeout* seconds at most, None for any time, and tell the channels what has happened.

        They are told what poll() shows (*use_poll*), or what select() does.
        """
        registrations = self.registrations
        if use_poll is not registrations.use_poll:
            registrations.show(use_poll)
        began, longest = self.counters.since, timeout
        while not (happened := self._wait(timeout)):
            if longest is not None:
                timeout = began + longest - self.counters.since
                if timeout <= 0:
                    break
            if self._timers.seconds_to_next() == 0:
                break
        self._act(happened, use_poll)

    def run_ready(self, most: int) -> float | None:
        """Tell the channels what has happened by now, *most* events of it, without waiting.

        Return the seconds until the next pass is due; None if only an event, or ``wake()``, makes one necessary.
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
            happened = registrations.poller.poll(0, most)
        except OSError:  # a daemon has closed all descriptors
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
        """Tell the channels what has *happened*, and run the timers that are due."""
        counters = self.counters
        counters.passes += 1
        if happened:
            counters.events += len(happened)
            self._dispatch(happened, use_poll)
        if (self._timers.heap and self._timers.run_due(log_failure)) or happened:
            self.registrations.code_has_run = True

    def _wait(self, timeout: float | None) -> Events:
        """Ask the channels, wait once, and return what has happened."""
        registrations, counters = self.registrations, self.counters
        self._is_waiting = True  # from here on, what is noted elsewhere ends the waiting
        try:
            if self._waker is None and registrations.noting is not None:
                self._waker = Waker()
                registrations.poller.set(self._waker.fd, READ)
            is_ready = registrations.ask(counters.since)
            now = monotonic()
            took = now - counters.since  # counters.add(), without a call
            counters.busy += took
            if took > counters.longest:
                counters.longest = took
            timeout = 0 if is_ready else self._limited(timeout, now)
            try:
                happened = registrations.poller.poll(timeout)
            except OSError:  # a daemon has closed all descriptors; another error is raised again
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
        """Return *happened*, with what was found closed."""
        closed = self.registrations.closed
        happened = happened + [(fd, INVALID) for fd in closed]
        closed.clear()
        return happened

    def _limited(self, timeout: float | None, now: float) -> float | None:
        """Return *timeout*, or how long to wait at most if that is less."""
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
        """Tell the channels what has *happened*."""
        registrations, counters, this = self.registrations, self.counters, self.counters.passes
        channel_at: Callable[[int], Any] = self._map.get
        channels, classes, masks = registrations.channels, registrations.classes, registrations.poller.masks
        write_mask, exceptional = registrations.write_mask, registrations.exceptions.fds
        words = POLL if use_poll else SELECT
        try:
            for fd, events in happened:
                if counters.passes != this:
                    return  # a nested loop() has served all, and descriptors may mean other channels since
                channel = channels.get(fd)
                if channel is not channel_at(fd) or channel is None:
                    self._drain(fd, events)
                    continue
                sock = getattr(channel, "socket", None) if (reports := type(channel) in classes) else None
                if events != READ or exceptional:
                    words.tell(registrations, fd, channel, events)
                else:  # nearly always, and the same in all words
                    try:
                        channel.handle_read_event()
                    except ENDING:
                        raise
                    except BaseException as error:
                        words.fail(registrations, fd, channel, error)
                if channel is not channel_at(fd):
                    continue
                try:  # is_elsewhere(), without a call
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
        """Act upon an event that is for no channel: it was closed since, or somebody has called ``wake()``."""
        waker = self._waker
        if waker is None or fd != waker.fd:
            if fd not in self._map:  # taken out by another thread while this one registered it
                self.registrations.forget(fd)
                self.registrations.poller.set(fd, 0)
        elif events & INVALID or not waker.drain():
            self.close()  # a daemon has closed all descriptors


def _best_poller(map: Map) -> type[Poller]:
    """Return the class of the poller for *map*.

    A descriptor that leaves a plain dict unnoticed may be open elsewhere, or open again as another file: no poller
    will do whose registrations are of files, and not of numbers.
    """
    usable = {name: poller for name, poller in pollers.items() if hasattr(select, name)}  # gevent removes some
    by_number = [usable[name] for name in ("poll", "select") if name in usable]
    return next(iter(usable.values()) if isinstance(map, SocketMap) or not by_number else iter(by_number))


def log_failure(callback: Any) -> None:
    """Log what *callback* has raised, as an error of a channel is logged; what ends the loop goes on."""
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
