"""Embedding with a poller that has no descriptor of its own: asyncio waits for each descriptor of the map instead."""

import asyncio
import contextlib
from collections.abc import Callable
from threading import get_ident

from ..eventloop.pollers import READ, WRITE, Events, Poller

__all__ = ["DescriptorPoller"]


class DescriptorPoller:
    """Wraps *poller*, a PollPoller or SelectPoller; *loop* calls *ready* when ``poll()`` has something to return."""

    def __init__(self, poller: Poller, loop: asyncio.AbstractEventLoop, ready: Callable[[], object]) -> None:
        if type(loop).__module__.partition(".")[0] in ("uvloop", "winloop"):
            # uvloop's remove_reader() takes effect later.  asyncore closes descriptors at once, and uvloop would go on
            # to report a closed one in each pass.
            raise RuntimeError("uvloop can serve a SocketMap only, and where the system has epoll or kqueue")
        self.masks = poller.masks
        self._poller = poller
        self._loop = loop
        self._ready = ready
        self._thread = get_ident()
        self._waiting: dict[int, int] = {}  # the mask that asyncio waits for, by descriptor
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
        """Register *fd* with asyncio for its present mask, anew in any case: it may be another file by now."""
        if self._is_left:  # another thread had scheduled this call before leave()
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
        """Unregister *fd*, which may have been closed, from asyncio, which waited for the mask *before*."""
        if before & READ:
            with contextlib.suppress(OSError):  # from modify(): with a writer, asyncio keeps the closed *fd* registered
                self._loop.remove_reader(fd)
        if before & WRITE:
            self._loop.remove_writer(fd)

    def poll(self, timeout: float | None, most: int = -1) -> Events:
        """See ``Poller.poll()``; if there are more events than *most*, each has its turn."""
        happened = self._poller.poll(timeout, most)
        if 0 < most < len(happened):
            self._turn = (self._turn + most) % len(happened)
            return (happened[self._turn :] + happened[: self._turn])[:most]
        return happened

    def close(self) -> None:
        """See ``Poller.close()``."""
        self._poller.close()

    def leave(self) -> Poller:
        """Unregister all descriptors from asyncio, and return the wrapped poller."""
        self._is_left = True
        for fd, mask in self._waiting.items():
            self._remove(fd, mask)
        return self._poller
