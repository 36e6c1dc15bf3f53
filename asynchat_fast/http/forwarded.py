"""The fields by which proxies describe the client of a request: X-Forwarded-For and X-Forwarded-Proto."""

import re
from collections.abc import Iterable
from typing import Any

from ..networks import Network, Networks, parse_host
from .fields import Index

__all__ = ["Forwarded"]

_match_entry = re.compile(
    r"(?:\[(?P<in_brackets>[0-9A-Fa-f:.]+)\]|(?P<ipv4>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?|(?P<ipv6>[0-9A-Fa-f:.]+)"
).fullmatch


class Forwarded:
    """Reads the fields of trusted proxies: those in *networks*, or at a unix socket; ValueError for a wrong network."""

    __slots__ = ("_networks",)

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = Networks(networks)

    def _is_believed(self, peer: Any) -> bool:
        return not isinstance(peer, tuple) or parse_host(peer[0]) in self._networks

    def client(self, peer: Any, index: Index) -> Any:
        """Return the address of the client whose request came from *peer* with the fields in *index*.

        Each proxy appends the address of its own peer.  Read from the end, the first address that is not one of a
        trusted proxy is the client's; those before it may be forged.
        """
        addr = peer
        if self._is_believed(peer):
            for entry in reversed(_elements(index, "x-forwarded-for")):
                try:
                    host, port = _split(entry)
                    address = parse_host(host)
                except ValueError:
                    break
                addr = (str(address), port) if address.version == 4 else (str(address), port, 0, 0)
                if address not in self._networks:
                    break
        return addr

    def scheme(self, peer: Any, index: Index) -> str | None:
        """Return "http" or "https", as the last proxy says that its peer has used it; None if it does not say."""
        told = _elements(index, "x-forwarded-proto")[-1:] if self._is_believed(peer) else []
        scheme = told[0].lower() if told else None
        return scheme if scheme in ("http", "https") else None


def _elements(index: Index, name: str) -> list[str]:
    value = index.get(name, "")
    value = value if isinstance(value, str) else ",".join(value)
    return [element for each in value.split(",") if (element := each.strip(" \t"))]


def _split(entry: str) -> tuple[str, int]:
    """Return host (str) and port (int, 0 if there is none) of *entry*; ValueError if it is malformed."""
    match = _match_entry(entry)
    port = int(match["port"] or 0) if match else 65536
    if match is None or port > 65535:
        raise ValueError(entry)
    return match["in_brackets"] or match["ipv4"] or match["ipv6"], port
