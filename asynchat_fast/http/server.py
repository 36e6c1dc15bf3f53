"""``http_server``: the acceptor of an HTTP server, and its graceful end."""

import os
import weakref
from collections.abc import Callable, Iterable
from socket import socket
from typing import Any

from ..eventloop import call_later
from ..server import Address, chat_server
from .access_log import log_writer
from .handler import http_request_handler

__all__ = ["http_server"]


class http_server(chat_server):
    """Listen at *address*, and make a *handler_class* of each connection.

    *sessions* and *log* are given to each handler; see ``http_request_handler``, and ``chat_server`` for
    *address* and the other arguments.
    """

    def __init__(
        self,
        address: Any,
        handler_class: Callable[..., Any] = http_request_handler,
        sessions: Any = None,
        log: Any = None,
        **options: Any,
    ) -> None:
        if isinstance(address, (str, bytes)) and "/" not in os.fsdecode(address):
            raise TypeError(
                f"address is (host, port), or the path of a unix socket with a slash in it, not {address!r}"
            )
        if not callable(handler_class):
            raise TypeError(f"handler_class is a class of handlers, not {handler_class!r}")
        log_writer(log)  # TypeError now, and not at each connection
        self.sessions = sessions
        self.log = log  # type: ignore[method-assign]
        self.__is_ending = False
        self.__handlers: weakref.WeakSet[http_request_handler] = weakref.WeakSet()
        super().__init__(address, handler_class, **options)

    @property
    def server_address(self) -> Address:
        """The address that this listens at, ``addr`` by its name in http.server."""
        return self.addr

    def make_channel(self, sock: socket, addr: Any) -> Any:
        """Return the handler of a connection *sock* from *addr*."""
        handler = self.channel_class(sock, addr, self.sessions, self.log, **self._channel_options)
        if getattr(type(handler), "server", self) is None:  # a program may have a server of its own
            handler.server = self
        self.__handlers.add(handler)
        if self.__is_ending:  # its TLS handshake had begun before
            handler._ac_finish_soon()
        return handler

    def shut_down(self, timeout: float | None = None) -> None:
        """Stop listening, and end each connection when the request at hand is answered, or after *timeout* seconds."""
        self.__is_ending = True
        self.close()
        handlers = list(self.__handlers)
        for handler in handlers:
            handler._ac_finish_soon()
        if timeout is not None and handlers:
            call_later(timeout, _close_all, weakref.WeakSet(handlers), map=self._map)


def _close_all(handlers: Iterable[http_request_handler]) -> None:
    for handler in list(handlers):
        handler.close()
