"""The command `folkmoot`. Heavy modules are imported by the command that needs them, so `--help` is quick."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from folkmoot.commands.audit import audit
from folkmoot.commands.evaluate import evaluate
from folkmoot.commands.keys import keys
from folkmoot.commands.people import user
from folkmoot.commands.platform import platform
from folkmoot.commands.reach import DATA, settings_of
from folkmoot.commands.receipt import receipt
from folkmoot.commands.tenants import tenant
from folkmoot.kit.log import configure
from folkmoot.settings import LANES, Settings, SettingsError, described


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
    """Serve HTTP with Granian, by the settings of the environment.

    \b
    Example: FOLKMOOT_HOST=0.0.0.0 FOLKMOOT_API_PROCESSES=4 folkmoot serve
    """
    from folkmoot.serve import serve as run

    settings = Settings.from_environment()
    # Each process that serves would say it on forty lines, several times.
    settings.require_engines()
    configure(settings.log_level, settings.log_format)
    run(settings)


@main.command()
@click.option("--lane", "lanes", multiple=True, type=click.Choice(LANES),
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
    """Bring the database to the shape that this version expects, as the owner role.

    \b
    Example: FOLKMOOT_OWNER_DATABASE_URL=postgresql://folkmoot_owner:…@db/folkmoot folkmoot migrate
    """
    from folkmoot.migrate import upgrade

    settings = settings_of(data)
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
    """Check what this installation needs, one line each; ends with status 1 if something is missing.

    \b
    Example: folkmoot doctor --data data
    """
    from folkmoot.doctor import examine

    failed = False
    for name, problem in asyncio.run(examine(settings_of(data))):
        failed = failed or problem is not None
        click.echo(f"{'ok  ' if problem is None else 'FAIL'} {name}{'' if problem is None else f': {problem}'}")
    sys.exit(1 if failed else 0)


@main.command("openapi")
def openapi() -> None:
    """Print the OpenAPI document."""
    import msgspec

    from folkmoot.kit.openapi import finish
    from folkmoot.main import create_app

    document = finish(create_app(Settings()).openapi_schema.to_schema())
    click.echo(msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=1).decode())


for group in (tenant, user, platform, audit, keys, evaluate, receipt):
    main.add_command(group)
