"""Serving HTTP with Granian. This process only watches those that serve, so it imports nothing of them."""

from __future__ import annotations

from granian import Granian
from granian.constants import Interfaces, Loops
from granian.log import LogLevels

from folkmoot.settings import Settings


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    Granian(
        "folkmoot.main:application",
        factory=True,
        interface=Interfaces.ASGI,
        address=settings.host,
        port=settings.port,
        workers=settings.api_processes,
        loop=Loops.uvloop,
        log_level=LogLevels.warning,
        log_access=False,
        respawn_failed_workers=True,
        # An open stream would hold the process for as long as its answer takes.
        workers_kill_timeout=3,
        backlog=1024,
    ).serve()
