"""Alembic's environment: connects as the owner role and waits for no lock longer than a few seconds."""

from __future__ import annotations

import asyncio
from typing import cast

from advanced_alchemy.alembic.commands import AlembicCommandConfig
from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from folkmoot.migrate import METADATA


def run(connection: Connection) -> None:
    # A migration that waits for a lock makes everybody behind it wait as well.
    connection.execute(text("SET lock_timeout = '5s'"))
    connection.execute(text("SET statement_timeout = '30min'"))
    connection.commit()
    context.configure(connection=connection, target_metadata=METADATA, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def main() -> None:
    config = cast("AlembicCommandConfig", context.config)
    engine = cast("AsyncEngine", config.engine)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


asyncio.run(main())
