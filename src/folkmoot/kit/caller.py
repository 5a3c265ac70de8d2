"""Where a request came from; what it sets off, in whatever process, carries its id."""

from __future__ import annotations

import ipaddress
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache

import structlog


@dataclass(frozen=True)
class Caller:
    """Where a request came from, for the log and the events."""

    request_id: str = ""
    ip: str = ""
    user_agent: str = ""

    @property
    def network(self) -> str:
        """What is counted by address: whoever has one IPv6 address has 2^64 of them."""
        return network_of(self.ip)


caller: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039 - it is frozen


@contextmanager
def called_by(who: Caller) -> Generator[None]:
    """While the body runs, events and log lines say `who`."""
    token = caller.set(who)
    structlog.contextvars.bind_contextvars(request_id=who.request_id)
    try:
        yield
    finally:
        structlog.contextvars.unbind_contextvars("request_id")
        caller.reset(token)


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """What one party is likely to have: an IPv4 address, or the /64 of an IPv6 one (RFC 6177)."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address or "none"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(found), 64), strict=False))
    return str(found)
