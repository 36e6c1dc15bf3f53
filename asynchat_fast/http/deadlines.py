"""Deadlines: from state and progress, decide whether a client or a handler takes too long, and the status for that.

``look()`` is called at intervals, and compares the connection with its last look: so busy connections need not note
the time for each byte.  A deadline is never noticed early, and at most one interval late.
"""

import sys
import time
from collections.abc import Callable, Hashable
from typing import Any

from ..eventloop.pollers import ERROR, look
from .connection import Connection, State
from .response_writer import UNSENT
from .settings import Settings

__all__ = ["CLOSE", "Deadlines", "is_reset", "unacknowledged_bytes"]

CLOSE = 0
"""The result of ``look()`` for a connection that must be closed without a response."""

_BODY = (State.CONTINUE, State.BODY, State.DISCARDING)
_SHORTEST_PERIOD, _LONGEST_PERIOD = 0.01, 60.0  # seconds between two looks
_SIOCOUTQ = 0x5411  # an ioctl of Linux: how many bytes the peer has not acknowledged


class Deadlines:
    """The state and progress of a connection at the last look, and the times, by *clock*, since which they last."""

    __slots__ = ("_clock", "_credit", "_looked", "_outgoing", "_received", "_seen", "_since", "_stalled_since")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked = self._since = self._stalled_since = clock()
        self._outgoing: Hashable = None
        self._seen: Hashable = None
        self._credit = 0.0  # seconds that are left for the body, unless more of it comes
        self._received = 0  # bytes of the body at the last look

    @staticmethod
    def period(state: State, settings: Settings) -> float:
        """Return the seconds between two looks: a quarter of the shortest limit, within bounds."""
        limits = (
            settings.head_timeout,
            settings.body_timeout,
            settings.keep_alive_timeout,
            settings.write_timeout,
            settings.response_timeout,
            settings.linger_timeout if state is State.LINGERING else None,
        )
        shortest = min((limit for limit in limits if limit), default=_LONGEST_PERIOD)
        return min(max(shortest / 4, _SHORTEST_PERIOD), _LONGEST_PERIOD)

    def restart(self, connection: Connection) -> None:
        """Count the time of the present state from now on."""
        self._seen = connection.state, connection.requests
        self._since = self._clock()

    def look(self, connection: Connection, outgoing: Hashable, is_read: bool, settings: Settings) -> int | None:
        """Return the status (int) for a client or handler that takes too long, or CLOSE; None if neither does.

        *outgoing* is any value that changes when bytes are sent, None if none wait; *is_read* is False while the
        channel does not receive.
        """
        now = self._clock()
        elapsed, self._looked = now - self._looked, now
        state = connection.state
        seen = state, connection.requests
        if seen != self._seen:
            self._seen, self._since, elapsed = seen, now, 0.0
            self._credit, self._received = settings.body_timeout or 0, 0
        if outgoing != self._outgoing:
            self._outgoing, self._stalled_since = outgoing, now
            stalled = 0.0
        else:
            stalled = now - self._stalled_since if outgoing is not None else 0.0
        if settings.write_timeout and stalled > settings.write_timeout:
            return CLOSE
        if state is State.LINGERING and outgoing is not None and settings.linger_timeout:
            self._since = now  # the client cannot have seen the end yet
            return None
        if state is State.HANDLING or state is State.LINGERING:
            return self._wait(now, connection, settings)
        if not is_read or (state is State.IDLE and outgoing is not None):
            self._since = now  # the client cannot be late: we do not receive, or it has not got the response yet
            return None
        if state in _BODY:
            return self._look_at_body(connection.reader.received, elapsed, settings)
        if state is State.HEAD:
            return 408 if self._is_over(now, settings.head_timeout) else None
        return CLOSE if state is State.IDLE and self._is_over(now, settings.keep_alive_timeout) else None

    def _is_over(self, now: float, limit: float | None) -> bool:
        """Return whether the present state has lasted for *limit* seconds; False if there is no limit."""
        return bool(limit) and now - self._since >= (limit or 0)

    def _wait(self, now: float, connection: Connection, settings: Settings) -> int | None:
        if connection.state is State.LINGERING:
            return CLOSE if now - self._since >= (settings.linger_timeout or 0) else None
        is_begun = connection.writer.progress not in UNSENT
        return 503 if not is_begun and self._is_over(now, settings.response_timeout) else None

    def _look_at_body(self, received: int, elapsed: float, settings: Settings) -> int | None:
        """Return 408 if the body comes too slowly.

        Each ``min_body_rate`` bytes earn a second of credit, of which there may be ``body_timeout`` seconds at most.
        """
        if not settings.body_timeout or not settings.min_body_rate:
            return None
        gained = (received - self._received) / settings.min_body_rate
        self._received = received
        self._credit = min(self._credit + gained, settings.body_timeout) - elapsed
        return 408 if self._credit <= 0 else None


def is_reset(sock: Any) -> bool:
    """Return whether the peer has reset the connection on *sock*.

    A channel that waits for its handler does not read, so that no event tells it.  The peer's mere end of output is no
    reset: a client may still wait for its response.
    """
    try:
        return bool(look(sock.fileno(), 0) & ERROR)
    except (OSError, ValueError, AttributeError, TypeError):  # not a socket of the system, or a closed one
        return False


def unacknowledged_bytes(sock: Any) -> int:
    """Return how many bytes in the send buffer of *sock* the peer has not acknowledged; 0 if the system cannot say.

    Bytes that send() has taken may stay there for minutes; a client that reads them slowly makes progress.
    """
    if sys.platform != "linux":
        return 0
    import fcntl
    import struct

    try:
        data = fcntl.ioctl(sock.fileno(), _SIOCOUTQ, bytes(4))
    except (OSError, ValueError, AttributeError, TypeError):  # not a socket of the system, or a closed one
        return 0
    return int(struct.unpack("i", data)[0])
