"""What the host lends a plugin. A plugin opens no client of its own and reads no environment."""

from __future__ import annotations

import logging
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


@dataclass(frozen=True)
class PluginContext:
    """Lent to `connect()` for as long as the connection lives."""

    http: httpx.AsyncClient
    """Refuses addresses inside the network unless the platform allows them; pools connections."""

    log: logging.Logger
    """Named after the plugin; what is written carries the request id."""

    clock: Clock
