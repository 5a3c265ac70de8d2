"""Its own models are counted here, and nobody is asked."""

from __future__ import annotations

from folkmoot_sdk import TokenCounter

from providers.openai.tests.conftest import connected, question


def refuse(request):
    raise AssertionError(f"it asked {request.url}")


async def test_openais_models_are_counted_without_a_request():
    async with connected(refuse) as connection:
        assert isinstance(connection, TokenCounter)
        assert await connection.count_tokens(question("tiktoken is great!", model="gpt-4o")) == 13


async def test_other_models_of_a_compatible_service_are_not_counted():
    async with connected(refuse) as connection:
        assert await connection.count_tokens(question("Hej", model="mistral-small")) is None
