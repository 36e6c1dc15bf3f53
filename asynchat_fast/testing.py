"""For the tests of a program's channels: a transport in memory, with a clock of its own, and pairs of sockets.

For pytest, ``pytest_plugins = ["asynchat_fast.testing"]`` in a ``conftest.py`` provides the fixtures.
PYTEST_DONT_REWRITE in this docstring tells pytest that there are no asserts to rewrite in this module.
"""

import contextlib
import errno
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from ._asyncore import asyncore
from .arguments import check_seconds
from .eventloop import loop
from .eventloop.maps import SocketMap, kept_for
from .eventloop.telling import ENDING
from .eventloop.timers import Timers
from .transport_socket import Input, TransportSocket, adopt

__all__ = ["MemoryTransport", "channel_pair", "run_until"]

_ROOM = 1 << 24  # bytes that a transport takes before take_sent() must be called: a producer may have no end
_STEP = 0.001  # seconds that the clock moves at least, as a timer may set itself anew for at once, for ever
_ROUNDING = 1e-9  # seconds: ten times advance(0.1) is a little less than 1
_PAUSE = 0.01  # seconds between two looks at a condition that may become true without an event


A = TypeVar("A")
B = TypeVar("B")


class _FakeSocket:
    """The socket below a TransportSocket: it says that it is one of TCP, and ignores options."""

    family, type = socket.AF_INET, socket.SOCK_STREAM

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        return bytes(size) if size else 0

    def setsockopt(self, *args: Any) -> None:
        pass


_EXTRA = {"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 50001), "socket": _FakeSocket()}


class _MemoryWire:
    """The Wire of a TransportSocket: carries bytes between a channel in *map* and its test."""

    fd = -2  # a number that no file has

    def __init__(self, map: SocketMap) -> None:
        self.map = map
        self.input = Input.OPEN
        self.arrived = b""
        self.sent = bytearray()
        self.taken = 0  # how many of the sent bytes the test has taken
        self.output_ended = self.is_closed = self.resets = False

    @property
    def has_input(self) -> bool:
        return bool(self.arrived) or self.input is Input.ENDING

    @property
    def has_room(self) -> bool:
        return len(self.sent) - self.taken < _ROOM

    def get_extra_info(self, name: str) -> Any:
        return _EXTRA.get(name)

    def take(self, size: int) -> bytes:
        if not self.has_input:
            if self.input is Input.ENDED:
                return b""
            raise BlockingIOError(errno.EAGAIN, "nothing has arrived")
        data, self.arrived = self.arrived[:size], self.arrived[size:]
        if not data:
            self.input = Input.ENDED
        return data

    def give(self, data: bytes) -> int:
        if self.output_ended or self.is_closed:
            raise BrokenPipeError(errno.EPIPE, "the output has ended")
        if not self.has_room:
            raise BlockingIOError(errno.EAGAIN, "the test has not taken what was sent before")
        self.sent += data
        return len(data)

    def end_output(self) -> bool:
        self.output_ended = not self.is_closed
        return self.output_ended

    def close(self) -> None:
        self.is_closed = True


class MemoryTransport(Generic[A]):
    """A connection in memory to the channel that *channel_class* makes of a socket-like object and *args*.

    The channel has a map of its own, and its timers have a clock that only ``advance()`` moves.  ``receive()``,
    ``eof()`` and ``advance()`` call the channel's methods as a loop does, until there are no more events.  If its class
    overrides ``handle_error()``, that is called for an Exception of a callback.  Without an override the exception, and
    in any case one that is not an Exception or comes from a timer, is raised by these three methods.
    """

    def __init__(self, channel_class: Callable[..., A], *args: Any) -> None:
        self._now = 0.0
        self._map = SocketMap()
        self._timers = kept_for(self._map).timers = Timers(clock=lambda: self._now)
        self._wire = _MemoryWire(self._map)
        sock = TransportSocket(self._wire)
        self.channel = channel_class(sock, *args)
        if not self._map and not self._wire.is_closed:
            adopt(self.channel, sock)
        self._settle()

    @property
    def sent(self) -> bytes:
        """All bytes that the channel has sent so far (bytes)."""
        return bytes(self._wire.sent)

    def take_sent(self) -> bytes:
        """Return the bytes that the channel has sent since the last call.

        The channel can send no more while 16 MiB have not been taken.
        """
        wire = self._wire
        data = bytes(wire.sent[wire.taken :])
        wire.taken = len(wire.sent)
        return data

    @property
    def closed(self) -> bool:
        """Whether the channel has closed, or ended its output (bool)."""
        return self._wire.is_closed or self._wire.output_ended

    def receive(self, data: bytes) -> None:
        """Let the channel receive *data* (bytes-like), as soon as it reads; BrokenPipeError if the input has ended."""
        wire, arrived = self._wire, bytes(memoryview(data))
        if wire.is_closed or wire.input is not Input.OPEN:
            raise BrokenPipeError(errno.EPIPE, "the channel has closed" if wire.is_closed else "after eof()")
        wire.arrived += arrived
        self._pass()

    def eof(self) -> None:
        """End the input: the channel is told once it has received all data."""
        if self._wire.input is Input.OPEN:
            self._wire.input = Input.ENDING
        self._pass()

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass (number; ValueError if it is negative), and call the timers that become due.

        With 0, calls that the test itself has made to the channel take effect, as in a pass of the loop.
        """
        check_seconds("seconds", seconds)
        end = self._now + seconds + (_ROUNDING if seconds else 0)
        self._pass()
        while self._now < end:
            self._now = min(self._now + max(self._timers.seconds_to_next(), _STEP), end)
            self._pass()

    def _pass(self) -> None:
        self._settle()
        if self._timers.run_due(_raise):
            self._settle()

    def _settle(self) -> None:
        """Call the channel as a loop does, until there are no more events."""
        before: object = None
        while (now := self._look()) != before:
            before = now
            standing, reads, writes, *_ = now
            if reads:
                self._tell(standing, "handle_read_event")
            if writes and self._map.get(self._wire.fd) is standing:
                self._tell(standing, "handle_write_event")

    def _look(self) -> tuple[Any, ...]:
        """Return the dispatcher in the map, whether to call its reader and writer, and values that show progress."""
        wire = self._wire
        standing = self._map.get(wire.fd)  # the channel, or on TLS the dispatcher in its place
        reads = standing is not None and wire.has_input and bool(standing.readable())
        writes = standing is not None and wire.has_room and bool(standing.writable())
        return standing, reads, writes, len(wire.arrived), wire.input, len(wire.sent)

    def _tell(self, standing: Any, name: str) -> None:
        try:
            getattr(standing, name)()
        except ENDING:
            raise
        except Exception:
            channel: Any = self.channel
            of = getattr(channel.handle_error, "__module__", None) or ""
            if of.partition(".")[0] in ("asynchat_fast", "asyncore"):
                raise
            standing.handle_error()


def _raise(callback: object) -> None:
    raise


def run_until(condition: Callable[[], object], timeout: float = 5, map: dict[int, Any] | None = None) -> None:
    """Run ``loop()`` on *map*, None for ``asyncore.socket_map``, until *condition* returns something true.

    TimeoutError if it has not in *timeout* seconds.
    """
    served = asyncore.socket_map if map is None else map
    end = time.monotonic() + timeout
    while not condition():
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"the condition has not become true in {timeout} seconds")
        if served:
            loop(min(left, _PAUSE), map=served, count=1)
        else:
            time.sleep(min(left, _PAUSE))


def channel_pair(
    class_a: Callable[..., A], class_b: Callable[..., B], map: dict[int, Any] | None = None
) -> tuple[A, B]:
    """Return a channel of *class_a* and one of *class_b*, connected by a pair of sockets.

    Each is called with its socket, and with *map* if that is given (the asyncore map, a dict).
    """
    options = {} if map is None else {"map": map}
    sockets = socket.socketpair()
    try:
        return class_a(sockets[0], **options), class_b(sockets[1], **options)
    except BaseException:
        for sock in sockets:
            (asyncore.socket_map if map is None else map).pop(sock.fileno(), None)
            sock.close()
        raise


def _memory_transports() -> Iterator[Callable[..., MemoryTransport[Any]]]:
    """Yield ``MemoryTransport``, but the channels are closed after the test."""
    with contextlib.ExitStack() as made:

        def make(channel_class: Callable[..., Any], *args: Any) -> MemoryTransport[Any]:
            transport = MemoryTransport(channel_class, *args)
            made.callback(asyncore.close_all, transport._map, ignore_all=True)
            return transport

        yield make


def _socket_channels() -> Iterator[Callable[..., tuple[Any, Any]]]:
    """Yield ``channel_pair()``; channels that were added to ``asyncore.socket_map`` are closed after the test."""
    before = dict(asyncore.socket_map)
    try:
        yield channel_pair
    finally:
        come = {fd: channel for fd, channel in asyncore.socket_map.items() if before.get(fd) is not channel}
        asyncore.close_all(come, ignore_all=True)


try:
    import pytest
except ImportError:  # only the fixtures need it
    pass
else:
    memory_transport = pytest.fixture(_memory_transports)
    socket_channels = pytest.fixture(_socket_channels)
