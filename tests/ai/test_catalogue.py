"""What is remembered of models is never from before a change that this process knows of."""

from __future__ import annotations

import asyncio

from folkmoot.ai import catalogue
from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.schemas import ModelUpdate
from folkmoot.ai.service import ModelService
from folkmoot.kit.access import Principal
from folkmoot.plugins.manager import PluginManager


async def test_what_was_asked_before_a_change_and_answered_after_it_is_not_remembered(app, tenancy, monkeypatch):
    tenant_id, _ = await tenancy.tenant()
    known = Catalogue(app.sessions, app.part(PluginManager))
    asked, answer, read = asyncio.Event(), asyncio.Event(), catalogue.read

    async def slow(work, in_process):
        found = await read(work, in_process)
        asked.set()
        await answer.wait()
        return found

    monkeypatch.setattr(catalogue, "read", slow)
    early = asyncio.create_task(known.of(tenant_id))
    await asked.wait()
    monkeypatch.setattr(catalogue, "read", read)
    model_id = (await _now(app, tenant_id)).choices[0].model.id
    async with app.begin(Principal.system(tenant_id)) as work:
        await ModelService(work).update(model_id, ModelUpdate(enabled=False), None)
    known.forget(tenant_id)
    answer.set()
    assert (await early).choices[0].usable, "it was asked before the change"
    assert not (await known.of(tenant_id)).choices[0].usable


async def _now(app, tenant_id):
    async with app.begin(Principal.system(tenant_id)) as work:
        return await app.part(Catalogue).now(work)
