"""asynchat's class without a transport: it cuts and delivers received data, and queues and sends pushed data.

The class holds the two buffers, and has asynchat's methods.  Those that receive are functions of ``delivering``,
those that send of ``pushing``, and those for the interest of the channel of ``interest``.  Attributes that are not
asynchat's begin with ``_ac_``, because programs subclass this freely.  Attributes that the hot loops read have no
default on the class: CPython does not specialise the access to a name that is both on the class and on the object.
"""

from collections import deque
from typing import Any

from . import delivering, interest, options, pushing
from .borrowed import queue_of
from .descriptors import rebindable
from .events import EventBuffer
from .framing import InputBuffer, Terminator
from .output_queue import OutputQueue

__all__ = ["Conversation"]


def get_terminator(self: Any) -> bytes | int | None:
    """Return the terminator; an override of this method is asked before each payload."""
    return self.terminator  # type: ignore[no-any-return]


_get_terminator = get_terminator  # the class has an attribute of the same name


class Conversation:
    """Both halves of a conversation; ``async_chat`` is the one over sockets."""

    ac_in_buffer_size = 65536
    """The most bytes to receive at once (int)."""

    ac_out_buffer_size = 65536
    """The most bytes to send at once (int, at least 1)."""

    use_encoding = 0
    """Whether str is taken and encoded (bool): as a terminator, from ``recv()`` and from producers."""

    encoding = "latin-1"
    """The encoding for ``use_encoding`` (str)."""

    collect_views: bool = options.collect_views
    max_payload: int | None = options.max_payload
    coalesce_pushes: bool = options.coalesce_pushes
    output_high_water: int | None = options.output_high_water

    _ac_collect_views = _ac_coalesce_pushes = False
    _ac_max_payload: int | None = None
    _ac_output_high_water: int | None = None
    _ac_has_options = False  # an option was assigned on the object
    _ac_own_get_terminator: Any = None  # a function that the program has put on the object in the method's place
    _ac_blocked: str | None = None  # what a TLS socket needs before it can go on: "received" or "writable"
    _ac_paused = _ac_held = False

    def __init__(self) -> None:
        self._ac_prepared()  # only once: programs call __init__() again, for another map, and keep the terminator
        self.ac_in_buffer = b""
        self.incoming: list[bytes] = []  #: The parts of the present payload, for subclasses to use.
        if type(self).producer_fifo is not _producer_fifo or self._ac_output:
            self.producer_fifo = deque[object]()

    def _ac_prepare(self) -> None:
        """Make the two buffers; separate from ``__init__``, which a subclass need not call."""
        cls = type(self)
        self._ac_input = EventBuffer()
        self._ac_plain = False  # True if nothing is overridden or set that the fast paths ignore
        self._ac_waiting = cls.producer_fifo is not _producer_fifo  # writable() must look at the queue
        self._ac_unreadable = False  # readable() must look whether there is a reason not to read
        if not self._ac_waiting:
            self._ac_output = OutputQueue()
        self._ac_use_options()

    def _ac_prepared(self) -> None:
        try:
            object.__getattribute__(self, "_ac_input")  # does not call a __getattr__() of the program
        except AttributeError:
            self._ac_prepare()

    def _ac_use_options(self) -> None:
        """Adapt to the present values of the options."""
        cls = type(self)
        # Where the terminator must be looked up before each payload: the program's "method" or "attribute", or "".
        self._ac_asked = ""
        if self._ac_own_get_terminator is not None or cls.get_terminator is not _get_terminator:
            self._ac_asked = "method"
        elif cls.terminator is not _terminator or cls.ac_in_buffer is not _ac_in_buffer:
            self._ac_asked = "attribute"
        self._ac_holds_input = cls.ac_in_buffer is _ac_in_buffer
        self._ac_plain = (
            not self._ac_asked
            and not self._ac_has_options
            and cls.max_payload is options.max_payload
            and cls.collect_views is options.collect_views
            and cls.coalesce_pushes is options.coalesce_pushes
        )
        if not self._ac_plain:
            self._ac_give_options()
        if self.output_high_water is not None:
            self._ac_unreadable = True
        if self.coalesce_pushes:
            queue_of(self).joins = True

    def _ac_give_options(self) -> None:
        options.check_max_payload(self.max_payload)
        self._ac_input.set_options(self.max_payload or None, self.collect_views)

    def _ac_rebound(self) -> None:
        """Note that ``get_terminator()`` of this object was replaced, which ends the fast loop over the events."""
        self._ac_prepared()
        self._ac_use_options()
        self._ac_input.interrupt()

    def __copy__(self) -> Any:
        self.producer_fifo  # noqa: B018 - makes the deque, which both objects share
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._ac_prepare()
        for name in ("ac_in_buffer", "terminator", "producer_fifo"):
            if hasattr(self, name):
                setattr(twin, name, getattr(self, name))
        return twin

    # Receiving

    @property
    def ac_in_buffer(self) -> bytes:
        """The received bytes that are not delivered yet (bytes); may be assigned at any time, ``b""`` discards them.

        While ``collect_incoming_data()`` runs, its argument is still part of them.
        """
        return self._ac_input.unread

    @ac_in_buffer.setter
    def ac_in_buffer(self, data: Any) -> None:
        self._ac_prepared()
        self._ac_input.unread = data or b""

    @property
    def terminator(self) -> bytes | int | None:
        """The terminator as it was set; a number counts down.  AttributeError before one is set."""
        try:
            return self._ac_input.terminator  # type: ignore[return-value]  # any bytes-like object, too
        except AttributeError:
            name = type(self).__name__
            raise AttributeError(
                f"{name!r} object has no attribute 'terminator': call set_terminator() first"
            ) from None

    @terminator.setter
    def terminator(self, terminator: Any) -> None:
        self._ac_prepared()
        if not self._ac_plain:
            self._ac_give_options()
        try:
            self._ac_input.terminator = terminator
        except (TypeError, ValueError):  # asynchat raises later, when it needs the terminator
            self._ac_input.hold(terminator)

    @terminator.deleter
    def terminator(self) -> None:
        self.terminator  # noqa: B018 - raises if there is none
        self._ac_input.unset()

    get_terminator = rebindable(_get_terminator)

    def set_terminator(self, term: Terminator) -> None:
        """Set the terminator, which ends each payload; it holds from the next byte on.

        *term* is bytes-like; or a number of bytes (int), after which ``found_terminator()`` is called once and
        the terminator is 0; or None, 0 or empty: then the payload has no end, and ``found_terminator()`` is
        never called.  With ``use_encoding``, a str is encoded.
        ValueError for a negative number, TypeError for anything else.  Source: the asynchat documentation.
        """
        try:
            if self._ac_plain:
                self._ac_input.terminator = term
                return
        except (AttributeError, TypeError):  # AttributeError: a class borrows the method; TypeError: *term* is a str
            pass
        if isinstance(term, str) and self.use_encoding:
            term = term.encode(self.encoding)
        elif isinstance(term, str) and term:
            raise TypeError(f"terminator must be bytes, int or None, not str: {term!r}; or set use_encoding first")
        InputBuffer(term)  # raises if *term* is not valid
        self.terminator = term

    def collect_incoming_data(self, data: Any) -> None:
        """Take *data*, the payload or a part of it (bytes, or memoryview with ``collect_views``); define this."""
        raise NotImplementedError(f"{type(self).__name__} must define collect_incoming_data()")

    def found_terminator(self) -> None:
        """Act upon the complete payload: push, set another terminator, close; define this."""
        raise NotImplementedError(f"{type(self).__name__} must define found_terminator()")

    def _collect_incoming_data(self, data: Any) -> None:
        """Append *data* to ``incoming``; write ``collect_incoming_data = async_chat._collect_incoming_data``."""
        self.incoming.append(data)

    def _get_data(self) -> bytes:
        """Return the parts in ``incoming`` joined, and empty it."""
        data = b"".join(self.incoming)
        del self.incoming[:]
        return data

    def handle_overlong_payload(self: Any) -> None:
        """Act upon a payload that exceeds ``max_payload``, once for each: log and close, unless overridden.

        The rest of the payload is dropped, its terminator included, and ``found_terminator()`` is not called
        for it; a terminator that an override sets is for what follows.  An override that does not close should
        forget the parts that were collected before.
        """
        self.log_info(f"closing {self!r}: more than {self.max_payload} bytes without a terminator", "error")
        self.ac_in_buffer = b""
        self.handle_close()

    handle_read = delivering.handle_read
    _ac_receive = delivering.receive

    # Sending

    push = pushing.push
    push_with_producer = pushing.push_with_producer
    close_when_done = pushing.close_when_done
    initiate_send = pushing.initiate_send
    handle_write = pushing.handle_write

    producer_fifo: "deque[object]" = property(  # type: ignore[assignment]
        pushing.fetch_fifo,
        pushing.replace_fifo,
        doc="""What waits to be sent: a deque of bytes-like, producers, and None for the end; may be changed.""",
    )

    def discard_buffers(self) -> None:
        """Drop received bytes that are not collected, the parts in ``incoming``, and all that waits to be sent."""
        self.ac_in_buffer = b""
        del self.incoming[:]
        queue = queue_of(self)
        if queue:
            queue.items.clear()
        queue.forget_held()

    # Interest

    pause_reading = interest.pause_reading
    readable = interest.readable
    resume_reading = interest.resume_reading
    writable = interest.writable

    _ac_block_sending = interest.block_sending
    _ac_unblock = interest.unblock
    _ac_wait_to_send = interest.wait_to_send

    def _ac_report(self) -> None:
        """Report to the transport that ``readable()`` or ``writable()`` may have changed; here do nothing."""

    def _ac_read_pending(self) -> None:
        """Receive what the transport has buffered; called after a read of the full size.  Here do nothing."""

    _ac_is_sending = pushing.is_sending
    _ac_sent = pushing.sends

    def _ac_progress(self) -> Any:
        """Return a value that changes whenever bytes are received or sent."""
        return self._ac_input.fed, queue_of(self).sends


_producer_fifo, _terminator = Conversation.producer_fifo, Conversation.terminator
_ac_in_buffer = Conversation.ac_in_buffer
