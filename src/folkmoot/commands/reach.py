"""How a command gets at the engines, and on whose behalf it acts. Imports nothing heavy before it has to."""

from __future__ import annotations

import getpass
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from folkmoot.kit.log import configure
from folkmoot.settings import Settings

if TYPE_CHECKING:
    from folkmoot.kit.app import App

DATA = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Folder of a running `folkmoot up`; without it, the settings of the environment are used.",
)
TENANT = click.option("--tenant", "tenant_name", required=True, help="Name of the organisation.")


def settings_of(data: Path | None) -> Settings:
    """The settings of the environment, or those of the engines that `folkmoot up` runs for the folder `data`."""
    settings = Settings.from_environment()
    if data is None:
        return settings
    from folkmoot.embedded import endpoints_of
    from folkmoot.up import settings_for

    return settings_for(data, endpoints_of(data), settings)


@asynccontextmanager
async def opened(data: Path | None) -> AsyncGenerator[App]:
    """The assembled application, without a worker and without HTTP."""
    from folkmoot.assemble import assemble

    configure("error", "text")
    async with assemble(settings_of(data)) as app:
        yield app


@asynccontextmanager
async def within(app: App, tenant_name: str) -> AsyncGenerator[Any]:
    """A unit of work in the organisation of this name, whose events name the account that runs the command."""
    from folkmoot.kit.access import Permission, Principal
    from folkmoot.tenants.service import TenantService

    async with app.begin(Principal.platform()) as work:
        found = await TenantService(work).named(tenant_name)
    principal = replace(Principal.platform(), tenant_id=found.id, permissions=frozenset(Permission))
    async with app.begin(principal) as work:
        yield work
        for row in work.events:
            row["data"] = row["data"] | {"operator": operator()}


def operator() -> str:
    """The account of this machine that runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
