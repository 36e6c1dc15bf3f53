"""Which channels of a map the poller knows, and what it waits for on their behalf.

Registrations persist: a pass costs what happens in it, not what is connected.  A SocketMap notes what is put
into it and taken out; of a plain dict, all channels are asked in each pass.
"""

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
        self._asked: set[int] = set()  # descriptors whose channels do not report
        self._unsure: set[int] = set()  # descriptors that may mean other files than those registered
        self.show(False)
        if self.noting is not None:
            self.noting.changed.update(map)

    def show(self, use_poll: bool) -> None:
        """Wait from now on for what poll() would be asked for (*use_poll*), or what select() would."""
        self.use_poll = use_poll
        self._write_mask = WRITE if use_poll else WRITE | URGENT  # select() tells writers, too, of urgent data
        self._ask_all_again()

    def _ask_all_again(self) -> None:
        if self.noting is not None:
            self.noting.changed.update(self.channels)

    def note_failure(self, happened: list[tuple[int, int]]) -> None:
        """Have the next loop ask those to whom something has *happened*, whatever their handlers have done."""
        if self.noting is not None:
            self.noting.changed.update(fd for fd, _ in happened if fd in self.channels)

    def note_event(self, fd: int, channel: Any, sock: Any, events: int) -> None:
        """Have *channel* asked before the next wait, if its own *events* have changed what it waits for.

        *sock* was its socket before, None if it does not report and is asked in any case.
        """
        if events & INVALID:
            self._rest(fd, channel)
        if sock is not None:
            mask = READ | URGENT if channel.readable() else 0
            if channel.writable() and not channel.accepting:
                mask |= self._write_mask
            try:
                if mask == self.poller.masks.get(fd) and channel.socket is sock and sock.fileno() == fd:
                    return
            except (AttributeError, OSError, ValueError):
                pass
            if self.noting is not None:
                self.noting.changed.add(fd)
        self._unsure.add(fd)

    def ask(self, now: float) -> bool:
        """Ask those channels what they wait for that may have changed their mind; tell whether not to wait."""
        if self.noting is None:
            for fd in self.channels.keys() | self.map.keys():
                self._ask_one(fd)
            return bool(self.closed)
        changed = self.noting.changed
        for cls, methods in self.classes.items():
            if cls.readable is not methods[0] or cls.writable is not methods[1]:  # type: ignore[attr-defined]
                self.classes.clear()
                self._ask_all_again()
                break
        fds = self._asked
        if self.slow.owed and now >= self.slow.next:
            fds = fds.union(self._take_slow(now))
        if self.noting.watched or self.exceptions.fds:
            fds = fds | self.noting.watched | self.exceptions.to_ask()
        if changed:
            fds = fds | {changed.pop() for _ in range(len(changed))}  # one by one, as other threads add to it
        if fds:
            self._ask_some(fds)
        return bool(changed or self.closed)

    def _ask_some(self, fds: set[int]) -> None:
        changed = self.noting.changed  # type: ignore[union-attr]
        try:
            for fd in tuple(fds):
                self._ask_one(fd)
        except BaseException:
            changed |= fds  # for the next loop()
            raise
        if changed:
            changed -= self._asked  # those asked in each pass need not be noted

    def _take_slow(self, now: float) -> list[int]:
        taken = self.slow.take(self.channels, now)
        for fd in taken:
            channel = self.channels.get(fd)
            if channel is not None and (fd in self._asked or is_elsewhere(channel, fd)):
                self._unsure.add(fd)
        return taken

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
        if self.noting is not None and type(channel) not in self.classes:
            self._classify(fd, type(channel))
        mask = self._interest(fd, channel)
        if mask == self.poller.masks.get(fd, 0) and fd not in self._unsure:
            return
        self._unsure.discard(fd)
        if self.map.get(fd) is channel:
            try:
                self.poller.set(fd, mask)
            except (OSError, ValueError):  # closed behind the channel's back
                self.closed.append(fd)

    def _classify(self, fd: int, cls: type) -> None:
        if not reports(cls):
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
            mask |= self._write_mask
        return self.exceptions.restrict(fd, channel, mask) if self.exceptions.fds else mask

    def forget(self, fd: int) -> None:
        """Stop waiting for *fd*; any thread may."""
        self.channels.pop(fd, None)
        self._asked.discard(fd)
        if fd in self.exceptions.fds:
            self.exceptions.discard(fd)
        if fd in self.poller.masks:
            self.poller.set(fd, 0)

    def _rest(self, fd: int, channel: Any) -> None:
        """Pause at *fd*, which is closed, as *channel* goes on standing in the map: it would be told in each pass."""
        if self.noting is not None and self.channels.get(fd) is channel:
            self.exceptions.pause(fd)
