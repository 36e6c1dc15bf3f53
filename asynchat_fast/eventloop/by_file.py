"""Waiting for files, as which the kernel takes what is registered: epoll and kqueue.

A file that was closed is registered no more, nor is another that gets its descriptor.
"""

import contextlib
import errno
import select
import sys
from collections.abc import Callable
from typing import Any

from .by_number import HANGUP, INVALID, READ, WRITE, Events, Lost, look

__all__ = ["EpollPoller", "KqueuePoller"]

_lost: list[Any] = []  # whose descriptors mean other files by now, which freeing the objects would close


class EpollPoller:
    """``epoll(7)``."""

    poll: Callable[..., Events]
    """See ``Poller.poll()``; OSError if epoll's own descriptor was closed."""

    def __init__(self) -> None:
        self.masks: dict[int, int] = {}
        self._epoll: Any = None  # opened by poll()
        self._always: dict[int, int] = {}  # regular files, which epoll refuses because they are always ready
        self._closed: list[int] = []  # found when everything was registered anew
        # Closed before they were taken out.  A forked process or a duplicate may keep such a file open, and it is
        # told under its old number, then, and cannot be taken out any more.
        self._doubtful: set[int] = set()
        self.poll = self._poll_with_care

    def set(self, fd: int, mask: int) -> None:
        """See ``Poller.set()``."""
        before = self.masks.pop(fd, 0)
        if self._epoll is not None:
            if mask:
                self._register(fd, mask, before)
            else:
                self._unregister(fd)
        if mask:
            self.masks[fd] = mask

    def _register(self, fd: int, mask: int, before: int) -> None:
        if self._always and self._always.pop(fd, 0):
            before = 0
        try:
            (self._epoll.modify if before else self._epoll.register)(fd, mask)
        except FileExistsError:
            self._epoll.modify(fd, mask)
        except FileNotFoundError:  # closed, and opened again as another file
            self._doubt(fd)
            self._register(fd, mask, 0)
        except PermissionError:
            self._always[fd] = mask & (READ | WRITE)
            self.poll = self._poll_with_care
        except OSError as error:
            if error.errno in (errno.EBADF, errno.EINVAL) and not look(fd, mask) & INVALID:
                raise Lost from None
            if before:
                self._doubt(fd)
            raise

    def _unregister(self, fd: int) -> None:
        epoll = self._epoll
        if self._always.pop(fd, 0) or epoll is None:  # closed meanwhile by the thread of the loop
            return
        try:
            epoll.unregister(fd)
        except (OSError, ValueError):
            self._doubt(fd)

    def _doubt(self, fd: int) -> None:
        self._doubtful.add(fd)
        self.poll = self._poll_with_care

    def source(self) -> Any:
        """Return what has a descriptor of its own, which is readable when something has happened."""
        return self._epoll or self._open()

    @property
    def is_ready(self) -> bool:
        """See ``Poller.is_ready``."""
        return bool(self._always or self._closed)

    def _poll_with_care(self, timeout: float | None, most: int = -1) -> Events:
        epoll = self._epoll or self._open()  # kept here, as another thread may close it meanwhile
        if self._always or self._closed:
            timeout = 0
        happened: Events = epoll.poll(-1 if timeout is None else timeout, most)
        if self._always or self._closed:
            happened += self._always.items()
            happened += [(fd, INVALID) for fd in self._closed]
            self._closed.clear()
        elif self._doubtful:
            return self._without_false(happened)
        elif sys.implementation.name != "pypy":  # whose poll() takes no None
            self.poll = epoll.poll
        return happened

    def _without_false(self, happened: Events) -> Events:
        """Return *happened* without what is told of files that are not open here any more."""
        told = self._doubtful.intersection(fd for fd, _ in happened)
        false = {fd for fd in told if not look(fd, self.masks.get(fd, 0)) or fd not in self.masks}
        if false:
            self.close()
        return [(fd, mask) for fd, mask in happened if fd not in false]

    def _open(self) -> Any:
        epoll = self._epoll = select.epoll()
        for fd, mask in list(self.masks.items()):
            try:
                self._register(fd, mask, 0)
            except (OSError, ValueError, Lost):
                if self.masks.pop(fd, None) is not None:  # not let go of by another thread meanwhile
                    self._closed.append(fd)
        return epoll

    def close(self) -> None:
        """See ``Poller.close()``."""
        epoll, self._epoll = self._epoll, None
        self.poll = self._poll_with_care
        self._always.clear()
        self._doubtful.clear()
        if epoll is not None:
            try:
                epoll.poll(0, 1)
            except OSError:
                _lost.append(epoll)
            else:
                epoll.close()


_kq: Any = select  # whose names for kqueue are not known to type checkers on other systems


class KqueuePoller:
    """``kqueue(2)``."""

    _MOST = 1024  # events at once

    def __init__(self) -> None:
        self.masks: dict[int, int] = {}
        self._kqueue: Any = None  # opened by poll()
        self._closed: list[int] = []  # found when everything was registered anew

    def set(self, fd: int, mask: int) -> None:
        """See ``Poller.set()``."""
        before = self.masks.pop(fd, 0)
        if self._kqueue is not None:
            self._register(fd, mask, before)
        if mask:
            self.masks[fd] = mask

    def _register(self, fd: int, mask: int, before: int) -> None:
        kqueue = self._kqueue
        for flag, kind in ((READ, _kq.KQ_FILTER_READ), (WRITE, _kq.KQ_FILTER_WRITE)):
            if mask & flag:
                kqueue.control([_kq.kevent(fd, kind, _kq.KQ_EV_ADD)], 0)
            elif before & flag and kqueue is not None:  # which the thread of the loop may close meanwhile
                with contextlib.suppress(OSError, ValueError):  # closing the descriptor, or that, has taken it out
                    kqueue.control([_kq.kevent(fd, kind, _kq.KQ_EV_DELETE)], 0)

    def source(self) -> Any:
        """Return what has a descriptor of its own, which is readable when something has happened."""
        if self._kqueue is None:
            self._open()
        return self._kqueue

    @property
    def is_ready(self) -> bool:
        """See ``Poller.is_ready``."""
        return bool(self._closed)

    def poll(self, timeout: float | None, most: int = -1) -> Events:
        """See ``Poller.poll()``; OSError if kqueue's own descriptor was closed."""
        if self._kqueue is None:
            self._open()
        if self._closed:
            timeout = 0
        masks: dict[int, int] = dict.fromkeys(self._closed, INVALID)
        self._closed.clear()
        limit = most if most > 0 else min(2 * len(self.masks) + 1, self._MOST)
        for event in self._kqueue.control(None, limit, timeout):
            mask = READ if event.filter == _kq.KQ_FILTER_READ else WRITE
            if event.flags & _kq.KQ_EV_EOF and event.filter == _kq.KQ_FILTER_WRITE:
                mask |= HANGUP
            masks[event.ident] = masks.get(event.ident, 0) | mask
        return list(masks.items())

    def _open(self) -> None:
        self._kqueue = _kq.kqueue()
        for fd, mask in list(self.masks.items()):
            try:
                self._register(fd, mask, 0)
            except OSError:
                if self.masks.pop(fd, None) is not None:  # not let go of by another thread meanwhile
                    self._closed.append(fd)

    def close(self) -> None:
        """See ``Poller.close()``."""
        kqueue, self._kqueue = self._kqueue, None
        if kqueue is not None:
            try:
                kqueue.control(None, 1, 0)
            except OSError:  # a forked process does not inherit it
                _lost.append(kqueue)
            else:
                kqueue.close()
