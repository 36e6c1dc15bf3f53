from collections.abc import Callable
from typing import Any

__all__ = ["Timer", "Timers", "timers_of"]

class Timer:
    when: float

    def cancel(self) -> None: ...
    def cancelled(self) -> bool: ...

class Timers:
    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer: ...

def timers_of(map: dict[int, Any]) -> Timers: ...
