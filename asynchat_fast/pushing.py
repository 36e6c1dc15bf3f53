"""asynchat's methods that send, as functions of any object: a channel's, or one that borrows them.

What is pushed waits in an OutputQueue, or in a deque ``producer_fifo`` of the object's own, and
leaves by the object's ``send()``.
"""

from typing import Any

from .borrowed import queue_of
from .output_queue import OutputQueue
from .pulling import cut, note_that_something_waits, send_failed, send_head
from .transport import BYTES_LIKE

__all__ = ["close_when_done", "fetch_fifo", "initiate_send", "push", "push_with_producer", "replace_fifo", "uncork"]


def push(self: Any, data: Any) -> None:
    """Queue *data* (bytes, bytearray or memoryview, else TypeError), and send if the transport takes it.

    ValueError for an ``ac_out_buffer_size`` below 1.
    """
    try:
        queue = self._ac_output
    except AttributeError:  # of a class that borrows the method, or has a queue of its own
        queue = queue_of(self)
    if queue.put(data):
        try:
            self.initiate_send()
        except ValueError:
            if self.ac_out_buffer_size < 1 and queue and queue.items[-1] is data:
                del queue.items[-1]  # the caller is told that it was not queued
            raise
        return
    if queue.corked and type(data) is bytes and 0 < len(data) <= self.ac_out_buffer_size:
        queue.items.append(data)
        queue.corked += 1
        return
    if not isinstance(data, BYTES_LIKE):
        raise TypeError(f"push() takes bytes, bytearray or memoryview, not {type(data).__name__}")
    _enqueue(self, queue, cut(data, self.ac_out_buffer_size))


def push_with_producer(self: Any, producer: Any) -> None:
    """Queue *producer*, whose ``more()`` is called until it returns nothing, and send.

    ``more()`` returns bytes, another producer, or with ``use_encoding`` a str.  TypeError for an
    object without ``more()``.
    """
    if not hasattr(producer, "more") and not isinstance(producer, BYTES_LIKE):
        raise TypeError(f"a producer is an object with a method more(), not {type(producer).__name__}")
    _enqueue(self, queue_of(self), [producer])


def _enqueue(self: Any, queue: OutputQueue, items: list[Any]) -> None:
    queue.items.extend(items)
    if queue.corked:
        queue.corked += len(items)
    elif items:
        self.initiate_send()


def close_when_done(self: Any) -> None:
    """Close once everything queued so far is sent, which for a channel not connected yet is after it is."""
    queue_of(self).items.append(None)
    note_that_something_waits(self)


def initiate_send(self: Any) -> None:
    """Send from the queue, by one ``send()`` of at most ``ac_out_buffer_size`` bytes.

    One thread sends at a time.  A call that comes meanwhile, from another thread or from within
    ``send()`` or ``more()``, leaves the sending to the one that is at it.
    """
    try:
        queue = self._ac_output
    except AttributeError:  # of a class that borrows the method, or has a queue of its own
        queue = queue_of(self)
    if not self.connected:
        if queue:
            note_that_something_waits(self)
        return
    data = queue.begin(self.ac_out_buffer_size)
    if data:
        try:
            sent = self.send(data)
        except OSError as error:
            more = send_failed(self, queue, error)
        except BaseException:
            queue.end(None, 0)
            note_that_something_waits(self)
            raise
        else:
            more = queue.end(data, sent)
    elif data is None:
        return
    else:
        more = send_head(self, queue)
    if more:
        _send_more(self, queue)


def _send_more(self: Any, queue: OutputQueue) -> None:
    """Send for those who have left it to this sender, and see to it that what is left will be sent."""
    while queue.owed and self.connected:
        if queue.begin(self.ac_out_buffer_size) is None:
            break
        send_head(self, queue)
    if queue:
        note_that_something_waits(self)


def uncork(self: Any) -> None:
    """Send what ``coalesce_pushes`` held back while input was handled."""
    queue = queue_of(self)
    if queue.uncork():
        self.initiate_send()
    if queue:
        note_that_something_waits(self)


def send_held_back(self: Any) -> None:
    """Send, before closing, what would have been sent already without ``coalesce_pushes``."""
    queue = queue_of(self)
    for _ in range(queue.uncork()):
        sends = queue.sends
        self.initiate_send()
        if queue.sends == sends:
            break


def fetch_fifo(self: Any) -> Any:
    """Return what waits to be sent, as the program may see and change it from now on."""
    queue = self._ac_output
    queue.known = True
    self._ac_wait_to_send()
    return queue.items


def replace_fifo(self: Any, fifo: Any) -> None:
    """Have *fifo*, a deque, be what waits to be sent."""
    self._ac_prepared()
    queue = self._ac_output
    queue.items, queue.known, queue.corked = fifo, True, min(queue.corked, 1)
    self._ac_wait_to_send()
