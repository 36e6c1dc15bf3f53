"""The tasks of channels in asyncio's loop: kept while they run, and what they raise goes where a callback's goes."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from .._asyncore import asyncore

__all__ = ["Tasks"]


class Tasks:
    """Tasks of *loop*; ExitNow from one is handed to *failed*."""

    def __init__(self, loop: asyncio.AbstractEventLoop, failed: Callable[[BaseException], object]) -> None:
        self._loop = loop
        self._failed = failed
        self._running: set[asyncio.Task[Any]] = set()  # asyncio itself holds tasks weakly

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
