"""Signals that arrive through a socket, so that a loop can wait for them."""

import signal
import socket
from collections.abc import Iterable

__all__ = ["CaughtSignals", "pass_over"]


def pass_over(number: int, frame: object) -> None:
    """Ignore a signal; unlike SIG_IGN, a handler is not inherited by programs that this process starts."""


class CaughtSignals:
    """Within the context, the signals *numbers* only make ``socket`` readable, and ``take()`` returns them."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = numbers

    def __enter__(self) -> "CaughtSignals":
        self.socket, self._other = pair = socket.socketpair()
        for sock in pair:
            sock.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._other.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, pass_over) for number in self._numbers}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self.close()

    def close(self) -> None:
        """Close the sockets, which a forked process must not share."""
        self.socket.close()
        self._other.close()

    def take(self) -> list[int]:
        """Return the numbers of the signals that have come; call it when ``socket`` is readable.

        A signal that has come several times is returned once: timeout(1) sends it to a process, and again to its group.
        """
        return [number for number in dict.fromkeys(self.socket.recv(64)) if number in self._before]
