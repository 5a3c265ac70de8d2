"""The service counts before it is asked, and is told only what it takes."""

from __future__ import annotations

import httpx
import pytest
from folkmoot_sdk import BadResponse, RateLimited, TokenCounter, ToolSpec

from providers.anthropic.tests.conftest import connected, question, said
from tests.support.anthropic_stub import AnthropicStub


async def test_the_service_counts_the_whole_input():
    async with AnthropicStub() as stub, connected(base_url=stub.url) as connection:
        tools = (ToolSpec("weather", "What it is like outside", {}),)
        request = question(said("system", "Be brief."), "One two three?", model="claude-stub-1", temperature=0.2)
        assert isinstance(connection, TokenCounter)
        alone = await connection.count_tokens(request)
        more = await connection.count_tokens(
            question(said("system", "Be brief."), "One two three?", model="claude-stub-1", tools=tools)
        )
        assert alone >= 5
        assert more > alone
        assert stub.requests[-1].path == "/v1/messages/count_tokens"
        assert "max_tokens" not in stub.requests[-1].body


@pytest.mark.parametrize("answer", [b"[]", b"{}", b"<html>", b'{"input_tokens": "many"}'])
async def test_an_answer_that_is_no_count_is_said(answer):
    async with connected(lambda _: httpx.Response(200, content=answer)) as connection:
        with pytest.raises(BadResponse):
            await connection.count_tokens(question("One?"))


async def test_its_own_limit_of_counts_is_an_error_of_the_provider():
    async with connected(lambda _: httpx.Response(429, json={"error": {"type": "rate_limit_error"}})) as connection:
        with pytest.raises(RateLimited):
            await connection.count_tokens(question("One?"))
