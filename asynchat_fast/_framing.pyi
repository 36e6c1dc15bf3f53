"""Cut a stream of octets into payloads at a terminator."""

from collections.abc import Iterator
from typing import AnyStr, final

from typing_extensions import Buffer

def find_prefix_at_end(haystack: AnyStr | bytearray, needle: AnyStr | bytearray) -> int: ...

@final
class InputBuffer(Iterator[bytes]):
    """Received octets, and a cursor that moves from payload to payload.

    Feed it what arrives, iterate over the payloads that are complete, take what there is
    of the one that is not::

        self.input = InputBuffer(b"\\r\\n")
        ...
        self.input.feed(received)
        for payload in self.input:
            ...
        beginning = self.input.take_partial()

    It calls nobody and knows no sockets.  Anything may be done to it between two payloads.
    One thread at a time is to use it; several cannot corrupt memory, only the order.

    *terminator* is what ends a payload: octets (bytes-like), which are not part of it; or an int,
    the most octets that ``take_partial()`` gives; or None, 0 or empty: never.  A negative number is
    a ValueError and anything else a TypeError, when the terminator is needed first.
    *limit* is the most octets of a payload that ends at octets, None for any number.
    *views* makes the payloads memoryviews of what was fed, instead of bytes.
    Source: the asynchat documentation, for the meaning of terminators.
    """

    overlong: bool
    """Whether a payload has exceeded the limit: its octets are dropped, up to and including its terminator.

    Set by ``take_partial()``, to be reset by who acts upon it.
    """

    @property
    def taken(self) -> int:
        """How many octets the last payload took, with its terminator; 0 after what is unread has been replaced."""

    @property
    def fed(self) -> int:
        """How many times ``feed()`` has been called."""

    def __init__(self, terminator: object = None, limit: int | None = None, views: bool = False) -> None: ...
    def set_terminator(self, terminator: object, limit: int | None = None, views: bool = False) -> None:
        """Cut at *terminator* from now on."""

    @property
    def terminator(self) -> object:
        """The terminator as it was set."""

    def __len__(self) -> int:
        """Return the number of octets not taken yet."""

    @property
    def unread(self) -> bytes:
        """The octets not taken yet; may be assigned (bytes-like) at any time, ``b""`` to discard them."""

    @unread.setter
    def unread(self, octets: Buffer) -> None: ...
    @property
    def untaken(self) -> bytes:
        """``unread`` as it was before the last payload was taken."""

    def feed(self, octets: Buffer) -> None:
        """Append *octets*, whose object is kept without a copy if it is bytes and nothing is unread.

        Take what ``take_partial()`` gives before feeding again: what stays is copied each time.
        """

    def __iter__(self) -> InputBuffer: ...
    def __next__(self) -> bytes:
        """Take the next payload whose terminator is there, maybe an empty one; None is for a numeric terminator."""

    def take_partial(self) -> bytes:
        """Take what has come of a payload that is not complete, without what may be the beginning of the terminator.

        With a numeric terminator at most that number of octets, without a terminator all there
        are: if that is all that was fed, the very object.  Empty while a payload is complete.
        """

    def put_back(self) -> None:
        """Undo the last taking, if nothing has been fed or assigned since, and not all been taken."""

    def skip(self, count: int) -> None:
        """Take the next *count* octets, or as many as there are, for nothing."""
