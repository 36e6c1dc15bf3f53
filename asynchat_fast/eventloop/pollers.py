"""The pollers of this system: epoll, kqueue, poll and select behind one interface, with registrations that persist."""

import select

from .by_file import EpollPoller, KqueuePoller
from .by_number import (
    ERROR,
    HANGUP,
    INVALID,
    READ,
    URGENT,
    WRITE,
    Events,
    Lost,
    Poller,
    PollPoller,
    SelectPoller,
    look,
)

__all__ = ["ERROR", "HANGUP", "INVALID", "READ", "URGENT", "WRITE", "Events", "Lost", "Poller", "look", "pollers"]

_all: dict[str, type[Poller]] = {
    "epoll": EpollPoller,
    "kqueue": KqueuePoller,
    "poll": PollPoller,
    "select": SelectPoller,
}
pollers = {name: poller for name, poller in _all.items() if hasattr(select, name)}
"""The pollers that this system has (dict, name -> class), the best first."""
