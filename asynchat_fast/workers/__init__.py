"""Several worker processes at the same addresses, and a parent that restarts, reloads and ends them."""

import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["run"]


def run(
    start: str | Callable[[list[socket.socket]], Any],
    addresses: Iterable[Any],
    *,
    workers: int | None = None,
    balance: bool = True,
    grace: float = 10,
    drain: float = 0,
    worker_timeout: float | None = 30,
    pid_file: str | os.PathLike[str] | None = None,
    mode: int | None = None,
) -> int:
    """Serve *addresses* by *workers* processes (None: one a processor) until told to end; return an exit status (int).

    *start* is called in each with its listening sockets, one for each of *addresses*, and returns what has
    ``shut_down(timeout, *, drain)``, or a list of such; "module:name" is imported there, and anew at a reload.
    *addresses* are those of ``chat_server``; "{worker}" in a path stands for the number of a worker, from 0.  Sockets
    that the service manager has opened take their place.  With *balance* each worker has a socket of its own at a port,
    where the system spreads connections over such.  *mode* is that of the files of unix sockets.

    SIGTERM and SIGINT end it: workers are healthy no more for *drain* seconds, and then have *grace* seconds to finish.
    SIGHUP replaces each worker by a new one.  A worker that is silent for *worker_timeout* seconds (None for no limit)
    is killed and replaced.  *pid_file* names a file for the number of this process.

    The status is 0; 1 if a worker had to be killed in the end; 3 if none has come up in three attempts.  OSError for
    an address or a *pid_file* that cannot be had, ValueError for what makes no sense.  To be called in the main thread.
    """
    if os.name != "posix":
        raise OSError("workers take fork(), which this system has not")
    from .limits import Limits
    from .pid_file import pid_file_at  # takes what only POSIX has
    from .slots import Slots
    from .supervisor import supervise

    limits = Limits(grace, drain, worker_timeout)
    return supervise(start, limits, lambda: Slots(addresses, workers, balance, mode), lambda: pid_file_at(pid_file))
