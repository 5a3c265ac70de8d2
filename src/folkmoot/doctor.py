"""`folkmoot doctor`: does this installation have what it needs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import uuid4

import asyncpg
from redis.exceptions import RedisError

from folkmoot import migrate
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.mail import Server
from folkmoot.kit.redis import connect
from folkmoot.kit.storage import Storage
from folkmoot.kit.storage_errors import StorageError
from folkmoot.plugins.manager import PluginManager
from folkmoot.settings import Settings, SettingsError

Finding = tuple[str, str | None]
"""(what was looked at, what is wrong with it or None)."""


async def examine(settings: Settings) -> list[Finding]:
    """Look at each part that the service stands on."""
    findings: list[Finding] = []
    findings += await _postgres(settings)
    findings.append(("Redis", await _redis(settings)))
    findings.append(("storage", await _storage(settings)))
    findings.append(("mail", _mail(settings)))
    for plugin in PluginManager.load(allow=settings.plugins, required=()).plugins:
        findings.append((f"plugin {plugin.name}", plugin.error))
    return findings


async def _postgres(settings: Settings) -> list[Finding]:
    connect_to = cast("Any", asyncpg).connect
    try:
        connection = await connect_to(settings.database_url, timeout=5)
    except (OSError, asyncpg.PostgresError, ValueError, TimeoutError) as error:
        return [("PostgreSQL", f"cannot connect with FOLKMOOT_DATABASE_URL: {error}")]
    try:
        role = await connection.fetchrow(
            "SELECT rolsuper OR rolbypassrls AS bypasses FROM pg_roles WHERE rolname = current_user"
        )
        vector = await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    finally:
        await connection.close()
    at = await migrate.current(settings.database_url)
    return [
        ("PostgreSQL", None),
        (
            "runtime role",
            "it bypasses row-level security: connect as a role without SUPERUSER and BYPASSRLS"
            if role is not None and role["bypasses"]
            else None,
        ),
        ("pgvector", None if vector else "the extension is not there: `CREATE EXTENSION vector` as a superuser"),
        (
            "migrations",
            None
            if at == migrate.head()
            else f"the database is at {at}, the code wants {migrate.head()}: `folkmoot migrate`",
        ),
    ]


async def _redis(settings: Settings) -> str | None:
    try:
        redis = connect(settings.redis_url)
    except ValueError as error:
        return f"cannot connect with FOLKMOOT_REDIS_URL: {error}"
    try:
        persistence = await redis.info("persistence")
    except (RedisError, OSError, ValueError) as error:
        return f"cannot connect with FOLKMOOT_REDIS_URL: {error}"
    finally:
        await redis.aclose()
    if not persistence.get("aof_enabled"):
        return "append-only persistence is off, so a restart loses streams: set `appendonly yes`"
    return None


def _mail(settings: Settings) -> str | None:
    if not settings.smtp_url:
        return None
    try:
        Server.from_url(settings.smtp_url)
    except SettingsError as error:
        return str(error)
    return None


async def _storage(settings: Settings) -> str | None:
    try:
        storage = Storage.from_url(settings.storage_url, Keyring(settings.master_keys()))
        tenant, key = uuid4(), f"doctor/{os.getpid()}"
        await storage.write(tenant, key, _one_chunk())
        await storage.delete(tenant, key)
    except (StorageError, SettingsError, OSError) as error:
        return str(error)
    return None


async def _one_chunk() -> AsyncIterator[bytes]:
    yield b"well"
