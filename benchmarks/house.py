"""An installation of its own for a benchmark that measures in this process.

With the loop and the settings of the garbage collector that the processes of the service have.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from folkmoot import migrate
from folkmoot.embedded import Endpoints, Engines
from folkmoot.kit.log import configure
from folkmoot.kit.process import settle
from folkmoot.settings import Settings


def within(folder: Path, measure: Callable[[Settings, Endpoints], Awaitable[None]], **changed: Any) -> None:
    """Start the engines on `folder`, make the tables, run `measure(settings, endpoints)`, and stop them.

    `changed` are fields of `Settings` that are not as they would be by default.
    """
    configure("error", "text")
    engines = Engines(folder / "engines")
    points = engines.start()
    settings = Settings(
        database_url=points.runtime_url,
        owner_database_url=points.owner_url,
        redis_url=points.redis_url,
        secret_key=(base64.b64encode(os.urandom(32)).decode(),),
        storage_url=(folder / "files").as_uri(),
        **changed,
    )

    async def measuring() -> None:
        settle()
        await measure(settings, points)

    try:
        migrate.upgrade(points.owner_url)
        uvloop.run(measuring())
    finally:
        engines.stop()
