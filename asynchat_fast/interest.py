"""Interest: ``readable()`` and ``writable()``, and the functions that change their results.

These are functions of any object, as those of ``pushing`` are.  For an idle channel, each looks at one flag
only, because asyncore's loop calls both of every channel in every pass.
"""

from contextlib import suppress
from functools import partial
from typing import Any

from .borrowed import queue_of
from .transport import BYTES_LIKE, reporting

__all__ = [
    "block_receiving",
    "block_sending",
    "hold_reading",
    "pause_reading",
    "readable",
    "resume_reading",
    "unblock",
    "wait_to_send",
    "writable",
]


@reporting
def readable(self: Any) -> bool:
    """Return whether to receive (bool): not while reading is paused, or more than ``output_high_water`` bytes wait."""
    try:
        return not self._ac_unreadable or _may_read(self)
    except AttributeError:
        if hasattr(self, "_ac_unreadable"):
            raise
        return True  # a class borrows the method


@reporting
def writable(self: Any) -> bool:
    """Return whether something waits to be sent, or the channel is not connected yet (bool)."""
    try:
        return (self._ac_waiting and _may_send(self)) or not self.connected
    except AttributeError:
        if hasattr(self, "_ac_waiting"):
            raise
        return bool(self.producer_fifo) or not self.connected  # a class borrows the method


def _may_read(self: Any) -> bool:
    if self._ac_paused or self._ac_held or self._ac_blocked == "writable":
        return False
    most = self.output_high_water
    if most is None:
        self._ac_unreadable = False
        return True
    waiting = 0
    for item in list(queue_of(self).items):  # other threads may push meanwhile
        # A producer counts as the bytes that it may add to the queue at once.
        waiting += len(item) if isinstance(item, BYTES_LIKE) else self.ac_out_buffer_size
    return bool(waiting <= most)


def _may_send(self: Any) -> bool:
    if self._ac_blocked:
        return bool(self._ac_blocked == "writable")
    self._ac_waiting = False  # before looking at the queue: another thread may push meanwhile
    queue = queue_of(self)
    waits = bool(queue)
    if waits or queue.known:
        self._ac_waiting = True
    return waits


def wait_to_send(self: Any) -> None:
    """Make ``writable()`` look at the queue, and report that it may have changed."""
    self._ac_waiting = True
    self._ac_report()


def pause_reading(self: Any) -> None:
    """Receive nothing until ``resume_reading()`` is called."""
    self._ac_paused = True
    self._ac_unreadable = True
    self._ac_report()


def resume_reading(self: Any) -> None:
    """Receive again after ``pause_reading()``."""
    self._ac_paused = False
    self._ac_report()


def hold_reading(self: Any, held: bool) -> None:
    """Receive nothing while *held*, for a protocol's own reasons, whatever the program pauses and resumes."""
    self._ac_held = held
    if held:
        self._ac_unreadable = True
    self._ac_report()


# For an SSLSocket that cannot go on: ``_ac_blocked`` names what has to happen first, "received" or "writable".  While
# it is set, the object has an event handler of ours, which ends the wait even if the program overrides its handlers.


def block_sending(self: Any) -> None:
    """Send nothing until something has been received."""
    unblock(self)
    self._ac_blocked = "received"
    self.handle_read_event = partial(_read_event, self)


def block_receiving(self: Any) -> None:
    """Receive nothing until the transport is writable."""
    unblock(self)
    self._ac_blocked = "writable"
    self._ac_unreadable = True
    self.handle_write_event = partial(_write_event, self)
    wait_to_send(self)


def unblock(self: Any) -> None:
    """End the wait, because the event has happened, or the channel has another socket."""
    blocked, self._ac_blocked = self._ac_blocked, None
    if blocked is not None:
        with suppress(AttributeError):  # the program has removed it
            delattr(self, "handle_read_event" if blocked == "received" else "handle_write_event")
        wait_to_send(self)


def _read_event(self: Any) -> None:
    unblock(self)
    self.handle_read_event()
    self.initiate_send()


def _write_event(self: Any) -> None:
    unblock(self)
    self.handle_write_event()
    self.handle_read()
