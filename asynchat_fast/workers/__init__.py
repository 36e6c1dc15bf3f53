"""Several worker processes that serve the same addresses, and a parent that restarts, reloads and ends them."""

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

    *start* is called in each worker with a list of its listening sockets, one for each of *addresses*; it returns a
    server, an object with ``shut_down(timeout, *, drain)``, or a list of servers.  If *start* is "module:name", the
    worker imports it, so that a reload takes new code.  *addresses* are as for ``chat_server``; "{worker}" in a path
    stands for the number of a worker, from 0.  If the service manager has opened sockets for this process, these are
    served instead.  With *balance* each worker has a socket of its own for the same port, where the system spreads
    connections over such sockets.  *mode* is that of the files of unix sockets (int, None for what the umask leaves).

    SIGTERM and SIGINT end it: health checks fail for *drain* seconds, then workers have *grace* seconds to finish.
    SIGHUP replaces each worker by a new one.  A worker whose loop makes no pass for *worker_timeout* seconds (None for
    no limit) is killed and replaced.  *pid_file* is the path of a file for the process number of the parent.

    The status is 0; 1 if a worker had to be killed at the end; 3 if no worker has started in three attempts.  OSError
    for an address or a *pid_file* that cannot be used, ValueError for arguments that cannot work.  Call it in the main
    thread.
    """
    if os.name != "posix":
        raise OSError("workers take fork(), which this system has not")
    from .limits import Limits
    from .pid_file import pid_file_at  # imports modules that only POSIX has
    from .slots import Slots
    from .supervisor import supervise

    limits = Limits(grace, drain, worker_timeout)
    return supervise(start, limits, lambda: Slots(addresses, workers, balance, mode), lambda: pid_file_at(pid_file))
