"""Which addresses are hosts on the public internet, and which could be a neighbour of this machine."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address


def is_public(address: str) -> bool:
    """Whether *address*, as the resolver writes it, is a host on the public internet.

    After IANA's registries of special-purpose addresses, in a table of our own: what Python calls global differs
    between its versions.
    """
    host = ip_address(address)
    if isinstance(host, IPv6Address):
        carried = _carried(host)
        if carried is None:
            return host in _GLOBAL_UNICAST and not any(host in network for network in _SPECIAL_IPV6)
        host = carried
    return not any(host in network for network in _SPECIAL_IPV4)


def _carried(host: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that *host* is another spelling of: IPv4-mapped, 6to4, or NAT64."""
    if host in _NAT64:
        return IPv4Address(int(host) & 0xFFFF_FFFF)
    return host.ipv4_mapped or host.sixtofour


_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""Loopback, link-local, unique local, multicast and all that is reserved lie outside."""

_SPECIAL_IPV6 = [
    IPv6Network("2001::/23"),  # protocol assignments, Teredo among them
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("3fff::/20"),  # documentation
]

_SPECIAL_IPV4 = [
    IPv4Network("0.0.0.0/8"),  # this host
    IPv4Network("10.0.0.0/8"),  # private
    IPv4Network("100.64.0.0/10"),  # behind a carrier's NAT, and one cloud's metadata
    IPv4Network("127.0.0.0/8"),  # loopback
    IPv4Network("168.63.129.16/32"),  # one cloud's metadata
    IPv4Network("169.254.0.0/16"),  # link-local, and most clouds' metadata
    IPv4Network("172.16.0.0/12"),  # private
    IPv4Network("192.0.0.0/24"),  # protocol assignments, and one cloud's metadata
    IPv4Network("192.0.2.0/24"),  # documentation
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("192.168.0.0/16"),  # private
    IPv4Network("198.18.0.0/15"),  # benchmarks
    IPv4Network("198.51.100.0/24"),  # documentation
    IPv4Network("203.0.113.0/24"),  # documentation
    IPv4Network("224.0.0.0/4"),  # multicast
    IPv4Network("240.0.0.0/4"),  # reserved, and broadcast
]
