"""Moving a collection to another embedding model: searching goes on, nothing is lost, and there is a way back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from folkmoot_sdk import AuthenticationFailed, ContextTooLong, Unavailable
from sqlalchemy import select, text, update

from folkmoot.ai.connect import connect
from folkmoot.ai.runtime import Runtime
from folkmoot.kit.access import Principal
from folkmoot.knowledge.embedding import moving
from folkmoot.knowledge.embedding.models import EmbeddingMove
from folkmoot.knowledge.embedding.tasks import find_embedding_work, move_embeddings
from folkmoot.knowledge.models import Collection
from folkmoot.knowledge.search import search
from folkmoot.usage.ledger import Account
from tests.support import openai_stub
from tests.support.openai_stub import OpenAIStub, embed

FENCES = b"# Fences\n\nThe fence along the street may be 1.2 metres high. " + b"Ask the office before you build. " * 20
BOOKS = b"# Library\n\nOpening hours of the library in July are short. " + b"Bring the card with you. " * 20


@pytest.fixture
async def stub(monkeypatch):
    """A provider with two embedding models: `second-embed` gives 32 numbers, the other 64."""
    sizes = {"stub-embed": 64, "second-embed": 32}

    def embeddings(body):
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        if any("[[refuse]]" in text for text in texts):
            return {"object": "list", "model": body["model"], "data": []}
        size = sizes[body["model"]]
        data = [{"object": "embedding", "index": at, "embedding": embed(text, size)} for at, text in enumerate(texts)]
        count = sum(2 * len(text.split()) for text in texts)
        return {"object": "list", "model": body["model"], "data": data, "usage": {"prompt_tokens": count}}

    monkeypatch.setattr(openai_stub, "_embeddings", embeddings)
    async with OpenAIStub(models=("stub-chat", "stub-embed", "second-embed")) as server:
        server.sizes = sizes
        yield server


@pytest.fixture
async def held(monkeypatch):
    """Keeps the worker from moves: the test runs them itself."""

    async def nothing(app, **payload):
        pass

    run = move_embeddings.run
    object.__setattr__(move_embeddings, "run", nothing)
    yield run
    object.__setattr__(move_embeddings, "run", run)


async def connected(app, owner, stub, **more) -> dict[str, str]:
    """The ids of the embedding models by name, the first one the default."""
    config = {"api_key": "k", "base_url": stub.url}
    assert await connect(app, owner.tenant_id, kind="openai", name="Stub", config=config, rank=0, **more)
    listed = (await owner.get("/connections")).json()["items"]
    connection = next(item["id"] for item in listed if item["name"] == "Stub")
    models = (await owner.get(f"/connections/{connection}/models")).json()["items"]
    found = {item["name"]: item["id"] for item in models if item["kind"] == "embedding"}
    assert (await owner.patch(f"/models/{found['stub-embed']}", json={"default": True})).status_code == 200
    return found


async def ended(owner, move: dict, *states: str) -> dict:
    async with asyncio.timeout(30):
        while True:
            shown = (await owner.get(f"/embedding-moves/{move['id']}")).json()
            if shown["state"] in (states or ("switched", "done", "failed", "cancelled", "undone")):
                return shown
            await asyncio.sleep(0.05)


async def started(owner, collection: str, model: str | None, **more) -> dict:
    answer = await owner.post(f"/collections/{collection}/embedding-moves", json={"model_id": model, **more})
    assert answer.status_code == 202, answer.text
    return answer.json()


async def embedding(owner, collection: str) -> dict:
    answer = await owner.get(f"/collections/{collection}/embedding")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def first_found(owner, collection: str, query: str = "how high may a fence be") -> str:
    answer = await owner.post(f"/collections/{collection}/search", json={"query": query})
    assert answer.status_code == 200, answer.text
    return answer.json()["items"][0]["document_name"]


def asked(stub, model: str) -> list[str]:
    bodies = [request.body for request in stub.requests if request.path.endswith("/embeddings")]
    return [text for body in bodies if body["model"] == model for text in body["input"]]


async def act(owner, move: dict, verb: str, status: int = 200) -> dict:
    answer = await owner.post(f"/embedding-moves/{move['id']}/{verb}")
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.fixture
async def library(app, owner, stub):
    """A collection of two documents in the space of the default model, and the ids of both models."""
    models = await connected(app, owner, stub)
    collection = await owner.collection()
    await owner.knows(collection, ("fences.md", FENCES), ("books.md", BOOKS))
    return collection, models


async def test_a_collection_is_moved_while_it_is_searched(owner, stub, library, held, app):
    collection, models = library
    before = await embedding(owner, collection)
    assert (before["state"], before["model"], before["dimensions"]) == ("ready", "stub-embed", 64)
    move = await started(owner, collection, models["second-embed"])
    assert (move["state"], move["from_model"], move["model"]) == ("filling", "stub-embed", "second-embed")
    assert await first_found(owner, collection) == "fences.md"
    assert (await embedding(owner, collection))["model"] == "stub-embed"
    await held(app, tenant_id=str(owner.tenant_id), move_id=move["id"])
    moved = await ended(owner, move)
    assert (moved["state"], moved["progress"], moved["error"]) == ("switched", 1.0, None)
    assert moved["embedded"] == moved["chunks"] == before["chunks"]
    assert moved["tokens"] > 0
    after = await embedding(owner, collection)
    assert (after["state"], after["model"], after["dimensions"]) == ("ready", "second-embed", 32)
    stub.requests.clear()
    assert await first_found(owner, collection) == "fences.md"
    assert asked(stub, "second-embed") == ["how high may a fence be"]
    assert asked(stub, "stub-embed") == []


async def test_the_worker_does_it_and_says_how_far_it_is(owner, library, app):
    collection, models = library
    move = await ended(owner, await started(owner, collection, models["second-embed"]))
    assert move["state"] == "switched"
    listed = (await owner.get(f"/collections/{collection}/embedding-moves")).json()["items"]
    assert [item["id"] for item in listed] == [move["id"]]


async def test_a_look_before_tells_what_it_costs_and_who_may(owner, stub, library):
    collection, models = library
    stub.requests.clear()
    chunks = (await embedding(owner, collection))["chunks"]
    assert (await owner.post(f"/models/{models['second-embed']}/prices", json={"input": 3_000_000})).status_code == 201
    plans = (await owner.get(f"/collections/{collection}/embedding-plans")).json()["items"]
    by_name = {plan["model"]: plan for plan in plans}
    there = by_name["second-embed"]
    assert there["chunks"] == chunks
    assert there["tokens"] > 100
    assert there["cost_micros"] == 3 * there["tokens"]
    assert (there["priced"], there["forbidden"]) == ("listed", None)
    here = by_name["stub-embed"]
    assert (here["chunks"], here["tokens"]) == (0, 0)
    assert stub.requests == [], "nothing is sent to find out"


async def test_a_model_that_may_not_see_the_text_is_not_moved_to(owner, stub, library):
    collection, models = library
    secret = await owner.made("/data-classes", name="Secret", level=9)
    space = (await owner.get(f"/collections/{collection}")).json()["space_id"]
    assert (await owner.patch(f"/spaces/{space}", json={"data_class_id": secret["id"]})).status_code == 200
    (plan,) = (
        await owner.get(f"/collections/{collection}/embedding-plans", params={"to_model": models["second-embed"]})
    ).json()["items"]
    assert "not cleared" in plan["forbidden"]
    body = {"model_id": models["second-embed"]}
    refused = await owner.post(f"/collections/{collection}/embedding-moves", json=body)
    assert (refused.status_code, refused.json()["code"]) == (409, "model-not-cleared")
    shown = await embedding(owner, collection)
    assert shown["state"] == "not-cleared"
    stub.requests.clear()
    assert await first_found(owner, collection) == "fences.md", "by its words"
    assert asked(stub, "stub-embed") == []


async def test_documents_that_come_meanwhile_are_in_both_spaces(owner, library, held, app, count, monkeypatch):
    collection, models = library
    move = await started(owner, collection, models["second-embed"])
    with monkeypatch.context() as short:
        short.setattr(moving, "TURN_SECONDS", -1.0)
        assert await moving.run(app, owner.tenant_id, UUID(move["id"])) == 0.0
    assert (await ended(owner, move, "filling"))["embedded"] > 0
    (new,) = await owner.knows(collection, ("dogs.md", b"# Dogs\n\nDogs are on a lead in the park. " * 8))
    assert await count("chunk_vectors", f"document_id = '{new['id']}'") == 2 * new["chunk_count"]
    await held(app, tenant_id=str(owner.tenant_id), move_id=move["id"])
    assert (await ended(owner, move))["state"] == "switched"
    assert (await embedding(owner, collection))["state"] == "ready"


async def test_a_worker_that_dies_has_lost_one_batch_at_most(owner, stub, library, held, app, monkeypatch):
    collection, models = library
    monkeypatch.setattr(moving, "BATCH", 1)
    move = await started(owner, collection, models["second-embed"])
    fill, calls = moving.fill, []

    async def dies(*args):
        calls.append(args)
        if len(calls) == 2:
            raise asyncio.CancelledError
        return await fill(*args)

    monkeypatch.setattr(moving, "fill", dies)
    with pytest.raises(asyncio.CancelledError):
        await moving.run(app, owner.tenant_id, UUID(move["id"]))
    sent = asked(stub, "second-embed")
    assert len(sent) == 1
    assert await moving.run(app, owner.tenant_id, UUID(move["id"])) is None, "the dead one still holds it"
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        past = datetime.now(UTC) - timedelta(seconds=1)
        await work.session.execute(
            update(EmbeddingMove).where(EmbeddingMove.id == UUID(move["id"])).values(lease_until=past)
        )
        assert UUID(move["id"]) in await moving.left(work)
    await held(app, tenant_id=str(owner.tenant_id), move_id=move["id"])
    done = await ended(owner, move)
    assert done["state"] == "switched"
    assert sorted(asked(stub, "second-embed")) == sorted(set(asked(stub, "second-embed"))), "no passage is sent twice"


async def test_a_move_is_undone_at_once_and_what_came_since_is_filled(owner, stub, library, count):
    collection, models = library
    move = await ended(owner, await started(owner, collection, models["second-embed"]))
    assert move["undo_until"] is not None
    (new,) = await owner.knows(collection, ("dogs.md", b"# Dogs\n\nDogs are on a lead in the park. " * 8))
    stub.requests.clear()
    assert (await act(owner, move, "undo"))["state"] == "undone"
    assert (await embedding(owner, collection))["model"] == "stub-embed"
    again = (await owner.get(f"/collections/{collection}/embedding-moves")).json()["items"][0]
    assert (await ended(owner, again))["state"] == "done"
    assert len(asked(stub, "stub-embed")) == new["chunk_count"], "only what came since"
    assert (await embedding(owner, collection))["state"] == "ready"
    assert (await act(owner, move, "undo", 409))["code"] == "move-ended"


async def test_old_vectors_are_removed_when_nobody_can_want_them_back(owner, library, count, app):
    collection, models = library
    move = await ended(owner, await started(owner, collection, models["second-embed"]))
    chunks = (await embedding(owner, collection))["chunks"]
    here = f"collection_id = '{collection}'"
    await find_embedding_work(app, owner.tenant_id)
    assert await count("chunk_vectors", here) == 2 * chunks
    assert (await act(owner, move, "confirm"))["state"] == "done"
    await find_embedding_work(app, owner.tenant_id)
    assert await count("chunk_vectors", here) == chunks
    assert (await embedding(owner, collection))["state"] == "ready"
    assert (await act(owner, move, "undo", 409))["code"] == "move-ended"


async def test_after_the_week_a_move_is_done(owner, library, count, app):
    collection, models = library
    move = await ended(owner, await started(owner, collection, models["second-embed"]))
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        past = datetime.now(UTC) - timedelta(seconds=1)
        await work.session.execute(
            update(EmbeddingMove).where(EmbeddingMove.id == UUID(move["id"])).values(keep_until=past)
        )
    await find_embedding_work(app, owner.tenant_id)
    assert (await ended(owner, move, "done"))["undo_until"] is None
    assert (
        await count("chunk_vectors", f"collection_id = '{collection}'")
        == (await embedding(owner, collection))["chunks"]
    )


async def test_a_move_back_keeps_the_vectors_that_it_needs(owner, stub, library, count, app):
    collection, models = library
    await ended(owner, await started(owner, collection, models["second-embed"]))
    stub.requests.clear()
    back = await ended(owner, await started(owner, collection, models["stub-embed"]))
    assert back["state"] == "switched"
    assert asked(stub, "stub-embed") == []
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await work.session.execute(
            update(EmbeddingMove)
            .where(EmbeddingMove.collection_id == UUID(collection), EmbeddingMove.id != UUID(back["id"]))
            .values(keep_until=datetime.now(UTC) - timedelta(seconds=1))
        )
    await find_embedding_work(app, owner.tenant_id)
    assert (await embedding(owner, collection))["state"] == "ready", "the first move's old vectors serve again"


async def test_a_move_is_cancelled_and_its_vectors_go(owner, stub, library, held, app, count, monkeypatch):
    collection, models = library
    move = await started(owner, collection, models["second-embed"])
    second = await owner.post(f"/collections/{collection}/embedding-moves", json={"model_id": None})
    assert (second.status_code, second.json()["code"]) == (409, "move-under-way")
    monkeypatch.setattr(moving, "TURN_SECONDS", -1.0)
    await moving.run(app, owner.tenant_id, UUID(move["id"]))
    assert (await act(owner, move, "cancel"))["state"] == "cancelled"
    assert await moving.run(app, owner.tenant_id, UUID(move["id"])) is None
    await find_embedding_work(app, owner.tenant_id)
    chunks = (await embedding(owner, collection))["chunks"]
    assert await count("chunk_vectors", f"collection_id = '{collection}'") == chunks
    assert (await embedding(owner, collection))["model"] == "stub-embed"
    assert (await act(owner, move, "cancel", 409))["code"] == "move-ended"


async def test_moved_to_no_model_it_is_searched_by_words_and_stays_so(owner, stub, library):
    collection, _ = library
    move = await started(owner, collection, None)
    assert (move["state"], move["model"]) == ("switched", "")
    stub.requests.clear()
    assert await first_found(owner, collection) == "fences.md"
    await owner.knows(collection, ("dogs.md", b"Dogs are on a lead in the park."))
    assert asked(stub, "stub-embed") == []
    assert (await embedding(owner, collection))["state"] == "words"
    await act(owner, move, "undo")
    assert (await embedding(owner, collection))["model"] == "stub-embed"


async def test_a_collection_from_before_any_model_is_moved_to_the_first(owner, stub, app):
    collection = await owner.collection()
    await owner.knows(collection, ("fences.md", FENCES))
    shown = await embedding(owner, collection)
    assert (shown["state"], shown["model_id"]) == ("none", None)
    models = await connected(app, owner, stub)
    move = await ended(owner, await started(owner, collection, models["stub-embed"]))
    assert move["state"] == "switched"
    assert (await embedding(owner, collection))["state"] == "ready"
    await act(owner, move, "undo")
    assert (await embedding(owner, collection))["state"] == "none"


async def test_a_model_that_changed_behind_its_name_breaks_no_search(owner, stub, library, app, count):
    collection, models = library
    stub.sizes["stub-embed"] = 48
    assert await first_found(owner, collection) == "fences.md"
    shown = await embedding(owner, collection)
    assert shown["state"] == "changed"
    assert "move it to that model again" in shown["note"]
    (_new,) = await owner.knows(collection, ("dogs.md", b"Dogs are on a lead in the park."))
    assert await first_found(owner, collection, "a lead for dogs") == "dogs.md"
    move = await ended(owner, await started(owner, collection, models["stub-embed"]))
    assert move["state"] == "switched"
    shown = await embedding(owner, collection)
    assert (shown["state"], shown["dimensions"], shown["embedded"]) == ("ready", 48, shown["chunks"])


async def test_a_model_that_changes_in_the_middle_of_a_document_is_noticed(owner, stub, library):
    collection, _ = library
    stub.sizes["stub-embed"] = 48
    (new,) = await owner.knows(collection, ("dogs.md", b"Dogs are on a lead in the park."))
    assert "gave 64 numbers for each text before, and gives 48 now" in new["warnings"][0]
    assert (await embedding(owner, collection))["state"] == "changed"


async def test_anew_makes_every_vector_again_in_a_space_of_its_own(owner, stub, library):
    collection, models = library
    stub.requests.clear()
    move = await ended(owner, await started(owner, collection, models["stub-embed"], anew=True))
    assert move["state"] == "switched"
    shown = await embedding(owner, collection)
    assert (shown["version"], shown["model"]) == ("1", "stub-embed")
    assert len(asked(stub, "stub-embed")) == shown["chunks"]


async def test_a_move_to_the_present_model_gives_what_is_missing(owner, stub, app, library, count, superuser):
    collection, models = library
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await work.session.execute(
            text(
                "DELETE FROM chunk_vectors WHERE chunk_id ="
                " (SELECT id FROM chunks WHERE collection_id = :id ORDER BY number LIMIT 1)"
            ),
            {"id": UUID(collection)},
        )
    shown = await embedding(owner, collection)
    assert shown["state"] == "incomplete"
    stub.requests.clear()
    move = await ended(owner, await started(owner, collection, models["stub-embed"]))
    assert (move["state"], move["chunks"], move["embedded"]) == ("done", 1, 1)
    assert len(asked(stub, "stub-embed")) == 1
    assert (await embedding(owner, collection))["state"] == "ready"


async def test_a_provider_that_is_away_delays_a_move_and_one_that_refuses_ends_it(owner, stub, library, held, app):
    collection, models = library
    move = await started(owner, collection, models["second-embed"])
    fill = moving.fill

    def failing(error):
        async def fails(*_):
            raise error

        return fails

    try:
        moving.fill = failing(Unavailable("the provider is away"))
        assert await moving.run(app, owner.tenant_id, UUID(move["id"])) == 2.0
        shown = (await owner.get(f"/embedding-moves/{move['id']}")).json()
        assert (shown["state"], shown["error"]["code"]) == ("filling", "provider-unavailable")
        assert shown["error"]["retry_at"] is not None
        async with app.begin(Principal.system(owner.tenant_id)) as work:
            await work.session.execute(update(EmbeddingMove).values(retry_at=None))
        moving.fill = failing(AuthenticationFailed("the key is wrong"))
        assert await moving.run(app, owner.tenant_id, UUID(move["id"])) is None
    finally:
        moving.fill = fill
    shown = (await owner.get(f"/embedding-moves/{move['id']}")).json()
    assert shown["state"] == "failed"
    assert shown["error"]["message"] == "the key is wrong"
    assert (await embedding(owner, collection))["state"] == "ready", "it stays where it was"


async def test_a_model_that_is_deleted_leaves_a_collection_that_is_searched_by_words(owner, stub, library, app):
    collection, _models = library
    listed = (await owner.get("/connections")).json()["items"]
    connection = next(item["id"] for item in listed if item["name"] == "Stub")
    assert (await owner.delete(f"/connections/{connection}")).status_code == 204
    assert await first_found(owner, collection) == "fences.md"
    assert (await embedding(owner, collection))["state"] == "none"


async def test_a_model_that_is_switched_off_or_deprecated_is_told(owner, stub, library):
    collection, models = library
    first = models["stub-embed"]
    assert (await owner.patch(f"/models/{first}", json={"deprecated": True})).status_code == 200
    assert (await embedding(owner, collection))["state"] == "deprecated"
    assert (await owner.patch(f"/models/{first}", json={"enabled": False})).status_code == 200
    assert (await embedding(owner, collection))["state"] == "unusable"
    assert await first_found(owner, collection) == "fences.md"
    (new,) = await owner.knows(collection, ("dogs.md", b"Dogs are on a lead in the park."))
    assert "its embedding model cannot be used" in new["warnings"][0]


async def test_collections_in_two_spaces_are_asked_each_with_its_own_model(owner, stub, library, app):
    collection, models = library
    other = await owner.collection((await owner.get(f"/collections/{collection}")).json()["space_id"], "Others")
    await owner.knows(other, ("dogs.md", b"Dogs are on a lead in the park."))
    await ended(owner, await started(owner, other, models["second-embed"]))
    stub.requests.clear()
    account = Account(tenant_id=owner.tenant_id, purpose="search")
    query = "dogs and fences"
    hits = await search(app, Principal.system(owner.tenant_id), account, [UUID(collection), UUID(other)], query)
    assert {hit.document_name for hit in hits} >= {"dogs.md", "fences.md"}
    assert (asked(stub, "stub-embed"), asked(stub, "second-embed")) == ([query], [query])


async def test_who_may_not_edit_may_look_and_not_move(owner, tenancy, library):
    collection, models = library
    space = (await owner.get(f"/collections/{collection}")).json()["space_id"]
    viewer, stranger = await tenancy.colleague(owner), await tenancy.owner()
    assert (await owner.put(f"/spaces/{space}/members/{viewer.user.id}", json={"role": "viewer"})).status_code < 300
    assert (await viewer.get(f"/collections/{collection}/embedding")).status_code == 200
    body = {"model_id": models["second-embed"]}
    assert (await viewer.post(f"/collections/{collection}/embedding-moves", json=body)).status_code == 403
    move = await ended(owner, await started(owner, collection, models["second-embed"]))
    assert (await viewer.post(f"/embedding-moves/{move['id']}/undo")).status_code == 403
    for path in (f"/collections/{collection}/embedding", f"/embedding-moves/{move['id']}"):
        assert (await stranger.get(path)).status_code == 404
    assert (await stranger.post(f"/embedding-moves/{move['id']}/undo")).status_code == 404


async def test_a_passage_that_the_model_refuses_holds_up_nothing(owner, stub, app, library, monkeypatch):
    collection, models = library
    runtime_embed = Runtime.embed

    async def picky(self, route, account, texts, **more):
        made = await runtime_embed(self, route, account, texts, **more)
        if route.first.model.name == "second-embed":
            for at, sent in enumerate(texts):
                if "library" in sent.lower():
                    made.vectors[at] = ContextTooLong("too long for this model")
        return made

    monkeypatch.setattr(Runtime, "embed", picky)
    move = await ended(owner, await started(owner, collection, models["second-embed"]))
    assert move["state"] == "switched"
    assert move["refused"] >= 1
    assert move["embedded"] + move["refused"] == move["chunks"]
    shown = await embedding(owner, collection)
    assert (shown["state"], shown["refused"]) == ("ready", move["refused"])
    assert await first_found(owner, collection, "opening hours in July") == "books.md"


async def test_a_chunk_that_came_without_a_vector_keeps_a_move_from_ending(owner, stub, library, held, app):
    collection, models = library
    move = await started(owner, collection, models["second-embed"])
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        number = await work.session.scalar(select(Collection.next_number).where(Collection.id == UUID(collection)))
    turn = await moving._claim(app, owner.tenant_id, UUID(move["id"]))
    turn.target.space_id, turn.target.dimensions = UUID(int=1), 32
    assert await moving._try_switch(app, turn, -1) is False
    assert await moving._try_switch(app, turn, number - 1) is True
