"""The side of a worker: the forked process, its beat, and its end."""

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
            raise ValueError(f"{start!r} is not 'module:name'")
    elif not callable(start):
        raise TypeError(f"start must be a function of sockets, or 'module:name', not {start!r}")


def spawn(start: Start, sockets: list[socket.socket], limits: Limits, let_go: Callable[[], None]) -> tuple[int, int]:
    """Fork a worker that serves *sockets*; return its process number, and the pipe (descriptor) through which it beats.

    *let_go* is called in the worker, to close what only the parent needs.  OSError if the system has no more processes
    or descriptors.
    """
    heard, said = os.pipe()
    try:
        _flush()  # or both processes write what is buffered
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
    """Serve, and end the process: what the parent has to do at its own end is not the child's."""
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
    """Make the process one that can be told to end, and that reads no terminal."""
    signal.set_wakeup_fd(-1)
    # A terminal sends SIGINT to all, and the parent says what it means; SIGUSR1 is for programs that handle it.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, pass_over)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Acted upon by the loop, so not before the worker has started: connections may wait for it.  If the signal comes
    # just as the loop begins to wait, it is seen at the next beat.
    signal.signal(signal.SIGTERM, lambda number, frame: call_later(0, worker.end))
    with contextlib.suppress(Exception):  # there is no stderr, or it has no descriptor
        faulthandler.enable()  # SIGABRT has a hung worker write where it hangs
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # several readers of one terminal would each get some of the input
    os.close(null)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Worker:
    """What a worker knows of itself; it says its words to *pipe* (a descriptor)."""

    def __init__(self, pipe: int, limits: Limits) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._limits = limits
        self._servers: list[Any] = []
        self._is_ending = False

    def serve(self, start: Start, sockets: list[socket.socket]) -> None:
        """Call *start*, and run the loop until all is done."""
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
        """Tell the parent; tell whether it listens: it does not if it is gone, or has another in this one's place."""
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
        """Finish what is at hand."""
        if self._is_ending:
            return
        self._is_ending = True
        # Only if the whole service ends need proxies have time to notice.
        drain = self._limits.drain if self._say(LEAVING) else 0.0
        call_later(drain + self._limits.grace + 1, _close_all)  # also what is no server's, and would go on
        for server in self._servers:
            server.shut_down(self._limits.grace, drain=drain)


def _close_all() -> None:
    asyncore.close_all(ignore_all=True)


def _imported(start: str) -> Any:
    """Return what *start* ("module:name") names."""
    importlib.invalidate_caches()  # those of the parent, which may have been made before a new version was installed
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
