"""Waiting for descriptors as the numbers that they are: poll and select, and the face of all pollers.

A mask is an int of the flags below, which are ``poll(2)``'s on all systems.
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
"""Pairs of a descriptor and what has happened to it, a mask."""


class Lost(Exception):
    """Raised by a poller whose own descriptor was closed, as a daemon does; ``close()`` makes it usable again."""


class Poller(Protocol):
    """What waits for descriptors."""

    masks: dict[int, int]
    """What is waited for, by descriptor; to be changed by ``set()`` only."""

    @property
    def is_ready(self) -> bool:
        """Whether ``poll()`` has something to return that no descriptor tells of."""

    def set(self, fd: int, mask: int) -> None:
        """Wait for *mask* on *fd* from now on, 0 is for nothing; again, it finds out whether *fd* is another file now.

        OSError or ValueError if *fd* is closed, or of a kind that cannot be waited for; it is not waited for then.
        """

    def poll(self, timeout: float | None, most: int = -1) -> Events:
        """Wait for *timeout* seconds at most, None for any time, and return what has happened.

        Those that are of files return *most* events at once, and the others by the calls that follow.
        """

    def close(self) -> None:
        """Let go of the system's object, but keep the masks: a ``poll()`` that follows registers them anew."""


def look(fd: int, mask: int) -> int:
    """Return which of *mask*, and of ERROR, HANGUP and INVALID, hold of *fd* at this moment."""
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
        """See ``Poller.set()``; that a descriptor is closed is told by ``poll()``."""
        if mask:
            self.masks[fd] = mask
            self._poll.register(fd, mask)
        else:
            self.masks.pop(fd, None)
            with contextlib.suppress(KeyError, ValueError):
                self._poll.unregister(fd)

    def poll(self, timeout: float | None, most: int = -1) -> Events:
        """See ``Poller.poll()``."""
        # Rounded up: a timer that is due in less than a millisecond would be polled for without a pause.
        return self._poll.poll(None if timeout is None else int(timeout * 1000 + 0.999))

    def close(self) -> None:
        """See ``Poller.close()``: there is nothing to let go of, as poll() is told everything each time."""


_CLOSED = (errno.EBADF, getattr(errno, "ENOTSOCK", errno.EBADF))


def _is_closed(fd: int) -> bool:
    try:
        select.select([fd], [], [], 0)
    except OSError:
        return True
    return False


class SelectPoller:
    """``select(2)``: what all systems have, for few descriptors and small ones."""

    is_ready = False

    def __init__(self) -> None:
        self.masks: dict[int, int] = {}

    def set(self, fd: int, mask: int) -> None:
        """See ``Poller.set()``; that a descriptor is closed is told by ``poll()``."""
        if mask:
            self.masks[fd] = mask
        else:
            self.masks.pop(fd, None)

    def poll(self, timeout: float | None, most: int = -1) -> Events:
        """See ``Poller.poll()``."""
        waiting = self.masks.copy()  # other threads may change it meanwhile
        if not waiting and timeout is not None:
            time.sleep(timeout)  # Windows' select() does not wait for nothing
            return []
        reading = [fd for fd, mask in waiting.items() if mask & READ]
        writing = [fd for fd, mask in waiting.items() if mask & WRITE]
        try:
            readable, writable, exceptional = select.select(reading, writing, list(waiting), timeout)
        except OSError as error:
            closed = [(fd, INVALID) for fd in waiting if _is_closed(fd)]
            if not closed and error.errno not in _CLOSED:
                raise
            return closed  # none, if another thread has opened the number again meanwhile
        masks = dict.fromkeys(readable, READ)
        for fds, flag in ((writable, WRITE), (exceptional, URGENT)):
            for fd in fds:
                masks[fd] = masks.get(fd, 0) | flag
        return list(masks.items())

    def close(self) -> None:
        """See ``Poller.close()``: there is nothing to let go of, as select() is told everything each time."""
