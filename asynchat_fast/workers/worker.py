"""``Worker``: a worker process as its parent knows it, and the one place where its state changes."""

import contextlib
import logging
import math
import os
import signal
import time
from enum import Enum

from .limits import LEAVING, Limits

__all__ = ["State", "Worker"]

_log = logging.getLogger("asynchat_fast.workers")
_TO_TELL_WHERE = 1.0  # seconds that a hung worker has to write where it hangs


class State(Enum):
    """What a worker does."""

    STARTING = "it has not been heard of yet"
    SERVING = "it has been heard of"
    LEAVING = "it finishes what it has begun, and another may take its place"
    HUNG = "it was not heard of for too long, and is killed once it has told where it hangs"
    KILLED = "it was to end, and was killed"


class Worker:
    """The process *pid*, which is heard through *pipe* (a descriptor) and serves the sockets of *slot* (int).

    *generation* counts the reloads before its start.
    """

    def __init__(self, pid: int, pipe: int, slot: int, generation: int, limits: Limits) -> None:
        self.pid = pid
        self.pipe: int | None = pipe
        self.slot = slot
        self.generation = generation
        self.state = State.STARTING
        self.started = time.monotonic()
        self._limits = limits
        self._due = math.inf  # when it is not left to itself any longer
        self._expect(limits.timeout)

    def __repr__(self) -> str:
        return f"worker {self.pid}"

    @property
    def has_slot(self) -> bool:
        """Tell whether the sockets of its slot are served by it, or soon will be."""
        return self.state in (State.STARTING, State.SERVING)

    def _expect(self, seconds: float | None) -> None:
        self._due = math.inf if seconds is None else time.monotonic() + seconds

    def seconds_left(self, now: float) -> float:
        """Return the seconds until ``look()`` has something to do."""
        return max(self._due - now, 0.0)

    def excuse(self, seconds: float) -> None:
        """Leave it to itself for so many *seconds* more."""
        self._due += seconds

    def hear(self) -> bool:
        """Take in what it says; tell whether more may come."""
        said = b"" if self.pipe is None else os.read(self.pipe, 4096)
        if said and self.has_slot:
            self.state = State.SERVING
            self._expect(self._limits.timeout)
            if LEAVING in said:
                self._leave()
        return bool(said)

    def close_pipe(self) -> None:
        """Hear it no more; should it go on, it notices that it has a successor, or no parent."""
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None

    def _leave(self) -> None:
        self.state = State.LEAVING
        self._expect(self._limits.to_end)

    def end(self) -> None:
        """Have it finish, if it does not already."""
        if self.has_slot:
            self._leave()
            self.send(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.state = State.KILLED
        self._expect(None)
        self.send(signal.SIGKILL)

    def look(self, now: float) -> bool:
        """Do what is due at *now*; tell whether it had to be killed though it was told to end."""
        if now < self._due:
            return False
        if self.state is State.LEAVING:
            _log.error("%r has not ended in %g seconds, and is killed", self, self._limits.to_end)
            self.kill()
            return True
        if self.state is State.HUNG:
            self._expect(None)
            self.send(signal.SIGKILL)
            return False
        _log.error("%r hangs: it has not been heard of for %g seconds", self, self._limits.timeout)
        self.state = State.HUNG
        self._expect(_TO_TELL_WHERE)
        self.send(signal.SIGABRT)
        return False

    def send(self, number: int) -> None:
        """Send it the signal *number*."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def ended(self) -> str | None:
        """Return how it has ended, in words, "" if as it should; None if it runs.  It is to be forgotten then."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else has waited for it
            return "ended"
        if not pid:
            return None
        code = os.waitstatus_to_exitcode(status)
        if self.state is State.KILLED or (self.state is State.LEAVING and code in (0, -signal.SIGTERM)):
            return ""
        if code >= 0:
            return f"ended with status {code}"
        return f"was ended by signal {-code} ({signal.strsignal(-code)})"
