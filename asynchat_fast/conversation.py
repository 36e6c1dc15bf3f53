"""The chat state machine, over any transport.

Octets come in by ``receive()``; they go out by ``send()``, which a transport provides, as it
does ``connected``, ``handle_close()``, ``handle_error()`` and ``log_info()``.  No socket is known
here.  State of our own has mangled names or begins with ``_ac_``: programs subclass this
freely, and their attributes must not meet ours.
"""

from .receiving import Receiving
from .sending import Sending

__all__ = ["Conversation"]


class Conversation(Receiving, Sending):
    """Both halves; ``async_chat`` is the one over sockets."""

    def __init__(self):
        Receiving.__init__(self)
        Sending.__init__(self)

    def __copy__(self):
        self.producer_fifo  # noqa: B018 - made by now, to be shared
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._unshare_input()
        return twin

    def _ac_progress(self):
        """Return what is different after octets were received or sent."""
        return self._ac_received(), self._ac_sent()

    def discard_buffers(self):
        """Drop all that was received and not collected, is in ``incoming``, or waits to be sent."""
        self.ac_in_buffer = b""
        del self.incoming[:]
        self._ac_discard_output()
