"""The fields of a head, by names in which case does not matter, and the method of a request."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, TypeVar, overload

__all__ = ["NO_FIELDS", "Fields", "Index", "Method"]

_T = TypeVar("_T")

Index: TypeAlias = dict[str, str | list[str]]
"""Fields by their names in lower case: the value, or the list of values where a name was sent several times."""


class Fields(Mapping[str, str]):
    """The fields of a head or of trailers: a mapping, name to value (str).

    A name may be written in any case.  The values of a name that was sent several times are joined by
    commas, which means the same (RFC 9110, section 5.3); ``get_all()`` returns them one by one.
    """

    __slots__ = ("_sent", "index")

    index: Index
    """The values by names in lower case; a list of values where a name was sent several times."""

    def __init__(self, sent: list[tuple[str, str]], index: Index) -> None:
        self._sent = sent
        self.index = index

    def __getitem__(self, name: str) -> str:
        value = self.index[name.lower()]
        return value if isinstance(value, str) else ", ".join(value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self.index

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names as they were sent, each once."""
        names: dict[str, str] = {}
        for name, _ in self._sent:
            names.setdefault(name.lower(), name)
        return iter(names.values())

    def __len__(self) -> int:
        return len(self.index)

    @overload
    def get(self, name: str, default: None = None) -> str | None: ...
    @overload
    def get(self, name: str, default: _T) -> str | _T: ...
    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of *name* (str), *default* if there is none."""
        value = self.index.get(name.lower())
        if value is None:
            return default
        return ", ".join(value) if type(value) is list else value

    getheader = get

    @overload
    def get_all(self, name: str, default: None = None) -> list[str] | None: ...
    @overload
    def get_all(self, name: str, default: _T) -> list[str] | _T: ...
    def get_all(self, name: str, default: Any = None) -> Any:
        """Return the values of *name* in the order sent (list of str), *default* if there are none."""
        value = self.index.get(name.lower())
        if value is None:
            return default
        return [value] if isinstance(value, str) else list(value)

    def getheaders(self, name: str) -> list[str]:
        """Return the values of *name* (list of str), an empty list if there are none."""
        return self.get_all(name, [])

    def raw_items(self) -> list[tuple[str, str]]:
        """Return all fields as they were sent (list of pairs of name and value)."""
        return list(self._sent)

    def __str__(self) -> str:
        return "".join(f"{name}: {value}\r\n" for name, value in self._sent)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._sent})"


NO_FIELDS = Fields([], {})


class Method(str):
    """The method of a request: a str that also equals its name as bytes, because programs compare it with either."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (bytes, bytearray)):
            return self.encode() == other
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def upper(self) -> "Method":
        return Method(str.upper(self))

    def lower(self) -> "Method":
        return Method(str.lower(self))
