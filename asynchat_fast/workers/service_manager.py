"""Messages to the service manager, such as systemd.  Source: sd_notify(3)."""

import contextlib
import math
import os
import socket
import time

__all__ = ["tell", "tell_reloading", "tell_watchdog", "watchdog_interval"]


def tell(state: str) -> None:
    """Send *state* (str), lines such as "READY=1", to the service manager; do nothing if there is none."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)  # a service manager that hangs must not hang this process
        sock.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)


def tell_reloading() -> None:
    """Tell the service manager that a reload has begun, which the next "READY=1" ends."""
    tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_interval() -> float:
    """Return the seconds after which ``tell_watchdog()`` is to be called again, math.inf if this is not wanted.

    It is half of the time after which the service manager would kill this process.
    """
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2e6 if microseconds.isdecimal() and int(microseconds) else math.inf


def tell_watchdog() -> None:
    """Tell the service manager that this process is alive, if it has asked for such messages."""
    if watchdog_interval() < math.inf:
        tell("WATCHDOG=1")
