"""Signals that arrive through a socket, for a loop to wait for."""

import signal
import socket

__all__ = ["CaughtSignals", "pass_over"]

_NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


def pass_over(number: int, frame: object) -> None:
    """Handle a signal by nothing; unlike SIG_IGN, processes that are started do not inherit it."""


class CaughtSignals:
    """Within the context, those that a parent acts upon can be waited for by ``fileno()``, and have no other effect."""

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
        """Return the descriptor that can be read when a signal has come."""
        return self._ours.fileno()

    def take(self) -> list[int]:
        """Return the numbers of the signals that have come, at least one.

        What has come several times meanwhile counts once, as timeout(1) sends a signal to a process and then its group.
        """
        return list(dict.fromkeys(self._ours.recv(64)))
