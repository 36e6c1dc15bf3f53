"""The parent of the workers: it starts, replaces and ends them, and serves nothing itself."""

import contextlib
import logging
import os
import selectors
import signal
import time
from collections.abc import Callable
from enum import Enum

from . import service_manager
from .caught_signals import CaughtSignals
from .child import Start, check_start, spawn
from .limits import Limits
from .pid_file import PidFile
from .slots import Slots
from .worker import State, Worker

__all__ = ["supervise"]

_log = logging.getLogger("asynchat_fast.workers")

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
_LONGEST_WAIT = 1.0  # seconds
_LATE = 0.5  # seconds of a pass besides its wait; if it took longer, this process was stopped
_STABLE = 10.0  # seconds after which the end of a worker counts as a new failure, not as one more in a row
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 30.0  # seconds before the next attempt, after several failures in a row
_ATTEMPTS = 3  # failures in a row, before any worker has served, after which the parent gives up

_KILLED = 1  # exit statuses
_NOT_STARTED = 3


def supervise(
    start: Start,
    limits: Limits,
    open_slots: Callable[[], Slots],
    open_pid_file: Callable[[], contextlib.AbstractContextManager[PidFile | None]],
    note_end: Callable[[int], object] = lambda number: None,
) -> int:
    """Have workers serve the sockets of *open_slots* until told to end; return the exit status.  See ``run()``.

    *note_end* is called with the number of the signal that tells it to end.
    """
    check_start(start)
    # The signals first: after one of the others, a signal that ends the process would leave its file behind.
    with (
        CaughtSignals(_SIGNALS) as signals,
        open_pid_file() as pid_file,
        open_slots() as slots,
        Supervisor(start, slots, limits, pid_file, signals, note_end) as supervisor,
    ):
        return supervisor.run()


class Phase(Enum):
    """The state of the supervisor."""

    STARTING = "no worker has served yet"
    SERVING = "at least one worker has served"
    ENDING = "no more workers are started"


class Supervisor:
    """The parent process: it starts a worker for each of *slots*, watches them, and obeys *signals*.

    *note_end* is that of ``supervise()``.  Leaving the context kills the workers that are left.
    """

    def __init__(
        self,
        start: Start,
        slots: Slots,
        limits: Limits,
        pid_file: PidFile | None,
        signals: CaughtSignals,
        note_end: Callable[[int], object],
    ) -> None:
        self._start = start
        self._slots = slots
        self._limits = limits
        self._pid_file = pid_file
        self._signals = signals
        self._note_end = note_end
        self._phase = Phase.STARTING
        self._status = 0
        self._workers: list[Worker] = []
        self._generation = 0  # the number of reloads
        self._told = -1  # the generation that was reported as ready to the service manager
        self._failures = 0  # failures in a row
        self._not_before = 0.0  # the time.monotonic() from which on the next worker may be started
        self._waits = 0.0  # the longest time, in seconds, that this pass was to wait
        self._looked = time.monotonic()  # the time of the last _look()
        self._selector = selectors.DefaultSelector()
        self._selector.register(signals.socket, selectors.EVENT_READ)

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:  # empty, unless an exception ends the context
            worker.close_pipe()
            worker.kill()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(worker.pid, 0)
        self._selector.close()

    def run(self) -> int:
        """Return the exit status once all workers have ended."""
        while self._phase is not Phase.ENDING or self._workers:
            self._fill()
            self._wait()
            self._reap()
            self._look()
        return self._status

    # Starting

    def _fill(self) -> None:
        """Start a worker in each free slot; at a reload one at a time, the next when the one before serves."""
        while self._phase is not Phase.ENDING and time.monotonic() >= self._not_before:
            current = [each for each in self._workers if each.generation == self._generation and each.has_slot]
            if self._outdated() and not all(each.state is State.SERVING for each in current):
                return
            free = set(range(len(self._slots))) - {each.slot for each in current}
            if not free:
                return
            self._start_worker(min(free))

    def _outdated(self) -> list[Worker]:
        """Return the workers of an earlier generation that serve until they are replaced."""
        return [each for each in self._workers if each.generation != self._generation and each.has_slot]

    def _start_worker(self, slot: int) -> None:
        try:
            pid, pipe = spawn(self._start, self._slots[slot], self._limits, lambda: self._let_go(slot))
        except OSError as error:
            self._note_failure(f"no worker can be started: {error}")
            return
        self._workers.append(Worker(pid, pipe, slot, self._generation, self._limits))
        self._selector.register(pipe, selectors.EVENT_READ, self._workers[-1])

    def _let_go(self, slot: int) -> None:
        """Close, in the worker of *slot*, the descriptors of the parent and of other workers."""
        self._selector.close()
        for worker in self._workers:
            worker.close_pipe()
        self._slots.keep_only(slot)
        self._signals.close()
        if self._pid_file is not None:
            self._pid_file.let_go()

    def _note_failure(self, how: str) -> None:
        self._failures += 1
        if self._phase is Phase.STARTING and self._failures >= _ATTEMPTS:
            _log.error("%s; no worker has come up in %d attempts", how, _ATTEMPTS)
            self._status = _NOT_STARTED
            self._end()
            return
        delay = 0.0 if self._failures == 1 else min(_FIRST_DELAY * 2 ** (self._failures - 2), _LONGEST_DELAY)
        self._not_before = time.monotonic() + delay
        _log.error("%s; another is started%s", how, f" in {delay:g} seconds" if delay else "")

    # Watching

    def _wait(self) -> None:
        """Wait for signals, for messages from workers, or until something is due; act upon the first two."""
        now = time.monotonic()
        waits = [
            _LONGEST_WAIT,
            service_manager.watchdog_interval(),
            *(each.seconds_left(now) for each in self._workers),
        ]
        if self._not_before > now:
            waits.append(self._not_before - now)
        self._waits = min(waits)
        # If this process was stopped during the wait, the first select() may report the timeout and miss the events.
        for key, _ in self._selector.select(self._waits) or self._selector.select(0):
            if key.data is None:
                for number in self._signals.take():
                    self._act_on(number)
            else:
                self._hear(key.data)

    def _hear(self, worker: Worker) -> None:
        if not worker.hear():
            self._close_pipe(worker)  # at its end, it would be readable in each pass
        elif worker.state is State.SERVING:
            if self._phase is Phase.STARTING:
                self._phase = Phase.SERVING
            for old in self._outdated():
                if old.slot == worker.slot and worker.generation == self._generation:
                    self._close_pipe(old)
                    old.end()
            self._tell_ready()

    def _close_pipe(self, worker: Worker) -> None:
        if worker.pipe is not None:
            self._selector.unregister(worker.pipe)
            worker.close_pipe()

    def _tell_ready(self) -> None:
        """Tell the service manager when all workers of a generation serve."""
        serving = [each for each in self._workers if each.generation == self._generation]
        serving = [each for each in serving if each.state is State.SERVING]
        if self._told != self._generation and len(serving) == len(self._slots):
            self._told = self._generation
            _log.info("%d workers serve", len(serving))
            service_manager.tell(f"READY=1\nSTATUS={len(serving)} workers")

    def _reap(self) -> None:
        """Forget the workers that have ended."""
        for worker in list(self._workers):
            how = worker.ended()
            if how is None:
                continue
            self._workers.remove(worker)
            self._close_pipe(worker)
            if worker.state is State.LEAVING and how:
                _log.error("%r %s", worker, how)
            elif how and self._phase is not Phase.ENDING:
                if time.monotonic() - worker.started > _STABLE:
                    self._failures = 0
                self._note_failure(f"{worker!r} {how}")

    def _look(self) -> None:
        """Do what is due by time: kill hung and late workers, and tell the service manager that all is well."""
        now = time.monotonic()
        passed, self._looked = now - self._looked, now
        if passed > self._waits + _LATE:  # this process was stopped, and perhaps the workers, too, as by `docker pause`
            for worker in self._workers:
                worker.excuse(passed)
        for worker in self._workers:
            if worker.look(now) and self._phase is Phase.ENDING:
                self._status = self._status or _KILLED
        if any(each.state in (State.SERVING, State.LEAVING) for each in self._workers):
            service_manager.tell_watchdog()

    # Signals

    def _act_on(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            if self._phase is Phase.ENDING:
                self._kill()
            else:
                self._end()
                self._note_end(number)
        elif number == signal.SIGHUP and self._phase is not Phase.ENDING:
            self._reload()
        elif number == signal.SIGUSR1:
            for worker in self._workers:
                worker.send(number)

    def _reload(self) -> None:
        """Replace all workers: each old one ends when the new one in its slot serves."""
        service_manager.tell_reloading()
        self._generation += 1
        self._failures, self._not_before = 0, 0.0
        for worker in self._workers:
            if worker.state is State.STARTING:  # it need not serve any more, and may hang
                worker.end()

    def _end(self) -> None:
        """Tell all workers to end gracefully, and start no more."""
        self._phase = Phase.ENDING
        service_manager.tell("STOPPING=1")
        if not self._limits.drain:  # else workers go on to accept, and by its end proxies have turned to other servers
            self._slots.accept_no_more()
        self._slots.close()  # kept open, they would collect connections that no worker accepts
        for worker in self._workers:
            worker.end()

    def _kill(self) -> None:
        """Kill all workers, at the second signal to end."""
        self._status = self._status or _KILLED
        for worker in self._workers:
            worker.kill()
