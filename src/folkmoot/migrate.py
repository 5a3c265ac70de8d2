"""Bringing the database to the shape that this version of the code expects. Runs as the owner role."""

from __future__ import annotations

import asyncio
from pathlib import Path

from advanced_alchemy.alembic.commands import AlembicCommands
from advanced_alchemy.config import AlembicAsyncConfig, SQLAlchemyAsyncConfig
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

# Importing the models is what fills the metadata.
from folkmoot.ai import models as _ai
from folkmoot.assistants import models as _assistants
from folkmoot.audit import models as _audit
from folkmoot.classification import models as _classification
from folkmoot.conversations import models as _conversations
from folkmoot.federation import models as _federation
from folkmoot.files import models as _files
from folkmoot.identity import models as _identity
from folkmoot.keys import models as _keys
from folkmoot.kit import data_keys as _data_keys
from folkmoot.kit import events as _events
from folkmoot.kit.db import Base, make_engine
from folkmoot.knowledge import models as _knowledge
from folkmoot.knowledge.embedding import models as _embedding
from folkmoot.knowledge.golden import models as _golden
from folkmoot.people import models as _people
from folkmoot.spaces import models as _spaces
from folkmoot.tenants import models as _tenants
from folkmoot.tools import models as _tools
from folkmoot.usage import models as _usage
from folkmoot.websites import models as _websites

MODELS = (
    _tenants,
    _tools,
    _data_keys,
    _identity,
    _people,
    _events,
    _audit,
    _federation,
    _keys,
    _classification,
    _spaces,
    _usage,
    _files,
    _ai,
    _knowledge,
    _embedding,
    _golden,
    _websites,
    _assistants,
    _conversations,
)
METADATA = Base.metadata


def folder() -> Path:
    """Where the migrations lie: inside the installed package, or at the root of a checkout."""
    inside = Path(__file__).parent / "migrations"
    return inside if inside.exists() else Path(__file__).parents[2] / "migrations"


def head() -> str:
    """The newest revision, by file name: `0001_first.py` is revision `0001`."""
    return max(path.name.split("_")[0] for path in (folder() / "versions").glob("[0-9]*.py"))


async def current(url: str) -> str | None:
    """The revision that the database is at, or None before the first."""
    engine = make_engine(url, pool=1)
    try:
        async with engine.connect() as connection:
            return await connection.scalar(text("SELECT version_num FROM alembic_version"))
    except DBAPIError:
        return None
    finally:
        await engine.dispose()


def upgrade(owner_url: str) -> bool:
    """Run what is missing; False if nothing was. Blocking: call it before the event loop starts."""
    if asyncio.run(current(owner_url)) == head():
        return False
    commands(owner_url).upgrade()
    return True


def commands(owner_url: str) -> AlembicCommands:
    """Alembic's commands for this project, as advanced-alchemy wraps them."""
    config = SQLAlchemyAsyncConfig(
        engine_instance=make_engine(owner_url, pool=1),
        metadata=METADATA,
        alembic_config=AlembicAsyncConfig(
            script_location=str(folder()), version_table_name="alembic_version", render_as_batch=False
        ),
    )
    return AlembicCommands(config)
