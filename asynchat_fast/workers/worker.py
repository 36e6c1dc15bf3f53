"""``Worker``: the parent's side of a worker process, and the only place where its state changes."""

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
_TO_TELL_WHERE = 1.0  # seconds for a hung worker to write its stack, before it is killed


class State(Enum):
    """The state of a worker."""

    STARTING = "it has sent no beat yet"
    SERVING = "it sends beats"
    LEAVING = "it finishes its requests, and a new worker may have its slot"
    HUNG = "its beats did not come in time: it writes its stack, and is killed"
    KILLED = "it was to end, and was killed"


class Worker:
    """The worker process *pid* (int), which writes its beats to *pipe* (a descriptor), and serves *slot* (int).

    *generation* (int) is the number of reloads before its start.
    """

    def __init__(self, pid: int, pipe: int, slot: int, generation: int, limits: Limits) -> None:
        self.pid = pid
        self.pipe: int | None = pipe
        self.slot = slot
        self.generation = generation
        self.state = State.STARTING
        self.started = time.monotonic()
        self._limits = limits
        self._due = math.inf  # the time.monotonic() at which look() must act, unless the worker is heard before
        self._expect(limits.timeout)

    def __repr__(self) -> str:
        return f"worker {self.pid}"

    @property
    def has_slot(self) -> bool:
        """Whether it serves the sockets of its slot, or soon will (bool)."""
        return self.state in (State.STARTING, State.SERVING)

    def _expect(self, seconds: float | None) -> None:
        self._due = math.inf if seconds is None else time.monotonic() + seconds

    def seconds_left(self, now: float) -> float:
        """Return the seconds until ``look()`` has something to do."""
        return max(self._due - now, 0.0)

    def excuse(self, seconds: float) -> None:
        """Put off ``look()`` by *seconds*, in which the worker may have been stopped."""
        self._due += seconds

    def hear(self) -> bool:
        """Read its messages from the pipe, and act upon them; return False at the end of the pipe."""
        said = b"" if self.pipe is None else os.read(self.pipe, 4096)
        if said and self.has_slot:
            self.state = State.SERVING
            self._expect(self._limits.timeout)
            if LEAVING in said:
                self._leave()
        return bool(said)

    def close_pipe(self) -> None:
        """Close the pipe, by which the worker notices, if it goes on, that it was replaced or has no parent."""
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None

    def _leave(self) -> None:
        self.state = State.LEAVING
        self._expect(self._limits.to_end)

    def end(self) -> None:
        """Tell it to end gracefully, unless it was told before."""
        if self.has_slot:
            self._leave()
            self.send(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        self.state = State.KILLED
        self._expect(None)
        self.send(signal.SIGKILL)

    def look(self, now: float) -> bool:
        """Act if the time *now* is past a limit; return whether it was killed because it did not end when told to."""
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
        """Send the signal *number* to it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def ended(self) -> str | None:
        """Return None while it runs; else how it has ended, for the log (str), "" if it has ended as it should."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # other code of this process has waited for it
            return "ended"
        if not pid:
            return None
        code = os.waitstatus_to_exitcode(status)
        if self.state is State.KILLED or (self.state is State.LEAVING and code in (0, -signal.SIGTERM)):
            return ""
        if code >= 0:
            return f"ended with status {code}"
        return f"was ended by signal {-code} ({signal.strsignal(-code)})"
