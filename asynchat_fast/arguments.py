"""Checks of arguments: the TypeError or ValueError names the argument, and comes before anything has been done."""

from collections.abc import MutableMapping
from operator import index
from typing import Any

__all__ = ["check_class", "check_count", "check_limit", "check_map", "check_seconds"]


def check_class(channel_class: object) -> None:
    """Raise TypeError unless *channel_class* can be called."""
    if not callable(channel_class):
        raise TypeError(f"channel_class must be a class or a function that makes a channel, not {channel_class!r}")


def check_count(name: str, count: Any, least: int = 0) -> None:
    """Raise TypeError unless *count*, the argument *name*, is an int; ValueError if it is below *least*."""
    try:
        is_enough = index(count) >= least
    except TypeError:
        raise TypeError(f"{name} must be an int, not {count!r}") from None
    if not is_enough:
        raise ValueError(f"{name} must be at least {least}, not {count!r}")


def check_seconds(name: str, seconds: Any) -> None:
    """Raise TypeError unless *seconds*, the argument *name*, is a number; ValueError if it is negative or NaN."""
    try:
        is_time = seconds >= 0  # not true for NaN
    except TypeError:
        raise TypeError(f"{name} must be a number of seconds, not {seconds!r}") from None
    if not is_time:
        raise ValueError(f"{name} must be a number of seconds from 0 on, not {seconds!r}")


def check_limit(name: str, seconds: Any) -> None:
    """Raise what ``check_seconds()`` does, and ValueError for 0; None, which is no limit, is right."""
    if seconds is None:
        return
    check_seconds(name, seconds)
    if not seconds:
        raise ValueError(f"{name} must be a number of seconds above 0, or None for no limit, not {seconds!r}")


def check_map(map: object) -> None:
    """Raise TypeError unless *map* can be an asyncore map: a dict, or a mapping like one."""
    if not isinstance(map, (dict, MutableMapping)):
        raise TypeError(f"map must be an asyncore map (dict), not {map!r}")
