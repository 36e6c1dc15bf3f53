"""epoll and kqueue, which register open files, not descriptor numbers.

Closing a file ends its registration, and another file that gets its number later is not registered.
"""

import contextlib
import errno
import select
import sys
from collections.abc import Callable
from typing import Any

from .by_number import HANGUP, INVALID, READ, WRITE, Events, Lost, look

__all__ = ["EpollPoller", "KqueuePoller"]

# Objects whose descriptors were closed, and may belong to other files by now.  They are kept for ever, because freeing
# one would close such a file.
_lost: list[Any] = []


class EpollPoller:
    """``epoll(7)``."""

    poll: Callable[..., Events]
    """See ``Poller.poll()``; OSError if epoll's own descriptor was closed."""

    def __init__(self) -> None:
        self.masks: dict[int, int] = {}
        self._epoll: Any = None  # opened by poll()
        self._always: dict[int, int] = {}  # regular files: epoll refuses them, as they are always ready
        self._closed: list[int] = []  # descriptors found closed by _open(), to be reported by the next poll()
        # Descriptors that were closed before they were unregistered.  If a forked process or a duplicate keeps such a
        # file open, epoll goes on to report it under its old number, and it cannot be unregistered any more.
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
        except FileNotFoundError:  # the number belongs to another file by now
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
        if self._always.pop(fd, 0) or epoll is None:  # None: the loop's thread has closed it meanwhile
            return
        try:
            epoll.unregister(fd)
        except (OSError, ValueError):
            self._doubt(fd)

    def _doubt(self, fd: int) -> None:
        self._doubtful.add(fd)
        self.poll = self._poll_with_care

    def source(self) -> Any:
        """Return the epoll object, whose own descriptor is readable when there are events."""
        return self._epoll or self._open()

    @property
    def is_ready(self) -> bool:
        """See ``Poller.is_ready``."""
        return bool(self._always or self._closed)

    def _poll_with_care(self, timeout: float | None, most: int = -1) -> Events:
        epoll = self._epoll or self._open()  # in a variable, because another thread may call close() meanwhile
        if self._always or self._closed:
            timeout = 0
        happened: Events = epoll.poll(-1 if timeout is None else timeout, most)
        if self._always or self._closed:
            happened += self._always.items()
            happened += [(fd, INVALID) for fd in self._closed]
            self._closed.clear()
        elif self._doubtful:
            return self._without_false(happened)
        elif sys.implementation.name != "pypy":  # PyPy's epoll.poll() takes no None for the timeout
            self.poll = epoll.poll  # straight, as long as there is nothing to take care of
        return happened

    def _without_false(self, happened: Events) -> Events:
        """Return *happened* without the events of files that are not open in this process any more."""
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
                if self.masks.pop(fd, None) is not None:  # None: another thread has unregistered it meanwhile
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


_kq: Any = select  # untyped, because type checkers do not know the names for kqueue on other systems


class KqueuePoller:
    """``kqueue(2)``."""

    _MOST = 1024  # events at once

    def __init__(self) -> None:
        self.masks: dict[int, int] = {}
        self._kqueue: Any = None  # opened by poll()
        self._closed: list[int] = []  # descriptors found closed by _open(), to be reported by the next poll()

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
            elif before & flag and kqueue is not None:  # None: the loop's thread has closed it meanwhile
                with contextlib.suppress(OSError, ValueError):  # the descriptor or the kqueue was closed before
                    kqueue.control([_kq.kevent(fd, kind, _kq.KQ_EV_DELETE)], 0)

    def source(self) -> Any:
        """Return the kqueue object, whose own descriptor is readable when there are events."""
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
                if self.masks.pop(fd, None) is not None:  # None: another thread has unregistered it meanwhile
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
