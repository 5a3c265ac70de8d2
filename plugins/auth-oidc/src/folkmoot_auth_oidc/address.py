"""Addresses that a code, a token or a browser may be sent to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlencode, urlsplit

_PRINTABLE = re.compile(r"[\x21-\x7e]{1,2000}")


def check_address(url: str, what: str) -> SplitResult:
    """`url` in parts, if it is https, or plain http to this very machine. Raises `ValueError` naming `what`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{what} is not an address: write it as https://host/path") from None
    if not _PRINTABLE.fullmatch(url) or "\\" in url or not host or port == 0:
        raise ValueError(f"{what} is not an address: write it as https://host/path")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError(f"{what} must begin with https://: without encryption anybody on the way could sign in")
    if "@" in parts.netloc or "#" in url:
        raise ValueError(f"{what} can have neither a user name nor a fragment (#…)")
    return parts


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, where nobody listens on the way."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def with_query(url: str, parameters: Mapping[str, str]) -> str:
    """`url` with more parameters; those that it has stay (RFC 6749, 3.1)."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(parameters)}"
