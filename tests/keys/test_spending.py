"""What a key may spend in a month."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.conversations.conftest import connected
from tests.keys.conftest import code
from tests.support.openai_stub import OpenAIStub


@pytest.fixture
async def stub():
    async with OpenAIStub() as server:
        yield server


@pytest.fixture
async def assistant(owner, app, stub):
    """Each answer with two words costs two tokens in and two out, and a few for the turns before."""
    await connected(app, owner, stub)
    return await owner.assistant(await owner.space())


@pytest.fixture
async def limited(owner, assistant, program):
    made = await owner.made("/api-keys", name="Thrifty", tokens_per_month=4)
    client = program(made["key"])
    client.made_key = made
    return client


def asking(client, conversation: str):
    return client.post(f"/conversations/{conversation}/messages", json={"content": "two words"})


async def spent(client, conversation: str) -> int:
    answer = await client.ask(conversation, "two words")
    return sum(answer["usage"].values())


async def test_a_key_that_has_spent_its_month_is_told_when_to_come_back(limited, owner, assistant):
    conversation = await limited.conversation(assistant)
    assert await spent(limited, conversation) >= 4
    refused = await asking(limited, conversation)
    assert await code(refused) == (429, "spending-limit-reached")
    now = datetime.now(UTC)
    first = (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)
    assert abs(int(refused.headers["retry-after"]) - (first - now).total_seconds()) < 60
    again = await limited.conversation(assistant)
    assert await code(asking(limited, again)) == (429, "spending-limit-reached")
    assert len((await limited.get(f"/conversations/{conversation}/messages")).json()["items"]) == 2
    own = await owner.conversation(assistant)
    assert await spent(owner, own) >= 4


async def test_a_higher_limit_opens_it_again(limited, owner, assistant):
    conversation = await limited.conversation(assistant)
    await spent(limited, conversation)
    assert await code(asking(limited, conversation)) == (429, "spending-limit-reached")
    await owner.patch(f"/api-keys/{limited.made_key['id']}", json={"tokens_per_month": 1000})
    assert await spent(limited, conversation) >= 4
    await owner.patch(f"/api-keys/{limited.made_key['id']}", json={"tokens_per_month": None})
    assert await spent(limited, conversation) >= 4


async def test_only_this_month_counts(limited, assistant, change):
    conversation = await limited.conversation(assistant)
    await spent(limited, conversation)
    assert await code(asking(limited, conversation)) == (429, "spending-limit-reached")
    key = limited.made_key["id"]
    await change("UPDATE usage_entries SET begun_at = begun_at - interval '32 d' WHERE key_id = :key", key=key)
    await change("DELETE FROM budget_counters WHERE subject_id = :key", key=key)
    assert await spent(limited, conversation) >= 4


async def test_the_same_question_sent_again_costs_nothing(limited, assistant):
    conversation = await limited.conversation(assistant)
    headers = {"Idempotency-Key": "the same"}
    path, body = f"/conversations/{conversation}/messages", {"content": "two words"}
    first = await limited.post(path, json=body, headers=headers)
    again = await limited.post(path, json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["id"] == first.json()["id"]


async def test_rotation_does_not_begin_the_month_anew(limited, owner, assistant, program):
    conversation = await limited.conversation(assistant)
    await spent(limited, conversation)
    new = await owner.made(f"/api-keys/{limited.made_key['id']}/rotate")
    fresh = program(new["key"])
    assert await code(asking(fresh, await fresh.conversation(assistant))) == (429, "spending-limit-reached")


async def test_it_counts_wherever_the_key_asks_and_whatever_is_deleted(limited, owner, assistant):
    own = await owner.conversation(assistant)
    assert await spent(limited, own) >= 4
    assert (await limited.delete(f"/conversations/{own}")).status_code == 204
    conversation = await limited.conversation(assistant)
    assert await code(asking(limited, conversation)) == (429, "spending-limit-reached")


async def test_what_its_owner_asks_without_it_does_not_count(limited, owner, assistant):
    conversation = await limited.conversation(assistant)
    assert await spent(owner, conversation) >= 4
    assert await spent(limited, conversation) >= 4


async def test_a_key_without_a_limit_asks_where_its_owner_may(owner, assistant, program):
    client = program((await owner.made("/api-keys", name="Free"))["key"])
    conversation = await owner.conversation(assistant)
    assert await spent(client, conversation) >= 4
    assert (await client.delete(f"/conversations/{conversation}")).status_code == 204
