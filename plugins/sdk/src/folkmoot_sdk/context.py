"""What the host lends a plugin. A plugin opens no client of its own and reads no environment."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    # A parser's process loads the SDK too, and would pay a quarter of a second for a client it may not use.
    import httpx


class Clock(Protocol):
    """Time as the host sees it, so that tests can turn it."""

    def now(self) -> datetime:
        """The present, with time zone UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, for measuring."""
        ...


async def anywhere(host: str, port: int) -> list[str]:
    """The addresses of `host` as the system knows them, unchecked: for tests. The host lends a checked one."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


@dataclass(frozen=True)
class PluginContext:
    """Lent to `connect()` for as long as the connection lives."""

    http: httpx.AsyncClient
    """Refuses addresses inside the network unless the platform allows them; pools connections."""

    log: logging.Logger
    """Named after the plugin; what is written carries the request id."""

    clock: Clock

    reach: Callable[[str, int], Awaitable[list[str]]] = anywhere
    """The addresses of a host that may be connected to, for a protocol other than HTTP. Connect to these, and check
    certificates for the name. Raises `OSError` for a name that is not there or may not be reached."""
