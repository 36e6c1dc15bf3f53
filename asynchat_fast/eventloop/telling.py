"""Telling: calls the methods of a channel for its events, as ``asyncore.poll()`` or ``asyncore.poll2()`` does.

Errors are treated as in asyncore: for an exception of a handler ``handle_error()`` is called, but with poll, for an
OSError that means that the peer has gone, ``handle_close()``.
"""

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from .._asyncore import asyncore
from .exhaustion import EXHAUSTED
from .pollers import ERROR, HANGUP, INVALID, READ, URGENT, WRITE, look

if TYPE_CHECKING:
    from .registrations import AnyRegistrations

__all__ = ["ENDING", "POLL", "SELECT", "Words"]

ENDING = (asyncore.ExitNow, KeyboardInterrupt, SystemExit)
"""The exceptions that end the loop when a channel raises them."""

_GONE = frozenset(
    getattr(errno, name) for name in ("ECONNRESET", "ENOTCONN", "ESHUTDOWN", "ECONNABORTED", "EPIPE", "EBADF")
)


def _tell_as_select(registrations: "AnyRegistrations", fd: int, channel: Any, events: int) -> None:
    """Tell *channel* what select() shows: a hangup as input, an error as input and room, if it asked for that."""
    shown = events & (INVALID | URGENT)
    if events & (READ | HANGUP | ERROR):
        shown |= READ
    if events & (WRITE | ERROR):
        shown |= WRITE
    shown &= registrations.poller.masks.get(fd, 0) | INVALID
    if not shown:
        registrations.exceptions.pause(fd)  # a hangup that the channel did not ask for: each poll() would report it
    for flag, handle in _SHOWN:
        if shown & flag and registrations.map.get(fd) is channel:
            try:
                handle(registrations, fd, channel)
            except BaseException as error:
                _fail_as_select(registrations, fd, channel, error)


def _tell_as_poll(registrations: "AnyRegistrations", fd: int, channel: Any, events: int) -> None:
    """Tell *channel* what poll() shows: what it asked for, then the end after a hangup or an error."""
    try:
        for flag, handle in _SHOWN:
            if events & flag:
                handle(registrations, fd, channel)
        if events & (HANGUP | ERROR) and not events & INVALID:
            channel.handle_close()
    except BaseException as error:
        _fail_as_poll(registrations, fd, channel, error)


def _read(registrations: "AnyRegistrations", fd: int, channel: Any) -> None:
    channel.handle_read_event()
    if fd in registrations.exceptions.fds:
        registrations.exceptions.has_received(fd)


def _write(registrations: "AnyRegistrations", fd: int, channel: Any) -> None:
    channel.handle_write_event()


def _take_urgent(registrations: "AnyRegistrations", fd: int, channel: Any) -> None:
    channel.handle_expt_event()
    if registrations.map.get(fd) is channel and look(fd, URGENT) & URGENT:
        registrations.exceptions.hide_urgent(fd)


def _close(registrations: "AnyRegistrations", fd: int, channel: Any) -> None:
    channel.handle_close()


_SHOWN = ((READ, _read), (WRITE, _write), (URGENT, _take_urgent), (INVALID, _close))


def _fail_as_select(registrations: "AnyRegistrations", fd: int, channel: Any, error: BaseException) -> None:
    """Have *channel* handle *error*; an acceptor that has run out of descriptors is paused and not closed."""
    if isinstance(error, ENDING):
        raise error
    if isinstance(error, OSError) and error.errno in EXHAUSTED and getattr(channel, "accepting", False):
        registrations.exceptions.pause_acceptor(fd, channel, error)
    else:
        channel.handle_error()


def _fail_as_poll(registrations: "AnyRegistrations", fd: int, channel: Any, error: BaseException) -> None:
    """Have *channel* handle *error*: by ``handle_close()`` if it says that the peer has gone."""
    if isinstance(error, OSError) and error.errno in _GONE:
        channel.handle_close()
    else:
        _fail_as_select(registrations, fd, channel, error)


class Words(NamedTuple):
    """The two functions that tell channels; both take the registrations, a descriptor and its channel first."""

    tell: Callable[["AnyRegistrations", int, Any, int], None]
    """Call the channel for its events, a mask."""

    fail: Callable[["AnyRegistrations", int, Any, BaseException], None]
    """Have the channel handle the exception that a handler has raised, while it is being handled; ENDING are raised."""


SELECT = Words(_tell_as_select, _fail_as_select)
POLL = Words(_tell_as_poll, _fail_as_poll)
