"""Which channels of a map the poller knows, and what it waits for on their behalf.

Registrations persist: a pass costs what happens in it, not what is connected.  A SocketMap notes what is put
into it and taken out; of a plain dict, all channels are asked in each pass.
"""

from collections.abc import Callable
from typing import Any

from .._asyncore import asyncore
from .interest import Exceptions, is_elsewhere, methods_of, reports
from .maps import Map, SocketMap
from .pollers import INVALID, READ, URGENT, WRITE, Poller
from .slow_round import SlowRound

__all__ = ["Registrations"]


class Registrations:
    """What is waited for in one map, and for whom."""

    def __init__(self, map: Map, poller: Poller) -> None:
        self.map = map
        self.noting = map if isinstance(map, SocketMap) else None
        self.poller = poller
        self.channels: dict[int, Any] = {}  # those that are registered, by descriptor
        self.classes: dict[type, tuple[Any, Any]] = {}  # that report, with the methods that do
        self.closed: list[int] = []  # descriptors found closed, whose channels are to be told
        self.exceptions = Exceptions()
        self.slow = SlowRound()
        self.code_has_run = False  # of the program, since ask(): it may have changed any channel
        self._others: set[type] = set()  # classes that do not
        self._asked: set[int] = set()  # descriptors whose channels do not report
        self._unsure: set[int] = set()  # descriptors that may mean other files than those registered
        self.show(False)
        if self.noting is not None:
            self.noting.changed.update(map)

    def show(self, use_poll: bool) -> None:
        """Wait from now on for what poll() would be asked for (*use_poll*), or what select() would."""
        self.use_poll = use_poll
        self.write_mask = WRITE if use_poll else WRITE | URGENT  # select() tells writers, too, of urgent data
        self._ask_all_again()

    def _ask_all_again(self) -> None:
        if self.noting is not None:
            self.noting.changed.update(self.channels)

    @property
    def asks_in_each_pass(self) -> bool:
        """Whether there are channels that do not tell when they change their mind (bool)."""
        return self.noting is None or bool(self._asked or self.noting.watched)

    def note_failure(self, happened: list[tuple[int, int]]) -> None:
        """Have the next loop ask those to whom something has *happened*, whatever their handlers have done."""
        if self.noting is not None:
            self.noting.changed.update(fd for fd, _ in happened if fd in self.channels)

    def note_change(self, fd: int, channel: Any, events: int) -> None:
        """Have *channel* asked before the next wait, and *fd* registered anew, after *events* of its own."""
        if fd not in self._asked or not isinstance(channel, asyncore.dispatcher) or is_elsewhere(channel, fd):
            self._unsure.add(fd)
        if self.noting is not None:
            if fd not in self._asked:
                self.noting.changed.add(fd)
            if events & INVALID and self.channels.get(fd) is channel:
                self.exceptions.pause(fd)  # or it would be told in each pass

    def ask(self, now: float) -> bool:
        """Ask those channels what they wait for that may have changed their mind; tell whether not to wait."""
        noting, slow = self.noting, self.slow
        if noting is None:
            self._ask_each(self.channels.keys() | self.map.keys())
            return bool(self.closed)
        if self.code_has_run:
            self.code_has_run = False
            slow.owed = len(self.channels)
        if slow.owed and now >= slow.next:
            self._look_at_classes()
            self._ask_slowly(slow.take(self.channels, now))
        if self._asked or noting.changed or noting.watched or self.exceptions.fds:
            self._ask_some(noting)
        return bool(noting.changed or self.closed)

    def _ask_some(self, noting: SocketMap) -> None:
        changed = noting.changed
        fds = self._asked | noting.watched | self.exceptions.to_ask()
        for _ in range(len(changed)):  # one by one, as other threads add to it
            fds.add(changed.pop())
        try:
            self._ask_each(fds)
        except BaseException:
            changed |= fds  # for the next loop()
            raise
        changed -= self._asked  # those asked in each pass need not be noted

    def _ask_each(self, fds: set[int]) -> None:
        """Ask the channels at *fds*; nearly all want what they wanted, and are asked here as quickly as may be."""
        channels, others, masks, write_mask = self.channels, self._others, self.poller.masks, self.write_mask
        channel_at: Callable[[int], Any] = self.map.get
        for fd in fds.difference(self._unsure, self.exceptions.fds):
            channel = channels.get(fd)
            if channel is not None and channel_at(fd) is channel and type(channel) in others:
                mask = READ | URGENT if channel.readable() else 0
                if channel.writable() and not getattr(channel, "accepting", False):
                    mask |= write_mask
                if mask == masks.get(fd, 0):
                    continue
            self._ask_one(fd)
        for fd in fds & (self._unsure | self.exceptions.fds):
            self._ask_one(fd)

    def _look_at_classes(self) -> None:
        """Have all channels asked if a class has got another ``readable()`` or ``writable()``."""
        for cls, methods in self.classes.items():
            if methods_of(cls) != methods:
                self.classes.clear()
                self._ask_all_again()
                break

    def _ask_slowly(self, fds: list[int]) -> None:
        """Have those at *fds* asked that have changed unnoticed, or may be other files by now."""
        changed = self.noting.changed  # type: ignore[union-attr]  # a plain dict has no slow round
        for fd in fds:
            channel = self.channels.get(fd)
            if self.map.get(fd) is not channel:
                changed.add(fd)
            elif type(channel) not in self.classes or is_elsewhere(channel, fd):
                self._unsure.add(fd)
                changed.add(fd)
            elif self._interest(fd, channel) != self.poller.masks.get(fd, 0):
                changed.add(fd)

    def _ask_one(self, fd: int) -> None:
        channel = self.map.get(fd)
        if channel is not self.channels.get(fd):
            self.forget(fd)
            if channel is not None:
                self.channels[fd] = channel
                if isinstance(channel, asyncore.dispatcher) and not channel.connected:
                    self.exceptions.begin(fd, channel)
        if channel is None:
            self._unsure.discard(fd)
            return
        if type(channel) not in self.classes or fd in self._asked:
            self._classify(fd, type(channel))
        mask, before = self._interest(fd, channel), self.poller.masks.get(fd, 0)
        if mask == before and (not mask or fd not in self._unsure):
            return
        self._unsure.discard(fd)
        if self.map.get(fd) is channel:
            try:
                self.poller.set(fd, mask)
            except (OSError, ValueError):  # closed behind the channel's back
                self.closed.append(fd)

    def _classify(self, fd: int, cls: type) -> None:
        if self.noting is None or not reports(cls):
            if len(self._others) > len(self.channels):
                self._others.clear()
            self._others.add(cls)
            self._asked.add(fd)
            return
        if len(self.classes) > len(self.channels):  # classes made by the thousand are not to be kept
            self.classes.clear()
            self._ask_all_again()
        self.classes[cls] = methods_of(cls)
        self._asked.discard(fd)

    def _interest(self, fd: int, channel: Any) -> int:
        """Return the mask of what *channel* waits for."""
        mask = READ | URGENT if channel.readable() else 0
        if channel.writable() and not getattr(channel, "accepting", False):
            mask |= self.write_mask
        return self.exceptions.restrict(fd, channel, mask) if self.exceptions.fds else mask

    def forget(self, fd: int) -> None:
        """Stop waiting for *fd*; any thread may."""
        self.channels.pop(fd, None)
        self._asked.discard(fd)
        if fd in self.exceptions.fds:
            self.exceptions.discard(fd)
        if fd in self.poller.masks:
            self.poller.set(fd, 0)
