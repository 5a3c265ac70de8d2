"""Serving HTTP with Granian."""

from __future__ import annotations

from granian import Granian
from granian.constants import Interfaces, Loops
from granian.log import LogLevels
from litestar import Litestar

from folkmoot.kit.log import configure
from folkmoot.kit.process import die_with_parent
from folkmoot.main import create_app
from folkmoot.settings import Settings


def application() -> Litestar:
    """What each process of Granian runs."""
    die_with_parent()
    settings = Settings.from_environment()
    configure(settings.log_level, settings.log_format)
    return create_app(settings)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    Granian(
        "folkmoot.serve:application",
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
