"""The graceful end of a server: it serves all that waits, stops listening, and tells its connections to end.

Meanwhile a dispatcher of its own is in the map.  When the loop asks for its interest, it looks whether something is
due, and rings; ``act()`` then runs as its event.  To act at once would close channels while the loop asks them, and
asyncore's loop would go on to wait for the closed descriptors.
"""

import enum
from collections.abc import Callable
from typing import Any

from ._asyncore import is_polling
from .arguments import check_seconds
from .connections import Connections
from .deadline import Deadline
from .eventloop.doorbell import Doorbell, start_timer
from .eventloop.maps import is_running
from .eventloop.pollers import READ, look
from .eventloop.telling import ENDING

__all__ = ["GracefulEnd", "Life"]

_PATIENCE = 1.0  # seconds that a connection has to read data that has arrived, before it is told to end
_TICK = 0.1  # seconds after which a loop without timers is woken
_RETRY = 0.05  # seconds until the next attempt to enter the map, where there was no descriptor for that


class Life(enum.Enum):
    """The state of a server.

    Each leads to the next one.  ``close()`` leads from LISTENING to CLOSED, and from the others to LEAVING.
    """

    LISTENING = "accepts connections"
    DRAINING = "accepts connections, and says that it will end"
    EMPTYING = "accepts the last connections, which wait in the backlog"
    LEAVING = "does not listen any more, and waits until its connections have ended"
    CLOSED = "does not listen any more, and waits for nothing"


def _has_unread(channel: Any) -> bool:
    """Return whether *channel* has data to receive, and wants to."""
    try:
        return bool(look(channel.socket.fileno(), READ) & READ and channel.readable())
    except Exception:  # a program's own kind of channel, or one that another thread has closed
        return False


class GracefulEnd:
    """The state of *server*, ``life``, which changes in this class only, and its graceful end."""

    def __init__(self, server: Any) -> None:
        self.life = Life.LISTENING
        self.connections = Connections()
        self._server = server
        self._timeout: float | None = None
        self._keep_idle: float | None = None
        self._stage = Deadline(self.act)  # the end of the drain, then of the timeout
        self._idle = Deadline(self.act)  # idle connections are ended
        self._patience = Deadline(self.act)  # connections are told to end, even those with unread data
        self._retry = Deadline(self.act)  # the next attempt to enter the map
        self._prompter: _Prompter | None = None

    def begin(self, timeout: float | None, drain: float, keep_idle: float | None = None) -> None:
        """Begin the end, or go on to its next stage; see ``chat_server.shut_down()``.

        *keep_idle* seconds after channels were told to end, those that are idle are closed (HTTP's only); None closes
        none.  Any thread, and a signal handler, may call this.
        """
        for name, seconds in (("timeout", timeout), ("drain", drain), ("keep_idle", keep_idle)):
            if seconds is not None or name == "drain":
                check_seconds(name, seconds)
        self._timeout, self._keep_idle = timeout, keep_idle
        if self.life is Life.LISTENING and drain:
            # Before the state changes: a signal handler that calls this in between must not find a deadline missing.
            self._stage.set(drain, self._server._map)
            self.life = Life.DRAINING
        elif self.life in (Life.LISTENING, Life.DRAINING):
            self._accept_the_last()
        else:
            if self.life is Life.CLOSED:
                self.life = Life.LEAVING
            self._count_timeout()
            self._count_keep_idle()
        is_served = is_running(self._server._map)
        if is_served or is_polling():
            self._attend()  # leave it to the loop: this may be another thread, or a signal handler within any code
        if self._prompter is not None:
            self._prompter.ring()  # the loop may have looked before the state was set above
        elif not is_served:  # no loop runs, or asyncore's runs and there was no descriptor to wake it
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

    def _count_keep_idle(self) -> None:
        if self._keep_idle is not None:
            self._idle.set(self._keep_idle, self._server._map)

    def is_due(self) -> bool:
        """Return whether ``act()`` has something to do; called in each pass of the loop."""
        if self._stage.is_over() or self._idle.is_over():
            return True
        if self.life is Life.EMPTYING:
            return self._is_empty() or bool(self._to_tell())
        return self.life is Life.LEAVING and (self.connections.are_gone() or bool(self._to_tell()))

    def act(self) -> None:
        """Do what is due; called as an event of the loop, not while it asks channels for their interest."""
        if self.life is Life.DRAINING and self._stage.is_over():
            self._accept_the_last()
        if self.life is Life.EMPTYING and (self._stage.is_over() or self._is_empty()):
            try:
                self._server._ac_end_listening()
            finally:
                self.stop_listening()  # in case that an override of close() has raised, or not called the inherited one
        self._tell()
        if self._idle.is_over():
            self._dismiss_idle()  # also while EMPTYING: connections that wait may need their room
        if self.life is Life.LEAVING:
            if self._stage.is_over():
                self._close_all()
            if self.connections.are_gone():
                self._finish()
        self._attend()

    def handle_error(self) -> None:
        """Have the server handle the current exception."""
        self._server.handle_error()

    def _is_empty(self) -> bool:
        """Return whether the backlog is empty; also True after a time in which connections come without end."""
        sock = self._server.socket
        if sock is None or not look(sock.fileno(), READ) & READ:
            return True
        return self._patience.is_over() and bool(self._server.readable())

    def _to_tell(self) -> list[Any]:
        """Return the channels to tell now that they must end: those without unread data.

        While the server listens there are none, unless it is full: then the last ones cannot be accepted before others
        have ended.
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
            self._patience.lift()  # connections that come later get the whole time
        self._count_keep_idle()
        told = 0
        try:
            for channel in channels:
                told += 1
                self._call(channel, getattr(channel, "handle_shut_down", None))
        finally:
            if told < len(channels):  # a channel has ended the loop: the next loop() tells the others
                self.connections.take_back(channels[told:])

    def _dismiss_idle(self) -> None:
        self._idle.lift()
        for channel in self.connections.told():
            if not _has_unread(channel):
                self._call(channel, getattr(channel, "_ac_end_if_idle", None))

    def _close_all(self) -> None:
        """Close the connections that are left, with a line in the log."""
        self._stage.lift()
        channels = self.connections.untold() + self.connections.told()
        for channel in channels:
            self._call(channel, channel.close)
        if channels:
            count = "1 connection that was" if len(channels) == 1 else f"{len(channels)} connections that were"
            when = f"{self._timeout:g} seconds after" if self._timeout else "when"
            self._server.log_info(f"closed {count} still open {when} the end began", "error")

    def _call(self, channel: Any, method: Callable[[], object] | None) -> None:
        """Call *method* of *channel*, unless it is None; an exception must not prevent the calls for other channels."""
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
        """Put a _Prompter into the map, which looks in each pass of the loop whether something is due."""
        if self._prompter is None and self.life is not Life.CLOSED:
            try:
                prompter = self._prompter = _Prompter(self, self._server._map)
                prompter.enter_map()
            except OSError:  # descriptors have run out
                self._retry.set(_RETRY, self._server._map)

    def has(self, prompter: "_Prompter") -> bool:
        """Return whether *prompter* is the valid one; a signal handler within ``_attend()`` may have made another."""
        return self._prompter is prompter

    def _finish(self) -> None:
        self.life = Life.CLOSED
        for deadline in (self._stage, self._idle, self._patience, self._retry):
            deadline.lift()
        prompter, self._prompter = self._prompter, None
        if prompter is not None:
            prompter.drop()


class _Prompter(Doorbell):
    """The dispatcher in *map* during *end*: asked for its interest in each pass, it rings if something is due."""

    def __init__(self, end: GracefulEnd, map: dict[int, Any]) -> None:
        super().__init__(map)
        self._end = end
        self._is_ticking = False  # a thread has been started that will ring

    def readable(self) -> bool:
        """Return True, and ring if something is due."""
        if not self._end.has(self):
            self.drop()
            return False
        if self._end.is_due():
            self.ring()
        elif not (self._is_ticking or is_running(self._map)):  # it is asyncore's loop, which has no timers
            self._is_ticking = True  # before the thread starts, which may set it to False at once
            if start_timer(_TICK, self._tick) is None:  # no thread can be had: the next pass looks, however late
                self._is_ticking = False
        return True

    def _tick(self) -> None:
        self._is_ticking = False
        self.ring()

    def handle_read_event(self) -> None:
        """Do what is due."""
        if not self._waker.drain():  # the program has closed all descriptors
            self.drop()
        self._end.act()

    handle_close = close = Doorbell.drop

    def handle_error(self) -> None:
        """Have the server handle the current exception."""
        self._end.handle_error()
