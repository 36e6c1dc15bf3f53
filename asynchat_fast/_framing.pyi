from collections.abc import Iterator
from types import GenericAlias
from typing import Any, AnyStr, Generic, Literal, overload

from typing_extensions import Buffer, TypeVar, disjoint_base

_P = TypeVar("_P", bytes, memoryview, default=bytes)

def find_prefix_at_end(haystack: AnyStr | bytearray, needle: AnyStr | bytearray) -> int: ...

@disjoint_base
class InputBuffer(Iterator[_P], Generic[_P]):
    overlong: bool
    @property
    def fed(self) -> int: ...
    @overload
    def __init__(
        self: InputBuffer[bytes],
        terminator: Buffer | str | int | None = None,
        limit: int | None = None,
        views: Literal[False] = False,
    ) -> None: ...
    @overload
    def __init__(
        self: InputBuffer[memoryview],
        terminator: Buffer | str | int | None = None,
        limit: int | None = None,
        views: Literal[True] = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: InputBuffer[Any],
        terminator: Buffer | str | int | None = None,
        limit: int | None = None,
        views: bool = ...,
    ) -> None: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def __len__(self) -> int: ...
    def __next__(self) -> _P: ...
    @property
    def terminator(self) -> Buffer | str | int | None: ...
    def set_terminator(
        self, terminator: Buffer | str | int | None, limit: int | None = None, views: bool = False
    ) -> None: ...
    def set_options(self, limit: int | None, views: bool) -> None: ...
    @property
    def unread(self) -> bytes: ...
    @unread.setter
    def unread(self, data: Buffer) -> None: ...
    def feed(self, data: Buffer) -> None: ...
    def take_partial(self) -> _P | bytes: ...
