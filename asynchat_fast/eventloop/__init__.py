"""``loop()``: ``asyncore.loop()`` with registrations that persist, and timers."""

import sys

from .._asyncore import asyncore
from .maps import SocketMap
from .reactor import Reactor
from .timers import timers_of

__all__ = ["call_later", "loop"]


def loop(timeout=30.0, use_poll=False, map=None, count=None):
    """Serve the channels of *map* until there are none, or for *count* passes.

    *timeout* is the seconds that a pass waits at most (float, None for any time), *map* the
    asyncore map (dict), None for ``asyncore.socket_map``.  epoll, kqueue or poll wait, whichever
    is the best here, so *use_poll* makes no difference.  ExitNow, KeyboardInterrupt and
    SystemExit raised by a channel end the loop.  Source: the asyncore documentation.
    """
    if map is None:
        map = asyncore.socket_map
    reactor = Reactor.of(map)
    try:
        while map and (count is None or count > 0):
            reactor.run_pass(timeout)
            if count is not None:
                count -= 1
    finally:
        reactor.leave()


def call_later(seconds, callback, *args, map=None):
    """Have ``loop()`` call *callback* with *args* in *seconds* (number); return a Timer, to ``cancel()`` it.

    The call is made by the loop that serves *map*, None for ``asyncore.socket_map``, if it still does by
    then.  What *callback* raises is logged, but for what ends the loop.  ValueError for a negative number.
    """
    map = asyncore.socket_map if map is None else map
    timer = timers_of(map).call_later(seconds, callback, *args)
    if isinstance(map, SocketMap):
        map.wake()
    return timer


# Not where others than asyncore hold its map, who would not see another in its place; and not in a function, as it
# depends on the version how many references a call adds.
if type(asyncore.socket_map) is dict and not (
    asyncore.socket_map or (hasattr(sys, "getrefcount") and sys.getrefcount(asyncore.socket_map) > 2)
):
    asyncore.socket_map = SocketMap()
