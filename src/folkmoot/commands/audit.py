"""`folkmoot audit`: whether the log is what was written, and the log as a file."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from folkmoot.commands.reach import DATA, TENANT, opened, operator, within

if TYPE_CHECKING:
    from folkmoot.audit.verify import Verdict
    from folkmoot.audit.walk import Fault
    from folkmoot.kit.app import App

QUIET_SECONDS = 1.0
SHOWN = 20


@click.group()
def audit() -> None:
    """Check and export the log of what happened.

    \b
    Examples:
      folkmoot audit verify
      folkmoot audit export --tenant Riverside --reason "Case 2026-114" > log.jsonl
    """


@audit.command()
@click.option(
    "--tenant", "tenant_name", default=None, help="Name of one organisation.  [default: all, and the platform]"
)
@DATA
def verify(tenant_name: str | None, data: Path | None) -> None:
    """Check that no row of the log was changed, removed, put in or moved.

    Ends with status 1 if one was, and names the first. Events of the last seconds may not be sealed yet; they are
    counted as pending.

    \b
    Example: folkmoot audit verify --data ./data
    """

    async def run() -> bool:
        from folkmoot.audit.verify import lost_logs
        from folkmoot.audit.verify import verify as check

        async with opened(data) as app:
            whole = True
            for tenant_id, name in await _tenants(app, tenant_name):
                whole &= _tell(name, await check(app, tenant_id, progress=_progress(name)))
            for _, fault in [] if tenant_name else await lost_logs(app):
                _tell_fault("(removed)", [fault])
                whole = False
        return whole

    if not asyncio.run(run()):
        click.echo("folkmoot: the log was tampered with", err=True)
        sys.exit(1)
    click.echo("the log is whole")


@audit.command("export")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="jsonl", show_default=True)
@click.option("--reason", required=True, help="Why it is read; it is kept in the log.")
@click.option("--action", default=None, help="As `session.failed`, or a family: `session.`")
@click.option("--from", "since", type=click.DateTime(), default=None, metavar="TIME",
              help="From this moment on, as 2026-11-01 or 2026-11-01T08:00:00, in UTC.")  # fmt: skip
@click.option("--to", "until", type=click.DateTime(), default=None, metavar="TIME",
              help="Up to before this moment, in UTC.")  # fmt: skip
@TENANT
@DATA
def export_log(
    form: str, reason: str, action: str | None, since: datetime | None, until: datetime | None,
    tenant_name: str, data: Path | None,
) -> None:  # fmt: skip
    """Print the log of an organisation, newest first.

    \b
    Example: folkmoot audit export --tenant Riverside --reason "Case 2026-114" --format csv > log.csv
    """
    if len(reason.strip()) < 10:
        raise click.UsageError("--reason must have at least 10 characters: the log keeps it")

    async def run() -> None:
        from folkmoot.audit.export import written
        from folkmoot.audit.service import Filter

        wanted = Filter(action=action, since=since, until=until)
        async with opened(data) as app:
            async with within(app, tenant_name) as work:
                work.record("audit.exported", "audit", data={"reason": reason.strip(), "format": form})
                tenant_id = work.principal.tenant
            parts = 0
            async for part in written(app, tenant_id, wanted, "csv" if form == "csv" else "jsonl"):
                parts += bool(part)
                sys.stdout.buffer.write(part)
            # CSV begins with the names of its columns.
            if parts <= (form == "csv"):
                click.echo(f"folkmoot: no event of {tenant_name} fits", err=True)

    asyncio.run(run())


@audit.command()
@click.option("--reason", required=True, help="As: restored the backup of 22 November. It is kept in the log.")
@click.option(
    "--tenant", "tenant_name", default=None, help="Name of one organisation.  [default: all, and the platform]"
)
@DATA
def accept(reason: str, tenant_name: str | None, data: Path | None) -> None:
    """Accept that a log ends where it ends now, after an older backup was restored.

    The event that says so names what is missing. Rows that were tampered with stay found.

    \b
    Example: folkmoot audit accept --reason "Restored the backup of 22 November" --data ./data
    """
    if len(reason.strip()) < 10:
        raise click.UsageError("--reason must have at least 10 characters: the log keeps it")

    async def run() -> None:
        from folkmoot.audit.seal import accept as take
        from folkmoot.audit.verify import accept_lost

        async with opened(data) as app:
            accepted = False
            if tenant_name is None and (gone := await accept_lost(app, reason.strip(), operator())):
                accepted = True
                click.echo(f"logs of organisations that are not here: {gone}")
            for tenant_id, name in await _tenants(app, tenant_name):
                missing = await take(app, tenant_id, reason.strip(), operator())
                if missing is not None:
                    accepted = True
                    click.echo(f"{name}: {missing}")
        click.echo("accepted" if accepted else "nothing is missing at the end of any log, so nothing was accepted")

    asyncio.run(run())


async def _tenants(app: App, tenant_name: str | None) -> list[tuple[UUID, str]]:
    from folkmoot.kit.access import Principal
    from folkmoot.tenants.models import PLATFORM
    from folkmoot.tenants.service import TenantService

    async with app.begin(Principal.platform()) as work:
        service = TenantService(work)
        if tenant_name is not None:
            found = await service.named(tenant_name)
            return [(found.id, found.name)]
        return [(PLATFORM, "(the platform)"), *((row.id, row.name) for row in await service.list_all())]


def _tell(name: str, found: Verdict) -> bool:
    """One line for a log, and its faults; True if there are none."""
    counts = f"{found.events} events, {found.checkpoints} checkpoints, {found.pending} pending"
    unseen = "" if found.remembered or not found.events else "; Redis remembers no end of it to compare with"
    click.echo(f"{'whole   ' if not found.faults else 'TAMPERED'} {name}: {counts}{unseen}")
    _tell_fault(name, found.faults)
    return not found.faults


def _tell_fault(name: str, faults: list[Fault]) -> None:
    for number, fault in enumerate(faults[:SHOWN]):
        which = "first: " if number == 0 else "then:  "
        click.echo(f"{name}: {which}{fault.kind} at position {fault.position}: {fault.detail}", err=True)
    if len(faults) > SHOWN:
        click.echo(f"{name}: and {len(faults) - SHOWN} more", err=True)


def _progress(name: str) -> Any:
    begun = told = time.monotonic()

    def show(done: int, of: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - begun < QUIET_SECONDS or now - told < QUIET_SECONDS:
            return
        told = now
        click.echo(f"{name}: {done} of {of} events, {done / (now - begun):.0f} a second", err=True)

    return show
