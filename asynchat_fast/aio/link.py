"""A link between an asyncio transport and the channel that it carries.

The calls of asyncio to its protocol become the calls of a loop to a channel; the interest of the channel becomes
``pause_reading()`` and ``resume_reading()`` of the transport.
"""

import asyncio
import contextlib
import enum
import errno
import logging
from collections.abc import Callable
from threading import get_ident
from typing import Any

from .._asyncore import asyncore
from ..eventloop.interest import reports
from ..transport import reads_directly
from ..transport_socket import TransportSocket, adopt
from .closing import Closing
from .transport_map import TransportMap

__all__ = ["Link"]

_MOST_SENDS = 16  # at once, so that others have their turn

_logger = logging.getLogger("asynchat_fast")


class _Input(enum.Enum):
    """What the peer does."""

    OPEN = "it may send"
    ENDING = "it sends no more, which the channel is to be told"
    ENDED = "it sends no more, which the channel was told"


class Link(asyncio.Protocol):
    """The protocol that carries the channel that *make* makes of a socket, in *map*.

    What *make* raises is kept in ``failure`` for the caller, if that *expects* it, and logged otherwise.
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
        self.channel: Any = None  # while the link carries it
        self.failure: BaseException | None = None
        self.is_closed = False  # by the channel
        self.resets = False  # closing drops what was not sent
        self._closing: Closing | None = None  # once the transport is being closed
        self._arrived = b""  # and not received by the channel yet
        self._input = _Input.OPEN
        self._is_busy = False  # the channel is being called, and is asked after that
        self._is_direct = False  # what arrives is delivered without handle_read()
        self._is_full = False  # the transport takes nothing for now
        self._is_lost = False  # there is no transport any more
        self._is_read = True  # the transport reads
        self._is_touched = False  # the channel is to be asked
        self._output_ended = False
        self._sends = 0

    # The beginning

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make the channel."""
        self.transport: Any = transport
        file = transport.get_extra_info("socket") or transport.get_extra_info("pipe")
        # A number of its own where the system has none, so that the map can hold the channel.
        self.fd: int = -2 - id(self) if file is None else file.fileno()
        self.map.links[self.fd] = self
        self._is_busy = True
        try:
            sock = TransportSocket(self)
            channel = self._make(sock)
            if self.channel is None and not self.is_closed:  # of a class that is not async_chat of ours
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
            peer = self.transport.get_extra_info("peername")
            _logger.error("closing the connection from %s: %s: %s", peer, type(error).__name__, error, exc_info=True)
        if self.channel is not None:
            with contextlib.suppress(Exception):  # it is half made
                self.channel.close()
        self.map.pop(self.fd, None)
        self.resets = True
        self.close()

    def get_extra_info(self, name: str) -> Any:
        """Return what the transport knows as *name*, None for nothing."""
        return self.transport.get_extra_info(name)

    def carry(self, channel: Any) -> None:
        """Carry *channel*, or what stands in the map in its place, from now on."""
        self.channel = channel
        self._is_direct = reads_directly(channel)
        if not reports(type(channel)):
            self.map.watch(self.fd)

    # Calling the channel, and asking it

    def _call(self, function: Callable[..., object], *args: Any) -> None:
        """Call *function* with *args*; what it raises is the channel's to handle."""
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
            self._is_touched = True  # what the exception has left unread is read next, unless that has closed
        finally:
            self._is_busy = False

    def touch(self) -> None:
        """Have the channel asked what it waits for; any thread may call this."""
        if self._is_touched:
            return
        self._is_touched = True
        if get_ident() != self._thread:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(self.settle)
        elif not self._is_busy:
            self._loop.call_soon(self.settle)

    def settle(self) -> None:
        """Do what a pass of the loop would: ask the channel, have it read what has arrived, and send."""
        if self._is_busy:
            self._is_touched = True
            return
        self._is_touched = False  # before the channel is asked, as other threads may change it meanwhile
        if self.channel is None:
            return
        self._call(self._ask)
        if self._is_touched:
            self._loop.call_soon(self.settle)

    def _ask(self) -> None:
        if self._arrived or self._input is _Input.ENDING:
            self._read()
        self._send()
        channel = self.channel
        if channel is not None and self._input is _Input.OPEN and not self.transport.is_closing():
            is_read = bool(channel.readable())
            if is_read is not self._is_read:
                self._is_read = is_read
                self.transport.resume_reading() if is_read else self.transport.pause_reading()

    # Input

    def data_received(self, data: bytes) -> None:
        """Let the channel receive *data*."""
        channel = self.channel
        if channel is None:
            return
        if self._is_direct and self._is_read and not self._arrived:
            self._call(channel._ac_receive, data)
        else:
            self._arrived += data
            self._call(self._read)
        if self._is_touched or self.fd in self.map.watched:
            self.settle()

    def _read(self) -> None:
        """Have the channel receive what has arrived, by as many reads as that takes, and then be told the end."""
        while self._arrived or self._input is _Input.ENDING:
            channel, before = self.channel, (len(self._arrived), self._input)
            if channel is None or not channel.readable():
                break
            channel.handle_read_event()
            if (len(self._arrived), self._input) == before:
                break  # it does not receive

    def take(self, size: int) -> bytes:
        """Return at most *size* bytes of what has arrived, ``b""`` at the end; BlockingIOError if nothing has."""
        data = self._arrived
        if data:
            self._arrived = data[size:]
            return data[:size]
        if self._input is _Input.OPEN:
            raise BlockingIOError(errno.EAGAIN, "nothing has arrived")
        self._input = _Input.ENDED
        return b""

    def eof_received(self) -> bool:
        """Have the channel told that the peer sends no more; return whether the transport is to stay."""
        self._input = _Input.ENDING
        self.settle()
        is_tls = self.transport.get_extra_info("ssl_object") is not None
        return not is_tls and self.channel is not None

    def connection_lost(self, error: Exception | None) -> None:
        """Have the channel told, once it has received what had arrived before."""
        self._is_lost = True
        if self._closing is not None:
            self._closing.stop()
        if self._input is _Input.OPEN:
            self._input = _Input.ENDING
        if self._arrived:
            self.settle()
        elif self.channel is not None:
            self._call(self.channel.handle_close)

    # Output

    def _send(self) -> None:
        """Have the channel send what the transport takes."""
        for _ in range(_MOST_SENDS):
            channel, sends = self.channel, self._sends
            if channel is None or self._is_full or not channel.writable():
                return
            channel.handle_write_event()
            if self._sends == sends:
                return
        self._is_touched = True

    def give(self, data: bytes) -> int:
        """Have the transport send *data*; BlockingIOError if it takes nothing now, BrokenPipeError if it is gone."""
        if self._is_lost or self._output_ended or self.is_closed:
            raise BrokenPipeError(errno.EPIPE, "the transport is closed")
        if get_ident() != self._thread:
            self.touch()
            raise BlockingIOError(errno.EAGAIN, "a transport is written to by its own thread only")
        if self._is_full:
            raise BlockingIOError(errno.EAGAIN, "the transport takes nothing for now")
        self.transport.write(data)
        self._sends += 1
        return len(data)

    def pause_writing(self) -> None:
        """Give the transport nothing more for now."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Give the transport what waits."""
        self._is_full = False
        self.settle()

    def end_output(self) -> bool:
        """Send no more; tell whether the transport can do that."""
        if self._is_lost or self.is_closed or not self.transport.can_write_eof():
            return False
        if not self._output_ended:
            self._output_ended = True
            try:
                self.transport.write_eof()
            except OSError:  # the peer has gone, which asyncio will tell
                return False
        return True

    # The end

    def close(self) -> None:
        """Carry the channel no more, and close the transport once it has sent what it holds."""
        if self.is_closed:
            return
        self.is_closed = True
        self.channel = None
        self.map.discard(self.fd)
        if self._is_lost:
            return
        self._closing = Closing(self.transport, self._loop, self.resets)
