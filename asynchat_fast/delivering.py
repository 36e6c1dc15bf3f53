"""How a channel receives: read once, cut the data into payloads, and call the callbacks.

A short loop pulls events out of the input buffer.  Compiled code never calls back, so that a callback may do
anything: read, discard, close, change the terminator, raise.
"""

from typing import Any

from .borrowed import deliver
from .events import Interrupted
from .interest import block_receiving
from .pushing import uncork
from .transport import passing, wants_write, would_block

__all__ = ["handle_read", "receive"]


@passing
def handle_read(self: Any) -> None:
    """Receive once by ``self.recv()``, and deliver to the callbacks; the loop calls this."""
    size = self.ac_in_buffer_size
    try:
        data = self.recv(size)
    except OSError as error:
        _receive_failed(self, error)
        return
    try:
        plain = self._ac_plain
    except AttributeError:  # a class borrows the method
        deliver(self, data)
        return
    if not plain:
        self._ac_receive(data)
    else:
        try:
            for event in self._ac_input.feed(data):
                if event is None:
                    self.found_terminator()
                else:
                    self.collect_incoming_data(event)
        except Interrupted:
            _go_on(self)
        except BaseException:
            self._ac_input.undo()
            if not (isinstance(data, str) and self.use_encoding):
                raise
            self._ac_receive(data)
    if len(data) == size:
        self._ac_read_pending()


def receive(self: Any, data: Any) -> None:
    """Deliver *data* (bytes-like, or str with ``use_encoding``) to the callbacks, with all options in effect."""
    try:
        corked = self._ac_output if self.coalesce_pushes else None
    except AttributeError:  # the class has a queue of its own, and there is nothing to cork
        corked = None
    if corked is not None and not corked.cork():
        corked = None  # a call further up has corked it
    try:
        if type(data) is not bytes and isinstance(data, str) and self.use_encoding:
            data = data.encode(self.encoding)
        if self._ac_asked:
            _deliver_asked(self, data)
            return
        for event in self._ac_input.feed(data):
            if event is None:
                self.found_terminator()
            else:
                self.collect_incoming_data(event)
    except Interrupted:
        _go_on(self)
    except BaseException:
        self._ac_input.undo()
        raise
    finally:
        if corked is not None:
            uncork(self, corked)


def _deliver_asked(self: Any, data: Any) -> None:
    """Deliver *data* (bytes-like), and look the terminator up before each payload; a number counts down on *self*."""
    if not self._ac_holds_input:
        deliver(self, data)
        return
    buffer = self._ac_input.feed(data)
    while buffer:
        terminator = self.get_terminator() if self._ac_asked == "method" else self.terminator
        count = terminator if type(terminator) is not bytes and isinstance(terminator, int) else 0
        before = getattr(self, "terminator", None) if count else None  # an override may have returned another value
        payload = buffer.ask(terminator)
        if payload is not None:
            self.collect_incoming_data(payload)
        ended = buffer.settle()
        if ended:
            if count:
                self.terminator = 0
            self.found_terminator()
        elif ended is False:
            return
        elif count and self.terminator == before:  # the callback has not set another
            self.terminator = before - len(payload)


def _go_on(self: Any) -> None:
    """Act upon an Interrupted in place of an event, and deliver the rest."""
    buffer = self._ac_input
    try:
        if buffer.overlong:
            buffer.overlong = False
            self.handle_overlong_payload()
        elif not self._ac_asked:
            deliver(self, b"")  # the terminator cannot be searched for, or is not set
        if self._ac_asked:
            buffer.interrupt()  # a loop over the events, within which this read has begun, must ask from now on, too
            _deliver_asked(self, b"")
            return
        for event in buffer:
            if event is None:
                self.found_terminator()
            else:
                self.collect_incoming_data(event)
    except Interrupted:
        _go_on(self)
    except BaseException:
        buffer.undo()
        raise


def _receive_failed(channel: Any, error: OSError) -> None:
    if not would_block(error):
        channel.handle_error()
    elif wants_write(error) and hasattr(type(channel), "_ac_block_sending"):
        block_receiving(channel)
