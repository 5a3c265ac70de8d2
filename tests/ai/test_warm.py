"""Lines to providers are kept: a second call needs no new connection."""

from __future__ import annotations

import pytest

from tests.support.openai_stub import OpenAIStub


@pytest.mark.parametrize("stream", [True, False])
async def test_calls_one_after_another_share_one_line(owner, app, api, stream):
    async with OpenAIStub() as stub:
        await owner.made("/connections", kind="openai", name="Ours", config={"base_url": stub.url})
        before = stub.connections
        body = {"model": "stub-chat", "messages": [{"role": "user", "content": "Hello there"}], "stream": stream}
        for _ in range(5):
            answer = await owner.post("http://folkmoot.test/v1/chat/completions", json=body)
            assert answer.status_code == 200, answer.text
        assert stub.connections - before <= 1
