"""The dispatcher that stands in the map for a connection until its TLS handshake is complete."""

import contextlib
import errno
import threading
import weakref
from typing import Any, Protocol

from .deadline import Deadline
from .tls_carrier import Carrier
from .tls_farewell import Place, say_farewell
from .tls_socket import TLSSocket
from .transport import reporting

__all__ = ["Handshake", "Occasion"]

_AT_ONCE = 16  # handshakes that go on in a pass, some 10 ms


class Occasion(Protocol):
    """The object that has begun a handshake, and learns its outcome."""

    def opened(self, face: TLSSocket) -> None:
        """Take *face*, on which plaintext can be sent and received from now on."""

    def failed(self, error: OSError) -> None:
        """Act upon the end of the connection, for which *error* is the reason."""

    def handle_error(self) -> None:
        """Act upon the exception that is being handled, which ``opened()`` has raised."""


class _Turns(threading.local):
    """Lets a few handshakes go on in a pass of a loop, as each takes most of a millisecond, and established ones wait.

    One that is put off is told of its input again in the next pass: so it is known that another has begun.
    """

    def __init__(self) -> None:
        self._left = _AT_ONCE
        self._put_off: weakref.WeakSet[Handshake] = weakref.WeakSet()

    def take(self, handshake: "Handshake") -> bool:
        """Tell whether *handshake* may go on now."""
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
    """The handshake of *face* in *map*, in *timeout* seconds at most; for a client the connection comes before it.

    There may be a channel already, for which this stands in after ``join()``.
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
        """Stand in for *channel*, in its map."""
        self.channel = channel
        self.map = channel._map
        self.enter_map()

    # What the loop asks

    @property
    def connected(self) -> bool:
        """Whether the connection stands (bool)."""
        return not self.is_over and (self.channel is None or bool(self.channel.connected))

    @property
    def connecting(self) -> bool:
        """Whether the connection is being made (bool)."""
        return self.channel is not None and bool(self.channel.connecting)

    @reporting
    def readable(self) -> bool:
        """Tell that something is to come, once connected."""
        self._deadline.look()  # asyncore's loop has no timers
        return self.connected and not self._engine.input_ended

    @reporting
    def writable(self) -> bool:
        """Tell whether something waits to be sent, a client's first word to begin with, or the connection is made."""
        if self.connected:
            return bool(self.face._ac_unsent) or self._may_begin()
        return self.connecting

    def _may_begin(self) -> bool:
        return not (self._engine.has_begun or self._engine.object.server_side)

    # What the loop tells

    def handle_read_event(self) -> None:
        """Receive, and go on."""
        if not self.connected:
            self.handle_write_event()
        elif self.face._ac_map is not None or _turns.take(self):  # on asyncio's transports input is told of once
            self.face._ac_receive()
            self.go_on()

    def handle_write_event(self) -> None:
        """Send what waits, and a client's first word once the connection is made."""
        if self.is_over:  # asyncore's poll2() tells what was read first
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
        """Act upon the end of the connection."""
        if self.connected:
            self._fail(ConnectionResetError(errno.ECONNRESET, "the peer closed the connection in the handshake"))
        elif self.is_over:
            self.face._ac_place.handle_close()  # type: ignore[attr-defined]
        elif self.channel is not None:
            self.channel.handle_close()

    def handle_error(self) -> None:
        """Have the exception handled that is being handled."""
        place: Any = self.face._ac_place
        if place.channel is not None:
            place.channel.handle_error()
            return
        self.face.close()
        self._occasion.handle_error()

    def close(self) -> None:
        """Close the channel and the socket at once: for asyncore's ``close_all()``."""
        if self.channel is not None:
            self.channel.close()
        self.face._ac_place.drop()

    # Outcomes

    def go_on(self) -> None:
        """Take the next step of the handshake."""
        face = self.face
        try:
            with face._ac_lock:
                is_done = self._engine.handshake()
                face._ac_flush()
        except OSError as error:
            with contextlib.suppress(OSError):
                face._ac_flush()  # the alert
            self._fail(face._ac_fault or error)
            return
        if is_done and not self.is_over:  # a thread that pushes may have found the connection lost
            self._open()

    def _open(self) -> None:
        face, channel = self.face, self.channel
        self._deadline.lift()
        carrier = Carrier(face, self.map)
        if channel is None:
            self.map.pop(self._fd, None)  # for the channel to come
        else:
            carrier.join(channel)
        self._occasion.opened(face)
        if channel is None and face._ac_place is carrier and carrier.channel is None:
            channel = self.map.get(self._fd)  # one that is no async_chat has not had the carrier join
            if channel is not None:
                carrier.join(channel)
        carrier.deliver()

    def _fail(self, error: OSError) -> None:
        face, channel = self.face, self.channel
        face._ac_failure = error
        self._deadline.lift()
        try:
            self._occasion.failed(error)
            if channel is not None and channel.socket is face:  # its handle_error() has left it open
                channel.close()
        finally:
            if not self.is_over:
                self.finish()

    def _overdue(self) -> None:
        self._fail(TimeoutError(errno.ETIMEDOUT, "the handshake took too long"))

    def report_output(self, sent: int) -> None:
        """Have the loop wait for room for what could not be sent."""
        if hasattr(type(self.map), "touch"):
            self.map.touch(self._fd)  # type: ignore[attr-defined]

    def finish(self) -> None:
        """Close; what was said in the plain before TLS leaves, if the peer takes it."""
        self._deadline.lift()
        if self.connected or self.channel is None:
            say_farewell(self)
        else:
            self.drop()
        self.channel = None
