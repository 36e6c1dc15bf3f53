from collections.abc import Callable
from typing import Any

from .timers import Timer

__all__ = ["call_later", "loop"]

def loop(
    timeout: float | None = 30.0, use_poll: bool = False, map: dict[int, Any] | None = None, count: int | None = None
) -> None: ...
def call_later(
    seconds: float, callback: Callable[..., object], *args: Any, map: dict[int, Any] | None = None
) -> Timer: ...
