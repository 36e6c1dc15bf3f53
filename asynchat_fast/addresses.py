"""Addresses as people write them: a host and a port, or the path of a unix socket."""

import os
from typing import Any

__all__ = ["checked", "name_of"]


def checked(address: Any) -> Any:
    """Return *address*, a path as str or bytes; TypeError or ValueError that says how to write what was meant."""
    if isinstance(address, os.PathLike):
        return os.fspath(address)
    if isinstance(address, (str, bytes)):
        name = os.fsdecode(address)
        if "/" in name or os.sep in name or name.startswith("\0"):  # "\0": a unix socket without a file, on Linux
            return address
        host, _, port = name.rpartition(":")
        meant = (host, int(port)) if port.isdecimal() and port.isascii() else (name, 8000)
        path = "./" + (name or "name")
        raise ValueError(f"{address!r} is no address: write {meant!r}, or {path!r} for a unix socket")
    if isinstance(address, int):
        raise TypeError(f"address must be a pair of host and port, not {address!r}: write ('', {address!r})")
    if not isinstance(address, (tuple, list)) or len(address) < 2:
        raise TypeError(f"address must be a pair of host and port, a path or a socket, not {address!r}")
    return address


def name_of(address: Any) -> str:
    """Return how to write *address* for people."""
    if not isinstance(address, (tuple, list)):
        return os.fsdecode(address)
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host or '*'}:{port}"
