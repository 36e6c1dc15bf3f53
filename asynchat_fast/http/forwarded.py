"""What proxies say of a request that they pass on: X-Forwarded-For and X-Forwarded-Proto."""

from collections.abc import Iterable
from typing import Any

from ..networks import Network, Networks, parse_host
from .fields import Index

__all__ = ["Forwarded"]


class Forwarded:
    """Believes the proxies in *networks*, and those at a unix socket; ValueError for what is no network."""

    __slots__ = ("_networks",)

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = Networks(networks)

    def _is_believed(self, peer: Any) -> bool:
        return not isinstance(peer, tuple) or parse_host(peer[0]) in self._networks

    def client(self, peer: Any, index: Index) -> Any:
        """Return the address of the client whose request came from *peer* with the fields in *index*.

        Each proxy appends the address that it was spoken to from.  Read from the end, the first that is no such
        proxy's is the client's; anybody may have written what stands before it.
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
        """Return "http" or "https" as the client spoke it to the last proxy, None if that is not told."""
        told = _elements(index, "x-forwarded-proto")[-1:] if self._is_believed(peer) else []
        scheme = told[0].lower() if told else None
        return scheme if scheme in ("http", "https") else None


def _elements(index: Index, name: str) -> list[str]:
    value = index.get(name, "")
    value = value if isinstance(value, str) else ",".join(value)
    return [element for each in value.split(",") if (element := each.strip(" \t"))]


def _split(entry: str) -> tuple[str, int]:
    """Return host and port of an *entry*, to which some proxies add the port; 0 without, ValueError for a wrong one."""
    if "%" in entry:
        raise ValueError("a zone has no meaning elsewhere")
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        port = port or ":0"
    else:
        host, colon, port = entry.partition(":")
        if ":" in port:
            host, colon, port = entry, "", ""
        port = colon + port or ":0"
    if not (port[:1] == ":" and port[1:].isdecimal() and len(port) <= 6):
        raise ValueError(f"no port: {port}")
    return host, int(port[1:])
