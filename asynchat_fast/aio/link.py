"""A link between an asyncio transport and the channel that it carries.

It turns asyncio's calls of a protocol into the calls that a loop makes to a channel, and the interest of the channel
into calls of ``pause_reading()`` and ``resume_reading()`` of the transport.
"""

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable
from threading import get_ident
from typing import Any

from .._asyncore import asyncore
from ..addresses import name_of
from ..eventloop.interest import reports
from ..transport import reads_directly
from ..transport_socket import Input, TransportSocket, adopt
from .closing import Closing
from .transport_map import TransportMap

__all__ = ["Link"]

_MOST_SENDS = 16  # before asyncio's other callbacks have their turn

_logger = logging.getLogger("asynchat_fast")


class Link(asyncio.Protocol):
    """The asyncio Protocol of a transport: calls *make* with a TransportSocket, and carries the channel made, in *map*.

    An exception of *make* is logged, or with *expects* (bool) kept in ``failure``.
    """

    __slots__ = (
        "_arrived", "_closing", "_expects_failure", "_input", "_is_busy", "_is_direct", "_is_full", "_is_lost",
        "_is_read", "_is_touched", "_loop", "_make", "_output_ended", "_sends", "_thread", "channel",
        "failure", "fd", "is_closed", "map", "resets", "transport",
    )  # fmt: skip

    def __init__(self, make: Callable[[Any], Any], map: TransportMap, expects: bool = False) -> None:
        self._make = make
        self.map = map
        self._expects_failure = expects
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self.channel: Any = None  # None before it is made, and once it has closed
        self.failure: BaseException | None = None
        self.is_closed = False  # the channel has closed its socket
        self.resets = False  # close() is to drop unsent bytes, and reset the connection
        self._closing: Closing | None = None  # set when the transport is closed
        self._arrived = b""  # data that the channel has not received yet
        self._input = Input.OPEN
        self._is_busy = False  # a method of the channel is running; its interest is looked at after that
        self._is_direct = False  # data may go to _ac_receive(), without handle_read() and recv()
        self._is_full = False  # the transport's buffer is full: pause_writing() was called
        self._is_lost = False  # connection_lost() was called
        self._is_read = True  # the transport is reading, not paused
        self._is_touched = False  # the channel's interest may have changed: settle() is to look
        self._output_ended = False  # write_eof() was called
        self._sends = 0  # how many times give() has written

    # The beginning

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make the channel."""
        self.transport: Any = transport
        file = transport.get_extra_info("socket") or transport.get_extra_info("pipe")
        fd = -1 if file is None else file.fileno()
        # Without a descriptor, a link gets a negative number of its own, as its key in the map.  Likewise with that of
        # a lost connection, if the channel of that has not closed: it would leave the map at this key when it does.
        self.fd: int = -2 - id(self) if fd < 0 or fd in self.map.links else fd
        self.map.links[self.fd] = self
        self._is_busy = True
        try:
            sock = TransportSocket(self)
            channel = self._make(sock)
            if self.channel is None and not self.is_closed:  # only our async_chat enters the map by itself
                adopt(channel, sock)
        except Exception as error:
            self._refuse(error)
        finally:
            self._is_busy = False
        self.settle()

    def _refuse(self, error: Exception) -> None:
        """Close the connection of a channel that could not be made."""
        if self._expects_failure:
            self.failure = error
        else:
            peer = name_of(self.transport.get_extra_info("peername"))
            _logger.error("closing the connection from %s: %s: %s", peer, type(error).__name__, error, exc_info=True)
        if self.channel is not None:
            with contextlib.suppress(Exception):  # its __init__() has not run to the end
                self.channel.close()
        self.map.pop(self.fd, None)
        self.resets = True
        self.close()

    def get_extra_info(self, name: str) -> Any:
        """Return what the transport knows as *name*, None for nothing."""
        return self.transport.get_extra_info(name)

    def carry(self, channel: Any) -> None:
        """Carry *channel* from now on: a channel, or a TLS dispatcher that is in the map in place of one."""
        self.channel = channel
        self._is_direct = reads_directly(channel)
        if not reports(type(channel)):
            self.map.watch(self.fd)

    # Calls of the channel, and its interest

    def _call(self, function: Callable[..., object], *args: Any) -> None:
        """Call *function* with *args*; if it raises, call the channel's handle_error(), as a loop does."""
        channel = self.channel
        self._is_busy = True
        try:
            function(*args)
        except asyncore.ExitNow as error:
            self.map.host.report(error)
            channel.close()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            channel.handle_error()
            self._is_touched = True  # data that the exception has left unread must still be delivered
        finally:
            self._is_busy = False

    def touch(self) -> None:
        """Note that the channel's interest may have changed, and schedule settle(); any thread may call this."""
        if self._is_touched:
            return
        self._is_touched = True
        if get_ident() != self._thread:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(self.settle)
        elif not self._is_busy:
            self._loop.call_soon(self.settle)

    def settle(self) -> None:
        """Do what a pass of the loop does: have the channel read and send, and apply its interest to the transport."""
        if self._is_busy:
            self._is_touched = True
            return
        self._is_touched = False  # before looking: a change by another thread meanwhile must set it again
        if self.channel is None:
            return
        self._call(self._ask)
        if self._is_touched:
            self._loop.call_soon(self.settle)

    def _ask(self) -> None:
        if self._arrived or self._input is Input.ENDING:
            self._read()
        self._send()
        channel = self.channel
        if channel is not None and self._input is Input.OPEN and not self.transport.is_closing():
            is_read = bool(channel.readable())
            if is_read is not self._is_read:
                self._is_read = is_read
                with contextlib.suppress(NotImplementedError):  # of a pipe that is only written
                    self.transport.resume_reading() if is_read else self.transport.pause_reading()

    # Input

    def data_received(self, data: bytes) -> None:
        """Have the channel receive *data*."""
        channel = self.channel
        if channel is None:
            return
        # If touched, the channel may have been paused since settle() has looked at its interest.
        if self._is_direct and self._is_read and not (self._arrived or self._is_touched):
            self._call(channel._ac_receive, data)
        else:
            self._arrived += data
            self._call(self._read)
        if self._is_touched or self.fd in self.map.watched:
            self.settle()

    def _read(self) -> None:
        """Call the channel's read handler until it has received all that has arrived, and the end of input."""
        while self._arrived or self._input is Input.ENDING:
            channel, before = self.channel, (len(self._arrived), self._input)
            if channel is None or not channel.readable():
                break
            channel.handle_read_event()
            if (len(self._arrived), self._input) == before:
                break  # its handler does not call recv(): this loop would never end

    def take(self, size: int) -> bytes:
        """Return at most *size* bytes of the data that has arrived, ``b""`` at its end; BlockingIOError if none has."""
        data = self._arrived
        if data:
            self._arrived = data[size:]
            return data[:size]
        if self._input is Input.OPEN:
            raise BlockingIOError(errno.EAGAIN, "nothing has arrived")
        self._input = Input.ENDED
        return b""

    def eof_received(self) -> bool:
        """Report the end of input to the channel; return whether the transport is to stay open for output (bool)."""
        self._input = Input.ENDING
        self.settle()
        is_tls = self.transport.get_extra_info("ssl_object") is not None
        return not is_tls and self.channel is not None

    def connection_lost(self, error: Exception | None) -> None:
        """Report the end of the connection to the channel, after the data that has arrived before."""
        self._is_lost = True
        if self._closing is not None:
            self._closing.stop()
        if self._input is Input.OPEN:
            self._input = Input.ENDING
        if self._arrived:
            self.settle()
        elif self.channel is not None:
            self._call(self.channel.handle_close)

    # Output

    def _send(self) -> None:
        """Call the channel's write handler until it has nothing to send, or the transport's buffer is full."""
        for _ in range(_MOST_SENDS):
            channel, sends = self.channel, self._sends
            if channel is None or self._is_full or not channel.writable():
                return
            channel.handle_write_event()
            if self._sends == sends:
                return
        self._is_touched = True

    def give(self, data: bytes) -> int:
        """Write *data* to the transport, and return its size (int).

        BlockingIOError if the transport's buffer is full, BrokenPipeError if the output has ended.
        """
        if self._is_lost or self._output_ended or self.is_closed:
            raise BrokenPipeError(errno.EPIPE, "the transport is closed")
        if get_ident() != self._thread:
            self.touch()
            raise BlockingIOError(errno.EAGAIN, "only the thread of the asyncio loop may write to a transport")
        if self._is_full:
            raise BlockingIOError(errno.EAGAIN, "the transport's buffer is full")
        self.transport.write(data)
        self._sends += 1
        return len(data)

    def pause_writing(self) -> None:
        """Stop writing, as the transport's buffer is full."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Go on writing, as the transport's buffer has room."""
        self._is_full = False
        self.touch()  # not settle(): asyncio's pipes drop what is written in this call, if they are closed in it, too

    def end_output(self) -> bool:
        """Shut down the output; return False if the transport cannot do that without closing."""
        if self._is_lost or self.is_closed or not self.transport.can_write_eof():
            return False
        if not self._output_ended:
            self._output_ended = True
            try:
                self.transport.write_eof()
            except OSError:  # the peer has gone: connection_lost() follows
                return False
        return True

    # The end

    def abandon(self) -> None:
        """Close the channel, if there is one, and the transport at once.

        uvloop, when its create_connection() is cancelled, closes the transport and does not call connection_lost().
        """
        self.resets = True
        if self.channel is not None:
            self._call(self.channel.close)

    def close(self) -> None:
        """Let go of the channel, and close the transport, after the bytes in its buffer unless ``resets`` is set."""
        if self.is_closed:
            return
        self.is_closed = True
        self.channel = None
        self.map.discard(self.fd)
        if self._is_lost:
            return
        self._closing = Closing(self.transport, self._loop, self.resets)
