from typing import Any

from .timers import Timers

__all__ = ["SocketMap"]

class SocketMap(dict[int, Any]):
    changed: set[int]
    reactor: Any
    timers: Timers

    def touch(self, fd: int) -> None: ...
    def wake(self) -> None: ...
