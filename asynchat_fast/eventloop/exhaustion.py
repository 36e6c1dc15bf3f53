"""Exhaustion: when descriptors or memory have run out, an acceptor pauses, and connections wait in the backlog."""

import errno
import time
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["EXHAUSTED", "PAUSE", "Pause", "pauses"]

EXHAUSTED = frozenset(getattr(errno, name) for name in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"))
"""The errno values that mean it."""

PAUSE = 1.0
"""The seconds of a pause."""


class Pause:
    """A time in which the loop does not wait for a channel's events."""

    def __init__(self) -> None:
        self._until = 0.0  # seconds of time.monotonic()
        self._is_logged = False

    def begin(self) -> None:
        """Pause from now on."""
        self._until = time.monotonic() + PAUSE

    def begin_for(self, acceptor: Any, error: OSError) -> None:
        """Pause *acceptor*, whose ``accept()`` has raised *error*, and log it once until ``end()``."""
        self.begin()
        if not self._is_logged:
            self._is_logged = True
            reason = error.strerror or error
            acceptor.log_info(f"{acceptor!r} leaves connections waiting for a while: {reason}", "error")

    def seconds_left(self) -> float:
        """Return the seconds that the pause still lasts, 0.0 if it is over."""
        return max(self._until - time.monotonic(), 0.0) if self._until else 0.0

    def end(self) -> None:
        """End the pause, because accepting has succeeded; the next pause is logged again."""
        self._until, self._is_logged = 0.0, False


pauses: "WeakKeyDictionary[Any, Pause]" = WeakKeyDictionary()
"""The pauses of acceptors that are not a chat_server, which has its own; kept from one ``loop()`` to the next."""
