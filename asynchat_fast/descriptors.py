"""Descriptors: attributes of a channel that have to act when they are assigned."""

import sys
from collections.abc import Callable
from operator import attrgetter
from types import CodeType, FunctionType, MethodType
from typing import Any, TypeVar

__all__ = ["option", "rebindable"]

_F = TypeVar("_F", bound=Callable[..., object])


def option(name: str, doc: str, check: Callable[[Any], object] | None = None) -> Any:
    """Return an attribute *name*, whose value is that of ``_ac_`` + *name*, until the class or the object has another.

    A channel whose class or object has another value leaves the fast path of ``handle_read()`` and
    ``set_terminator()``, in which looking for options would cost more than everything else.
    """

    def assign(self: Any, value: Any) -> None:
        if check is not None:
            check(value)
        setattr(self, f"_ac_{name}", value)
        self._ac_has_options = True
        self._ac_prepared()
        self._ac_use_options()
        self._ac_report()

    return property(attrgetter(f"_ac_{name}"), assign, doc=doc)


def rebindable(function: _F) -> _F:
    """Return *function* as a method that tells the object when it is rebound there, by ``_ac_rebound()``."""
    return _RebindableMethod(function)  # type: ignore[return-value]  # a function to all who look


class _RebindableMethod:
    """A method whose replacement on an object is reported to the object, by ``_ac_rebound()``.

    On the class it is the plain *function*.  On an object it is the replacement, if there is one; while the
    replacement runs it is the method, so that the replacement may call it by ``super()``.
    """

    __class__ = property(lambda self: FunctionType)  # unittest.mock asks whether this is a function

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)  # such as __code__, for programs that take this for a function

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, channel: Any, owner: type | None = None) -> Any:
        if channel is None:
            return self.function
        own = channel._ac_own_get_terminator
        return MethodType(self.function, channel) if own is None or _is_running(own) else own

    def __set__(self, channel: Any, function: Callable[..., Any]) -> None:
        channel._ac_own_get_terminator = function
        channel._ac_rebound()

    def __delete__(self, channel: Any) -> None:
        if channel._ac_own_get_terminator is None:
            raise AttributeError(self.name)
        channel._ac_own_get_terminator = None
        channel._ac_rebound()


def _is_running(function: Any) -> bool:
    """Tell whether this thread executes *function*, which is written in Python."""
    code: CodeType | None = getattr(getattr(function, "__func__", function), "__code__", None)
    frame = sys._getframe(1) if code is not None else None
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None
