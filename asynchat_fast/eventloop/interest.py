"""Interest: what a channel waits for, and when the loop has to ask for it.

A channel reports if its class marks both ``readable()`` and ``writable()`` by an attribute of the function,
``_ac_reports``: it then tells its map by ``touch()`` what changes.  Others are asked in each pass.
Only types are looked at: an object may delegate unknown names to a socket or to another process.
"""

import select
import socket
from typing import Any

from .exhaustion import Pause, pauses
from .pollers import HANGUP, READ, URGENT, look

__all__ = ["Exceptions", "is_elsewhere", "methods_of", "reports"]

_UNUSED_WAIT = 0.02  # seconds, as nothing tells of a connect() or listen() in another thread


def methods_of(cls: type) -> tuple[Any, Any]:
    """Return ``readable()`` and ``writable()`` of *cls*, which a program may replace."""
    return getattr(cls, "readable", None), getattr(cls, "writable", None)


def reports(cls: type) -> bool:
    """Tell whether channels of *cls* report what they wait for."""
    return all(getattr(method, "_ac_reports", None) is True for method in methods_of(cls))


def is_elsewhere(channel: Any, fd: int) -> bool:
    """Tell whether the socket of *channel*, which reports, is not at *fd* any more: closed without the channel."""
    try:
        return bool(channel.socket.fileno() != fd)
    except (AttributeError, OSError, ValueError):
        return True


def _is_unused(fd: int, channel: Any) -> bool:
    """Tell whether at *fd* is a stream socket by ``create_socket()`` that was neither connected nor made to listen.

    Linux shows a hangup of such a socket, for which the loop of another thread would close it before the
    thread that has made it can connect it.
    """
    try:
        _, kind = object.__getattribute__(channel, "family_and_type")
    except (AttributeError, TypeError, ValueError):
        return False  # handed in
    if kind != socket.SOCK_STREAM:
        return False
    if hasattr(select, "poll"):
        return look(fd, READ) == HANGUP  # a socket that was refused or reset shows more
    return not (channel.connected or channel.connecting or channel.accepting)


class Exceptions:
    """Descriptors that are not waited for, or not for all that their channels want."""

    def __init__(self) -> None:
        self.fds: set[int] = set()  # all of them
        self._unused: set[int] = set()  # of sockets that nothing was done with yet
        self._urgent: set[int] = set()  # with urgent data that was told, and is shown until it is received
        self._pauses: dict[int, Pause] = {}

    def begin(self, fd: int, channel: Any) -> None:
        """Take up *channel* at *fd*, a dispatcher that is not connected."""
        if _is_unused(fd, channel):
            self.fds.add(fd)
            self._unused.add(fd)
        elif pauses and channel in pauses:
            self.fds.add(fd)
            self._pauses[fd] = pauses[channel]

    def discard(self, fd: int) -> None:
        """Treat *fd* as any other."""
        self.fds.discard(fd)
        self._unused.discard(fd)
        self._urgent.discard(fd)
        self._pauses.pop(fd, None)

    def pause(self, fd: int) -> None:
        """Do not wait for *fd* for a while."""
        self.fds.add(fd)
        self._pauses.setdefault(fd, Pause()).begin()

    def pause_acceptor(self, fd: int, acceptor: Any, error: OSError) -> None:
        """Leave connections to *acceptor* waiting for a while, as its ``accept()`` has raised *error*."""
        self.fds.add(fd)
        pause = self._pauses[fd] = pauses.setdefault(acceptor, Pause())
        pause.begin_for(acceptor, error)

    def hide_urgent(self, fd: int) -> None:
        """Ignore the urgent data at *fd* until something is received."""
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
        """Return what to wait for of *mask*, which *channel* at *fd* wants."""
        if fd not in self.fds:
            return mask
        if fd in self._unused:
            if _is_unused(fd, channel):
                return 0
            self.discard(fd)
        if fd in self._pauses and self._pauses[fd].seconds_left():
            return 0
        return mask & ~URGENT if fd in self._urgent else mask

    def to_ask(self) -> set[int]:
        """Return the descriptors whose channels are to be asked in each pass, for what time or a thread changes."""
        return self._unused.union(self._pauses)

    def longest_wait(self) -> float | None:
        """Return how many seconds may pass until the channels have to be asked again, None for any number."""
        waits = [left for pause in self._pauses.values() if (left := pause.seconds_left())]
        if self._unused:
            waits.append(_UNUSED_WAIT)
        return min(waits, default=None)
