"""``Registrations``: the channels of a SocketMap that are registered with the poller, and for which events.

Registrations persist, so that the cost of a pass depends on its events, not on the number of connections.  A
SocketMap reports what is put into it and taken out; those of a plain dict are in ``plain_registrations``.
"Asking" a channel is calling its ``readable()`` and ``writable()``.
"""

from collections.abc import Callable
from math import inf
from typing import Any, TypeAlias

from .._asyncore import asyncore
from .interest import Exceptions, is_elsewhere, methods_of, reports
from .maps import SocketMap
from .plain_registrations import PlainRegistrations
from .pollers import INVALID, READ, URGENT, WRITE, Poller
from .slow_round import SlowRound

__all__ = ["AnyRegistrations", "Registrations"]


class Registrations:
    """The registrations of one SocketMap."""

    is_told = True  # by the map, of what changes

    def __init__(self, map: SocketMap, poller: Poller) -> None:
        self.map = map
        self.poller = poller
        self.channels: dict[int, Any] = {}  # the known channels, by descriptor
        self.classes: dict[type, tuple[Any, Any]] = {}  # the classes that report, with their readable() and writable()
        self.closed: list[int] = []  # descriptors found closed, whose channels must be told
        self.exceptions = Exceptions()
        self.slow = SlowRound()
        self._others: set[type] = set()  # the classes that do not report
        self._asked: set[int] = set()  # descriptors of channels that are asked in each pass
        self._sockets: dict[int, Any] = {}  # the sockets that are registered, by descriptor; None for other objects
        self._unsure: set[int] = set()  # descriptors that may belong to another file than the registered one
        self.show(False)
        self.map.changed.update(map)

    def show(self, use_poll: bool) -> None:
        """Register as asyncore's poll2() does with *use_poll* (bool), else as its poll() by select() does."""
        self.use_poll = use_poll
        self.write_mask = WRITE if use_poll else WRITE | URGENT  # with select(), writers are told of urgent data, too
        self._ask_all_again()

    def _ask_all_again(self) -> None:
        self.map.changed.update(self.channels)

    @property
    def asks_in_each_pass(self) -> bool:
        """Whether there are channels that do not report changes of their interest (bool)."""
        return bool(self._asked or self.map.watched)

    @property
    def has_changes(self) -> bool:
        """Whether changes were reported that ``ask()`` has not seen (bool)."""
        return bool(self.map.changed)

    def note_code_has_run(self) -> None:
        """Have the slow round ask all channels, because code of the program has run, and may have changed any."""
        self.slow.owed = len(self.channels)

    def note_failure(self, happened: list[tuple[int, int]]) -> None:
        """Have the channels of the events in *happened* asked in the next pass, as not all were handled to the end."""
        self.map.changed.update(fd for fd, _ in happened if fd in self.channels)

    def note_change(self, fd: int, channel: Any, events: int) -> None:
        """Have *channel* asked before the next wait, and *fd* registered anew, after its *events* (a mask)."""
        if fd not in self._asked or self._may_be_another_file(fd, channel):
            self._unsure.add(fd)
        if fd not in self._asked:
            self.map.changed.add(fd)
        if events & INVALID and self.channels.get(fd) is channel:
            self.exceptions.pause(fd)  # the channel has not closed: else each pass would report it

    def ask(self, now: float, again: bool = False) -> float:
        """Ask the channels whose interest may have changed; return for how many seconds the loop may wait then.

        With *again* (bool), the pass has asked before and goes on waiting: "in each pass" means once.
        """
        map, slow = self.map, self.slow
        if slow.owed and now >= slow.next:
            self._look_at_classes()
            self._ask_slowly(slow.take(self.channels, now))
        wait = slow.next - now if slow.owed else inf
        if self._asked or map.changed or map.watched or self.exceptions.fds:
            self._ask_some(again)
            return 0.0 if map.changed or self.closed else min(wait, self.exceptions.longest_wait())
        return wait

    def _ask_some(self, again: bool) -> None:
        map = self.map
        changed = map.changed
        fds = self.exceptions.to_ask()
        if not again:
            fds.update(self._asked, map.watched)
        for _ in range(len(changed)):  # one by one, because other threads add to it meanwhile
            fds.add(changed.pop())
        try:
            self._ask_each(fds)
        except BaseException:
            changed |= fds  # so that the next loop() asks them all
            raise
        changed.difference_update(self._asked)  # left here, they would prevent waiting

    def _ask_each(self, fds: set[int]) -> None:
        """Ask the channels at *fds*; the first loop is fast for the many whose interest has not changed."""
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
        """Have all channels asked if ``readable()`` or ``writable()`` of a class has been replaced."""
        for cls, methods in self.classes.items():
            if methods_of(cls) != methods:
                self.classes.clear()
                self._ask_all_again()
                break

    def _ask_slowly(self, fds: list[int]) -> None:
        """Have those of *fds* asked whose interest has changed unreported, or that may be other files by now."""
        changed = self.map.changed
        for fd in fds:
            channel = self.channels.get(fd)
            if self.map.get(fd) is not channel:
                changed.add(fd)
            elif self._may_be_another_file(fd, channel):
                self._unsure.add(fd)
                changed.add(fd)
            elif fd in self._asked:
                continue
            elif type(channel) not in self.classes or self._interest(fd, channel) != self.poller.masks.get(fd, 0):
                changed.add(fd)

    def _may_be_another_file(self, fd: int, channel: Any) -> bool:
        if not isinstance(channel, asyncore.dispatcher) or is_elsewhere(channel, fd):
            return True
        return channel.socket is not self._sockets.get(fd, channel.socket)  # it may have been replaced at its number

    def _ask_one(self, fd: int) -> None:
        channel, known = self.map.get(fd), self.channels.get(fd)
        if channel is not known:
            if known is not None or fd in self.poller.masks:
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
                sock = getattr(channel, "socket", None) if isinstance(channel, asyncore.dispatcher) else None
                self._sockets[fd] = sock  # before set(): the socket that was there may be closed with this reference
                self.poller.set(fd, mask)
            except (OSError, ValueError):  # the descriptor was closed, and the channel does not know
                self.closed.append(fd)

    def _classify(self, fd: int, cls: type) -> None:
        if not reports(cls):
            if len(self._others) > len(self.channels):
                self._others.clear()
            self._others.add(cls)
            self._asked.add(fd)
            return
        if len(self.classes) > len(self.channels):  # a program may make classes by the thousand: forget old ones
            self.classes.clear()
            self._ask_all_again()
        self.classes[cls] = methods_of(cls)
        self._asked.discard(fd)

    def _interest(self, fd: int, channel: Any) -> int:
        """Ask *channel*, and return its interest as a mask."""
        mask = READ | URGENT if channel.readable() else 0
        if channel.writable() and not getattr(channel, "accepting", False):
            mask |= self.write_mask
        return self.exceptions.restrict(fd, channel, mask) if self.exceptions.fds else mask

    def forget(self, fd: int) -> None:
        """Stop waiting for *fd*; any thread may call this."""
        self.channels.pop(fd, None)
        self._asked.discard(fd)
        self._sockets.pop(fd, None)
        if fd in self.exceptions.fds:
            self.exceptions.discard(fd)
        if fd in self.poller.masks:
            self.poller.set(fd, 0)


AnyRegistrations: TypeAlias = Registrations | PlainRegistrations
