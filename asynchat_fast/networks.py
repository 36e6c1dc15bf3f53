"""Networks of IP addresses, and whether an address is in one of them."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

__all__ = ["Network", "Networks", "parse_host"]

Network: TypeAlias = str | IPv4Network | IPv6Network


def parse_host(host: str) -> IPv4Address | IPv6Address:
    """Return *host* (str) as an address object, of IPv4 for "::ffff:192.0.2.7", too; ValueError if it is no address."""
    address = ip_address(host)
    # On a dual-stack socket, the addresses of IPv4 clients have that form.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


class Networks:
    """A set of *networks*, such as "10.0.0.0/8" and "::1"; ValueError for one that is none."""

    __slots__ = ("_networks",)

    def __init__(self, networks: Iterable[Network]) -> None:
        if isinstance(networks, (str, bytes)):
            raise ValueError(f"networks are given as a list: write [{networks!r}]")
        self._networks = [ip_network(str(each)) for each in networks]

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in each for each in self._networks)
