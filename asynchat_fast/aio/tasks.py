"""The asyncio tasks of channels: they are kept while they run, and ExitNow in one acts as it does in a callback."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from .._asyncore import asyncore

__all__ = ["Tasks"]


class Tasks:
    """Tasks of *loop*; an ExitNow that one raises is passed to *failed*."""

    def __init__(self, loop: asyncio.AbstractEventLoop, failed: Callable[[BaseException], object]) -> None:
        self._loop = loop
        self._failed = failed
        self._running: set[asyncio.Task[Any]] = set()  # asyncio refers to tasks weakly: they would be collected

    def create(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Return a task that runs *coroutine*."""
        task = self._loop.create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), asyncore.ExitNow):
            self._failed(error)
