"""``chat_client``: connects a channel, and connects it again after a loss."""

import errno
import random
from collections.abc import Callable
from enum import Enum
from socket import gaierror
from time import monotonic
from typing import Any, Generic, TypeVar

from .addresses import checked, name_of
from .arguments import check_class, check_limit, check_map
from .channel import async_chat
from .client_attempt import Lookup, Race
from .client_bell import Bell
from .client_channel import Keeper, is_kept
from .eventloop.telling import ENDING

__all__ = ["chat_client"]

Channel = TypeVar("Channel", bound=async_chat)


class _State(Enum):
    """The state of a client, which only chat_client changes.

    ``waiting`` becomes ``connecting`` after a pause; ``connecting`` becomes ``connected`` or ``waiting``;
    ``connected`` becomes ``waiting`` at a loss.  Each may become ``stopped``, which stays.
    """

    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    STOPPED = "stopped"


class chat_client(Generic[Channel]):
    """Make ``channel_class(*args)``, connect it to *address*, and connect it anew after each loss.

    *address* is ``(host, port)``, or the path of a unix socket (os.PathLike, or str or bytes with a slash).
    *channel_class* returns an ``async_chat`` that does not connect by itself; the same object is used for each
    connection.  Names are looked up in a thread; attempts to connect to their addresses overlap, and the first
    connection is taken (RFC 8305).  *connect_timeout* is the seconds (number, None for no limit) for a whole attempt,
    *retry* the least and the most seconds between two attempts (a pair of numbers), or None to connect only once.
    With *tls* (``ssl.SSLContext``), no data is sent before the handshake, which fails if the certificate is not for
    the host of *address*.  *map* is the asyncore map to join, None for the channel's own.
    TypeError and ValueError for arguments that cannot work; later failures are passed to
    ``handle_connect_failed()`` of the channel.
    """

    def __init__(
        self,
        address: Any,
        channel_class: Callable[..., Channel],
        *args: Any,
        connect_timeout: float | None = 10,
        retry: tuple[float, float] | None = (1, 60),
        tls: Any = None,
        map: dict[int, Any] | None = None,
    ) -> None:
        self._address = checked(address)
        check_limit("connect_timeout", connect_timeout)
        if map is not None:
            check_map(map)
        self._timeout = connect_timeout
        self._pauses = None if retry is None else _Pauses(retry)
        self._begin_tls = None if tls is None else self._tls_starter(tls)
        self.channel = channel = _made(channel_class, args)
        """The channel; it is the same object for each connection."""
        if map is not None:
            channel._map = map
        self._lookup = Lookup(self._address)
        self._race: Race | None = None
        self._since = float("inf")  # the monotonic() time of the connection
        self._bell = Bell(channel._map, self._heard, self.stop, lambda: self.channel.handle_error())
        self._keeper = Keeper(channel, self)
        self._connect()

    @property
    def state(self) -> str:
        """The state: "connecting", "connected", "waiting" for the next attempt, or "stopped"."""
        return self._state.value

    def stop(self) -> None:
        """Close the connection, or end the attempt, and never connect again; nothing stays in the map."""
        if self._state is not _State.STOPPED:
            self._ended()
            self._keeper.stop()

    # An attempt

    def _connect(self) -> None:
        if self._keeper.is_done():
            self._ended()
            return
        self._state = _State.CONNECTING
        self._since = float("inf")
        self._bell.enter_map()
        if self._timeout is not None:
            self._bell.set(self._overdue, self._timeout)
        self._lookup.begin(self._bell.ring)

    def _heard(self) -> None:
        """Act upon the bell: connect if the lookup is done, and has not been acted upon before."""
        lookup = self._lookup
        if self._state is not _State.CONNECTING or self._race is not None or self._keeper.is_attached:
            return
        if lookup.error is not None:
            self._fail(lookup.error)
        elif lookup.infos is not None:
            self._race = Race(lookup.infos, self.channel._map, self._bell, self._won, self._fail)
            self._race.begin()

    def _won(self, sock: Any, address: Any) -> None:
        self._race = None
        if self._begin_tls is None:
            self._note_connection()
        self._keeper.attach(sock, address, self._begin_tls)

    def _note_connection(self) -> None:
        if self._state is _State.CONNECTING:
            self._state = _State.CONNECTED
            self._since = monotonic()
            self._bell.leave_map()

    def _opened(self) -> None:
        """Act upon a completed handshake, unless a push() in another thread has met the loss of the connection."""
        if not self._keeper.is_attached:
            return
        self._note_connection()
        if self.channel._fileno is not None:
            self.channel.handle_tls()
        elif self._state is not _State.STOPPED:
            self._wait()  # again: the other thread has entered the bell into the map, which leave_map() may have undone

    def _overdue(self) -> None:
        self._fail(TimeoutError(errno.ETIMEDOUT, f"there is no connection after {self._timeout} seconds"))

    def _fail(self, error: OSError) -> None:
        """End the attempt, which failed for the reason *error*."""
        self._keeper.detach()
        self._wait()
        try:
            self.channel.handle_connect_failed(_named(error, self._address))
        except ENDING:
            raise
        except BaseException:
            self.channel.handle_error()

    def _wait(self) -> None:
        """Wait for the next attempt, if there is to be one."""
        self._end_attempt()
        if self._pauses is None:
            self._ended()
            return
        self._state = _State.WAITING
        self._bell.enter_map()
        self._bell.set(self._connect, self._pauses.take())

    def _end_attempt(self) -> None:
        self._lookup.forget()
        race, self._race = self._race, None
        if race is not None:
            race.stop()
        self._bell.leave_map()

    # The end of a connection

    def _lost(self) -> None:
        if self._pauses is not None:
            self._pauses.note_connection(monotonic() - self._since)
        self._wait()

    def _ended(self) -> None:
        self._state = _State.STOPPED
        self._end_attempt()
        self._bell.drop()
        self._keeper.release()

    # TLS

    def _tls_starter(self, context: Any) -> Callable[[], None]:
        """Return a function that starts TLS by *context* on the channel."""
        from . import tls, tls_handshake, tls_start  # these import ssl, which would delay programs without TLS

        host = None if isinstance(self._address, (str, bytes)) else self._address[0]
        tls.Engine(context, False, host)  # raises now, rather than at each connection, if the arguments cannot work
        occasion = tls_handshake.Occasion(
            lambda face: self._opened(), lambda error: self._fail(error), lambda: self.channel.handle_error()
        )
        return lambda: tls_start.start(self.channel, context, False, host, None, occasion)


class _Pauses:
    """The pauses between attempts: exponential back-off with jitter, between the two numbers of seconds in *retry*."""

    def __init__(self, retry: tuple[float, float]) -> None:
        try:
            self._least, self._most = retry
            is_valid = 0 < self._least <= self._most
        except (TypeError, ValueError):
            raise TypeError(f"retry is a pair of seconds, the least and the most, or None, not {retry!r}") from None
        if not is_valid:
            raise ValueError(f"retry is a pair of seconds above 0, the least and the most, not {retry!r}")
        self._longest = self._least

    def take(self) -> float:
        """Return the next pause in seconds, at random: the clients of a restarted server must not all come at once."""
        self._longest = min(2 * self._longest, self._most)
        return random.uniform(self._least, self._longest)  # noqa: S311

    def note_connection(self, seconds: float) -> None:
        """Begin again with the shortest pause after a connection that lasted *seconds*.

        A connection shorter than the present pause does not count: the server may be closing each one at once.
        """
        if seconds > self._longest:
            self._longest = self._least


def _named(error: OSError, address: Any) -> OSError:
    """Return an error like *error* whose message names *address*; *error* itself if it is not one of the system."""
    if type(error) is not gaierror and type(error).__module__ != "builtins":
        return error  # such as ssl.SSLError, whose other attributes a new object would lack
    return type(error)(error.errno, f"cannot connect to {name_of(address)}: {error.strerror or error}")


def _made(channel_class: Callable[..., Channel], args: tuple[Any, ...]) -> Channel:
    check_class(channel_class)
    channel = channel_class(*args)
    if not isinstance(channel, async_chat):
        raise TypeError(f"channel_class must make an async_chat, not {channel!r}")
    if is_kept(channel):
        raise ValueError(f"{channel!r} is the channel of another chat_client, which has not stopped")
    if channel.socket is not None:
        channel.close()
        raise ValueError(f"{channel_class!r} connects by itself, which is what chat_client is for")
    return channel
