"""Status for operators: the counters of a loop, and the connections in its map."""

from typing import Any

from .._asyncore import asyncore
from .counters import Counters
from .maps import Map, find_kept

__all__ = ["loop_counters", "status"]


def loop_counters(map: Map | None = None) -> dict[str, float]:
    """Return the counters of the loop of *map* (dict), None for ``asyncore.socket_map``.

    They are "passes" and "events" (int), "busy", the seconds in which it did not wait, and "longest", the most seconds
    between two waits (float).  For a plain dict they count from the call of ``loop()``, and are 0 outside of it.
    """
    kept = find_kept(asyncore.socket_map if map is None else map)
    counters = Counters() if kept is None else kept.counters
    return {name: getattr(counters, name) for name in ("passes", "events", "busy", "longest")}


def status(map: Map | None = None) -> list[dict[str, Any]]:
    """Return a dict for each connection and acceptor in *map* (dict, None for ``asyncore.socket_map``).

    "fd" (int), "class" (str), "addr"; "state", one of "connecting", "connected", "listening", "handshake" and
    "closing"; "unsent", the bytes that wait to be sent (int); and "request", the request line that an HTTP handler is
    at (str), else None.
    """
    described = [_describe(fd, channel) for fd, channel in list((asyncore.socket_map if map is None else map).items())]
    return [each for each in described if each is not None]


def _describe(fd: int, channel: Any) -> dict[str, Any] | None:
    """Return the status of *channel* at *fd*, None if it is neither a connection nor an acceptor.

    A class may have an ``_ac_status()``, which returns a dict of the entries to replace, or None to be left out.
    """
    known: dict[str, Any] | None = {}
    own = getattr(type(channel), "_ac_status", None)
    if own is not None and (known := own(channel)) is None:
        return None
    status = {
        "fd": fd,
        "class": type(channel).__name__,
        "addr": getattr(channel, "addr", None),
        "state": _state(channel),
        "unsent": 0,
        "request": None,
    }
    return status | (known or {})


def _state(channel: Any) -> str:
    if getattr(channel, "accepting", False):
        return "listening"
    return "connected" if getattr(channel, "connected", False) else "connecting"
