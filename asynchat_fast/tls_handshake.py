"""The dispatcher that is in the map for a connection until its TLS handshake is complete."""

import contextlib
import errno
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from .deadline import Deadline
from .tls import State
from .tls_carrier import Carrier
from .tls_farewell import say_farewell
from .tls_place import Place
from .tls_socket import TLSSocket
from .transport import reporting

__all__ = ["Handshake", "Occasion"]

_AT_ONCE = 16  # handshakes that may continue in one pass of the loop; together they take about 10 ms


class Occasion(NamedTuple):
    """The functions by which the object that has started a handshake is told its outcome."""

    opened: Callable[[TLSSocket], object]
    """Act upon success: the TLSSocket sends and receives plaintext from now on."""

    failed: Callable[[OSError], object]
    """Act upon the failure of the handshake, for the reason given."""

    handle_error: Callable[[], object]
    """Handle the current exception, which ``opened()`` has raised."""


class _Turns(threading.local):
    """Limits how many handshakes continue in one pass of a thread's loop.

    Each takes most of a millisecond, for which connections with data would have to wait.  A handshake that was put off
    is reported as readable again in the next pass; so, when one of them asks a second time, a new pass has begun.
    """

    def __init__(self) -> None:
        self._left = _AT_ONCE
        self._put_off: weakref.WeakSet[Handshake] = weakref.WeakSet()

    def take(self, handshake: "Handshake") -> bool:
        """Return whether *handshake* may continue in this pass."""
        if handshake in self._put_off:
            self._put_off.clear()
            self._left = _AT_ONCE
        if self._left:
            self._left -= 1
            return True
        self._put_off.add(handshake)
        return False


_turns = _Turns()


class Handshake(Place):
    """Runs the handshake of *face* in *map*; it fails after *timeout* seconds (None: no limit).

    A client has a channel already, which may still be connecting: ``join()`` has this take its place in the map.  On
    a server the channel is usually made by the program once the handshake is complete.
    """

    __slots__ = ("_deadline", "_engine", "_occasion")

    _ac_state = "handshake"

    def __init__(self, face: TLSSocket, map: dict[int, Any], occasion: Occasion, timeout: float | None) -> None:
        super().__init__(face, map)
        self._engine = face._ac_engine
        self._occasion = occasion
        self._deadline = Deadline(self._overdue)
        if timeout is not None:
            self._deadline.set(timeout, map)

    def join(self, channel: Any) -> None:
        """Take the place of *channel* in its map."""
        self.channel = channel
        self.map = channel._map
        self.enter_map()

    # The interest

    @property
    def connected(self) -> bool:
        """Whether the connection is established, and this still serves it (bool)."""
        return not self.is_over and (self.channel is None or bool(self.channel.connected))

    @property
    def connecting(self) -> bool:
        """Whether the channel is still connecting (bool)."""
        return self.channel is not None and bool(self.channel.connecting)

    @reporting
    def readable(self) -> bool:
        """Return whether it waits for input: once connected, until the input ends."""
        self._deadline.look()  # asyncore's loop has no timers, but calls this in each pass
        return self.connected and not self._engine.input_ended

    @reporting
    def writable(self) -> bool:
        """Return whether something waits to be sent, or a client waits to connect or to send its ClientHello."""
        if self.connected:
            return bool(self.face._ac_unsent) or self._may_begin()
        return self.connecting

    def _may_begin(self) -> bool:
        return self._engine.state is State.NEW and not self._engine.object.server_side

    # Events of the loop

    def handle_read_event(self) -> None:
        """Receive, and continue the handshake."""
        if not self.connected:
            self.handle_write_event()
        # An asyncio transport reports each input only once: put off, it would never be read.
        elif self.face._ac_map is not None or _turns.take(self):
            self._engine.receive(self.socket)
            self.go_on()

    def handle_write_event(self) -> None:
        """Note that the client is connected, send what waits, and then a client's ClientHello."""
        if self.is_over:  # asyncore's poll2() has called handle_read_event() first, which has completed the handshake
            return
        if not self.connected:
            self.channel.handle_connect_event()
            if not self.connected:
                return
        try:
            is_sent = self.face._ac_flush()
        except OSError as error:
            self._fail(error)
            return
        if is_sent and self._may_begin():
            self.go_on()

    def handle_expt_event(self) -> None:
        """Tell the channel that the connection could not be made."""
        if self.channel is not None:
            self.channel.handle_expt_event()

    def handle_close(self) -> None:
        """Fail the handshake, as the connection has ended."""
        if self.connected:
            self._fail(ConnectionResetError(errno.ECONNRESET, "the peer closed the connection in the handshake"))
        elif self.is_over:
            self.face._ac_place.handle_close()  # type: ignore[attr-defined]
        elif self.channel is not None:
            self.channel.handle_close()

    def handle_error(self) -> None:
        """Have the channel handle the current exception, or the server where no channel has been made."""
        place: Any = self.face._ac_place
        if place.channel is not None:
            place.channel.handle_error()
            return
        self.face.close()
        self._occasion.handle_error()

    # Outcomes

    def go_on(self) -> None:
        """Take the next step of the handshake, and act upon its outcome, if there is one."""
        face = self.face
        try:
            with self._engine.lock:
                is_done = self._engine.handshake()
                face._ac_flush()
        except OSError as error:
            with contextlib.suppress(OSError):
                face._ac_flush()  # sends the alert
            self._fail(error)
            return
        if is_done and not self.is_over:  # a push() in another thread may have closed the connection meanwhile
            self._open()

    def _open(self) -> None:
        face, channel = self.face, self.channel
        self._deadline.lift()
        carrier = Carrier(face, self.map)
        if channel is None:
            self.map.pop(self._fd, None)  # makes room for the channel that opened() is about to make
        else:
            carrier.join(channel)
        self._occasion.opened(face)
        if channel is None and face._ac_place is carrier and carrier.channel is None:
            channel = self.map.get(self._fd)  # an async_chat calls join() itself, other dispatchers do not
            if channel is not None:
                carrier.join(channel)
        carrier.deliver()

    def _fail(self, error: OSError) -> None:
        face, channel = self.face, self.channel
        face._ac_failure = error
        self._deadline.lift()
        try:
            self._occasion.failed(error)
            if channel is not None and channel.socket is face and not self.is_over:  # its handler has left it open
                channel.close()
        finally:
            if not self.is_over:
                self.finish()

    def _overdue(self) -> None:
        self._fail(TimeoutError(errno.ETIMEDOUT, "the handshake took too long"))

    def drop(self) -> None:
        """Leave the map, and close the socket."""
        self._deadline.lift()
        super().drop()

    def finish(self) -> None:
        """Close; first send the plaintext that was pushed before TLS began, if the peer takes it."""
        self._deadline.lift()
        if self.connected or self.channel is None:
            say_farewell(self)
        else:
            self.drop()
        self.channel = None
