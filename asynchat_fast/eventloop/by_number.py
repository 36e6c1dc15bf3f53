"""``Poller``, the interface of all pollers, and the two that wait for descriptor numbers: poll and select.

A mask is an int of the flags below, which have the values of ``poll(2)``, on all systems.
"""

import contextlib
import errno
import select
import time
from typing import Protocol

__all__ = [
    "ERROR",
    "HANGUP",
    "INVALID",
    "READ",
    "URGENT",
    "WRITE",
    "Events",
    "Lost",
    "PollPoller",
    "Poller",
    "SelectPoller",
    "look",
]

READ, URGENT, WRITE, ERROR, HANGUP, INVALID = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

Events = list[tuple[int, int]]
"""Pairs of a descriptor and its events, a mask."""


class Lost(Exception):
    """Raised by a poller whose own descriptor the program has closed; ``close()`` makes it usable again.

    Daemons close all descriptors when they start.
    """


class Poller(Protocol):
    """An object that waits for events of descriptors."""

    masks: dict[int, int]
    """The masks of what is waited for, by descriptor; only ``set()`` may change them."""

    @property
    def is_ready(self) -> bool:
        """Whether ``poll()`` has events to return that the system does not report (bool)."""

    def set(self, fd: int, mask: int) -> None:
        """Wait for the events *mask* of *fd* from now on; 0 unregisters it.

        To set the same mask again registers *fd* anew if it has become another file.  OSError or ValueError if *fd* is
        closed, or of a kind that cannot be waited for; it is not registered then.
        """

    def poll(self, timeout: float | None, most: int = -1) -> Events:
        """Wait for *timeout* seconds at most (None: no limit), and return the events.

        epoll and kqueue return *most* events at once (-1: no limit), and the others by the calls that follow.
        """

    def close(self) -> None:
        """Close the system's object, but keep the masks: the next ``poll()`` registers them anew."""


def look(fd: int, mask: int) -> int:
    """Return which events of *mask*, and of ERROR, HANGUP and INVALID, *fd* has at this moment, without waiting."""
    if hasattr(select, "poll"):
        by_poll = select.poll()
        by_poll.register(fd, mask)
        return dict(by_poll.poll(0)).get(fd, 0)
    by_select = SelectPoller()
    by_select.set(fd, mask)
    return dict(by_select.poll(0)).get(fd, 0) & (mask | INVALID)


class PollPoller:
    """``poll(2)``."""

    is_ready = False

    def __init__(self) -> None:
        self.masks: dict[int, int] = {}
        self._poll = select.poll()

    def set(self, fd: int, mask: int) -> None:
        """See ``Poller.set()``; a closed *fd* raises nothing here, and ``poll()`` reports it as INVALID."""
        if mask:
            self.masks[fd] = mask
            self._poll.register(fd, mask)
        else:
            self.masks.pop(fd, None)
            with contextlib.suppress(KeyError, ValueError):
                self._poll.unregister(fd)

    def poll(self, timeout: float | None, most: int = -1) -> Events:
        """See ``Poller.poll()``."""
        # Rounded up to milliseconds: with 0 for a timer that is due in less, the loop would be busy until then.
        return self._poll.poll(None if timeout is None else int(timeout * 1000 + 0.999))

    def close(self) -> None:
        """See ``Poller.close()``: there is nothing to close, as poll() gets the masks with each call."""


_CLOSED = (errno.EBADF, getattr(errno, "ENOTSOCK", errno.EBADF))


def _is_closed(fd: int) -> bool:
    try:
        select.select([fd], [], [], 0)
    except OSError:
        return True
    return False


class SelectPoller:
    """``select(2)``, which all systems have; it is limited to few descriptors, or to small numbers."""

    is_ready = False

    def __init__(self) -> None:
        self.masks: dict[int, int] = {}

    def set(self, fd: int, mask: int) -> None:
        """See ``Poller.set()``; a closed *fd* raises nothing here, and ``poll()`` reports it as INVALID."""
        if mask:
            self.masks[fd] = mask
        else:
            self.masks.pop(fd, None)

    def poll(self, timeout: float | None, most: int = -1) -> Events:
        """See ``Poller.poll()``."""
        waiting = self.masks.copy()  # other threads may change it meanwhile
        if not waiting and timeout is not None:
            time.sleep(timeout)  # Windows' select() refuses empty lists
            return []
        reading = [fd for fd, mask in waiting.items() if mask & READ]
        writing = [fd for fd, mask in waiting.items() if mask & WRITE]
        try:
            readable, writable, exceptional = select.select(reading, writing, list(waiting), timeout)
        except OSError as error:
            closed = [(fd, INVALID) for fd in waiting if _is_closed(fd)]
            if not closed and error.errno not in _CLOSED:
                raise
            return closed  # empty, if another thread has opened a file of that number meanwhile
        masks = dict.fromkeys(readable, READ)
        for fds, flag in ((writable, WRITE), (exceptional, URGENT)):
            for fd in fds:
                masks[fd] = masks.get(fd, 0) | flag
        return list(masks.items())

    def close(self) -> None:
        """See ``Poller.close()``: there is nothing to close, as select() gets the masks with each call."""
