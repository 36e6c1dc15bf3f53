"""What is waited for in an asyncore map, and who is told.

Registrations persist: a pass costs what happens in it, not what is connected.  Channels are known by the map
alone: a SocketMap notes what is put into it and taken out, and a channel may tell it by ``touch()`` that it
wants to be asked again.  Only who does not is asked on every pass.
"""

import contextlib
import errno
import os
import socket
import sys
import weakref
from threading import get_ident
from typing import ClassVar

from .._asyncore import asyncore
from .maps import SocketMap
from .pollers import ERROR, HANGUP, INVALID, READ, URGENT, WRITE, pollers
from .timers import let_go_of, timers_of

__all__ = ["ACCEPT_PAUSE", "EXHAUSTED", "Reactor"]

_GONE = frozenset(
    getattr(errno, name) for name in ("ECONNRESET", "ENOTCONN", "ESHUTDOWN", "ECONNABORTED", "EPIPE", "EBADF")
)
_ENDING = (asyncore.ExitNow, KeyboardInterrupt, SystemExit)
EXHAUSTED = frozenset(getattr(errno, name) for name in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"))
_LONGEST_WAIT = 86400.0  # seconds for a timer, as pollers count milliseconds in an int
ACCEPT_PAUSE = 1.0  # seconds without accepting where descriptors or memory have run out


class _Waker:
    """A pair of sockets, one to be waited for and one to end the waiting by."""

    def __init__(self):
        self.socket, self._other = socket.socketpair()
        self.fd = self.socket.fileno()
        self.socket.setblocking(False)
        self._other.setblocking(False)
        weakref.finalize(self, _close_all, self.socket, self._other)

    def wake(self):
        with contextlib.suppress(OSError):  # full: it will wake; closed: nobody waits
            self._other.send(b"\0")

    def drain(self):
        with contextlib.suppress(OSError):
            self.socket.recv(4096)

    def close(self):
        _close_all(self.socket, self._other)


def _close_all(*closable):
    for each in closable:
        each.close()


class Reactor:
    """What is waited for in one map, and for whom."""

    alive: ClassVar = weakref.WeakSet()

    @classmethod
    def of(cls, map):
        """Return the reactor of *map*, entered: it is to be left."""
        reactor = getattr(map, "reactor", None) or _of_plain_maps.get(id(map))
        if reactor is None:
            reactor = cls(map)
            if reactor.notes:
                map.reactor = reactor
            else:
                _of_plain_maps[id(map)] = reactor
        reactor.depth += 1
        return reactor

    def __init__(self, map):
        self.map = map
        self.notes = isinstance(map, SocketMap)  # a plain dict does not: all its channels are asked
        self.depth = 0  # nested calls of loop()
        self.passes = 0
        self.thread = None  # the one that waits, while it does
        self.open()
        Reactor.alive.add(self)

    def open(self):
        self.channels = {}  # fd -> the channel that is registered
        self.masks = {}  # fd -> what is waited for
        self.asked = set()  # fds of channels that do not report
        self.reports = {}  # fd -> what tells the channel's interest if it reports, else None
        self.classes = []  # of channels that report: class, its readable, its writable
        self.poller = _best_poller(self.notes)()
        self.waker = None
        if self.notes:
            self.waker = _Waker()
            self.poller.set(self.waker.fd, 0, READ)
            self.map.changed.update(self.map)

    def close(self):
        self.poller.close()
        if self.waker is not None:
            self.waker.close()

    def reopen(self):
        """Begin anew in a forked process, which must not touch the registrations of its parent."""
        self.close()
        self.open()

    def leave(self):
        self.depth -= 1
        if self.depth or (self.notes and self.map):
            return  # what is registered serves the next loop()
        Reactor.alive.discard(self)
        self.close()
        if self.notes:
            self.map.reactor = None
        else:
            del _of_plain_maps[id(self.map)]
            let_go_of(self.map)

    def wake(self):
        if self.thread is not None and self.thread != get_ident():
            self.waker.wake()

    def run_pass(self, timeout):
        """Wait once for *timeout* seconds at most, and dispatch what happened."""
        self.thread = get_ident()  # from here on, what is noted elsewhere ends the waiting
        timers = timers_of(self.map)
        try:
            if self.ask():
                timeout = 0
            due = timers.seconds_to_next()
            if due is not None and (timeout is None or due < timeout):
                timeout = min(due, _LONGEST_WAIT)
            happened = self.poller.poll(timeout)
        finally:
            self.thread = None
        self.passes = this = self.passes + 1
        for fd, mask in happened:
            if self.passes != this:
                break  # a nested loop() has served all, and descriptors may mean other channels since
            self.dispatch(fd, mask)
        if due is not None:
            timers.run_due(_log_failure)

    def ask(self):
        """Ask those channels what they wait for that may have changed their mind; tell whether it happened again."""
        if not self.notes:
            for fd in self.channels.keys() | self.map.keys():
                self.ask_one(fd)
            return False
        changed = self.map.changed
        for cls, readable, writable in self.classes:
            if cls.readable is not readable or cls.writable is not writable:
                changed.update(self.channels)
                self.classes.clear()
                break
        if not changed:
            for fd in tuple(self.asked):
                self.ask_one(fd)
            return bool(changed - self.asked) if changed else False
        asked = set(self.asked)
        for _ in range(len(changed)):  # one by one, as other threads add to it
            asked.add(changed.pop())
        try:
            for fd in asked:
                self.ask_one(fd)
        except BaseException:
            changed |= asked  # for the next loop()
            raise
        changed -= self.asked  # who is asked on every pass need not be noted
        return bool(changed)

    def ask_one(self, fd):
        channel = self.map.get(fd)
        if channel is not self.channels.get(fd):
            self.forget(fd)
            if channel is not None:
                self.register(fd, channel)
        if channel is None:
            return
        before = self.masks.get(fd, 0)
        mask = self.interest(fd, channel)
        if mask != before and self.map.get(fd) is channel:
            self.masks[fd] = mask
            try:
                self.poller.set(fd, before, mask)
            except (OSError, ValueError):  # closed behind the channel's back
                self.dispatch(fd, INVALID)

    def register(self, fd, channel):
        self.channels[fd] = channel
        self.reports[fd] = report = getattr(channel, "_ac_interest", None) if self.notes else None
        cls = type(channel)
        if report is not None and cls not in (each[0] for each in self.classes):
            report()  # which may change the methods
            self.classes.append((cls, cls.readable, cls.writable))

    def interest(self, fd, channel):
        """Return the mask of what *channel* waits for."""
        report = self.reports[fd]
        interest = None if report is None else report()
        if interest is None:
            self.asked.add(fd)
            interest = channel.readable(), channel.writable()
        else:
            self.asked.discard(fd)
        if id(channel) in _resting:
            return 0
        readable, writable = interest
        mask = READ | URGENT if readable else 0
        return mask | WRITE if writable and not channel.accepting else mask

    def forget(self, fd):
        """Stop waiting for *fd*."""
        self.channels.pop(fd, None)
        self.reports.pop(fd, None)
        self.asked.discard(fd)
        mask = self.masks.pop(fd, 0)
        if mask:
            self.poller.set(fd, mask, 0)

    def dispatch(self, fd, mask):
        """Tell the channel at *fd* what happened, as ``asyncore.readwrite()`` does."""
        channel = self.channels.get(fd)
        if channel is None or self.map.get(fd) is not channel:
            if self.waker is not None and fd == self.waker.fd:
                self.waker.drain()
            return  # or closed by another since it happened, or another itself
        try:
            if mask == READ:
                channel.handle_read_event()
                return
            if mask & READ:
                channel.handle_read_event()
                mask &= ~(READ | HANGUP | ERROR)  # reading tells, after all that there is to be read
            if mask:
                if self.notes:
                    self.map.changed.add(fd)
                for flag, handle in _HANDLERS:
                    if mask & flag and self.map.get(fd) is channel:
                        handle(channel)
        except OSError as error:
            if error.errno in _GONE:
                channel.handle_close()
            elif channel.accepting and error.errno in EXHAUSTED:
                self.rest(channel, error)
            else:
                channel.handle_error()
        except _ENDING:
            raise
        except BaseException:
            channel.handle_error()
        if mask & (HANGUP | ERROR | INVALID) and self.channels.get(fd) is channel:
            # It did not close, and would be told so for ever.
            self.poller.set(fd, self.masks.get(fd, 0), 0)

    def rest(self, acceptor, error):
        """Leave connections waiting until there may be descriptors for them."""
        if not getattr(acceptor, "_ac_exhausted", False):
            acceptor._ac_exhausted = True  # said once
            acceptor.log_info(f"{acceptor!r} accepts no connections for a while: {error}", "error")
        _resting[id(acceptor)] = acceptor
        timers_of(self.map).call_later(ACCEPT_PAUSE, _resting.pop, id(acceptor), None)


_of_plain_maps = {}  # id -> _Reactor, while it is entered
_resting = {}  # id -> acceptor, where descriptors or memory have run out


def _best_poller(notes):
    """Return the class of the poller for a map that tells what leaves it, or does not.

    A descriptor that leaves unnoticed may be open elsewhere, or open again as another: no poller
    will do whose registrations are the system's, and not of numbers.
    """
    by_number = [pollers[name] for name in ("poll", "select") if name in pollers]
    return next(iter(pollers.values()) if notes or not by_number else iter(by_number))


_HANDLERS = (
    (WRITE, lambda channel: channel.handle_write_event()),
    (URGENT, lambda channel: channel.handle_expt_event()),
    (HANGUP | ERROR | INVALID, lambda channel: channel.handle_close()),
)


def _log_failure(callback):
    """Log what *callback* has raised, as that of a channel is; what ends the loop goes on."""
    kind, error, _ = sys.exc_info()
    if issubclass(kind, _ENDING):
        raise
    _, _, _, where = asyncore.compact_traceback()
    what = f"uncaptured python exception in {callback!r} ({kind}:{error} {where})"
    asyncore.dispatcher(map={}).log_info(what, "error")


def _reopen_all():
    for reactor in list(Reactor.alive):
        reactor.reopen()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reopen_all)
