"""asynchat's rules over plain attributes, for objects whose terminator or input the compiled core cannot hold.

These are channels that override ``get_terminator()``, or have ``terminator`` or ``ac_in_buffer`` as
attributes of their own, and objects of other classes that borrow asynchat's methods.
"""

from math import inf
from typing import Any

from .framing import find_prefix_at_end
from .output_queue import OutputQueue

__all__ = ["deliver", "queue_of"]


def deliver(channel: Any, data: Any) -> None:
    """Append *data* (bytes-like, or str with ``use_encoding``) to ``ac_in_buffer``, and call back for what is there.

    ``get_terminator()`` is asked before each payload, and a number counts down in ``terminator``.
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
    """Hand out the input up to *end*, and drop it up to *resume*; while it is handed out it still stands there."""
    data = channel.ac_in_buffer
    if end:
        wants_views = hasattr(type(channel), "_ac_options") and channel.collect_views
        channel.collect_incoming_data(memoryview(data)[:end] if wants_views else bytes(data[:end]))
    channel.ac_in_buffer = channel.ac_in_buffer[end if resume is None else resume :]


def _deliver_counted(channel: Any, count: int) -> None:
    size = len(channel.ac_in_buffer)
    if size >= count:
        _collect(channel, count)
        channel.terminator = 0
        channel.found_terminator()
        return
    before = getattr(channel, "terminator", None)  # not always what get_terminator() returned
    _collect(channel, size)
    if channel.terminator == before:  # the callback has not set another
        channel.terminator = before - size


def _deliver_up_to(channel: Any, terminator: Any) -> bool:
    """Deliver what ends at *terminator*, or has come of it; tell whether to look further."""
    size = len(channel.ac_in_buffer)
    end = channel.ac_in_buffer.find(terminator)
    whole = end >= 0
    if not whole:
        end = size - find_prefix_at_end(channel.ac_in_buffer, terminator)
    resume = end + len(terminator) if whole else end
    if _exceeds_limit(channel, end, whole):
        channel.ac_in_buffer = channel.ac_in_buffer[resume:]
    else:
        _collect(channel, end, resume)
        if whole:
            channel.found_terminator()
    return bool(whole or end == size)


def _exceeds_limit(channel: Any, size: int, whole: bool) -> bool:
    """Tell whether *size* bytes more of the payload at hand are to be dropped, as it has more than ``max_payload``."""
    if not hasattr(type(channel), "_ac_carried") or not channel.max_payload:
        return False
    carried = channel._ac_carried + size
    channel._ac_carried = 0 if whole else carried
    if carried <= channel.max_payload:
        return False
    if carried < inf:  # the first time for this payload
        channel._ac_carried = 0 if whole else inf
        channel.handle_overlong_payload()
    return True


def queue_of(channel: Any) -> OutputQueue:
    """Return the OutputQueue of *channel*; for one that has none, one over its attribute ``producer_fifo``."""
    try:
        queue: OutputQueue = channel._ac_output
    except AttributeError:
        queue = OutputQueue()
        queue.items = channel.producer_fifo
        queue.known = True
    return queue
