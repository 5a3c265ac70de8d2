"""Where a key may be used from: networks of addresses, and origins of web pages."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED_BITS = 96
_ORIGIN = re.compile(
    r"https://(?P<host>(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
    r"|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
)


def network(text: str) -> str:
    """An address or network as it is stored. Raises `ValueError` with what is wrong.

    An IPv4 network that is written as IPv6 (`::ffff:10.0.0.0/104`) is the IPv4 one: a listener for both kinds
    shows one client either way.
    """
    try:
        found = ipaddress.ip_network(text.strip())
    except ValueError:
        raise ValueError(_what_is_wrong(text)) from None
    if (
        isinstance(found, ipaddress.IPv6Network)
        and found.network_address.ipv4_mapped
        and found.prefixlen >= _MAPPED_BITS
    ):
        found = ipaddress.IPv4Network((found.network_address.ipv4_mapped, found.prefixlen - _MAPPED_BITS))
    return str(found)


def origin(text: str) -> str:
    """An origin as browsers send it. Raises `ValueError` with what is wrong."""
    found = _ORIGIN.fullmatch(text.strip().lower())
    port = int(found["port"] or 443) if found else 0
    if found is None or not 0 < port <= 65_535:
        raise ValueError(
            f"{text!r} is not an exact origin: write `https://`, the host, and a port if it has one, without a path "
            "and without `*`; letters beyond ASCII in their xn-- form"
        )
    return f"https://{found['host']}" + ("" if port == 443 else f":{port}")


@lru_cache(maxsize=4096)
def within(ip: str, networks: tuple[str, ...]) -> bool:
    """Whether the address lies in one of the networks; what is no address lies in none."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address.version == known.version and address in known for known in map(_parsed, networks))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Network:
    return ipaddress.ip_network(text)


def _what_is_wrong(text: str) -> str:
    try:
        meant = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return f"{text!r} is neither an address nor a network: write `192.0.2.7`, `10.0.0.0/8` or `2001:db8::/32`"
    return f"{text!r} has bits set beyond its length: write `{meant}` for the network, or the address alone"
