"""``loop()``: ``asyncore.loop()`` with registrations that persist, and timers."""

import select
from collections.abc import Callable
from math import inf
from typing import Any

from .._asyncore import asyncore
from .maps import set_timer
from .reactor import Reactor
from .timers import Timer

__all__ = ["call_later", "loop"]


def loop(
    timeout: float | None = 30.0, use_poll: bool = False, map: dict[int, Any] | None = None, count: int | None = None
) -> None:
    """Serve the channels of *map* until there are none, or for *count* passes.

    *timeout* is the seconds that a pass waits at most (float, None for no limit), *map* the
    asyncore map (dict), None for ``asyncore.socket_map``.  The loop waits by epoll, kqueue, poll or select;
    channels are told what select() shows, or with *use_poll* (bool) what poll() shows.
    ExitNow, KeyboardInterrupt and SystemExit raised by a channel end the loop; for any other exception,
    ``handle_error()`` of the channel is called.
    Source: the asyncore documentation.
    """
    if map is None:
        map = asyncore.socket_map
    longest = inf if timeout is None or timeout < 0 else timeout
    use_poll = bool(use_poll) and hasattr(select, "poll")
    reactor = Reactor.enter(map)
    try:
        while map and (count is None or count > 0):
            reactor.run_pass(longest, use_poll)
            if count is not None:
                count -= 1
    finally:
        reactor.leave()


def call_later(seconds: float, callback: Callable[..., object], *args: Any, map: dict[int, Any] | None = None) -> Timer:
    """Call *callback* with *args* in *seconds* (number); return a Timer, which can be cancelled.

    The loop that serves *map* (dict, None for ``asyncore.socket_map``) makes the call, if it still runs by then.
    An exception of *callback* is logged, unless it is one that ends the loop.  ValueError for negative
    *seconds*, TypeError for a *callback* that cannot be called.  Any thread may call this.
    """
    return set_timer(asyncore.socket_map if map is None else map, seconds, callback, args)
