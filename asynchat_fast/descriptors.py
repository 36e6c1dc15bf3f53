"""A method of a channel that notices its replacement on an object: a descriptor, in Python's sense."""

import sys
from collections.abc import Callable
from types import CodeType, FunctionType, MethodType
from typing import Any, TypeVar

__all__ = ["rebindable"]

_F = TypeVar("_F", bound=Callable[..., object])


def rebindable(function: _F) -> _F:
    """Return *function* as a method; when it is replaced on an object, ``_ac_rebound()`` of the object is called."""
    return _RebindableMethod(function)  # type: ignore[return-value]  # it looks like a function


class _RebindableMethod:
    """A method whose replacement on an object is reported to the object, by ``_ac_rebound()``.

    Looked up on the class, it is the plain *function*; on an object, the replacement, if there is one.  But while the
    replacement runs, it is the method, which the replacement may call by ``super()``.
    """

    __class__ = property(lambda self: FunctionType)  # unittest.mock asks whether this is a function

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)  # such as __code__, for programs that expect a function

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
    """Return whether this thread is executing *function*, which is written in Python."""
    code: CodeType | None = getattr(getattr(function, "__func__", function), "__code__", None)
    frame = sys._getframe(1) if code is not None else None
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None
