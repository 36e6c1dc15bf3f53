"""How a sender brings bytes to the head of the queue: it calls producers, cuts, encodes and joins."""

from typing import Any

from .output_queue import OutputQueue
from .producers import FileChanged, OnSent, file_producer
from .transport import BYTES_LIKE, wants_read, would_block

__all__ = ["cut", "note_that_something_waits", "send_failed", "send_head", "sent_something"]

_JOINED_MOST = 1024  # items that are joined, to be sent at once


def cut(data: Any, size: float) -> list[Any]:
    """Return *data* (bytes-like) in pieces of at most *size* bytes: itself, if it is not longer."""
    if size < 1:
        raise ValueError(f"with an ac_out_buffer_size of {size}, nothing could be sent")
    if isinstance(data, memoryview):
        data = _flat(data)
    if len(data) <= size:
        return [data] if data else []
    return [data[at : at + int(size)] for at in range(0, len(data), int(size))]


def _flat(view: memoryview) -> Any:
    """Return *view*, of any format and strides, as a view of single bytes, or as bytes if it is not contiguous."""
    if view.nbytes == len(view) and view.c_contiguous:
        return view
    return view.cast("B") if view.c_contiguous else view.tobytes()


def send_head(channel: Any, queue: OutputQueue) -> bool:
    """Send once from *queue*, which the caller has entered, and leave it; return whether something is left to do."""
    try:
        data = _next_bytes(channel, queue, int(channel.ac_out_buffer_size))
        if data:
            _send(channel, queue, data)
    except BaseException:
        queue.end(None, 0)
        note_that_something_waits(channel)
        raise
    return queue.end(None, 0)


def _send(channel: Any, queue: OutputQueue, data: Any) -> None:
    head = queue.items[0]
    try:
        sent = channel.send(data)
    except OSError as error:
        send_failed(channel, error)
        return
    if sent:
        _replace_head(queue, head, head[sent:])
        queue.sends += 1
        sent_something(channel)


def send_failed(channel: Any, error: OSError) -> None:
    """Act upon *error*, which ``send()`` has raised: wait if it means "not now", else call ``handle_error()``."""
    if not would_block(error):
        channel.handle_error()
    elif wants_read(error) and hasattr(type(channel), "_ac_block_sending"):
        channel._ac_block_sending()


def sent_something(channel: Any) -> None:
    """End the wait of an SSLSocket that could not send before, as it has sent now."""
    if getattr(channel, "_ac_blocked", None) == "received":
        channel._ac_unblock()


def note_that_something_waits(channel: Any) -> None:
    """Make ``writable()`` look at the queue, if *channel* is a Conversation."""
    if hasattr(type(channel), "_ac_wait_to_send"):
        channel._ac_wait_to_send()


def _next_bytes(channel: Any, queue: OutputQueue, size: int) -> Any:
    """Bring bytes to the head of *queue*, and return at most *size* of them, ``b""`` if there are none to send now."""
    while queue and channel.connected:
        head = queue.items[0]
        if head is None:
            _replace_head(queue, head)
            channel.handle_close()
            break
        if isinstance(head, str) and channel.use_encoding:
            _replace_head(queue, head, head.encode(channel.encoding))
        elif isinstance(head, BYTES_LIKE):
            flat = _flat(head) if isinstance(head, memoryview) else head
            if flat is not head or not head:
                _replace_head(queue, head, flat)
            elif queue.joins and len(queue) > 1 and len(head) <= size:
                return _join(queue, size)
            else:
                return head[:size]
        elif isinstance(head, str):
            return head  # send() raises for a str, as in asynchat
        elif not hasattr(head, "more"):
            _replace_head(queue, head, _flat(memoryview(head)))  # another object with a buffer, such as an array
        elif _ask(channel, queue, head):
            break
    return b""


def _ask(channel: Any, queue: OutputQueue, producer: Any) -> bool:
    """Put the next piece of *producer* before it in the queue; return True if nothing else must be sent now.

    So it is if a part of a file was sent without ``send()``, or the channel was closed.
    """
    try:
        if _is_for_sendfile(producer) and _send_file(channel, queue, producer):
            if not producer.remaining:
                _end_file(queue, producer)
            return True
        data = producer.more()
    except FileChanged as error:
        channel.log_info(f"closing {channel!r}: {error}", "error")
        channel.handle_close()
        return True
    if data:
        queue.items.appendleft(data)
    else:
        _replace_head(queue, producer)
    return False


def _is_for_sendfile(producer: Any) -> bool:
    """Return whether *producer* has bytes of a file that the system may read, rather than ``more()``."""
    if not isinstance(producer, file_producer) or type(producer).more is not file_producer.more:
        return False
    return producer.fileno is not None and bool(producer.remaining)


def _send_file(channel: Any, queue: OutputQueue, producer: file_producer) -> bool:
    """Send a part of a file by ``os.sendfile()`` or the like; return False if it must be read and sent instead."""
    if not hasattr(type(channel), "_ac_send_file"):
        return False
    producer.check()
    sent = channel._ac_send_file(producer.fileno, producer.offset, producer.remaining)
    if sent is None:
        return False
    if sent >= 0:
        producer.advance(sent)
        queue.sends += 1
    return True


def _end_file(queue: OutputQueue, producer: file_producer) -> None:
    """Remove *producer*, all of which was sent, and call the OnSent behind it, for which no event has to come."""
    producer.close()
    _replace_head(queue, producer)
    if queue and isinstance(on_sent := queue.items[0], OnSent):
        _replace_head(queue, on_sent)
        on_sent.more()


def _replace_head(queue: OutputQueue, head: Any, rest: Any = b"") -> None:
    """Replace *head* by *rest*, unless a callback has emptied the queue meanwhile."""
    items = queue.items
    if items and items[0] is head:
        if rest:
            items[0] = rest
        else:
            del items[0]


def _join(queue: OutputQueue, size: int) -> bytes:
    """Join the bytes at the head of *queue*, up to *size* of them, to one item, and return it.

    If a producer follows, its first piece is joined, too, so that the head of a message and its body are sent together.
    """
    items, total = queue.items, 0
    parts: list[Any] = []
    while items and len(parts) < _JOINED_MOST and isinstance(items[0], BYTES_LIKE):
        part = _flat(items[0]) if isinstance(items[0], memoryview) else items[0]
        if total + len(part) > size:
            break
        parts.append(part)
        total += len(part)
        del items[0]
    joined = b"".join(parts)
    items.appendleft(joined)
    if len(items) > 1 and total < size and hasattr(items[1], "more") and not isinstance(items[1], OnSent):
        return _with_first_piece(queue, joined, size - total)
    return joined


def _with_first_piece(queue: OutputQueue, joined: bytes, room: int) -> bytes:
    """Add to *joined*, the head of *queue*, at most *room* bytes of the next piece of the producer behind it."""
    items = queue.items
    producer = items[1]
    if _is_for_sendfile(producer) and producer.remaining > room:
        # Leave the file to os.sendfile().  The rest of a joined piece would stay at the head, the next piece would be
        # joined to it, and so on: all of the file would be read and copied.
        return joined
    try:
        data = producer.more()
    except FileChanged:
        return joined  # the producer raises it again when it is at the head
    if len(items) < 2 or items[0] is not joined or items[1] is not producer:  # the producer has changed the queue
        return b""
    if not data:
        del items[1]
    elif not isinstance(data, BYTES_LIKE):
        items.insert(1, data)
    else:
        if isinstance(data, memoryview):
            data = _flat(data)
        if data[room:]:
            items.insert(1, data[room:])
        joined = items[0] = joined + data[:room]
    return joined
