"""The dispatcher that is in the map in place of a channel on TLS, after its handshake."""

import contextlib
import errno
from typing import TYPE_CHECKING, Any

from .eventloop.interest import reports
from .tls_farewell import say_farewell
from .tls_place import Place
from .transport import reads_directly, reporting

if TYPE_CHECKING:
    from .tls_socket import TLSSocket

__all__ = ["Carrier"]


class Carrier(Place):
    """Takes the interest of its channel to the loop, and has the channel read plaintext, and write when there is room.

    The loop sees the descriptor of the socket below, which says nothing of plaintext: a readable socket need not hold a
    whole record, and decrypted data may wait though the socket is not readable.
    """

    __slots__ = ("_engine", "_is_direct")

    def __init__(self, face: "TLSSocket", map: dict[int, Any]) -> None:
        super().__init__(face, map)
        self._engine = face._ac_engine

    def join(self, channel: Any) -> None:
        """Take the place of *channel* in its map."""
        self.channel = channel
        self.map = channel._map
        self.__class__ = Carrier if reports(type(channel)) else _AskedCarrier
        self._is_direct = reads_directly(channel)
        self.enter_map()

    @property
    def connected(self) -> bool:
        """Whether the channel is connected (bool)."""
        return self.channel is not None and bool(self.channel.connected)

    # The interest, and the events of the loop

    @reporting
    def readable(self) -> bool:
        """Return whether the channel wants to read, and the input has not ended."""
        if self._engine.input_ended or self.channel is None:
            return False
        return self.channel.readable()  # type: ignore[no-any-return]

    @reporting
    def writable(self) -> bool:
        """Return whether something waits to be sent, or plaintext waits to be read.

        Nothing that comes from the peer need announce such plaintext, so that the loop is asked to call back at once.
        """
        channel = self.channel
        if channel is None:
            return False
        if channel.writable() or self.face._ac_unsent:
            return True
        engine = self._engine
        if engine.plaintext or engine.end:
            return channel.readable()  # type: ignore[no-any-return]
        return False

    def handle_read_event(self) -> None:
        """Receive ciphertext, and have the channel read the plaintext."""
        engine, channel = self._engine, self.channel
        engine.receive(self.socket)
        data = engine.plaintext
        if data and self._is_direct and channel is not None and len(data) <= channel.ac_in_buffer_size:
            engine.plaintext = b""
            channel._ac_receive(data)
        if engine.plaintext or engine.end:
            self.deliver()
        elif not data and engine.has_output:
            # OpenSSL has produced output while it read, such as a refusal to renegotiate.  The peer waits for that, and
            # may send nothing before it has come.
            with contextlib.suppress(OSError):
                self.face._ac_flush()

    def deliver(self) -> None:
        """Have the channel read until no plaintext is left, or until it pauses or closes."""
        engine, face, channel = self._engine, self.face, self.channel
        while self.channel is not None and engine.has_input and channel.readable():
            reads = face._ac_reads
            channel.handle_read_event()
            if face._ac_reads == reads:  # its handler does not call recv(): this loop would never end
                return

    def handle_write_event(self) -> None:
        """Send the ciphertext that waits; then have the channel read plaintext that waits, and send more."""
        channel = self.channel
        try:
            is_sent = self.face._ac_flush()
        except OSError:
            self.deliver()  # the last data of a peer that has gone
            self.handle_close()
            return
        if channel is None or not is_sent:
            return
        self.deliver()
        if self.channel is not None and channel.writable():
            channel.handle_write_event()

    def handle_close(self) -> None:
        """Tell the channel that the connection has ended."""
        self._engine.receive_eof()  # a transport, or a channel that does not read, may not have met the end by reading
        if self.channel is not None:
            self.channel.handle_close()

    def handle_error(self) -> None:
        """Have the channel handle the current exception."""
        if self.channel is not None:
            self.channel.handle_error()

    # Called by the TLSSocket

    def report_error(self, error: OSError) -> OSError:
        """Return the exception for the channel to see: on a client *error* itself, for its ``handle_error()``.

        On a server, *error* is the peer's fault, and is logged in one line, without a traceback; the channel sees a
        ConnectionAbortedError, on which it closes.
        """
        if self.channel is None or not self._engine.object.server_side:
            return error
        self.channel.log_info(f"closing {self.channel!r}: {error}", "error")
        return ConnectionAbortedError(errno.ECONNABORTED, str(error))

    def finish(self) -> None:
        """Close the connection, now that the channel is closed; see ``say_farewell()``."""
        self.channel = None
        say_farewell(self)


class _AskedCarrier(Carrier):
    """A Carrier whose channel does not report changes of its interest: the loop must ask in each pass."""

    __slots__ = ()

    def readable(self) -> bool:
        return bool(Carrier.readable(self))

    def writable(self) -> bool:
        return bool(Carrier.writable(self))
