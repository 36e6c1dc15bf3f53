"""What a client does to its channel: gives it connections, one after the other, and learns of their ends."""

import contextlib
from collections.abc import Callable, Iterator
from threading import Lock, get_ident
from types import MethodType
from typing import Any, Protocol

from .borrowed import queue_of
from .channel import async_chat
from .client_queue import WholeQueue, drop_begun, drop_lost
from .eventloop.telling import ENDING

__all__ = ["Keeper", "Owner", "is_kept"]

_HOOKS = ("close", "close_when_done", "handle_close", "handle_error")


class Owner(Protocol):
    """What a Keeper tells of its channel."""

    def _lost(self) -> None:
        """Act upon the loss of the connection, of which the channel has been told."""

    def _ended(self) -> None:
        """Act upon the end that the program wanted."""


def is_kept(channel: async_chat) -> bool:
    """Tell whether there is a Keeper of *channel*."""
    return isinstance(getattr(channel.close, "__self__", None), Keeper)


class Keeper:
    """Keeps *channel* across connections: hooks on the object tell what ends one, the program or a loss.

    The program's own methods are called by the hooks, those that it replaces on the class later, too; those that
    it replaces on the object from the next connection on.
    """

    def __init__(self, channel: Any, owner: Owner) -> None:
        self._channel = channel
        self._owner = owner
        self._losing = Lock()  # held while the channel is told of a loss
        self._tellers: set[int] = set()  # the threads that tell of one: a close() of theirs meanwhile is part of it
        self._untold: list[None] = []  # holds a token until handle_close() is called of the connection at hand
        self.is_attached = False  # there is a connection, perhaps without its TLS
        self._ends = False  # close_when_done() was called
        self._own: dict[str, Any] = {}  # what the object had in the place of the methods
        self._hooks: dict[str, Any] = {}
        self._hook()
        if hasattr(channel, "_ac_output"):  # else it has a queue of its own
            queue, made = WholeQueue(), channel._ac_output
            queue.joins, queue.known = made.joins, made.known
            queue.items.extend(made.items)
            channel._ac_output = queue

    def _hook(self) -> None:
        """Have the hooks stand on the object, before whatever the program has put there."""
        channel = self._channel
        for name in _HOOKS:
            method = getattr(channel, name)
            if method is self._hooks.get(name):
                continue
            self._own.pop(name, None)
            if getattr(method, "__func__", None) is not getattr(type(channel), name):
                self._own[name] = method
            self._hooks[name] = getattr(self, f"_{name}")
            setattr(channel, name, self._hooks[name])

    def release(self) -> None:
        """Have the channel be as any other."""
        self.is_attached = False
        for name, hook in self._hooks.items():
            if getattr(self._channel, name) is hook:  # not replaced meanwhile
                delattr(self._channel, name)
                if name in self._own:
                    setattr(self._channel, name, self._own[name])

    def is_done(self) -> bool:
        """Tell whether ``close_when_done()`` was called, and nothing is left for which to connect."""
        queue = queue_of(self._channel)
        if not self._ends or any(item is not None for item in list(queue.items)):
            return False
        queue.items.clear()  # or a None would close the next connection that the program makes
        return True

    def attach(self, sock: Any, address: Any, begin_tls: Callable[[], object] | None) -> None:
        """Give the channel the connected *sock*, and TLS by *begin_tls*, and tell it that it is connected."""
        channel = self._channel
        channel.connected, channel.connecting, channel.addr = False, True, address
        self._hook()
        self._untold, self.is_attached = [None], True
        queue = queue_of(channel)
        drop_begun(queue)  # another thread may have been in the middle of send() at the loss
        if self._ends and not _has_end(queue):  # it was dropped at a loss
            queue.extend([None])
        try:
            channel.set_socket(sock, channel._map)
            if begin_tls is not None:
                begin_tls()
                channel._map[channel._fileno].handle_write_event()
                return
            channel.handle_connect_event()
            if self.is_attached:
                self._hook()
                channel.handle_write()
        except ENDING:
            raise
        except BaseException:
            channel.handle_error()
        finally:
            if not self.is_attached:  # asyncore notes a connection after handle_connect(), whatever that has done
                channel.connected = channel.connecting = False

    def detach(self) -> None:
        """Take the connection, whose handshake has failed, away from the channel."""
        if self.is_attached:
            self.is_attached = False
            async_chat.close(self._channel)
            self._channel.socket = None

    def stop(self) -> None:
        """Close at once, whatever waits to be sent, and have the channel be as any other."""
        self.release()
        try:
            _close_surely(self._channel, self._channel.close)
        finally:
            _cut_off(self._channel)

    # Hooks

    def _close(self) -> None:
        self._call("close")
        if not self._is_told():
            self._owner._ended()

    def _close_when_done(self) -> None:
        self._ends = self._ends or not self._is_told()
        self._call("close_when_done")

    def _handle_close(self) -> None:
        with self._loss():
            self._tell()

    def _handle_error(self) -> None:
        with self._loss():
            self._call("handle_error")

    def _is_told(self) -> bool:
        """Tell whether the caller is called because the channel is told of a loss."""
        return get_ident() in self._tellers

    def _call(self, name: str) -> None:
        """Call the program's method of *name*."""
        own = self._own.get(name)
        method = MethodType(getattr(type(self._channel), name), self._channel) if own is None else own
        method()

    @contextlib.contextmanager
    def _loss(self) -> Iterator[None]:
        """Have what is done within belong to a loss, at whose end the channel is ready for the next connection."""
        thread = get_ident()
        if thread in self._tellers:
            yield  # within another
            return
        self._tellers.add(thread)
        try:
            if self._losing.acquire(blocking=False):
                with self._whole_loss():
                    yield
            else:
                yield  # beside one in another thread
        finally:
            self._tellers.discard(thread)

    @contextlib.contextmanager
    def _whole_loss(self) -> Iterator[None]:
        try:
            with contextlib.ExitStack() as steps:  # each is made, whatever those before it have raised
                steps.callback(self._see_closed)
                steps.callback(self._tell)
                yield
        finally:
            was_attached = self.is_attached  # not if the client was stopped meanwhile
            is_done = was_attached and self._part()
            self.is_attached = False
            self._losing.release()
            if was_attached:
                (self._owner._ended if is_done else self._owner._lost)()

    def _tell(self) -> None:
        """Call the program's handle_close(), once for each connection."""
        if not self.is_attached:
            return
        try:
            self._untold.pop()
        except IndexError:
            return
        self._call("handle_close")

    def _see_closed(self) -> None:
        """Close, unless the program has."""
        if self.is_attached and self._channel._fileno is not None:
            _close_surely(self._channel, lambda: self._call("close"))

    def _part(self) -> bool:
        """Drop what belonged to the connection; return whether close_when_done() wanted just that."""
        channel, queue = self._channel, queue_of(self._channel)
        is_done = self._ends and not _has_end(queue)
        drop_lost(queue)
        if not is_done:
            _cut_off(channel)
        channel.ac_in_buffer = b""
        with contextlib.suppress(AttributeError, TypeError):  # one of the program's own, which it need not be able to
            del channel.incoming[:]
        if channel.max_payload:
            with contextlib.suppress(AttributeError):  # there is none yet
                terminator, channel.terminator = channel.terminator, None
                channel.terminator = terminator  # or what follows a payload that was too long would be dropped
        return is_done or (self._ends and not queue)


def _has_end(queue: Any) -> bool:
    return any(item is None for item in list(queue.items))


def _close_surely(channel: Any, close: Callable[[], object]) -> None:
    """Have *close*, the program's, close *channel*, which is closed even if that raises."""
    try:
        close()
    finally:
        if channel._fileno is not None:
            async_chat.close(channel)


def _cut_off(channel: Any) -> None:
    """Have nothing stand in the map that sends on what a TLS connection has not sent."""
    place = channel._ac_of_socket("_ac_place")
    if place is not None:
        place.drop()
