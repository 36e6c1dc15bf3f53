"""The queue of what waits to be sent, which one sender at a time may enter.

The class here is the specification of ``_output_queue.pyx``, member by member, and what runs where
that is not compiled; the last lines choose.  It knows no transport and calls nobody.
"""

from collections import deque
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any, Literal

from ._compiled import is_wanted, report_missing

__all__ = ["COMPILED", "OutputQueue", "exchanging"]


exchanging = RLock()  # a deque, while another thread may fill it; a signal handler may push, too


class PlainOutputQueue:
    """Bytes, producers and None for the end, in the order in which they are to leave.

    A sender calls ``begin()`` to enter, sends the bytes that it returns, and calls ``end()`` to leave.  A sender
    that begins meanwhile, on another thread or from within ``send()``, leaves the sending to the one inside.
    """

    __slots__ = ("_deque", "_gate", "_most", "_owed", "corked", "holder", "joins", "known", "sends")

    def __init__(self) -> None:
        self._deque: Any = None  # made when it is needed, as an empty one takes 760 bytes of an idle channel
        self._gate: list[None] = [None]  # holds a token while nobody is inside; taking it is atomic
        self.holder = 0  # the thread that is inside, by its identifier
        self._most = 0.0  # bytes that the last sender was allowed to send at once
        self._owed = False  # somebody has begun while another was inside
        self.joins = False  # several items of bytes leave as one
        self.known = False  # the program has the deque, and may change it at any time
        self.corked = 0  # 0, or 1 + the number of items put since cork()
        self.sends = 0  # how often something was sent

    def __len__(self) -> int:
        return 0 if self._deque is None else len(self._deque)

    @property
    def owed(self) -> bool:
        """Whether somebody has begun while another was inside, and left the sending to that one (bool)."""
        return self._owed

    @property
    def items(self) -> Any:
        """The items, as a deque; what is assigned takes their place."""
        with exchanging:
            if self._deque is None:
                self._deque = deque()
            return self._deque

    @items.setter
    def items(self, items: Any) -> None:
        self._deque = items

    def put(self, data: object) -> bool | None:
        """Queue *data*, and return True, if it is bytes to be sent in one piece; None: it waits for ``uncork()``.

        False: not queued, as the caller has to look at it first.
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
        """Queue *items* as they are, and return whether they may be sent now, or wait for ``uncork()``."""
        with exchanging:
            for item in items:  # a program's deque may count what is appended
                self.items.append(item)
        if self.corked:
            self.corked += len(items)
        return not self.corked

    def begin(self, size: float) -> bytes | Literal[False] | None:
        """Enter, and return the bytes to send: at most *size*, which are at the head of the queue, or now joined there.

        None: nothing waits, or somebody is inside.  False: entered, but the head must be looked at
        before something can be sent.  ValueError for a *size* below 1.
        """
        if size < 1:
            raise ValueError(f"with an ac_out_buffer_size of {size}, nothing could be sent")
        self._most = size
        while True:
            self._owed = True  # before the attempt: the sender inside looks at it after leaving
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
        """Make one item of those at the head, *most* bytes at most, and return it; False if another kind follows."""
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
        """Leave, with *sent* bytes of *data* gone, which stood at the head; return whether something is left to do.

        *data* is None if the head was looked at and has been dealt with.
        """
        if data is not None and sent:
            rest = data[sent:]  # before anything is changed: it raises for what is no number
            self.sends += 1
            items = self.items
            if items and items[0] is data:  # not discarded meanwhile
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
