"""``async_chat``: the conversation on an ``asyncore.dispatcher``."""

import errno
import os
import socket
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from ._asyncore import asyncore
from .borrowed import queue_of
from .conversation import Conversation
from .eventloop import call_later
from .eventloop.maps import task_for
from .eventloop.timers import Timer
from .interest import unblock
from .logged import logged_dispatcher
from .producers import unsent_bytes
from .proxied_socket import HeaderOfSocket, ProxiedSocket
from .pushing import send_held_back

if TYPE_CHECKING:
    import ssl

    from .transport import Transport

__all__ = ["async_chat", "asyncore"]

_PLAIN_SOCKETS = (socket.socket, ProxiedSocket)  # sockets of the system, without code in between, as for encryption
_SENDFILE_MOST = 1 << 24  # bytes in one call, so that other channels have their turn, however much the socket takes
_NO_SENDFILE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOTSOCK)  # this file, system or socket cannot do it


class async_chat(Conversation, logged_dispatcher):
    """A channel: one connection, which collects received bytes up to a terminator, and sends what is pushed.

    Subclasses define ``collect_incoming_data()`` and ``found_terminator()``.  *sock* is a connected
    socket, or None for one that ``create_socket()`` makes later; *map* is the asyncore map (dict) to
    join, None for ``asyncore.socket_map``; *conn* is an older name of *sock*.  A channel is an
    ``asyncore.dispatcher``.  Each method is looked up on the object at each call, so that a subclass, a
    mixin or an assignment may replace any of them.  Source: the asynchat documentation.
    """

    idle_timeout: float | None = None
    """Seconds (number) without a byte received or sent, after which ``handle_timeout()`` is called; None or 0: never.

    Works under ``loop()``, not under ``asyncore.loop()``.  The call may be late by a quarter of the time.
    """

    proxy = HeaderOfSocket()
    """The PROXY header that the connection began with, at a ``chat_server(..., proxy_protocol=True)``; else None."""

    _fileno: int | None
    _map: dict[int, Any]
    __idle_timer: Timer | None = None
    __reads_pending = False

    def __init__(
        self, sock: socket.socket | None = None, map: dict[int, Any] | None = None, *, conn: socket.socket | None = None
    ) -> None:
        # By name, not by super(): programs also inherit from other classes, whose __init__() take other arguments.
        Conversation.__init__(self)
        asyncore.dispatcher.__init__(self, conn if sock is None else sock, map)

    def handle_close(self) -> None:
        """Close, unless overridden: the peer has closed, an error occurred, or ``close_when_done()`` is due."""
        self.close()

    def close(self) -> None:
        """Close the socket and leave the map, after an attempt to send what ``coalesce_pushes`` holds back.

        Data that still waits to be sent is kept, and sent if the channel connects anew.  Every connection ends here.
        """
        send_held_back(self)
        self.__stop_idle_timer()
        super().close()

    def handle_shut_down(self) -> None:
        """Called when the server that has made this channel is to end: close once all is sent, unless overridden.

        See ``chat_server.shut_down()``.
        """
        self.close_when_done()

    # TLS

    def start_tls(
        self,
        context: "ssl.SSLContext",
        *,
        server_side: bool = True,
        server_hostname: str | None = None,
        handshake_timeout: float | None = 10,
    ) -> None:
        """Continue in TLS by *context* (``ssl.SSLContext``); ``handle_tls()`` is called after the handshake.

        A client passes ``server_side=False``, and as *server_hostname* the name (str) that the certificate must have.
        On a connected channel, data that was pushed before is sent unencrypted, before TLS begins, and received bytes
        that are not delivered belong to the handshake.  On one that is not connected, the handshake follows the
        connection, and all pushed data is sent after it.  A handshake that fails, or takes more than
        *handshake_timeout* seconds (number, None for no limit), ends the connection: a server logs a line; on a client
        ``handle_error()`` is called.  RuntimeError without a socket, if TLS has been started already, while a
        producer waits to be sent, and after ``close_when_done()``; ValueError if *server_hostname* is missing and the
        context checks host names; TypeError for another kind of *context*.
        """
        from . import tls_start  # imports ssl, which would delay programs without TLS

        tls_start.start(self, context, server_side, server_hostname, handshake_timeout)

    def handle_tls(self) -> None:
        """Called after the handshake of ``start_tls()``; override it to forget data that came unencrypted before."""

    def add_channel(self, map: dict[int, Any] | None = None) -> None:
        """Join *map*, the channel's own if it is None; on TLS, the dispatcher of the connection enters it instead."""
        super().add_channel(map)
        place = self._ac_of_socket("_ac_place")
        if place is not None:
            place.join(self)

    def _ac_of_socket(self, name: str) -> Any:
        """Return the attribute *name* of a socket of this package; None for other sockets and without it."""
        try:
            sock = self.socket
        except AttributeError:  # a program has put a descriptor of its own into the map
            return None
        return getattr(sock, name) if hasattr(type(sock), name) else None  # no __getattr__() of other sockets is called

    def set_socket(self, sock: Any, map: dict[int, Any] | None = None) -> None:
        """Use *sock*, a non-blocking socket, from now on, and join *map*, the channel's own if it is None."""
        own = sock._ac_map if hasattr(type(sock), "_ac_map") else None
        if own is not None:  # the socket is over an asyncio transport, which has a map of its own
            self._map = map = own
        super().set_socket(sock, map)
        unblock(self)
        self._ac_report()  # in case that the program has the queue, and the map must ask in each pass
        self.__stop_idle_timer()
        if self.idle_timeout and isinstance(self.idle_timeout, (int, float)):  # a program may have such a method
            self.__watch_idleness()

    def __stop_idle_timer(self) -> None:
        if self.__idle_timer is not None:
            self.__idle_timer.cancel()
            self.__idle_timer = None

    def __watch_idleness(self, progress: Any = None, quarters: int = 0) -> None:
        # Four looks in an idle_timeout, because noting the time of each read and send would slow down busy channels.
        now = self._ac_progress()
        if now != progress:
            progress, quarters = now, 0
        elif quarters == 4 and self.idle_timeout:
            quarters, timer = 0, self.__idle_timer
            self.handle_timeout()
            if self.__idle_timer is not timer:
                return  # closed, or connected anew
        if self.idle_timeout:
            quarter = self.idle_timeout / 4
            self.__idle_timer = self._ac_call_later(quarter, self.__watch_idleness, progress, quarters + 1)

    def handle_timeout(self) -> None:
        """Act upon ``idle_timeout`` seconds without a byte received or sent: log and close, unless overridden."""
        self.log_info(f"closing {self!r}: idle for {self.idle_timeout} seconds", "error")
        self.handle_close()

    def handle_error(self) -> None:
        """Act upon the exception that a callback has raised: log it and close, unless overridden."""
        failure = self._ac_of_socket("_ac_failure")
        if failure is not None and failure is sys.exc_info()[1]:
            self.log_info(f"closing {self!r}: no TLS: {failure}", "error")
            self.handle_close()
        else:
            super().handle_error()

    def handle_connect_failed(self, error: OSError) -> None:
        """Called by ``chat_client`` when an attempt to connect has failed for *error*; logs it, unless overridden."""
        self.log_info(str(error), "error")

    def _ac_status(self) -> dict[str, Any]:
        """Return this channel's part of ``status()``."""
        queue = queue_of(self)
        items = list(queue.items) if queue else []
        status: dict[str, Any] = {"unsent": sum(map(unsent_bytes, items))}
        if self.connected and any(item is None for item in items):
            status["state"] = "closing"
        return status

    # The calls of a conversation to its transport

    def _ac_call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        return call_later(seconds, callback, *args, map=self._map)

    def _ac_create_task(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return an asyncio.Task that runs *coroutine*, None where no asyncio program serves the channel."""
        return task_for(self._map, coroutine)

    def _ac_report(self) -> None:
        try:
            # By object.__getattribute__(), which does not call a __getattr__() of the program.
            map = object.__getattribute__(self, "_map")
            queue = object.__getattribute__(self, "_ac_output")
        except AttributeError:
            return  # the dispatcher or the queue has not been made yet, or the program has its own
        if hasattr(type(map), "touch") and self._fileno is not None:
            (map.watch if queue.known else map.touch)(self._fileno)

    def _ac_read_pending(self) -> None:
        """Receive the rest of a record, longer than ``ac_in_buffer_size``, that a TLS socket has buffered."""
        pending = getattr(type(self.socket), "pending", None)  # of the type: a __getattr__() could invent any attribute
        if pending is None or self.__reads_pending:
            return
        self.__reads_pending = True  # handle_read() calls this again: without the flag, the calls would nest
        try:
            while self.connected and self.readable() and pending(self.socket):
                self.handle_read()
        finally:
            self.__reads_pending = False

    def _ac_end_output(self) -> bool:
        """Shut down the output; return False if that cannot be done without closing."""
        end_output = self._ac_of_socket("_ac_end_output")
        if end_output is not None:
            return bool(end_output())
        sock = self.socket
        if sock is None or type(sock) not in _PLAIN_SOCKETS:
            return False  # a program's own kind of socket, such as an SSLSocket, which must send a close_notify first
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    def _ac_send_file(self, fileno: int, offset: int, count: int) -> int | None:
        """Send bytes of a file without ``send()``, by ``os.sendfile()`` or by TLS.

        Return how many were sent (int), -1 if none can be now, None if the file must be read and sent by ``send()``.
        """
        # None if send() is overridden, as it may encrypt, count or log.
        if getattr(self.send, "__func__", None) is not asyncore.dispatcher.send:
            return None
        sock = self.socket
        if sock is not None and type(sock) in _PLAIN_SOCKETS and hasattr(os, "sendfile"):
            send_file: Any = partial(os.sendfile, sock.fileno())
        else:
            send_file = self._ac_of_socket("_ac_send_file")
        if send_file is None:
            return None
        try:
            return send_file(fileno, offset, min(count, _SENDFILE_MOST))  # type: ignore[no-any-return]
        except BlockingIOError:
            return -1
        except OSError as error:
            if error.errno in _NO_SENDFILE:
                return None
            if isinstance(error, ConnectionError) or error.errno in (errno.ENOTCONN, errno.EBADF):
                self.handle_close()
            else:
                self.handle_error()
            return -1


if TYPE_CHECKING:

    def _as_transport(channel: async_chat) -> "Transport":
        return channel  # mypy checks here that a channel has all that a conversation asks for
