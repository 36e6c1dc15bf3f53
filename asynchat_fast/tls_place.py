"""The base of the dispatchers that are in the map for a TLS connection."""

import contextlib
from typing import TYPE_CHECKING, Any

from .eventloop.maps import touch

if TYPE_CHECKING:
    from .tls_socket import TLSSocket

__all__ = ["Place"]


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
        """Act upon a send() of which the socket below took *sent* bytes, but not all: wait until it is writable."""
        touch(self.map, self._fd)

    def close(self) -> None:
        """Close the channel and the socket at once: for asyncore's ``close_all()``."""
        if self.channel is not None:
            self.channel.close()
        self.face._ac_place.drop()


class Gone(Place):
    """The Place of a closed socket: ignores the events that the loop still has for it in this pass."""

    __slots__ = ()

    def drop(self) -> None:
        """Do nothing."""

    handle_close = handle_error = close = drop
