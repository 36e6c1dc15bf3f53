"""What waits to be sent on a channel that comes back: a push, or a producer, leaves whole on one connection or not."""

from collections import deque
from collections.abc import Iterable
from typing import Any

from .output_queue import PlainOutputQueue, exchanging
from .producers import file_producer

__all__ = ["WholeQueue", "drop_begun", "drop_lost"]


_MANY = 64  # pushes, after which it is looked which of them have been sent

_append = deque.append


class WholeQueue(PlainOutputQueue):
    """An OutputQueue whose items know where a push, or a producer, begins; see ``drop_begun()``."""

    __slots__ = ("_own",)

    def __init__(self) -> None:
        super().__init__()
        self._own = _Items()  # the deque, unless the program has put another in its place

    @property
    def items(self) -> Any:
        """The items, as a deque; what is assigned takes their place."""
        items = self._deque
        if items is None:
            with exchanging:
                if self._deque is None:  # all has been sent
                    self._own.clear()
                    self._deque = self._own
                items = self._deque
        return items

    @items.setter
    def items(self, items: Any) -> None:
        self._deque = items

    def extend(self, items: list[Any]) -> bool:
        """Queue *items*, the pieces of a push or a single thing, and return whether they may be sent now."""
        with exchanging:
            may_send = super().extend(items)
            if isinstance(self.items, _Items):
                self.items.tie(len(items))
        return may_send


class _Items(deque[Any]):
    """Items of a queue, and besides them how long each push is that may still be among them.

    Lengths rather than items: those at the head are cut, joined and encoded as they leave.
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__()
        self.things: deque[Any] = deque()  # the bytes of a push (int), or a _Producer; sent ones are forgotten in time
        self.extend(items)

    def append(self, item: Any) -> None:
        """Append *item*."""
        things = self.things
        if type(item) is bytes:  # as nearly all are
            things.append(len(item))
        elif item is not None:
            item, thing = _taken(item)
            things.append(thing)
        _append(self, item)
        if len(things) > _MANY and len(things) > 4 * len(self):
            self.things = _whole(self, things)[0]

    def extend(self, items: Iterable[Any]) -> None:
        """Append each of *items*."""
        for item in items:
            self.append(item)

    def tie(self, count: int) -> None:
        """Have the last *count* items, all of them bytes, be one push."""
        if count > 1:
            self.things.append(sum(self.things.pop() for _ in range(count)))

    def clear(self) -> None:
        """Remove all."""
        super().clear()
        self.things.clear()


class _Producer:
    """A producer that counts the bytes which it has handed out, of those which it yields as producers, too."""

    def __init__(self, producer: Any) -> None:
        self._producers = [producer]
        self.item = self
        self.size = 0.0

    def more(self) -> Any:
        """Return what comes next, and nothing at the end."""
        while self._producers:
            data = self._producers[-1].more()
            if hasattr(data, "more"):
                self._producers.append(data)
            elif data:
                # A str becomes as many bytes as its encoding says: what yields one counts as begun.
                self.size += float("inf") if isinstance(data, str) else _size_of(data)
                return data
            else:
                self._producers.pop()
        return b""


class _File:
    """Counts the bytes that a file_producer has handed out, which stays what it is, for ``os.sendfile()``."""

    def __init__(self, producer: file_producer) -> None:
        self.item = producer
        self._begin = producer.offset

    @property
    def size(self) -> int:
        return self.item.offset - self._begin


def _taken(item: Any) -> tuple[Any, Any]:
    """Return what is to be queued for *item*, and what stands for it among the things."""
    if not hasattr(item, "more"):
        return item, _size_of(item)
    if isinstance(item, file_producer) and type(item).more is file_producer.more:
        return item, _File(item)
    producer = _Producer(item)
    return producer, producer


def _size_of(item: Any) -> int:
    return len(item) if isinstance(item, (bytes, str)) else memoryview(item).nbytes


def _whole(items: Iterable[Any], things: deque[Any]) -> tuple[deque[Any], float]:
    """Return those last *things* of which no byte has left *items*, and how many bytes there are of the one before."""
    left: float = sum(_size_of(item) for item in list(items) if item is not None and not hasattr(item, "more"))
    whole: deque[Any] = deque()
    for thing in reversed(things):
        size = thing if isinstance(thing, int) else thing.size
        if size > left:
            break
        left -= size
        whole.appendleft(thing)
    return whole, left


def drop_begun(queue: Any) -> None:
    """Drop from *queue* what is left of a push or a producer of which part was sent."""
    with exchanging:
        items = queue.items
        if not isinstance(items, _Items):
            return
        things, left = _whole(items, items.things)
        producers = {id(thing.item) for thing in things if not isinstance(thing, int)}
        rest = []
        for item in items:
            if hasattr(item, "more"):
                if id(item) in producers:
                    rest.append(item)
            elif item is None or not left:
                rest.append(item)
            else:
                size = _size_of(item)
                if queue.joins and size > left:  # pushes that were joined are cut where the next begins
                    rest.append(item[int(left) :])
                left = max(left - size, 0)
        items.clear()
        deque.extend(items, rest)
        items.things.extend(things)
    queue.corked = min(queue.corked, 1)


def drop_lost(queue: Any) -> None:
    """Drop from *queue* what belonged to a connection that is lost: what was begun, and every None.

    Of a deque that the program has put in the place of ours, the first item may have been begun, and is dropped.
    """
    drop_begun(queue)
    with exchanging:
        items = queue.items
        if items and not isinstance(items, _Items):
            del items[0]
        for index in range(len(items) - 1, -1, -1):
            if items[index] is None:
                del items[index]
