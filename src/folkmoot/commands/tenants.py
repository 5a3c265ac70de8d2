"""`folkmoot tenant`: the organisations on this installation."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from folkmoot.commands.reach import DATA, opened, operator, within

if TYPE_CHECKING:
    from folkmoot.kit.app import App
    from folkmoot.platform.service import PlatformService
    from folkmoot.tenants.models import Tenant

NAME = click.argument("name")
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
PATIENCE = 0.5
"""Seconds between two looks at a removal that a worker is at."""


@click.group()
def tenant() -> None:
    """Organisations on this installation.

    \b
    Examples:
      folkmoot tenant create Riverside --admin ada@riverside.example
      folkmoot tenant suspend Riverside --reason "The contract ended."
      folkmoot tenant delete Riverside
    """


@tenant.command("create")
@NAME
@click.option("--admin", "email", required=True, help="E-mail of its first administrator.")
@DATA
def tenant_create(name: str, email: str, data: Path | None) -> None:
    """Make an organisation NAME with its administrator.

    The password is FOLKMOOT_ADMIN_PASSWORD, or one that is printed once. The administrator of the very first
    organisation administers the installation too.

    \b
    Example: folkmoot tenant create Riverside --admin ada@riverside.example --data data
    """
    from folkmoot.platform.service import create_tenant

    async def run() -> None:
        async with opened(data) as app:
            made = await create_tenant(app, name, email, operator=operator())
        click.echo(f"organisation {name} ({made.tenant_id}), administrator {made.email}")
        if made.generated:
            click.echo(f"password (shown only now): {made.password}")

    asyncio.run(run())


@tenant.command("list")
@DATA
def tenant_list(data: Path | None) -> None:
    """Show the organisations, oldest first.

    \b
    Example: folkmoot tenant list --data data
    """
    from folkmoot.kit.access import Principal
    from folkmoot.tenants.service import TenantService

    async def run() -> None:
        async with opened(data) as app, app.begin(Principal.platform()) as work:
            for found in await TenantService(work).list_all():
                click.echo(f"{found.id}  {found.state:10} {found.name}")

    asyncio.run(run())


@tenant.command("show")
@NAME
@DATA
def tenant_show(name: str, data: Path | None) -> None:
    """Show state, quotas and usage of an organisation.

    \b
    Example: folkmoot tenant show Riverside
    """

    async def run() -> None:
        async with opened(data) as app:
            found, used = await _service(app).get((await _named(app, name)).id)
        _row("id", found.id)
        _row("name", found.name)
        _row("state", f"{found.state}{f' ({found.state_reason})' if found.state_reason else ''}")
        _row("made", f"{found.created_at:%Y-%m-%d %H:%M} UTC")
        _row("people", f"{used.users} (quota: {_limit(found.max_users)})")
        _row("storage", f"{used.storage_bytes} bytes (quota: {_limit(found.max_storage_bytes)})")
        _row("passages", f"{used.chunks} (quota: {_limit(found.max_chunks)})")
        _row("requests", f"(quota: {_limit(found.requests_per_minute, 'the default')} in a minute)")

    asyncio.run(run())


@tenant.command("suspend")
@NAME
@click.option("--reason", help="For its administrators and for the log.")
@DATA
def tenant_suspend(name: str, reason: str | None, data: Path | None) -> None:
    """Shut everybody of an organisation out, at once. Nothing is removed.

    \b
    Example: folkmoot tenant suspend Riverside --reason "The contract ended."
    """
    if reason is not None and not reason.strip():
        raise click.BadParameter("say why, or leave it out", param_hint="--reason")

    async def run() -> None:
        async with opened(data) as app:
            await _service(app).suspend((await _named(app, name)).id, (reason or "").strip())
        click.echo(f"{name} is suspended; `folkmoot tenant resume` lets its people in again")

    asyncio.run(run())


@tenant.command("resume")
@NAME
@DATA
def tenant_resume(name: str, data: Path | None) -> None:
    """Let the people of a suspended organisation in again.

    \b
    Example: folkmoot tenant resume Riverside
    """

    async def run() -> None:
        async with opened(data) as app:
            await _service(app).resume((await _named(app, name)).id)
        click.echo(f"{name} is active")

    asyncio.run(run())


@tenant.command("passwords")
@NAME
@click.argument("state", type=click.Choice(["on", "off"]))
@DATA
def tenant_passwords(name: str, state: str, data: Path | None) -> None:
    """Let the people of an organisation sign in by password, or only by its login methods.

    For the day when its identity provider is gone and no owner gets in. `folkmoot user password` sets one.

    \b
    Example: folkmoot tenant passwords Riverside on
    """
    from folkmoot.tenants.schemas import OrganisationUpdate, SettingsUpdate
    from folkmoot.tenants.service import OrganisationService

    async def run() -> None:
        change = OrganisationUpdate(settings=SettingsUpdate(password_login=state == "on"))
        async with opened(data) as app, within(app, name) as work:
            await OrganisationService(work).update(change, None)
        click.echo(f"passwords are {state} in {name}")

    asyncio.run(run())


@tenant.command("delete")
@NAME
@click.option("--yes", "confirmed", default=None, metavar="NAME",
              help="The name once more, instead of typing it when asked.")  # fmt: skip
@DATA
def tenant_delete(name: str, confirmed: str | None, data: Path | None) -> None:
    """Delete an organisation with every row and file, for ever, and print the certificate.

    Its people are shut out at once. A deletion that is cut off goes on by itself as soon as a worker runs.

    \b
    Examples:
      folkmoot tenant delete Riverside
      folkmoot tenant delete Riverside --yes Riverside > certificate.json
    """
    from folkmoot.platform.remove import remove
    from folkmoot.platform.tasks import remove_tenant

    async def run() -> None:
        async with opened(data) as app:
            found = await _named(app, name)
            _, used = await _service(app).get(found.id)
            typed = confirmed
            if typed is None:
                click.echo(f"{name}: people {used.users}, files {used.storage_bytes} bytes.", err=True)
                typed = click.prompt(
                    "Type its name to delete all of it for ever", default="", show_default=False, err=True
                )
            if typed != name:
                raise click.ClickException(f"that is not the name {name!r}: nothing was deleted")
            asked = await _service(app).delete(found.id, typed, remove_tenant)
            while not await remove(app, found.id, lambda said: click.echo(f"removed {said}", err=True)):  # noqa: ASYNC110
                await asyncio.sleep(PATIENCE)  # it may be another machine that is at it
            await _print_certificate(app, asked.id)

    asyncio.run(run())


@tenant.command("certificate")
@click.argument("which", metavar="NAME_OR_ID")
@DATA
def tenant_certificate(which: str, data: Path | None) -> None:
    """Print the certificate of a deletion as JSON, and say whether its signature holds.

    By the organisation's name (of which the newest), its id, or the certificate's own id.

    \b
    Example: folkmoot tenant certificate Riverside > certificate.json
    """

    async def run() -> None:
        async with opened(data) as app:
            await _print_certificate(app, UUID(which) if _ID.fullmatch(which) else which)

    asyncio.run(run())


async def _print_certificate(app: App, which: UUID | str) -> None:
    import msgspec

    from folkmoot.platform.certificate import is_valid, statement_of
    from folkmoot.platform.schemas import CertificateOut

    row = await _service(app).certificate(which)
    out = CertificateOut.of(row, statement_of(row), is_valid(row, app.keyring))
    click.echo(msgspec.json.format(msgspec.json.encode(out), indent=2).decode())
    if row.completed_at is not None:
        click.echo("the signature holds" if out.valid else "THE SIGNATURE DOES NOT HOLD", err=True)


async def _named(app: App, name: str) -> Tenant:
    from folkmoot.kit.access import Principal
    from folkmoot.tenants.service import TenantService

    async with app.begin(Principal.platform()) as work:
        return await TenantService(work).named(name)


def _service(app: App) -> PlatformService:
    from folkmoot.platform.service import Actor, PlatformService

    return PlatformService(app, Actor.command(operator()))


def _row(name: str, value: object) -> None:
    click.echo(f"{name:10} {value}")


def _limit(value: int | None, without: str = "none") -> str:
    return without if value is None else str(value)
