"""``async_chat``: the conversation on an ``asyncore.dispatcher``."""

import errno
import os
import socket

from ._asyncore import asyncore
from .conversation import Conversation
from .eventloop import call_later
from .sending import would_block

__all__ = ["async_chat", "asyncore"]

_SENDFILE_MOST = 1 << 24  # octets at once: as much as the socket takes, but others are to have their turn
_NO_SENDFILE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOTSOCK)  # not for this file, system or socket

_receive = Conversation.receive  # not looked up on the channel: a program may have a receive() of its own


class async_chat(Conversation, asyncore.dispatcher):
    """A channel that collects what it receives up to a terminator, and sends what is pushed.

    Subclasses define ``collect_incoming_data()`` and ``found_terminator()``.  *sock* is a
    connected socket, or None for one that ``create_socket()`` makes later; *map* the asyncore
    map (dict) to join, None for ``asyncore.socket_map``; *conn* an older name of *sock*.
    Source: the asynchat documentation.
    """

    idle_timeout = None
    """Seconds without an octet received or sent after which ``handle_timeout()`` is called (number); None is never.

    Looked up when the channel gets its socket.  It is noticed with a delay of up to a quarter, and under ``loop()``.
    """

    def __init__(self, sock=None, map=None, *, conn=None):
        # By name and not by super(): programs inherit from this beside classes whose __init__ take other arguments.
        Conversation.__init__(self)
        asyncore.dispatcher.__init__(self, conn if sock is None else sock, map)

    def handle_read(self):
        """Receive once, and deliver to the callbacks."""
        try:
            octets = self.recv(self.ac_in_buffer_size)
        except BlockingIOError:
            return
        except OSError as error:
            if not would_block(error):
                self.handle_error()
            return
        _receive(self, octets)

    def handle_write(self):
        """Send what waits."""
        self.initiate_send()

    def handle_close(self):
        """Close; called when the peer has closed, after an error, or when ``close_when_done()`` is due."""
        self.close()

    def close(self):
        """Close the socket, after an attempt to send what ``coalesce_pushes`` holds back."""
        self._send_held_back()
        self._ac_closed = True
        if self.__idle_timer is not None:
            self.__idle_timer.cancel()
        super().close()

    __idle_timer = None

    def set_socket(self, sock, map=None):
        """Converse over *sock*, which is not blocking, and join *map*."""
        self._ac_closed = False
        super().set_socket(sock, map)
        if self._ac_queue_is_known:
            self._ac_report()
        if self.__idle_timer is not None:
            self.__idle_timer.cancel()
        if self.idle_timeout is not None:
            self.__watch_idleness()

    def __watch_idleness(self, progress=None, quarters=0):
        # Looking now and then, rather than noting the time of each octet, costs the busy nothing.
        if self._ac_progress() != progress:
            progress, quarters = self._ac_progress(), 0
        elif quarters == 4 and self.idle_timeout is not None:
            self.handle_timeout()
            quarters = 0
        if not self._ac_closed and self.idle_timeout is not None:
            quarter = self.idle_timeout / 4
            self.__idle_timer = self._ac_call_later(quarter, self.__watch_idleness, progress, quarters + 1)

    def handle_timeout(self):
        """Called when nothing was received or sent for ``idle_timeout`` seconds; logs and closes, unless overridden."""
        self.log_info(f"closing {self!r}: idle for {self.idle_timeout} seconds", "error")
        self.handle_close()

    def _ac_call_later(self, seconds, callback, *args):
        return call_later(seconds, callback, *args, map=self._map)

    def _ac_end_output(self):
        if type(self.socket) is not socket.socket:
            return False  # TLS has words of its own for the end
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    def _ac_send_file(self, fileno, offset, count):
        # Only past a send() that is the dispatcher's own: one that encrypts, counts or logs is not to be passed by.
        if (
            not hasattr(os, "sendfile")
            or type(self.socket) is not socket.socket
            or getattr(self.send, "__func__", None) is not asyncore.dispatcher.send
        ):
            return None
        try:
            return os.sendfile(self.socket.fileno(), fileno, offset, min(count, _SENDFILE_MOST))
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

    # What loop() wants to know, so as not to ask each channel in each pass.

    def _ac_report(self):
        map = getattr(self, "_map", None)  # a dispatcher's, if its __init__ has been called
        if hasattr(type(map), "touch") and self._fileno is not None:
            (map.watch if self._ac_queue_is_known else map.touch)(self._fileno)
