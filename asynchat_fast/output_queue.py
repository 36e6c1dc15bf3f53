"""The output queue: items that wait to be sent; one sender at a time may enter it.

The class here is the specification of ``_output_queue.pyx``, member by member, and is used where that is not
compiled; the last lines choose.  It knows no transport, and makes no calls of the program.
"""

from collections import deque
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any, Literal

from ._compiled import is_wanted, report_missing

__all__ = ["COMPILED", "OutputQueue", "exchanging"]


# Held while a queue's deque is made, dropped or rearranged, as another thread may append to it meanwhile.  One for all
# queues; an RLock, because a signal handler may push within it.
exchanging = RLock()


class PlainOutputQueue:
    """Bytes, producers and None for the end, in the order in which they are sent.

    A sender calls ``begin()`` to enter, sends the bytes that it returns, and calls ``end()`` to leave.  A sender
    that begins meanwhile, on another thread or from within ``send()``, leaves the sending to the one inside.
    """

    __slots__ = ("_deque", "_gate", "_most", "_owed", "corked", "holder", "joins", "known", "sends")

    def __init__(self) -> None:
        self._deque: Any = None  # made when it is needed, because an empty one takes 760 bytes for each idle channel
        self._gate: list[None] = [None]  # holds a token while no sender is inside; taking it by pop() is atomic
        self.holder = 0  # the thread of the sender inside, by its identifier; 0 for none
        self._most = 0.0  # the size of the last begin(): a longer item must be cut before it is queued
        self._owed = False  # begin() was called while another sender was inside
        self.joins = False  # several items of bytes are joined, to be sent at once
        self.known = False  # the program has got the deque, and may change it at any time
        self.corked = 0  # 0, or 1 + the number of items put since cork()
        self.sends = 0  # how many times something was sent

    def __len__(self) -> int:
        return 0 if self._deque is None else len(self._deque)

    @property
    def owed(self) -> bool:
        """Whether ``begin()`` was called while another sender was inside, which must send for it, too (bool)."""
        return self._owed

    @property
    def items(self) -> Any:
        """The items (deque); to assign another deque replaces them."""
        with exchanging:
            if self._deque is None:
                self._deque = deque()
            return self._deque

    @items.setter
    def items(self, items: Any) -> None:
        self._deque = items

    def put(self, data: object) -> bool | None:
        """Queue *data*, if it is bytes that one ``send()`` may take; return True if it may be sent now.

        None if it waits for ``uncork()``.  False if it was not queued: the caller must check, cut and ``extend()``.
        """
        if self.known or type(data) is not bytes or not 0 < len(data) <= self._most:
            return False
        with exchanging:
            self.items.append(data)
        if self.corked:
            self.corked += 1
            return None
        return True

    def extend(self, items: list[Any]) -> bool:
        """Queue *items* unchanged; return whether they may be sent now (bool), or else wait for ``uncork()``."""
        with exchanging:
            for item in items:  # not extend(): a program's own deque may override append()
                self.items.append(item)
        if self.corked:
            self.corked += len(items)
        return not self.corked

    def begin(self, size: float) -> bytes | Literal[False] | None:
        """Enter, and return the bytes to send, at most *size*: the item at the head, or several that are now joined.

        None if nothing waits, or another sender is inside.  False if this has entered, but the head is no such item:
        the caller must bring bytes there.  ValueError for a *size* below 1.
        """
        if size < 1:
            raise ValueError(f"with an ac_out_buffer_size of {size}, nothing could be sent")
        self._most = size
        while True:
            self._owed = True  # before the attempt: a sender that leaves meanwhile looks at it after leaving
            try:
                self._gate.pop()
            except IndexError:
                return None
            self._owed = False
            self.holder = get_ident()
            if self:
                break
            self.holder = 0
            self._gate.append(None)
            if not self._owed:
                return None
        head = self.items[0]
        if type(head) is bytes and 0 < len(head) <= size:
            if not self.joins or len(self) < 2:
                return head
            return not self.known and self._join(size)
        return False

    def _join(self, most: float) -> bytes | Literal[False]:
        """Join the items at the head, up to *most* bytes, and return them; False if one of them is not bytes."""
        parts = []
        with exchanging:
            for item in self.items:
                if type(item) is not bytes:
                    return False
                most -= len(item)
                if most < 0:
                    break
                parts.append(item)
            for _ in parts:
                self.items.popleft()
            self.items.appendleft(b"".join(parts))
            joined: bytes = self.items[0]
            return joined

    def end(self, data: bytes | None, sent: int | None) -> bool:
        """Leave, after *sent* bytes of *data*, the item at the head, were sent; return whether something is left to do.

        *data* is None if the caller has updated the queue itself.
        """
        if data is not None and sent:
            rest = data[sent:]  # first, because it raises if *sent* is not an int
            self.sends += 1
            items = self.items
            if items and items[0] is data:  # it may have been discarded meanwhile
                if rest:
                    items[0] = rest
                else:
                    del items[0]
        with exchanging:
            if not self.known and not self._deque:
                self._deque = None
        self.holder = 0
        if not self._gate:
            self._gate.append(None)
        return self._owed or bool(self)

    def cork(self) -> bool:
        """Let items wait for ``uncork()``; return False if they do already."""
        if self.corked:
            return False
        self.corked = 1
        return True

    def uncork(self) -> int:
        """Let items be sent at once again; return the number of items put since ``cork()``."""
        held, self.corked = self.corked - 1, 0
        return max(held, 0)

    def forget_held(self) -> None:
        """Forget that items were put since ``cork()``: the caller has removed them."""
        self.corked = min(self.corked, 1)


COMPILED = False
"""Whether the queue is the compiled one (bool)."""

if TYPE_CHECKING:
    from ._output_queue import OutputQueue as OutputQueue
else:
    OutputQueue = PlainOutputQueue
    if is_wanted():
        try:
            from ._output_queue import OutputQueue

            COMPILED = True
        except ModuleNotFoundError as missing:
            report_missing(missing, f"{__package__}._output_queue")
