"""The end of a TLS connection: the last bytes are sent after its channel has closed."""

import contextlib
from typing import TYPE_CHECKING, Any

from .deadline import Deadline
from .tls_place import Place

if TYPE_CHECKING:
    from .tls_socket import TLSSocket

__all__ = ["say_farewell"]

_PATIENCE = 8.0  # seconds in which a peer must take some of the last bytes, or the connection is closed without them


class Farewell(Place):
    """Sends the last bytes of a closed channel, discards what comes meanwhile, and closes the socket."""

    __slots__ = ("_deadline",)

    _ac_state = "closing"
    connected = True

    def __init__(self, face: "TLSSocket", map: dict[int, Any]) -> None:
        super().__init__(face, map)
        self._deadline = Deadline(self._overdue)
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
        self.face._ac_engine.receive(self.socket)
        self.face._ac_engine.plaintext = b""  # kept, it would grow with all that the peer sends

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

    def _overdue(self) -> None:
        """Close, as the peer takes nothing; an asyncio transport would wait for it once more."""
        drop_output = getattr(self.socket, "_ac_drop_output", None)
        if drop_output is not None:
            drop_output()
        self.drop()

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
    with contextlib.suppress(OSError), face._ac_engine.lock:
        face._ac_engine.close()
        is_sent = face._ac_flush()
    if is_sent:
        place.drop()
    else:
        Farewell(face, place.map)
