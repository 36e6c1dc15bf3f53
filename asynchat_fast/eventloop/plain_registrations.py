"""``PlainRegistrations``: those of a plain dict, which reports nothing, so that each pass asks all channels."""

from math import inf
from typing import Any

from .._asyncore import asyncore
from .interest import Exceptions
from .maps import Map
from .pollers import READ, URGENT, WRITE, Poller

__all__ = ["PlainRegistrations"]


class PlainRegistrations:
    """The registrations of one plain dict, with the methods of ``Registrations``."""

    is_told = has_changes = False
    asks_in_each_pass = True

    def __init__(self, map: Map, poller: Poller) -> None:
        self.map = map
        self.poller = poller
        self.channels: dict[int, Any] = {}  # the known channels, by descriptor
        self.classes: dict[type, tuple[Any, Any]] = {}  # empty: whether a class reports is of no use
        self.closed: list[int] = []  # descriptors found closed, whose channels must be told
        self.exceptions = Exceptions()
        self._unsure: set[int] = set()  # descriptors that may belong to another file than the registered one
        self.show(False)

    def show(self, use_poll: bool) -> None:
        """Register as asyncore's poll2() does with *use_poll* (bool), else as its poll() by select() does."""
        self.use_poll = use_poll
        self.write_mask = WRITE if use_poll else WRITE | URGENT  # with select(), writers are told of urgent data, too

    def note_code_has_run(self) -> None:
        """Do nothing: all channels are asked anyway."""

    def note_failure(self, happened: list[tuple[int, int]]) -> None:
        """Do nothing, likewise."""

    def note_change(self, fd: int, channel: Any, events: int) -> None:
        """Have *fd* registered anew: a handler has run, which may have replaced the socket of its channel."""
        self._unsure.add(fd)

    def ask(self, now: float, again: bool = False) -> float:
        """Ask all channels for their interest; return for how many seconds the loop may wait then."""
        channels, masks, write_mask, exceptions = self.channels, self.poller.masks, self.write_mask, self.exceptions
        read_mask, exceptional = READ | URGENT, exceptions.fds
        for fd, channel in list(self.map.items()):
            if channels.get(fd) is not channel:
                self._begin(fd, channel)
            mask = read_mask if channel.readable() else 0
            if channel.writable() and not getattr(channel, "accepting", False):
                mask |= write_mask
            if exceptional:
                mask = exceptions.restrict(fd, channel, mask)
            if mask != masks.get(fd, 0):
                self._register(fd, channel, mask)
        if len(channels) > len(self.map):
            for fd in channels.keys() - self.map.keys():
                self.forget(fd)
        if self._unsure:
            for fd in self._unsure.intersection(masks):
                self._register(fd, channels.get(fd), masks[fd])
            self._unsure.clear()
        if self.closed:
            return 0.0  # so that their channels are told at once
        return exceptions.longest_wait() if exceptional else inf

    def _begin(self, fd: int, channel: Any) -> None:
        if fd in self.channels or fd in self.poller.masks:
            self.forget(fd)
        self.channels[fd] = channel
        if isinstance(channel, asyncore.dispatcher) and not channel.connected:
            self.exceptions.begin(fd, channel)

    def _register(self, fd: int, channel: Any, mask: int) -> None:
        if self.map.get(fd) is channel:  # readable() and writable() may have removed it
            try:
                self.poller.set(fd, mask)
            except (OSError, ValueError):  # the descriptor was closed, and the channel does not know
                self.closed.append(fd)

    def forget(self, fd: int) -> None:
        """Stop waiting for *fd*; any thread may call this."""
        self.channels.pop(fd, None)
        if fd in self.exceptions.fds:
            self.exceptions.discard(fd)
        if fd in self.poller.masks:
            self.poller.set(fd, 0)
