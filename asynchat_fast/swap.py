"""``install()``: make asynchat_fast take the place of ``asynchat``, for all imports that come later."""

import sys
import warnings
from typing import Any

from ._asyncore import asyncore
from .channel import async_chat
from .eventloop import loop as our_loop

__all__ = ["Usage", "install", "uninstall"]

_NOTHING = object()
_before: Any = _NOTHING  # the asynchat that install() replaced; None if none was imported
_loop_before: Any = _NOTHING  # the asyncore.loop that install() replaced


def install(loop: bool = False) -> None:
    """Make ``import asynchat`` import asynchat_fast; with *loop* (bool), also replace ``asyncore.loop`` by ours.

    A second call does nothing.  RuntimeWarning if another asynchat has been imported before: names that
    were imported from it stay as they are.  A process that multiprocessing spawns has to call it again.
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
    """Undo ``install()``: restore what ``import asynchat`` finds, and ``asyncore.loop``."""
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


class Usage:
    """Records which parts of asynchat_fast this process uses; make it after ``install()``."""

    def __init__(self) -> None:
        self._counts_loops = asyncore.loop is our_loop
        self._loops = 0
        if self._counts_loops:
            asyncore.loop = self._loop

    def _loop(self, *args: Any, **kwargs: Any) -> None:
        self._loops += 1
        our_loop(*args, **kwargs)

    def tell(self) -> str:
        """Return a sentence (str) with the modules that import asynchat, and how often our loop ran as asyncore's."""
        modules = sorted(_importers() | _modules_of_subclasses(async_chat))
        said = f"used as asynchat by {', '.join(modules)}" if modules else "not used: no module has imported asynchat"
        if self._counts_loops:
            said += f"; its loop() ran {self._loops} times as asyncore.loop()"
        return said


def _importers() -> set[str]:
    """Return the names of other packages' modules that hold asynchat_fast, or a class or function of it."""
    ours = sys.modules[__package__]
    held = {id(ours), *(id(each) for each in vars(ours).values() if _is_ours(getattr(each, "__module__", None)))}
    others = {name: module for name, module in sys.modules.copy().items() if module is not ours and not _is_ours(name)}
    # By getattr(), because a program may put objects into sys.modules that have no dictionary.
    held_by = {name: map(id, getattr(module, "__dict__", {}).values()) for name, module in others.items()}
    return {name for name, values in held_by.items() if not held.isdisjoint(values)}


def _modules_of_subclasses(cls: type[Any]) -> set[str]:
    """Return the names of other packages' modules that define subclasses of *cls*."""
    children = type.__subclasses__(cls)
    modules = {child.__module__ for child in children if not _is_ours(child.__module__)}
    return modules.union(*map(_modules_of_subclasses, children))


def _is_ours(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] == __package__
