"""``loop()``: ``asyncore.loop()`` with registrations that persist, and timers."""

import select
from collections.abc import Callable
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

    *timeout* is the seconds that a pass waits at most (float, None for any time), *map* the
    asyncore map (dict), None for ``asyncore.socket_map``.  epoll, kqueue or poll wait, whichever
    is the best here; channels are told what select() shows, or with *use_poll* what poll() shows.
    ExitNow, KeyboardInterrupt and SystemExit raised by a channel end the loop.
    Source: the asyncore documentation.
    """
    if map is None:
        map = asyncore.socket_map
    if timeout is not None and timeout < 0:
        timeout = None
    use_poll = bool(use_poll) and hasattr(select, "poll")
    reactor = Reactor.enter(map)
    try:
        while map and (count is None or count > 0):
            reactor.run_pass(timeout, use_poll)
            if count is not None:
                count -= 1
    finally:
        reactor.leave()


def call_later(seconds: float, callback: Callable[..., object], *args: Any, map: dict[int, Any] | None = None) -> Timer:
    """Have ``loop()`` call *callback* with *args* in *seconds* (number); return a Timer, to ``cancel()`` it.

    The call is made by the loop that serves *map*, None for ``asyncore.socket_map``, if it still does by
    then.  What *callback* raises is logged, but for what ends the loop.  ValueError for a negative number.
    """
    return set_timer(asyncore.socket_map if map is None else map, seconds, callback, args)
