"""The output queue of a client's channel: after a loss, it drops what is left of a push or a producer sent in part.

So the next connection begins with a whole push, never in the middle of one.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from .output_queue import PlainOutputQueue, exchanging
from .producers import file_producer

__all__ = ["WholeQueue", "drop_begun", "drop_lost"]


_MANY = 64  # pushes on record, from which on those that have been sent are forgotten

_append = deque.append


class WholeQueue(PlainOutputQueue):
    """An OutputQueue that knows where each push or producer among its items begins; see ``drop_begun()``."""

    __slots__ = ("_own",)

    def __init__(self) -> None:
        super().__init__()
        self._own = _Items()  # the deque, unless the program has put another in its place

    @property
    def items(self) -> Any:
        """The items (deque); to assign another deque replaces them."""
        items = self._deque
        if items is None:
            with exchanging:
                if self._deque is None:  # the items have all been sent
                    self._own.clear()
                    self._deque = self._own
                items = self._deque
        return items

    @items.setter
    def items(self, items: Any) -> None:
        self._deque = items

    def extend(self, items: list[Any]) -> bool:
        """Queue *items*, the pieces of one push, or a single item; return whether they may be sent now (bool)."""
        with exchanging:
            may_send = super().extend(items)
            if isinstance(self.items, _Items):
                self.items.tie(len(items))
        return may_send


class _Items(deque[Any]):
    """The items of a queue, and in ``records`` the pushes and producers that they come from.

    A push is recorded by its length, since its items are cut, joined and encoded before they are sent.
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__()
        # For each push its length in bytes (int), for each producer a _Producer or _File; the first may have been sent.
        self.records: deque[Any] = deque()
        self.extend(items)

    def append(self, item: Any) -> None:
        """Append *item*."""
        records = self.records
        if type(item) is bytes:  # as nearly all are
            records.append(len(item))
        elif item is not None:
            item, record = _recorded(item)
            records.append(record)
        _append(self, item)
        if len(records) > _MANY and len(records) > 4 * len(self):
            self.records = _whole(self, records)[0]

    def extend(self, items: Iterable[Any]) -> None:
        """Append each of *items*."""
        for item in items:
            self.append(item)

    def tie(self, count: int) -> None:
        """Record the last *count* items, all of them bytes, as one push."""
        if count > 1:
            self.records.append(sum(self.records.pop() for _ in range(count)))

    def clear(self) -> None:
        """Remove all."""
        super().clear()
        self.records.clear()


class _Producer:
    """Wraps *producer*, and counts the bytes that it has handed out, itself or by producers that it returns."""

    def __init__(self, producer: Any) -> None:
        self._producers = [producer]
        self.item = self
        self.size = 0.0

    def more(self) -> Any:
        """Return the next data, ``b""`` at the end."""
        while self._producers:
            data = self._producers[-1].more()
            if hasattr(data, "more"):
                self._producers.append(data)
            elif data:
                # The queue encodes a str later, so that its size is not known: count the producer as begun.
                self.size += float("inf") if isinstance(data, str) else _size_of(data)
                return data
            else:
                self._producers.pop()
        return b""


class _File:
    """Counts the bytes that a file_producer has handed out; a wrapper instead would prevent ``os.sendfile()``."""

    def __init__(self, producer: file_producer) -> None:
        self.item = producer
        self._begin = producer.offset

    @property
    def size(self) -> int:
        return self.item.offset - self._begin


def _recorded(item: Any) -> tuple[Any, Any]:
    """Return the object to queue for *item*, and its entry in ``records``."""
    if not hasattr(item, "more"):
        return item, _size_of(item)
    if isinstance(item, file_producer) and type(item).more is file_producer.more:
        return item, _File(item)
    producer = _Producer(item)
    return producer, producer


def _size_of(item: Any) -> int:
    return len(item) if isinstance(item, (bytes, str)) else memoryview(item).nbytes


def _whole(items: Iterable[Any], records: deque[Any]) -> tuple[deque[Any], float]:
    """Return those of *records* of which no byte was sent, and how many unsent bytes there are of the one before them.

    *items* are the items still in the queue.
    """
    left: float = sum(_size_of(item) for item in list(items) if item is not None and not hasattr(item, "more"))
    whole: deque[Any] = deque()
    for record in reversed(records):
        size = record if isinstance(record, int) else record.size
        if size > left:
            break
        left -= size
        whole.appendleft(record)
    return whole, left


def drop_begun(queue: Any) -> None:
    """Drop from *queue* the rest of a push or a producer that was sent in part."""
    with exchanging:
        items = queue.items
        if not isinstance(items, _Items):
            return
        records, left = _whole(items, items.records)
        producers = {id(record.item) for record in records if not isinstance(record, int)}
        rest = []
        for item in items:
            if hasattr(item, "more"):
                if id(item) in producers:
                    rest.append(item)
            elif item is None or not left:
                rest.append(item)
            else:
                size = _size_of(item)
                if queue.joins and size > left:  # several pushes were joined to this item: keep it from the next one on
                    rest.append(item[int(left) :])
                left = max(left - size, 0)
        items.clear()
        deque.extend(items, rest)
        items.records.extend(records)
    queue.forget_held()


def drop_lost(queue: Any) -> None:
    """Drop from *queue* what belonged to a lost connection: a push or producer sent in part, and every None.

    If the program has put a deque of its own there, the first item is dropped, as part of it may have been sent.
    """
    drop_begun(queue)
    with exchanging:
        items = queue.items
        if items and not isinstance(items, _Items):
            del items[0]
        for index in range(len(items) - 1, -1, -1):
            if items[index] is None:
                del items[index]
