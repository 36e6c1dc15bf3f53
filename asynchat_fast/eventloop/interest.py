"""Interest: what a channel waits for, and when the loop has to ask for it.

A channel "reports" if its class marks both ``readable()`` and ``writable()`` by an attribute of the function,
``_ac_reports``: it then calls ``touch()`` of its map when their results change.  Others are asked in each pass.
Only types are looked at, because an object may delegate unknown names to a socket or to another process.
"""

import select
import socket
import time
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

from .exhaustion import Pause, pauses
from .pollers import HANGUP, READ, URGENT, look

__all__ = ["Exceptions", "is_elsewhere", "methods_of", "reports"]

_UNUSED_WAIT = 0.02  # seconds between two looks at an unused socket: another thread's connect() is not reported
_CONNECTING = 0.1  # seconds from the beginning of another thread's connect(), at most, until the system knows of it

# When connect() of a socket that looks unused was seen to have begun.  Kept from one loop() to the next: a program may
# call it for one short pass at a time, after which nothing else is kept of a plain dict.
_began: "WeakKeyDictionary[Any, float]" = WeakKeyDictionary()


def methods_of(cls: type) -> tuple[Any, Any]:
    """Return ``readable()`` and ``writable()`` of *cls*, which a program may replace."""
    return getattr(cls, "readable", None), getattr(cls, "writable", None)


def reports(cls: type) -> bool:
    """Return whether channels of *cls* report changes of their interest."""
    return all(getattr(method, "_ac_reports", None) is True for method in methods_of(cls))


def is_elsewhere(channel: Any, fd: int) -> bool:
    """Return whether *channel* has its socket not at *fd* any more, as the socket alone was closed or replaced."""
    try:
        return bool(channel.socket.fileno() != fd)
    except (AttributeError, OSError, ValueError):
        return True


def _is_unused(fd: int, channel: Any) -> bool:
    """Return whether *fd* is a stream socket, made by ``create_socket()``, that neither connects nor listens yet.

    Linux reports a hangup for such a socket, for which a loop in another thread would close the channel before the
    thread that has made it can connect it.
    """
    try:
        _, kind = object.__getattribute__(channel, "family_and_type")
    except (AttributeError, TypeError, ValueError):
        return False  # not by create_socket()
    if kind != socket.SOCK_STREAM:
        return False
    if hasattr(select, "poll"):
        return look(fd, READ) == HANGUP  # a socket that was refused or reset has further events
    return not (channel.connected or channel.connecting or channel.accepting)


class Exceptions:
    """The descriptors for which the loop does not wait, or not for all events that their channels want."""

    def __init__(self) -> None:
        self.fds: set[int] = set()  # all of the following
        self._unused: set[int] = set()  # sockets that neither connect nor listen yet
        self._urgent: set[int] = set()  # urgent data was reported; the system goes on to report it until it is read
        self._pauses: dict[int, Pause] = {}

    def begin(self, fd: int, channel: Any) -> None:
        """Look whether *channel* at *fd*, a dispatcher that has come and is not connected, is an exception."""
        if _is_unused(fd, channel):
            self.fds.add(fd)
            self._unused.add(fd)
        elif pauses and channel in pauses:
            self.fds.add(fd)
            self._pauses[fd] = pauses[channel]

    def discard(self, fd: int) -> None:
        """End all exceptions for *fd*."""
        self.fds.discard(fd)
        self._unused.discard(fd)
        self._urgent.discard(fd)
        self._pauses.pop(fd, None)

    def pause(self, fd: int) -> None:
        """Do not wait for *fd* for a while."""
        self.fds.add(fd)
        self._pauses.setdefault(fd, Pause()).begin()

    def pause_acceptor(self, fd: int, acceptor: Any, error: OSError) -> None:
        """Do not wait for connections to *acceptor* for a while, as its ``accept()`` has raised *error*."""
        self.fds.add(fd)
        pause = self._pauses[fd] = pauses.setdefault(acceptor, Pause())
        pause.begin_for(acceptor, error)

    def hide_urgent(self, fd: int) -> None:
        """Do not wait for urgent data at *fd* until something is received there."""
        self.fds.add(fd)
        self._urgent.add(fd)

    def has_received(self, fd: int) -> None:
        """Note that the channel at *fd* has handled input."""
        pause = self._pauses.get(fd)
        if pause is not None and not pause.seconds_left():
            pause.end()
        if pause is None or not pause.seconds_left():
            self.discard(fd)

    def restrict(self, fd: int, channel: Any, mask: int) -> int:
        """Return the part of *mask*, the interest of *channel* at *fd*, for which to wait now."""
        if fd not in self.fds:
            return mask
        if fd in self._unused:
            if self._stays_unused(fd, channel):
                return 0
            self.discard(fd)
        if fd in self._pauses and self._pauses[fd].seconds_left():
            return 0
        return mask & ~URGENT if fd in self._urgent else mask

    def _stays_unused(self, fd: int, channel: Any) -> bool:
        """Return whether to go on not waiting for *channel* at *fd*, which was unused.

        After a connect() that has failed at once, as on a unix socket without a server, the socket looks as before.
        Then the channel must be told of the hangup, for which a client may wait to connect again.
        """
        if not _is_unused(fd, channel):
            return False
        if not channel.connecting:
            return True
        now = time.monotonic()
        return now - _began.setdefault(channel.socket, now) < _CONNECTING

    def to_ask(self) -> set[int]:
        """Return the descriptors whose exception may end by time or by another thread: they are asked in each pass."""
        return {*self._unused, *self._pauses}

    def longest_wait(self) -> float:
        """Return the seconds after which an exception may end, and its channel must be asked."""
        waits = [left for pause in self._pauses.values() if (left := pause.seconds_left())]
        if self._unused:
            waits.append(_UNUSED_WAIT)
        return min(waits, default=inf)
