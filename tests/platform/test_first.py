"""The first organisation and its administrator, on an installation that has none."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import asyncpg
import pytest

from folkmoot.assemble import assemble
from folkmoot.platform.admins import PlatformAdminService
from folkmoot.platform.service import Actor, create_tenant, ensure_first
from folkmoot.settings import SettingsError
from tests.conftest import with_database

PASSWORD = "correct horse battery staple"


@pytest.fixture
async def empty(settings):
    """An application on a database of its own, as after the first migration."""
    name = f"empty_{os.getpid()}"
    connection = await asyncpg.connect(with_database(os.environ["FOLKMOOT_TEST_SUPERUSER"], "postgres"))
    try:
        for attempt in range(20):
            try:
                await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE folkmoot OWNER folkmoot_owner')
                break
            except asyncpg.ObjectInUseError:
                await asyncio.sleep(0.2 * (attempt + 1))
        fresh = replace(
            settings,
            database_url=with_database(os.environ["FOLKMOOT_TEST_RUNTIME"], name),
            admin_email="Ada@Municipality.example",
            admin_password=PASSWORD,
        )
        async with assemble(fresh) as app:
            yield app
        await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await connection.close()


async def test_the_first_administrator_administers_the_installation_and_later_ones_do_not(empty):
    made = await ensure_first(empty)
    assert (made.email, made.generated) == ("ada@municipality.example", False)
    assert await ensure_first(empty) is None
    await create_tenant(empty, "Riverside", "bo@riverside.example", operator="tester")
    rows, _ = await PlatformAdminService(empty, Actor.command("tester")).page(10, None)
    assert [(row.email, row.active) for row in rows] == [("ada@municipality.example", True)]


async def test_a_short_password_makes_nothing(empty):
    empty.settings = replace(empty.settings, admin_password="short")
    with pytest.raises(SettingsError, match="FOLKMOOT_ADMIN_PASSWORD"):
        await ensure_first(empty)
    empty.settings = replace(empty.settings, admin_password="")
    made = await ensure_first(empty)
    assert made.generated
    assert len(made.password) >= 12
    assert made.password not in repr(made)
