"""`folkmoot platform`: who administers the installation."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from folkmoot.commands.reach import DATA, TENANT, opened, operator

if TYPE_CHECKING:
    from folkmoot.kit.app import App
    from folkmoot.platform.admins import PlatformAdminService


@click.group()
def platform() -> None:
    """Who administers this installation: named people, each with an account in an organisation.

    \b
    Examples:
      folkmoot platform admins
      folkmoot platform grant ada@riverside.example --tenant Riverside
      folkmoot platform revoke ada@riverside.example --tenant Riverside
    """


@platform.command("admins")
@DATA
def platform_admins(data: Path | None) -> None:
    """Show who administers this installation.

    \b
    Example: folkmoot platform admins --data data
    """

    async def run() -> None:
        async with opened(data) as app:
            cursor: str | None = None
            while True:
                rows, cursor = await _service(app).page(200, cursor)
                for row in rows:
                    state = "active" if row.active else "inactive"
                    click.echo(f"{row.user_id}  {state:10} {row.email}  {row.tenant_name}  (by {row.granted_by})")
                if cursor is None:
                    return

    asyncio.run(run())


@platform.command("grant")
@click.argument("email")
@TENANT
@DATA
def platform_grant(email: str, tenant_name: str, data: Path | None) -> None:
    """Name somebody to administer this installation.

    \b
    Example: folkmoot platform grant ada@riverside.example --tenant Riverside
    """
    from folkmoot.platform.schemas import PlatformAdminGrant

    async def run() -> None:
        async with opened(data) as app:
            admins = _service(app)
            tenant_id, user_id = await admins.find(tenant_name, email)
            await admins.grant(PlatformAdminGrant(tenant_id=tenant_id, user_id=user_id))
        click.echo(f"{email} administers this installation")

    asyncio.run(run())


@platform.command("revoke")
@click.argument("email")
@TENANT
@DATA
def platform_revoke(email: str, tenant_name: str, data: Path | None) -> None:
    """Let somebody administer this installation no longer, at once. The last one cannot be taken away.

    \b
    Example: folkmoot platform revoke ada@riverside.example --tenant Riverside
    """

    async def run() -> None:
        async with opened(data) as app:
            admins = _service(app)
            _, user_id = await admins.find(tenant_name, email)
            await admins.revoke(user_id)
        click.echo(f"{email} administers this installation no longer")

    asyncio.run(run())


def _service(app: App) -> PlatformAdminService:
    from folkmoot.platform.admins import PlatformAdminService
    from folkmoot.platform.service import Actor

    return PlatformAdminService(app, Actor.command(operator()))
