"""The hooks that a client puts on its channel: they give it connections, and notice how each of them ends."""

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
    """The object that a Keeper tells of the ends of connections."""

    def _lost(self) -> None:
        """Act upon the loss of the connection, after the channel's own callbacks."""

    def _ended(self) -> None:
        """Act upon the end of the client, as the program has closed the channel."""


def is_kept(channel: async_chat) -> bool:
    """Return whether *channel* has the hooks of a Keeper: a chat_client has it, and has not stopped."""
    return isinstance(getattr(channel.close, "__self__", None), Keeper)


class Keeper:
    """Keeps *channel* across connections; hooks on the object tell a loss of one from an end that the program wants.

    The hooks call the program's own methods.  A method that the program replaces on the class is followed at once, one
    that it replaces on the object from the next connection on.
    """

    def __init__(self, channel: Any, owner: Owner) -> None:
        self._channel = channel
        self._owner = owner
        self._losing = Lock()  # held by the thread that handles a loss
        # The threads in the channel's callbacks of a loss: a close() that one of them calls belongs to the loss.
        self._tellers: set[int] = set()
        # Holds a token until handle_close() is called for this connection; of two threads, one gets it by pop().
        self._untold: list[None] = []
        self.is_attached = False  # the channel has a connection, whose handshake may not be complete
        self._ends = False  # close_when_done() was called
        self._own: dict[str, Any] = {}  # the methods that the program has put on the object, by name
        self._hooks: dict[str, Any] = {}
        self._hook()
        if hasattr(channel, "_ac_output"):  # a program's own channel may have another queue, which is left alone
            queue, made = WholeQueue(), channel._ac_output
            queue.joins, queue.known = made.joins, made.known
            queue.items.extend(made.items)
            channel._ac_output = queue

    def _hook(self) -> None:
        """Put the hooks on the object, and remember the methods that the program has put there itself."""
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
        """Remove the hooks, so that the channel behaves like any other."""
        self.is_attached = False
        for name, hook in self._hooks.items():
            if getattr(self._channel, name) is hook:  # the program may have replaced it
                delattr(self._channel, name)
                if name in self._own:
                    setattr(self._channel, name, self._own[name])

    def is_done(self) -> bool:
        """Return whether ``close_when_done()`` was called, and nothing before it waits to be sent."""
        queue = queue_of(self._channel)
        if not self._ends or any(item is not None for item in list(queue.items)):
            return False
        queue.items.clear()  # a None that stays would close the next connection that the program makes
        return True

    def attach(self, sock: Any, address: Any, begin_tls: Callable[[], object] | None) -> None:
        """Give the channel *sock*, connected to *address*; start TLS by *begin_tls*, or call ``handle_connect()``."""
        channel = self._channel
        channel.connected, channel.connecting, channel.addr = False, True, address
        self._hook()
        self._untold, self.is_attached = [None], True
        queue = queue_of(channel)
        drop_begun(queue)  # again: at the loss, another thread may have been within send()
        if self._ends and not _has_end(queue):  # the loss has dropped the end, which is still wanted
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
            if not self.is_attached:  # asyncore sets connected after handle_connect(), even if that has closed
                channel.connected = channel.connecting = False

    def detach(self) -> None:
        """Take the connection away from the channel, without its callbacks, as the handshake has failed."""
        if self.is_attached:
            self.is_attached = False
            async_chat.close(self._channel)
            self._channel.socket = None

    def stop(self) -> None:
        """Close at once, drop what waits to be sent, and remove the hooks."""
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
        """Return whether the caller runs within the channel's callbacks of a loss."""
        return get_ident() in self._tellers

    def _call(self, name: str) -> None:
        """Call the channel's own method *name*, not the hook."""
        own = self._own.get(name)
        method = MethodType(getattr(type(self._channel), name), self._channel) if own is None else own
        method()

    @contextlib.contextmanager
    def _loss(self) -> Iterator[None]:
        """Treat what the block does as part of a loss; after it, the channel is ready for the next connection."""
        thread = get_ident()
        if thread in self._tellers:
            yield  # nested: the outer block makes the channel ready
            return
        self._tellers.add(thread)
        try:
            if self._losing.acquire(blocking=False):
                with self._whole_loss():
                    yield
            else:
                yield  # another thread handles the same loss, and makes the channel ready
        finally:
            self._tellers.discard(thread)

    @contextlib.contextmanager
    def _whole_loss(self) -> Iterator[None]:
        try:
            with contextlib.ExitStack() as steps:  # runs each step, even if another has raised; the last one first
                steps.callback(self._see_closed)
                steps.callback(self._tell)
                yield
        finally:
            was_attached = self.is_attached  # False if the client was stopped meanwhile
            is_done = was_attached and self._drop_connection()
            self.is_attached = False
            self._losing.release()
            if was_attached:
                (self._owner._ended if is_done else self._owner._lost)()

    def _tell(self) -> None:
        """Call the channel's own handle_close(), once for each connection."""
        if not self.is_attached:
            return
        try:
            self._untold.pop()
        except IndexError:
            return
        self._call("handle_close")

    def _see_closed(self) -> None:
        """Close the channel, unless the program has done so."""
        if self.is_attached and self._channel._fileno is not None:
            _close_surely(self._channel, lambda: self._call("close"))

    def _drop_connection(self) -> bool:
        """Drop what belonged to the lost connection; return whether close_when_done() wanted it to end there."""
        channel, queue = self._channel, queue_of(self._channel)
        is_done = self._ends and not _has_end(queue)
        drop_lost(queue)
        if not is_done:
            _cut_off(channel)
        channel.ac_in_buffer = b""
        with contextlib.suppress(AttributeError, TypeError):  # the program may have an ``incoming`` that is no list
            del channel.incoming[:]
        if channel.max_payload:
            with contextlib.suppress(AttributeError):  # no terminator has been set yet
                # Removing it ends the discarding of an overlong payload, which the loss has cut short.
                terminator = channel.terminator
                del channel.terminator
                channel.terminator = terminator
        return is_done or (self._ends and not queue)


def _has_end(queue: Any) -> bool:
    return any(item is None for item in list(queue.items))


def _close_surely(channel: Any, close: Callable[[], object]) -> None:
    """Call *close*, a method of the program, and close *channel* if that has raised or has not closed it."""
    try:
        close()
    finally:
        if channel._fileno is not None:
            async_chat.close(channel)


def _cut_off(channel: Any) -> None:
    """Close the socket of a TLS connection at once, without the bytes that it has still to send."""
    place = channel._ac_of_socket("_ac_place")
    if place is not None:
        place.drop()
