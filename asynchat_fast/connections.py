"""The connections of a server: which are open, and which of them have been told to end."""

from typing import Any
from weakref import ref

__all__ = ["Connections"]


class Connections:
    """The channels that a server has made, and what comes before them; what a closed one holds is not to be kept."""

    __slots__ = ("_most", "_told", "_untold")

    def __init__(self) -> None:
        self._untold: list[ref[Any]] = []  # not told to end, as yet
        self._told: list[ref[Any]] = []
        self._most = 64  # references, after which those of the closed are taken out

    def add(self, channel: Any) -> None:
        """Take up *channel*."""
        untold = self._untold
        try:
            untold.append(ref(channel))
        except TypeError:
            return  # a function has made a channel, and returned something else
        if len(untold) > self._most:
            self._most = 2 * len(self.untold()) + 64

    def are_as_many_as(self, count: int) -> bool:
        """Tell whether *count* are open, or more."""
        if len(self._untold) + len(self._told) < count:
            return False
        return len(self.untold()) + len(self.told()) >= count

    def are_gone(self) -> bool:
        """Tell whether none is open."""
        for references in (self._untold, self._told):
            while references:
                if _is_open(references[-1]()):
                    return False
                references.pop()
        return True

    def untold(self) -> list[Any]:
        """Return those that are open and have not been told to end."""
        return _open(self._untold)

    def told(self) -> list[Any]:
        """Return those that are open and have been told."""
        return _open(self._told)

    def tell(self, channels: list[Any]) -> None:
        """Note that *channels* are told."""
        _move(channels, self._untold, self._told)

    def take_back(self, channels: list[Any]) -> None:
        """Note that *channels* have not been told, after all."""
        _move(channels, self._told, self._untold)


def _move(channels: list[Any], source: list["ref[Any]"], target: list["ref[Any]"]) -> None:
    moved = set(map(id, channels))
    source[:] = [ref(channel) for channel in _open(source) if id(channel) not in moved]
    target += map(ref, channels)


def _open(references: list["ref[Any]"]) -> list[Any]:
    """Return what *references* refer to and is open, and take out the others."""
    channels = [channel for each in references if _is_open(channel := each())]
    if len(channels) < len(references):
        references[:] = map(ref, channels)
    return channels


def _is_open(channel: Any) -> bool:
    return bool(getattr(channel, "connected", False) or getattr(channel, "connecting", False))
