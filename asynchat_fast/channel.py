"""``async_chat``: the conversation on an ``asyncore.dispatcher``."""

import errno
import gc
import os
import socket
from types import MethodType

from ._asyncore import asyncore
from .conversation import Conversation
from .eventloop.timers import let_go_of, timers_of
from .sending import Sending, would_block

__all__ = ["async_chat", "asyncore"]

_SENDFILE_MOST = 1 << 24  # octets at once: as much as the socket takes, but others are to have their turn
_NO_SENDFILE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOTSOCK)  # not for this file, system or socket


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
        self._ac_receive(octets)

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
            let_go_of(self._map)
        super().close()

    __idle_timer = None

    def set_socket(self, sock, map=None):
        """Converse over *sock*, which is not blocking, and join *map*."""
        self._ac_closed = False
        super().set_socket(sock, map)
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
        return timers_of(self._map).call_later(seconds, callback, *args)

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

    # What loop() wants to know, so as not to ask each channel on each pass.

    def _ac_report(self):
        map = getattr(self, "_map", None)  # a dispatcher's, if its __init__ has been called
        if hasattr(map, "touch") and self._fileno is not None:
            map.touch(self._fileno)

    def _ac_interest(self):
        """Return whether to read and whether to write, if that cannot change without ``_ac_report()``; else None."""
        if _Watched.readable is None:
            _watch_rebinding()
        cls = type(self)
        if not self.connected or cls.readable is not _Watched.readable or cls.writable is not _Watched.writable:
            return None
        if self._ac_rebound or self._ac_queue_is_known:
            return None
        return Sending.readable(self), Sending.writable(self)

    _ac_rebound = None  # readable() or writable(), if this object has rebound them: dict, name -> function


class _Watched(property):
    """A method that reports when an object rebinds it; on the class, it is a function."""

    readable = writable = None  # those of async_chat, once they are watched

    def __init__(self, name, function):
        super().__init__(self.__fetch, self.__rebind, self.__rebind, function.__doc__)
        self.name = name
        self.function = function

    def __call__(self, channel):
        return self.function(channel)

    def __fetch(self, channel):
        # Not in the object's dictionary, even to look: once it is asked for, CPython is slow at all attributes.
        own = channel._ac_rebound
        return (own and own.get(self.name)) or MethodType(self.function, channel)

    def __rebind(self, channel, function=None):
        channel.__dict__.pop(self.name, None)
        own = dict(channel._ac_rebound or ())
        own.pop(self.name, None)
        if function is not None:
            own[self.name] = function
        channel._ac_rebound = own or None
        channel._ac_report()


def _watch_rebinding():
    """Notice from now on when a channel rebinds readable() or writable(), since loop() runs.

    Not from the start, because it makes these methods slow to call, which asyncore.loop() does
    for each channel on each pass.
    """
    functions = {"readable": Sending.readable, "writable": Sending.writable}
    rebound = [
        (channel, name, method)
        for channel in gc.get_objects()  # once in a process
        if issubclass(type(channel), async_chat)
        for name, function in functions.items()
        if getattr(type(channel), name) is function
        and getattr(method := getattr(channel, name), "__func__", None) is not function
    ]
    for name, function in functions.items():
        watched = _Watched(name, function)
        setattr(_Watched, name, watched)
        if getattr(async_chat, name) is function:  # not patched
            setattr(async_chat, name, watched)
    for channel, name, method in rebound:
        setattr(channel, name, method)
