"""asynchat's methods that send, as functions of any object: a channel, or one that borrows them.

Pushed data waits in an OutputQueue, or in a deque ``producer_fifo`` of the object's own, and is sent by the
object's ``send()``.
"""

import sys
from threading import get_ident
from types import FrameType
from typing import Any

from .borrowed import queue_of
from .output_queue import OutputQueue
from .producers import Producer
from .queue_head import cut, note_that_something_waits, send_failed, send_head, sent_something
from .transport import BYTES_LIKE, BytesLike

__all__ = [
    "close_when_done",
    "fetch_fifo",
    "handle_write",
    "initiate_send",
    "is_sending",
    "push",
    "push_with_producer",
    "replace_fifo",
    "send_held_back",
    "sends",
    "uncork",
]


def push(self: Any, data: BytesLike) -> None:
    """Queue *data* (bytes-like, else TypeError), and send as much as the connection takes; any thread may call it.

    On a closed channel *data* waits until the channel is connected anew; ``discard_buffers()`` drops it.
    ValueError for an ``ac_out_buffer_size`` below 1.
    """
    try:
        queue = self._ac_output
    except AttributeError:  # a class that borrows the method, or has a queue of its own
        queue = queue_of(self)
    queued = queue.put(data)
    if queued:
        try:
            self.initiate_send()
        except ValueError:
            if self.ac_out_buffer_size < 1 and queue and queue.items[-1] is data:
                del queue.items[-1]  # the exception tells the caller that *data* was not queued
            raise
        return
    if queued is None:
        return
    if not isinstance(data, BYTES_LIKE):
        raise TypeError(f"push() takes bytes, bytearray or memoryview, not {type(data).__name__}")
    _enqueue(self, queue, cut(data, self.ac_out_buffer_size))


def push_with_producer(self: Any, producer: Producer) -> None:
    """Queue *producer*; when its turn comes, its ``more()`` is called for data until it returns ``b""`` or None.

    ``more()`` returns bytes-like, another producer, or with ``use_encoding`` a str.  TypeError for an
    object without ``more()``.  Any thread may call this.
    """
    if not hasattr(producer, "more"):
        try:
            memoryview(producer)  # type: ignore[arg-type]  # asynchat takes what can be sliced, too
        except TypeError:
            kind = type(producer).__name__
            raise TypeError(f"a producer is an object with a method more(), not {kind}") from None
    _enqueue(self, queue_of(self), [producer])


def _enqueue(self: Any, queue: OutputQueue, items: list[Any]) -> None:
    if queue.extend(items) and items:
        self.initiate_send()


def close_when_done(self: Any) -> None:
    """Close once everything that is queued now has been sent; any thread may call it.

    A channel that is not connected yet closes after it is connected and the queue is sent.
    """
    queue_of(self).extend([None])
    note_that_something_waits(self)


def initiate_send(self: Any) -> None:
    """Send from the queue, by one ``send()`` of at most ``ac_out_buffer_size`` bytes.

    One thread sends at a time.  A call that comes meanwhile, from another thread or from within
    ``send()`` or ``more()``, returns at once, and the present sender sends for it.
    """
    try:
        queue = self._ac_output
    except AttributeError:  # a class that borrows the method, or has a queue of its own
        queue = queue_of(self)
    if not self.connected:
        if queue:
            note_that_something_waits(self)
        return
    data = queue.begin(self.ac_out_buffer_size)
    if data:
        try:
            try:
                sent = self.send(data)
            except OSError as error:
                send_failed(self, error)
                sent = 0
            more = queue.end(data, sent)
        except BaseException:
            queue.end(None, 0)
            note_that_something_waits(self)
            raise
        if more and sent:  # outside the try: another thread may have entered the queue by now, and must not be put out
            sent_something(self)
    elif data is None:
        if queue.holder == get_ident() and not _is_sending_here(queue):
            queue.end(None, 0)
            self.initiate_send()
        return
    else:
        more = send_head(self, queue)
    if more:
        _send_more(self, queue)


def _is_sending_here(queue: OutputQueue) -> bool:
    """Return whether this thread, which has entered *queue*, is still within a sender of it, further up its stack.

    If not, an exception from a signal handler has ended the sender before it left the queue.  The caller must then
    leave the queue for it, or nothing would ever be sent.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code in _SENDERS and frame.f_locals.get("queue") is queue:
            return True
        frame = frame.f_back
    return False


_SENDERS = {initiate_send.__code__, send_head.__code__}


def handle_write(self: Any) -> None:
    """Call ``initiate_send()``; the loop calls this."""
    self.initiate_send()


def _send_more(self: Any, queue: OutputQueue) -> None:
    """Send for the calls that came meanwhile, and have the loop send the rest."""
    while queue.owed and self.connected and queue.begin(self.ac_out_buffer_size) is not None:
        send_head(self, queue)
    if queue:
        note_that_something_waits(self)


def uncork(self: Any, queue: OutputQueue) -> None:
    """Send the data that *queue*, corked, has held back while input was handled."""
    if queue.uncork():
        self.initiate_send()
    if queue:
        note_that_something_waits(self)


def send_held_back(self: Any) -> None:
    """Send, before closing, the data that ``coalesce_pushes`` has held back: without it, it would have been sent."""
    queue = queue_of(self)
    for _ in range(queue.uncork()):
        sends = queue.sends
        self.initiate_send()
        if queue.sends == sends:
            break


def fetch_fifo(self: Any) -> Any:
    """Return the queue as a deque, which the program may change from now on."""
    try:
        queue = self._ac_output
    except AttributeError:  # a subclass that never calls async_chat's __init__() has used no buffer until now
        self._ac_prepared()
        queue = self._ac_output
    queue.known = True
    self._ac_wait_to_send()
    return queue.items


def replace_fifo(self: Any, fifo: Any) -> None:
    """Replace the queue by *fifo*, a deque."""
    self._ac_prepared()
    queue = self._ac_output
    queue.items, queue.known = fifo, True
    queue.forget_held()
    self._ac_wait_to_send()


def is_sending(self: Any) -> bool:
    """Return whether something waits to be sent."""
    return bool(queue_of(self))


def sends(self: Any) -> int:
    """Return how many times something was sent."""
    return queue_of(self).sends
