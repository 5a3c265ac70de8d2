"""What a new organisation is connected with."""

from __future__ import annotations

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.connect import connect
from tests.support.openai_stub import OpenAIStub


async def test_a_service_that_lists_no_models_is_asked_for_the_one_that_the_platform_names(app, tenancy):
    tenant_id, _ = await tenancy.tenant()
    async with OpenAIStub(models=()) as stub:
        made = await connect(
            app,
            tenant_id,
            kind="openai",
            name="OpenAI",
            config={"base_url": stub.url},
            rank=0,
            unlisted={"chat_models": ["house-model"]},
        )
    assert made
    first = (await app.part(Catalogue).of(tenant_id)).usable("chat")[0]
    assert (first.model.name, first.connection.name) == ("house-model", "OpenAI")


async def test_a_service_that_is_not_there_is_not_connected_and_the_rest_goes_on(app, tenancy):
    tenant_id, _ = await tenancy.tenant()
    made = await connect(
        app, tenant_id, kind="openai", name="OpenAI", config={"base_url": "http://127.0.0.1:9/v1"}, rank=0
    )
    assert not made
    first = (await app.part(Catalogue).of(tenant_id)).usable("chat")[0]
    assert first.model.name == "extractive"
