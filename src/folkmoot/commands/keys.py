"""`folkmoot keys`: exchanging the keys that everything is encrypted with, and what needs which of them."""

from __future__ import annotations

import asyncio
import base64
import secrets
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from folkmoot.commands.reach import DATA, opened, operator

if TYPE_CHECKING:
    from collections.abc import Generator

    from folkmoot.platform.key_status import KeyStatus
    from folkmoot.platform.rotate import Report


@click.group()
def keys() -> None:
    """Exchange the keys that files, secrets and sign-ins hang on, while everything runs.

    \b
    Examples:
      folkmoot keys status
      folkmoot keys rotate
      folkmoot keys rotate --data-keys
    """


@keys.command()
@click.option("--data-keys", is_flag=True, help="Make a new data key for each organisation too, and encrypt all anew.")
@click.option(
    "--stolen",
    is_flag=True,
    help="The master key was seen by somebody: as --data-keys, and all sessions and links end.",
)
@DATA
def rotate(data_keys: bool, stolen: bool, data: Path | None) -> None:
    """Encrypt every organisation's data key with the first master key, so that the others can go.

    Put a new master key before the old one in FOLKMOOT_SECRET_KEY first, for all processes. With --data, the new one
    is made here, and the old one is gone when it is done. What is still encrypted in the way of earlier releases is
    moved too. Cut off, it goes on when it is run again.

    \b
    Example: FOLKMOOT_SECRET_KEY="$NEW,$OLD" folkmoot keys rotate
    """
    if data is not None:
        _begin(data)

    async def run() -> Report:
        from folkmoot.platform.rotate import Rotation

        async with opened(data) as app:
            return await Rotation(app, click.echo, operator=operator()).run(data_keys=data_keys, stolen=stolen)

    with _told():
        report = asyncio.run(run())
    click.echo(
        f"{report.wrapped} keys are encrypted with the first master key now, {report.made} were made, "
        f"{report.removed} removed; {report.secrets} secrets and {report.files} files were encrypted anew"
    )
    for fault in report.faults:
        click.echo(f"cannot be opened: {fault}", err=True)
    if report.faults:
        raise click.ClickException("not everything could be moved: keep all master keys until it is")
    if data is not None:
        _end(data)


@keys.command()
@DATA
def status(data: Path | None) -> None:
    """Show what needs which master key, and which of them can go; ends with status 1 if a key does not open.

    \b
    Example: folkmoot keys status
    """

    async def run() -> KeyStatus:
        from folkmoot.platform.key_status import key_status

        async with opened(data) as app:
            return await key_status(app)

    with _told():
        found = asyncio.run(run())
    for master in found.masters:
        place = "the first" if master.first else "given" if master.given else "NOT in FOLKMOOT_SECRET_KEY"
        old = "".join(f", {number} {what} in the old form" for what, number in sorted(master.old.items()))
        verdict = " (it can go)" if master.given and found.can_go(master) else ""
        click.echo(f"master key {master.id}  {place}: {master.wraps} keys{old}{verdict}")
    click.echo(f"{found.tenants} data keys are in use, {found.retired} older ones are kept for a while")
    if found.retired_until is not None:
        click.echo(f"`folkmoot keys rotate` after {found.retired_until:%Y-%m-%d %H:%M} UTC removes those")
    if found.before:
        click.echo(f"{len(found.before)} tenants may have something of earlier releases: run `folkmoot keys rotate`")
    for fault in found.faults:
        click.echo(f"does not open: {fault}", err=True)
    if found.faults:
        sys.exit(1)


def _begin(data: Path) -> None:
    """Give the processes of `folkmoot up` a new master key beside the old one, unless a run before did."""
    from folkmoot.embedded import endpoints_of, put_secret_keys, secret_keys

    endpoints_of(data)
    given = secret_keys(data)
    if len(given) == 1:
        put_secret_keys(data, [base64.b64encode(secrets.token_bytes(32)).decode(), *given])


def _end(data: Path) -> None:
    from folkmoot.embedded import put_secret_keys, secret_keys

    put_secret_keys(data, secret_keys(data)[:1])
    click.echo(f"{data} has a new master key: save secrets.json once more in another place")


@contextmanager
def _told() -> Generator[None]:
    from folkmoot.kit.crypto import CryptoError

    try:
        yield
    except CryptoError as error:
        raise click.ClickException(str(error)) from error
