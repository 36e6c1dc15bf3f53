"""Exhaustion: when descriptors or memory have run out, an acceptor leaves connections waiting, and tries again."""

import errno
import time
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["EXHAUSTED", "PAUSE", "Pause", "pauses"]

EXHAUSTED = frozenset(getattr(errno, name) for name in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"))
"""The numbers of the errors that mean it."""

PAUSE = 1.0
"""Seconds without accepting."""


class Pause:
    """A time during which a channel is not served."""

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
        """Return how long the pause goes on, 0 if it is over."""
        return max(self._until - time.monotonic(), 0.0)

    def end(self) -> None:
        """Serve again, since accepting has succeeded; the next pause is logged again."""
        self._until, self._is_logged = 0.0, False


pauses: "WeakKeyDictionary[Any, Pause]" = WeakKeyDictionary()
"""Of acceptors that know nothing of them, kept from one ``loop()`` to the next."""
