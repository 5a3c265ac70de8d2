"""The command `folkmoot`. Heavy modules are imported by the command that needs them, so `--help` is quick."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from folkmoot.kit.log import configure
from folkmoot.settings import Settings, SettingsError, described

if TYPE_CHECKING:
    from folkmoot.kit.app import App

DATA = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Folder of a running `folkmoot up`; without it, the settings of the environment are used.",
)


class Group(click.Group):
    """Shows expected failures as one sentence, and ends with status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        from folkmoot.embedded import DataFolderInUse, EmbeddedError
        from folkmoot.kit.errors import AppError, from_database

        try:
            return super().invoke(ctx)
        except DataFolderInUse as error:
            click.echo(f"folkmoot: {error}", err=True)
            sys.exit(2)
        except (SettingsError, EmbeddedError) as error:
            raise click.ClickException(str(error)) from error
        except AppError as error:
            raise click.ClickException(error.detail) from error
        except Exception as error:
            known = from_database(error)
            if known is not None:
                raise click.ClickException(known.detail) from error
            raise


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="folkmoot")
def main() -> None:
    """Folkmoot: ask your own documents, get cited answers.

    \b
    Examples:
      folkmoot up                                 start everything on this machine
      folkmoot ask rules.pdf "How high may a fence be?"
      folkmoot tenant create Riverside --admin ada@riverside.example --data data
    """


@main.command()
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=Path("data"), show_default=True,
              help="Folder for the database, the queue and the files.")  # fmt: skip
@click.option("--host", default=None, help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, default=None, help="Port to listen on.  [default: 8000]")
def up(data: Path, host: str | None, port: int | None) -> None:
    """Start PostgreSQL, Redis, a worker and the API on this machine.

    The first start makes the first administrator, from FOLKMOOT_ADMIN_EMAIL and FOLKMOOT_ADMIN_PASSWORD, or
    with a password that is printed once. Ctrl-C stops everything; the data stay.

    \b
    Example: folkmoot up --data ./data --port 8000
    """
    from folkmoot.up import Up, UpError

    overrides: dict[str, Any] = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = Settings.from_environment(None, **overrides)
    configure("warning", "text")
    try:
        Up(data, settings, click.echo).run()
    except UpError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("question")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=None,
              help="Keep what was read in this folder; without it, nothing stays.")  # fmt: skip
def ask(files: tuple[Path, ...], question: str, data: Path | None) -> None:
    """Ask FILES a QUESTION, and get a cited answer here in the terminal.

    \b
    Example: folkmoot ask rules.pdf minutes.docx "When was the new fence rule decided?"
    """
    from folkmoot.ask import run

    configure("error", "text")
    sys.exit(run(list(files), question, data, Settings.from_environment()))


@main.command()
def serve() -> None:
    """Serve HTTP with Granian, by the settings of the environment."""
    from folkmoot.serve import serve as run

    settings = Settings.from_environment()
    configure(settings.log_level, settings.log_format)
    run(settings)


@main.command()
@click.option("--lane", "lanes", multiple=True, type=click.Choice(["chat", "ingest", "maintenance"]),
              help="Serve only this lane; may be given several times.")  # fmt: skip
def worker(lanes: tuple[str, ...]) -> None:
    """Write answers and read documents, by the settings of the environment.

    \b
    Example: folkmoot worker --lane chat
    """
    import uvloop

    from folkmoot.worker import run

    settings = Settings.from_environment(lanes=lanes) if lanes else Settings.from_environment()
    configure(settings.log_level, settings.log_format)
    uvloop.run(run(settings))


@main.command()
@DATA
def migrate(data: Path | None) -> None:
    """Bring the database to the shape that this version expects, as the owner role."""
    from folkmoot.migrate import upgrade

    settings = _settings(data)
    if not settings.owner_database_url:
        raise SettingsError("FOLKMOOT_OWNER_DATABASE_URL is not set: migrations run as the owner of the tables")
    click.echo("migrated" if upgrade(settings.owner_database_url) else "nothing to do")


@main.group(invoke_without_command=True)
@click.pass_context
def plugins(context: click.Context) -> None:
    """Show each plugin with its version, hooks and error."""
    if context.invoked_subcommand is None:
        context.invoke(plugins_list)


@plugins.command("list")
def plugins_list() -> None:
    """Show each plugin with its version, hooks and error; the same as `folkmoot plugins`."""
    from folkmoot.plugins.manager import PluginManager

    settings = Settings.from_environment()
    for found in PluginManager.load(allow=settings.plugins, required=()).plugins:
        state = f"broken: {found.error}" if found.error else ", ".join(found.hooks)
        click.echo(f"{found.name:24} {found.version:10} {state}")


@plugins.command("new")
@click.argument("name")
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), default=Path())
def plugins_new(name: str, into: Path) -> None:
    """Write a new provider plugin called NAME, ready to install and test.

    \b
    Example: folkmoot plugins new weather
    """
    from folkmoot.plugins.template import render

    click.echo(f"written to {render(name, into)}: install it with `pip install -e`, and run its tests with pytest")


@main.command("settings")
def show_settings() -> None:
    """List every setting with its default and meaning."""
    for name, default, meaning in described():
        click.echo(f"{name}{f'={default}' if default else ''}\n    {meaning}")


@main.command()
@DATA
def doctor(data: Path | None) -> None:
    """Check what this installation needs, one line each; ends with status 1 if something is missing."""
    from folkmoot.doctor import examine

    failed = False
    for name, problem in asyncio.run(examine(_settings(data))):
        failed = failed or problem is not None
        click.echo(f"{'ok  ' if problem is None else 'FAIL'} {name}{'' if problem is None else f': {problem}'}")
    sys.exit(1 if failed else 0)


@main.group()
def tenant() -> None:
    """Organisations on this installation."""


@tenant.command("create")
@click.argument("name")
@click.option("--admin", "email", required=True, help="E-mail of its first administrator.")
@DATA
def tenant_create(name: str, email: str, data: Path | None) -> None:
    """Make an organisation NAME with its administrator.

    The password is FOLKMOOT_ADMIN_PASSWORD, or one that is printed once.
    """
    from folkmoot.platform.service import create_tenant

    async def run() -> None:
        async with _app(data) as app:
            made = await create_tenant(app, name, email)
        click.echo(f"organisation {name} ({made.tenant_id}), administrator {made.email}")
        if made.generated:
            click.echo(f"password (shown only now): {made.password}")

    asyncio.run(run())


@tenant.command("list")
@DATA
def tenant_list(data: Path | None) -> None:
    """Show the organisations."""
    from folkmoot.kit.access import Principal
    from folkmoot.tenants.service import TenantService

    async def run() -> None:
        async with _app(data) as app, app.begin(Principal.platform()) as work:
            for found in await TenantService(work).list_all():
                click.echo(f"{found.id}  {found.state:10} {found.name}")

    asyncio.run(run())


@main.group()
def user() -> None:
    """People of an organisation."""


TENANT = click.option("--tenant", "tenant_name", required=True, help="Name of the organisation.")


@user.command("create")
@click.argument("email")
@click.option("--name", default="")
@click.option("--role", type=click.Choice(["user", "owner"]), default="user", show_default=True)
@click.option("--password", envvar="FOLKMOOT_PASSWORD", prompt=True, hide_input=True, confirmation_prompt=True,
              help="Asked for, or from FOLKMOOT_PASSWORD.")  # fmt: skip
@TENANT
@DATA
def user_create(email: str, name: str, role: str, password: str, tenant_name: str, data: Path | None) -> None:
    """Add a person with a password."""
    from folkmoot.identity.passwords import hash_password
    from folkmoot.identity.service import UserService

    async def run() -> None:
        async with _app(data) as app:
            _check_password(app.settings, password)
            hashed = await hash_password(password)
            async with _in_tenant(app, tenant_name) as work:
                made = await UserService(work).create(email, hashed, name=name, role=role)
        click.echo(f"{made.email} ({made.id}) is {made.role} in {tenant_name}")

    asyncio.run(run())


@user.command("list")
@TENANT
@DATA
def user_list(tenant_name: str, data: Path | None) -> None:
    """Show the people of an organisation."""
    from folkmoot.identity.service import UserService

    async def run() -> None:
        async with _app(data) as app, _in_tenant(app, tenant_name) as work:
            for found in await UserService(work).list_all():
                click.echo(f"{found.id}  {found.state:10} {found.role:8} {found.email}")

    asyncio.run(run())


@user.command("password")
@click.argument("email")
@click.option("--password", envvar="FOLKMOOT_PASSWORD", prompt=True, hide_input=True, confirmation_prompt=True)
@TENANT
@DATA
def user_password(email: str, password: str, tenant_name: str, data: Path | None) -> None:
    """Set a new password; all sessions of the person end."""
    from folkmoot.identity.passwords import hash_password
    from folkmoot.identity.service import UserService

    async def run() -> None:
        async with _app(data) as app:
            _check_password(app.settings, password)
            hashed = await hash_password(password)
            async with _in_tenant(app, tenant_name) as work:
                users = UserService(work)
                await users.set_password(await users.with_email(email), hashed)
        click.echo("done; all sessions have ended")

    asyncio.run(run())


@user.command("state")
@click.argument("email")
@click.argument("state", type=click.Choice(["active", "inactive"]))
@TENANT
@DATA
def user_state(email: str, state: str, tenant_name: str, data: Path | None) -> None:
    """Let somebody in again, or shut them out at once."""
    from folkmoot.identity.service import UserService

    async def run() -> None:
        async with _app(data) as app, _in_tenant(app, tenant_name) as work:
            users = UserService(work)
            await users.set_state(await users.with_email(email), state)
        click.echo(f"{email} is {state}")

    asyncio.run(run())


@main.command("openapi")
def openapi() -> None:
    """Print the OpenAPI document."""
    import msgspec

    from folkmoot.kit.openapi import finish
    from folkmoot.main import create_app

    document = finish(create_app(Settings()).openapi_schema.to_schema())
    click.echo(msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=1).decode())


def _settings(data: Path | None) -> Settings:
    settings = Settings.from_environment()
    if data is None:
        return settings
    from folkmoot.embedded import endpoints_of
    from folkmoot.up import settings_for

    return settings_for(data, endpoints_of(data), settings)


def _check_password(settings: Settings, password: str) -> None:
    if len(password) < settings.password_min_length:
        raise SettingsError(
            f"the password is shorter than {settings.password_min_length} characters: choose a longer one"
        )


@asynccontextmanager
async def _app(data: Path | None) -> AsyncGenerator[App]:
    from folkmoot.assemble import assemble

    configure("error", "text")
    async with assemble(_settings(data)) as app:
        yield app


@asynccontextmanager
async def _in_tenant(app: App, name: str) -> AsyncGenerator[Any]:
    from folkmoot.kit.access import Principal
    from folkmoot.tenants.service import TenantService

    async with app.begin(Principal.platform()) as work:
        found = await TenantService(work).named(name)
    async with app.begin(Principal.system(found.id)) as work:
        yield work
