"""The graceful end of a server: it serves all that waits, stops listening, and tells its connections to end.

A channel of its own stands in the map meanwhile.  It looks what is due when the loop asks what it waits for, but has it
done as the event that follows: amid the asking, asyncore's loop would go on to wait for what has just been closed.
"""

import enum
from collections.abc import Callable
from typing import Any

from ._asyncore import is_polling
from .connections import Connections
from .deadline import Deadline
from .eventloop.doorbell import Doorbell, start_timer
from .eventloop.maps import is_running
from .eventloop.pollers import READ, look
from .eventloop.telling import ENDING

__all__ = ["GracefulEnd", "Life"]

_PATIENCE = 1.0  # seconds in which what has arrived is read, before its connection is told to end
_TICK = 0.1  # seconds after which a loop without timers is woken
_RETRY = 0.05  # seconds until something is looked at again, where there was no descriptor for the channel in the map


class Life(enum.Enum):
    """What a server does; each leads to the next, ``close()`` from the first to the last, else to LEAVING."""

    LISTENING = "accepts connections"
    DRAINING = "accepts connections, and says that it will end"
    EMPTYING = "accepts the connections that wait, which are the last"
    LEAVING = "listens no more, and its connections are to end"
    CLOSED = "listens no more"


def _has_unread(channel: Any) -> bool:
    """Tell whether something has arrived that *channel* will read."""
    try:
        return bool(look(channel.socket.fileno(), READ) & READ and channel.readable())
    except Exception:  # a channel of a kind of its own, or closed by another thread
        return False


class GracefulEnd:
    """The end of *server*, and its life before it; here is where its ``life`` changes."""

    def __init__(self, server: Any) -> None:
        self.life = Life.LISTENING
        self.connections = Connections()
        self._server = server
        self._timeout: float | None = None
        self._keep_idle: float | None = None
        self._stage = Deadline(self.act)  # of the drain, then the timeout
        self._idle = Deadline(self.act)
        self._patience = Deadline(self.act)
        self._retry = Deadline(self.act)
        self._prompter: _Prompter | None = None

    def begin(self, timeout: float | None, drain: float, keep_idle: float | None = None) -> None:
        """Begin, or go on: see ``chat_server.shut_down()``; any thread may, and a signal handler.

        Channels that end only if they are idle, as those of HTTP do, do so *keep_idle* seconds after they are told.
        """
        for name, seconds in (("timeout", timeout), ("drain", drain), ("keep_idle", keep_idle)):
            if not (seconds is None and name != "drain") and not seconds >= 0:  # type: ignore[operator]
                raise ValueError(f"{name} is a number of seconds, not {seconds}")
        self._timeout, self._keep_idle = timeout, keep_idle
        if self.life is Life.LISTENING and drain:
            self._stage.set(drain, self._server._map)  # first, or a signal handler amid this might set another before
            self.life = Life.DRAINING
        elif self.life in (Life.LISTENING, Life.DRAINING):
            self._accept_the_last()
        else:
            if self.life is Life.CLOSED:
                self.life = Life.LEAVING
            self._count_timeout()
        is_served = is_running(self._server._map)
        if is_served or is_polling():
            self._attend()  # this may be another thread, or a signal handler amid anything, so the loop is to act
        if self._prompter is not None:
            self._prompter.ring()  # the loop may have looked before all of this was said
        elif not is_served:  # nor would asyncore's loop look again, without descriptors
            self.act()

    def stop_listening(self) -> None:
        """Note that the server has closed its socket."""
        if self.life is Life.LISTENING:
            self.life = Life.CLOSED
        elif self.life is not Life.CLOSED:
            if self.life is Life.DRAINING:
                self._count_timeout()
            self.life = Life.LEAVING

    def _accept_the_last(self) -> None:
        self.life = Life.EMPTYING
        self._count_timeout()
        self._patience.set(_PATIENCE, self._server._map)

    def _count_timeout(self) -> None:
        if self._timeout is None:
            self._stage.lift()
        else:
            self._stage.set(self._timeout, self._server._map)

    def is_due(self) -> bool:
        """Tell whether there is something to do; asked in each pass of the loop."""
        if self._stage.is_over() or self._idle.is_over():
            return True
        if self.life is Life.EMPTYING:
            return self._is_empty() or bool(self._to_tell())
        return self.life is Life.LEAVING and (self.connections.are_gone() or bool(self._to_tell()))

    def act(self) -> None:
        """Do what is due; called by the loop, and not amid the asking of channels."""
        if self.life is Life.DRAINING and self._stage.is_over():
            self._accept_the_last()
        if self.life is Life.EMPTYING and (self._stage.is_over() or self._is_empty()):
            try:
                self._server.close()
            finally:
                self.stop_listening()  # an override may have raised, or left it out
        self._tell()
        if self.life is Life.LEAVING:
            if self._stage.is_over():
                self._close_all()
            elif self._idle.is_over():
                self._dismiss_idle()
            if self.connections.are_gone():
                self._finish()
        self._attend()

    def handle_error(self) -> None:
        """Have the server handle the exception that is being handled."""
        self._server.handle_error()

    def _is_empty(self) -> bool:
        """Tell whether no connection waits to be accepted, or they come faster than they can be."""
        sock = self._server.socket
        if sock is None or not look(sock.fileno(), READ) & READ:
            return True
        return self._patience.is_over() and bool(self._server.readable())

    def _to_tell(self) -> list[Any]:
        """Return the channels that are to be told now: those that have read what had arrived.

        While the server listens there are none, unless it cannot accept more before some have left.
        """
        if self.life is not Life.LEAVING and (self.life is not Life.EMPTYING or self._server.readable()):
            return []
        channels = self.connections.untold()
        if self._patience.is_over():
            return channels
        if channels and not self._patience.is_set:
            self._patience.set(_PATIENCE, self._server._map)
        return [channel for channel in channels if not _has_unread(channel)]

    def _tell(self) -> None:
        channels = self._to_tell()
        if not channels:
            return
        self.connections.tell(channels)
        if not self.connections.untold():
            self._patience.lift()  # those that come later have theirs
        if self._keep_idle is not None:
            self._idle.set(self._keep_idle, self._server._map)
        told = 0
        try:
            for channel in channels:
                told += 1
                self._call(channel, getattr(channel, "handle_shut_down", None))
        finally:
            if told < len(channels):  # one has ended the loop: the next is to go on
                self.connections.take_back(channels[told:])

    def _dismiss_idle(self) -> None:
        self._idle.lift()
        for channel in self.connections.told():
            if not _has_unread(channel):
                self._call(channel, getattr(channel, "_ac_end_if_idle", None))

    def _close_all(self) -> None:
        """Close what is left, and say so."""
        self._stage.lift()
        channels = self.connections.untold() + self.connections.told()
        for channel in channels:
            self._call(channel, channel.close)
        if channels:
            count = "1 connection that was" if len(channels) == 1 else f"{len(channels)} connections that were"
            self._server.log_info(f"closed {count} still open {self._timeout} seconds after the end began", "error")

    def _call(self, channel: Any, method: Callable[[], object] | None) -> None:
        """Call *method* of *channel*, if there is one; what it raises must not keep the others from being told."""
        try:
            try:
                if method is not None:
                    method()
            except ENDING:
                raise
            except Exception:
                channel.handle_error()
        except ENDING:
            raise
        except Exception as error:
            self._server.log_info(f"{channel!r} failed at the end: {type(error).__name__}: {error}", "error")

    def _attend(self) -> None:
        """Have what is due looked at in each pass of the loop, until the end."""
        if self._prompter is None and self.life is not Life.CLOSED:
            try:
                prompter = self._prompter = _Prompter(self, self._server._map)
                prompter.enter_map()
            except OSError:  # descriptors have run out
                self._retry.set(_RETRY, self._server._map)

    def has(self, prompter: "_Prompter") -> bool:
        """Tell whether *prompter* is the one that attends: a signal handler may make another amid the making of one."""
        return self._prompter is prompter

    def _finish(self) -> None:
        self.life = Life.CLOSED
        for deadline in (self._stage, self._idle, self._patience, self._retry):
            deadline.lift()
        prompter, self._prompter = self._prompter, None
        if prompter is not None:
            prompter.drop()


class _Prompter(Doorbell):
    """What stands in *map* while *end* goes on: it is asked in each pass, and rings if something is due."""

    def __init__(self, end: GracefulEnd, map: dict[int, Any]) -> None:
        super().__init__(map)
        self._end = end
        self._is_ticking = False  # a thread is going to ring

    def readable(self) -> bool:
        """Tell that this can be rung, and do so if something is due."""
        if not self._end.has(self):
            self.drop()
            return False
        if self._end.is_due():
            self.ring()
        elif not (self._is_ticking or is_running(self._map)):  # asyncore's loop asks, which has no timers
            self._is_ticking = True  # first, as the thread may be done at once
            if start_timer(_TICK, self._tick) is None:  # looked at in the next pass, however late that is
                self._is_ticking = False
        return True

    def _tick(self) -> None:
        self._is_ticking = False
        self.ring()

    def handle_read_event(self) -> None:
        """Have done what is due."""
        if not self._waker.drain():  # a daemon has closed all descriptors
            self.drop()
        self._end.act()

    handle_close = close = Doorbell.drop

    def handle_error(self) -> None:
        """Have the server handle the exception that is being handled."""
        self._end.handle_error()
