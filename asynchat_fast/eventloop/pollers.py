"""Waiting for descriptors: epoll, kqueue, poll and select under one face, with registrations that persist.

A mask is an int of the flags below, which are ``poll(2)``'s on all systems.
"""

import contextlib
import errno
import select
import sys
import time

__all__ = ["ERROR", "HANGUP", "INVALID", "READ", "URGENT", "WRITE", "pollers"]

READ, URGENT, WRITE, ERROR, HANGUP, INVALID = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


class EpollPoller:
    """``epoll(7)``."""

    def __init__(self):
        self._epoll = select.epoll()
        # PyPy's takes no None.
        self.poll = self._poll_with_files if sys.implementation.name == "pypy" else self._epoll.poll
        self._always = {}  # regular files, which epoll refuses because they are always ready

    def set(self, fd, before, mask):
        """Wait for *mask* on *fd* from now on, where *before* was waited for until now; 0 is for nothing.

        OSError if *fd* is closed, or of a kind that cannot be waited for.
        """
        if not mask:
            self._always.pop(fd, None)
            with contextlib.suppress(OSError, ValueError):  # closing a descriptor has unregistered it
                self._epoll.unregister(fd)
            return
        try:
            (self._epoll.modify if before else self._epoll.register)(fd, mask)
        except FileExistsError:
            self._epoll.modify(fd, mask)
        except FileNotFoundError:  # closed, and opened again as something else
            self._epoll.register(fd, mask)
        except PermissionError:
            self._always[fd] = mask & (READ | WRITE)
            self.poll = self._poll_with_files

    def _poll_with_files(self, timeout):
        """Wait for *timeout* seconds at most, None for any time; return a list of ``(fd, mask)``."""
        longest = -1 if timeout is None else timeout
        return self._epoll.poll(0 if self._always else longest) + list(self._always.items())

    def close(self):
        """Let go of the system's resources."""
        self._epoll.close()


class KqueuePoller:
    """``kqueue(2)``."""

    def __init__(self):
        self._kqueue = select.kqueue()
        self._registered = 0

    def set(self, fd, before, mask):
        """See ``EpollPoller.set()``."""
        for flag, kind in ((READ, select.KQ_FILTER_READ), (WRITE, select.KQ_FILTER_WRITE)):
            if mask & flag and not before & flag:
                self._kqueue.control([select.kevent(fd, kind, select.KQ_EV_ADD)], 0)
                self._registered += 1
            elif before & flag and not mask & flag:
                self._registered -= 1
                with contextlib.suppress(OSError):
                    self._kqueue.control([select.kevent(fd, kind, select.KQ_EV_DELETE)], 0)

    def poll(self, timeout):
        """Wait for *timeout* seconds at most, None for any time; return a list of ``(fd, mask)``."""
        masks = {}
        for event in self._kqueue.control(None, max(self._registered, 1), timeout):
            mask = READ if event.filter == select.KQ_FILTER_READ else WRITE
            if event.flags & select.KQ_EV_EOF and event.filter == select.KQ_FILTER_WRITE:
                mask |= HANGUP
            masks[event.ident] = masks.get(event.ident, 0) | mask
        return list(masks.items())

    def close(self):
        """See ``EpollPoller.close()``."""
        with contextlib.suppress(OSError):  # a forked process does not inherit it
            self._kqueue.close()


class PollPoller:
    """``poll(2)``."""

    def __init__(self):
        self._poll = select.poll()

    def set(self, fd, before, mask):
        """See ``EpollPoller.set()``; a closed descriptor is reported by ``poll()``."""
        if mask:
            self._poll.register(fd, mask)
        else:
            with contextlib.suppress(KeyError):
                self._poll.unregister(fd)

    def poll(self, timeout):
        """Wait for *timeout* seconds at most, None for any time; return a list of ``(fd, mask)``."""
        # Rounded up: a timer that is due in less than a millisecond would be polled for without a pause.
        return self._poll.poll(None if timeout is None else int(timeout * 1000 + 0.999))

    def close(self):
        """See ``EpollPoller.close()``."""


_CLOSED = (errno.EBADF, errno.ENOTSOCK)


def _is_closed(fd):
    try:
        select.select([fd], [], [], 0)
    except OSError:
        return True
    return False


class SelectPoller:
    """``select(2)``: what all systems have, for few descriptors and small ones."""

    def __init__(self):
        self._masks = {}

    def set(self, fd, before, mask):
        """See ``EpollPoller.set()``."""
        if mask:
            self._masks[fd] = mask
        else:
            self._masks.pop(fd, None)

    def poll(self, timeout):
        """Wait for *timeout* seconds at most, None for any time; return a list of ``(fd, mask)``."""
        waiting = self._masks.copy()  # other threads may change it meanwhile
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

    def close(self):
        """See ``EpollPoller.close()``."""


pollers = {
    name: poller
    for name, poller in {
        "epoll": EpollPoller,
        "kqueue": KqueuePoller,
        "poll": PollPoller,
        "select": SelectPoller,
    }.items()
    if hasattr(select, name)
}
"""The pollers that this system has (dict, name -> class), the best first."""
