"""asynchat's rules in plain Python, for objects whose input or terminator is not in an InputBuffer.

There are three kinds of these: channels whose class has an ``ac_in_buffer`` of its own, objects of other classes
that borrow asynchat's methods, and channels with a terminator that cannot be searched for.
"""

from typing import Any

from .framing import find_prefix_at_end
from .output_queue import OutputQueue

__all__ = ["deliver", "queue_of"]


def deliver(channel: Any, data: Any) -> None:
    """Append *data* (bytes-like, or str with ``use_encoding``) to ``ac_in_buffer``, and call the callbacks for it.

    ``get_terminator()`` is called before each payload, and a number counts down in ``terminator``.
    Source: the asynchat documentation.
    """
    if isinstance(data, str) and channel.use_encoding:
        data = data.encode(channel.encoding)
    channel.ac_in_buffer = channel.ac_in_buffer + data
    while channel.ac_in_buffer:
        terminator = channel.get_terminator()
        if not terminator:
            _collect(channel, len(channel.ac_in_buffer))
        elif isinstance(terminator, int):
            _deliver_counted(channel, terminator)
        elif not _deliver_up_to(channel, terminator):
            return


def _collect(channel: Any, end: int, resume: int | None = None) -> None:
    """Pass the input up to *end* to ``collect_incoming_data()``, and then remove it up to *resume*, if given."""
    data = channel.ac_in_buffer
    if end:
        channel.collect_incoming_data(bytes(data[:end]))
    channel.ac_in_buffer = channel.ac_in_buffer[end if resume is None else resume :]


def _deliver_counted(channel: Any, count: int) -> None:
    size = len(channel.ac_in_buffer)
    if size >= count:
        _collect(channel, count)
        channel.terminator = 0
        channel.found_terminator()
        return
    before = getattr(channel, "terminator", None)  # an override of get_terminator() may have returned another value
    _collect(channel, size)
    if channel.terminator == before:  # the callback has not set another
        channel.terminator = before - size


def _deliver_up_to(channel: Any, terminator: Any) -> bool:
    """Deliver the payload that ends at *terminator*, or the part that has come; return whether more may follow."""
    size = len(channel.ac_in_buffer)
    end = channel.ac_in_buffer.find(terminator)
    if end >= 0:
        _collect(channel, end, end + len(terminator))
        channel.found_terminator()
        return True
    end = size - find_prefix_at_end(channel.ac_in_buffer, terminator)
    _collect(channel, end)
    return bool(end == size)


def queue_of(channel: Any) -> OutputQueue:
    """Return the OutputQueue of *channel*, or a new one over its attribute ``producer_fifo`` if it has none."""
    try:
        queue: OutputQueue = channel._ac_output
    except AttributeError:
        queue = OutputQueue()
        queue.items = channel.producer_fifo
        queue.known = True
    return queue
