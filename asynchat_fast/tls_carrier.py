"""The dispatcher that stands in the map for a channel on TLS, after its handshake."""

import errno
from typing import TYPE_CHECKING, Any

from .eventloop.interest import reports
from .tls_farewell import Place, say_farewell
from .transport import reads_directly, reporting

if TYPE_CHECKING:
    from .tls_socket import TLSSocket

__all__ = ["Carrier"]


class Carrier(Place):
    """Asks its channel what it waits for, and tells it when there is plaintext to read or room to write."""

    __slots__ = ("_engine", "_is_direct")

    def __init__(self, face: "TLSSocket", map: dict[int, Any]) -> None:
        super().__init__(face, map)
        self._engine = face._ac_engine

    def join(self, channel: Any) -> None:
        """Stand in for *channel*, in its map."""
        self.channel = channel
        self.map = channel._map
        self.__class__ = Carrier if reports(type(channel)) else _AskedCarrier
        self._is_direct = reads_directly(channel)
        self.enter_map()

    @property
    def connected(self) -> bool:
        """Whether the channel is connected (bool)."""
        return self.channel is not None and bool(self.channel.connected)

    # What the loop asks and tells

    @reporting
    def readable(self) -> bool:
        """Tell whether the channel would read, and something may come."""
        if self._engine.input_ended or self.channel is None:
            return False
        return self.channel.readable()  # type: ignore[no-any-return]

    @reporting
    def writable(self) -> bool:
        """Tell whether something waits to be sent, or there is plaintext to read of which no poller knows."""
        channel = self.channel
        if channel is None:
            return False
        if channel.writable() or self.face._ac_unsent:
            return True
        engine = self._engine
        return bool((engine.plaintext or engine.end) and channel.readable())

    def handle_read_event(self) -> None:
        """Receive ciphertext, and have the channel read the plaintext."""
        engine, channel = self._engine, self.channel
        self.face._ac_receive()
        data = engine.plaintext
        if data and self._is_direct and channel is not None and len(data) <= channel.ac_in_buffer_size:
            engine.plaintext = b""
            channel._ac_receive(data)
        if engine.plaintext or engine.end:
            self.deliver()

    def deliver(self) -> None:
        """Let the channel read until nothing is left, or it wants no more."""
        engine, face, channel = self._engine, self.face, self.channel
        while self.channel is not None and engine.has_input and channel.readable():
            reads = face._ac_reads
            channel.handle_read_event()
            if face._ac_reads == reads:  # it does not read, and is asked but once an event
                return

    def handle_write_event(self) -> None:
        """Send what waits for the socket, then have the channel send; and read the plaintext that waits."""
        channel = self.channel
        try:
            is_sent = self.face._ac_flush()
        except OSError:
            self.deliver()  # the last words of a peer that has gone
            self.handle_close()
            return
        if channel is None or not is_sent:
            return
        self.deliver()
        if self.channel is not None and channel.writable():
            channel.handle_write_event()

    def handle_close(self) -> None:
        """Let the channel act upon the end of the connection."""
        if self.channel is not None:
            self.channel.handle_close()

    def handle_error(self) -> None:
        """Let the channel act upon the exception that is being handled."""
        if self.channel is not None:
            self.channel.handle_error()

    def close(self) -> None:
        """Close the channel and the socket at once: for asyncore's ``close_all()``."""
        if self.channel is not None:
            self.channel.close()
        self.face._ac_place.drop()

    # What the channel's socket tells

    def report_error(self, error: OSError) -> OSError:
        """Log an *error* of a client's; a server's is for the channel's ``handle_error()``."""
        if self.channel is None or not self._engine.object.server_side:
            return error
        self.channel.log_info(f"closing {self.channel!r}: {error}", "error")
        return ConnectionAbortedError(errno.ECONNABORTED, str(error))

    def report_output(self, sent: int) -> None:
        """Have the loop wait for room for what could not be sent."""
        if hasattr(type(self.map), "touch"):
            self.map.touch(self._fd)  # type: ignore[attr-defined]

    def finish(self) -> None:
        """Close, as the channel does."""
        self.channel = None
        say_farewell(self)


class _AskedCarrier(Carrier):
    """One whose channel does not report what it waits for, and has to be asked in each pass."""

    __slots__ = ()

    def readable(self) -> bool:
        return bool(Carrier.readable(self))

    def writable(self) -> bool:
        return bool(Carrier.writable(self))
