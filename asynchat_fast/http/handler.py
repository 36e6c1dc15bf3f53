"""``http_request_handler``: both halves of HTTP/1.1 on a channel, and what there is to override."""

import io
import logging
import sys

from ..channel import async_chat, asyncore
from .access_log import FORMATS, log_writer
from .errors import HTTPError
from .requests import Requests

__all__ = ["http_request_handler"]

_LONGEST_PERIOD = 60  # seconds

logger = logging.getLogger("asynchat_fast.http")

# What RFC 9110 and 5789 define: who does not serve one of them refuses it for the target, others are not known at all.
_METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"])

# Interned: the type's cache of methods knows no others.
_NAMES = {method: sys.intern(f"do_{method}") for method in _METHODS}


class http_request_handler(Requests, async_chat):
    """A connection of an HTTP/1.1 server: one request after the other is received, handled and answered.

    *conn* (or *sock*) is the connected socket, *addr* the address of the client, *sessions* what the program
    shares among its handlers, and *log* where the access log goes: a function, a ``logging.Logger``, or
    anything with a method ``log`` or ``write``; None is the logger ``asynchat_fast.http.access``.
    *map* is the asyncore map (dict).  Subclasses define ``do_GET()`` and the like, or ``handle_request()``.

    Sources: the asynchat documentation's example of this name, RFC 9110 and 9112, ``http.server``.
    """

    coalesce_pushes = True

    _http_ends_loop = asyncore.ExitNow

    head_timeout = 20
    """Seconds from the first octet of a head to its end (number); then the answer is 408."""

    body_timeout = 20
    """Seconds that a body may take, and one more for each ``min_body_rate`` octets of it (number); then it is 408."""

    min_body_rate = 1000
    """Octets a second (number), see ``body_timeout``."""

    keep_alive_timeout = 30
    """Seconds between two requests, and before the first (number), after which the connection is closed."""

    write_timeout = 30
    """Seconds for which the client may take nothing of what waits to be sent (number)."""

    linger_timeout = 2
    """Seconds that the client has to close the connection after us (number)."""

    log_format = "common"
    """The format of the access log: "common" or "combined", which has Referer and User-Agent, too."""

    def __init__(self, conn=None, addr=None, sessions=None, log=None, *, sock=None, map=None):
        self.__timer = None
        async_chat.__init__(self, conn if sock is None else sock, map)
        Requests.__init__(self)
        if addr is not None:
            self.addr = addr
        self.sessions = sessions
        self.log = log
        self.obuffer = b""
        self.__write_log = log_writer(log)
        self.__receives = False
        self.__sent, self.__stalled = 0, 0.0
        shortest = min(self.head_timeout, self.body_timeout, self.keep_alive_timeout, self.write_timeout)
        self.__period = min(shortest / 4, _LONGEST_PERIOD)
        self._http_watch(self.__period)

    # Requests

    def handle_request(self):
        """Handle the request, which is complete: call ``do_GET()`` or the like, by the method.

        Whoever overrides this answers, now or later, by ``respond()``, or ``write()`` and ``finish()``,
        or as handlers for ``http.server`` do.
        """
        method = getattr(self, _NAMES.get(self.command) or f"do_{self.command}", None)
        if method is not None:
            method()
        elif self.command == "HEAD" and hasattr(self, "do_GET"):
            self.do_GET()
        elif self.command == "OPTIONS":
            self.respond(200, headers=[("Allow", self.__allowed())])
        elif self.command in _METHODS:
            explain = f"This address does not take {self.command}."
            self.send_error(405, explain=explain, headers=[("Allow", self.__allowed())])
        else:
            self.send_error(501)

    def __allowed(self):
        methods = {name for name in _METHODS if hasattr(self, f"do_{name}")} | {"OPTIONS"}
        if "GET" in methods:
            methods.add("HEAD")
        return ", ".join(sorted(methods))

    @property
    def rfile(self):
        """The body of the request, as a file."""
        return io.BytesIO(self.body)

    @property
    def requestline(self):
        """The request line (str)."""
        return self._http_bad_line or f"{self.command} {self.target} {self.request_version}"

    @property
    def request_version(self):
        """The version of the request, "HTTP/1.1" or another minor one (str)."""
        return f"HTTP/1.{self.minor_version}"

    @property
    def client_address(self):
        """The address of the client, ``addr`` by its name in http.server."""
        return self.addr

    def address_string(self):
        """Return the host of the client (str), one of IPv4 as such at an IPv6 socket, too; "-" at a unix socket."""
        return self.addr[0].removeprefix("::ffff:") if isinstance(self.addr, tuple) else "-"

    # Logs

    def log_request(self, code="-", size="-"):
        """Log a request that was answered with status *code* and a body of *size* octets."""
        if self.__write_log is not None:
            self.__write_log(FORMATS[self.log_format](self, code, size))

    def log_message(self, format, *args):
        """Log a message for the administrator."""
        logger.info("%s: " + format, self.address_string(), *args)

    def log_error(self, format, *args):
        """Log an error."""
        logger.error("%s: " + format, self.address_string(), *args)

    def log_info(self, message, type="info"):
        """Log what asyncore and the channel have to say, by Python's logging."""
        logger.log({"error": logging.ERROR, "warning": logging.WARNING}.get(type, logging.DEBUG), "%s", message)

    def _http_log_exception(self):
        logger.exception("%s: %r was not served", self.address_string(), self.requestline)

    # The connection

    def recv(self, buffer_size):
        """Receive; the end of what the client sends is told to ``handle_eof()``."""
        self.__receives = True
        try:
            return async_chat.recv(self, buffer_size)
        finally:
            self.__receives = False

    def handle_close(self):
        """Close, but at the end of input answer what has been asked first."""
        if self.__receives and self.connected:
            self.handle_eof()
        else:
            self.close()

    def handle_error(self):
        """Log the exception that is being handled, and close."""
        self._http_log_exception()
        self._http_abort()

    def _http_abort(self):
        """Close at once, so that the client sees an answer that is not complete."""
        self.close()

    def close(self):
        """Close, and drop what waits to be sent."""
        if self.__timer is not None:
            self.__timer.cancel()
        super().close()
        self.discard_buffers()

    def _http_watch(self, seconds):
        """Look in so many *seconds*, and then now and again, whether the client takes too long for something."""
        if self.__timer is not None:
            self.__timer.cancel()
        self.__timer = self._ac_call_later(seconds, self.__look)

    def __look(self):
        self.__timer = None
        status = self.__overdue() if self.connected else None
        if status == 0:
            self.close()
        elif status is not None:
            self._http_refuse(HTTPError(status, "the request took too long"))
        if self.connected and self.__timer is None:
            self._http_watch(self.__period)

    def __overdue(self):
        """Return the status to answer a client with that has taken too long, 0 for none; None if it has not."""
        sent = self._ac_sent()
        if self._ac_is_sending() and sent == self.__sent:
            self.__stalled += self.__period
            return 0 if self.__stalled > self.write_timeout else None
        self.__sent, self.__stalled = sent, 0.0
        due = self._http_due()
        return due[1] if due is not None and due[0] <= 0 else None
