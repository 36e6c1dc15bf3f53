"""``http_server``: the acceptor of an HTTP server, and its graceful end."""

from collections.abc import Callable, Iterable
from socket import socket
from typing import Any

from ..addresses import checked
from ..graceful_end import Life
from ..networks import Network
from ..server import Address, chat_server
from .access_log import log_writer
from .forwarded import Forwarded
from .handler import http_request_handler
from .health import Health

__all__ = ["http_server"]

_GOING_ON = (Life.LISTENING, Life.DRAINING)


class http_server(chat_server):
    """Listen at *address*, and make a handler for each connection.

    *handler_class* is called with the socket, the client's address, *sessions* and *log*, for which see
    ``http_request_handler``; *address* and *options* are those of ``chat_server``.  *forwarded* are the networks
    (list of str, such as "10.0.0.0/8") of proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted.
    *health* is a path such as "/healthz" (str, None for none) at which the server itself responds to health checks of
    proxies: by 200, and by 503 from ``shut_down()`` on.  TypeError for an *address* that is a str and no path, for
    a *handler_class* that cannot be called, and for a wrong *log*; ValueError for a wrong network, and for a *health*
    that is no path.
    """

    def __init__(
        self,
        address: Any,
        handler_class: Callable[..., Any] = http_request_handler,
        sessions: Any = None,
        log: Any = None,
        *,
        forwarded: Iterable[Network] = (),
        health: str | None = None,
        **options: Any,
    ) -> None:
        if isinstance(address, (str, bytes)):
            try:
                checked(address)
            except ValueError as error:  # before the check of handler_class, which is then the port
                raise TypeError(str(error)) from None
        if not callable(handler_class):
            raise TypeError(f"handler_class is a class of handlers, not {handler_class!r}")
        log_writer(log)  # TypeError now, and not at each connection
        self.sessions = sessions  #: As given.
        self.log = log  # type: ignore[method-assign]
        self.__health = None if health is None else Health(health, self)
        self.__forwarded = Forwarded(forwarded) if forwarded else None
        super().__init__(address, handler_class, **options)

    @property
    def server_address(self) -> Address:
        """The address at which it listens: ``addr``, by its name in ``http.server``."""
        return self.addr

    def make_channel(self, sock: socket, addr: Any) -> Any:
        """Return a handler for a connection *sock* from *addr*."""
        handler = self.channel_class(sock, addr, self.sessions, self.log, **self._channel_options)
        if getattr(type(handler), "server", self) is None:  # a program may have a server of its own
            handler.server = self
        if self.__forwarded is not None:
            handler._ac_forwarded = self.__forwarded
        if self.__health is not None:
            handler._ac_health = self.__health
        if self._ac_end.life not in _GOING_ON:  # a request may have come with it: its response must be the last
            handler._ac_connection.make_last()
        return handler

    def shut_down(self, timeout: float | None = None, *, drain: float = 0.0, keep_idle: float = 1.0) -> None:
        """End gracefully, see ``chat_server.shut_down()``: the next response on each connection says it is the last.

        Connections on which no request has begun *keep_idle* seconds (number) after that are closed.
        """
        self._ac_end.begin(timeout, drain, keep_idle)
