"""A deployment is counted as the model behind it."""

from __future__ import annotations

from folkmoot_sdk import TokenCounter

from providers.azure.tests.conftest import Resource, connected, question


async def test_a_deployment_is_counted_as_its_model_without_a_request():
    resource = Resource()
    async with connected(resource, deployments=[{"name": "prod-chat", "model": "gpt-4o"}]) as connection:
        assert isinstance(connection, TokenCounter)
        assert await connection.count_tokens(question("tiktoken is great!", model="prod-chat")) == 13
    assert resource.asked == []


async def test_a_model_of_others_is_not_counted():
    async with connected(Resource(), deployments=[{"name": "prod", "model": "Mistral-Large-3"}]) as connection:
        assert await connection.count_tokens(question("Hej", model="prod")) is None
