"""Networks of IP addresses, and whether a host is in one of them."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

__all__ = ["Network", "Networks"]

Network: TypeAlias = str | IPv4Network | IPv6Network


class Networks:
    """The *networks*, such as "10.0.0.0/8" and "::1"; ValueError for what is none."""

    __slots__ = ("_networks",)

    def __init__(self, networks: Iterable[Network]) -> None:
        if isinstance(networks, (str, bytes)):
            raise ValueError(f"networks are given as a list: write [{networks!r}]")
        self._networks = [ip_network(str(each)) for each in networks]

    def has(self, host: str) -> bool:
        """Tell whether *host*, an address of IPv4 or IPv6, is in one; ValueError if it is no address."""
        address = ip_address(host.partition("%")[0])
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address  # a socket for both has clients of IPv4 in this form
        return any(address in each for each in self._networks)
