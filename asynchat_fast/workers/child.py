"""The worker's side: the forked process, the beats that show the parent that it is alive, and its end."""

import contextlib
import faulthandler
import importlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from .._asyncore import asyncore
from ..eventloop import call_later, loop
from .caught_signals import pass_over
from .limits import BEAT, LEAVING, Limits

__all__ = ["Start", "check_start", "spawn"]

_log = logging.getLogger("asynchat_fast.workers")

Start = str | Callable[[list[socket.socket]], Any]


def check_start(start: object) -> None:
    """Raise TypeError or ValueError if *start* is neither callable nor "module:name"."""
    if isinstance(start, str):
        if not all(start.partition(":")):
            raise ValueError(f"start must be 'module:name', not {start!r}")
    elif not callable(start):
        raise TypeError(f"start must be a function of sockets, or 'module:name', not {start!r}")


def spawn(start: Start, sockets: list[socket.socket], limits: Limits, let_go: Callable[[], None]) -> tuple[int, int]:
    """Fork a worker that serves *sockets*; return its process number (int), and the pipe (descriptor) of its beats.

    *let_go* is called in the worker, to close what only the parent needs.  OSError if the system has no more processes
    or descriptors.
    """
    heard, said = os.pipe()
    try:
        _flush()  # else both processes would write the buffered output
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:  # a signal that comes now must not reach the handlers of the parent in the child
            pid = os.fork()
            if pid == 0:
                os.close(heard)
                _become_worker(start, sockets, _Worker(said, limits), let_go, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    except BaseException:
        os.close(heard)
        raise
    finally:
        os.close(said)
    return pid, heard


def _become_worker(
    start: Start, sockets: list[socket.socket], worker: "_Worker", let_go: Callable[[], None], mask: Any
) -> NoReturn:
    """Serve, and end the process here: the child must not return into the parent's code, nor run its exit handlers."""
    status = 1
    try:
        let_go()
        _set_up(worker, mask)
        worker.serve(start, sockets)
        status = 0
    except SystemExit as error:
        status = _status_of(error)
    except BaseException:
        _log.critical("worker %d has failed", os.getpid(), exc_info=True)
    finally:
        _flush()
        os._exit(status)


def _set_up(worker: "_Worker", mask: Any) -> None:
    """Set up the worker's signals, and disconnect its standard input from the terminal."""
    signal.set_wakeup_fd(-1)
    # A terminal sends SIGINT to all processes, and only the parent acts upon it; SIGUSR1 is for programs to handle.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, pass_over)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # The loop acts upon SIGTERM, and so not before the worker has started: connections may already wait for it.  If the
    # signal comes just as the loop begins to wait, the next beat wakes the loop.
    signal.signal(signal.SIGTERM, lambda number, frame: call_later(0, worker.end))
    with contextlib.suppress(Exception):  # there is no stderr, or it has no descriptor
        faulthandler.enable()  # the parent sends SIGABRT to a hung worker, which then writes its stack
    if sys.__stdin__ is not None:  # else descriptor 0 was closed at the start, and may be any file of the program now
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)  # several processes that read one terminal would each get some of the input
        os.close(null)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Worker:
    """The worker process itself; it writes its beats to *pipe* (a descriptor)."""

    def __init__(self, pipe: int, limits: Limits) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._limits = limits
        self._servers: list[Any] = []
        self._is_ending = False

    def serve(self, start: Start, sockets: list[socket.socket]) -> None:
        """Call *start*, and run the loop until its map is empty."""
        made = (_imported(start) if isinstance(start, str) else start)(sockets)
        self._servers = list(made) if isinstance(made, (list, tuple)) else [made]
        for server in self._servers:
            if not hasattr(server, "shut_down"):
                raise TypeError(f"{start!r} is to return what has shut_down(), or a list of such, not {made!r}")
        call_later(0, self._beat)
        loop()
        if not self._is_ending:
            _log.warning("worker %d has nothing to serve in asyncore.socket_map, and ends", os.getpid())

    def _say(self, word: bytes) -> bool:
        """Write *word* to the parent; return False if it has closed the pipe: it has ended, or replaced this worker."""
        try:
            os.write(self._pipe, word)
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def _beat(self) -> None:
        if self._is_ending:
            return
        if self._say(BEAT):
            call_later(self._limits.between_beats, self._beat)
        else:
            self.end()

    def end(self) -> None:
        """Shut the servers down, which ends the loop once their connections have ended."""
        if self._is_ending:
            return
        self._is_ending = True
        # Drain only if the whole service ends, for proxies to notice; a worker that was replaced has its pipe closed.
        drain = self._limits.drain if self._say(LEAVING) else 0.0
        call_later(drain + self._limits.grace + 1, _close_all)  # also channels of no server, which do not end otherwise
        for server in self._servers:
            server.shut_down(self._limits.grace, drain=drain)


def _close_all() -> None:
    asyncore.close_all(ignore_all=True)


def _imported(start: str) -> Any:
    """Import and return the object that *start* ("module:name") names."""
    importlib.invalidate_caches()  # the parent may have filled them before a new version was installed
    module, _, name = start.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _status_of(error: SystemExit) -> int:
    """Return the exit status that *error* asks for, and print its message, as Python does."""
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    with contextlib.suppress(Exception):
        print(error.code, file=sys.stderr)
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or there is none
            stream.flush()
