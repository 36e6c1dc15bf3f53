"""The end of a connection on TLS: the last bytes are sent after its channel has closed."""

import contextlib
from typing import TYPE_CHECKING, Any

from .deadline import Deadline

if TYPE_CHECKING:
    from .tls_socket import TLSSocket

__all__ = ["Place", "say_farewell"]

_PATIENCE = 8.0  # seconds without progress before a peer that takes nothing is given up


class Place:
    """The dispatcher that stands in a map for a connection on TLS.

    A connection has one after the other: a Handshake, a Carrier while the channel converses, and at times a Farewell.
    """

    __slots__ = ("__weakref__", "_fd", "channel", "face", "map", "socket")

    _ac_state: str | None = None  # what status() says, where it is not the channel's
    accepting = False
    connected: Any = False
    connecting: Any = False

    def __init__(self, face: "TLSSocket", map: dict[int, Any]) -> None:
        self.face = face
        self.map = map
        self.channel: Any = None  # that this stands in for
        self.socket = face._ac_socket
        self._fd = face.fileno()
        face._ac_place = self

    def _ac_status(self) -> dict[str, Any]:
        """Return what ``status()`` tells of the channel, and of what TLS has made of its bytes."""
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
        """Stand in the map from now on, in the place of whatever stood there."""
        self.map[self._fd] = self

    @property
    def is_over(self) -> bool:
        """Whether something else has taken the place of this (bool)."""
        return self.face._ac_place is not self

    def drop(self) -> None:
        """Leave the map, and close the socket."""
        if self.map.get(self._fd) is self:
            del self.map[self._fd]
        self.socket.close()
        Gone(self.face, self.map)

    def handle_expt_event(self) -> None:
        """Ignore urgent data, which is not a matter of TLS."""

    def join(self, channel: Any) -> None:
        """Do nothing for *channel*, which has closed."""

    def finish(self) -> None:
        """Do nothing, as the channel has closed."""

    def report_error(self, error: OSError) -> OSError:
        """Return what the socket is to raise for an *error* of TLS."""
        return error

    def report_output(self, sent: int) -> None:
        """Act upon bytes that the socket below did not take, after *sent* that it did."""


class Gone(Place):
    """Nothing, as the socket is closed; what the loop has still to tell is for nobody."""

    __slots__ = ()

    def drop(self) -> None:
        """Do nothing."""

    handle_close = handle_error = close = drop


class Farewell(Place):
    """Sends what waits for the socket, reads what comes to throw it away, and closes."""

    __slots__ = ("_deadline",)

    _ac_state = "closing"
    connected = True

    def __init__(self, face: "TLSSocket", map: dict[int, Any]) -> None:
        super().__init__(face, map)
        self._deadline = Deadline(self.drop)
        self._deadline.set(_PATIENCE, map)
        self.enter_map()

    def readable(self) -> bool:
        """Tell whether more may come: unread, it would make the system reset the connection."""
        self._deadline.look()
        return not (self.is_over or self.face._ac_engine.input_ended)

    def writable(self) -> bool:
        """Tell that something is to be sent."""
        return not self.is_over

    def handle_read_event(self) -> None:
        """Receive, and discard the bytes."""
        self.face._ac_receive()
        self.face._ac_engine.plaintext = b""  # or it would grow with all that the peer sends
        if self.face._ac_fault is not None:
            self.drop()

    def handle_write_event(self) -> None:
        """Send what waits, and then close."""
        try:
            if not self.face._ac_flush():
                return
        except OSError:
            pass  # the peer has gone
        self.drop()

    def report_output(self, sent: int) -> None:
        """Wait again for a peer that took something."""
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
    """Send what waits for the socket of *place* and close_notify, and close: now, or when the peer has taken them."""
    face = place.face
    is_sent = True
    with contextlib.suppress(OSError), face._ac_lock:
        face._ac_engine.close()
        is_sent = face._ac_flush()
    if is_sent:
        place.drop()
    else:
        Farewell(face, place.map)
