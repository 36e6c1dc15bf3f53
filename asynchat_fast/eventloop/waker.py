"""A way to end the waiting of a loop from another thread or a signal handler."""

import contextlib
import os
import socket
import weakref
from collections.abc import Container

__all__ = ["Waker", "waker_beside"]


def _number_of(sock: socket.socket) -> int | None:
    """Return the inode of *sock* (int), which tells it from another file with the same descriptor; None on Windows."""
    try:
        return os.fstat(sock.fileno()).st_ino
    except OSError:
        return None


def _close_all(sockets: list[tuple[socket.socket, int | None]]) -> None:
    for sock, number in sockets:
        # A daemon closes all descriptors when it starts, and opens other files, which get their numbers: leave these.
        if number is None or _number_of(sock) == number:
            sock.close()
        else:
            sock.detach()


class Waker:
    """A pair of sockets: a loop waits for one, and ``wake()`` sends to the other."""

    def __init__(self) -> None:
        self._socket, self._other = pair = socket.socketpair()
        for sock in pair:
            sock.setblocking(False)
        self.fd = self._socket.fileno()
        self._finalizer = weakref.finalize(self, _close_all, [(sock, _number_of(sock)) for sock in pair])

    def fileno(self) -> int:
        """Return the descriptor that a loop waits for, -1 once it is closed."""
        return self._socket.fileno()

    def wake(self) -> None:
        """End the wait of the loop; any thread, and a signal handler, may call this."""
        with contextlib.suppress(OSError):  # full: the loop will wake anyway; closed: no loop waits
            self._other.send(b"\0")

    def drain(self) -> bool:
        """Discard the bytes that ``wake()`` has sent; return False if the program has closed the sockets."""
        try:
            return bool(self._socket.recv(4096))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Close the sockets, unless their descriptors belong to something else by now."""
        self._finalizer()


def waker_beside(map: Container[int]) -> Waker:
    """Return a Waker at a descriptor that is not in *map*.

    A channel at a free descriptor has a closed socket.  With a waker there, it would never be told.
    """
    waker = Waker()
    if waker.fd not in map:
        return waker
    try:
        return waker_beside(map)
    finally:
        waker.close()
