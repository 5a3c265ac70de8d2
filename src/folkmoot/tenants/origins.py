"""Web origins as browsers write them in the `Origin` header (RFC 6454, 6.2), and nothing else."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}
"""Where a page may come over plain HTTP: it never leaves the machine (W3C Secure Contexts, 3.1)."""
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ORIGIN = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?"
)
_PORTS = {"https": 443, "http": 80}


def clean_origin(value: str) -> str:
    """`value` as a browser sends it: lower case, without the port that goes without saying.

    Raises `ValueError` with a sentence for what is no origin of a page that one can trust: another scheme, a
    path, a wildcard, `null`.
    """
    text = value.strip().lower()
    if text == "null":
        raise ValueError("`null` is what any sandboxed page sends: name the page's own origin")
    if "*" in text:
        raise ValueError(f"{value!r} has a wildcard: name each origin")
    if not text.isascii():
        raise ValueError(f"{value!r} has letters that browsers send in another form: write its host as xn--…")
    found = _ORIGIN.fullmatch(text)
    if found is None or len(found["host"]) > 253:
        raise ValueError(f"{value!r} is not an origin: give scheme and host alone, as https://intranet.example")
    scheme, host, port = found["scheme"], found["host"], int(found["port"] or _PORTS[found["scheme"]])
    if scheme == "http" and host not in LOOPBACK:
        raise ValueError(f"{value!r} is not https: whoever is on the way could change such a page")
    if not 1 <= port <= 65535:
        raise ValueError(f"{value!r} has the port {port}: there are 65535")
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            raise ValueError(f"{value!r} has no IPv6 address between its brackets") from None
    return f"{scheme}://{host}" if port == _PORTS[scheme] else f"{scheme}://{host}:{port}"
