"""The base of a TLS connection's dispatchers, and the last of them, which sends what a closed channel has left."""

import contextlib
from typing import TYPE_CHECKING, Any

from .deadline import Deadline

if TYPE_CHECKING:
    from .tls_socket import TLSSocket

__all__ = ["Place", "say_farewell"]

_PATIENCE = 8.0  # seconds in which a peer must take some of the last bytes, or the connection is closed without them


class Place:
    """Base of the dispatchers that are in the map for a TLS connection, one after the other.

    They are a Handshake, a Carrier while the channel is open, a Farewell if bytes are left to be sent when the channel
    closes, and at the end a Gone, which has left the map.  ``TLSSocket._ac_place`` is the present one.
    """

    __slots__ = ("__weakref__", "_fd", "channel", "face", "map", "socket")

    _ac_state: str | None = None  # the state in status(), None for that of the channel
    accepting = False
    connected: Any = False
    connecting: Any = False

    def __init__(self, face: "TLSSocket", map: dict[int, Any]) -> None:
        self.face = face
        self.map = map
        self.channel: Any = None  # the channel in whose place this is, None if there is none yet, or no more
        self.socket = face._ac_socket
        self._fd = face.fileno()
        face._ac_place = self

    def _ac_status(self) -> dict[str, Any]:
        """Return what ``status()`` shows: the figures of the channel, with ciphertext added to its unsent bytes."""
        channel = self.channel
        known: dict[str, Any] = {}
        if channel is None:
            with contextlib.suppress(OSError):
                known["addr"] = self.socket.getpeername()
        else:
            known.update({"class": type(channel).__name__, "addr": getattr(channel, "addr", None)})
            known.update(getattr(type(channel), "_ac_status", lambda channel: {})(channel))
        known["unsent"] = known.get("unsent", 0) + len(self.face._ac_unsent)
        if self._ac_state is not None and self.connected:
            known["state"] = self._ac_state
        return known

    def enter_map(self) -> None:
        """Enter the map, in place of the dispatcher that had this descriptor."""
        self.map[self._fd] = self

    @property
    def is_over(self) -> bool:
        """Whether another Place serves the connection now (bool)."""
        return self.face._ac_place is not self

    def drop(self) -> None:
        """Leave the map, and close the socket."""
        if self.map.get(self._fd) is self:
            del self.map[self._fd]
        self.socket.close()
        Gone(self.face, self.map)

    def handle_expt_event(self) -> None:
        """Ignore urgent data, which TLS does not use."""

    def join(self, channel: Any) -> None:
        """Take the place of *channel* in its map: here do nothing, as the channel has closed."""

    def finish(self) -> None:
        """Close, after the last bytes are sent: here do nothing, as that was asked before."""

    def report_error(self, error: OSError) -> OSError:
        """Return the exception that the TLSSocket is to raise for *error*, a failure of TLS."""
        return error

    def report_output(self, sent: int) -> None:
        """Act upon a send() of which the socket below took *sent* bytes, but not all."""


class Gone(Place):
    """The Place of a closed socket: ignores the events that the loop still has for it in this pass."""

    __slots__ = ()

    def drop(self) -> None:
        """Do nothing."""

    handle_close = handle_error = close = drop


class Farewell(Place):
    """Sends the last bytes of a closed channel, discards what comes meanwhile, and closes the socket."""

    __slots__ = ("_deadline",)

    _ac_state = "closing"
    connected = True

    def __init__(self, face: "TLSSocket", map: dict[int, Any]) -> None:
        super().__init__(face, map)
        self._deadline = Deadline(self.drop)
        self._deadline.set(_PATIENCE, map)
        self.enter_map()

    def readable(self) -> bool:
        """Return whether more may come: data left unread makes the system reset the connection when it closes."""
        self._deadline.look()
        return not (self.is_over or self.face._ac_engine.input_ended)

    def writable(self) -> bool:
        """Return True until the last bytes are sent."""
        return not self.is_over

    def handle_read_event(self) -> None:
        """Receive, and discard the bytes."""
        self.face._ac_receive()
        self.face._ac_engine.plaintext = b""  # kept, it would grow with all that the peer sends
        if self.face._ac_fault is not None:
            self.drop()

    def handle_write_event(self) -> None:
        """Send what waits; close once it is all sent, or the connection is lost."""
        try:
            if not self.face._ac_flush():
                return
        except OSError:
            pass  # the peer has gone
        self.drop()

    def report_output(self, sent: int) -> None:
        """Set the deadline anew for a peer that has taken something."""
        if sent:
            self._deadline.set(_PATIENCE, self.map)

    def handle_close(self) -> None:
        """Close, as the peer has gone."""
        self.drop()

    handle_error = close = handle_close

    def drop(self) -> None:
        """Leave the map, and close the socket."""
        self._deadline.lift()
        super().drop()


def say_farewell(place: Place) -> None:
    """Send the bytes that wait on the connection of *place*, and a close_notify; then close the socket.

    If the peer does not take all of them at once, a Farewell goes on with that in the map.  A connection that is to be
    reset is only closed: by a close_notify, the peer would take the data that it has for all.
    """
    face = place.face
    if face._ac_resets:
        place.drop()
        return
    is_sent = True
    with contextlib.suppress(OSError), face._ac_lock:
        face._ac_engine.close()
        is_sent = face._ac_flush()
    if is_sent:
        place.drop()
    else:
        Farewell(face, place.map)
