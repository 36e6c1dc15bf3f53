"""Put asynchat_fast in the place of ``asynchat``, for all imports that come after."""

import sys
import warnings
from typing import Any

from ._asyncore import asyncore
from .eventloop import loop as our_loop

__all__ = ["install", "uninstall"]

_NOTHING = object()
_before: Any = _NOTHING  # what install() replaced; None where nothing was imported
_loop_before: Any = _NOTHING  # and the asyncore.loop that it did


def install(loop: bool = False) -> None:
    """Make ``import asynchat`` mean asynchat_fast, and with *loop* ``asyncore.loop`` its loop; again, it does nothing.

    RuntimeWarning if another asynchat has been imported: what was taken from it stays with it.
    In a process that multiprocessing spawns, call it anew.
    """
    global _before, _loop_before
    if loop and asyncore.loop is not our_loop:
        _loop_before, asyncore.loop = asyncore.loop, our_loop
    ours = sys.modules[__package__]
    present = sys.modules.get("asynchat")
    if present is ours:
        return
    if present is not None:
        warnings.warn(
            "another asynchat was imported before asynchat_fast.install(): the classes and names already taken "
            "from it stay as they are",
            RuntimeWarning,
            stacklevel=2,
        )
    _before = present
    sys.modules["asynchat"] = ours


def uninstall() -> None:
    """Undo ``install()``: ``import asynchat`` finds again what it did before, and ``asyncore.loop`` is what it was."""
    global _before, _loop_before
    if asyncore.loop is our_loop and _loop_before is not _NOTHING:
        asyncore.loop, _loop_before = _loop_before, _NOTHING
    if sys.modules.get("asynchat") is not sys.modules[__package__]:
        return
    if _before is None or _before is _NOTHING:
        del sys.modules["asynchat"]
    else:
        sys.modules["asynchat"] = _before
    _before = _NOTHING
