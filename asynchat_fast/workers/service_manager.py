"""Messages to the service manager, such as systemd.  Source: sd_notify(3)."""

import contextlib
import os
import socket
import time

__all__ = ["tell", "tell_reloading", "tell_watchdog"]


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


def tell_watchdog() -> None:
    """Tell the service manager that this process is alive, if it has asked for such messages."""
    if "WATCHDOG_USEC" in os.environ:
        tell("WATCHDOG=1")
