"""Signals that arrive through a socket, so that a loop can wait for them."""

import signal
import socket

__all__ = ["CaughtSignals", "pass_over"]

_NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


def pass_over(number: int, frame: object) -> None:
    """Ignore a signal; unlike SIG_IGN, a handler is not inherited by programs that this process starts."""


class CaughtSignals:
    """Within the context, the parent's signals only make ``fileno()`` readable, and ``take()`` returns them."""

    def __enter__(self) -> "CaughtSignals":
        self._ours, self._theirs = socket.socketpair()
        for sock in (self._ours, self._theirs):
            sock.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, pass_over) for number in _NUMBERS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self.close()

    def close(self) -> None:
        """Close the sockets, which a forked process must not share."""
        self._ours.close()
        self._theirs.close()

    def fileno(self) -> int:
        """Return the descriptor that is readable when a signal has come."""
        return self._ours.fileno()

    def take(self) -> list[int]:
        """Return the numbers of the signals that have come, at least one; call it when ``fileno()`` is readable.

        A signal that has come several times is returned once: timeout(1) sends it to a process, and again to its group.
        """
        return list(dict.fromkeys(self._ours.recv(64)))
