"""`folkmoot user`: people of an organisation."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from folkmoot.commands.reach import DATA, TENANT, opened, within
from folkmoot.kit.access import ROLES


@click.group()
def user() -> None:
    """People of an organisation.

    \b
    Examples:
      folkmoot user create bo@riverside.example --name Bo --tenant Riverside
      folkmoot user list --tenant Riverside
      folkmoot user state bo@riverside.example inactive --tenant Riverside
    """


@user.command("create")
@click.argument("email")
@click.option("--name", default="", help="Shown to others.")
@click.option("--role", type=click.Choice(list(ROLES)), default="user", show_default=True)
@click.option("--password", envvar="FOLKMOOT_PASSWORD", prompt=True, hide_input=True, confirmation_prompt=True,
              help="Asked for, or from FOLKMOOT_PASSWORD.")  # fmt: skip
@TENANT
@DATA
def user_create(email: str, name: str, role: str, password: str, tenant_name: str, data: Path | None) -> None:
    """Add a person with a password.

    \b
    Example: folkmoot user create bo@riverside.example --name Bo --role owner --tenant Riverside
    """
    from folkmoot.identity import passwords
    from folkmoot.identity.service import UserService
    from folkmoot.tenants.service import check_users_quota

    async def run() -> None:
        async with opened(data) as app:
            passwords.check(password, minimum=app.settings.password_min_length, words=(email, name))
            hashed = await passwords.hash_password(password)
            async with within(app, tenant_name) as work:
                await check_users_quota(work)
                made = await UserService(work).create(email, hashed, name=name, role=role)
        click.echo(f"{made.email} ({made.id}) is {made.role} in {tenant_name}")

    asyncio.run(run())


@user.command("list")
@TENANT
@DATA
def user_list(tenant_name: str, data: Path | None) -> None:
    """Show the people of an organisation.

    \b
    Example: folkmoot user list --tenant Riverside
    """
    from folkmoot.identity.service import UserService

    async def run() -> None:
        async with opened(data) as app, within(app, tenant_name) as work:
            for found in await UserService(work).list_all():
                click.echo(f"{found.id}  {found.state:10} {found.role:8} {found.email}")

    asyncio.run(run())


@user.command("password")
@click.argument("email")
@click.option("--password", envvar="FOLKMOOT_PASSWORD", prompt=True, hide_input=True, confirmation_prompt=True,
              help="Asked for, or from FOLKMOOT_PASSWORD.")  # fmt: skip
@TENANT
@DATA
def user_password(email: str, password: str, tenant_name: str, data: Path | None) -> None:
    """Set a new password; all sessions of the person end.

    \b
    Example: folkmoot user password bo@riverside.example --tenant Riverside
    """
    from folkmoot.identity import passwords
    from folkmoot.identity.service import UserService

    async def run() -> None:
        async with opened(data) as app:
            passwords.check(password, minimum=app.settings.password_min_length, words=(email,))
            hashed = await passwords.hash_password(password)
            async with within(app, tenant_name) as work:
                users = UserService(work)
                await users.set_password(await users.with_email(email), hashed)
        click.echo(f"{email} has a new password; all sessions of this person have ended")

    asyncio.run(run())


@user.command("state")
@click.argument("email")
@click.argument("state", type=click.Choice(["active", "inactive"]))
@TENANT
@DATA
def user_state(email: str, state: str, tenant_name: str, data: Path | None) -> None:
    """Let somebody in again, or shut them out at once.

    \b
    Example: folkmoot user state bo@riverside.example inactive --tenant Riverside
    """
    from folkmoot.identity.service import UserService

    async def run() -> None:
        async with opened(data) as app, within(app, tenant_name) as work:
            users = UserService(work)
            await users.set_state(await users.with_email(email), state)
        click.echo(f"{email} is {state}")

    asyncio.run(run())
