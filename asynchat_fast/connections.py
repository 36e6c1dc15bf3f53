"""The connections of a server: which are open, and which of them have been told to end."""

from typing import Any
from weakref import ref

__all__ = ["Connections"]


class Connections:
    """The open connections of a server: channels, handshakes and header readers, by weak references.

    Strong ones would keep the data of closed channels alive.
    """

    __slots__ = ("_looked", "_most", "_told", "_untold")

    def __init__(self) -> None:
        self._untold: list[ref[Any]] = []  # not yet told to end
        self._told: list[ref[Any]] = []  # told to end
        self._most = 64  # references in _untold, from which on those of closed connections are removed
        self._looked: int | None = None  # the removals at the last look for closed ones, see are_as_many_as()

    def add(self, channel: Any) -> None:
        """Add *channel*."""
        untold = self._untold
        try:
            untold.append(ref(channel))
        except TypeError:
            return  # a program's make_channel() has returned something that is no channel, such as None
        if len(untold) > self._most:
            self._most = 2 * len(self.untold()) + 64

    def are_as_many_as(self, count: int, removals: int | None) -> bool:
        """Return whether *count* connections, or more, are open.

        *removals* (int) is a number that changes when one of them ends, None if there is no such number.  While it
        stays, closed ones are not looked for, which would take as long as there are connections, in each pass.
        """
        if len(self._untold) + len(self._told) < count:
            return False
        if removals is None or removals != self._looked:
            self._looked = removals
            return len(self.untold()) + len(self.told()) >= count
        return True

    def are_gone(self) -> bool:
        """Return whether no connection is open."""
        for references in (self._untold, self._told):
            while references:
                if _is_open(references[-1]()):
                    return False
                references.pop()
        return True

    def untold(self) -> list[Any]:
        """Return the open connections that have not been told to end."""
        return _open(self._untold)

    def told(self) -> list[Any]:
        """Return the open connections that have been told to end."""
        return _open(self._told)

    def tell(self, channels: list[Any]) -> None:
        """Note that *channels* have been told to end."""
        _move(channels, self._untold, self._told)

    def take_back(self, channels: list[Any]) -> None:
        """Note that *channels* have not been told to end, after all."""
        _move(channels, self._told, self._untold)


def _move(channels: list[Any], source: list["ref[Any]"], target: list["ref[Any]"]) -> None:
    moved = set(map(id, channels))
    source[:] = [ref(channel) for channel in _open(source) if id(channel) not in moved]
    target += map(ref, channels)


def _open(references: list["ref[Any]"]) -> list[Any]:
    """Return the open connections among *references*, and remove the references to others."""
    channels = [channel for each in references if _is_open(channel := each())]
    if len(channels) < len(references):
        references[:] = map(ref, channels)
    return channels


def _is_open(channel: Any) -> bool:
    return bool(getattr(channel, "connected", False) or getattr(channel, "connecting", False))
