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

_LONGEST_WAIT = 1.0  # seconds; the service manager is to hear that all is well
_LATE = 0.5  # seconds that a pass takes at most besides, or this process cannot have run
_STABLE = 10.0  # seconds of life after which the end of a worker is no failure to start
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 30.0  # seconds before a worker that ends again and again is started anew
_ATTEMPTS = 3  # until the first worker serves

_KILLED = 1  # exit statuses
_NOT_STARTED = 3


def supervise(
    start: Start,
    limits: Limits,
    open_slots: Callable[[], Slots],
    open_pid_file: Callable[[], contextlib.AbstractContextManager[PidFile | None]],
) -> int:
    """Have workers serve the sockets of *open_slots* until told to end; return the exit status.  See ``run()``."""
    check_start(start)
    # The signals come first: one that ended the process now would leave the files behind.
    with (
        CaughtSignals() as signals,
        open_pid_file() as pid_file,
        open_slots() as slots,
        Supervisor(start, slots, limits, pid_file, signals) as supervisor,
    ):
        return supervisor.run()


class Phase(Enum):
    """What the whole of the workers does."""

    STARTING = "none has served yet"
    SERVING = "at least one has served"
    ENDING = "no more are started"


class Supervisor:
    """What ``supervise()`` makes of its arguments; *signals* are those that tell it to.

    Leaving the context ends all processes.
    """

    def __init__(
        self, start: Start, slots: Slots, limits: Limits, pid_file: PidFile | None, signals: CaughtSignals
    ) -> None:
        self._start = start
        self._slots = slots
        self._limits = limits
        self._pid_file = pid_file
        self._signals = signals
        self._phase = Phase.STARTING
        self._status = 0
        self._workers: list[Worker] = []
        self._generation = 0  # reloads so far
        self._told = -1  # the generation that the service manager knows to be ready
        self._failures = 0  # one after the other
        self._not_before = 0.0  # when the next worker may be started
        self._waits = 0.0  # seconds that this pass may have waited
        self._looked = time.monotonic()  # when what is due was looked at last
        self._selector = selectors.DefaultSelector()
        self._selector.register(signals, selectors.EVENT_READ)

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:  # none, unless there is an exception
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
        """Start a worker in each slot that has none, one after the other if they take the places of others."""
        while self._phase is not Phase.ENDING and time.monotonic() >= self._not_before:
            current = [each for each in self._workers if each.generation == self._generation and each.has_slot]
            if self._outdated() and not all(each.state is State.SERVING for each in current):
                return
            free = set(range(len(self._slots))) - {each.slot for each in current}
            if not free:
                return
            self._start_worker(min(free))

    def _outdated(self) -> list[Worker]:
        """Return the workers that serve until there is another in their place."""
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
        """Close, in the worker of *slot*, what is the parent's or another worker's."""
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
        """Wait for what happens, and act upon what signals and workers say."""
        now = time.monotonic()
        waits = [_LONGEST_WAIT, *(each.seconds_left(now) for each in self._workers)]
        if self._not_before > now:
            waits.append(self._not_before - now)
        self._waits = min(waits)
        # If this process was stopped meanwhile, the first tells that the time is over, and not what has come.
        for key, _ in self._selector.select(self._waits) or self._selector.select(0):
            if key.data is None:
                for number in self._signals.take():
                    self._act_on(number)
            else:
                self._hear(key.data)

    def _hear(self, worker: Worker) -> None:
        if not worker.hear():
            self._close_pipe(worker)  # or each pass would hear that no more comes
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
        """Tell the service manager, once a whole generation serves."""
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
        """Do what time has brought about."""
        now = time.monotonic()
        passed, self._looked = now - self._looked, now
        if passed > self._waits + _LATE:  # this process was stopped, perhaps with all others, as by `docker pause`
            for worker in self._workers:
                worker.excuse(passed)
        for worker in self._workers:
            if worker.look(now) and self._phase is Phase.ENDING:
                self._status = self._status or _KILLED
        if any(each.state in (State.SERVING, State.LEAVING) for each in self._workers):
            service_manager.tell_watchdog()

    # What signals ask for

    def _act_on(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            if self._phase is Phase.ENDING:
                self._kill()
            else:
                self._end()
        elif number == signal.SIGHUP and self._phase is not Phase.ENDING:
            self._reload()
        elif number == signal.SIGUSR1:
            for worker in self._workers:
                worker.send(number)

    def _reload(self) -> None:
        """Have new workers take the places of all, each once it serves."""
        service_manager.tell_reloading()
        self._generation += 1
        self._failures, self._not_before = 0, 0.0
        for worker in self._workers:
            if worker.state is State.STARTING:  # perhaps for ever
                worker.end()

    def _end(self) -> None:
        """Have all workers finish what they have begun."""
        self._phase = Phase.ENDING
        service_manager.tell("STOPPING=1")
        self._slots.close()  # or connections would wait here once the workers listen no more
        for worker in self._workers:
            worker.end()

    def _kill(self) -> None:
        """End all workers at once: being told twice means that."""
        self._status = self._status or _KILLED
        for worker in self._workers:
            worker.kill()
