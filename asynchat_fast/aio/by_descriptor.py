"""Embedding where the poller has no descriptor: asyncio waits for each of the map, poll() says which are ready."""

import asyncio
import contextlib
from collections.abc import Callable
from threading import get_ident

from ..eventloop.pollers import READ, WRITE, Events, Poller

__all__ = ["DescriptorPoller"]


class DescriptorPoller:
    """*poller*, one of numbers; *loop* calls *ready* when it has something to return."""

    def __init__(self, poller: Poller, loop: asyncio.AbstractEventLoop, ready: Callable[[], object]) -> None:
        if type(loop).__module__.partition(".")[0] in ("uvloop", "winloop"):
            # Its remove_reader() takes effect later, and asyncore closes at once: it would wake for ever.
            raise RuntimeError("uvloop can serve a SocketMap only, and where the system has epoll or kqueue")
        self.masks = poller.masks
        self._poller = poller
        self._loop = loop
        self._ready = ready
        self._thread = get_ident()
        self._waiting: dict[int, int] = {}  # what asyncio waits for
        self._always: set[int] = set()  # regular files, which epoll refuses because they are always ready
        self._turn = 0
        self._is_left = False
        for fd in list(self.masks):
            self._update(fd)

    @property
    def is_ready(self) -> bool:
        """See ``Poller.is_ready``."""
        return bool(self._always)

    def set(self, fd: int, mask: int) -> None:
        """See ``Poller.set()``."""
        self._poller.set(fd, mask)
        if get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._update, fd)
            return
        try:
            self._update(fd)
        except (OSError, ValueError):
            self._poller.set(fd, 0)
            raise

    def _update(self, fd: int) -> None:
        """Have asyncio wait for what *fd* is waited for, as another file than before perhaps."""
        if self._is_left:  # another thread has asked for it before
            return
        mask, before = self.masks.get(fd, 0), self._waiting.pop(fd, 0)
        self._always.discard(fd)
        self._remove(fd, before)
        try:
            if mask & READ:
                self._loop.add_reader(fd, self._ready)
                self._waiting[fd] = READ
            if mask & WRITE:
                self._loop.add_writer(fd, self._ready)
                self._waiting[fd] = self._waiting.get(fd, 0) | WRITE
        except PermissionError:
            self._always.add(fd)

    def _remove(self, fd: int, before: int) -> None:
        """Have asyncio wait for nothing of *before* at *fd*, which may have been closed."""
        if before & READ:
            with contextlib.suppress(OSError):  # it would go on to wait for the other
                self._loop.remove_reader(fd)
        if before & WRITE:
            self._loop.remove_writer(fd)

    def poll(self, timeout: float | None, most: int = -1) -> Events:
        """See ``Poller.poll()``; which *most* of the events are returned goes by turns."""
        happened = self._poller.poll(timeout, most)
        if 0 < most < len(happened):
            self._turn = (self._turn + most) % len(happened)
            return (happened[self._turn :] + happened[: self._turn])[:most]
        return happened

    def close(self) -> None:
        """See ``Poller.close()``."""
        self._poller.close()

    def leave(self) -> Poller:
        """Have asyncio wait for nothing any more, and return the poller."""
        self._is_left = True
        for fd, mask in self._waiting.items():
            self._remove(fd, mask)
        return self._poller
