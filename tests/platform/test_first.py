"""The first organisation and its administrator, on an installation that has none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from folkmoot.assemble import assemble
from folkmoot.platform.admins import PlatformAdminService
from folkmoot.platform.service import Actor, create_tenant, ensure_first
from folkmoot.settings import SettingsError
from tests.platform.keyground import ground

PASSWORD = "correct horse battery staple"


@pytest.fixture
async def empty(settings, database, tmp_path):
    """An application on a database of its own, as after the first migration."""
    admin = {"admin_email": "Ada@Municipality.example", "admin_password": PASSWORD}
    async with ground(settings, database, tmp_path) as here, assemble(replace(here.settings, **admin)) as app:
        yield app


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
