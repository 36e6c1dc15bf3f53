"""Words for the service manager.  Source: sd_notify(3)."""

import contextlib
import os
import socket
import time

__all__ = ["tell", "tell_reloading", "tell_watchdog"]


def tell(state: str) -> None:
    """Tell the service manager *state*, lines such as "READY=1"; nothing happens where there is none."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)  # its death must not be ours
        sock.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)


def tell_reloading() -> None:
    """Tell that a reload begins, which the next "READY=1" ends."""
    tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def tell_watchdog() -> None:
    """Tell that all is well, if the service manager is to be told now and then."""
    if "WATCHDOG_USEC" in os.environ:
        tell("WATCHDOG=1")
