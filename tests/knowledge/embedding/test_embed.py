"""What is sent to an embedding model: as long as it reads, by what it has been seen to count."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from uuid import UUID

import pytest
from folkmoot_sdk import Block, ModelInfo, Ranked
from hypothesis import given, settings
from hypothesis import strategies as st

from folkmoot.ai.connect import connect
from folkmoot.ai.runtime import Runtime
from folkmoot.kit.access import Principal
from folkmoot.knowledge.chunk import MAX_TOKENS, USUAL, Limits, build, count_tokens
from folkmoot.knowledge.embedding import embed, tokens
from folkmoot.knowledge.embedding import rerank as reranking
from folkmoot.knowledge.embedding.rerank import rerank, scores
from folkmoot.knowledge.embedding.spaces import Searched, searched_spaces
from folkmoot.usage.ledger import Account
from tests.support.openai_stub import OpenAIStub
from tests.support.tei_stub import TeiStub

SMALL = ModelInfo("small", "embedding", context_window=256)
LONG = "One sentence follows another, and each says that fences are low. " * 120


@pytest.fixture
async def stub():
    async with OpenAIStub() as server:
        yield server


async def connected(app, owner, stub, window: int | None = None) -> str:
    """The id of the embedding model."""
    config = {"api_key": "k", "base_url": stub.url}
    assert await connect(app, owner.tenant_id, kind="openai", name="Stub", config=config, rank=0)
    connection = next(
        item["id"] for item in (await owner.get("/connections")).json()["items"] if item["name"] == "Stub"
    )
    models = (await owner.get(f"/connections/{connection}/models")).json()["items"]
    model = next(item["id"] for item in models if item["kind"] == "embedding")
    if window is not None:
        answer = await owner.patch(f"/models/{model}", json={"overrides": {"context_window": window}})
        assert answer.status_code == 200, answer.text
    return model


def sent(stub) -> list[str]:
    bodies = [request.body for request in stub.requests if request.path.endswith("/embeddings")]
    return [text for body in bodies for text in body["input"]]


def test_without_a_rate_and_a_window_chunks_are_as_usual():
    assert tokens.limits(ModelInfo("any", "embedding"), None) == USUAL
    assert tokens.limits(ModelInfo("any", "embedding", context_window=8192), 1.0) == USUAL


def test_a_model_that_makes_more_tokens_of_a_language_gets_shorter_chunks():
    info = ModelInfo("any", "embedding", context_window=8192)
    assert tokens.limits(info, 2.0).most == MAX_TOKENS // 2
    assert tokens.limits(info, 1.99) == tokens.limits(info, 2.05), "a rate that moves a little moves no cut"


@given(st.integers(1, 20_000), st.one_of(st.none(), st.floats(0.5, 6.0)))
def test_for_any_model_a_chunk_with_its_headings_fits(window, rate):
    info = ModelInfo("any", "embedding", context_window=window)
    found = tokens.limits(info, rate)
    assert 0 < found.least <= found.target <= found.most
    assert found.most <= tokens.room(info, rate)


def test_chunks_keep_to_the_limits_that_are_asked_for():
    built = build([Block(text=LONG)], Limits(target=60, most=90, least=10))
    assert len(built.chunks) > 10
    assert max(chunk.token_count for chunk in built.chunks) <= 90
    assert "".join("".join(chunk.text for chunk in built.chunks).split()) == "".join(LONG.split())


def test_every_part_of_a_table_has_its_header_row_whatever_the_limits():
    rows = "\n".join(f"Street {number} | {number} m" for number in range(200))
    built = build([Block(text=f"Street | Height\n{rows}", kind="table")], Limits(target=60, most=90, least=10))
    assert len(built.chunks) > 10
    assert all("Street | Height" in chunk.context for chunk in built.chunks[1:])


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200), st.text(min_size=1, max_size=3000), st.integers(1, 200))
def test_for_any_text_no_part_is_longer_than_the_model_reads(context, text, most):
    found = tokens.parts(context, text, most)
    if count_tokens(f"{context}\n{text}".strip()) <= most:
        assert found == [f"{context}\n{text}".strip()]
        return
    assert max(count_tokens(part) for part in found) <= max(most, 2)


def test_parts_have_all_of_the_text_and_the_nearest_headings():
    found = tokens.parts("Handbook > Building > Fences along the street", LONG, 64)
    assert len(found) > 10
    assert all("street" in part.split("\n")[0] for part in found)
    whole = "".join("".join(part.split("\n", 1)[1].split()) for part in found)
    assert whole == "".join(LONG.split())


def test_a_text_in_parts_lies_between_them():
    assert tokens.mean([[3.0, 0.0], [0.0, 0.1]], [1, 1]) == pytest.approx([0.5, 0.5])
    assert tokens.mean([[3.0, 0.0], [0.0, 0.1]], [3, 1]) == pytest.approx([0.75, 0.25])
    assert tokens.mean([[3.0, 4.0]], [7]) == [3.0, 4.0]


async def test_a_chunk_that_is_too_long_for_its_model_is_sent_in_parts(owner, app, stub):
    await connected(app, owner, stub, window=100)
    collection = await owner.collection()
    (document,) = await owner.knows(collection, ("long.txt", LONG.encode()))
    assert document["warnings"] == []
    assert max(count_tokens(text) for text in sent(stub)) <= 100
    together = "".join("".join(text.split()) for text in sent(stub))
    assert "".join(LONG.split()) in together or len(together) >= len("".join(LONG.split()))
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        (space,) = await searched_spaces(work, [UUID(collection)])
    assert space.dimensions == 64


async def test_what_a_provider_counts_is_learnt_by_language(owner, app, stub):
    model = UUID(await connected(app, owner, stub))
    collection = await owner.collection()
    words = " ".join(f"{number} fences along the street are low" for number in range(900))
    await owner.knows(collection, ("long.txt", words.encode()))
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        rate = await tokens.rate_of(work, model, "en")
        counted = sum(len(text.split()) for text in sent(stub)) / sum(count_tokens(text) for text in sent(stub))
        assert rate == pytest.approx(counted)
        assert await tokens.rate_of(work, model, "sv") == pytest.approx(counted), (
            "of the model, where no better is known"
        )


async def test_a_count_that_cannot_be_is_not_learnt(owner, app, stub):
    model = UUID(await connected(app, owner, stub))
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await tokens.learn(work, model, "en", [LONG], 1)
        await tokens.learn(work, model, "en", [LONG], 10**9)
        await tokens.learn(work, model, "en", [], 10)
        assert await tokens.rate_of(work, model) is None


async def test_chunks_are_cut_for_the_model_of_their_collection(owner, app, stub):
    collection = await owner.collection()
    reading = SimpleNamespace(
        tenant_id=owner.tenant_id,
        collection_id=UUID(collection),
        principal=Principal.system(owner.tenant_id),
        info=SimpleNamespace(language="en"),
        aim=None,
    )
    assert await embed.limits_of(app, reading) == USUAL, "no model, no limit"
    await connected(app, owner, stub, window=256)
    found = await embed.limits_of(app, reading)
    assert found == tokens.limits(SMALL, None)
    assert found.most < MAX_TOKENS


async def test_a_question_does_not_wait_long_for_its_vector(owner, app, stub, monkeypatch):
    model = await connected(app, owner, stub)
    space = Searched(UUID(int=1), UUID(model), 64, [])
    account = Account(tenant_id=owner.tenant_id, purpose="search")
    assert len(await embed.embed_query(app, account, [], space, "fences")) == 64
    asked = asyncio.Event()

    async def slow(*_, **__):
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Runtime, "embed", slow)
    monkeypatch.setattr(embed, "QUERY_SECONDS", 0.05)
    assert await embed.embed_query(app, account, [], space, "fences") is None
    assert asked.is_set()


async def test_a_very_long_question_is_embedded_whole_by_a_small_model(owner, app, stub):
    model = await connected(app, owner, stub, window=64)
    space = Searched(UUID(int=1), UUID(model), 64, [])
    account = Account(tenant_id=owner.tenant_id, purpose="search")
    assert len(await embed.embed_query(app, account, [], space, LONG[:4000])) == 64
    assert len(sent(stub)) > 5
    assert max(count_tokens(text) for text in sent(stub)) <= 64


# Reranking


async def reranker(app, owner, stub) -> Account:
    assert await connect(
        app, owner.tenant_id, kind="tei", name="Order", config={"base_url": stub.url, "api_key": "k"}, rank=5
    )
    return Account(tenant_id=owner.tenant_id, purpose="rerank")


TEXTS = ["The library opens at ten.", "A fence may be 1.2 metres high.", "Dogs are on a lead."]


async def test_passages_are_put_into_order_by_a_model(owner, app):
    async with TeiStub(model_type="reranker") as stub:
        account = await reranker(app, owner, stub)
        found = await rerank(app, account, [], "how high may a fence be", TEXTS)
    assert found is not None
    assert len(found) == 3
    assert max(found) == found[1]
    assert all(0 <= score <= 1 for score in found)


async def test_without_a_model_for_it_the_order_stays(owner, app):
    account = Account(tenant_id=owner.tenant_id, purpose="rerank")
    assert await rerank(app, account, [], "how high may a fence be", TEXTS) is None


async def test_a_model_that_fails_or_takes_long_leaves_the_order(owner, app, monkeypatch):
    async with TeiStub(model_type="reranker") as stub:
        account = await reranker(app, owner, stub)
        monkeypatch.setattr(reranking, "SECONDS", 0.05)

        async def slow(*_, **__):
            await asyncio.Event().wait()

        with monkeypatch.context() as waiting:
            waiting.setattr(Runtime, "rerank", slow)
            assert await rerank(app, account, [], "fence", TEXTS) is None
    monkeypatch.setattr(reranking, "SECONDS", 10.0)
    assert await rerank(app, account, [], "fence", TEXTS) is None


async def test_a_model_that_may_not_see_the_text_is_not_asked(owner, app):
    secret = await owner.made("/data-classes", name="Secret", level=9)
    async with TeiStub(model_type="reranker") as stub:
        account = await reranker(app, owner, stub)
        before = len(stub.requests)
        assert await rerank(app, account, [UUID(secret["id"])], "fence", TEXTS) is None
        assert len(stub.requests) == before


async def test_where_reranked_text_goes_is_told_before(owner, app):
    async with TeiStub(model_type="reranker") as stub:
        await reranker(app, owner, stub)
        ways = {way["purpose"]: way for way in (await owner.get("/egress")).json()["ways"]}
    assert ways["reranking"]["note"].startswith("goes to ")
    assert ways["reranking"]["first"] is not None


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20))
def test_whatever_a_model_says_scores_are_from_0_to_1_and_keep_its_order(raw):
    found = scores([Ranked(place, score) for place, score in enumerate(raw)], len(raw))
    assert all(0 <= score <= 1 for score in found)
    order = sorted(range(len(raw)), key=lambda place: raw[place])
    assert all(found[one] <= found[other] for one, other in itertools.pairwise(order))


def test_probabilities_are_left_as_they_are_and_what_was_left_out_is_last():
    assert scores([Ranked(1, 0.9), Ranked(0, 0.2)], 3) == [0.2, 0.9, 0.2]
    assert scores([], 3) is None
    assert scores([Ranked(0, float("nan"))], 1) is None
